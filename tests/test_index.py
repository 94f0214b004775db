"""PassageIndex: what it finds, and that FAISS's file is only a copy."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rag import commits, indexing
from rag.datatypes import Article, EncoderId
from rag.errors import IndexDamaged, IndexUnusable, NoIndex
from rag.index import PassageIndex
from rag.nearest import Nearest

if TYPE_CHECKING:
    from conftest import FakeEncoder, Held, Quiet

FERRY = "The ferry left Port Ellery at noon. Its captain saw \U0001f6a2 ships \U0001f6a2 in fog."
BRIDGE = "The bridge was inspected in 2019. The inspectors found rust under the café."
TIGER = "A tiger was born in the zoo on Friday. It weighs 1,200 grams."

Sync = Callable[..., indexing.Summary]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for name, text in {"ferry": FERRY, "bridge": BRIDGE, "tiger": TIGER}.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def sync(tmp_path: Path, source: Path, fake_encoder: "type[FakeEncoder]", quiet: "Quiet") -> Sync:
    """Brings the index in tmp_path/index in line with the source."""

    def bring(encoder: "FakeEncoder | None" = None) -> indexing.Summary:
        return indexing.sync(
            tmp_path / "index",
            encoder or fake_encoder(),
            [source],
            rebuild=False,
            progress=quiet,
        )

    return bring


@pytest.fixture
def folder(tmp_path: Path, sync: Sync) -> Path:
    sync()
    return tmp_path / "index"


@pytest.fixture
def index(folder: Path) -> Iterator[PassageIndex]:
    with PassageIndex.open(folder) as opened:
        yield opened


def nearest(index: PassageIndex, encoder: "FakeEncoder", text: str) -> list[tuple[str, float]]:
    found = index.nearest(encoder.encode_question(text), 10)
    return [(index.passages([number])[0].text, score) for number, score in found.items()]


def matching(index: PassageIndex, *words: str) -> list[str]:
    return [passage.article_id for passage in index.passages(index.matching(words, 10))]


# -- finding


def test_the_nearest_passage_is_the_one_encoded_alike(
    index: PassageIndex, fake_encoder: "type[FakeEncoder]"
) -> None:
    encoder = fake_encoder()
    (best, score), *others = nearest(index, encoder, f"{TIGER}\n{TIGER}")
    assert best == TIGER
    assert score == pytest.approx(1.0)
    assert [rank for _, rank in others] == sorted((rank for _, rank in others), reverse=True)
    assert {text for text, _ in others} == {FERRY, BRIDGE}


def test_most_bounds_what_is_found(index: PassageIndex, fake_encoder: "type[FakeEncoder]") -> None:
    assert len(index.nearest(fake_encoder().encode_question("x"), 2)) == 2
    assert len(index.matching(["the"], 1)) == 1


def test_words_are_matched_by_their_stems_and_without_accents(index: PassageIndex) -> None:
    assert matching(index, "inspecting") == ["bridge.txt"]
    assert matching(index, "cafe") == ["bridge.txt"]
    assert matching(index, "1,200") == ["tiger.txt"]
    assert matching(index, "giraffe") == []
    assert matching(index) == []


def test_the_title_of_an_article_is_matched_with_every_passage(
    source: Path, sync: Sync, tmp_path: Path
) -> None:
    (source / "long.md").write_text(f"---\ntitle: Kestrel\n---\n{FERRY}\n\n{BRIDGE}\n\n{TIGER}")
    sync()
    with PassageIndex.open(tmp_path / "index") as index:
        found = index.passages(index.matching(["kestrel"], 10))
    assert len(found) > 1
    assert {passage.article_id for passage in found} == {"long.md"}


def test_more_matching_words_score_higher(index: PassageIndex) -> None:
    found = index.matching(["ferry", "noon", "bridge"], 10)
    ordered = [index.passages([number])[0].article_id for number in found]
    assert ordered == ["ferry.txt", "bridge.txt"]
    assert list(found.values()) == sorted(found.values(), reverse=True)


@pytest.mark.parametrize("word", ['"', "*", "AND", "NEAR(a", "title:x", "(", "^a", "é\u0301"])
def test_no_word_is_taken_for_an_operator(index: PassageIndex, word: str) -> None:
    assert matching(index, word, "tiger") == ["tiger.txt"]


def test_a_passage_is_its_articles_text_at_its_offsets(index: PassageIndex) -> None:
    for passage in index.passages(range(1, 10)):
        article = index.article(passage.article_id)
        assert article is not None
        assert article.text[passage.start : passage.end] == passage.text
    assert index.article("ferry.txt") == Article("ferry.txt", FERRY, FERRY)


def test_a_rare_word_weighs_more(index: PassageIndex) -> None:
    rarity = index.rarity(["the", "tiger", "giraff"])
    assert rarity["the"] < rarity["tiger"] < rarity["giraff"]


def test_contents_are_counted(index: PassageIndex, source: Path, folder: Path) -> None:
    contents = index.contents()
    assert (contents.articles, contents.passages, contents.duplicates) == (3, 3, 0)
    assert [(s.path, s.articles, s.files) for s in contents.sources] == [(str(source), 3, 3)]
    assert contents.sources[0].bytes == sum(file.stat().st_size for file in source.iterdir())
    files = [*folder.glob("*.sqlite"), *folder.glob("*.faiss")]
    assert contents.bytes == sum(file.stat().st_size for file in files)


def test_threads_read_one_index_side_by_side(
    index: PassageIndex, fake_encoder: "type[FakeEncoder]"
) -> None:
    encoder = fake_encoder()
    alone = (nearest(index, encoder, "x"), matching(index, "ferry"))
    with ThreadPoolExecutor(8) as pool:
        tasks = [
            pool.submit(lambda: (nearest(index, encoder, "x"), matching(index, "ferry")))
            for _ in range(64)
        ]
        assert all(task.result() == alone for task in tasks)


# -- FAISS's file is only a copy


def damage_by(name: str) -> Callable[[Path, Path], None]:
    def delete(file: Path, other: Path) -> None:
        file.unlink()

    def empty(file: Path, other: Path) -> None:
        file.write_bytes(b"")

    def scramble(file: Path, other: Path) -> None:
        file.write_bytes(b"no vectors at all" * 100)

    def cut(file: Path, other: Path) -> None:
        file.write_bytes(file.read_bytes()[:-20])

    def another_commit(file: Path, other: Path) -> None:
        file.rename(file.with_name("vectors.1.faiss"))

    def another_index(file: Path, other: Path) -> None:
        shutil.copy(other, file)

    return locals()[name]


DAMAGES = ["delete", "empty", "scramble", "cut", "another_commit", "another_index"]


@pytest.mark.parametrize("name", DAMAGES)
def test_without_a_sound_faiss_file_the_same_is_found(
    folder: Path,
    source: Path,
    tmp_path: Path,
    name: str,
    fake_encoder: "type[FakeEncoder]",
    quiet: "Quiet",
) -> None:
    encoder = fake_encoder()
    with PassageIndex.open(folder) as index:
        before = nearest(index, encoder, "x")
    indexing.sync(
        tmp_path / "other", encoder, [source / "ferry.txt"], rebuild=False, progress=quiet
    )
    (file,), (other,) = folder.glob("*.faiss"), (tmp_path / "other").glob("*.faiss")
    damage_by(name)(file, other)
    with PassageIndex.open(folder) as index:
        assert nearest(index, encoder, "x") == before


@pytest.mark.parametrize("name", DAMAGES)
def test_the_next_sync_writes_the_faiss_file_again_without_encoding(
    folder: Path, sync: Sync, name: str, fake_encoder: "type[FakeEncoder]"
) -> None:
    (file,) = folder.glob("*.faiss")
    damage_by(name)(file, next(folder.glob("*.sqlite")))
    encoder = fake_encoder(fail_after=0, failure=AssertionError)
    sync(encoder)
    (file,) = folder.glob("*.faiss")
    with PassageIndex.open(folder) as index:
        assert file.name == index.commit.vectors.name
    assert Nearest.open(file).count == 3
    assert encoder.encoded == []


# -- readers keep their commit


def test_a_reader_goes_on_answering_from_the_commit_that_it_opened(
    folder: Path, source: Path, sync: Sync, fake_encoder: "type[FakeEncoder]"
) -> None:
    encoder = fake_encoder()
    with PassageIndex.open(folder) as warm, PassageIndex.open(folder) as cold:
        before = nearest(warm, encoder, "x"), warm.contents().articles
        (source / "tiger.txt").unlink()
        (source / "ferry.txt").write_text("The ferry was sold to a museum.")
        (source / "owl.txt").write_text("An owl moved into the town hall.")
        sync()
        for old in (warm, cold):
            assert (nearest(old, encoder, "x"), old.contents().articles) == before
            assert matching(old, "tiger") == ["tiger.txt"]
            assert matching(old, "owl") == []
            article = old.article("ferry.txt")
            assert article is not None
            assert article.text == FERRY
        with PassageIndex.open(folder) as new:
            assert matching(new, "tiger") == []
            assert matching(new, "owl") == ["owl.txt"]


def test_a_reader_outlives_a_rebuild(
    folder: Path, source: Path, fake_encoder: "type[FakeEncoder]", quiet: "Quiet"
) -> None:
    with PassageIndex.open(folder) as old:
        (source / "tiger.txt").unlink()
        encoder = fake_encoder("another")
        indexing.sync(folder, encoder, [source], rebuild=True, progress=quiet)
        assert matching(old, "tiger") == ["tiger.txt"]
        assert old.commit.encoder.name == "fake"


# -- what cannot be used


def test_no_index_is_told(tmp_path: Path) -> None:
    with pytest.raises(IndexUnusable, match=f"There is no index in {tmp_path}"):
        PassageIndex.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b"no JSON", b'{"commit": []}', b"\xff"])
def test_a_folder_that_holds_no_index_of_ours_is_told(folder: Path, content: bytes) -> None:
    (folder / "current.json").write_bytes(content)
    with pytest.raises(IndexDamaged, match=r"current\.json is damaged") as told:
        PassageIndex.open(folder)
    assert "--rebuild" in told.value.remedy


def test_an_index_of_a_later_version_is_refused(folder: Path, sync: Sync, held: "Held") -> None:
    file = folder / "current.json"
    file.write_text(file.read_text().replace(f'"version": {commits.VERSION}', '"version": 99'))
    before = held(folder)
    for use in (lambda: PassageIndex.open(folder), sync):
        with pytest.raises(IndexUnusable, match=f"is of version 99, not {commits.VERSION}"):
            use()
    assert held(folder) == before


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (EncoderId("another", "made up"), "was made by the encoder fake, not another"),
        (EncoderId("fake", "another"), "the encoder fake, whose files have changed since"),
    ],
)
def test_an_index_of_another_encoder_is_refused(folder: Path, other: EncoderId, said: str) -> None:
    with pytest.raises(IndexUnusable, match=said) as told:
        PassageIndex.open(folder, encoder=other)
    assert "Run `rag index` to encode it anew" in told.value.remedy


def test_a_damaged_database_is_replaced_by_a_rebuild_only(
    folder: Path, source: Path, sync: Sync, fake_encoder: "type[FakeEncoder]", quiet: "Quiet"
) -> None:
    (database,) = folder.glob("*.sqlite")
    database.write_bytes(b"ruined" * 1000)
    (source / "new.txt").write_text("An owl moved in.")
    with pytest.raises(IndexDamaged, match="is damaged"):
        sync()
    assert database.read_bytes() == b"ruined" * 1000
    indexing.sync(folder, fake_encoder(), [source], rebuild=True, progress=quiet)
    with PassageIndex.open(folder) as index:
        assert matching(index, "tiger") == ["tiger.txt"]


def test_a_vector_of_another_length_is_told(index: PassageIndex) -> None:
    with pytest.raises(IndexUnusable, match="holds vectors of 32 dimensions, the encoder makes 8"):
        index.nearest(np.ones(8, dtype=np.float32), 3)


def test_an_index_whose_first_build_was_killed_is_no_index_yet(tmp_path: Path) -> None:
    (tmp_path / "building.sqlite").write_bytes(b"whatever")
    with pytest.raises(NoIndex, match=r"There is no index in .*\. Run `rag index`"):
        PassageIndex.open(tmp_path)
