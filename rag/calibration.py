"""How sure an answer must be, found out on questions drafted from the articles themselves.

Each is weighed with its article in the index and as if it were left out. The threshold that tells the
two apart best is taken with reserve, since drafted questions are not a user's own.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from rag import threshold
from rag.datatypes import Hit, StandaloneQuestion
from rag.drafting import recalled
from rag.encoder import Encoder
from rag.evidence import weigh
from rag.index import PassageIndex
from rag.indexing import Progress
from rag.questions import Expected
from rag.retriever import HITS, Retriever
from rag.threshold import BUILT_IN, Calibration

QUESTIONS, LEAST_QUESTIONS = 40, 8
"""How many are drafted, and how few say nothing."""

RESERVE = 40
"""Questions that the built-in threshold counts as much as."""

THRESHOLDS = np.linspace(0.05, 0.95, 19)

ABOUT_AS_GOOD = 0.01
"""Balanced accuracy within which thresholds are all the best: the middle of them is taken."""


def calibrate(folder: Path, encoder: Encoder, progress: Progress) -> None:
    """Calibrate the index in `folder`, unless that was done when it was about as it is now.

    That is: of the same sources, and half to twice as large.

    Raises IndexUnusable and ModelError.
    """
    with PassageIndex.open(folder, encoder=encoder.id) as index:
        done = threshold.read(folder, encoder.id)
        if done and _about_as_it_was(index, done):
            return
        threshold.forget(folder)
        asked = list(recalled(index, QUESTIONS))
        if len(asked) < LEAST_QUESTIONS:
            return
        progress.start("Calibrating refusals", len(asked))
        retriever = Retriever(index, encoder)
        scores = []
        for expected in asked:
            scores.append(_scores(retriever, expected))
            progress.advance(1)
        held, left_out = zip(*scores, strict=True)
        found = Calibration(
            encoder=encoder.id,
            sources=index.commit.sources,
            passages=index.passage_count,
            questions=len(asked),
            least_score=_with_reserve(_telling_apart(held, left_out), len(asked)),
        )
    threshold.write(folder, found)


def _about_as_it_was(index: PassageIndex, done: Calibration) -> bool:
    as_large = done.passages / 2 <= index.passage_count <= done.passages * 2
    return as_large and done.sources == index.commit.sources


def _scores(retriever: Retriever, expected: Expected) -> tuple[float, float]:
    """How surely a question is answered, and would be without the article that answers it."""
    question = StandaloneQuestion(expected.question.text)
    hits = retriever.retrieve(question, 2 * HITS)
    others = [hit for hit in hits if not _tells(hit, expected.gains)][:HITS]
    read = [*hits[:HITS], *(hit for hit in others if hit.rank > HITS)]
    evidence = weigh(question, read, retriever.encoder, retriever.index.rarity)
    elsewhere = {hit.passage.article_id for hit in others}
    return (
        max((found.score for found in evidence), default=0.0),
        max((e.score for e in evidence if e.sentence.article_id in elsewhere), default=0.0),
    )


def _tells(hit: Hit, articles: Collection[str]) -> bool:
    return any(place.article_id in articles for place in (hit.passage, *hit.passage.also))


def _telling_apart(held: Sequence[float], left_out: Sequence[float]) -> float:
    """The threshold with the best balanced accuracy."""
    answered = np.mean(np.asarray(held)[:, None] >= THRESHOLDS, axis=0)
    refused = np.mean(np.asarray(left_out)[:, None] < THRESHOLDS, axis=0)
    balanced = (answered + refused) / 2
    return float(THRESHOLDS[balanced >= balanced.max() - ABOUT_AS_GOOD].mean())


def _with_reserve(found: float, questions: int) -> float:
    return (questions * found + RESERVE * BUILT_IN) / (questions + RESERVE)
