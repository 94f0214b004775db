"""Sync of an index with its sources: the differences, all or nothing, and which sources remain."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEncoder, SilentProgress
from fixture_types import IndexBytes
from hypothesis import given, settings
from hypothesis import strategies as st
from source_files import read_source

from rag.errors import IndexUnusable, NoIndex, SourceError
from rag.indexing import repair
from rag.indexing.sync import SyncReport, preview, remove, sync
from rag.models.embedding.encoder import Encoder
from rag.store import snapshot
from rag.store.reader import IndexReader
from rag.store.vectors import recall
from rag.text import chunking
from rag.types import Article

NEWS = {
    "ferry.txt": "The ferry left Port Ellery at noon. Nobody saw it again that day.",
    "bridge.txt": "The bridge was inspected in 2019. Rust was found under its arches.",
    "zoo/tiger.txt": "A tiger was born in the zoo on Friday.",
}


def fill(folder: Path, files: Mapping[str, str]) -> Path:
    """Make the folder contain these files and no others."""
    folder.mkdir(exist_ok=True)
    for path in list(folder.rglob("*.*")):
        if path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder


class Workspace:
    """A folder with an index, beside folders of articles."""

    def __init__(self, folder: Path) -> None:
        self.index = folder / "index"
        self._folder = folder

    def source(self, name: str, files: Mapping[str, str]) -> Path:
        return fill(self._folder / name, files)

    def sync(
        self, *sources: Path, rebuild: bool = False, encoder: FakeEncoder | None = None
    ) -> SyncReport:
        encoder = encoder or FakeEncoder()
        return sync(self.index, encoder, sources, rebuild=rebuild, progress=SilentProgress())

    def ids(self) -> set[str]:
        """The ids of the articles that can be found, which must be those that are stored."""
        with IndexReader.open(self.index) as index:
            vector = FakeEncoder().encode_question("x")
            ids = {p.article_id for p in index.passages(index.vector_search(vector, 1000))}
            numbers = range(1, index.stats().passages * 3 + 100)
            assert ids == {p.article_id for p in index.passages(numbers)}
            assert len(ids) == index.stats().articles
            return ids

    def sources(self) -> list[str]:
        with IndexReader.open(self.index) as index:
            return [path.name for path in index.sources()]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)  # `seeds` is a relative path
    return Workspace(tmp_path)


def counts(report: SyncReport) -> tuple[int, int, int, int]:
    return report.added, report.changed, report.removed, report.unchanged


# -- the differences


def test_a_new_index_contains_all_articles(workspace: Workspace) -> None:
    report = workspace.sync(workspace.source("news", NEWS))
    assert counts(report) == (3, 0, 0, 0)
    assert report.encoder == "fake"
    assert workspace.ids() == set(NEWS)


def test_new_changed_removed_and_unchanged_articles_are_counted(workspace: Workspace) -> None:
    news = workspace.source("news", NEWS)
    workspace.sync(news)
    workspace.source(
        "news",
        {
            "ferry.txt": "The ferry sank.",
            "bridge.txt": NEWS["bridge.txt"],
            "owl.txt": "An owl moved in.",
        },
    )
    encoder = FakeEncoder()
    assert counts(workspace.sync(encoder=encoder)) == (1, 1, 1, 1)
    assert workspace.ids() == {"ferry.txt", "bridge.txt", "owl.txt"}
    assert sorted(text.splitlines()[-1] for text in encoder.encoded) == [
        "An owl moved in.",
        "The ferry sank.",
    ]


def test_a_second_run_changes_nothing_and_encodes_nothing(
    workspace: Workspace, index_bytes: IndexBytes
) -> None:
    workspace.sync(workspace.source("news", NEWS))
    before = index_bytes(workspace.index)
    encoder = FakeEncoder(fail_after=0, failure=AssertionError)
    report = workspace.sync(encoder=encoder)
    assert counts(report) == (0, 0, 0, 3)
    assert report.encoded == 0
    assert index_bytes(workspace.index) == before


@pytest.mark.parametrize("key", ["title", "date", "source", "url"])
def test_a_change_of_metadata_is_a_change(workspace: Workspace, key: str) -> None:
    news = workspace.source("news", {"a.txt": f"---\n{key}: one\n---\nThe ferry sank."})
    workspace.sync(news)
    workspace.source("news", {"a.txt": f"---\n{key}: two\n---\nThe ferry sank."})
    assert counts(workspace.sync()) == (0, 1, 0, 0)
    with IndexReader.open(workspace.index) as index:
        article = index.article("a.txt")
    assert getattr(article, key) == "two"


def test_a_removed_article_cannot_be_found(workspace: Workspace) -> None:
    news = workspace.source("news", NEWS)
    workspace.sync(news)
    (news / "zoo/tiger.txt").unlink()
    assert counts(workspace.sync()) == (0, 0, 1, 2)
    tiger = NEWS["zoo/tiger.txt"]
    with IndexReader.open(workspace.index) as index:
        near = index.vector_search(FakeEncoder().encode_question(f"{tiger}\n{tiger}"), 10)
        assert len(near) == 2
        assert max(near.values()) < 0.99
        assert index.keyword_search(["tiger", "zoo"], 10) == {}
        assert index.article("zoo/tiger.txt") is None
        idf = index.idf(["tiger", "giraff"])
        assert idf["tiger"] == idf["giraff"], "no passage contains either"


def test_an_article_that_can_no_longer_be_read_is_removed_and_reported(
    workspace: Workspace,
) -> None:
    news = workspace.source("news", NEWS)
    workspace.sync(news)
    (news / "ferry.txt").write_bytes(b"\xff\xfe\xff")
    report = workspace.sync()
    assert counts(report) == (0, 0, 1, 2)
    assert [skipped.path for skipped in report.skipped] == ["ferry.txt"]
    assert "ferry.txt" not in workspace.ids()


def test_of_two_articles_with_the_same_id_the_first_is_kept(workspace: Workspace) -> None:
    rows = '{"id": "a", "text": "The first."}\n{"id": "a", "text": "The second."}\n'
    report = workspace.sync(workspace.source("news", {"r.jsonl": rows}))
    assert counts(report) == (1, 0, 0, 0)
    assert [(s.path, str(s.reason)) for s in report.skipped] == [
        ("a", "another article of this source has the same id")
    ]
    with IndexReader.open(workspace.index) as index:
        article = index.article("a")
    assert article is not None
    assert article.text == "The first."


def test_passages_are_encoded_with_their_heading(tmp_path: Path, encoder: Encoder) -> None:
    text = "---\ntitle: Ferry\ndate: 2020\n---\nIt left Port Ellery at noon."
    news = fill(tmp_path / "news", {"a.txt": text})
    sync(tmp_path / "index", encoder, [news], rebuild=False, progress=SilentProgress())
    with IndexReader.open(tmp_path / "index", encoder=encoder.id) as index:
        vector = encoder.encode_passages(["Ferry (2020)\nIt left Port Ellery at noon."])[0]
        (score,) = index.vector_search(vector, 5).values()
    assert score == pytest.approx(1.0, abs=5e-3)


def test_the_text_is_encoded_even_if_the_title_exceeds_the_encoders_limit(
    tmp_path: Path, encoder: Encoder
) -> None:
    texts = ["The ferry left Port Ellery at noon.", "A tiger was born in the zoo."]
    files = {f"{i}.txt": f"---\ntitle: {'news ' * 400}\n---\n{t}" for i, t in enumerate(texts)}
    news = fill(tmp_path / "news", files)
    sync(tmp_path / "index", encoder, [news], rebuild=False, progress=SilentProgress())
    with IndexReader.open(tmp_path / "index") as index:
        (first, score), (_, second_score) = index.vector_search(
            encoder.encode_question(texts[1]), 2
        ).items()
        assert index.passages([first])[0].text == texts[1]
    assert score > second_score + 0.05


# -- any sequence of changes gives the same index as one fresh build

FILES = st.dictionaries(
    st.sampled_from(["a.txt", "b.md", "c/d.txt", "e.txt"]),
    st.sampled_from(
        [
            "The ferry sank.",
            "The ferry sank. " * 20,
            "---\ntitle: Owl\n---\nAn owl moved in.\n\nIt stayed.",
            "# Bridge\n\nRust was found.",
            "\0 no text",
        ]
    ),
    min_size=1,
)
STEPS = st.lists(st.tuples(st.sampled_from(["one", "two"]), FILES), min_size=1, max_size=5)


def contents(folder: Path, encoder: FakeEncoder) -> dict[str, object]:
    """Everything that a reader can find, independent of the numbers of passages."""
    with IndexReader.open(folder) as index:
        passages = {
            n: (p.article_id, p.start, p.end, p.text)
            for n in range(1, 400)
            for p in index.passages([n])
        }
        vector = encoder.encode_question("x")
        by_vector = sorted(
            (passages[n], round(s, 4)) for n, s in index.vector_search(vector, 999).items()
        )
        words = ["ferry", "owl", "bridge", "rust"]
        by_word = {
            w: sorted((passages[n], round(s, 4)) for n, s in index.keyword_search([w], 999).items())
            for w in words
        }
        articles: dict[str, object] = {id: index.article(id) for id, *_ in passages.values()}
        return articles | {"": (by_vector, by_word, index.idf(words), sorted(passages.values()))}


def is_readable(folder: Path) -> bool:
    return any(isinstance(item, Article) for item in read_source(folder))


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_any_sequence_of_syncs_ends_like_one_fresh_build(
    steps: list[tuple[str, dict[str, str]]],
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        workspace = Workspace(folder)
        sources: list[Path] = []
        for name, files in steps:
            # With distinct ids: which of two equal ids gets a prefix depends on the order of syncs.
            source = workspace.source(
                name, {f"{name}-{file}": text for file, text in files.items()}
            )
            if not is_readable(source):
                with pytest.raises(SourceError):
                    workspace.sync(source)
                workspace.source(name, files := {f"{name}-a.txt": "The ferry sank."})
            workspace.sync(source)
            if source not in sources:
                sources.append(source)
        sync(folder / "fresh", FakeEncoder(), sources, rebuild=False, progress=SilentProgress())
        assert contents(workspace.index, FakeEncoder()) == contents(folder / "fresh", FakeEncoder())


# -- all or nothing


class UnexpectedError(Exception):
    pass


FAILURES = pytest.mark.parametrize(
    "failure", [KeyboardInterrupt, UnexpectedError], ids=lambda f: f.__name__
)


@FAILURES
def test_a_failure_while_encoding_does_not_change_the_index(
    workspace: Workspace,
    index_bytes: IndexBytes,
    failure: type[BaseException],
) -> None:
    news = workspace.source("news", NEWS)
    workspace.sync(news)
    before = index_bytes(workspace.index)
    workspace.source("news", {"owl.txt": "An owl moved in.", "bear.txt": "A bear left town."})
    with pytest.raises(failure):
        workspace.sync(encoder=FakeEncoder(fail_after=1, failure=failure))
    assert index_bytes(workspace.index) == before
    with pytest.raises(failure):
        workspace.sync(news, rebuild=True, encoder=FakeEncoder(fail_after=1, failure=failure))
    assert index_bytes(workspace.index) == before
    assert counts(workspace.sync()) == (2, 0, 3, 0), "the next sync does all of it"


def test_a_failure_while_splitting_does_not_change_the_index(
    workspace: Workspace, index_bytes: IndexBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = workspace.source("news", NEWS)
    workspace.sync(news)
    before = index_bytes(workspace.index)
    workspace.source("news", {"a.txt": "An owl moved in.", "b.txt": "A bear left town."})
    split = chunking.split

    def fails(article: Article, *limits: Any) -> Any:
        if article.id == "b.txt":
            raise UnexpectedError
        return split(article, *limits)

    with monkeypatch.context() as patch:
        patch.setattr(chunking, "split", fails)
        with pytest.raises(UnexpectedError):
            workspace.sync()
    assert index_bytes(workspace.index) == before
    assert counts(workspace.sync()) == (2, 0, 3, 0)


@FAILURES
def test_there_is_no_index_after_a_failed_first_sync_and_the_next_resumes_it(
    workspace: Workspace, failure: type[BaseException]
) -> None:
    with pytest.raises(failure):
        workspace.sync(
            workspace.source("news", NEWS), encoder=FakeEncoder(fail_after=1, failure=failure)
        )
    with pytest.raises(NoIndex):
        IndexReader.open(workspace.index)
    assert counts(workspace.sync()) == (3, 0, 0, 0)
    assert workspace.ids() == set(NEWS)


def test_an_unreadable_source_undoes_the_others_of_the_same_sync(
    workspace: Workspace, index_bytes: IndexBytes
) -> None:
    news = workspace.source("news", NEWS)
    workspace.sync(news)
    before = index_bytes(workspace.index)
    owls = workspace.source("owls", {"owl.txt": "An owl moved in."})
    with pytest.raises(SourceError, match="No article could be read from"):
        workspace.sync(owls, workspace.source("empty", {}))
    assert index_bytes(workspace.index) == before


def test_a_second_writer_at_the_same_time_is_refused(
    workspace: Workspace, index_bytes: IndexBytes
) -> None:
    news = workspace.source("news", NEWS)
    workspace.sync(news)
    before = index_bytes(workspace.index)
    with snapshot.writer_lock(workspace.index):
        with pytest.raises(IndexUnusable, match=rf"Another `rag index` \(process {os.getpid()}"):
            workspace.sync()
        assert index_bytes(workspace.index) == before
    assert counts(workspace.sync()) == (0, 0, 0, 3), "the lock is released"


# -- ids


def test_an_id_of_another_source_is_prefixed_with_the_name_of_the_source(
    workspace: Workspace,
) -> None:
    old = workspace.source("old", {"a.txt": "The ferry sank.", "b.txt": "Rust was found."})
    new = workspace.source("new", {"a.txt": "The ferry was raised.", "c.txt": "An owl moved in."})
    workspace.sync(old)
    workspace.sync(new)
    assert workspace.ids() == {"a.txt", "b.txt", "new/a.txt", "c.txt"}
    with IndexReader.open(workspace.index) as index:
        texts = [article.text for id in ("a.txt", "new/a.txt") if (article := index.article(id))]
    assert texts == ["The ferry sank.", "The ferry was raised."]
    assert counts(workspace.sync()) == (0, 0, 0, 4)


def test_an_id_of_a_third_source_with_the_same_name_is_prefixed_with_its_parent(
    workspace: Workspace, tmp_path: Path
) -> None:
    sources = []
    for parent in ("x", "y", "z"):
        (tmp_path / parent).mkdir()
        sources.append(workspace.source(f"{parent}/news", {"a.txt": f"The {parent} ferry sank."}))
    workspace.sync(*sources)
    assert workspace.ids() == {"a.txt", "news/a.txt", "z/news/a.txt"}


def test_a_prefixed_id_remains_when_its_article_changes(workspace: Workspace) -> None:
    old = workspace.source("old", {"a.txt": "The ferry sank."})
    new = workspace.source("new", {"a.txt": "The ferry was raised."})
    workspace.sync(old, new)
    workspace.source("new", {"a.txt": "The ferry was sold."})
    assert counts(workspace.sync()) == (0, 1, 0, 1)
    assert workspace.ids() == {"a.txt", "new/a.txt"}


def test_an_article_with_a_duplicate_id_is_indexed_when_the_id_is_free(
    workspace: Workspace,
) -> None:
    first, second = '{"id": "x", "text": "The first."}', '{"id": "x", "text": "The second."}'
    news = workspace.source(
        "news", {"a.jsonl": first, "b.jsonl": second, "c.txt": "The ferry sank."}
    )
    assert [skipped.path for skipped in workspace.sync(news).skipped] == ["x"]
    (news / "a.jsonl").unlink()
    report = workspace.sync()
    assert counts(report) == (0, 1, 0, 1)
    assert report.skipped == []
    with IndexReader.open(workspace.index) as index:
        article = index.article("x")
    assert article is not None
    assert article.text == "The second."


# -- no work is done twice


def test_an_unchanged_file_is_not_opened(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = workspace.source("news", NEWS)
    for path in news.rglob("*.txt"):
        os.utime(path, ns=(0, 1_600_000_000_000_000_000))
    workspace.sync(news)
    monkeypatch.setattr("rag.indexing.plan.hash_file", lambda path: pytest.fail(f"{path} was read"))
    assert counts(workspace.sync()) == (0, 0, 0, 3)


def test_a_file_with_only_another_time_stamp_is_hashed_but_not_read_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = workspace.source("news", NEWS)
    workspace.sync(news)
    for path in news.rglob("*.txt"):
        os.utime(path, ns=(0, 1_700_000_000_000_000_000))
    monkeypatch.setattr("rag.indexing.sync.ReaderProcess", lambda: pytest.fail("a file was read"))
    assert counts(workspace.sync()) == (0, 0, 0, 3)


def test_a_change_within_the_resolution_of_the_time_stamp_is_detected(workspace: Workspace) -> None:
    news = workspace.source("news", NEWS)
    workspace.sync(news)
    ferry, stamp = news / "ferry.txt", (news / "ferry.txt").stat().st_mtime_ns
    ferry.write_text(ferry.read_text().replace("noon", "dawn"))
    os.utime(ferry, ns=(stamp, stamp))
    assert counts(workspace.sync()) == (0, 1, 0, 2)


def test_a_moved_file_keeps_its_vectors(workspace: Workspace) -> None:
    news = workspace.source("news", NEWS)
    workspace.sync(news)
    (news / "ferry.txt").rename(news / "zoo" / "boat.txt")
    encoder = FakeEncoder(fail_after=0, failure=AssertionError)
    assert counts(workspace.sync(encoder=encoder)) == (1, 0, 1, 2)
    assert workspace.ids() == {"bridge.txt", "zoo/boat.txt", "zoo/tiger.txt"}


def test_only_the_changed_passages_of_an_article_are_encoded(workspace: Workspace) -> None:
    paragraphs = [f"The ferry number {i} left Port Ellery. " * 3 for i in range(10)]
    text = "---\ntitle: Ferries\n---\n" + "\n\n".join(paragraphs)
    news = workspace.source("news", {"a.txt": text})
    workspace.sync(news)
    workspace.source("news", {"a.txt": text.replace("number 9", "number 10")})
    encoder = FakeEncoder()
    assert counts(workspace.sync(encoder=encoder)) == (0, 1, 0, 0)
    assert encoder.encoded
    assert all("number 10" in passage for passage in encoder.encoded)


def test_the_same_text_in_two_articles_is_encoded_once(workspace: Workspace) -> None:
    encoder = FakeEncoder()
    workspace.sync(
        workspace.source("news", {"a.txt": "Rust was found.", "b.txt": "Rust was found."}),
        encoder=encoder,
    )
    assert len(encoder.encoded) == 1
    assert workspace.ids() == {"a.txt", "b.txt"}
    with IndexReader.open(workspace.index) as index:
        assert index.stats().duplicates == 1


def test_a_small_change_updates_the_vectors_of_a_large_index(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rag.store.vectors.build.MAX_FLAT_VECTORS", 200)
    monkeypatch.setattr(recall, "MIN_RECALL", 0.5)  # random vectors have no clusters
    rows = [f'{{"id": "{i}", "text": "The ferry number {i} sank."}}' for i in range(600)]
    news = workspace.source("news", {"rows.jsonl": "\n".join(rows)})
    workspace.sync(news)
    rows[10:20] = [row.replace("sank", "was raised") for row in rows[10:20]]
    workspace.source("news", {"rows.jsonl": "\n".join(rows[:590]), "owl.txt": "An owl moved in."})
    with monkeypatch.context() as patch:
        patch.setattr("rag.store.publish.build_vector_file", lambda *_: pytest.fail("built again"))
        assert counts(workspace.sync()) == (1, 10, 10, 580)
    with IndexReader.open(workspace.index) as index:
        for id, text in {
            "owl.txt": "An owl moved in.",
            "15": "The ferry number 15 was raised.",
        }.items():
            scores = index.vector_search(FakeEncoder().encode_question(f"{text}\n{text}"), 1)
            assert [passage.article_id for passage in index.passages(scores)] == [id]
        removed = "The ferry number 595 sank."
        vector = FakeEncoder().encode_question(f"{removed}\n{removed}")
        (score,) = index.vector_search(vector, 1).values()
        assert score < 0.99
        assert index.snapshot.recall is not None
        assert index.snapshot.recall >= recall.MIN_RECALL
    assert repair.diagnose(workspace.index, FakeEncoder(), SilentProgress()).problems == ()


# -- preview and removal


def test_a_preview_lists_the_changes_without_making_them(
    workspace: Workspace, index_bytes: IndexBytes
) -> None:
    news = workspace.source("news", NEWS)
    workspace.sync(news)
    workspace.source(
        "news",
        {"owl.txt": "An owl.", "ferry.txt": "It sank.", "zoo/tiger.txt": NEWS["zoo/tiger.txt"]},
    )
    before = index_bytes(workspace.index)
    (plan,) = preview(workspace.index, []).sources
    assert [file.name for file in plan.new] == ["owl.txt"]
    assert [file.name for file in plan.changed] == ["ferry.txt"]
    assert list(plan.removed) == ["bridge.txt"]
    assert index_bytes(workspace.index) == before
    workspace.sync()
    assert preview(workspace.index, []).is_empty


def test_a_source_that_no_longer_exists_can_be_removed(workspace: Workspace) -> None:
    news = workspace.source("news", NEWS)
    workspace.sync(news, workspace.source("more", {"owl.txt": "An owl moved in."}))
    shutil.rmtree(news)
    with pytest.raises(SourceError, match=r"`rag index --remove"):
        workspace.sync()
    report = remove(workspace.index, FakeEncoder(), [news])
    assert counts(report) == (0, 0, 3, 0)
    assert (workspace.sources(), workspace.ids()) == (["more"], {"owl.txt"})
    assert counts(workspace.sync()) == (0, 0, 0, 1)


def test_only_a_source_of_the_index_can_be_removed(workspace: Workspace, tmp_path: Path) -> None:
    workspace.sync(workspace.source("news", NEWS))
    with pytest.raises(
        SourceError, match=rf"is not a source of this index; its sources: {tmp_path}"
    ):
        remove(workspace.index, FakeEncoder(), [tmp_path / "other"])


def test_the_articles_of_a_source_that_is_suddenly_empty_are_kept(
    workspace: Workspace, index_bytes: IndexBytes
) -> None:
    news = workspace.source("news", NEWS)
    workspace.sync(news)
    before = index_bytes(workspace.index)
    workspace.source("news", {})
    with pytest.raises(SourceError, match="No article could be read from"):
        workspace.sync()
    assert index_bytes(workspace.index) == before


def test_an_index_inside_of_its_source_is_not_indexed(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The ferry sank.")
    report = workspace.sync(tmp_path)
    assert (counts(report), report.skipped) == ((1, 0, 0, 0), [])
    assert counts(workspace.sync()) == (0, 0, 0, 1)


# -- which sources remain


@pytest.fixture
def seeds(workspace: Workspace) -> Path:
    return workspace.source("seeds", {"seed.txt": "A sample about a ferry."})


def test_a_new_index_without_a_given_source_contains_the_samples(
    workspace: Workspace, seeds: Path
) -> None:
    assert counts(workspace.sync()) == (1, 0, 0, 0)
    assert workspace.sources() == ["seeds"]


def test_without_samples_a_source_must_be_given(workspace: Workspace) -> None:
    with pytest.raises(SourceError, match=r"No source was given, and there are no sample articles"):
        workspace.sync()


def test_the_first_source_of_the_user_replaces_the_samples(
    workspace: Workspace, seeds: Path
) -> None:
    workspace.sync()
    report = workspace.sync(workspace.source("news", NEWS))
    assert report.removed_sources == [seeds]
    assert counts(report) == (3, 0, 1, 0)
    assert workspace.sources() == ["news"]
    assert workspace.ids() == set(NEWS)


def test_the_samples_remain_if_they_are_given_as_well(workspace: Workspace, seeds: Path) -> None:
    workspace.sync()
    report = workspace.sync(workspace.source("news", NEWS), Path("seeds"))
    assert report.removed_sources == []
    assert counts(report) == (3, 0, 0, 1)
    assert workspace.ids() == {"seed.txt", *NEWS}


def test_samples_given_beside_another_source_remain_in_later_syncs(
    workspace: Workspace, seeds: Path
) -> None:
    workspace.sync(workspace.source("news", NEWS), seeds)
    assert (
        workspace.sync(workspace.source("more", {"owl.txt": "An owl moved in."})).removed_sources
        == []
    )
    assert workspace.ids() == {"seed.txt", "owl.txt", *NEWS}


def test_a_sync_of_given_sources_does_not_change_the_others(workspace: Workspace) -> None:
    news = workspace.source("news", NEWS)
    more = workspace.source("more", {"owl.txt": "An owl moved in."})
    workspace.sync(news, more)
    (news / "ferry.txt").unlink()
    workspace.source("more", {"owl.txt": "The owl left."})
    assert counts(workspace.sync(more)) == (0, 1, 0, 0)
    assert workspace.ids() == {"owl.txt", *NEWS}
    assert counts(workspace.sync()) == (0, 0, 1, 3), "without a given source, all are synced"


def test_a_rebuild_keeps_only_the_given_sources(workspace: Workspace) -> None:
    workspace.sync(workspace.source("news", NEWS))
    more = workspace.source("more", {"owl.txt": "An owl moved in."})
    assert counts(workspace.sync(more, rebuild=True)) == (1, 0, 0, 0)
    assert workspace.sources() == ["more"]
    assert workspace.ids() == {"owl.txt"}


def test_a_rebuild_without_a_given_source_keeps_all(workspace: Workspace) -> None:
    workspace.sync(workspace.source("news", NEWS))
    assert counts(workspace.sync(rebuild=True)) == (3, 0, 0, 0)
    assert workspace.sources() == ["news"]


def test_a_sync_of_one_source_with_another_encoder_encodes_all_sources(
    workspace: Workspace,
) -> None:
    owls = workspace.source("owls", {"owl.txt": "An owl moved in."})
    workspace.sync(workspace.source("news", NEWS), owls)
    another = FakeEncoder("another")
    assert counts(workspace.sync(owls, encoder=another)) == (0, 0, 0, 4)
    assert len(another.encoded) == len(set(another.encoded)) >= 4
    with IndexReader.open(workspace.index, encoder=another.id) as index:
        assert index.stats().articles == 4
    assert counts(workspace.sync(encoder=another)) == (0, 0, 0, 4)
    assert workspace.ids() == {*NEWS, "owl.txt"}


def test_an_interrupted_sync_with_another_encoder_is_resumed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.sync(workspace.source("news", NEWS))
    monkeypatch.setattr("rag.indexing.embed.BATCH_SIZE", 1)
    first, second = FakeEncoder("another", fail_after=2), FakeEncoder("another")
    with pytest.raises(KeyboardInterrupt):
        workspace.sync(encoder=first)
    with IndexReader.open(workspace.index, encoder=FakeEncoder().id) as index:
        assert index.stats().articles == 3, "the index does not change before all is done"
    workspace.sync(encoder=second)
    assert second.encoded
    assert not set(first.encoded) & set(second.encoded)


def test_a_source_is_identified_by_its_resolved_path(workspace: Workspace, tmp_path: Path) -> None:
    news = workspace.source("news", NEWS)
    workspace.sync(news)
    (tmp_path / "link").symlink_to(news)
    for path in (Path("news"), Path("./news/../news"), tmp_path / "link"):
        assert counts(workspace.sync(path)) == (0, 0, 0, 3)
    assert workspace.sources() == ["news"]


def test_the_report_as_json(workspace: Workspace) -> None:
    news = workspace.source("news", {**NEWS, "b.png": "x"})
    fields = workspace.sync(news).as_json()
    assert fields["articles"] == {
        "added": 3,
        "changed": 0,
        "removed": 0,
        "unchanged": 0,
        "skipped": 1,
    }
    assert fields["passages"] >= 3
    assert fields["seconds"] >= 0
    assert fields["passages_per_second"] > 0
    assert fields["encoder"] == "fake"
    assert [skipped["path"] for skipped in fields["skipped"]] == ["b.png"]
