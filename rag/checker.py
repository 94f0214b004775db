"""A text and a statement → whether the one supports the other, by a sentence-transformers CrossEncoder.

Two kinds are known: those for natural language inference, whose labels are entailment, neutral and
contradiction, and those like MiniCheck (Tang et al. 2024), which say supported or not.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rag import memory
from rag.crossencoder import loaded, unfit
from rag.datatypes import Opinion

if TYPE_CHECKING:
    from rag.crossencoder import CrossEncoder

INFERENCE = {"entailment", "neutral", "contradiction"}
"""The labels of a model for natural language inference."""


class Checker:
    """The CrossEncoder in `folder`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder

    @property
    def memory(self) -> int:
        """Bytes that loading it will take; none when it is loaded."""
        return 0 if "_model" in self.__dict__ else memory.of_weights(self._folder)

    def load(self) -> None:
        """Load the model now rather than at the first sentence. Raises ModelError."""
        _ = self._labels

    def opinion(self, text: str, statement: str) -> Opinion:
        """What the model makes of the statement beside the text."""
        from torch.nn import Identity

        scores = self._model.predict(
            [(text, statement)], activation_fn=Identity(), show_progress_bar=False
        )
        return _read(self._labels, np.asarray(scores, dtype=np.float64).reshape(-1))

    @cached_property
    def _model(self) -> "CrossEncoder":
        return loaded(self._folder, "checker")

    @cached_property
    def _labels(self) -> Sequence[str]:
        """What its scores stand for. Raises ModelError when that is not known."""
        names = getattr(self._model.config, "id2label", None) or {0: ""}
        labels = [str(names[place]).lower() for place in sorted(names)]
        if len(labels) > 2 and set(labels) != INFERENCE:
            raise unfit(self._folder, "checker", len(labels))
        return labels


def _read(labels: Sequence[str], scores: NDArray[np.float64]) -> Opinion:
    """The opinion that a model's raw scores stand for."""
    if len(labels) == 1:
        return Opinion(float(1 / (1 + np.exp(-scores[0]))), 0.0)
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    if set(labels) == INFERENCE:
        found = dict(zip(labels, shares.tolist(), strict=True))
        return Opinion(found["entailment"], found["contradiction"])
    return Opinion(float(shares[1]), 0.0)  # not supported, supported
