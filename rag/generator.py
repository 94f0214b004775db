"""Prompt → text, streamed, by llama.cpp in this process."""

import collections.abc as abc
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from rag.datatypes import Message, Prompt, ShortAnswer
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

SLICE = 64
"""Tokens of a prompt that are read at once: before the next ones, whoever asked may have gone."""


class Generator(Protocol):
    """What writes drafts. The seam at which tests put a scripted one."""

    name: str

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
    def short_answer(self, prompt: Prompt) -> Reading: ...
    def stream(self, messages: Sequence[Message]) -> Pieces: ...


class LlamaGenerator:
    """A GGUF model run by llama.cpp. One stream at a time: a second waits for the first.

    The embedded one is run with its `adapter`, unless that is None.
    """

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
        from joblib import cpu_count  # of this container, on a machine that may have many more

        self.name = name
        self._most_bytes = most_bytes or sys.maxsize
        self._file = file
        self._adapter = adapter
        self._cache = cache
        # llama.cpp's threads wait for each other spinning: with every core taken, anything else
        # that wants one (a browser, say) slows it by far more than a core less does.
        self._threads = threads or max(1, min(cpu_count() - 1, 8))
        self._lock = Lock()

    @cached_property
    def ability(self) -> Ability:
        """What it handles well; of those that a user names, it is taken for granted."""
        if self.name != SMOLLM2.name:
            return capable(self.context)
        return TAUGHT if self._adapter else SMALL

    @cached_property
    def context(self) -> int:
        return CONTEXT if self.name == SMOLLM2.name else self._about.context(self._most_bytes)

    @property
    def memory(self) -> int:
        return 0 if "_llama" in self.__dict__ else self._about.memory(self.context)

    @cached_property
    def _about(self) -> GgufFile:
        """What the file says of itself. Raises ModelError."""
        return examine(self._file)

    def load(self) -> None:
        """Load the model now rather than at the first question. Raises ModelError."""
        with self._lock:
            _ = self._llama

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """How many tokens the messages are in the model's own template."""
        with self._lock:
            return len(self._tokens(messages))

    def short_answer(self, prompt: Prompt) -> Reading:
        """What it makes of the prompt's sources; nothing when it was not taught to."""
        if self.ability is not TAUGHT or not prompt.sources:
            return
        with self._lock:
            began = perf_counter()
            for _ in self._read(self._tokens(prompt.messages)):
                yield None
            first = self._log_probabilities()
            read = perf_counter()
            none = float(np.exp(first[self._declining]))
            first[self._declining] = -np.inf  # whether that is said is not the model's to decide
            short = yield from self._greedily(first - np.log(max(1 - none, 1e-9)), none)
            yield replace(short, read_s=read - began, write_s=perf_counter() - read)

    def _greedily(
        self, probabilities: NDArray[np.float64], none: float
    ) -> abc.Generator[None, None, ShortAnswer]:
        """The likeliest answer, of whose first token the log probabilities are given."""
        llama, likely = self._llama, 0.0
        written: list[int] = []
        while len(written) < self.ability.answer_tokens:
            token = int(probabilities.argmax())
            likely += float(probabilities[token])
            if token == llama.token_eos():
                break
            written.append(token)
            llama.eval([token])
            yield
            probabilities = self._log_probabilities()
        text: str = llama.detokenize(written).decode(errors="replace")
        certainty = float(np.exp(min(0.0, likely)))
        return ShortAnswer(text.strip(), len(written), certainty, none)

    def _log_probabilities(self) -> NDArray[np.float64]:
        """Of each token of the vocabulary, to come next."""
        import llama_cpp

        llama = self._llama
        logits = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
        values = np.ctypeslib.as_array(logits, shape=(llama.n_vocab(),)).astype(np.float64)
        values -= values.max()
        scaled: NDArray[np.float64] = values - np.log(np.exp(values).sum())
        return scaled

    def stream(self, messages: Sequence[Message]) -> Pieces:
        """The model's answer, piece by piece; closing the iterator stops it within a token.

        While it reads, pieces are empty, one for each SLICE. The caller has seen to it that the messages
        fit (rag.prompt.compose).
        """
        with self._lock:
            tokens = self._tokens(messages)
            for _ in self._read(tokens[:-1]):  # the last is left for what goes on from there
                yield ""
            begun = THINK if self._rendered(messages).prompt.rstrip().endswith(THINK) else ""
            yield from self._drafted(tokens, begun)

    def _drafted(self, tokens: list[int], begun: str) -> Pieces:
        """What it thinks, if it does, and then a draft; too long a thought is ended for it.

        `begun` is what the template has had it say already.
        """
        most_said = self.ability.answer_tokens
        room = self.context - len(tokens) - most_said - len(THOUGHT)
        most_thought = min(THOUGHT_TOKENS, max(0, room))
        written, thought = begun, 0
        if begun:
            yield begun
        with closing(self._completion(tokens, most_thought + most_said)) as pieces:
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
        yield from self._completion([*tokens, *after], most_said)

    def _completion(self, tokens: list[int], most: int) -> Pieces:
        """What comes after the tokens, piece by piece, up to `most` tokens."""
        pieces = self._llama.create_completion(
            tokens, max_tokens=most, temperature=0.0, repeat_penalty=1.0, stream=True
        )
        with closing(pieces):
            for piece in pieces:
                yield piece["choices"][0]["text"]

    def _read(self, tokens: list[int]) -> Iterator[None]:
        """Read a prompt, SLICE by SLICE."""
        self._go_back(tokens)
        for start in range(self._llama.n_tokens, len(tokens), SLICE):
            self._llama.eval(tokens[start : start + SLICE])
            yield

    def _go_back(self, tokens: Sequence[int]) -> None:
        """Keep of what was read before what every question to an answer begins with, and no more.

        What else is the same as in the last prompt would be read in other batches now, which rounds
        otherwise: the same question could get another answer.
        """
        shared, llama = self._shared, self._llama
        if tokens[: len(shared)] != shared:
            llama.reset()
            return
        if llama.input_ids[: min(llama.n_tokens, len(shared))].tolist() != shared:
            llama.reset()
            llama.eval(shared)
        llama.n_tokens = len(shared)

    @cached_property
    def _declining(self) -> int:
        """The token with which it begins to say that the facts hold no answer."""
        return int(self._llama.tokenize(DECLINED.encode(), add_bos=False)[0])

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
        tokens: list[int] = self._llama.tokenize(
            rendered.prompt.encode(), add_bos=not rendered.added_special, special=True
        )
        return tokens

    def _marks(self, text: str) -> list[int]:
        """Tokens of a text of ours, marks of the model's format among it."""
        tokens: list[int] = self._llama.tokenize(text.encode(), add_bos=False, special=True)
        return tokens

    def _plain(self, written: str) -> list[int]:
        """Tokens of a thought that it wrote: as text, whatever stands in it."""
        thought = written.lstrip().removeprefix(THINK)
        tokens: list[int] = self._llama.tokenize(thought.encode(), add_bos=False, special=False)
        return tokens

    def _rendered(self, messages: Sequence[Message]) -> "ChatFormatterResponse":
        return self._template(messages=[self._tamed(message) for message in messages])

    def _tamed(self, message: Message) -> Message:
        """The message with every control token in its text broken up: text gives no orders."""
        plain = self._control.sub(lambda found: f"{found[0][0]} {found[0][1:]}", message["content"])
        return Message(role=message["role"], content=plain)

    @cached_property
    def _llama(self) -> "Llama":
        from llama_cpp import Llama, llama_supports_gpu_offload

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
            token: self._llama.detokenize([token], special=True).decode(errors="replace")
            for token in (self._llama.token_bos(), self._llama.token_eos())
            if token >= 0
        }
        return Jinja2ChatFormatter(
            self._about.template,
            bos_token=text.get(self._llama.token_bos(), ""),
            eos_token=text.get(self._llama.token_eos(), ""),
        )

    @cached_property
    def _control(self) -> re.Pattern[str]:
        """Matches the text of every token that the vocabulary marks as control."""
        import llama_cpp

        vocabulary = llama_cpp.llama_model_get_vocab(self._llama.model)
        texts = (
            llama_cpp.llama_vocab_get_text(vocabulary, token).decode(errors="replace")
            for token in range(self._llama.n_vocab())
            if llama_cpp.llama_vocab_get_attr(vocabulary, token)
            & (llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED)
        )
        return re.compile("|".join(re.escape(text) for text in texts if len(text) > 1) or r"(?!)")


def fast_copy(name: str, file: Path, cache: Path, adapter: Path | None = None) -> Path:
    """The embedded model's weights, the adapter's among them, requantised once to Q8_0: faster.

    Any other model's are used as they are. Raises ModelError.
    """
    import llama_cpp

    from rag.adapter import merge

    if name != SMOLLM2.name:
        return file
    taught = f".{sha256_of(adapter)[:16]}" if adapter else ""
    copy = cache / f"{SMOLLM2.name}.{SMOLLM2.sha256[:16]}{taught}.Q8_0.gguf"
    if copy.is_file():
        return copy
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
