"""IndexReader: searching and fetching, the derived FAISS file, and snapshots that readers keep."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEncoder, SilentProgress
from fixture_types import IndexBytes

from rag.errors import IndexDamaged, IndexUnusable, NoIndex
from rag.indexing.sync import SyncReport
from rag.indexing.sync import sync as sync_index
from rag.store import snapshot
from rag.store.reader import IndexReader
from rag.store.vectors import VectorIndex
from rag.types import Article, EncoderId

FERRY = "The ferry left Port Ellery at noon. Its captain saw \U0001f6a2 ships \U0001f6a2 in fog."
BRIDGE = "The bridge was inspected in 2019. The inspectors found rust under the café."
TIGER = "A tiger was born in the zoo on Friday. It weighs 1,200 grams."

Sync = Callable[..., SyncReport]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for name, text in {"ferry": FERRY, "bridge": BRIDGE, "tiger": TIGER}.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def sync(tmp_path: Path, source: Path) -> Sync:
    """Brings the index in tmp_path/index up to date with the source."""

    def sync_source(encoder: FakeEncoder | None = None) -> SyncReport:
        return sync_index(
            tmp_path / "index",
            encoder or FakeEncoder(),
            [source],
            rebuild=False,
            progress=SilentProgress(),
        )

    return sync_source


@pytest.fixture
def folder(tmp_path: Path, sync: Sync) -> Path:
    sync()
    return tmp_path / "index"


@pytest.fixture
def index(folder: Path) -> Iterator[IndexReader]:
    with IndexReader.open(folder) as opened:
        yield opened


def vector_search(index: IndexReader, encoder: FakeEncoder, text: str) -> list[tuple[str, float]]:
    scores = index.vector_search(encoder.encode_question(text), 10)
    return [(index.passages([number])[0].text, score) for number, score in scores.items()]


def keyword_search(index: IndexReader, *words: str) -> list[str]:
    return [passage.article_id for passage in index.passages(index.keyword_search(words, 10))]


# -- searching


def test_the_nearest_passage_is_the_one_with_the_same_text(index: IndexReader) -> None:
    encoder = FakeEncoder()
    (best, score), *others = vector_search(index, encoder, f"{TIGER}\n{TIGER}")
    assert best == TIGER
    assert score == pytest.approx(1.0)
    assert [rank for _, rank in others] == sorted((rank for _, rank in others), reverse=True)
    assert {text for text, _ in others} == {FERRY, BRIDGE}


def test_the_limit_bounds_the_number_of_results(index: IndexReader) -> None:
    assert len(index.vector_search(FakeEncoder().encode_question("x"), 2)) == 2
    assert len(index.keyword_search(["the"], 1)) == 1


def test_words_match_by_their_stems_and_without_accents(index: IndexReader) -> None:
    assert keyword_search(index, "inspecting") == ["bridge.txt"]
    assert keyword_search(index, "cafe") == ["bridge.txt"]
    assert keyword_search(index, "1,200") == ["tiger.txt"]
    assert keyword_search(index, "giraffe") == []
    assert keyword_search(index) == []


def test_the_title_of_an_article_matches_with_every_passage(
    source: Path, sync: Sync, tmp_path: Path
) -> None:
    (source / "long.md").write_text(f"---\ntitle: Kestrel\n---\n{FERRY}\n\n{BRIDGE}\n\n{TIGER}")
    sync()
    with IndexReader.open(tmp_path / "index") as index:
        passages = index.passages(index.keyword_search(["kestrel"], 10))
    assert len(passages) > 1
    assert {passage.article_id for passage in passages} == {"long.md"}


def test_more_matching_words_score_higher(index: IndexReader) -> None:
    scores = index.keyword_search(["ferry", "noon", "bridge"], 10)
    ids = [index.passages([number])[0].article_id for number in scores]
    assert ids == ["ferry.txt", "bridge.txt"]
    assert list(scores.values()) == sorted(scores.values(), reverse=True)


@pytest.mark.parametrize("word", ['"', "*", "AND", "NEAR(a", "title:x", "(", "^a", "é\u0301"])
def test_no_word_is_an_operator_of_the_query_language(index: IndexReader, word: str) -> None:
    assert keyword_search(index, word, "tiger") == ["tiger.txt"]


def test_a_passage_is_the_text_of_its_article_between_its_offsets(index: IndexReader) -> None:
    for passage in index.passages(range(1, 10)):
        article = index.article(passage.article_id)
        assert article is not None
        assert article.text[passage.start : passage.end] == passage.text
    assert index.article("ferry.txt") == Article("ferry.txt", FERRY, FERRY)


def test_a_rarer_word_has_a_higher_idf(index: IndexReader) -> None:
    idf = index.idf(["the", "tiger", "giraff"])
    assert idf["the"] < idf["tiger"] < idf["giraff"]


def test_stats_count_articles_passages_files_and_bytes(
    index: IndexReader, source: Path, folder: Path
) -> None:
    stats = index.stats()
    assert (stats.articles, stats.passages, stats.duplicates) == (3, 3, 0)
    assert [(s.path, s.articles, s.files) for s in stats.sources] == [(str(source), 3, 3)]
    assert stats.sources[0].bytes == sum(file.stat().st_size for file in source.iterdir())
    files = [*folder.glob("*.sqlite"), *folder.glob("*.faiss")]
    assert stats.bytes == sum(file.stat().st_size for file in files)


def test_threads_read_one_index_concurrently(index: IndexReader) -> None:
    encoder = FakeEncoder()
    expected = (vector_search(index, encoder, "x"), keyword_search(index, "ferry"))
    with ThreadPoolExecutor(8) as pool:
        tasks = [
            pool.submit(
                lambda: (vector_search(index, encoder, "x"), keyword_search(index, "ferry"))
            )
            for _ in range(64)
        ]
        assert all(task.result() == expected for task in tasks)


# -- the FAISS file can be rebuilt


def damage_function(name: str) -> Callable[[Path, Path], None]:
    def delete(file: Path, other: Path) -> None:
        file.unlink()

    def empty(file: Path, other: Path) -> None:
        file.write_bytes(b"")

    def scramble(file: Path, other: Path) -> None:
        file.write_bytes(b"no vectors at all" * 100)

    def cut(file: Path, other: Path) -> None:
        file.write_bytes(file.read_bytes()[:-20])

    def another_snapshot(file: Path, other: Path) -> None:
        file.rename(file.with_name("vectors.1.faiss"))

    def another_index(file: Path, other: Path) -> None:
        shutil.copy(other, file)

    damage: Callable[[Path, Path], None] = locals()[name]
    return damage


DAMAGES = ["delete", "empty", "scramble", "cut", "another_snapshot", "another_index"]


@pytest.mark.parametrize("name", DAMAGES)
def test_results_are_the_same_without_an_intact_faiss_file(
    folder: Path,
    source: Path,
    tmp_path: Path,
    name: str,
) -> None:
    encoder = FakeEncoder()
    with IndexReader.open(folder) as index:
        before = vector_search(index, encoder, "x")
    sync_index(
        tmp_path / "other",
        encoder,
        [source / "ferry.txt"],
        rebuild=False,
        progress=SilentProgress(),
    )
    (file,), (other,) = folder.glob("*.faiss"), (tmp_path / "other").glob("*.faiss")
    damage_function(name)(file, other)
    with IndexReader.open(folder) as index:
        assert vector_search(index, encoder, "x") == before


@pytest.mark.parametrize("name", DAMAGES)
def test_the_next_sync_rebuilds_the_faiss_file_without_encoding(
    folder: Path, sync: Sync, name: str
) -> None:
    (file,) = folder.glob("*.faiss")
    damage_function(name)(file, next(folder.glob("*.sqlite")))
    encoder = FakeEncoder(fail_after=0, failure=AssertionError)
    sync(encoder)
    (file,) = folder.glob("*.faiss")
    with IndexReader.open(folder) as index:
        assert file.name == index.snapshot.vectors.name
    assert VectorIndex.open(file).count == 3
    assert encoder.encoded == []


# -- readers keep their snapshot


def test_a_reader_keeps_answering_from_the_snapshot_that_it_opened(
    folder: Path, source: Path, sync: Sync
) -> None:
    encoder = FakeEncoder()
    with IndexReader.open(folder) as used, IndexReader.open(folder) as unused:
        before = vector_search(used, encoder, "x"), used.stats().articles
        (source / "tiger.txt").unlink()
        (source / "ferry.txt").write_text("The ferry was sold to a museum.")
        (source / "owl.txt").write_text("An owl moved into the town hall.")
        sync()
        for old in (used, unused):
            assert (vector_search(old, encoder, "x"), old.stats().articles) == before
            assert keyword_search(old, "tiger") == ["tiger.txt"]
            assert keyword_search(old, "owl") == []
            article = old.article("ferry.txt")
            assert article is not None
            assert article.text == FERRY
        with IndexReader.open(folder) as new:
            assert keyword_search(new, "tiger") == []
            assert keyword_search(new, "owl") == ["owl.txt"]


def test_a_reader_keeps_answering_after_a_rebuild(folder: Path, source: Path) -> None:
    with IndexReader.open(folder) as old:
        (source / "tiger.txt").unlink()
        encoder = FakeEncoder("another")
        sync_index(folder, encoder, [source], rebuild=True, progress=SilentProgress())
        assert keyword_search(old, "tiger") == ["tiger.txt"]
        assert old.snapshot.encoder.name == "fake"


# -- unusable indexes


def test_a_missing_index_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IndexUnusable, match=f"There is no index in {tmp_path}"):
        IndexReader.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b"no JSON", b'{"commit": []}', b"\xff"])
def test_a_damaged_pointer_file_is_an_error(folder: Path, content: bytes) -> None:
    (folder / "current.json").write_bytes(content)
    with pytest.raises(IndexDamaged, match=r"current\.json is damaged") as error:
        IndexReader.open(folder)
    assert "`rag doctor`" in error.value.remedy


def test_an_index_of_a_later_version_is_refused(
    folder: Path, sync: Sync, index_bytes: IndexBytes
) -> None:
    file = folder / "current.json"
    file.write_text(file.read_text().replace(f'"version": {snapshot.VERSION}', '"version": 99'))
    before = index_bytes(folder)
    for operation in (lambda: IndexReader.open(folder), sync):
        with pytest.raises(IndexUnusable, match=f"has format version 99, not {snapshot.VERSION}"):
            operation()
    assert index_bytes(folder) == before


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (EncoderId("another", "made up"), "was built with the encoder fake, not another"),
        (EncoderId("fake", "another"), "the encoder fake, whose files have changed since"),
    ],
)
def test_an_index_of_another_encoder_is_refused(
    folder: Path, other: EncoderId, message: str
) -> None:
    with pytest.raises(IndexUnusable, match=message) as error:
        IndexReader.open(folder, encoder=other)
    assert "Run `rag index` to encode it again" in error.value.remedy


def test_only_a_rebuild_replaces_a_damaged_database(folder: Path, source: Path, sync: Sync) -> None:
    (database,) = folder.glob("*.sqlite")
    database.write_bytes(b"ruined" * 1000)
    (source / "new.txt").write_text("An owl moved in.")
    with pytest.raises(IndexDamaged, match="is damaged"):
        sync()
    assert database.read_bytes() == b"ruined" * 1000
    sync_index(folder, FakeEncoder(), [source], rebuild=True, progress=SilentProgress())
    with IndexReader.open(folder) as index:
        assert keyword_search(index, "tiger") == ["tiger.txt"]


def test_a_vector_with_other_dimensions_is_an_error(index: IndexReader) -> None:
    with pytest.raises(IndexUnusable, match="have 32 dimensions, those of the encoder have 8"):
        index.vector_search(np.ones(8, dtype=np.float32), 3)


def test_there_is_no_index_after_an_interrupted_first_build(tmp_path: Path) -> None:
    (tmp_path / "building.sqlite").write_bytes(b"whatever")
    with pytest.raises(NoIndex, match=r"There is no index in .*\. Run `rag index`"):
        IndexReader.open(tmp_path)
