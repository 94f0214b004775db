"""Opening and searching a FAISS file."""

from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from rag.store.vectors.faiss_io import (
    FaissIndex,
    Ids,
    Vectors,
    check_header,
    is_ivf,
    pointer,
    read_list,
)


class VectorIndex:
    """A memory-mapped FAISS file. All methods may be called from several threads.

    Attributes:
        faiss_index: FAISS's own object.
        count: Number of vectors.
        dimensions: Number of dimensions of each vector.
    """

    def __init__(self, faiss_index: FaissIndex) -> None:
        self.faiss_index = faiss_index
        self.count: int = faiss_index.ntotal
        self.dimensions: int = faiss_index.d
        self._ids: Ids | None = None
        self._ids_lock = Lock()

    @classmethod
    def open(cls, file: Path) -> "VectorIndex":
        """Map the file into memory.

        Raises:
            ValueError: The file cannot be read, is no vector index, or is damaged.
        """
        import faiss

        check_header(file)
        try:
            index: FaissIndex = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
        except (RuntimeError, MemoryError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(f"{file} cannot be read: {reason}") from error
        count = index.invlists.compute_ntotal() if is_ivf(index) else index.id_map.size()
        if count != index.ntotal:
            raise ValueError(f"{file} contains {count} vectors instead of {index.ntotal}")
        return cls(index)

    def search(self, vector: Vectors, limit: int, ids: Set[int] | None = None) -> dict[int, float]:
        """Search for the vectors with the largest inner product with `vector`.

        Args:
            vector: The query, shape (dimensions,).
            limit: Maximum number of results.
            ids: The vectors to search, in which case all lists are visited; None searches all.

        Returns:
            Id → inner product, best first.
        """
        if self.count == 0 or limit < 1 or (ids is not None and not ids):
            return {}
        with _single_threaded():
            scores, result_ids = self.faiss_index.search(
                vector[np.newaxis], min(limit, self.count), params=self._search_parameters(ids)
            )
        results = zip(result_ids[0].tolist(), scores[0].tolist(), strict=True)
        return {id: score for id, score in results if id >= 0}  # FAISS fills up with -1

    def _search_parameters(self, ids: Set[int] | None) -> Any:
        import faiss

        if ids is None:
            return None
        selector = faiss.IDSelectorBatch(np.fromiter(ids, np.int64, len(ids)))
        if is_ivf(self.faiss_index):
            all_lists = self.faiss_index.nlist
            return faiss.SearchParametersIVF(  # type: ignore[call-arg]
                sel=selector, nprobe=all_lists
            )
        return faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]

    def ids(self) -> Ids:
        """Return the ids of all vectors, shape (count,), in the order of the file."""
        with self._ids_lock:
            if self._ids is None:
                self._ids = self._read_ids()
            return self._ids

    def _read_ids(self) -> Ids:
        import faiss

        if not is_ivf(self.faiss_index):
            ids: Ids = faiss.vector_to_array(self.faiss_index.id_map)
            return ids
        lists = self.faiss_index.invlists
        return np.concatenate([read_list(lists, i)[0] for i in range(lists.nlist)])

    def vector(self, id: int) -> Vectors:
        """Return one vector, shape (dimensions,), decoded if it is quantised.

        Raises:
            KeyError: There is no vector with that id.
        """
        positions = np.flatnonzero(self.ids() == id)
        if not positions.size:
            raise KeyError(id)
        position = int(positions[0])
        if not is_ivf(self.faiss_index):
            vector: Vectors = self.faiss_index.index.reconstruct(position)
            return vector
        lists = self.faiss_index.invlists
        list_ends = np.cumsum([lists.list_size(i) for i in range(lists.nlist)])
        list_number = int(np.searchsorted(list_ends, position, side="right"))
        list_start = int(list_ends[list_number]) - lists.list_size(list_number)
        vector = np.empty(self.dimensions, dtype=np.float32)
        self.faiss_index.reconstruct_from_offset(
            list_number, position - list_start, pointer(vector)
        )
        return vector


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Let FAISS use one thread, which is faster for a single query than several that synchronise.

    OpenMP keeps the number of threads per calling thread, so other searches are not affected.
    """
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
