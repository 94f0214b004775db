"""Prompt → text, streamed, by llama.cpp; rag.supervised runs it in a process of its own."""

import collections.abc as abc
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
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rag import backends
from rag.datatypes import Message, ShortAnswer
from rag.errors import ModelError
from rag.gguffile import GgufFile, examine, heard, unusable
from rag.models import SMOLLM2, making, sha256_of
from rag.prompt import (
    DECLINED,
    SMALL,
    TAUGHT,
    THINK,
    THOUGHT,
    THOUGHT_TOKENS,
    Ability,
    capable,
    opening,
    thinking,
)
from rag.slot import SLICE, Slot

if TYPE_CHECKING:
    from llama_cpp import Llama
    from llama_cpp.llama_chat_format import ChatFormatterResponse, Jinja2ChatFormatter

ALL = -1
"""Layers, on a GPU: where llama.cpp was built for one."""

Pieces = abc.Generator[str]
"""Text as it comes; closing it stops the model."""

Reading = abc.Generator[ShortAnswer | None]
"""None as often as it may be stopped by closing this, and in the end what comes of it."""

CONTEXT = 2048
"""Tokens that a prompt to the embedded model and its answer share."""

SLOTS = 2
"""Texts that the embedded model reads side by side, on weights that are in memory once. Another's may be
copied for each slot (llama.cpp packs some kinds anew): it has one."""


class Generator(Protocol):
    """What writes drafts. The seam at which tests put a scripted one."""

    name: str

    @property
    def problem(self) -> str:
        """Why it writes nothing until the next start, and what to do; empty while it works."""
        ...

    @property
    def ability(self) -> Ability: ...
    @property
    def context(self) -> int:
        """Tokens that a prompt and its answer share."""
        ...

    @property
    def memory(self) -> int:
        """Bytes that loading it will take in this process; none when it is loaded."""
        ...

    def load(self) -> None: ...
    def count_tokens(self, messages: Sequence[Message]) -> int: ...
    def short_answer(self, messages: Sequence[Message]) -> Reading: ...
    def stream(self, messages: Sequence[Message]) -> Pieces: ...


def ability_of(name: str, context: int, *, taught: bool) -> Ability:
    """What the model handles well; of those that a user names, it is taken for granted."""
    if name != SMOLLM2.name:
        return capable(context)
    return TAUGHT if taught else SMALL


def usual_threads() -> int:
    """All cores but one, 8 at most.

    llama.cpp's threads wait for each other spinning: with every core taken, anything else that wants one
    (a browser, say) slows it by far more than a core less does.
    """
    from joblib import cpu_count  # of this container, on a machine that may have many more

    return max(1, min(int(cpu_count()) - 1, 8))


def slots_of(name: str) -> int:
    """How many texts the model reads side by side."""
    return SLOTS if name == SMOLLM2.name else 1


class LlamaGenerator:
    """A GGUF model run by llama.cpp in this process, in as many slots as are needed at once.

    A text for which no slot is free waits. The embedded model uses its `adapter`, unless that is None.
    A crash of llama.cpp ends this process.
    """

    problem = ""

    def __init__(
        self,
        name: str,
        file: Path,
        cache: Path,
        threads: int,
        adapter: Path | None = None,
        most_bytes: int = 0,
    ) -> None:
        """`most_bytes` of memory are there for it; 0 for as many as it takes."""
        self.name = name
        self._most_bytes = most_bytes or sys.maxsize
        self._file = file
        self._adapter = adapter
        self._cache = cache
        self._threads = threads or usual_threads()
        self._slots = slots_of(name)
        self._opening = Lock()
        self._free: LifoQueue[Slot | None] = LifoQueue()  # None is one that was never needed
        for _ in range(self._slots):
            self._free.put(None)

    @cached_property
    def ability(self) -> Ability:
        return ability_of(self.name, self.context, taught=self._adapter is not None)

    @cached_property
    def context(self) -> int:
        return CONTEXT if self.name == SMOLLM2.name else self._about.context(self._most_bytes)

    @property
    def memory(self) -> int:
        loaded = "_vocabulary" in self.__dict__
        return 0 if loaded else self._about.memory(self.context, self._slots)

    @cached_property
    def _about(self) -> GgufFile:
        """What the file says of itself. Raises ModelError."""
        return examine(self._file)

    def load(self) -> None:
        """Load the model now rather than at the first question. Raises ModelError."""
        _ = self._vocabulary

    def test_arithmetic(self) -> None:
        """Read a slice of text and one token more, which a CPU may turn out not to be able to.

        Raises ArithmeticError when what comes out is not a number.
        """
        tokens = self._plain("The harbour of the town is older than its walls. " * SLICE)
        with self._slot() as slot:
            for _ in slot.read(tokens[: SLICE + 1], ()):
                pass
            if np.isnan(slot.log_probabilities()).any():
                raise ArithmeticError("llama.cpp computes what is not a number")

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """How many tokens the messages are in the model's own template."""
        return len(self._tokens(messages))

    def short_answer(self, messages: Sequence[Message]) -> Reading:
        """What it makes of the messages' facts; nothing when it was not taught to."""
        if self.ability is not TAUGHT:
            return
        tokens = self._tokens(messages)
        with self._slot() as slot:
            began = perf_counter()
            for _ in slot.read(tokens, self._shared):
                yield None
            first = slot.log_probabilities()
            read = perf_counter()
            none = float(np.exp(first[self._declining]))
            first[self._declining] = -np.inf  # whether that is said is not the model's to decide
            likely = slot.likeliest(first - np.log(max(1 - none, 1e-9)), self.ability.answer_tokens)
            written, certainty = yield from likely
            wrote = perf_counter()
        text = self._vocabulary.detokenize(written).decode(errors="replace").strip()
        yield ShortAnswer(text, len(written), certainty, none, read - began, wrote - read)

    def stream(self, messages: Sequence[Message]) -> Pieces:
        """The model's answer, piece by piece; closing the iterator stops it within a token.

        While it reads, pieces are empty, one for each SLICE. The caller has seen to it that the messages
        fit (rag.prompt.compose).
        """
        tokens = self._tokens(messages)
        begun = THINK if self._rendered(messages).prompt.rstrip().endswith(THINK) else ""
        with self._slot() as slot:
            for _ in slot.read(tokens[:-1], self._shared):  # the last: what goes on begins with it
                yield ""
            yield from self._drafted(slot, tokens, begun)

    def _drafted(self, slot: Slot, tokens: list[int], begun: str) -> Pieces:
        """What it thinks, if it does, and then a draft; too long a thought is ended for it.

        `begun` is what the template has had it say already.
        """
        most_said = self.ability.answer_tokens
        room = self.context - len(tokens) - most_said - len(THOUGHT)
        most_thought = min(THOUGHT_TOKENS, max(0, room))
        written, thought = begun, 0
        if begun:
            yield begun
        with closing(slot.go_on(tokens, most_thought + most_said)) as pieces:
            for number, piece in enumerate(pieces, start=1):
                written += piece
                yield piece
                if thinking(written):
                    thought = number
                if number - thought >= most_said:
                    return
                if thought >= most_thought:
                    break
            else:
                return
        yield THOUGHT
        after = [*self._marks("" if begun else THINK), *self._plain(written), *self._marks(THOUGHT)]
        yield from slot.go_on([*tokens, *after], most_said)

    @contextmanager
    def _slot(self) -> Iterator[Slot]:
        """One that nobody uses, with its share of the threads."""
        slot = self._free.get()
        try:
            slot = slot or self._opened()
            slot.use(max(1, self._threads // (self._slots - self._free.qsize())))
            yield slot
        finally:
            self._free.put(slot)

    @cached_property
    def _declining(self) -> int:
        """The token with which it begins to say that the facts hold no answer."""
        return int(self._vocabulary.tokenize(DECLINED.encode(), add_bos=False)[0])

    @cached_property
    def _shared(self) -> list[int]:
        begun = opening(self.ability)
        one, two = (
            self._tokens([Message(role="user", content=f"{begun}{fact}")])
            for fact in ("- A", "Who")
        )
        return [
            a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False))
        ]

    def _tokens(self, messages: Sequence[Message]) -> list[int]:
        rendered = self._rendered(messages)
        tokens: list[int] = self._vocabulary.tokenize(
            rendered.prompt.encode(), add_bos=not rendered.added_special, special=True
        )
        return tokens

    def _marks(self, text: str) -> list[int]:
        """Tokens of a text of ours, marks of the model's format among it."""
        tokens: list[int] = self._vocabulary.tokenize(text.encode(), add_bos=False, special=True)
        return tokens

    def _plain(self, written: str) -> list[int]:
        """Tokens of a thought that it wrote: as text, whatever stands in it."""
        thought = written.lstrip().removeprefix(THINK)
        tokens: list[int] = self._vocabulary.tokenize(
            thought.encode(), add_bos=False, special=False
        )
        return tokens

    def _rendered(self, messages: Sequence[Message]) -> "ChatFormatterResponse":
        return self._template(messages=[self._tamed(message) for message in messages])

    def _tamed(self, message: Message) -> Message:
        """The message with every control token in its text broken up: text gives no orders."""
        plain = self._control.sub(lambda found: f"{found[0][0]} {found[0][1:]}", message["content"])
        return Message(role=message["role"], content=plain)

    @cached_property
    def _vocabulary(self) -> "Llama":
        """Any slot's model. Its vocabulary may be asked while it reads, so nobody waits for that."""
        with self._slot() as slot:
            return slot.llama

    def _opened(self) -> Slot:
        with self._opening:
            return Slot(self._loaded())

    def _loaded(self) -> "Llama":
        from llama_cpp import Llama, llama_supports_gpu_offload

        backends.load_best()  # unless the caller has chosen another one before
        file = fast_copy(self.name, self._file, self._cache, self._adapter)
        said: list[str] = []
        try:
            with heard() as said:
                return Llama(
                    str(file),
                    n_ctx=self.context,
                    n_threads=self._threads,
                    n_threads_batch=self._threads,
                    n_gpu_layers=ALL if llama_supports_gpu_offload() else 0,
                    verbose=False,
                )
        except (ValueError, RuntimeError, AssertionError) as error:
            if file == self._file:
                raise unusable(file, "".join(said)) from error
            file.unlink(missing_ok=True)
            raise ModelError(
                f"The generator {file} cannot be loaded: it is damaged.",
                remedy="It has been removed; start again, and it is made anew.",
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
            self._about.template,
            bos_token=text.get(self._vocabulary.token_bos(), ""),
            eos_token=text.get(self._vocabulary.token_eos(), ""),
        )

    @cached_property
    def _control(self) -> re.Pattern[str]:
        """Matches the text of every token that the vocabulary marks as control."""
        import llama_cpp

        vocabulary = llama_cpp.llama_model_get_vocab(self._vocabulary.model)
        texts = (
            llama_cpp.llama_vocab_get_text(vocabulary, token).decode(errors="replace")
            for token in range(self._vocabulary.n_vocab())
            if llama_cpp.llama_vocab_get_attr(vocabulary, token)
            & (llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED)
        )
        return re.compile("|".join(re.escape(text) for text in texts if len(text) > 1) or r"(?!)")


def fast_copy(name: str, file: Path, cache: Path, adapter: Path | None = None) -> Path:
    """The embedded model's weights, the adapter's among them, requantised once to Q8_0: faster.

    Any other model's are used as they are. Raises ModelError.
    """
    if name != SMOLLM2.name:
        return file
    taught = f".{sha256_of(adapter)[:16]}" if adapter else ""
    copy = cache / f"{SMOLLM2.name}.{SMOLLM2.sha256[:16]}{taught}.Q8_0.gguf"
    if copy.is_file():
        return copy
    import llama_cpp

    from rag.adapter import merge

    merged = copy.with_suffix(".merged")
    try:
        if adapter:
            with making(merged) as unfinished:
                merge(file, adapter, unfinished)
        requantise(merged if adapter else file, copy, llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0)
    finally:
        merged.unlink(missing_ok=True)
    return copy


def requantise(file: Path, copy: Path, kind: int) -> None:
    """Write `copy` with the weights of `file` in another of llama.cpp's types. Raises ModelError."""
    import llama_cpp

    logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = kind
    parameters.allow_requantize = True
    with making(copy) as unfinished:
        failed = llama_cpp.llama_model_quantize(
            str(file).encode(), str(unfinished).encode(), parameters
        )
        if failed:
            raise ModelError(
                f"The generator {file} could not be prepared in {copy.parent}.",
                remedy="Make room there (150 MB), or set RAG_CACHE to a folder of your own.",
            )
