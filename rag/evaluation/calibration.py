"""Calibration of the refusal threshold of an index, on questions synthesised from its own articles.

Each question is scored twice: with its article in the index, and as if that were missing. The threshold
that separates the two best is averaged with the built-in one, since synthetic questions differ from a
user's own.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from rag.answering.evidence import find_evidence
from rag.answering.retriever import DEFAULT_TOP_K, Retriever
from rag.evaluation.dataset import EvalQuestion
from rag.evaluation.synthesize import partial_recall_questions
from rag.indexing.sync import Progress
from rag.models.embedding.encoder import Encoder
from rag.models.reading.reader import Reader
from rag.store import thresholds
from rag.store.reader import IndexReader
from rag.store.thresholds import DEFAULT_THRESHOLD, Calibration
from rag.types import Hit, SearchQuery

MAX_QUESTIONS = 40
"""Number of questions to synthesise."""

MIN_QUESTIONS = 8
"""Number of questions below which nothing is concluded."""

BUILT_IN_WEIGHT = 160
"""Weight of the built-in threshold, in questions."""

THRESHOLDS = np.linspace(0.05, 0.95, 19)
"""The thresholds to choose from."""

ACCURACY_TOLERANCE = 0.01
"""Thresholds whose balanced accuracy is lower than the best by no more than this are averaged."""


def calibrate(folder: Path, encoder: Encoder, reader: Reader, progress: Progress) -> None:
    """Calibrate the index in `folder` and store the threshold with it.

    An index is calibrated again only if its sources have changed, or its number of passages has at
    least halved or doubled. An index with too few articles is left without a calibration.

    Raises:
        IndexUnusable: The index cannot be read or written.
        ModelError: The encoder cannot be loaded.
    """
    with IndexReader.open(folder, encoder=encoder.id) as index:
        previous = thresholds.read(folder, encoder.id)
        if previous and _is_current(previous, index):
            return
        thresholds.forget(folder)
        questions = list(partial_recall_questions(index, MAX_QUESTIONS))
        if len(questions) < MIN_QUESTIONS:
            return
        progress.start("Calibrating refusals", len(questions))
        retriever = Retriever(index, encoder)
        scores = []
        for question in questions:
            scores.append(_score_with_and_without_answer(retriever, reader, question))
            progress.advance(1)
        answerable, unanswerable = zip(*scores, strict=True)
        threshold = best_threshold(answerable, unanswerable)
        calibration = Calibration(
            encoder=encoder.id,
            sources=index.snapshot.sources,
            passages=index.passage_count,
            questions=len(questions),
            least_score=_shrunk_to_built_in(threshold, len(questions)),
        )
    thresholds.write(folder, calibration)


def best_threshold(answerable: Sequence[float], unanswerable: Sequence[float]) -> float:
    """Return the threshold with the best balanced accuracy; the mean of several that are as good.

    Args:
        answerable: Scores of questions that should be answered, 0 to 1.
        unanswerable: Scores of questions that should be refused.
    """
    answered = np.mean(np.asarray(answerable)[:, None] >= THRESHOLDS, axis=0)
    refused = np.mean(np.asarray(unanswerable)[:, None] < THRESHOLDS, axis=0)
    accuracy = (answered + refused) / 2
    return float(THRESHOLDS[accuracy >= accuracy.max() - ACCURACY_TOLERANCE].mean())


def _is_current(calibration: Calibration, index: IndexReader) -> bool:
    """Whether the index still has the sources, and about the size, for which it was calibrated."""
    similar_size = calibration.passages / 2 <= index.passage_count <= calibration.passages * 2
    return similar_size and calibration.sources == index.snapshot.sources


def _score_with_and_without_answer(
    retriever: Retriever, reader: Reader, question: EvalQuestion
) -> tuple[float, float]:
    """Return the best evidence score with, and without, the article that answers the question."""
    query = SearchQuery(question.question.text)
    hits = retriever.retrieve(query, 2 * DEFAULT_TOP_K)
    hits_with = hits[:DEFAULT_TOP_K]
    hits_without = [hit for hit in hits if not _is_from(hit, question.relevance)][:DEFAULT_TOP_K]
    all_hits = [*hits_with, *(hit for hit in hits_without if hit.rank > DEFAULT_TOP_K)]
    evidence = find_evidence(query, all_hits, reader, retriever.index.idf)
    other_articles = {hit.passage.article_id for hit in hits_without}
    return (
        max((item.score for item in evidence), default=0.0),
        max((i.score for i in evidence if i.sentence.article_id in other_articles), default=0.0),
    )


def _is_from(hit: Hit, article_ids: Collection[str]) -> bool:
    """Whether the passage, or a duplicate of it, is from one of the articles."""
    excerpts = (hit.passage, *hit.passage.duplicates)
    return any(excerpt.article_id in article_ids for excerpt in excerpts)


def _shrunk_to_built_in(threshold: float, questions: int) -> float:
    return (questions * threshold + BUILT_IN_WEIGHT * DEFAULT_THRESHOLD) / (
        questions + BUILT_IN_WEIGHT
    )
