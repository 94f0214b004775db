"""Nearest: vectors in one file that FAISS maps, and those of them nearest to a question.

The only module that imports faiss. A few vectors are compared one by one (IndexFlatIP). Many are sorted
into lists around centroids, one byte a dimension, and only the lists nearest to the question are
searched (IndexIVFScalarQuantizer): as many of them as it takes to find what the exact search finds.

Files are FAISS's own, written a batch at a time: FAISS writes an index only once it holds all of it.
"""

import os
import struct
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from math import sqrt
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Vectors = NDArray[np.float32]
Batches = Callable[[], Iterator[tuple[Numbers, Vectors]]]
"""Gives numbers, shape (n,), and their vectors of length 1, shape (n, dimensions), batch by batch.

The same on every call: how often it is called depends on the family.
"""

_Index = Any  # FAISS's own types do not say what its indexes and their lists hold
_Lists = Any

EXACT_UP_TO = 100_000
"""Vectors that are compared one by one, which takes 5 ms then; more of them are sorted into lists."""
RECALL = 0.97
"""Of the exact search's ten nearest, the least share that lists must find for made-up questions.

For real ones, it is up to 0.01 less or more (benchmarks/million.py), and 0.95 is wanted.
"""
NEAREST = 10
QUESTIONS = 400
SEED = 7
CODES = ("SQ8", "SQfp16")
"""How FAISS keeps a vector's dimensions: in one byte each, or in two when one is too coarse."""

_SAMPLE = 64  # vectors a list; FAISS asks for 39 at least
_ABOUT_INDEX = struct.Struct("<4siqqqBi")  # FAISS's: kind, dimensions, count, -, -, trained, metric
_AT_COUNT = 8  # where the count stands in it
_AT_PROBES = _ABOUT_INDEX.size + 8  # how many lists are searched, after how many there are
_NUMBER = struct.Struct("<Q")
_LISTS = struct.Struct("<4sQQ4sQ")  # FAISS's: kind, lists, bytes a code, how sizes are told, lists
_DEEP = 100  # nearest that are kept for the exam, for those that are as near as the tenth
_FEWEST = 4  # lists that are searched, then twice as many, up to half of them
_OUTGROWN = 1.5  # times as many vectors as an index was trained for, or as few
_FRESH = 0.4  # share of a passage in a made-up question
_OTHERS = 8  # passages that the rest of it is mixed of


@dataclass(frozen=True, slots=True)
class Family:
    """How the vectors are kept, and the share of the exact ten nearest that is found (1.0: exact)."""

    name: str
    recall: float | None


class Nearest:
    """A file of vectors, mapped: memory is shared and read when it is needed. Safe from any thread."""

    def __init__(self, index: _Index) -> None:
        self._index = index
        self._lock = Lock()
        self._held: Numbers | None = None
        self.count: int = index.ntotal
        self.dimensions: int = index.d

    @classmethod
    def open(cls, file: Path) -> "Nearest":
        """Map the file. Raises ValueError, with the reason, when it holds no vectors."""
        import faiss

        _refuse_what_is_no_index(file)
        try:
            index: _Index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
        except (RuntimeError, MemoryError) as error:
            raise ValueError(f"{file} cannot be read: {_first_line(error)}") from error
        held = index.invlists.compute_ntotal() if _is_listed(index) else index.id_map.size()
        if held != index.ntotal:
            raise ValueError(f"{file} holds {held} vectors, not {index.ntotal}")
        return cls(index)

    def search(self, vector: Vectors, most: int, only: Set[int] | None = None) -> dict[int, float]:
        """Numbers → inner product with `vector`, shape (dimensions,); the best `most`, best first.

        Of these numbers `only`, if given: then every list is read.
        """
        if self.count == 0 or most < 1 or (only is not None and not only):
            return {}
        with _one_thread():
            scores, numbers = self._index.search(
                vector[np.newaxis], min(most, self.count), params=self._only(only)
            )
        found = zip(numbers[0].tolist(), scores[0].tolist(), strict=True)
        return {number: score for number, score in found if number >= 0}

    def _only(self, numbers: Set[int] | None) -> Any:
        """FAISS's parameters for a search of these numbers; None for all."""
        import faiss

        if numbers is None:
            return None
        chosen = faiss.IDSelectorBatch(np.fromiter(numbers, np.int64, len(numbers)))
        if _is_listed(self._index):
            every = self._index.nlist
            return faiss.SearchParametersIVF(sel=chosen, nprobe=every)  # type: ignore[call-arg]
        return faiss.SearchParameters(sel=chosen)  # type: ignore[call-arg]

    def numbers(self) -> Numbers:
        """The numbers of all vectors held, shape (count,), in the file's order."""
        import faiss

        with self._lock:
            if self._held is None:
                if _is_listed(self._index):
                    lists = self._index.invlists
                    parts = [_list(lists, i)[0] for i in range(lists.nlist)]
                    self._held = np.concatenate(parts)
                else:
                    self._held = faiss.vector_to_array(self._index.id_map)
            return self._held

    def vector(self, number: int) -> Vectors:
        """The vector of that number, shape (dimensions,), as exact as the family keeps it."""
        places = np.flatnonzero(self.numbers() == number)
        if not places.size:
            raise KeyError(number)
        place = int(places[0])
        if not _is_listed(self._index):
            vector: Vectors = self._index.index.reconstruct(place)
            return vector
        lists = self._index.invlists
        ends = np.cumsum([lists.list_size(i) for i in range(lists.nlist)])
        within = int(np.searchsorted(ends, place, side="right"))
        offset = place - int(ends[within]) + lists.list_size(within)
        vector = np.empty(self.dimensions, dtype=np.float32)
        self._index.reconstruct_from_offset(within, offset, _pointer(vector))
        return vector


def build(batches: Batches, count: int, dimensions: int, file: Path) -> Family:
    """Write the file of `count` vectors in the family that suits them; the same for the same.

    In memory stand a batch, a sample to train on and a few bytes a vector. Raises OSError when the file
    cannot be written.
    """
    if count > EXACT_UP_TO:
        sample = _sample(batches, count, _lists_for(count) * _SAMPLE)
        centroids = _centroids(sample, _lists_for(count))
        exam = _exam(batches, count)
        lists: Numbers | None = None
        for codes in CODES:
            index = _trained(codes, centroids, sample)
            lists = _assigned(index, batches) if lists is None else lists
            sizes = np.bincount(lists, minlength=index.nlist)
            parts = _encoded(index, batches, lists)
            _write_lists(_about(index), index.code_size, sizes, parts, file)
            if family := _passed(exam, file):
                return family
    _write_exact(batches, count, dimensions, file)
    return Family("Flat", 1.0)


# -- compared one by one


def _write_exact(batches: Batches, count: int, dimensions: int, file: Path) -> None:
    """An IndexIDMap of an IndexFlatIP, as FAISS would write it."""
    numbers = []
    with file.open("wb") as out:
        for kind in (b"IxMp", b"IxFI"):
            out.write(_ABOUT_INDEX.pack(kind, dimensions, count, 1 << 20, 1 << 20, True, 0))
        out.write(_NUMBER.pack(count * dimensions))
        for some, vectors in batches():
            numbers.append(some.astype("<i8"))
            out.write(vectors.astype("<f4", copy=False).tobytes())
        out.write(_NUMBER.pack(count))
        out.writelines(part.tobytes() for part in numbers)
        _settle(out)


# -- sorted into lists


def _trained(codes: str, centroids: Vectors, sample: Vectors) -> _Index:
    """An index whose lists are empty."""
    import faiss

    family = f"IVF{len(centroids)},{codes}"
    index: _Index = faiss.index_factory(sample.shape[1], family, faiss.METRIC_INNER_PRODUCT)
    index.quantizer.add(centroids)
    index.train(sample)
    return index


def _centroids(sample: Vectors, lists: int) -> Vectors:
    """A centroid for each list, shape (lists, dimensions)."""
    import faiss

    clustering = faiss.Kmeans(
        sample.shape[1], lists, niter=10, seed=SEED, spherical=True, max_points_per_centroid=_SAMPLE
    )
    clustering.train(sample)
    centroids: Vectors = np.asarray(clustering.centroids)
    return centroids


def _lists_for(count: int) -> int:
    """How many lists: comparing with the centroids then takes about as long as with the vectors."""
    return max(1, round(2 * sqrt(count)))


def _sample(batches: Batches, count: int, most: int) -> Vectors:
    """`most` of the vectors, the same every time, shape (most, dimensions)."""
    chosen = np.random.default_rng(SEED).choice(count, min(most, count), replace=False)
    is_chosen = np.zeros(count, dtype=np.bool_)
    is_chosen[chosen] = True
    parts, begin = [], 0
    for _, vectors in batches():
        parts.append(vectors[is_chosen[begin : begin + len(vectors)]])
        begin += len(vectors)
    return np.concatenate(parts)


def _assigned(index: _Index, batches: Batches) -> Numbers:
    """The list that each vector belongs to."""
    lists = [index.quantizer.search(vectors, 1)[1][:, 0] for _, vectors in batches()]
    return np.concatenate([np.empty(0, dtype=np.int64), *lists])


_Part = tuple[Numbers, Numbers, NDArray[np.uint8]]
"""The lists, the numbers and the codes, shape (n, bytes), of some vectors."""


def _encoded(index: _Index, batches: Batches, lists: Numbers) -> Iterator[_Part]:
    begin = 0
    for numbers, vectors in batches():
        within = np.ascontiguousarray(lists[begin : begin + len(numbers)])
        contiguous = np.ascontiguousarray(vectors, dtype=np.float32)
        codes = np.empty((len(numbers), index.code_size), dtype=np.uint8)
        index.encode_vectors(len(numbers), _pointer(contiguous), _pointer(within), _pointer(codes))
        yield within, numbers, codes
        begin += len(numbers)


def _write_lists(
    about: bytes, code_size: int, sizes: Numbers, parts: Iterator[_Part], file: Path
) -> None:
    """The file as FAISS would write it: what it says about the index, then lists of these sizes."""
    lists = len(sizes)
    bytes_each = sizes * (code_size + 8)
    codes_at = len(about) + _LISTS.size + 8 * lists + np.cumsum(bytes_each) - bytes_each
    numbers_at = codes_at + sizes * code_size
    with file.open("wb") as out:
        out.write(about[:_AT_COUNT] + _NUMBER.pack(sizes.sum()) + about[_AT_COUNT + 8 :])
        out.write(_LISTS.pack(b"ilar", lists, code_size, b"full", lists))
        out.write(sizes.astype("<u8").tobytes())
        for within, numbers, codes in parts:
            order = np.argsort(within, kind="stable")
            met, begins = np.unique(within[order], return_index=True)
            for i, some in zip(met.tolist(), np.split(order, begins)[1:], strict=True):
                out.seek(codes_at[i])
                codes_at[i] += out.write(codes[some].tobytes())
                out.seek(numbers_at[i])
                numbers_at[i] += out.write(numbers[some].astype("<i8").tobytes())
        _settle(out)


def _about(index: _Index) -> bytes:
    """What FAISS writes of an index in front of its lists, which are empty."""
    import faiss

    no_lists = _LISTS.pack(b"ilar", index.nlist, index.code_size, b"sprs", 0)
    return faiss.serialize_index(index).tobytes().removesuffix(no_lists)


# -- how much is found


@dataclass(frozen=True, slots=True)
class _Exam:
    """Questions, shape (n, dimensions), and what the exact search finds, shape (n, _DEEP).

    A vector as near as the tenth counts as found in its place: passages may be alike.
    """

    questions: Vectors
    numbers: Numbers
    scores: Vectors

    def share_found(self, numbers: Numbers) -> float:
        """The mean share of the NEAREST that is among the numbers found, shape (n, NEAREST)."""
        good = self.scores >= self.scores[:, NEAREST - 1 : NEAREST] - 1e-6
        hits = (self.numbers[:, :, np.newaxis] == numbers[:, np.newaxis, :]).any(axis=2) & good
        return float(np.minimum(hits.sum(axis=1), NEAREST).mean() / NEAREST)


def _exam(batches: Batches, count: int) -> _Exam:
    questions = _questions(_sample(batches, count, QUESTIONS))
    rows = np.arange(len(questions))[:, np.newaxis]
    scores = np.full((len(questions), _DEEP), -np.inf, dtype=np.float32)
    numbers = np.full((len(questions), _DEEP), -1, dtype=np.int64)
    for some, vectors in batches():
        new = questions @ vectors.T
        better = np.flatnonzero((new > scores[:, -1:]).any(axis=0))
        scores = np.concatenate([scores, new[:, better]], axis=1)
        numbers = np.concatenate(
            [numbers, np.broadcast_to(some[better], (len(questions), len(better)))], axis=1
        )
        best = np.argsort(-scores, axis=1, kind="stable")[:, :_DEEP]
        scores, numbers = scores[rows, best], numbers[rows, best]
    return _Exam(questions, numbers, scores)


def _questions(passages: Vectors) -> Vectors:
    """Made-up questions: at a cosine of 0.4 to a passage, the rest mixed of eight other passages.

    Real ones are not at hand when an index is built. They lie far from all passages (SQuAD's at 0.5 to
    the best), so that their nearest are spread over many lists: four hold 80 % of them, and 99 % of
    those of a passage. For made-up ones as many are found as for real ones, or a few less. The
    signs change so that what all passages have in common is not a part of every question.
    """
    signs = np.resize([1.0, -1.0], _OTHERS)
    mixed = sum(sign * np.roll(passages, i + 1, axis=0) for i, sign in enumerate(signs))
    far = sqrt(1 - _FRESH**2)
    return _of_length_one(_FRESH * passages + far * _of_length_one(mixed))


def _of_length_one(vectors: NDArray[Any]) -> Vectors:
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    scaled: Vectors = (vectors / lengths).astype(np.float32)
    return scaled


def _passed(exam: _Exam, file: Path) -> Family | None:
    """Set the file to search the fewest lists that pass the exam; None when they would be too many."""
    import faiss

    index = Nearest.open(file)._index
    codes = CODES[index.code_size // index.d - 1]
    probes = _FEWEST
    while probes <= index.nlist // 2:
        settings = faiss.SearchParametersIVF(nprobe=probes)  # type: ignore[call-arg]
        recall = exam.share_found(index.search(exam.questions, NEAREST, params=settings)[1])
        if recall >= RECALL:
            with file.open("r+b") as out:
                out.seek(_AT_PROBES)
                out.write(_NUMBER.pack(probes))
                _settle(out)
            return Family(f"IVF{index.nlist},{codes} nprobe={probes}", recall)
        probes *= 2
    return None


# -- changed


def update(
    old: Path, removed: Sequence[int], added: Batches, everything: Batches, count: int, file: Path
) -> Family | None:
    """Write `file`: what `old` holds without `removed` and with `added`, which is `everything`.

    Centroids and codes stay as they were trained; the recall is measured anew. None (and `file` is of no
    use) when `build` is called for: `old` is exact, it has outgrown its training or finds too little.
    """
    index = Nearest.open(old)._index
    if not _is_listed(index) or count <= EXACT_UP_TO:
        return None
    if not 1 / _OUTGROWN < (_lists_for(count) / index.nlist) ** 2 < _OUTGROWN:
        return None
    with old.open("rb") as opened:
        lists_take = index.ntotal * (index.code_size + 8) + 8 * index.nlist + _LISTS.size
        about = opened.read(old.stat().st_size - lists_take)
    gone = np.fromiter(removed, dtype=np.int64)
    new = _assigned(index, added)
    sizes = np.bincount(new, minlength=index.nlist)
    sizes += [len(numbers) for _, numbers, _ in _kept(index.invlists, gone)]
    parts = chain(_kept(index.invlists, gone), _encoded(index, added, new))
    _write_lists(about, index.code_size, sizes, parts, file)
    return _passed(_exam(everything, count), file)


def _kept(lists: _Lists, gone: Numbers) -> Iterator[_Part]:
    """List by list, what is held of it once what is gone is left out."""
    for i in range(lists.nlist):
        numbers, codes = _list(lists, i)
        stays = ~np.isin(numbers, gone)
        yield np.full(int(stays.sum()), i), numbers[stays], codes[stays]


# -- FAISS's own


def _is_listed(index: _Index) -> bool:
    import faiss

    return isinstance(index, faiss.IndexIVF)


def _list(lists: _Lists, i: int) -> tuple[Numbers, NDArray[np.uint8]]:
    """A copy of a list's numbers, shape (n,), and codes, shape (n, bytes)."""
    import faiss

    size = lists.list_size(i)
    if not size:
        return np.empty(0, dtype=np.int64), np.empty((0, lists.code_size), dtype=np.uint8)
    numbers = faiss.rev_swig_ptr(lists.get_ids(i), size).copy()
    codes = faiss.rev_swig_ptr(lists.get_codes(i), size * lists.code_size).copy()
    return numbers, codes.reshape(size, lists.code_size)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One question is found sooner by one thread than by several that wait for each other.

    OpenMP keeps the number for each thread that calls it; other questions go on beside this one.
    """
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _pointer(array: NDArray[Any]) -> Any:
    import faiss

    return faiss.swig_ptr(array)


# -- files


def _settle(out: BinaryIO) -> None:
    """Have it on the disk before anything refers to it."""
    out.flush()
    os.fsync(out.fileno())


def _refuse_what_is_no_index(file: Path) -> None:
    """Raises ValueError for what FAISS might take gigabytes for before it found it to be damaged."""
    try:
        with file.open("rb") as opened:
            about = opened.read(_ABOUT_INDEX.size)
            lists = opened.read(8)
        size = file.stat().st_size
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    if len(about) + len(lists) < _ABOUT_INDEX.size + 8:
        raise ValueError(f"{file} is too short")
    kind, dimensions, count, _, _, trained, metric = _ABOUT_INDEX.unpack(about)
    if kind not in (b"IxMp", b"IwSq") or not trained or metric != 0:
        raise ValueError(f"{file} is no file of vectors")
    width = 4 * dimensions + 8 if kind == b"IxMp" else dimensions + 8
    if dimensions < 1 or count < 0 or count * width > size:
        raise ValueError(f"{file} does not hold all its vectors")
    if kind == b"IwSq" and _NUMBER.unpack(lists)[0] * dimensions * 4 > size:
        raise ValueError(f"{file} does not hold all its centroids")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
