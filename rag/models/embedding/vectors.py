"""Vector arithmetic."""

import numpy as np
from numpy.typing import NDArray

MIN_NORM = 1e-9
"""Smaller norms count as this one, so that a zero vector stays zero instead of becoming NaN."""


def normalize(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale vectors to unit length.

    Args:
        vectors: Vectors along the last axis, shape (..., dimensions).

    Returns:
        The scaled vectors, in the same shape. Zero vectors stay zero.
    """
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: NDArray[np.float32] = vectors / np.maximum(norms, MIN_NORM)
    return unit
