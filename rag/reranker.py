"""Question and passages → how well each answers, by a sentence-transformers CrossEncoder.

It reads question and passage together, which is better than comparing two vectors and takes a
thousand times as long: so it only reorders what was found, for as long as a question may take.
"""

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rag import memory
from rag.crossencoder import loaded, unfit

if TYPE_CHECKING:
    from rag.crossencoder import CrossEncoder

SECONDS = 0.5
"""For which passages are read; at least one batch is."""

BATCH = 4


class Reranker:
    """The CrossEncoder in `folder`. Nothing is fetched."""

    def __init__(self, name: str, folder: Path, seconds: float = SECONDS) -> None:
        self.name = name
        self._folder = folder
        self._seconds = seconds

    @property
    def memory(self) -> int:
        """Bytes that loading it will take; none when it is loaded."""
        return 0 if "_model" in self.__dict__ else memory.of_weights(self._folder)

    def load(self) -> None:
        """Load the model now rather than at the first question. Raises ModelError."""
        _ = self._model

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """0 to 1 for each of the first passages, as many as there is time for; higher is better."""
        from torch.nn import Sigmoid

        ends = time.perf_counter() + self._seconds
        scores: list[float] = []
        while len(scores) < len(passages):
            batch = passages[len(scores) : len(scores) + BATCH]
            found = self._model.predict(
                [(question, passage) for passage in batch],
                activation_fn=Sigmoid(),
                show_progress_bar=False,
            )
            scores += [float(score) for score in found]
            if time.perf_counter() > ends:
                break
        return scores

    @cached_property
    def _model(self) -> "CrossEncoder":
        model = loaded(self._folder, "reranker")
        if model.num_labels != 1:
            raise unfit(self._folder, "reranker", model.num_labels)
        return model
