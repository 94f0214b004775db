"""Recall measurement: what share of the exact search's results an approximate index returns."""

from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from rag.models.embedding.vectors import normalize
from rag.store.vectors.faiss_io import Ids, VectorBatches, Vectors, set_nprobe
from rag.store.vectors.index import VectorIndex

MIN_RECALL = 0.97
"""Minimum recall@10 for synthetic questions.

The recall for real questions differs from it by up to 0.01 (benchmarks/million.py); the goal for
them is 0.95.
"""

RECALL_AT = 10
QUESTIONS = 400
SEED = 7

_DEPTH = 100  # results kept of the exact search: there may be many ties with the tenth
_MAX_TIE = 1e-6  # difference of scores that counts as a tie
_MIN_NPROBE = 4
_QUESTION_COSINE = 0.4  # of a synthetic question to its passage
_NOISE_PASSAGES = 8


@dataclass(frozen=True, slots=True)
class RecallBenchmark:
    """Questions, shape (n, dimensions), with ids and scores of the exact search's results.

    Ids and scores have shape (n, _DEPTH), best first. A result that ties with the tenth counts as
    correct, since passages may be equal.
    """

    questions: Vectors
    ids: Ids
    scores: Vectors

    def recall(self, ids: Ids) -> float:
        """Return the mean recall of results, shape (n, RECALL_AT)."""
        tenth_scores = self.scores[:, RECALL_AT - 1 : RECALL_AT]
        is_correct = self.scores >= tenth_scores - _MAX_TIE
        is_returned = (self.ids[:, :, np.newaxis] == ids[:, np.newaxis, :]).any(axis=2)
        correct = (is_correct & is_returned).sum(axis=1)
        return float(np.minimum(correct, RECALL_AT).mean() / RECALL_AT)


def build_recall_benchmark(batches: VectorBatches, count: int) -> RecallBenchmark:
    """Search all of the `count` vectors exactly for synthetic questions."""
    questions = synthetic_questions(sample_vectors(batches, count, QUESTIONS))
    shape = (len(questions), _DEPTH)
    best_scores = np.full(shape, -np.inf, dtype=np.float32)
    best_ids = np.full(shape, -1, dtype=np.int64)
    rows = np.arange(len(questions))[:, np.newaxis]
    for ids, vectors in batches():
        scores = questions @ vectors.T
        candidates = np.flatnonzero((scores > best_scores[:, -1:]).any(axis=0))
        candidate_ids = np.broadcast_to(ids[candidates], (len(questions), len(candidates)))
        all_scores = np.concatenate([best_scores, scores[:, candidates]], axis=1)
        all_ids = np.concatenate([best_ids, candidate_ids], axis=1)
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, :_DEPTH]
        best_scores, best_ids = all_scores[rows, order], all_ids[rows, order]
    return RecallBenchmark(questions, best_ids, best_scores)


def synthetic_questions(passages: Vectors) -> Vectors:
    """Return a question vector for each passage vector, both of shape (n, dimensions).

    A question has a cosine of 0.4 to its passage, in a random direction otherwise: a mix of eight other
    passages. There are no real questions when an index is built. Real ones are far from all passages
    (those of SQuAD have a cosine of 0.5 to the nearest), so that their results are spread over many
    lists: the four nearest lists contain 80 % of the results of a question, but 99 % of those of a
    passage. The recall of synthetic questions is that of real ones, or slightly lower. The signs
    alternate so that what all passages have in common cancels out.
    """
    signs = np.resize([1.0, -1.0], _NOISE_PASSAGES)
    noise = sum(sign * np.roll(passages, i + 1, axis=0) for i, sign in enumerate(signs))
    noise_weight = sqrt(1 - _QUESTION_COSINE**2)
    questions = normalize(_QUESTION_COSINE * passages + noise_weight * normalize(noise))
    return questions.astype(np.float32)  # the signs have made them float64


def sample_vectors(batches: VectorBatches, count: int, size: int) -> Vectors:
    """Return a random sample of the `count` vectors, shape (size, dimensions), always the same one."""
    chosen = np.random.default_rng(SEED).choice(count, min(size, count), replace=False)
    is_chosen = np.zeros(count, dtype=np.bool_)
    is_chosen[chosen] = True
    samples, begin = [], 0
    for _, vectors in batches():
        samples.append(vectors[is_chosen[begin : begin + len(vectors)]])
        begin += len(vectors)
    return np.concatenate(samples)


def tune_nprobe(benchmark: RecallBenchmark, file: Path) -> tuple[int, float] | None:
    """Set the number of lists that a search of `file` visits to the smallest with enough recall.

    Numbers from four to half of the lists are tried, each twice the last.

    Returns:
        The number of lists and the recall; None if no number has a recall of MIN_RECALL.
    """
    import faiss

    index = VectorIndex.open(file).faiss_index
    nprobe = _MIN_NPROBE
    while nprobe <= index.nlist // 2:
        parameters = faiss.SearchParametersIVF(nprobe=nprobe)  # type: ignore[call-arg]
        _, ids = index.search(benchmark.questions, RECALL_AT, params=parameters)
        recall = benchmark.recall(ids)
        if recall >= MIN_RECALL:
            set_nprobe(file, nprobe)
            return nprobe, recall
        nprobe *= 2
    return None
