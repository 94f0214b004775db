"""Reranker: relevance scores for question and passage pairs, computed by a CrossEncoder.

A CrossEncoder reads question and passage together, which is more accurate than comparing their vectors
but about a thousand times as slow. It therefore only reorders retrieved passages, within a time limit.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rag.models import memory
from rag.models.cross_encoder import load_cross_encoder, wrong_score_count
from rag.models.lazy import Lazy

if TYPE_CHECKING:
    from rag.models.cross_encoder import CrossEncoder

TIME_LIMIT_S = 0.5
"""Seconds for scoring the passages of one question; the first batch is always scored."""

BATCH_SIZE = 4


class Reranker:
    """The reranker in `folder`, loaded on first use.

    Args:
        name: The name by which the user chose the model.
        folder: A CrossEncoder with one output score, saved by sentence-transformers.
        time_limit_s: Seconds after which no further batch is scored.
    """

    def __init__(self, name: str, folder: Path, time_limit_s: float = TIME_LIMIT_S) -> None:
        self.name = name
        self._folder = folder
        self._time_limit_s = time_limit_s
        self._model = Lazy(self._load)

    @property
    def memory(self) -> int:
        """Bytes of memory that loading the model will take; 0 once it is loaded."""
        return 0 if self._model.loaded else memory.estimate_memory(self._folder)

    def load(self) -> None:
        """Load the model now instead of on first use. Raises ModelError."""
        self._model.get()

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """Score how relevant each passage is to the question.

        Args:
            question: The question.
            passages: Passages, the most promising first.

        Returns:
            Scores from 0 to 1, higher is better, for as many of the first passages as the time limit
            allows.

        Raises:
            ModelError: The model cannot be loaded.
        """
        from torch.nn import Sigmoid

        deadline = time.perf_counter() + self._time_limit_s
        scores: list[float] = []
        while len(scores) < len(passages):
            batch = passages[len(scores) : len(scores) + BATCH_SIZE]
            batch_scores = self._model.get().predict(
                [(question, passage) for passage in batch],
                activation_fn=Sigmoid(),
                show_progress_bar=False,
            )
            scores += [float(score) for score in batch_scores]
            if time.perf_counter() > deadline:
                break
        return scores

    def _load(self) -> "CrossEncoder":
        model = load_cross_encoder(self._folder, "reranker")
        if model.num_labels != 1:
            raise wrong_score_count(self._folder, "reranker", model.num_labels)
        return model
