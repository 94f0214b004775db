"""Measurements of the reader and the verifier on questions and claims that they were not trained on."""

import string
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from rag.models.reading.reader import ReadablePassage, Reader
from training.corpora import ReadingQuestion
from training.examples import Example, Label

Table = list[tuple[str, float]]


def measure_reader(reader: Reader, questions: Sequence[ReadingQuestion]) -> Table:
    """Return F1 and exact match where there is an answer, and how well other questions are detected.

    Args:
        reader: The reader.
        questions: Questions with the passage that answers them, or does not.
    """
    predicted, log_odds, answerable = [], [], []
    for question in questions:
        passage = ReadablePassage(question.title, question.passage)
        (reading,) = reader.read(question.question, [passage])
        spans = reading.spans
        predicted.append(question.passage[spans[0].start : spans[0].end] if spans else "")
        log_odds.append(reading.log_odds)
        answerable.append(bool(question.answers))
    pairs = [(p, q.answers) for p, q in zip(predicted, questions, strict=True) if q.answers]
    scores, labels = np.array(log_odds), np.array(answerable)
    rows: Table = [
        ("questions with an answer", len(pairs)),
        ("F1", _mean(max(_f1(p, a) for a in answers) for p, answers in pairs)),
        (
            "exact match",
            _mean(any(_words(p) == _words(a) for a in answers) for p, answers in pairs),
        ),
    ]
    if not labels.all():
        rows += [
            ("questions without an answer", int((~labels).sum())),
            ("area under the ROC curve", area_under_curve(scores, labels)),
            ("balanced accuracy at log odds 0", balanced_accuracy(scores > 0, labels)),
            ("best balanced accuracy", best_balanced_accuracy(scores, labels)),
        ]
    return rows


def measure_verifier(reader: Reader, claims: Sequence[Example]) -> Table:
    """Return how well supported claims are told from others, by kind of claim."""
    scores, labels, kinds = [], [], []
    for claim in claims:
        (result,) = reader.judge(claim.text, [ReadablePassage(claim.heading, claim.passage)])
        scores.append(result.supported)
        labels.append(claim.label is Label.SUPPORTED)
        kinds.append(claim.kind)
    values, truth, names = np.array(scores), np.array(labels), np.array(kinds)
    rows: Table = [("claims", len(claims))]
    for kind in sorted(set(kinds)):
        chosen = names == kind
        rows += [
            (f"{kind}: area under the ROC curve", area_under_curve(values[chosen], truth[chosen])),
            (
                f"{kind}: balanced accuracy at 0.5",
                balanced_accuracy(values[chosen] > 0.5, truth[chosen]),
            ),
        ]
    return rows


def area_under_curve(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    """Return the probability that a random positive scores higher than a random negative."""
    order = np.argsort(np.argsort(scores)) + 1
    positives = int(labels.sum())
    negatives = len(labels) - positives
    return float((order[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def balanced_accuracy(predicted: NDArray[np.bool_], labels: NDArray[np.bool_]) -> float:
    """Return the mean of the shares of positives and negatives that are recognised."""
    return float((predicted[labels].mean() + (~predicted[~labels]).mean()) / 2)


def best_balanced_accuracy(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    """Return the balanced accuracy at the best threshold of a hundred quantiles."""
    thresholds = np.quantile(scores, np.linspace(0, 1, 101))
    return max(balanced_accuracy(scores > threshold, labels) for threshold in thresholds)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _words(text: str) -> list[str]:
    kept = "".join(c if c not in string.punctuation + "“”‘’" else " " for c in text.lower())
    return [word for word in kept.split() if word not in ("a", "an", "the")]


def _f1(text: str, answer: str) -> float:
    """Return the F1 of the words in common (Rajpurkar et al. 2016)."""
    words, wanted = _words(text), _words(answer)
    shared = sum((Counter(words) & Counter(wanted)).values())
    return 2 * shared / (len(words) + len(wanted)) if shared else 0.0


def show(title: str, rows: Table) -> None:
    """Print a table."""
    print(f"\n{title}")
    for name, value in rows:
        print(f"  {name:45} {value:,.0f}" if value > 1 else f"  {name:45} {value:.3f}")
