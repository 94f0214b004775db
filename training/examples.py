"""What the generator learns from: questions, the sentences that Footnote finds for them, the answers.

The sentences are chosen as for a user's question: by the retriever and the evidence's weights, from
whole articles. So their mistakes are in the examples too.
"""

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rag.chatbot import HITS
from rag.datatypes import Evidence, Excerpt, StandaloneQuestion
from rag.encoder import Encoder
from rag.evidence import weigh
from rag.index import PassageIndex
from rag.language import words
from rag.prompt import DECLINED, TAUGHT, compose
from rag.retriever import Retriever

Row = dict[str, Any]
Half = Literal["train", "test"]

SEED = 7

HOW_MANY = (1, 2, 2, 2, 3, 3, 3, 4, 5, 8)
"""Facts of an example, drawn from these."""

AROUND = 40
"""Hits among which those of other articles are looked for, when one's own is left out."""

LONGEST_ANSWER, BEGUN = 16, 12
"""Words of an answer that is learnt whole, and so many of a longer one."""

YES_NO = ("Yes", "No")
"""Answers that stand in no sentence as they are."""

SHUFFLED, MISSED, DISAGREEING, WIRE = 0.3, 0.3, 0.1, 0.12
"""Shares of examples: with facts in any order; of those whose answer was found too far down, with
none that answers; of those with a figure, with another article that has another; set as news wires
often come, lower-cased and with marks apart."""

# How many examples a question makes, by what they teach. docs/training.md says why so many.
DRAWS = {"answered": 3.0, "deceiving": 1.5, "left out": 0.5, "swapped": 0.5, "elsewhere": 0.1}


@dataclass(frozen=True, slots=True)
class Example:
    """What is put to the model, and what it shall say.

    It shall stop after the target only if `whole`. `answers` are right ones; none when no fact answers.
    """

    id: str
    teaches: str
    content: str
    target: str
    whole: bool
    question: str
    answers: tuple[str, ...]


class Asked(NamedTuple):
    """A question and what answers it: a sentence of `passage`, in one of `articles`, with an answer."""

    id: str
    question: str
    answers: tuple[str, ...]
    articles: frozenset[str]
    passage: str

    def answered_by(self, fact: Excerpt) -> str | None:
        """The first answer that the fact holds, where it is one that counts."""
        if fact.article_id not in self.articles or _plain(fact.text) not in _plain(self.passage):
            return None
        return next((a for a in self.answers if a in fact.text or a in YES_NO), None)


class Finder:
    """Finds the sentences for a question, as the product does."""

    def __init__(self, index: PassageIndex, encoder: Encoder) -> None:
        self._index = index
        self._encoder = encoder
        self._retriever = Retriever(index, encoder)

    def evidence(self, question: str, without: frozenset[str] = frozenset()) -> list[Evidence]:
        """Best first; none of the articles `without`."""
        asked = StandaloneQuestion(question)
        hits = self._retriever.retrieve(asked, AROUND if without else HITS)
        kept = [hit for hit in hits if hit.passage.article_id not in without][:HITS]
        return weigh(asked, kept, self._encoder, self._index.rarity)

    def facts(self, question: str, without: frozenset[str] = frozenset()) -> list[Excerpt]:
        return [found.sentence for found in self.evidence(question, without)]


def squad(data: Path, half: Half) -> list[Asked]:
    """SQuAD 2.0's questions; every other title is the half to train on."""
    passages = {row["id"]: row["text"] for row in _rows(data / "passages.jsonl")}
    questions = [row for row in _rows(data / "questions.jsonl") if row.get("passage_ids")]
    taught = set(sorted({row["article_ids"][0] for row in questions})[::2])
    return [
        Asked(
            row["id"],
            row["question"],
            tuple(row["answers"]),
            frozenset(row["article_ids"]),
            passages[row["passage_ids"][0]],
        )
        for row in questions
        if (row["article_ids"][0] in taught) is (half == "train")
    ]


def clapnq(data: Path, half: Half) -> list[Asked]:
    """ClapNQ's; what answers are the sentences named as evidence. Every other question is to train on."""
    questions = sorted(_rows(data / "questions.jsonl"), key=lambda row: str(row["id"]))
    return [
        Asked(
            row["id"],
            row["question"],
            tuple(row.get("evidence") or ()),
            frozenset(row.get("article_ids") or ()),
            " ".join(row.get("evidence") or ()),
        )
        for row in questions[0 if half == "train" else 1 :: 2]
    ]


def samples(file: Path) -> list[Asked]:
    """Our own, on the sample articles; all to train on."""
    return [
        Asked(
            f"samples-{place}",
            row["question"],
            (row["answer"],) if "answer" in row else (),
            frozenset([f"{row['article']}.md"]),
            row.get("sentence", ""),
        )
        for place, row in enumerate(_rows(file))
    ]


def made(finder: Finder, asked: Sequence[Asked]) -> Iterator[Example]:
    """The examples of one set's questions, the same ones on every run."""
    drawn = random.Random(SEED)
    for question in asked:
        facts = finder.facts(question.question)
        if not question.answers:
            for _ in _times(drawn, "deceiving"):
                yield _refusing("deceiving", question, facts, drawn)
            continue
        for _ in _times(drawn, "answered"):
            if example := _answering(question, facts, drawn):
                yield example
        for _ in _times(drawn, "left out"):
            others = finder.facts(question.question, question.articles)
            yield _refusing("left out", question, others, drawn)
        for _ in _times(drawn, "elsewhere"):
            other = drawn.choice(asked)
            if other.articles.isdisjoint(question.articles):
                yield _refusing("elsewhere", question, finder.facts(other.question), drawn)
        for _ in _times(drawn, "swapped"):
            if swapped := _swapped(question, facts, drawn):
                yield _refusing("swapped", swapped, finder.facts(swapped.question), drawn)


def _times(drawn: random.Random, teaches: str) -> range:
    """So many times on average."""
    times = DRAWS[teaches]
    return range(int(times) + (drawn.random() < times % 1))


def _answering(asked: Asked, facts: Sequence[Excerpt], drawn: random.Random) -> Example | None:
    """The best facts, one that answers among them; None when none of all does.

    Where only a fact further down answers, it takes the place of one of the best, or the question
    counts as not answered: the model sees both.
    """
    best = list(facts[: drawn.choice(HOW_MANY)])
    holding = [fact for fact in facts if asked.answered_by(fact)]
    if not holding:
        return None
    if not any(asked.answered_by(fact) for fact in best):
        if any(_holds(fact, asked.answers) for fact in best):
            return None
        if drawn.random() < MISSED:
            return _example("missed", asked, best, None, drawn)
        best[drawn.randrange(len(best))] = holding[0]
    if drawn.random() < SHUFFLED:
        drawn.shuffle(best)
    number = next(place for place, fact in enumerate(best) if asked.answered_by(fact))
    rival = _rival(best[number], asked.answered_by(best[number]) or "", drawn)
    if rival and drawn.random() < DISAGREEING:
        best.insert(drawn.randint(number + 1, len(best)), rival)
    return _example("answered", asked, best, number, drawn)


def _rival(fact: Excerpt, answer: str, drawn: random.Random) -> Excerpt | None:
    """The fact as another article tells it, with another figure: the first of the two is believed."""
    figure = re.search(r"\d+", answer)
    if figure is None:
        return None
    other = str(int(figure[0]) + drawn.randint(1, 9))
    told = answer.replace(figure[0], other)
    return replace(fact, article_id="rival", title="", text=fact.text.replace(answer, told))


def _refusing(
    teaches: str, asked: Asked, facts: Sequence[Excerpt], drawn: random.Random
) -> Example:
    best = list(facts[: drawn.choice(HOW_MANY)])
    if drawn.random() < SHUFFLED:
        drawn.shuffle(best)
    return _example(teaches, asked, best, None, drawn)


def _example(
    teaches: str, asked: Asked, facts: Sequence[Excerpt], number: int | None, drawn: random.Random
) -> Example:
    """`number` counts from 0; None when no fact answers."""
    answer = DECLINED if number is None else asked.answered_by(facts[number]) or ""
    if drawn.random() < WIRE:
        facts = [replace(f, text=_as_wire(f.text), title=_as_wire(f.title)) for f in facts]
        answer = answer if number is None else _as_wire(answer)
    told = answer.split()
    whole = len(told) <= LONGEST_ANSWER
    prompt = compose(asked.question, facts, TAUGHT, lambda messages: 0, 1)
    return Example(
        id=asked.id,
        teaches=teaches,
        content=prompt.messages[0]["content"],
        target=answer if whole else " ".join(told[:BEGUN]),
        whole=whole,
        question=asked.question,
        answers=() if number is None else asked.answers,
    )


def _swapped(asked: Asked, facts: Sequence[Excerpt], drawn: random.Random) -> Asked | None:
    """The question with one of its names or figures exchanged for another that was found with it."""
    for kind in drawn.sample(_KINDS, len(_KINDS)):
        own = [found for found in kind.finditer(asked.question) if found.start() > 0]
        told = {name for fact in facts[:12] for name in kind.findall(fact.text[1:])}
        taken = " ".join([asked.question, *asked.answers])
        others = sorted(name for name in told if name not in taken)
        if own and others:
            found = drawn.choice(own)
            before, behind = asked.question[: found.start()], asked.question[found.end() :]
            question = f"{before}{drawn.choice(others)}{behind}"
            return asked._replace(id=f"{asked.id}-swapped", question=question, answers=())
    return None


_KINDS = (
    re.compile(r"\b[A-Z][a-z]{2,}(?: (?:of |the )?[A-Z][a-z]+)*"),
    re.compile(r"\b1\d{3}\b|\b20\d\d\b"),
    re.compile(r"\b(?:first|last|largest|smallest|before|after|north|south|east|west)\b"),
)


def _holds(fact: Excerpt, answers: Sequence[str]) -> bool:
    said = f" {' '.join(words(fact.text))} "
    return any(f" {' '.join(words(answer))} " in said for answer in answers)


def _as_wire(text: str) -> str:
    return " ".join(_MARK.sub(r" \g<0> ", text.lower()).split())


_MARK = re.compile(r"(?<!\d)[.,;:!?()\"“”]|[.,;:!?()\"“”](?!\d)")


@cache
def _plain(text: str) -> str:
    return " ".join(words(text))


def _rows(file: Path) -> list[Row]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def indexed(articles: Path, out: Path) -> Path:
    """An index of the articles, made in `out` if it is not there."""
    index = out / f"index of {articles.parent.name} {articles.stem}"
    rag = [sys.executable, "-m", "rag", "index", str(articles), "--index", str(index)]
    subprocess.run(rag, check=True)
    return index


def write(examples: Sequence[Example], file: Path) -> None:
    unfinished = file.with_suffix(".unfinished")
    with unfinished.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(asdict(example)) + "\n" for example in examples)
    unfinished.replace(file)
