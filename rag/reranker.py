"""Question and passages → how well each answers, by a sentence-transformers CrossEncoder.

It reads question and passage together, which is better than comparing two vectors and takes a
thousand times as long: so it only reorders what was found, for as long as a question may take.
"""

import os
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import ModelError

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

SECONDS = 0.5
"""For which passages are read; at least one batch is."""

BATCH = 4


class Reranker:
    """The CrossEncoder in `folder`. Nothing is fetched."""

    def __init__(self, name: str, folder: Path, seconds: float = SECONDS) -> None:
        self.name = name
        self._folder = folder
        self._seconds = seconds

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
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # as in rag.encoder
        from sentence_transformers import CrossEncoder
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            model: CrossEncoder = CrossEncoder(
                str(self._folder), device="cpu", local_files_only=True
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(
                f"The reranker in {self._folder} cannot be loaded: {str(error).splitlines()[0]}.",
                remedy="Set RAG_RERANKER to another one, or leave it out.",
            ) from error
        if model.num_labels != 1:
            raise ModelError(
                f"The model in {self._folder} is no reranker: it gives {model.num_labels} scores.",
                remedy="Set RAG_RERANKER to another one, or leave it out.",
            )
        return model
