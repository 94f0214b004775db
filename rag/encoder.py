"""Texts → vectors, by sentence-transformers. The model is loaded when it is first needed."""

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rag.errors import ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH = 32


class Encoder:
    """The encoder of an index. `name` is what the index remembers it by."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder

    @cached_property
    def _model(self) -> "SentenceTransformer":
        # The folder is complete; without this, the libraries ask the hub about it all the same.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            model = SentenceTransformer(str(self._folder), device="cpu", local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(
                f"The encoder in {self._folder} cannot be loaded: {str(error).splitlines()[0]}.",
                remedy="Set RAG_ENCODER to another one, or leave it out.",
            ) from error
        capabilities = torch.cpu.get_capabilities()
        if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"):
            # Twice as fast where the processor has it (docs/measurements.md), far slower elsewhere.
            model.bfloat16()
        return model.eval()

    def load(self) -> None:
        """Load the model now rather than at the first text."""
        _ = self._model

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text the encoder takes in, its own marks left out."""
        longest: int = self._model.get_max_seq_length() or 512
        marks: int = self._model.tokenizer.num_special_tokens_to_add()
        return longest - marks

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text is, the encoder's own marks left out."""
        if not texts:
            return []
        encoded = self._model.tokenizer(
            list(texts), add_special_tokens=False, truncation=False, verbose=False
        )
        return [len(ids) for ids in encoded["input_ids"]]

    def encode_passages(
        self, texts: Sequence[str], progress: Callable[[int], object] = lambda done: None
    ) -> NDArray[np.float32]:
        """Vectors of length 1, shape (texts, dimensions). `progress` is told of each batch's size."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors: NDArray[np.float32] | None = None
        for begin in range(0, len(order), BATCH):
            batch = order[begin : begin + BATCH]
            encoded = self._encode([texts[i] for i in batch])
            if vectors is None:
                vectors = np.empty((len(texts), encoded.shape[1]), dtype=np.float32)
            vectors[batch] = encoded
            progress(len(batch))
        return np.empty((0, 0), dtype=np.float32) if vectors is None else vectors

    def encode_question(self, question: str) -> NDArray[np.float32]:
        """The question's vector of length 1, shape (dimensions,)."""
        vectors = self._model.encode_query([question], show_progress_bar=False)
        vector: NDArray[np.float32] = _of_length_one(vectors)[0]
        return vector

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        return _of_length_one(self._model.encode_document(texts, show_progress_bar=False))


def _of_length_one(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scaled in float32: where the model runs in bfloat16, it misses by half a percent itself."""
    exact = np.asarray(vectors, dtype=np.float32)
    scaled: NDArray[np.float32] = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    return scaled
