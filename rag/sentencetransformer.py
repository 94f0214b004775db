"""Encoders of every kind, run by sentence-transformers; with rag.crossencoder, the only door to it."""

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rag import hub

if TYPE_CHECKING:
    from torch.nn import Module

    from rag.bert import Places


class AnyEncoder:
    """The sentence-transformers model in `folder`; as rag.bert.Bert, which it stands in for."""

    def __init__(self, folder: Path, dimensions: int, longest: int) -> None:
        hub.stay_offline()
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self._model = SentenceTransformer(
            str(folder), device="cpu", local_files_only=True, truncate_dim=dimensions or None
        )
        self.longest = min(self._model.get_max_seq_length() or 512, longest)
        self._model.max_seq_length = self.longest
        self._model.float().eval()
        self.width: int = self._model.get_embedding_dimension() or dimensions
        self.marks: int = self._model.tokenizer.num_special_tokens_to_add()

    @property
    def network(self) -> "Module":
        return self._model

    @cached_property
    def _counter(self) -> Any:
        """A tokenizer of its own: told not to cut, which the model's can't be while it is at work."""
        return copy.deepcopy(self._model.tokenizer)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        encoded = self._counter(
            list(texts), add_special_tokens=False, truncation=False, verbose=False
        )
        return [len(ids) for ids in encoded["input_ids"]]

    def passage_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = self._model.encode_document(
            list(texts), batch_size=len(texts), show_progress_bar=False
        )
        return vectors

    def question_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = self._model.encode_query(
            list(texts), show_progress_bar=False
        )
        return vectors

    def token_vectors(self, texts: Sequence[str]) -> "list[tuple[Places, NDArray[np.float32]]]":
        # Without the prompts that an encoder may want in front: they are no part of the text.
        encoded = self._model.encode(
            list(texts),
            prompt="",
            batch_size=len(texts),
            output_value="token_embeddings",
            show_progress_bar=False,
        )
        places = self._counter(
            list(texts), return_offsets_mapping=True, truncation=True, max_length=self.longest
        )["offset_mapping"]
        return [
            (place, vectors.float().numpy()) for place, vectors in zip(places, encoded, strict=True)
        ]
