"""Entailment model: whether a text supports or contradicts a statement.

The model is a sentence-transformers CrossEncoder of one of two kinds: natural language inference, with
the labels entailment, neutral and contradiction; or MiniCheck (Tang et al. 2024), with the labels
unsupported and supported.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag.models import memory
from rag.models.cross_encoder import load_cross_encoder, wrong_score_count
from rag.models.lazy import Lazy
from rag.models.reading.reader import ReadablePassage
from rag.types import ClaimScores, EntailmentScores

if TYPE_CHECKING:
    from rag.models.cross_encoder import CrossEncoder

NLI_LABELS = {"entailment", "neutral", "contradiction"}


class _Classifier(NamedTuple):
    """A loaded model and the label of each of its output scores, in lower case."""

    model: "CrossEncoder"
    labels: Sequence[str]


class EntailmentModel:
    """The entailment model in `folder`, loaded on first use.

    Args:
        name: The name by which the user chose the model.
        folder: A CrossEncoder saved by sentence-transformers.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder
        self._classifier = Lazy(self._load)

    @property
    def memory(self) -> int:
        """Bytes of memory that loading the model will take; 0 once it is loaded."""
        return 0 if self._classifier.loaded else memory.estimate_memory(self._folder)

    def load(self) -> None:
        """Load the model now instead of on first use. Raises ModelError."""
        self._classifier.get()

    def predict(self, text: str, statement: str) -> EntailmentScores:
        """Return the probabilities that `text` supports and contradicts `statement`.

        Raises:
            ModelError: The model cannot be loaded.
        """
        from torch.nn import Identity

        model, labels = self._classifier.get()
        logits = model.predict(
            [(text, statement)], activation_fn=Identity(), show_progress_bar=False
        )
        return _scores_from_logits(labels, np.asarray(logits, dtype=np.float64).reshape(-1))

    def judge(self, claim: str, passages: Sequence[ReadablePassage]) -> list[ClaimScores]:
        """Judge a claim by each of several passages. Raises ModelError."""
        scores = [self.predict(passage.text, claim) for passage in passages]
        return [
            ClaimScores(score.supports, score.contradicts, 1 - score.supports - score.contradicts)
            for score in scores
        ]

    def _load(self) -> _Classifier:
        model = load_cross_encoder(self._folder, "checker")
        names = getattr(model.config, "id2label", None) or {0: ""}
        labels = [str(names[index]).lower() for index in sorted(names)]
        if len(labels) > 2 and set(labels) != NLI_LABELS:
            raise wrong_score_count(self._folder, "checker", len(labels))
        return _Classifier(model, labels)


def _scores_from_logits(labels: Sequence[str], logits: NDArray[np.float64]) -> EntailmentScores:
    """Convert a model's logits, shape (labels,), to probabilities."""
    if len(labels) == 1:
        return EntailmentScores(float(1 / (1 + np.exp(-logits[0]))), 0.0)
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    if set(labels) == NLI_LABELS:
        by_label = dict(zip(labels, probabilities.tolist(), strict=True))
        return EntailmentScores(by_label["entailment"], by_label["contradiction"])
    return EntailmentScores(float(probabilities[1]), 0.0)  # labels: unsupported, supported
