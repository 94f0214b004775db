"""Nearest: exact while that is fast, then in lists of which enough are searched."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag import nearest
from rag.nearest import Batches, Family, Nearest, Numbers, Vectors, build, update

DIMENSIONS = 32


def vectors_of(count: int, seed: int = 0, dimensions: int = DIMENSIONS) -> Vectors:
    """Vectors in 40 clusters that do not depend on the seed, as passages lie about their topics."""
    topics = np.random.default_rng(99).standard_normal((40, dimensions))
    random = np.random.default_rng(seed)
    vectors = topics[random.integers(0, 40, count)]
    vectors = vectors + 0.7 * random.standard_normal((count, dimensions))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / lengths).astype(np.float32)


def numbers_of(count: int) -> Numbers:
    """Numbers in no order, with gaps."""
    return np.random.default_rng(5).permutation(7 * count)[:count].astype(np.int64) + 1


def in_batches(numbers: Numbers, vectors: Vectors, size: int = 700) -> Batches:
    def batches() -> Iterator[tuple[Numbers, Vectors]]:
        for begin in range(0, len(numbers), size):
            yield numbers[begin : begin + size], vectors[begin : begin + size]

    return batches


def exact(numbers: Numbers, vectors: Vectors, question: Vectors, most: int) -> dict[int, float]:
    scores = vectors @ question
    best = np.argsort(-scores, kind="stable")[:most]
    return dict(zip(numbers[best].tolist(), scores[best].tolist(), strict=True))


def recall(opened: Nearest, numbers: Numbers, vectors: Vectors, questions: Vectors) -> float:
    shares = [
        len(exact(numbers, vectors, question, 10).keys() & opened.search(question, 10).keys()) / 10
        for question in questions
    ]
    return float(np.mean(shares))


NUMBERS, VECTORS = numbers_of(4000), vectors_of(4000)
EVERYTHING = in_batches(NUMBERS, VECTORS)


@pytest.fixture
def in_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand vectors are many."""
    monkeypatch.setattr(nearest, "EXACT_UP_TO", 1000)


@pytest.fixture(params=["exact", "lists"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """VECTORS in each family."""
    if request.param == "lists":
        request.getfixturevalue("in_lists")
    build(EVERYTHING, len(NUMBERS), DIMENSIONS, tmp_path / "vectors")
    return tmp_path / "vectors"


# -- exact


@given(
    held=st.lists(st.integers(1, 2**63 - 1), unique=True, max_size=50).map(
        lambda numbers: np.array(numbers, dtype=np.int64)
    ),
    most=st.integers(0, 60),
    size=st.integers(1, 60),
)
def test_a_few_vectors_are_found_as_by_brute_force(
    tmp_path_factory: pytest.TempPathFactory, held: Numbers, most: int, size: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "few"
    vectors = vectors_of(len(held), seed=size, dimensions=5)
    assert build(in_batches(held, vectors, size), len(held), 5, file) == Family("Flat", 1.0)
    opened = Nearest.open(file)
    question = vectors_of(1, seed=most + 100, dimensions=5)[0]
    expected = exact(held, vectors, question, most)
    found = opened.search(question, most)
    assert found == pytest.approx(expected, abs=1e-6)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert (opened.count, opened.dimensions) == (len(held), 5)
    assert opened.numbers().tolist() == held.tolist()
    assert all((opened.vector(n) == v).all() for n, v in zip(held.tolist(), vectors, strict=True))


def test_the_file_is_what_faiss_itself_would_write(file: Path, tmp_path: Path) -> None:
    import faiss

    faiss.write_index(faiss.read_index(str(file)), str(tmp_path / "rewritten"))
    assert (tmp_path / "rewritten").read_bytes() == file.read_bytes()


def test_what_is_held_can_be_told(file: Path) -> None:
    opened = Nearest.open(file)
    assert sorted(opened.numbers().tolist()) == sorted(NUMBERS.tolist())
    for place in (0, 1234, 3999):
        assert opened.vector(int(NUMBERS[place])) @ VECTORS[place] == pytest.approx(1, abs=0.01)
    with pytest.raises(KeyError):
        opened.vector(10**9)


def test_the_same_vectors_make_the_same_file(file: Path, tmp_path: Path) -> None:
    build(EVERYTHING, len(NUMBERS), DIMENSIONS, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == file.read_bytes()


# -- in lists


@pytest.mark.usefixtures("in_lists")
def test_many_vectors_are_found_nearly_as_well_and_it_is_said_how_well(tmp_path: Path) -> None:
    family = build(EVERYTHING, len(NUMBERS), DIMENSIONS, tmp_path / "vectors")
    assert family.name.startswith("IVF126,SQ8 nprobe=")
    assert family.recall is not None
    assert 0.95 <= family.recall <= 1
    opened = Nearest.open(tmp_path / "vectors")
    assert recall(opened, NUMBERS, VECTORS, vectors_of(200, seed=1)) >= 0.95
    found = opened.search(VECTORS[7], 5000)
    assert 10 < len(found) <= 4000
    assert next(iter(found)) == NUMBERS[7]
    assert list(found.values()) == sorted(found.values(), reverse=True)


@pytest.mark.usefixtures("in_lists")
def test_as_many_lists_are_searched_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes = []
    for least in (0.6, 0.95, 0.98):
        monkeypatch.setattr(nearest, "RECALL", least)
        family = build(EVERYTHING, len(NUMBERS), DIMENSIONS, tmp_path / "vectors")
        assert family.recall is not None
        assert family.recall >= least
        probes.append(int(family.name.rpartition("=")[2]))
    assert probes == sorted(probes)
    assert probes[0] < probes[2]


@pytest.mark.usefixtures("in_lists")
def test_finer_codes_are_taken_where_a_byte_is_too_coarse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "_questions", lambda passages: passages)
    # A byte's 256 steps reach from one end to the other. Between them, most vectors are alike.
    middle = vectors_of(1)
    close = middle + 0.002 * vectors_of(4000, seed=1)
    close[::10] = vectors_of(400, seed=2)
    close /= np.linalg.norm(close, axis=1, keepdims=True)
    batches = in_batches(NUMBERS, close)
    family = build(batches, len(NUMBERS), DIMENSIONS, tmp_path / "vectors")
    assert family.name.startswith("IVF126,SQfp16 nprobe=")
    monkeypatch.setattr(nearest, "CODES", ("SQ8",))
    assert build(batches, len(NUMBERS), DIMENSIONS, tmp_path / "one").name == "Flat"


@pytest.mark.usefixtures("in_lists")
def test_it_ends_in_exact_where_nothing_finds_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "RECALL", 1.01)
    family = build(EVERYTHING, len(NUMBERS), DIMENSIONS, tmp_path / "vectors")
    assert family == Family("Flat", 1.0)
    opened = Nearest.open(tmp_path / "vectors")
    assert recall(opened, NUMBERS, VECTORS, vectors_of(50, seed=1)) == 1


def test_made_up_questions_are_far_from_every_passage() -> None:
    questions = nearest._questions(VECTORS[:400])
    assert questions.dtype == np.float32
    assert np.linalg.norm(questions, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.median((questions @ VECTORS[:400].T).max(axis=1)) < 0.7
    assert nearest._questions(VECTORS[:1]) == pytest.approx(VECTORS[:1], abs=1e-5)


@pytest.mark.usefixtures("in_lists")
def test_passages_that_are_alike_stand_for_each_other(tmp_path: Path) -> None:
    alike = np.repeat(vectors_of(200), 20, axis=0)
    family = build(in_batches(NUMBERS, alike), 4000, DIMENSIONS, tmp_path / "vectors")
    assert family.name.startswith("IVF")


# -- changed


def changed(tmp_path: Path, removed: int, added: int) -> tuple[Family | None, Numbers, Vectors]:
    """VECTORS without the first `removed`, with `added` others: what `update` says of it."""
    build(EVERYTHING, len(NUMBERS), DIMENSIONS, tmp_path / "old")
    new, vectors = numbers_of(added) + 10**6, vectors_of(added, seed=3)
    numbers = np.concatenate([NUMBERS[removed:], new])
    everything = np.concatenate([VECTORS[removed:], vectors])
    family = update(
        tmp_path / "old",
        NUMBERS[:removed].tolist(),
        in_batches(new, vectors),
        in_batches(numbers, everything),
        len(numbers),
        tmp_path / "new",
    )
    return family, numbers, everything


@pytest.mark.usefixtures("in_lists")
@pytest.mark.parametrize(("removed", "added"), [(0, 0), (40, 0), (0, 50), (600, 900)])
def test_a_small_change_keeps_the_lists(tmp_path: Path, removed: int, added: int) -> None:
    family, numbers, vectors = changed(tmp_path, removed, added)
    assert family is not None
    opened = Nearest.open(tmp_path / "new")
    assert sorted(opened.numbers().tolist()) == sorted(numbers.tolist())
    assert recall(opened, numbers, vectors, vectors_of(200, seed=1)) >= 0.95
    if not removed and not added:
        assert (tmp_path / "new").read_bytes() == (tmp_path / "old").read_bytes()


@pytest.mark.usefixtures("in_lists")
@pytest.mark.parametrize(("removed", "added"), [(0, 3000), (2000, 0), (3500, 0)])
def test_what_has_outgrown_its_training_is_to_be_built(
    tmp_path: Path, removed: int, added: int
) -> None:
    assert changed(tmp_path, removed, added)[0] is None


def test_what_is_exact_is_to_be_built(tmp_path: Path) -> None:
    assert changed(tmp_path, 1, 1)[0] is None


# -- what can go wrong


@pytest.mark.parametrize(
    "damage",
    [
        lambda held: b"",
        lambda held: b"IxMp",
        lambda held: b"no vectors at all" * 100,
        lambda held: held[:-20],
        lambda held: held[: len(held) // 2],
        lambda held: held[:80],
        lambda held: held[:4] + b"\xff" * 8 + held[12:],
        lambda held: held[:37] + b"\xff" * 16 + held[53:],
        lambda held: held[:8] + (3999).to_bytes(8, "little") + held[16:],
        lambda held: bytes(4) + held[4:],
    ],
)
def test_a_damaged_file_is_refused(file: Path, damage: Callable[[bytes], bytes]) -> None:
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=str(file)):
        Nearest.open(file)


def test_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match=str(path)):
            Nearest.open(path)


@pytest.mark.parametrize("many", [False, True])
def test_a_full_disk_is_said(small_disk: Path, many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if many:
        monkeypatch.setattr(nearest, "EXACT_UP_TO", 1000)
    vectors = vectors_of(6000, dimensions=256)
    batches = in_batches(numbers_of(6000), vectors)
    with pytest.raises(OSError, match="No space left"):
        build(batches, 6000, 256, small_disk / "vectors")


def test_threads_search_side_by_side(file: Path) -> None:
    opened = Nearest.open(file)
    questions = vectors_of(100, seed=2)
    alone = [opened.search(question, 20) for question in questions]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(lambda question: opened.search(question, 20), questions)) == alone


def test_a_search_leaves_the_number_of_threads_alone(file: Path) -> None:
    import faiss

    before = faiss.omp_get_max_threads()
    Nearest.open(file).search(VECTORS[0], 3)
    assert faiss.omp_get_max_threads() == before


def test_only_chosen_numbers_are_searched_and_then_all_of_them(file: Path) -> None:
    opened = Nearest.open(file)
    chosen = set(NUMBERS[::100].tolist())
    found = opened.search(VECTORS[7], 1000, chosen)
    assert found.keys() == chosen
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert opened.search(VECTORS[7], 10, set()) == {}
