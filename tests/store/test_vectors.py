"""VectorIndex: exact up to a number of vectors, with inverted lists and enough recall beyond it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.store.vectors import (
    Ids,
    VectorBatches,
    VectorIndex,
    VectorIndexInfo,
    Vectors,
    build_vector_file,
    update_vector_file,
)
from rag.store.vectors.recall import synthetic_questions

DIMENSIONS = 32


def make_vectors(count: int, seed: int = 0, dimensions: int = DIMENSIONS) -> Vectors:
    """Vectors in 40 clusters that do not depend on the seed, as passages cluster around topics."""
    topics = np.random.default_rng(99).standard_normal((40, dimensions))
    random = np.random.default_rng(seed)
    vectors = topics[random.integers(0, 40, count)]
    vectors = vectors + 0.7 * random.standard_normal((count, dimensions))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / lengths).astype(np.float32)
    return unit


def make_ids(count: int) -> Ids:
    """Ids in random order, with gaps."""
    return np.random.default_rng(5).permutation(7 * count)[:count].astype(np.int64) + 1


def in_batches(ids: Ids, vectors: Vectors, size: int = 700) -> VectorBatches:
    def batches() -> Iterator[tuple[Ids, Vectors]]:
        for begin in range(0, len(ids), size):
            yield ids[begin : begin + size], vectors[begin : begin + size]

    return batches


def exact_search(ids: Ids, vectors: Vectors, question: Vectors, limit: int) -> dict[int, float]:
    scores = vectors @ question
    best = np.argsort(-scores, kind="stable")[:limit]
    return dict(zip(ids[best].tolist(), scores[best].tolist(), strict=True))


def recall(index: VectorIndex, ids: Ids, vectors: Vectors, questions: Vectors) -> float:
    shares = []
    for question in questions:
        expected = exact_search(ids, vectors, question, 10)
        shares.append(len(expected.keys() & index.search(question, 10).keys()) / 10)
    return float(np.mean(shares))


IDS, VECTORS = make_ids(4000), make_vectors(4000)
BATCHES = in_batches(IDS, VECTORS)


@pytest.fixture
def low_flat_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a thousand vectors get inverted lists."""
    monkeypatch.setattr("rag.store.vectors.build.MAX_FLAT_VECTORS", 1000)


@pytest.fixture(params=["exact", "lists"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file of VECTORS, of each kind."""
    if request.param == "lists":
        request.getfixturevalue("low_flat_limit")
    build_vector_file(BATCHES, len(IDS), DIMENSIONS, tmp_path / "vectors")
    return tmp_path / "vectors"


# -- exact


@given(
    ids=st.lists(st.integers(1, 2**63 - 1), unique=True, max_size=50).map(
        lambda ids: np.array(ids, dtype=np.int64)
    ),
    limit=st.integers(0, 60),
    batch_size=st.integers(1, 60),
)
def test_few_vectors_are_searched_as_by_brute_force(
    tmp_path_factory: pytest.TempPathFactory, ids: Ids, limit: int, batch_size: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "few"
    vectors = make_vectors(len(ids), seed=batch_size, dimensions=5)
    info = build_vector_file(in_batches(ids, vectors, batch_size), len(ids), 5, file)
    assert info == VectorIndexInfo("Flat", 1.0)
    index = VectorIndex.open(file)
    question = make_vectors(1, seed=limit + 100, dimensions=5)[0]
    expected = exact_search(ids, vectors, question, limit)
    results = index.search(question, limit)
    assert results == pytest.approx(expected, abs=1e-6)
    assert list(results.values()) == sorted(results.values(), reverse=True)
    assert (index.count, index.dimensions) == (len(ids), 5)
    assert index.ids().tolist() == ids.tolist()
    assert all((index.vector(n) == v).all() for n, v in zip(ids.tolist(), vectors, strict=True))


def test_the_file_is_what_faiss_itself_would_write(file: Path, tmp_path: Path) -> None:
    import faiss

    faiss.write_index(faiss.read_index(str(file)), str(tmp_path / "rewritten"))
    assert (tmp_path / "rewritten").read_bytes() == file.read_bytes()


def test_ids_and_vectors_can_be_read_back(file: Path) -> None:
    index = VectorIndex.open(file)
    assert sorted(index.ids().tolist()) == sorted(IDS.tolist())
    for i in (0, 1234, 3999):
        assert index.vector(int(IDS[i])) @ VECTORS[i] == pytest.approx(1, abs=0.01)
    with pytest.raises(KeyError):
        index.vector(10**9)


def test_the_same_vectors_make_the_same_file(file: Path, tmp_path: Path) -> None:
    build_vector_file(BATCHES, len(IDS), DIMENSIONS, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == file.read_bytes()


# -- inverted lists


@pytest.mark.usefixtures("low_flat_limit")
def test_many_vectors_are_searched_with_the_reported_recall(tmp_path: Path) -> None:
    info = build_vector_file(BATCHES, len(IDS), DIMENSIONS, tmp_path / "vectors")
    assert info.family.startswith("IVF126,SQ8 nprobe=")
    assert info.recall is not None
    assert 0.95 <= info.recall <= 1
    index = VectorIndex.open(tmp_path / "vectors")
    assert recall(index, IDS, VECTORS, make_vectors(200, seed=1)) >= 0.95
    results = index.search(VECTORS[7], 5000)
    assert 10 < len(results) <= 4000
    assert next(iter(results)) == IDS[7]
    assert list(results.values()) == sorted(results.values(), reverse=True)


@pytest.mark.usefixtures("low_flat_limit")
def test_a_higher_recall_takes_more_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probes = []
    for min_recall in (0.6, 0.95, 0.98):
        monkeypatch.setattr("rag.store.vectors.recall.MIN_RECALL", min_recall)
        info = build_vector_file(BATCHES, len(IDS), DIMENSIONS, tmp_path / "vectors")
        assert info.recall is not None
        assert info.recall >= min_recall
        probes.append(int(info.family.rpartition("=")[2]))
    assert probes == sorted(probes)
    assert probes[0] < probes[2]


@pytest.mark.usefixtures("low_flat_limit")
def test_a_finer_codec_is_used_where_one_byte_is_too_coarse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.store.vectors.recall.synthetic_questions", lambda passages: passages)
    # The 256 steps of a byte span the range of all values; most vectors fall within a few steps.
    center = make_vectors(1)
    close = center + 0.002 * make_vectors(4000, seed=1)
    close[::10] = make_vectors(400, seed=2)
    close /= np.linalg.norm(close, axis=1, keepdims=True)
    batches = in_batches(IDS, close)
    info = build_vector_file(batches, len(IDS), DIMENSIONS, tmp_path / "vectors")
    assert info.family.startswith("IVF126,SQfp16 nprobe=")
    monkeypatch.setattr("rag.store.vectors.build.CODECS", ("SQ8",))
    info = build_vector_file(batches, len(IDS), DIMENSIONS, tmp_path / "one")
    assert info.family == "Flat"


@pytest.mark.usefixtures("low_flat_limit")
def test_the_file_is_exact_if_no_number_of_lists_has_enough_recall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.store.vectors.recall.MIN_RECALL", 1.01)
    info = build_vector_file(BATCHES, len(IDS), DIMENSIONS, tmp_path / "vectors")
    assert info == VectorIndexInfo("Flat", 1.0)
    index = VectorIndex.open(tmp_path / "vectors")
    assert recall(index, IDS, VECTORS, make_vectors(50, seed=1)) == 1


def test_synthetic_questions_are_far_from_every_passage() -> None:
    questions = synthetic_questions(VECTORS[:400])
    assert questions.dtype == np.float32
    assert np.linalg.norm(questions, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.median((questions @ VECTORS[:400].T).max(axis=1)) < 0.7
    assert synthetic_questions(VECTORS[:1]) == pytest.approx(VECTORS[:1], abs=1e-5)


@pytest.mark.usefixtures("low_flat_limit")
def test_equal_passages_count_as_each_other_in_the_recall(tmp_path: Path) -> None:
    repeated = np.repeat(make_vectors(200), 20, axis=0)
    info = build_vector_file(in_batches(IDS, repeated), 4000, DIMENSIONS, tmp_path / "vectors")
    assert info.family.startswith("IVF")


# -- incremental update


def update(tmp_path: Path, removed: int, added: int) -> tuple[VectorIndexInfo | None, Ids, Vectors]:
    """Update a file of VECTORS: without the first `removed`, with `added` others."""
    build_vector_file(BATCHES, len(IDS), DIMENSIONS, tmp_path / "old")
    new_ids, new_vectors = make_ids(added) + 10**6, make_vectors(added, seed=3)
    ids = np.concatenate([IDS[removed:], new_ids])
    vectors = np.concatenate([VECTORS[removed:], new_vectors])
    info = update_vector_file(
        tmp_path / "old",
        IDS[:removed].tolist(),
        in_batches(new_ids, new_vectors),
        in_batches(ids, vectors),
        len(ids),
        tmp_path / "new",
    )
    return info, ids, vectors


@pytest.mark.usefixtures("low_flat_limit")
@pytest.mark.parametrize(("removed", "added"), [(0, 0), (40, 0), (0, 50), (600, 900)])
def test_a_small_change_keeps_the_lists(tmp_path: Path, removed: int, added: int) -> None:
    info, ids, vectors = update(tmp_path, removed, added)
    assert info is not None
    index = VectorIndex.open(tmp_path / "new")
    assert sorted(index.ids().tolist()) == sorted(ids.tolist())
    assert recall(index, ids, vectors, make_vectors(200, seed=1)) >= 0.95
    if not removed and not added:
        assert (tmp_path / "new").read_bytes() == (tmp_path / "old").read_bytes()


@pytest.mark.usefixtures("low_flat_limit")
@pytest.mark.parametrize(("removed", "added"), [(0, 3000), (2000, 0), (3500, 0)])
def test_a_large_change_requires_a_new_build(tmp_path: Path, removed: int, added: int) -> None:
    assert update(tmp_path, removed, added)[0] is None


def test_a_change_of_an_exact_file_requires_a_new_build(tmp_path: Path) -> None:
    assert update(tmp_path, 1, 1)[0] is None


# -- errors


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"IxMp",
        lambda content: b"no vectors at all" * 100,
        lambda content: content[:-20],
        lambda content: content[: len(content) // 2],
        lambda content: content[:80],
        lambda content: content[:4] + b"\xff" * 8 + content[12:],
        lambda content: content[:37] + b"\xff" * 16 + content[53:],
        lambda content: content[:8] + (3999).to_bytes(8, "little") + content[16:],
        lambda content: bytes(4) + content[4:],
    ],
)
def test_a_damaged_file_is_refused(file: Path, damage: Callable[[bytes], bytes]) -> None:
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=str(file)):
        VectorIndex.open(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match=str(path)):
            VectorIndex.open(path)


@pytest.mark.parametrize("with_lists", [False, True])
def test_a_full_disk_raises_an_error(
    small_disk: Path, with_lists: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if with_lists:
        monkeypatch.setattr("rag.store.vectors.build.MAX_FLAT_VECTORS", 1000)
    vectors = make_vectors(6000, dimensions=256)
    batches = in_batches(make_ids(6000), vectors)
    with pytest.raises(OSError, match="No space left"):
        build_vector_file(batches, 6000, 256, small_disk / "vectors")


# -- searching


def test_threads_search_concurrently(file: Path) -> None:
    index = VectorIndex.open(file)
    questions = make_vectors(100, seed=2)
    expected = [index.search(question, 20) for question in questions]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            results = pool.map(lambda question: index.search(question, 20), questions)
            assert list(results) == expected


def test_a_search_does_not_change_the_number_of_threads(file: Path) -> None:
    import faiss

    before = faiss.omp_get_max_threads()
    VectorIndex.open(file).search(VECTORS[0], 3)
    assert faiss.omp_get_max_threads() == before


def test_a_search_of_given_ids_returns_all_of_them_and_no_others(file: Path) -> None:
    index = VectorIndex.open(file)
    ids = set(IDS[::100].tolist())
    results = index.search(VECTORS[7], 1000, ids)
    assert results.keys() == ids
    assert list(results.values()) == sorted(results.values(), reverse=True)
    assert index.search(VECTORS[7], 10, set()) == {}
