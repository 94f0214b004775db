"""Overhead over the libraries: `python benchmarks/floors.py SET [QUESTIONS]`.

Asks a dataset's questions one after the other. Time counts as a library's while at least one thread is
inside one of its calls: the encoder's layers, FAISS's search, SQLite, llama.cpp's decoding. The
remainder is Footnote's own. Also prints tokens per second, read and written, beside those of llama.cpp
alone with as many tokens and threads.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from threading import Lock
from time import perf_counter
from typing import Any

from common import build_dataset_index, rows, sample, table
from llama_cpp import Llama, llama_cpp

from rag.answering.chatbot import Chatbot
from rag.answering.loading import build_reader
from rag.models.embedding.encoder import Encoder
from rag.models.embedding.minilm import Network
from rag.models.generation.llama import LlamaGenerator
from rag.models.generation.llama_slot import SLICE
from rag.models.resolve import generator_file
from rag.settings import Settings, load
from rag.store.reader import IndexReader
from rag.store.vectors import VectorIndex
from rag.types import Answer, Mode

Span = tuple[float, float]

CALLS: dict[str, list[tuple[Any, str]]] = {
    "the encoder's layers": [(Network, "forward")],
    "FAISS": [(VectorIndex, "search")],
    "SQLite": [(IndexReader, "_rows"), (IndexReader, "_row")],
    "llama.cpp": [(llama_cpp, "llama_decode"), (llama_cpp, "llama_tokenize")],
}


class CallTimer:
    """Records when calls into the libraries begin and end, on any thread."""

    def __init__(self) -> None:
        self.spans: dict[str, list[Span]] = {name: [] for name in CALLS}
        self._lock = Lock()
        for name, targets in CALLS.items():
            for owner, attribute in targets:
                setattr(owner, attribute, self._timed(name, getattr(owner, attribute)))

    def _timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed_call(*args: Any, **kwargs: Any) -> Any:
            started_at = perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                with self._lock:
                    self.spans[name].append((started_at, perf_counter()))

        return timed_call

    def take_seconds(self) -> dict[str, float]:
        """Return the seconds within each library, and within any, since the previous call of this."""
        spans, self.spans = self.spans, {name: [] for name in CALLS}
        all_spans = [span for library_spans in spans.values() for span in library_spans]
        seconds = {name: total_length(library_spans) for name, library_spans in spans.items()}
        return seconds | {"all": total_length(all_spans)}


def total_length(spans: Sequence[Span]) -> float:
    """Return the length of the union of time spans."""
    length, end = 0.0, 0.0
    for started_at, ended in sorted(spans):
        length += max(0.0, ended - max(started_at, end))
        end = max(end, ended)
    return length


def main(data: Path, sample_size: int) -> None:
    chatbot = open_in_process(load(index=build_dataset_index(data)))
    chatbot.load()
    chatbot.answer("What is read before anything is timed?")
    timer = CallTimer()
    results: list[tuple[Answer, dict[str, float]]] = []
    for row in sample(rows(data / "questions.jsonl"), sample_size):
        timer.take_seconds()
        answer = chatbot.answer(row["question"])
        results.append((answer, timer.take_seconds()))
    answered = [
        (a, library_seconds) for a, library_seconds in results if a.mode is not Mode.REFUSED
    ]
    print(table(["stage", "median ms"], stage_rows([answer for answer, _ in answered])))
    print(f"\n{len(answered)} questions answered, of {len(results)}\n")
    print(table(["within", "median ms", "share of the whole"], share_rows(answered)))
    print()
    print(
        table(
            ["tokens per second", "read", "written"], rate_rows(chatbot, [a for a, _ in answered])
        )
    )


def open_in_process(settings: Settings) -> Chatbot:
    """Return a chatbot whose generator runs in this process, so that its calls can be timed."""
    encoder = Encoder.from_settings(settings)
    name, cache = settings.generator, settings.cache
    generator = LlamaGenerator(name, generator_file(name, cache), cache, settings.threads)
    index = IndexReader.open(settings.index, encoder=encoder.id)
    return Chatbot(index, encoder, generator, build_reader(settings))


def stage_rows(answers: Sequence[Answer]) -> list[list[str]]:
    names = list(answers[0].timings.stages)
    medians = {n: median(1000 * a.timings.stages.get(n, 0.0) for a in answers) for n in names}
    return [[name, f"{ms:.1f}"] for name, ms in medians.items()]


def share_rows(results: Sequence[tuple[Answer, dict[str, float]]]) -> list[list[str]]:
    total = sum(answer.timings.total_s for answer, _ in results)
    lines = []
    for name in [*CALLS, "all"]:
        library_seconds = [seconds[name] for _, seconds in results]
        lines.append(
            [name, f"{1000 * median(library_seconds):.1f}", f"{sum(library_seconds) / total:.1%}"]
        )
    own = [answer.timings.total_s - seconds["all"] for answer, seconds in results]
    return [*lines, ["ours", f"{1000 * median(own):.1f}", f"{sum(own) / total:.1%}"]]


def rate_rows(chatbot: Chatbot, answers: Sequence[Answer]) -> list[list[str]]:
    generator: Any = chatbot._generator
    llama: Llama = generator._vocabulary
    shared_tokens = len(generator._shared)
    sizes = [(a.timings.prompt_tokens - shared_tokens, a.timings.answer_tokens) for a in answers]
    own = [sum(a.timings.stages[stage] for a in answers) for stage in ("read_prompt", "write")]
    baseline = [0.0, 0.0]
    token = llama.token_eos()
    for read, written in sizes:
        llama.reset()
        llama.eval([token] * shared_tokens)
        started_at = perf_counter()
        llama.eval([token] * read)
        read_at = perf_counter()
        for _ in range(written):
            llama.eval([token])
        baseline = [baseline[0] + read_at - started_at, baseline[1] + perf_counter() - read_at]
    tokens = [sum(read for read, _ in sizes), sum(written for _, written in sizes)]
    return [
        [name, *(f"{number / s:.0f}" for number, s in zip(tokens, seconds, strict=True))]
        for name, seconds in {
            f"a question's, {SLICE} tokens at once": own,
            "llama.cpp by itself, all at once": baseline,
        }.items()
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 60)
