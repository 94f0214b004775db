"""Texts → vectors, by torch or by sentence-transformers. The model is loaded when it is first needed.

It computes in the arithmetic that is fastest on this machine (rag.arithmetic). Where that changes what
comes out, everything stays in float32.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rag import arithmetic, memory
from rag.arithmetic import PROBES, Way
from rag.datatypes import EncoderId
from rag.errors import ModelError, SettingError
from rag.models import MINILM, encoder_folder, making
from rag.settings import Settings

if TYPE_CHECKING:
    from rag.bert import Bert
    from rag.sentencetransformer import AnyEncoder

BATCH_TOKENS = 1024
"""A batch of so many tokens, padding included, stays within the processor's own memory."""

REMEMBERED = 128
"""Texts whose tokens' vectors are kept, those of the last questions: up to 50 MB. Who asks on asks of the
same articles, and questions to offer are tried on them."""

HASHED = {".json", ".txt", ".model", ".py", ".safetensors", ".bin"}
"""The kinds of files in an encoder's folder that decide what its vectors are."""


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """Tokens of a text: their (start, end) in it, and vectors of length 1, shape (tokens, dimensions).

    The encoder's own marks are left out.
    """

    places: NDArray[np.int64]
    vectors: NDArray[np.float32]

    @classmethod
    def of(cls, places: Sequence[Sequence[int]], vectors: NDArray[np.float32]) -> "TokenVectors":
        found = np.asarray(places, dtype=np.int64).reshape(-1, 2)
        told = found[:, 0] < found[:, 1]
        return cls(found[told], _of_length_one(vectors[told]))

    def within(self, start: int, end: int) -> NDArray[np.float32]:
        """The vectors of the tokens between two offsets."""
        inside = (self.places[:, 0] >= start) & (self.places[:, 1] <= end)
        return self.vectors[inside]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How an encoder is used: `dimensions` of a vector (0 for all), `passage_tokens` at most of a text.

    `dtype` is int8, bfloat16, float32, or auto for the fastest of them on this machine; where its
    vectors do not agree with those of float32, the encoder computes in float32.
    """

    dimensions: int = 0
    passage_tokens: int = 256
    dtype: str = "auto"

    @property
    def mark(self) -> str:
        """What sets these vectors and passages apart from those that are usual; empty for these."""
        cut = f"-{self.dimensions}d" if self.dimensions else ""
        longest = self.passage_tokens != USUAL.passage_tokens
        return cut + (f"-{self.passage_tokens}t" if longest else "")


USUAL = Encoding()


class Encoder:
    """The encoder of an index. `cache` is where its fingerprint is kept between runs."""

    def __init__(
        self, name: str, folder: Path, cache: Path | None = None, encoding: Encoding = USUAL
    ) -> None:
        self.name = name
        self._folder = folder
        self._cache = cache
        self._encoding = encoding
        self._remembered = lru_cache(REMEMBERED)(self._tokens_of)

    @classmethod
    def chosen(cls, settings: Settings) -> "Encoder":
        """The one of the settings. Raises ModelError when it is not there."""
        folder = encoder_folder(settings.encoder, settings.cache)
        encoding = Encoding(settings.dimensions, settings.passage_tokens, settings.encoder_dtype)
        return cls(settings.encoder, folder, settings.cache, encoding)

    @property
    def id(self) -> EncoderId:
        """What an index remembers the encoder by."""
        return EncoderId(self.name, self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the weights and the configuration. The model need not be loaded for it."""
        try:
            return _fingerprint(self._folder, self._cache) + self._encoding.mark
        except OSError as error:
            raise ModelError(
                f"The encoder in {self._folder} cannot be read: {error.strerror}.",
                remedy="Set RAG_ENCODER to another one, or leave it out.",
            ) from error

    @cached_property
    def _model(self) -> "Bert | AnyEncoder":
        # oneDNN keeps what it has made ready for each of 1,024 shapes, which is one batch's or none's.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8")
        wanted, way = self._encoding, self.way
        try:
            model = _opened(self._folder, wanted, way)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(
                f"The encoder in {self._folder} cannot be loaded: {str(error).splitlines()[0]}.",
                remedy="Set RAG_ENCODER to another one, or leave it out.",
            ) from error
        if wanted.dimensions > model.width:
            raise SettingError(
                f"RAG_DIMENSIONS is {wanted.dimensions}, and {self.name} makes vectors of"
                f" {model.width}.",
                remedy="Set it to fewer, or leave it out for all.",
            )
        return model

    @cached_property
    def way(self) -> Way:
        """In which arithmetic it computes, if its vectors stay what they are in float32."""
        embedded = MINILM.locate() / MINILM.folder
        return arithmetic.measured(self._cache, embedded).fastest(self._encoding.dtype)

    def load(self) -> None:
        """Load the model now rather than at the first text."""
        _ = self._model

    @property
    def memory(self) -> int:
        """Bytes that loading it will take; none when it is loaded."""
        return 0 if "_model" in self.__dict__ else memory.of_weights(self._folder)

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text the encoder takes in, its own marks left out."""
        return self._model.longest - self._model.marks

    @cached_property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        return len(self.encode_question(PROBES[0]))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text is, the encoder's own marks left out."""
        return self._model.count_tokens(texts) if texts else []

    def encode_passages(
        self, texts: Sequence[str], progress: Callable[[int], object] = lambda done: None
    ) -> NDArray[np.float32]:
        """Vectors of length 1, shape (texts, dimensions). `progress` is told of each batch's size."""
        from joblib import cpu_count  # of this container, on a machine that may have many more

        if not texts:
            return np.empty((0, 0), dtype=np.float32)
        lengths = [min(count, self.max_tokens) for count in self.count_tokens(texts)]
        batches = _batches(lengths, min(BATCH_TOKENS, -(-sum(lengths) // cpu_count())))
        done: dict[int, NDArray[np.float32]] = {}
        with _pool() as pool:
            encoded = pool.map(lambda batch: self._encode([texts[i] for i in batch]), batches)
            for batch, found in zip(batches, encoded, strict=True):
                done.update(zip(batch, found, strict=True))
                progress(len(batch))
        return np.stack([done[place] for place in range(len(texts))])

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """A vector for each token of each text, as the tokens around it make it.

        What is longer than `max_tokens` is cut. Each text is read by itself: in a batch, whole numbers
        are rounded otherwise, and what is remembered of a text must be what reading it again would give.
        """
        self.load()
        with _pool() as pool:
            return list(pool.map(self._remembered, texts))

    def forget(self) -> None:
        """Keep nothing of the texts that were read."""
        self._remembered.cache_clear()

    def encode_question(self, question: str) -> NDArray[np.float32]:
        """The question's vector of length 1, shape (dimensions,)."""
        vector: NDArray[np.float32] = _of_length_one(self._model.question_vectors([question]))[0]
        return vector

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        return _of_length_one(self._model.passage_vectors(texts))

    def _tokens_of(self, text: str) -> TokenVectors:
        (of_text,) = self._model.token_vectors([text])
        return TokenVectors.of(*of_text)


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """A text or a batch to a core, rather than all cores to one.

    These would wait for each other at every layer, and for long when another program wants a core too.
    """
    import torch
    from joblib import cpu_count

    pool = ThreadPoolExecutor(cpu_count(), initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _opened(folder: Path, wanted: Encoding, way: Way) -> "Bert | AnyEncoder":
    """The model in a folder, computing in this way if its vectors stay what they are; else in float32."""
    model = _in_float32(folder, wanted)
    if way is Way.FLOAT32:
        return model
    expected = arithmetic.vectors_of(model)
    with suppress(RuntimeError):  # layers of a kind or a size that it cannot do
        arithmetic.apply(model.network, way)
        if arithmetic.agree(arithmetic.vectors_of(model), expected):
            return model
    return _in_float32(folder, wanted)


def _in_float32(folder: Path, wanted: Encoding) -> "Bert | AnyEncoder":
    """The model in a folder, by torch alone where that will do: it is there seconds sooner."""
    from rag.bert import Bert, shape_of

    shape = shape_of(folder)
    if shape is not None:
        return Bert(folder, shape, wanted.dimensions, wanted.passage_tokens)
    from rag.sentencetransformer import AnyEncoder

    return AnyEncoder(folder, wanted.dimensions, wanted.passage_tokens)


def _batches(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Places of texts, the longest first: at least one a batch, at most `most` tokens with padding."""
    batches: list[list[int]] = []
    room = 0
    for place in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if room < 1:
            batches.append([])
            room = most // max(1, lengths[place])
        batches[-1].append(place)
        room -= 1
    return batches


def _of_length_one(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


# -- the fingerprint


def _fingerprint(folder: Path, cache: Path | None) -> str:
    """The hash kept in `cache`, as long as the files' names, sizes and time stamps stay the same."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in HASHED and path.is_file())
    seen = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    if cache is None:
        return _hash(folder, files)
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()
    note = cache / "fingerprints" / f"{place}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):  # not there yet, or not readable
        kept = json.loads(note.read_text(encoding="utf-8"))
        if kept["files"] == seen:
            return str(kept["fingerprint"])
    fingerprint = _hash(folder, files)
    with suppress(ModelError), making(note) as unfinished:  # without it, the next run hashes again
        unfinished.write_text(json.dumps({"files": seen, "fingerprint": fingerprint}))
    return fingerprint


def _hash(folder: Path, files: Sequence[Path]) -> str:
    """Of names and contents, wherever the folder lies."""
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.relative_to(folder).as_posix()}\n{content}\n".encode())
    return whole.hexdigest()
