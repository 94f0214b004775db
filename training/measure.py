"""The adapter beside none, question by question, on what it was not trained on."""

import json
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from rich.progress import track

from rag import prompt
from rag.chatbot import Chatbot
from rag.datatypes import Answer, Mode, StandaloneQuestion
from rag.encoder import Encoder
from rag.evaluation import f1, holds
from rag.evidence import weigh
from rag.generator import LlamaGenerator
from rag.index import PassageIndex
from rag.models import generator_file
from rag.settings import Settings
from training import examples
from training.examples import Asked

SEED = 11
KINDS = {
    "date": r"\b(?:when|what year|which year|what date|what century|what day)\b",
    "how many": r"\bhow (?:many|much|long|old|far|tall|high|large|big|often)\b|\bpercent",
    "name": r"\b(?:who|whom|whose|where)\b|\b(?:what|which) (?:country|city|place|person)\b",
    "why or how": r"\b(?:why|how)\b",
    "yes or no": r"^(?:is|are|was|were|do|does|did|can|could|has|have|had|will)\b",
}


@dataclass(frozen=True)
class Put:
    """A question as both answered it; the draft, whether or not the answer was refused."""

    asked: Asked
    answers: tuple[Answer, Answer]
    drafts: tuple[str, str]


def measure(data: Path, out: Path, adapter: Path, settings: Settings, most: int) -> None:
    """Print a table: the generator without the adapter, and with it."""
    squad = data / "squad2"
    questions = examples.squad(squad, "test")
    answered = _some([asked for asked in questions if asked.answers], most)
    deceiving = _some([asked for asked in questions if not asked.answers], most)
    gone = set(sorted({next(iter(asked.articles)) for asked in answered})[::2])
    left_out = [asked for asked in answered if not gone.isdisjoint(asked.articles)]
    shortened = _without(squad / "articles.jsonl", gone, out / "left-out.jsonl")
    clapnq = examples.clapnq(data / "clapnq", "test")
    run = _Run(out, adapter, settings)
    told = run.put(squad / "articles.jsonl", answered)
    not_told = run.put(squad / "articles.jsonl", deceiving)
    gone_now = run.put(shortened, left_out)
    long = run.put(data / "clapnq" / "articles.jsonl", _some(clapnq, most))
    rows = [
        *_answered("squad2", told),
        *_kinds(told),
        ("squad2, left out: refused", *_each(gone_now, _refused)),
        ("squad2, made to deceive: refused", *_each(not_told, _refused)),
        ("squad2, balanced accuracy with these", *_balanced(told, not_told)),
        *_answered("clapnq", [put for put in long if put.asked.answers]),
        (
            "clapnq, balanced accuracy",
            *_balanced(
                [put for put in long if put.asked.answers],
                [put for put in long if not put.asked.answers],
            ),
        ),
    ]
    print(
        f"{len(told)} answered, {len(not_told)} made to deceive, {len(gone_now)} left out,", end=" "
    )
    print(f"{len(long)} of clapnq\n\n| measure | adapter off | on |\n| --- | --- | --- |")
    for name, off, on in rows:
        print(f"| {name} | {off:.3f} | {on:.3f} |")


class _Run:
    def __init__(self, out: Path, adapter: Path, settings: Settings) -> None:
        self._out = out
        self._encoder = Encoder.chosen(settings)
        name = settings.generator
        file = generator_file(name, settings.cache)
        self._generators = [
            LlamaGenerator(name, file, settings.cache, settings.threads, used)
            for used in (None, adapter)
        ]

    def put(self, articles: Path, asked: Sequence[Asked]) -> list[Put]:
        """Each question to both, by turns first."""
        index = examples.indexed(articles, self._out)
        put = []
        with PassageIndex.open(index, encoder=self._encoder.id) as opened:
            bots = [Chatbot(opened, self._encoder, generator) for generator in self._generators]
            for bot in bots:
                bot.load()
                list(bot.ask("What is read before anything is timed?"))
            for number, question in enumerate(track(asked, f"Asking {articles.parent.name}")):
                order = (0, 1) if number % 2 else (1, 0)
                answers = {place: list(bots[place].ask(question.question))[-1] for place in order}
                drafts = {at: self._draft(bots[at], question, answers[at]) for at in order}
                put.append(Put(question, (answers[0], answers[1]), (drafts[0], drafts[1])))
        return put

    def _draft(self, bot: Chatbot, asked: Asked, answer: Answer) -> str:
        question = StandaloneQuestion(asked.question)
        evidence = weigh(question, answer.hits, self._encoder, bot.index.rarity)
        composed = bot._composed(question, evidence)
        generator = bot._generator
        *_, short = (None, *generator.short_answer(composed.messages))
        if short is not None:
            return short.text
        return prompt.apart("".join(generator.stream(composed.messages)))[1]


def _some(questions: list[Asked], most: int) -> list[Asked]:
    return random.Random(SEED).sample(questions, min(most, len(questions)))


def _without(articles: Path, gone: Iterable[str], file: Path) -> Path:
    rows = map(json.loads, articles.read_text(encoding="utf-8").splitlines())
    kept = [row for row in rows if row["id"] not in gone]
    file.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    return file


def _each(put: Sequence[Put], value: Callable[[Put, int], float]) -> tuple[float, float]:
    """The mean of a value, without the adapter and with it."""
    off, on = (mean(float(value(p, i)) for p in put) if put else 0.0 for i in (0, 1))
    return off, on


def _refused(put: Put, i: int) -> bool:
    return put.answers[i].mode is Mode.REFUSED


def _right(put: Put, i: int) -> bool:
    return not _refused(put, i) and holds(put.answers[i].text, put.asked.answers)


def _answered(name: str, put: Sequence[Put]) -> list[tuple[str, float, float]]:
    def best(p: Put, i: int) -> float:
        text = "" if _refused(p, i) else p.answers[i].text
        return max(f1(text, answer) for answer in p.asked.answers)

    seconds = [median(p.answers[i].timings.total_s for p in put) for i in (0, 1)]
    return [
        (f"{name}, draft right", *_each(put, lambda p, i: holds(p.drafts[i], p.asked.answers))),
        (f"{name}, right", *_each(put, _right)),
        (f"{name}, wrong", *_each(put, lambda p, i: not _refused(p, i) and not _right(p, i))),
        (f"{name}, F1", *_each(put, best)),
        (f"{name}, median seconds", *seconds),
    ]


def _kinds(put: Sequence[Put]) -> list[tuple[str, float, float]]:
    kinds: dict[str, list[Put]] = {}
    for p in put:
        found = (kind for kind, asks in KINDS.items() if re.search(asks, p.asked.question, re.I))
        kinds.setdefault(next(found, "other"), []).append(p)
    return [
        (
            f"squad2, draft right, {kind} ({len(kinds[kind])})",
            *_each(kinds[kind], lambda p, i: holds(p.drafts[i], p.asked.answers)),
        )
        for kind in sorted(kinds)
    ]


def _balanced(told: Sequence[Put], not_told: Sequence[Put]) -> tuple[float, float]:
    answered = _each(told, lambda p, i: not _refused(p, i))
    refused = _each(not_told, _refused)
    return (answered[0] + refused[0]) / 2, (answered[1] + refused[1]) / 2
