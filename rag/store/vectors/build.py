"""Building a FAISS file: choice of its kind, training, and incremental update."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.store.vectors.faiss_io import (
    FaissIndex,
    FaissLists,
    Ids,
    ListEntries,
    VectorBatches,
    Vectors,
    is_ivf,
    pointer,
    read_header,
    read_list,
    serialize_header,
    write_flat,
    write_inverted_lists,
)
from rag.store.vectors.index import VectorIndex
from rag.store.vectors.recall import (
    SEED,
    RecallBenchmark,
    build_recall_benchmark,
    sample_vectors,
    tune_nprobe,
)

MAX_FLAT_VECTORS = 100_000
"""Number of vectors up to which they are searched exactly, which takes 5 ms then."""

CODECS = ("SQ8", "SQfp16")
"""FAISS's scalar quantisers: one byte per dimension, or two where one is too coarse."""

_TRAINING_VECTORS_PER_LIST = 64  # FAISS recommends 39 at least
_TRAINING_ITERATIONS = 10
_MAX_GROWTH = 1.5  # factor by which an index may grow, or shrink, before it is trained again


@dataclass(frozen=True, slots=True)
class VectorIndexInfo:
    """FAISS's name for the kind of an index, and its estimated recall@10 (1.0 if it is exact)."""

    family: str
    recall: float | None


def build_vector_file(
    batches: VectorBatches, count: int, dimensions: int, file: Path
) -> VectorIndexInfo:
    """Write a FAISS file of the kind that suits the number of vectors.

    The result is deterministic. Memory holds a batch, a training sample and a few bytes per vector.

    Args:
        batches: The vectors with their ids.
        count: Number of vectors.
        dimensions: Number of dimensions of each vector.
        file: The file to write.

    Raises:
        OSError: The file cannot be written.
    """
    if count > MAX_FLAT_VECTORS:
        info = _build_ivf(batches, count, file)
        if info:
            return info
    write_flat(batches, count, dimensions, file)
    return VectorIndexInfo("Flat", 1.0)


# -- inverted lists


def _build_ivf(batches: VectorBatches, count: int, file: Path) -> VectorIndexInfo | None:
    """Write an index with inverted lists; return None if its recall is too low with every codec."""
    lists = _list_count(count)
    sample = sample_vectors(batches, count, lists * _TRAINING_VECTORS_PER_LIST)
    centroids = _train_centroids(sample, lists)
    benchmark = build_recall_benchmark(batches, count)
    list_numbers: NDArray[np.int64] | None = None
    for codec in CODECS:
        index = _train_ivf(codec, centroids, sample)
        if list_numbers is None:  # depends on the centroids only
            list_numbers = _assign_lists(index, batches)
        list_sizes = np.bincount(list_numbers, minlength=lists)
        entries = _encode(index, batches, list_numbers)
        write_inverted_lists(serialize_header(index), index.code_size, list_sizes, entries, file)
        info = _tune(index, codec, benchmark, file)
        if info:
            return info
    return None


def _list_count(count: int) -> int:
    """Return a number of lists with which comparing centroids takes as long as comparing vectors."""
    return max(1, round(2 * sqrt(count)))


def _train_centroids(sample: Vectors, lists: int) -> Vectors:
    """Return a centroid for each list, shape (lists, dimensions)."""
    import faiss

    clustering = faiss.Kmeans(
        sample.shape[1],
        lists,
        niter=_TRAINING_ITERATIONS,
        seed=SEED,
        spherical=True,
        max_points_per_centroid=_TRAINING_VECTORS_PER_LIST,
    )
    clustering.train(sample)
    centroids: Vectors = np.asarray(clustering.centroids)
    return centroids


def _train_ivf(codec: str, centroids: Vectors, sample: Vectors) -> FaissIndex:
    """Return an index with these centroids, whose lists are empty."""
    import faiss

    kind = f"IVF{len(centroids)},{codec}"
    index: FaissIndex = faiss.index_factory(sample.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    index.quantizer.add(centroids)
    index.train(sample)
    return index


def _assign_lists(index: FaissIndex, batches: VectorBatches) -> NDArray[np.int64]:
    """Return the number of the list that each vector belongs to."""
    list_numbers = [index.quantizer.search(vectors, 1)[1][:, 0] for _, vectors in batches()]
    return np.concatenate([np.empty(0, dtype=np.int64), *list_numbers])


def _encode(
    index: FaissIndex, batches: VectorBatches, list_numbers: NDArray[np.int64]
) -> Iterator[ListEntries]:
    """Quantise the vectors, whose lists are given in the order of the batches."""
    begin = 0
    for ids, vectors in batches():
        batch_lists = np.ascontiguousarray(list_numbers[begin : begin + len(ids)])
        batch_vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        codes = np.empty((len(ids), index.code_size), dtype=np.uint8)
        index.encode_vectors(len(ids), pointer(batch_vectors), pointer(batch_lists), pointer(codes))
        yield batch_lists, ids, codes
        begin += len(ids)


def _tune(
    index: FaissIndex, codec: str, benchmark: RecallBenchmark, file: Path
) -> VectorIndexInfo | None:
    tuned = tune_nprobe(benchmark, file)
    if tuned is None:
        return None
    nprobe, recall = tuned
    return VectorIndexInfo(f"IVF{index.nlist},{codec} nprobe={nprobe}", recall)


# -- incremental update


def update_vector_file(
    old_file: Path,
    removed: Sequence[int],
    added: VectorBatches,
    batches: VectorBatches,
    count: int,
    file: Path,
) -> VectorIndexInfo | None:
    """Write a FAISS file that differs from an old one in a few vectors, without training it again.

    The recall is measured again.

    Args:
        old_file: The old file, which is not changed.
        removed: The ids of the old file that the new one lacks.
        added: The vectors that the old file lacks.
        batches: All vectors of the new file.
        count: Their number.
        file: The new file.

    Returns:
        None if `build_vector_file` has to be used instead, in which case `file` is incomplete: if the old
        file is exact or the new one is to be, if the number of vectors has changed too much since the
        training, or if the recall is too low.
    """
    index = VectorIndex.open(old_file).faiss_index
    if not is_ivf(index) or count <= MAX_FLAT_VECTORS:
        return None
    growth = (_list_count(count) / index.nlist) ** 2
    if not 1 / _MAX_GROWTH < growth < _MAX_GROWTH:
        return None
    header = read_header(index, old_file)
    removed_ids = np.fromiter(removed, dtype=np.int64)
    added_lists = _assign_lists(index, added)
    list_sizes = np.bincount(added_lists, minlength=index.nlist)
    list_sizes += [len(ids) for _, ids, _ in _retained_entries(index.invlists, removed_ids)]
    entries = chain(
        _retained_entries(index.invlists, removed_ids), _encode(index, added, added_lists)
    )
    write_inverted_lists(header, index.code_size, list_sizes, entries, file)
    codec = CODECS[index.code_size // index.d - 1]
    return _tune(index, codec, build_recall_benchmark(batches, count), file)


def _retained_entries(lists: FaissLists, removed: Ids) -> Iterator[ListEntries]:
    """Yield the content of each list without the removed ids."""
    for i in range(lists.nlist):
        ids, codes = read_list(lists, i)
        is_retained = ~np.isin(ids, removed)
        yield np.full(int(is_retained.sum()), i), ids[is_retained], codes[is_retained]
