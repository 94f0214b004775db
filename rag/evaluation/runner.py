"""Runs evaluation questions through the chatbot, and computes measures of retrieval and answers.

Every measure is one number per question, so that its mean can be given with a bootstrap interval (Efron
1979), and compared with an earlier run question by question.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rag.answering.chatbot import Chatbot
from rag.errors import QuestionError
from rag.evaluation.dataset import EvalQuestion
from rag.types import Answer, Citation, Excerpt, Hit

CONFIDENCE_LEVEL = 0.95
"""Confidence level of the intervals."""

BOOTSTRAP_RESAMPLES = 2000

SEED = 7
"""Seed of the bootstrap: the same run gives the same intervals."""

Values = Mapping[str, float]
"""Name of a measure → its value for one question."""

_ARTICLES = {"a", "an", "the"}


@dataclass(frozen=True, slots=True)
class QuestionResult:
    """The result of one question.

    Attributes:
        values: The measures that apply to the question.
        best_hit: The first hit, if there is any.
        answer: The answer; None if only the search was evaluated.
    """

    eval_question: EvalQuestion
    values: Values
    best_hit: Hit | None
    answer: Answer | None = None

    @property
    def key(self) -> str:
        """Identifies the question across runs."""
        question = self.eval_question.question
        return question.text if question.id is None else str(question.id)

    @property
    def confidence(self) -> float:
        return self.answer.confidence if self.answer else 0.0

    def as_json(self) -> dict[str, Any]:
        result: dict[str, Any] = {"key": self.key, "question": self.eval_question.question.text}
        if self.answer is not None:
            result |= {"answer": self.answer.text, "mode": self.answer.mode.value}
        if self.best_hit is not None:
            result["best"] = self.best_hit.as_json()
        values = {name: round(value, 4) for name, value in self.values.items()}
        return result | {"values": values}


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of a measure over `n` questions, with its confidence interval from `low` to `high`."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """Estimate the mean of at least one value by the percentile bootstrap."""
        rng = np.random.default_rng(SEED)
        resamples = rng.choice(np.asarray(values), (BOOTSTRAP_RESAMPLES, len(values)))
        tail = 100 * (1 - CONFIDENCE_LEVEL) / 2
        low, high = np.percentile(resamples.mean(axis=1), [tail, 100 - tail])
        return cls(float(np.mean(values)), float(low), float(high), len(values))

    def as_json(self) -> dict[str, Any]:
        interval = {"value": self.value, "low": self.low, "high": self.high}
        return {name: round(value, 4) for name, value in interval.items()} | {"n": self.n}


class RiskCoveragePoint(NamedTuple):
    """The effect of refusing every question below a confidence.

    Attributes:
        confidence: The confidence.
        coverage: The share of the questions that would still be answered.
        risk: The share of those answers that are not right.
    """

    confidence: float
    coverage: float
    risk: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation run.

    Attributes:
        results: The result of each question.
        measures: The mean of each measure.
        differences: The mean difference of each measure from an earlier run.
        curve: Risk over coverage; empty if no question was answered whose right answer is known.
    """

    results: tuple[QuestionResult, ...]
    measures: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]
    curve: tuple[RiskCoveragePoint, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "questions": len(self.results),
            "measures": {name: estimate.as_json() for name, estimate in self.measures.items()},
            "differences": {
                name: estimate.as_json() for name, estimate in self.differences.items()
            },
            "risk_coverage": [
                {name: round(value, 4) for name, value in point._asdict().items()}
                for point in self.curve
            ],
            "outcomes": [result.as_json() for result in self.results],
        }


def evaluate_search(chatbot: Chatbot, eval_question: EvalQuestion, k: int) -> QuestionResult:
    """Search for `k` passages, and compute the measures of retrieval."""
    question = eval_question.question
    _, hits = chatbot.search(question.text, history=question.history, limit=k)
    values = _retrieval_measures(eval_question.relevance, hits, k)
    return QuestionResult(eval_question, values, hits[0] if hits else None)


def evaluate_answer(chatbot: Chatbot, eval_question: EvalQuestion, k: int) -> QuestionResult:
    """Search for `k` passages and answer the question, and compute all measures."""
    searched = evaluate_search(chatbot, eval_question, k)
    question = eval_question.question
    answer = chatbot.answer(question.text, history=question.history)
    values = {
        **searched.values,
        **_answer_measures(eval_question, answer),
        **_citation_measures(eval_question, answer),
        **_quote_measures(chatbot, answer.citations),
        "seconds": answer.timings.total_s,
    }
    return QuestionResult(eval_question, values, searched.best_hit, answer)


def evaluation(results: Sequence[QuestionResult], earlier: Mapping[str, Values]) -> Evaluation:
    """Summarise the results of a run.

    Args:
        results: The result of each question.
        earlier: The values of an earlier run by question key; empty if there is none to compare with.
    """
    differences = []
    for result in results:
        before = earlier.get(result.key)
        if before is not None:
            common = {name: value for name, value in result.values.items() if name in before}
            differences.append({name: value - before[name] for name, value in common.items()})
    return Evaluation(
        results=tuple(results),
        measures=_estimates([result.values for result in results]),
        differences=_estimates(differences),
        curve=risk_coverage(results),
    )


def read_baseline(file: Path) -> dict[str, Values]:
    """Read the values of a run that was saved with `rag eval --json`, by question key.

    Raises:
        QuestionError: The file cannot be read, or is not a saved run.
    """
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
        return {
            str(row["key"]): {str(name): float(v) for name, v in row["values"].items()}
            for row in saved["outcomes"]
        }
    except OSError as error:
        problem = f"The earlier run {file} cannot be read: {error.strerror}."
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        problem = f"{file} does not contain an earlier run."
    raise QuestionError(problem, remedy="Save one with `rag eval QUESTIONS --json > FILE`.")


_RIGHTNESS_MEASURES = frozenset({"right", "unanswerable: refused"})
"""Measures of questions whose right answer is known, or that should be refused."""


def risk_coverage(results: Sequence[QuestionResult]) -> tuple[RiskCoveragePoint, ...]:
    """Return the risk-coverage curve (El-Yaniv and Wiener 2010), from the highest confidence down.

    The curve ends with all questions that were answered, since nothing is known about the answers that
    were refused.
    """
    judged = [
        result
        for result in results
        if result.answer is not None and not result.values.keys().isdisjoint(_RIGHTNESS_MEASURES)
    ]
    answered = [result for result in judged if result.answer and result.answer.from_articles]
    answered.sort(key=lambda result: -result.confidence)
    points, wrong = [], 0
    for count, result in enumerate(answered, start=1):
        wrong += result.values.get("right", 0.0) < 1.0
        # Questions of equal confidence are refused together, and so make one point.
        is_last = count == len(answered)
        if is_last or answered[count].confidence < result.confidence:
            coverage, risk = count / len(judged), wrong / count
            points.append(RiskCoveragePoint(result.confidence, coverage, risk))
    return tuple(points)


def _estimates(values: Iterable[Values]) -> dict[str, Estimate]:
    """Estimate the mean of each measure over the questions to which it applies."""
    by_measure: dict[str, list[float]] = {}
    for question_values in values:
        for name, value in question_values.items():
            by_measure.setdefault(name, []).append(value)
    return {name: Estimate.of(of_measure) for name, of_measure in by_measure.items()}


# -- measures


def _retrieval_measures(relevance: Mapping[str, int], hits: Sequence[Hit], k: int) -> Values:
    """Measures over articles, ranked by their best passages; none if no article is relevant."""
    if not relevance:
        return {}
    from ir_measures import RR, R, ScoredDoc, calc_aggregate, nDCG

    ranked_ids = dict.fromkeys(
        excerpt.article_id for hit in hits for excerpt in _with_duplicates(hit.passage)
    )
    run = [ScoredDoc("q", article_id, -rank) for rank, article_id in enumerate(ranked_ids)]
    names = {R @ k: f"recall@{k}", RR: "MRR", nDCG @ k: f"nDCG@{k}"}
    values = calc_aggregate(names, {"q": relevance}, run)
    return {name: float(values[measure]) for measure, name in names.items()}


def _answer_measures(eval_question: EvalQuestion, answer: Answer) -> Values:
    """Whether the question was rightly answered or refused. Small talk counts as a refusal."""
    refused = not answer.from_articles
    if eval_question.unanswerable:
        return {"unanswerable: refused": float(refused)}
    answers = eval_question.answers
    if not answers:
        return {"wrongly refused": float(refused)} if eval_question.relevance else {}
    right = not refused and contains_answer(answer.text, answers)
    return {
        "right": float(right),
        "wrong": float(not refused and not right),
        "wrongly refused": float(refused),
        "exact match": 0.0 if refused else max(_exact_match(answer.text, a) for a in answers),
        "F1": 0.0 if refused else max(f1(answer.text, a) for a in answers),
    }


def _citation_measures(eval_question: EvalQuestion, answer: Answer) -> Values:
    """Precision and recall of the cited articles; none for a refusal."""
    relevance = eval_question.relevance
    if not answer.from_articles or not relevance:
        return {}
    cited = [
        {excerpt.article_id for excerpt in _with_duplicates(citation.quote)}
        for citation in answer.citations
    ]
    relevant_citations = sum(not ids.isdisjoint(relevance) for ids in cited)
    cited_ids = set[str]().union(*cited)
    return {
        "citation precision": relevant_citations / len(cited) if cited else 0.0,
        "citation recall": len(cited_ids & relevance.keys()) / len(relevance),
    }


def _quote_measures(chatbot: Chatbot, citations: Sequence[Citation]) -> Values:
    """The share of the quotes that occur verbatim at their offsets."""
    if not citations:
        return {}
    exact = 0
    for quote in (citation.quote for citation in citations):
        article = chatbot.index.article(quote.article_id)
        exact += article is not None and article.text[quote.start : quote.end] == quote.text
    return {"quotes exact": exact / len(citations)}


def _with_duplicates(excerpt: Excerpt) -> tuple[Excerpt, ...]:
    return (excerpt, *excerpt.duplicates)


def contains_answer(text: str, answers: Iterable[str]) -> bool:
    """Whether the text contains one of the answers, ignoring case, punctuation and a, an, the."""
    padded = f" {' '.join(_normalised_words(text))} "
    normalised = (" ".join(_normalised_words(answer)) for answer in answers)
    return any(f" {answer} " in padded for answer in normalised if answer)


def f1(text: str, answer: str) -> float:
    """Harmonic mean of precision and recall of the words of a text (Rajpurkar et al. 2016, "SQuAD")."""
    text_counts, answer_counts = (
        Counter(_normalised_words(text)),
        Counter(_normalised_words(answer)),
    )
    shared = (text_counts & answer_counts).total()
    return 2 * shared / (text_counts.total() + answer_counts.total()) if shared else 0.0


def _exact_match(text: str, answer: str) -> float:
    return float(_normalised_words(text) == _normalised_words(answer))


def _normalised_words(text: str) -> list[str]:
    """Words in lower case, without punctuation, articles and citation markers."""
    without_markers = re.sub(r"\[\d+\]", " ", text.lower())
    words = re.sub(r"[\W_]+", " ", without_markers).split()
    return [word for word in words if word not in _ARTICLES]
