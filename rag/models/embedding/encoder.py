"""Text encoder: embeddings of passages and questions.

The encoder computes in the arithmetic that is fastest on this machine (see `arithmetic`), and in float32
where its vectors would otherwise differ too much.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.errors import ModelError, SettingError
from rag.models import memory
from rag.models.embedding import arithmetic
from rag.models.embedding.arithmetic import PROBES, Arithmetic
from rag.models.embedding.base import EmbeddingModel
from rag.models.embedding.fingerprint import compute_fingerprint
from rag.models.embedding.vectors import normalize
from rag.models.lazy import Lazy
from rag.models.resolve import MINILM, encoder_folder
from rag.models.threads import single_threaded_pool
from rag.settings import Settings
from rag.types import EncoderId

BATCH_TOKENS = 1024
"""Most tokens in a batch, padding included: so few that they stay in the processor's caches."""


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """How an encoder is used.

    Attributes:
        dimensions: The length to which vectors are truncated; 0 for all dimensions.
        passage_tokens: The most tokens of a text to read, special tokens included.
        dtype: int8, bfloat16, float32, or auto for the fastest of them on this machine. The encoder
            computes in float32 where the vectors would otherwise differ too much.
    """

    dimensions: int = 0
    passage_tokens: int = 256
    dtype: str = "auto"

    @property
    def fingerprint_suffix(self) -> str:
        """Tells apart vectors computed with different options; empty for the default options."""
        suffix = f"-{self.dimensions}d" if self.dimensions else ""
        if self.passage_tokens != DEFAULT_OPTIONS.passage_tokens:
            suffix += f"-{self.passage_tokens}t"
        return suffix


DEFAULT_OPTIONS = EncoderOptions()


class Encoder:
    """An encoder that is loaded on first use.

    Args:
        name: The name by which the user chose the model.
        folder: The model's sentence-transformers folder.
        cache: The cache folder, for the fingerprint and for measurements; None to keep neither.
        options: How the encoder is used.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        cache: Path | None = None,
        options: EncoderOptions = DEFAULT_OPTIONS,
    ) -> None:
        self.name = name
        self.folder = folder
        self._cache = cache
        self._options = options
        self._model: Lazy[EmbeddingModel] = Lazy(self._load_model)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Encoder":
        """Build the encoder that the settings name. Raises ModelError if it is missing."""
        folder = encoder_folder(settings.encoder, settings.cache)
        options = EncoderOptions(
            settings.dimensions, settings.passage_tokens, settings.encoder_dtype
        )
        return cls(settings.encoder, folder, settings.cache, options)

    @property
    def id(self) -> EncoderId:
        """Identifies the encoder in an index."""
        return EncoderId(self.name, self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the weights, configuration and options; computed without loading the model."""
        try:
            return compute_fingerprint(self.folder, self._cache) + self._options.fingerprint_suffix
        except OSError as error:
            raise ModelError(
                f"The encoder in {self.folder} cannot be read: {error.strerror}.",
                remedy="Set RAG_ENCODER to another model, or unset it.",
            ) from error

    @cached_property
    def arithmetic(self) -> Arithmetic:
        """The arithmetic to compute in, provided that its vectors agree with those of float32."""
        embedded = MINILM.locate() / MINILM.folder
        return arithmetic.get_timings(self._cache, embedded).fastest(self._options.dtype)

    def load(self) -> None:
        """Load the model now instead of on first use.

        Raises:
            ModelError: The model cannot be loaded.
            SettingError: The model has fewer dimensions than the options ask for.
        """
        self._model.get()

    def _load_model(self) -> EmbeddingModel:
        # By default, oneDNN caches prepared operations for 1,024 shapes, but few shapes ever recur.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8")
        kind = self.arithmetic
        try:
            model = _load_with_arithmetic(self.folder, self._options, kind)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(
                f"The encoder in {self.folder} cannot be loaded: {str(error).splitlines()[0]}.",
                remedy="Set RAG_ENCODER to another model, or unset it.",
            ) from error
        if self._options.dimensions > model.dimensions:
            raise SettingError(
                f"RAG_DIMENSIONS is {self._options.dimensions}, but vectors of {self.name} have only"
                f" {model.dimensions} dimensions.",
                remedy="Set it to fewer, or unset it to use all.",
            )
        return model

    @property
    def memory(self) -> int:
        """Bytes of memory that loading the model will take; 0 once it is loaded."""
        return 0 if self._model.loaded else memory.estimate_memory(self.folder)

    @property
    def max_tokens(self) -> int:
        """The most tokens of a text that the encoder reads, special tokens excluded."""
        model = self._model.get()
        return model.max_length - model.special_tokens

    @cached_property
    def dimensions(self) -> int:
        """The length of a vector."""
        return len(self.encode_question(PROBES[0]))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, without truncation and without special tokens."""
        return self._model.get().count_tokens(texts) if texts else []

    def encode_passages(
        self, texts: Sequence[str], progress: Callable[[int], object] = lambda done: None
    ) -> NDArray[np.float32]:
        """Embed passages.

        Args:
            texts: The passages; tokens beyond `max_tokens` are ignored.
            progress: Called after each batch with the number of passages in it.

        Returns:
            Unit vectors, shape (texts, dimensions); shape (0, 0) for no texts.
        """
        from joblib import cpu_count  # respects the CPU limit of a container

        if not texts:
            return np.empty((0, 0), dtype=np.float32)
        lengths = [min(count, self.max_tokens) for count in self.count_tokens(texts)]
        tokens_per_core = -(-sum(lengths) // cpu_count())
        batches = make_batches(lengths, min(BATCH_TOKENS, tokens_per_core))
        vectors: dict[int, NDArray[np.float32]] = {}
        with single_threaded_pool() as pool:
            results = pool.map(lambda batch: self._encode([texts[i] for i in batch]), batches)
            for batch, batch_vectors in zip(batches, results, strict=True):
                vectors.update(zip(batch, batch_vectors, strict=True))
                progress(len(batch))
        return np.stack([vectors[index] for index in range(len(texts))])

    def encode_question(self, question: str) -> NDArray[np.float32]:
        """Embed a question. Returns a unit vector, shape (dimensions,)."""
        vector: NDArray[np.float32] = normalize(self._model.get().question_vectors([question]))[0]
        return vector

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        return normalize(self._model.get().passage_vectors(texts))


def _load_with_arithmetic(
    folder: Path, options: EncoderOptions, kind: Arithmetic
) -> EmbeddingModel:
    """Load a model; it computes in float32 if its vectors do not agree in this arithmetic."""
    model = _load_float32(folder, options)
    if kind is Arithmetic.FLOAT32:
        return model
    expected = arithmetic.probe_vectors(model)
    with suppress(RuntimeError):  # unsupported types or sizes of layers
        arithmetic.apply(model.network, kind)
        if arithmetic.agree(arithmetic.probe_vectors(model), expected):
            return model
    return _load_float32(folder, options)


def _load_float32(folder: Path, options: EncoderOptions) -> EmbeddingModel:
    """Load a model, if possible without sentence-transformers, whose import takes seconds."""
    from rag.models.embedding.minilm import BertEncoder, read_shape

    shape = read_shape(folder)
    if shape is not None:
        return BertEncoder(folder, shape, options.dimensions, options.passage_tokens)
    from rag.models.embedding.sentence_transformer import SentenceTransformerEncoder

    return SentenceTransformerEncoder(folder, options.dimensions, options.passage_tokens)


def make_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Group texts of similar length into batches, the longest texts first.

    Args:
        lengths: The number of tokens of each text.
        max_tokens: The most tokens in a batch, padding included; a longer text has its own batch.

    Returns:
        The indices of the texts in each batch.
    """
    batches: list[list[int]] = []
    capacity = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if capacity < 1:
            batches.append([])
            capacity = max_tokens // max(1, lengths[index])
        batches[-1].append(index)
        capacity -= 1
    return batches
