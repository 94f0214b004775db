"""Encoders of any kind, run by sentence-transformers."""

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rag.models import hub

if TYPE_CHECKING:
    from torch.nn import Module


class SentenceTransformerEncoder:
    """An `EmbeddingModel` that runs a sentence-transformers model.

    Args:
        folder: The model's folder.
        dimensions: The length to which vectors are truncated; 0 for all dimensions.
        max_length: The most tokens of a text to read, special tokens included; the model's own limit
            applies if it is lower.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is damaged, or the model needs code of its own.
    """

    def __init__(self, folder: Path, dimensions: int, max_length: int) -> None:
        hub.stay_offline()
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self._model = SentenceTransformer(
            str(folder), device="cpu", local_files_only=True, truncate_dim=dimensions or None
        )
        self.max_length = min(self._model.get_max_seq_length() or 512, max_length)
        self._model.max_seq_length = self.max_length
        self._model.float().eval()
        self.dimensions: int = self._model.get_embedding_dimension() or dimensions
        self.special_tokens: int = self._model.tokenizer.num_special_tokens_to_add()

    @property
    def network(self) -> "Module":
        return self._model

    @cached_property
    def _counter(self) -> Any:
        """A copy of the tokenizer, since changing the truncation of the one in use is not thread-safe."""
        return copy.deepcopy(self._model.tokenizer)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, without truncation and without special tokens."""
        encodings = self._counter(
            list(texts), add_special_tokens=False, truncation=False, verbose=False
        )
        return [len(ids) for ids in encodings["input_ids"]]

    def passage_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed passages, after the model's passage prompt. Returns shape (texts, dimensions)."""
        vectors: NDArray[np.float32] = self._model.encode_document(
            list(texts), batch_size=len(texts), show_progress_bar=False
        )
        return vectors

    def question_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed questions, after the model's query prompt. Returns shape (texts, dimensions)."""
        vectors: NDArray[np.float32] = self._model.encode_query(
            list(texts), show_progress_bar=False
        )
        return vectors
