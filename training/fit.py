"""Fit of the weights with which evidence is scored: `python -m training.fit DATA`.

The sentences of the hits for questions of SQuAD 2.0's held-out titles are labelled by whether they
contain the answer. The weights are fitted on every other of these titles and reported on the rest.
"""

import argparse
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from sklearn.linear_model import LogisticRegression

from rag.answering.evidence import Features, Question, read_hits, sentence_features
from rag.answering.loading import build_reader
from rag.answering.retriever import DEFAULT_TOP_K, Retriever
from rag.models.embedding.encoder import Encoder
from rag.models.reading.reader import Reader
from rag.settings import load
from rag.store.reader import IndexReader
from rag.text.tokens import words
from rag.types import SearchQuery
from training.corpora import ReadingQuestion, read_squad_development
from training.measure import area_under_curve, balanced_accuracy, best_balanced_accuracy

SEED = 7


@dataclass(frozen=True, slots=True)
class ScoredQuestion:
    """The sentences found for a question.

    Attributes:
        features: Their features, shape (sentences, features).
        holds_answer: Whether each contains an accepted answer, and comes from the right article.
        span_right: Whether the best span that begins in each is an accepted answer.
    """

    answerable: bool
    features: NDArray[np.float64]
    holds_answer: NDArray[np.bool_]
    span_right: NDArray[np.bool_]


def main(data: Path, out: Path, count: int) -> None:
    """Print the weights, and what they are worth on titles that they were not fitted on."""
    index = out / "squad2"
    if not index.is_dir():
        source = str(data / "squad2" / "articles.jsonl")
        command = [sys.executable, "-m", "rag", "index", source, "--index", str(index)]
        subprocess.run(command, check=True)
    settings = load()
    encoder = Encoder.from_settings(settings)
    questions = list(read_squad_development(data / "squad2", held_out=True))
    fitting_titles = set(sorted({q.title for q in questions})[::2])
    rng = random.Random(SEED)
    with IndexReader.open(index, encoder=encoder.id) as reader:
        halves = [
            list(
                score(
                    Retriever(reader, encoder),
                    build_reader(settings),
                    sample(questions, titles, count, rng),
                )
            )
            for titles in (fitting_titles, {q.title for q in questions} - fitting_titles)
        ]
    report(*halves)


def sample(
    questions: Sequence[ReadingQuestion], titles: set[str], count: int, rng: random.Random
) -> list[ReadingQuestion]:
    """Return `count` questions with an answer on these titles, and half as many without."""
    chosen = [question for question in questions if question.title in titles]
    answerable = [question for question in chosen if question.answers]
    others = [question for question in chosen if not question.answers]
    return rng.sample(answerable, min(count, len(answerable))) + rng.sample(
        others, min(count // 2, len(others))
    )


def score(
    retriever: Retriever, reader: Reader, questions: Sequence[ReadingQuestion]
) -> Iterator[ScoredQuestion]:
    """Retrieve and read for each question."""
    for question in track(questions, "Reading"):
        hits = retriever.retrieve(SearchQuery(question.question), DEFAULT_TOP_K)
        readings = read_hits(question.question, hits, reader)
        prepared = Question(question.question, retriever.index.idf)
        features: list[Features] = []
        holds_answer, span_right = [], []
        for hit, reading in zip(hits, readings, strict=True):
            right_article = hit.passage.title.replace("_", " ") == question.title
            for sentence, spans, values in sentence_features(prepared, hit, reading):
                features.append(values)
                text = sentence.excerpt.text
                holds_answer.append(right_article and contains_any(text, question.answers))
                span = hit.passage.text[spans[0].start : spans[0].end] if spans else ""
                span_right.append(contains_any(span, question.answers))
        yield ScoredQuestion(
            bool(question.answers), np.array(features), np.array(holds_answer), np.array(span_right)
        )


def contains_any(text: str, answers: Sequence[str]) -> bool:
    """Return whether a text contains the words of one of the answers in a row."""
    text_words = f" {' '.join(words(text))} "
    return any(f" {' '.join(words(answer))} " in text_words for answer in answers)


def report(fitting: Sequence[ScoredQuestion], others: Sequence[ScoredQuestion]) -> None:
    """Fit the weights, and print them and how well they rank sentences and refuse questions."""
    x = np.concatenate([question.features for question in fitting])
    y = np.concatenate([question.holds_answer for question in fitting])
    model = LogisticRegression(C=1.0, max_iter=1000).fit(x, y)
    weights, bias = model.coef_[0], float(model.intercept_[0])
    for name, weight in zip(Features._fields, weights, strict=True):
        print(f"{name:20} {weight:8.3f}")
    print(f"{'bias':20} {bias:8.3f}")
    for name, half in (("fitted on", fitting), ("other titles", others)):
        print(name)
        print_quality(half, weights, bias)
    for dropped in range(len(weights)):
        kept = [i for i in range(len(weights)) if i != dropped]
        part = LogisticRegression(C=1.0, max_iter=1000).fit(x[:, kept], y)
        changed = np.insert(part.coef_[0], dropped, 0.0)
        print(f"without {Features._fields[dropped]}")
        print_quality(others, changed, float(part.intercept_[0]))


def print_quality(
    questions: Sequence[ScoredQuestion], weights: NDArray[np.float64], bias: float
) -> None:
    """Print how often the best sentence and its span are right, and how well scores tell refusals."""
    scores = [question.features @ weights + bias for question in questions]
    best = [int(s.argmax()) for s in scores]
    answerable = np.array([question.answerable for question in questions])
    sentence = [q.holds_answer[b] for q, b in zip(questions, best, strict=True) if q.answerable]
    span = [q.span_right[b] for q, b in zip(questions, best, strict=True) if q.answerable]
    confidence = np.array([s.max() for s in scores])
    print(
        f"  best sentence holds the answer {np.mean(sentence):.3f}, span right {np.mean(span):.3f};"
        f" answerable or not: AUC {area_under_curve(confidence, answerable):.3f},"
        f" balanced accuracy at 0.5 {balanced_accuracy(confidence > 0, answerable):.3f},"
        f" best {best_balanced_accuracy(confidence, answerable):.3f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m training.fit", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("training/run"))
    parser.add_argument("--questions", type=int, default=300, help="with an answer, of each half")
    arguments = parser.parse_args()
    main(arguments.data, arguments.out, arguments.questions)
