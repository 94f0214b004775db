"""A user's own questions put to the program, and what came of them in numbers.

Every measure is a number a question, so that each can be told with an interval (Efron's bootstrap,
1979) and compared with an earlier run's question by question.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rag.chatbot import Chatbot
from rag.datatypes import Answer, Citation, Hit, Mode
from rag.errors import QuestionError
from rag.questions import Expected

CONFIDENCE = 0.95
"""Of an interval."""

RESAMPLES = 2000

SEED = 7
"""The same run gives the same intervals."""

Values = Mapping[str, float]
"""Measure → its value for one question."""

_ARTICLES = {"a", "an", "the"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one question: the measures that apply to it, and the answer if it was asked for."""

    expected: Expected
    values: Values
    best: Hit | None
    answer: Answer | None = None

    @property
    def key(self) -> str:
        """What the question is known by from run to run."""
        id = self.expected.question.id
        return self.expected.question.text if id is None else str(id)

    def as_json(self) -> dict[str, Any]:
        about: dict[str, Any] = {"key": self.key, "question": self.expected.question.text}
        if self.answer is not None:
            about |= {"answer": self.answer.text, "mode": self.answer.mode.value}
        if self.best is not None:
            about["best"] = self.best.as_json()
        return about | {"values": {name: round(v, 4) for name, v in self.values.items()}}


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of a measure over `n` questions, with a bootstrap interval."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """Of at least one value."""
        drawn = np.random.default_rng(SEED).choice(np.asarray(values), (RESAMPLES, len(values)))
        tail = 100 * (1 - CONFIDENCE) / 2
        low, high = np.percentile(drawn.mean(axis=1), [tail, 100 - tail])
        return cls(float(np.mean(values)), float(low), float(high), len(values))

    def as_json(self) -> dict[str, Any]:
        interval = {"value": self.value, "low": self.low, "high": self.high}
        return {name: round(value, 4) for name, value in interval.items()} | {"n": self.n}


class Point(NamedTuple):
    """Were nothing answered below this confidence: the share that is, and the share of it not right."""

    confidence: float
    coverage: float
    risk: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All outcomes of a run, what they come to, and by how much that differs from an earlier run.

    `curve` is empty where no question's right answer was known and asked for.
    """

    outcomes: tuple[Outcome, ...]
    measures: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]
    curve: tuple[Point, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "questions": len(self.outcomes),
            "measures": {name: found.as_json() for name, found in self.measures.items()},
            "differences": {name: found.as_json() for name, found in self.differences.items()},
            "risk_coverage": [
                {name: round(value, 4) for name, value in point._asdict().items()}
                for point in self.curve
            ],
            "outcomes": [outcome.as_json() for outcome in self.outcomes],
        }


def search_outcome(chatbot: Chatbot, expected: Expected, k: int) -> Outcome:
    """What searching for `k` passages comes to."""
    asked = expected.question
    _, hits = chatbot.search(asked.text, asked.history, k)
    return Outcome(expected, _retrieval(expected.gains, hits, k), hits[0] if hits else None)


def answer_outcome(chatbot: Chatbot, expected: Expected, k: int) -> Outcome:
    """What searching for `k` passages and answering come to."""
    found = search_outcome(chatbot, expected, k)
    asked = expected.question
    answer = chatbot.answer(asked.text, asked.history)
    values = {
        **found.values,
        **_answering(expected, answer),
        **_citing(expected, answer),
        **_exactness(chatbot, answer.citations),
        "seconds": answer.timings.total_s,
    }
    return Outcome(expected, values, found.best, answer)


def evaluation(outcomes: Sequence[Outcome], earlier: Mapping[str, Values]) -> Evaluation:
    """What the outcomes come to; `earlier` are an earlier run's values by the questions' keys."""
    pairs = [(o.values, earlier[o.key]) for o in outcomes if o.key in earlier]
    changes = [
        {name: value - before[name] for name, value in now.items() if name in before}
        for now, before in pairs
    ]
    measures = _estimates([outcome.values for outcome in outcomes])
    return Evaluation(tuple(outcomes), measures, _estimates(changes), risk_coverage(outcomes))


def earlier_values(file: Path) -> dict[str, Values]:
    """The values of a run that was saved with `rag eval --json`. Raises QuestionError."""
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
        return {
            str(row["key"]): {str(name): float(v) for name, v in row["values"].items()}
            for row in saved["outcomes"]
        }
    except OSError as error:
        problem = f"The earlier run {file} cannot be read: {error.strerror}."
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        problem = f"{file} does not hold an earlier run."
    raise QuestionError(problem, remedy="Save one with `rag eval QUESTIONS --json > FILE`.")


def risk_coverage(outcomes: Sequence[Outcome]) -> tuple[Point, ...]:
    """What answering less would cost and save, surest first (El-Yaniv and Wiener 2010).

    It ends with all that was answered: what was refused might have been right or wrong.
    """
    judged = [
        o for o in outcomes if o.answer is not None and not o.values.keys().isdisjoint(_JUDGED)
    ]
    answered = [o for o in judged if o.answer and o.answer.mode is not Mode.REFUSED]
    answered.sort(key=lambda outcome: -_confidence(outcome))
    curve, wrong = [], 0
    for count, outcome in enumerate(answered, start=1):
        wrong += outcome.values.get("right", 0.0) < 1.0
        last = count == len(answered)
        if last or _confidence(answered[count]) < _confidence(outcome):
            curve.append(Point(_confidence(outcome), count / len(judged), wrong / count))
    return tuple(curve)


_JUDGED = frozenset({"right", "unanswerable: refused"})
"""Measures of questions whose right answer, or want of one, is known."""


def _confidence(outcome: Outcome) -> float:
    return outcome.answer.confidence if outcome.answer else 0.0


def _estimates(values: Iterable[Values]) -> dict[str, Estimate]:
    gathered: dict[str, list[float]] = {}
    for of_question in values:
        for name, value in of_question.items():
            gathered.setdefault(name, []).append(value)
    return {name: Estimate.of(found) for name, found in gathered.items()}


# -- measures


def _retrieval(gains: Mapping[str, int], hits: Sequence[Hit], k: int) -> Values:
    """Of the articles in the order of their best passages; none where none is expected."""
    if not gains:
        return {}
    from ir_measures import RR, R, ScoredDoc, calc_aggregate, nDCG

    ranked = dict.fromkeys(
        place.article_id for hit in hits for place in (hit.passage, *hit.passage.also)
    )
    run = [ScoredDoc("q", id, -rank) for rank, id in enumerate(ranked)]
    names = {R @ k: f"recall@{k}", RR: "MRR", nDCG @ k: f"nDCG@{k}"}
    found = calc_aggregate(names, {"q": gains}, run)
    return {name: float(found[measure]) for measure, name in names.items()}


def _answering(expected: Expected, answer: Answer) -> Values:
    refused = answer.mode is Mode.REFUSED
    if expected.unanswerable:
        return {"unanswerable: refused": float(refused)}
    if not expected.answers:
        return {"wrongly refused": float(refused)} if expected.gains else {}
    right = not refused and holds(answer.text, expected.answers)
    return {
        "right": float(right),
        "wrong": float(not refused and not right),
        "wrongly refused": float(refused),
        "exact match": 0.0 if refused else max(_same(answer.text, a) for a in expected.answers),
        "F1": 0.0 if refused else max(f1(answer.text, a) for a in expected.answers),
    }


def _citing(expected: Expected, answer: Answer) -> Values:
    """Of the articles cited, those expected; of those expected, the cited."""
    if answer.mode is Mode.REFUSED or not expected.gains:
        return {}
    cited = [
        {place.article_id for place in (citation.quote, *citation.quote.also)}
        for citation in answer.citations
    ]
    good = sum(not places.isdisjoint(expected.gains) for places in cited)
    named = set[str]().union(*cited)
    return {
        "citation precision": good / len(cited) if cited else 0.0,
        "citation recall": len(named & expected.gains.keys()) / len(expected.gains),
    }


def _exactness(chatbot: Chatbot, citations: Sequence[Citation]) -> Values:
    if not citations:
        return {}
    exact = 0
    for quote in (citation.quote for citation in citations):
        article = chatbot.index.article(quote.article_id)
        exact += article is not None and article.text[quote.start : quote.end] == quote.text
    return {"quotes exact": exact / len(citations)}


def holds(text: str, answers: Iterable[str]) -> bool:
    """Whether one of the answers stands in the text, whatever its case, punctuation and articles."""
    padded = f" {' '.join(_plain(text))} "
    plain = (" ".join(_plain(answer)) for answer in answers)
    return any(f" {answer} " in padded for answer in plain if answer)


def f1(text: str, answer: str) -> float:
    """Harmonic mean of precision and recall over words (Rajpurkar et al. 2016)."""
    said, wanted = Counter(_plain(text)), Counter(_plain(answer))
    shared = (said & wanted).total()
    return 2 * shared / (said.total() + wanted.total()) if shared else 0.0


def _same(text: str, answer: str) -> float:
    return float(_plain(text) == _plain(answer))


def _plain(text: str) -> list[str]:
    """Words in lower case without punctuation, articles and citation markers."""
    words = re.sub(r"[\W_]+", " ", re.sub(r"\[\d+\]", " ", text.lower())).split()
    return [word for word in words if word not in _ARTICLES]
