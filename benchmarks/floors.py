"""One question's seconds against their floor: `python benchmarks/floors.py SET [QUESTIONS]`.

Asks a set's questions one after the other. Of each answer's seconds, those count as a library's in which
at least one thread was inside the calls that do its work: the encoder's layers, FAISS's search, SQLite,
llama.cpp's decoding. What is left is ours. Then tokens a second, read and written, beside those that
llama.cpp comes to by itself with as many tokens and as many threads.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from threading import Lock
from time import perf_counter
from typing import Any

from common import indexed, rows, sample, table
from llama_cpp import Llama, llama_cpp

from rag.bert import Network
from rag.chatbot import Chatbot
from rag.datatypes import Answer, Mode
from rag.encoder import Encoder
from rag.generator import LlamaGenerator
from rag.index import PassageIndex
from rag.models import adapter_file, generator_file
from rag.nearest import Nearest
from rag.settings import Settings, load
from rag.slot import SLICE

Span = tuple[float, float]

CALLS: dict[str, list[tuple[Any, str]]] = {
    "the encoder's layers": [(Network, "forward")],
    "FAISS": [(Nearest, "search")],
    "SQLite": [(PassageIndex, "_rows"), (PassageIndex, "_row")],
    "llama.cpp": [(llama_cpp, "llama_decode"), (llama_cpp, "llama_tokenize")],
}


class Clock:
    """Notes when a library's calls begin and end."""

    def __init__(self) -> None:
        self.spans: dict[str, list[Span]] = {name: [] for name in CALLS}
        self._lock = Lock()
        for name, places in CALLS.items():
            for owner, attribute in places:
                setattr(owner, attribute, self._noting(name, getattr(owner, attribute)))

    def _noting(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*given: Any, **named: Any) -> Any:
            began = perf_counter()
            try:
                return call(*given, **named)
            finally:
                with self._lock:
                    self.spans[name].append((began, perf_counter()))

        return noted

    def taken(self) -> dict[str, float]:
        """Seconds within each library since the last call of this, and within any."""
        spans, self.spans = self.spans, {name: [] for name in CALLS}
        every = [span for of_one in spans.values() for span in of_one]
        return {name: union(of_one) for name, of_one in spans.items()} | {"all": union(every)}


def union(spans: Sequence[Span]) -> float:
    total, end = 0.0, 0.0
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, end))
        end = max(end, ended)
    return total


def main(data: Path, most: int) -> None:
    chatbot = in_one_process(load(index=indexed(data)))
    chatbot.load()
    chatbot.answer("What is read before anything is timed?")
    clock = Clock()
    asked: list[tuple[Answer, dict[str, float]]] = []
    for row in sample(rows(data / "questions.jsonl"), most):
        clock.taken()
        answer = chatbot.answer(row["question"])
        asked.append((answer, clock.taken()))
    answered = [(a, taken) for a, taken in asked if a.mode is not Mode.REFUSED]
    print(table(["stage", "median ms"], stages([answer for answer, _ in answered])))
    print(f"\n{len(answered)} questions answered, of {len(asked)}\n")
    print(table(["within", "median ms", "share of the whole"], shares(answered)))
    print()
    print(table(["tokens a second", "read", "written"], rates(chatbot, [a for a, _ in answered])))


def in_one_process(settings: Settings) -> Chatbot:
    """A chatbot whose generator runs in this process, so that its calls can be timed."""
    encoder = Encoder.chosen(settings)
    name, cache = settings.generator, settings.cache
    file, adapter = generator_file(name, cache), adapter_file(name, cache)
    generator = LlamaGenerator(name, file, cache, settings.threads, adapter)
    return Chatbot(PassageIndex.open(settings.index, encoder=encoder.id), encoder, generator)


def stages(answers: Sequence[Answer]) -> list[list[str]]:
    names = list(answers[0].timings.stages)
    told = {n: median(1000 * a.timings.stages.get(n, 0.0) for a in answers) for n in names}
    return [[name, f"{ms:.1f}"] for name, ms in told.items()]


def shares(asked: Sequence[tuple[Answer, dict[str, float]]]) -> list[list[str]]:
    whole = sum(answer.timings.total_s for answer, _ in asked)
    lines = []
    for name in [*CALLS, "all"]:
        taken = [of_one[name] for _, of_one in asked]
        lines.append([name, f"{1000 * median(taken):.1f}", f"{sum(taken) / whole:.1%}"])
    ours = [answer.timings.total_s - of_one["all"] for answer, of_one in asked]
    return [*lines, ["ours", f"{1000 * median(ours):.1f}", f"{sum(ours) / whole:.1%}"]]


def rates(chatbot: Chatbot, answers: Sequence[Answer]) -> list[list[str]]:
    generator: Any = chatbot._generator
    llama: Llama = generator._vocabulary
    shared = len(generator._shared)
    sizes = [(a.timings.prompt_tokens - shared, a.timings.answer_tokens) for a in answers]
    ours = [sum(a.timings.stages[stage] for a in answers) for stage in ("read_prompt", "write")]
    alone = [0.0, 0.0]
    token = llama.token_eos()
    for read, written in sizes:
        llama.reset()
        llama.eval([token] * shared)
        began = perf_counter()
        llama.eval([token] * read)
        half = perf_counter()
        for _ in range(written):
            llama.eval([token])
        alone = [alone[0] + half - began, alone[1] + perf_counter() - half]
    tokens = [sum(read for read, _ in sizes), sum(written for _, written in sizes)]
    return [
        [name, *(f"{number / s:.0f}" for number, s in zip(tokens, seconds, strict=True))]
        for name, seconds in {
            f"a question's, {SLICE} tokens at once": ours,
            "llama.cpp by itself, all at once": alone,
        }.items()
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 60)
