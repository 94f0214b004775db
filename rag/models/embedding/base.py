"""The interface of embedding models, which `Encoder` runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch.nn import Module


class EmbeddingModel(Protocol):
    """A loaded model that computes embeddings of texts, not yet normalised.

    Attributes:
        max_length: The most tokens of a text that it reads, special tokens included.
        dimensions: The length of its vectors before they are truncated.
        special_tokens: The number of special tokens that it adds to each text.
    """

    max_length: int
    dimensions: int
    special_tokens: int

    @property
    def network(self) -> "Module":
        """The neural network, whose linear layers may be replaced."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, without truncation and without special tokens."""
        ...

    def passage_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed passages, all in one batch. Returns shape (texts, dimensions)."""
        ...

    def question_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed questions, all in one batch. Returns shape (texts, dimensions)."""
        ...
