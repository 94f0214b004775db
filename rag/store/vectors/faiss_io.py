"""FAISS's binary file format, written one batch of vectors at a time.

FAISS itself writes an index only when all of it is in memory. The files are byte for byte what
FAISS would write.
"""

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]
Codes = NDArray[np.uint8]
"""Quantised vectors, shape (n, bytes per vector)."""

VectorBatches = Callable[[], Iterator[tuple[Ids, Vectors]]]
"""Iterates over ids, shape (n,), and their vectors of length 1, shape (n, dimensions), in batches.

Called several times; it must yield the same batches each time.
"""

ListEntries = tuple[NDArray[np.int64], Ids, Codes]
"""For some vectors: the inverted list that each belongs to, its id, and its code."""

FaissIndex = Any  # FAISS's stubs omit most attributes of its indexes and inverted lists
FaissLists = Any

_ID_MAP = b"IxMp"
_FLAT = b"IxFI"
_IVF_SCALAR_QUANTIZER = b"IwSq"
_ARRAY_LISTS = b"ilar"
_FULL = b"full"  # a size is stored for each list
_SPARSE = b"sprs"  # a size is stored for each list that is not empty

_HEADER = struct.Struct("<4siqqqBi")  # type, dimensions, count, two unused, is trained, metric
_UNUSED = 1 << 20  # what FAISS writes there
_INNER_PRODUCT = 0
_UINT64 = struct.Struct("<Q")
_LISTS_HEADER = struct.Struct("<4sQQ4sQ")  # type, lists, bytes per code, form of sizes, sizes
_ID_BYTES = 8
_COUNT_OFFSET = 8
_NPROBE_OFFSET = _HEADER.size + _UINT64.size  # after the number of lists


# -- writing


def write_flat(batches: VectorBatches, count: int, dimensions: int, file: Path) -> None:
    """Write an IndexIDMap of an IndexFlatIP."""
    all_ids = []
    with file.open("wb") as out:
        for index_type in (_ID_MAP, _FLAT):
            out.write(
                _HEADER.pack(index_type, dimensions, count, _UNUSED, _UNUSED, True, _INNER_PRODUCT)
            )
        out.write(_UINT64.pack(count * dimensions))
        for ids, vectors in batches():
            all_ids.append(ids.astype("<i8"))
            out.write(vectors.astype("<f4", copy=False).tobytes())
        out.write(_UINT64.pack(count))
        out.writelines(ids.tobytes() for ids in all_ids)
        _fsync(out)


def write_inverted_lists(
    header: bytes,
    code_size: int,
    list_sizes: NDArray[np.int64],
    entries: Iterable[ListEntries],
    file: Path,
) -> None:
    """Write an IndexIVFScalarQuantizer.

    Args:
        header: Everything before the lists, see `serialize_header`.
        code_size: Bytes per vector.
        list_sizes: Number of vectors in each list, shape (lists,).
        entries: The content of all lists, in any order.
        file: The file to write.
    """
    lists = len(list_sizes)
    list_bytes = list_sizes * (code_size + _ID_BYTES)
    lists_start = len(header) + _LISTS_HEADER.size + _UINT64.size * lists
    code_offsets = lists_start + np.cumsum(list_bytes) - list_bytes  # of the next code of each list
    id_offsets = code_offsets + list_sizes * code_size
    count = _UINT64.pack(list_sizes.sum())
    with file.open("wb") as out:
        out.write(header[:_COUNT_OFFSET] + count + header[_COUNT_OFFSET + _UINT64.size :])
        out.write(_LISTS_HEADER.pack(_ARRAY_LISTS, lists, code_size, _FULL, lists))
        out.write(list_sizes.astype("<u8").tobytes())
        for list_numbers, ids, codes in entries:
            for i, rows in _rows_by_list(list_numbers):
                code_offsets[i] = _write_at(out, code_offsets[i], codes[rows].tobytes())
                id_offsets[i] = _write_at(out, id_offsets[i], ids[rows].astype("<i8").tobytes())
        _fsync(out)


def _rows_by_list(list_numbers: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each list that occurs, with the rows at which it does."""
    order = np.argsort(list_numbers, kind="stable")
    lists, starts = np.unique(list_numbers[order], return_index=True)
    rows_of_lists = np.split(order, starts)[1:]  # the first part, before the first list, is empty
    yield from zip(lists.tolist(), rows_of_lists, strict=True)


def _write_at(out: BinaryIO, offset: int, content: bytes) -> int:
    """Write at an offset; return the offset of the end."""
    out.seek(offset)
    return offset + out.write(content)


def set_nprobe(file: Path, nprobe: int) -> None:
    """Set how many lists of the index in `file` a search visits."""
    with file.open("r+b") as out:
        _write_at(out, _NPROBE_OFFSET, _UINT64.pack(nprobe))
        _fsync(out)


def _fsync(out: BinaryIO) -> None:
    """Write the file through to the disk, before anything refers to it."""
    out.flush()
    os.fsync(out.fileno())


# -- reading


def serialize_header(index: FaissIndex) -> bytes:
    """Return what FAISS writes before the lists of an index whose lists are empty."""
    import faiss

    empty_lists = _LISTS_HEADER.pack(_ARRAY_LISTS, index.nlist, index.code_size, _SPARSE, 0)
    return faiss.serialize_index(index).tobytes().removesuffix(empty_lists)


def read_header(index: FaissIndex, file: Path) -> bytes:
    """Return what comes before the lists in `file`, from which `index` was opened."""
    entries = index.ntotal * (index.code_size + _ID_BYTES)
    lists = _LISTS_HEADER.size + _UINT64.size * index.nlist + entries
    with file.open("rb") as opened:
        return opened.read(file.stat().st_size - lists)


def check_header(file: Path) -> None:
    """Check that a file is one of ours, and as long as its header says.

    FAISS may allocate gigabytes before it notices that a file is damaged.

    Raises:
        ValueError: The file is no vector index, or is cut off.
    """
    try:
        with file.open("rb") as opened:
            header = opened.read(_HEADER.size)
            next_field = opened.read(_UINT64.size)
        size = file.stat().st_size
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    if len(header) + len(next_field) < _HEADER.size + _UINT64.size:
        raise ValueError(f"{file} is too short")
    index_type, dimensions, count, _, _, trained, metric = _HEADER.unpack(header)
    if (
        index_type not in (_ID_MAP, _IVF_SCALAR_QUANTIZER)
        or not trained
        or metric != _INNER_PRODUCT
    ):
        raise ValueError(f"{file} is not a vector index")
    min_bytes_per_dimension = 4 if index_type == _ID_MAP else 1
    min_bytes = count * (min_bytes_per_dimension * dimensions + _ID_BYTES)
    if dimensions < 1 or count < 0 or min_bytes > size:
        raise ValueError(f"{file} does not contain all of its vectors")
    if index_type == _IVF_SCALAR_QUANTIZER:
        (lists,) = _UINT64.unpack(next_field)
        if lists * dimensions * 4 > size:
            raise ValueError(f"{file} does not contain all of its centroids")


def is_ivf(index: FaissIndex) -> bool:
    import faiss

    return isinstance(index, faiss.IndexIVF)


def read_list(lists: FaissLists, i: int) -> tuple[Ids, Codes]:
    """Return a copy of the ids and codes in the inverted list `i`."""
    import faiss

    size = lists.list_size(i)
    if not size:
        return np.empty(0, dtype=np.int64), np.empty((0, lists.code_size), dtype=np.uint8)
    ids = faiss.rev_swig_ptr(lists.get_ids(i), size).copy()
    codes = faiss.rev_swig_ptr(lists.get_codes(i), size * lists.code_size).copy()
    return ids, codes.reshape(size, lists.code_size)


def pointer(array: NDArray[Any]) -> Any:
    """Return the pointer that FAISS's C++ methods expect."""
    import faiss

    return faiss.swig_ptr(array)
