"""Language model in the GGUF format, run by llama.cpp in this process.

`supervised` runs the same in a child process, so that a crash of llama.cpp does not end the program.
"""

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from queue import LifoQueue
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from rag.errors import ModelError
from rag.models.generation import backends
from rag.models.generation.base import TextStream
from rag.models.generation.gguf import GgufFile, capture_llama_log, inspect_gguf, unusable
from rag.models.generation.llama_slot import SLICE, Slot
from rag.models.generation.prompts import (
    MAX_REASONING_TOKENS,
    REASONING_END,
    REASONING_START,
    TINY,
    GenerationProfile,
    general_profile,
    is_reasoning,
    shared_prefix,
)
from rag.models.lazy import Lazy
from rag.models.resolve import SMOLLM2, write_to_cache
from rag.types import Message

if TYPE_CHECKING:
    from llama_cpp import Llama
    from llama_cpp.llama_chat_format import ChatFormatterResponse, Jinja2ChatFormatter

ALL_LAYERS = -1
"""llama.cpp's value for running all layers on a GPU."""

CONTEXT = 2048
"""The embedded model's context length: tokens of a prompt and its answer together."""

SLOTS = 2
"""Number of texts that the embedded model processes at the same time, with its weights in memory once.
Other models have one slot, since llama.cpp copies the weights of some of them for each slot."""


def profile_for(name: str, context: int) -> GenerationProfile:
    """Return how a model is prompted.

    Args:
        name: The model's name.
        context: Its context length, in tokens.
    """
    return TINY if name == SMOLLM2.name else general_profile(context)


def default_threads() -> int:
    """Return the number of threads: one less than the cores, but at most 8.

    llama.cpp's threads wait for each other in busy loops. If they take every core, any other program
    that needs one slows them down by far more than one core fewer does.
    """
    from joblib import cpu_count  # respects the CPU limit of a container

    return max(1, min(int(cpu_count()) - 1, 8))


def count_slots(name: str) -> int:
    """Return how many texts a model processes at the same time."""
    return SLOTS if name == SMOLLM2.name else 1


class LlamaGenerator:
    """A `LanguageModel` that llama.cpp runs in this process.

    Slots are opened when they are first needed. A text for which no slot is free waits. A crash of
    llama.cpp ends this process.

    Args:
        name: The name by which the user chose the model.
        file: Its GGUF file.
        cache: The cache folder.
        threads: The number of threads; 0 for the default.
        max_bytes: The memory available to the model, which limits its context; 0 for no limit.
    """

    problem = ""
    """Always empty: errors are raised."""

    def __init__(
        self,
        name: str,
        file: Path,
        cache: Path,
        threads: int,
        max_bytes: int = 0,
    ) -> None:
        self.name = name
        self.file = file
        self.threads = threads or default_threads()
        self._max_bytes = max_bytes or sys.maxsize
        self._cache = cache
        self._slot_count = count_slots(name)
        self._open_lock = Lock()
        self._vocabulary_model = Lazy(self._any_model)
        self._free_slots: LifoQueue[Slot | None] = LifoQueue()  # None: not opened yet
        for _ in range(self._slot_count):
            self._free_slots.put(None)

    @cached_property
    def profile(self) -> GenerationProfile:
        return profile_for(self.name, self.context)

    @cached_property
    def context(self) -> int:
        return CONTEXT if self.name == SMOLLM2.name else self._gguf.context(self._max_bytes)

    @property
    def memory(self) -> int:
        if self._vocabulary_model.loaded:
            return 0
        return self._gguf.memory(self.context, self._slot_count)

    @cached_property
    def _gguf(self) -> GgufFile:
        return inspect_gguf(self.file)

    def load(self) -> None:
        """Load the model now instead of on first use. Raises ModelError."""
        self._vocabulary_model.get()

    def test_arithmetic(self) -> None:
        """Evaluate a full slice and a single token, for which llama.cpp uses different instructions.

        Raises:
            ArithmeticError: The result contains NaN.
        """
        tokens = self._tokenize_text("The harbour of the town is older than its walls. " * SLICE)
        with self._slot() as slot:
            for _ in slot.read(tokens[: SLICE + 1], ()):
                pass
            if np.isnan(slot.logits()).any():
                raise ArithmeticError("llama.cpp computes NaN")

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Count the tokens of the prompt that the messages become in the model's chat template."""
        return len(self._tokens(messages))

    def stream(self, messages: Sequence[Message]) -> TextStream:
        """Generate an answer; closing the iterator stops within one token.

        While the prompt is read, an empty piece is yielded after each slice. The caller makes sure that
        the prompt fits (see `rag.models.generation.prompts.compose`).
        """
        tokens = self._tokens(messages)
        # Some templates end with the marker that begins the reasoning.
        begins_reasoning = self._render(messages).prompt.rstrip().endswith(REASONING_START)
        with self._slot() as slot:
            for _ in slot.read(
                tokens[:-1], self._shared_tokens
            ):  # generating evaluates the last token
                yield ""
            yield from self._generate(slot, tokens, REASONING_START if begins_reasoning else "")

    def _generate(self, slot: Slot, tokens: list[int], prefilled: str) -> TextStream:
        """Generate reasoning, if the model does any, and an answer; overlong reasoning is ended.

        `prefilled` is the part of the reply that is already in the prompt.
        """
        max_answer = self.profile.answer_tokens
        available = self.context - len(tokens) - max_answer - len(REASONING_END)
        max_reasoning = min(MAX_REASONING_TOKENS, max(0, available))
        text, reasoning_tokens = prefilled, 0
        if prefilled:
            yield prefilled
        with closing(slot.generate(tokens, max_reasoning + max_answer)) as pieces:
            for count, piece in enumerate(pieces, start=1):
                text += piece
                yield piece
                if is_reasoning(text):
                    reasoning_tokens = count
                if count - reasoning_tokens >= max_answer:
                    return
                if reasoning_tokens >= max_reasoning:
                    break
            else:
                return
        yield REASONING_END
        continued = [
            *tokens,
            *self._tokenize_markers("" if prefilled else REASONING_START),
            *self._tokenize_text(text.lstrip().removeprefix(REASONING_START)),
            *self._tokenize_markers(REASONING_END),
        ]
        yield from slot.generate(continued, max_answer)

    @contextmanager
    def _slot(self) -> Iterator[Slot]:
        """Reserve a free slot, with its share of the threads; wait until there is one."""
        slot = self._free_slots.get()
        try:
            slot = slot or self._open_slot()
            slots_in_use = self._slot_count - self._free_slots.qsize()
            slot.use(max(1, self.threads // slots_in_use))
            yield slot
        finally:
            self._free_slots.put(slot)

    @cached_property
    def _shared_tokens(self) -> list[int]:
        """The tokens with which all prompts of this model's profile begin."""
        prefix = shared_prefix(self.profile)
        first, second = (
            self._tokens([Message(role="user", content=f"{prefix}{fact}")])
            for fact in ("- A", "Who")
        )
        pairs = zip(first, second, strict=False)
        return [token for token, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]

    def _tokens(self, messages: Sequence[Message]) -> list[int]:
        """Tokenize the prompt that the messages become."""
        rendered = self._render(messages)
        tokens: list[int] = self._vocabulary.tokenize(
            rendered.prompt.encode(), add_bos=not rendered.added_special, special=True
        )
        return tokens

    def _tokenize_markers(self, text: str) -> list[int]:
        """Tokenize text of this program's own, in which control tokens are recognised."""
        tokens: list[int] = self._vocabulary.tokenize(text.encode(), add_bos=False, special=True)
        return tokens

    def _tokenize_text(self, text: str) -> list[int]:
        """Tokenize text in which control tokens are not recognised."""
        tokens: list[int] = self._vocabulary.tokenize(text.encode(), add_bos=False, special=False)
        return tokens

    def _render(self, messages: Sequence[Message]) -> "ChatFormatterResponse":
        """Apply the chat template to the messages."""
        return self._template(
            messages=[self._escape_control_tokens(message) for message in messages]
        )

    def _escape_control_tokens(self, message: Message) -> Message:
        """Break up every control token in a message, so that its text cannot act as instructions."""
        escaped = self._control_tokens.sub(
            lambda match: f"{match[0][0]} {match[0][1:]}", message["content"]
        )
        return Message(role=message["role"], content=escaped)

    @property
    def _vocabulary(self) -> "Llama":
        """A slot's model, for its vocabulary, which may be used while the slot is busy."""
        return self._vocabulary_model.get()

    def _any_model(self) -> "Llama":
        with self._slot() as slot:
            return slot.llama

    def _open_slot(self) -> Slot:
        with self._open_lock:
            return Slot(self._load_model())

    def _load_model(self) -> "Llama":
        from llama_cpp import Llama, llama_supports_gpu_offload

        backends.load_best()  # unless the caller has already loaded another variant
        file = requantised_weights(self.name, self.file, self._cache)
        log: list[str] = []
        try:
            with capture_llama_log() as log:
                return Llama(
                    str(file),
                    n_ctx=self.context,
                    n_threads=self.threads,
                    n_threads_batch=self.threads,
                    n_gpu_layers=ALL_LAYERS if llama_supports_gpu_offload() else 0,
                    verbose=False,
                )
        except (ValueError, RuntimeError, AssertionError) as error:
            if file == self.file:
                raise unusable(file, "".join(log)) from error
            file.unlink(missing_ok=True)
            raise ModelError(
                f"The generator {file} cannot be loaded: it is damaged.",
                remedy="It has been deleted and will be created again at the next start.",
            ) from error

    @cached_property
    def _template(self) -> "Jinja2ChatFormatter":
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        text = {
            token: self._vocabulary.detokenize([token], special=True).decode(errors="replace")
            for token in (self._vocabulary.token_bos(), self._vocabulary.token_eos())
            if token >= 0
        }
        return Jinja2ChatFormatter(
            self._gguf.template,
            bos_token=text.get(self._vocabulary.token_bos(), ""),
            eos_token=text.get(self._vocabulary.token_eos(), ""),
        )

    @cached_property
    def _control_tokens(self) -> re.Pattern[str]:
        """Matches the text of every control token of the vocabulary."""
        import llama_cpp

        vocabulary = llama_cpp.llama_model_get_vocab(self._vocabulary.model)
        texts = (
            llama_cpp.llama_vocab_get_text(vocabulary, token).decode(errors="replace")
            for token in range(self._vocabulary.n_vocab())
            if llama_cpp.llama_vocab_get_attr(vocabulary, token)
            & (llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED)
        )
        return re.compile("|".join(re.escape(text) for text in texts if len(text) > 1) or r"(?!)")


def requantised_weights(name: str, file: Path, cache: Path) -> Path:
    """Return the weights to load: for the embedded model, a copy in Q8_0, which is faster on CPUs.

    The copy is created once.

    Args:
        name: The model's name; any but the embedded model is used as it is.
        file: Its GGUF file.
        cache: The cache folder, for the copy.

    Raises:
        ModelError: The copy cannot be created.
    """
    if name != SMOLLM2.name:
        return file
    quantised = cache / f"{SMOLLM2.name}.{SMOLLM2.sha256[:16]}.Q8_0.gguf"
    if not quantised.is_file():
        import llama_cpp

        requantise(file, quantised, llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0)
    return quantised


def requantise(file: Path, copy: Path, file_type: int) -> None:
    """Write a copy of a model with its weights in another of llama.cpp's formats.

    Args:
        file: The model, a GGUF file.
        copy: The GGUF file to write.
        file_type: One of llama.cpp's LLAMA_FTYPE_* constants.

    Raises:
        ModelError: The copy cannot be written.
    """
    import llama_cpp

    logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = file_type
    parameters.allow_requantize = True
    with write_to_cache(copy) as temporary:
        failed = llama_cpp.llama_model_quantize(
            str(file).encode(), str(temporary).encode(), parameters
        )
        if failed:
            raise ModelError(
                f"The generator {file} cannot be converted for this machine in {copy.parent}.",
                remedy="Free 150 MB there, or set RAG_CACHE to a folder on another disk.",
            )
