"""Bringing an index in line with its sources: the diff, all or nothing, and which sources stay."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag import articles, commits, doctor, indexing, nearest, passages
from rag.datatypes import Article
from rag.encoder import Encoder
from rag.errors import IndexUnusable, NoIndex, SourceError
from rag.index import PassageIndex
from rag.indexing import Summary, preview, remove, sync

if TYPE_CHECKING:
    from conftest import FakeEncoder, Held, Quiet

NEWS = {
    "ferry.txt": "The ferry left Port Ellery at noon. Nobody saw it again that day.",
    "bridge.txt": "The bridge was inspected in 2019. Rust was found under its arches.",
    "zoo/tiger.txt": "A tiger was born in the zoo on Friday.",
}


def fill(folder: Path, files: Mapping[str, str]) -> Path:
    """Make the folder hold these files and no others."""
    folder.mkdir(exist_ok=True)
    for path in list(folder.rglob("*.*")):
        if path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder


class Workplace:
    """A folder with an index, beside it folders of articles."""

    def __init__(self, folder: Path, encoder: "type[FakeEncoder]", quiet: "Quiet") -> None:
        self.index = folder / "index"
        self._folder = folder
        self._encoder = encoder
        self._quiet = quiet

    def source(self, name: str, files: Mapping[str, str]) -> Path:
        return fill(self._folder / name, files)

    def sync(
        self, *named: Path, rebuild: bool = False, encoder: "FakeEncoder | None" = None
    ) -> Summary:
        return sync(
            self.index,
            encoder or self._encoder(),
            named,
            rebuild=rebuild,
            progress=self._quiet,
        )

    def ids(self) -> set[str]:
        """The articles found by some word or vector, which must be the ones held."""
        with PassageIndex.open(self.index) as index:
            vector = self._encoder().encode_question("x")
            near = {p.article_id for p in index.passages(index.nearest(vector, 1000))}
            numbers = range(1, index.contents().passages * 3 + 100)
            assert near == {p.article_id for p in index.passages(numbers)}
            assert len(near) == index.contents().articles
            return near

    def sources(self) -> list[str]:
        with PassageIndex.open(self.index) as index:
            return [path.name for path in index.sources()]


@pytest.fixture
def place(
    tmp_path: Path,
    fake_encoder: "type[FakeEncoder]",
    quiet: "Quiet",
    monkeypatch: pytest.MonkeyPatch,
) -> Workplace:
    monkeypatch.chdir(tmp_path)  # where `seeds` is looked for
    return Workplace(tmp_path, fake_encoder, quiet)


def counts(summary: Summary) -> tuple[int, int, int, int]:
    return summary.added, summary.changed, summary.removed, summary.unchanged


# -- the diff


def test_a_new_index_takes_everything_in(place: Workplace) -> None:
    summary = place.sync(place.source("news", NEWS))
    assert counts(summary) == (3, 0, 0, 0)
    assert summary.encoder == "fake"
    assert place.ids() == set(NEWS)


def test_what_is_new_changed_or_gone_is_told_apart(
    place: Workplace, fake_encoder: "type[FakeEncoder]"
) -> None:
    news = place.source("news", NEWS)
    place.sync(news)
    place.source(
        "news",
        {
            "ferry.txt": "The ferry sank.",
            "bridge.txt": NEWS["bridge.txt"],
            "owl.txt": "An owl moved in.",
        },
    )
    encoder = fake_encoder()
    assert counts(place.sync(encoder=encoder)) == (1, 1, 1, 1)
    assert place.ids() == {"ferry.txt", "bridge.txt", "owl.txt"}
    assert sorted(text.splitlines()[-1] for text in encoder.encoded) == [
        "An owl moved in.",
        "The ferry sank.",
    ]


def test_a_second_run_changes_nothing_and_encodes_nothing(
    place: Workplace, fake_encoder: "type[FakeEncoder]", held: "Held"
) -> None:
    place.sync(place.source("news", NEWS))
    before = held(place.index)
    encoder = fake_encoder(fail_after=0, failure=AssertionError)
    summary = place.sync(encoder=encoder)
    assert counts(summary) == (0, 0, 0, 3)
    assert summary.encoded == 0
    assert held(place.index) == before


@pytest.mark.parametrize("key", ["title", "date", "source", "url"])
def test_a_change_of_what_stands_beside_the_text_is_a_change(place: Workplace, key: str) -> None:
    news = place.source("news", {"a.txt": f"---\n{key}: one\n---\nThe ferry sank."})
    place.sync(news)
    place.source("news", {"a.txt": f"---\n{key}: two\n---\nThe ferry sank."})
    assert counts(place.sync()) == (0, 1, 0, 0)
    with PassageIndex.open(place.index) as index:
        article = index.article("a.txt")
    assert getattr(article, key) == "two"


def test_a_removed_article_cannot_be_found(
    place: Workplace, fake_encoder: "type[FakeEncoder]"
) -> None:
    news = place.source("news", NEWS)
    place.sync(news)
    (news / "zoo/tiger.txt").unlink()
    assert counts(place.sync()) == (0, 0, 1, 2)
    tiger = NEWS["zoo/tiger.txt"]
    with PassageIndex.open(place.index) as index:
        near = index.nearest(fake_encoder().encode_question(f"{tiger}\n{tiger}"), 10)
        assert len(near) == 2
        assert max(near.values()) < 0.99
        assert index.matching(["tiger", "zoo"], 10) == {}
        assert index.article("zoo/tiger.txt") is None
        rarity = index.rarity(["tiger", "giraff"])
        assert rarity["tiger"] == rarity["giraff"], "no passage holds either"


def test_an_article_that_can_no_longer_be_read_is_removed_with_the_reason(place: Workplace) -> None:
    news = place.source("news", NEWS)
    place.sync(news)
    (news / "ferry.txt").write_bytes(b"\xff\xfe\xff")
    summary = place.sync()
    assert counts(summary) == (0, 0, 1, 2)
    assert [skipped.path for skipped in summary.skipped] == ["ferry.txt"]
    assert "ferry.txt" not in place.ids()


def test_two_articles_with_one_id_leave_the_first(place: Workplace) -> None:
    rows = '{"id": "a", "text": "The first."}\n{"id": "a", "text": "The second."}\n'
    summary = place.sync(place.source("news", {"r.jsonl": rows}))
    assert counts(summary) == (1, 0, 0, 0)
    assert [(s.path, s.reason) for s in summary.skipped] == [
        ("a", "another article of this source has the same id")
    ]
    with PassageIndex.open(place.index) as index:
        article = index.article("a")
    assert article is not None
    assert article.text == "The first."


def test_the_real_encoder_is_given_headings_and_asked_once(
    tmp_path: Path, encoder: Encoder, quiet: "Quiet"
) -> None:
    text = "---\ntitle: Ferry\ndate: 2020\n---\nIt left Port Ellery at noon."
    news = fill(tmp_path / "news", {"a.txt": text})
    sync(tmp_path / "index", encoder, [news], rebuild=False, progress=quiet)
    with PassageIndex.open(tmp_path / "index", encoder=encoder.id) as index:
        vector = encoder.encode_passages(["Ferry (2020)\nIt left Port Ellery at noon."])[0]
        (score,) = index.nearest(vector, 5).values()
    assert score == pytest.approx(1.0, abs=5e-3)


def test_a_title_longer_than_the_encoder_reads_leaves_the_text_in_the_vector(
    tmp_path: Path, encoder: Encoder, quiet: "Quiet"
) -> None:
    texts = ["The ferry left Port Ellery at noon.", "A tiger was born in the zoo."]
    files = {f"{i}.txt": f"---\ntitle: {'news ' * 400}\n---\n{t}" for i, t in enumerate(texts)}
    news = fill(tmp_path / "news", files)
    sync(tmp_path / "index", encoder, [news], rebuild=False, progress=quiet)
    with PassageIndex.open(tmp_path / "index") as index:
        (first, score), (_, other) = index.nearest(encoder.encode_question(texts[1]), 2).items()
        assert index.passages([first])[0].text == texts[1]
    assert score > other + 0.05


# -- any sequence of changes gives what one fresh build gives

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


def contents(folder: Path, encoder: "FakeEncoder") -> dict[str, object]:
    """What a reader can find, whatever the numbers of passages are."""
    with PassageIndex.open(folder) as index:
        passages = {
            n: (p.article_id, p.start, p.end, p.text)
            for n in range(1, 400)
            for p in index.passages([n])
        }
        vector = encoder.encode_question("x")
        near = sorted((passages[n], round(s, 4)) for n, s in index.nearest(vector, 999).items())
        words = ["ferry", "owl", "bridge", "rust"]
        matched = {
            w: sorted((passages[n], round(s, 4)) for n, s in index.matching([w], 999).items())
            for w in words
        }
        found: dict[str, object] = {id: index.article(id) for id, *_ in passages.values()}
        return found | {"": (near, matched, index.rarity(words), sorted(passages.values()))}


def readable(folder: Path) -> bool:
    return any(isinstance(found, Article) for found in articles.read(folder))


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_any_sequence_of_syncs_ends_like_one_fresh_build(
    fake_encoder: "type[FakeEncoder]", quiet: "Quiet", steps: list[tuple[str, dict[str, str]]]
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        place = Workplace(folder, fake_encoder, quiet)
        taken: list[Path] = []
        for name, files in steps:
            # Names of their own: which of two equal ids gets a prefix depends on which came first.
            source = place.source(name, {f"{name}-{file}": text for file, text in files.items()})
            if not readable(source):
                with pytest.raises(SourceError):
                    place.sync(source)
                place.source(name, files := {f"{name}-a.txt": "The ferry sank."})
            place.sync(source)
            if source not in taken:
                taken.append(source)
        sync(folder / "fresh", fake_encoder(), taken, rebuild=False, progress=quiet)
        assert contents(place.index, fake_encoder()) == contents(folder / "fresh", fake_encoder())


# -- all or nothing


class Trouble(Exception):
    pass


FAILURES = pytest.mark.parametrize(
    "failure", [KeyboardInterrupt, Trouble], ids=lambda f: f.__name__
)


@FAILURES
def test_an_encoding_that_stops_leaves_the_index_as_it_was(
    place: Workplace,
    fake_encoder: "type[FakeEncoder]",
    held: "Held",
    failure: type[BaseException],
) -> None:
    news = place.source("news", NEWS)
    place.sync(news)
    before = held(place.index)
    place.source("news", {"owl.txt": "An owl moved in.", "bear.txt": "A bear left town."})
    with pytest.raises(failure):
        place.sync(encoder=fake_encoder(fail_after=1, failure=failure))
    assert held(place.index) == before
    with pytest.raises(failure):
        place.sync(news, rebuild=True, encoder=fake_encoder(fail_after=1, failure=failure))
    assert held(place.index) == before
    assert counts(place.sync()) == (2, 0, 3, 0), "and the next run does all of it"


def test_a_cutting_that_fails_leaves_the_index_as_it_was(
    place: Workplace, held: "Held", monkeypatch: pytest.MonkeyPatch
) -> None:
    news = place.source("news", NEWS)
    place.sync(news)
    before = held(place.index)
    place.source("news", {"a.txt": "An owl moved in.", "b.txt": "A bear left town."})
    split = passages.split

    def fails(article: Article, *limits: Any) -> Any:
        if article.id == "b.txt":
            raise Trouble
        return split(article, *limits)

    with monkeypatch.context() as patch:
        patch.setattr(passages, "split", fails)
        with pytest.raises(Trouble):
            place.sync()
    assert held(place.index) == before
    assert counts(place.sync()) == (2, 0, 3, 0)


@FAILURES
def test_a_new_index_that_fails_is_none_yet_and_the_next_run_goes_on_with_its_source(
    place: Workplace, fake_encoder: "type[FakeEncoder]", failure: type[BaseException]
) -> None:
    with pytest.raises(failure):
        place.sync(place.source("news", NEWS), encoder=fake_encoder(fail_after=1, failure=failure))
    with pytest.raises(NoIndex):
        PassageIndex.open(place.index)
    assert counts(place.sync()) == (3, 0, 0, 0)
    assert place.ids() == set(NEWS)


def test_a_source_that_fails_takes_the_others_back(place: Workplace, held: "Held") -> None:
    news = place.source("news", NEWS)
    place.sync(news)
    before = held(place.index)
    good = place.source("good", {"owl.txt": "An owl moved in."})
    with pytest.raises(SourceError, match="No article could be read from"):
        place.sync(good, place.source("empty", {}))
    assert held(place.index) == before


def test_two_writers_at_once_are_told(place: Workplace, held: "Held") -> None:
    news = place.source("news", NEWS)
    place.sync(news)
    before = held(place.index)
    with commits.sole_builder(place.index):
        with pytest.raises(IndexUnusable, match=rf"Another `rag index` \(process {os.getpid()}"):
            place.sync()
        assert held(place.index) == before
    assert counts(place.sync()) == (0, 0, 0, 3), "the lock is gone"


# -- ids


def test_an_id_that_another_source_holds_gets_its_sources_name_in_front(place: Workplace) -> None:
    old = place.source("old", {"a.txt": "The ferry sank.", "b.txt": "Rust was found."})
    new = place.source("new", {"a.txt": "The ferry was raised.", "c.txt": "An owl moved in."})
    place.sync(old)
    place.sync(new)
    assert place.ids() == {"a.txt", "b.txt", "new/a.txt", "c.txt"}
    with PassageIndex.open(place.index) as index:
        texts = [article.text for id in ("a.txt", "new/a.txt") if (article := index.article(id))]
    assert texts == ["The ferry sank.", "The ferry was raised."]
    assert counts(place.sync()) == (0, 0, 0, 4)


def test_a_third_source_of_the_same_name_gets_its_parents_name_too(
    place: Workplace, tmp_path: Path
) -> None:
    sources = []
    for parent in ("x", "y", "z"):
        (tmp_path / parent).mkdir()
        sources.append(place.source(f"{parent}/news", {"a.txt": f"The {parent} ferry sank."}))
    place.sync(*sources)
    assert place.ids() == {"a.txt", "news/a.txt", "z/news/a.txt"}


def test_a_prefixed_id_stays_when_its_article_changes(place: Workplace) -> None:
    old = place.source("old", {"a.txt": "The ferry sank."})
    new = place.source("new", {"a.txt": "The ferry was raised."})
    place.sync(old, new)
    place.source("new", {"a.txt": "The ferry was sold."})
    assert counts(place.sync()) == (0, 1, 0, 1)
    assert place.ids() == {"a.txt", "new/a.txt"}


def test_an_id_that_another_file_of_the_source_holds_is_taken_in_when_it_is_free(
    place: Workplace,
) -> None:
    first, second = '{"id": "x", "text": "The first."}', '{"id": "x", "text": "The second."}'
    news = place.source("news", {"a.jsonl": first, "b.jsonl": second, "c.txt": "The ferry sank."})
    assert [skipped.path for skipped in place.sync(news).skipped] == ["x"]
    (news / "a.jsonl").unlink()
    summary = place.sync()
    assert counts(summary) == (0, 1, 0, 1)
    assert summary.skipped == []
    with PassageIndex.open(place.index) as index:
        article = index.article("x")
    assert article is not None
    assert article.text == "The second."


# -- nothing is done twice


def test_a_file_that_has_not_changed_is_not_even_opened(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = place.source("news", NEWS)
    for path in news.rglob("*.txt"):
        os.utime(path, ns=(0, 1_600_000_000_000_000_000))
    place.sync(news)
    monkeypatch.setattr("rag.indexing._file_hash", lambda path: pytest.fail(f"{path} was read"))
    assert counts(place.sync()) == (0, 0, 0, 3)


def test_a_file_whose_time_stamp_alone_has_changed_costs_its_hash(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = place.source("news", NEWS)
    place.sync(news)
    for path in news.rglob("*.txt"):
        os.utime(path, ns=(0, 1_700_000_000_000_000_000))
    monkeypatch.setattr("rag.indexing.ReaderProcess", lambda: pytest.fail("a file was read"))
    assert counts(place.sync()) == (0, 0, 0, 3)


def test_a_change_within_the_time_stamps_own_grain_is_seen(place: Workplace) -> None:
    news = place.source("news", NEWS)
    place.sync(news)
    ferry, stamp = news / "ferry.txt", (news / "ferry.txt").stat().st_mtime_ns
    ferry.write_text(ferry.read_text().replace("noon", "dawn"))
    os.utime(ferry, ns=(stamp, stamp))
    assert counts(place.sync()) == (0, 1, 0, 2)


def test_a_moved_file_keeps_its_vectors(
    place: Workplace, fake_encoder: "type[FakeEncoder]"
) -> None:
    news = place.source("news", NEWS)
    place.sync(news)
    (news / "ferry.txt").rename(news / "zoo" / "boat.txt")
    encoder = fake_encoder(fail_after=0, failure=AssertionError)
    assert counts(place.sync(encoder=encoder)) == (1, 0, 1, 2)
    assert place.ids() == {"bridge.txt", "zoo/boat.txt", "zoo/tiger.txt"}


def test_of_a_changed_article_only_the_changed_passages_are_encoded(
    place: Workplace, fake_encoder: "type[FakeEncoder]"
) -> None:
    paragraphs = [f"The ferry number {i} left Port Ellery. " * 3 for i in range(10)]
    text = "---\ntitle: Ferries\n---\n" + "\n\n".join(paragraphs)
    news = place.source("news", {"a.txt": text})
    place.sync(news)
    place.source("news", {"a.txt": text.replace("number 9", "number 10")})
    encoder = fake_encoder()
    assert counts(place.sync(encoder=encoder)) == (0, 1, 0, 0)
    assert encoder.encoded
    assert all("number 10" in passage for passage in encoder.encoded)


def test_the_same_text_in_two_articles_is_encoded_once(
    place: Workplace, fake_encoder: "type[FakeEncoder]"
) -> None:
    encoder = fake_encoder()
    place.sync(
        place.source("news", {"a.txt": "Rust was found.", "b.txt": "Rust was found."}),
        encoder=encoder,
    )
    assert len(encoder.encoded) == 1
    assert place.ids() == {"a.txt", "b.txt"}
    with PassageIndex.open(place.index) as index:
        assert index.contents().duplicates == 1


def test_a_small_change_of_a_large_index_is_found_as_after_a_fresh_build(
    place: Workplace,
    fake_encoder: "type[FakeEncoder]",
    quiet: "Quiet",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nearest, "EXACT_UP_TO", 200)
    monkeypatch.setattr(nearest, "RECALL", 0.5)  # made-up vectors have no neighbourhoods
    rows = [f'{{"id": "{i}", "text": "The ferry number {i} sank."}}' for i in range(600)]
    news = place.source("news", {"rows.jsonl": "\n".join(rows)})
    place.sync(news)
    rows[10:20] = [row.replace("sank", "was raised") for row in rows[10:20]]
    place.source("news", {"rows.jsonl": "\n".join(rows[:590]), "owl.txt": "An owl moved in."})
    with monkeypatch.context() as patch:
        patch.setattr("rag.change.build", lambda *_: pytest.fail("all of it was built again"))
        assert counts(place.sync()) == (1, 10, 10, 580)
    with PassageIndex.open(place.index) as index:
        for id, text in {
            "owl.txt": "An owl moved in.",
            "15": "The ferry number 15 was raised.",
        }.items():
            found = index.nearest(fake_encoder().encode_question(f"{text}\n{text}"), 1)
            assert [passage.article_id for passage in index.passages(found)] == [id]
        gone = "The ferry number 595 sank."
        (score,) = index.nearest(fake_encoder().encode_question(f"{gone}\n{gone}"), 1).values()
        assert score < 0.99
        assert index.commit.recall is not None
        assert index.commit.recall >= nearest.RECALL
    assert doctor.examine(place.index, fake_encoder(), quiet).problems == ()


# -- what would change, and what is taken out


def test_a_preview_says_what_would_change_and_changes_nothing(
    place: Workplace, held: "Held"
) -> None:
    news = place.source("news", NEWS)
    place.sync(news)
    place.source(
        "news",
        {"owl.txt": "An owl.", "ferry.txt": "It sank.", "zoo/tiger.txt": NEWS["zoo/tiger.txt"]},
    )
    before = held(place.index)
    (plan,) = preview(place.index, []).sources
    assert [file.name for file in plan.new] == ["owl.txt"]
    assert [file.name for file in plan.changed] == ["ferry.txt"]
    assert list(plan.gone) == ["bridge.txt"]
    assert held(place.index) == before
    place.sync()
    assert preview(place.index, []).nothing


def test_a_source_can_be_taken_out_even_when_it_is_no_longer_there(
    place: Workplace, fake_encoder: "type[FakeEncoder]"
) -> None:
    news = place.source("news", NEWS)
    place.sync(news, place.source("more", {"owl.txt": "An owl moved in."}))
    shutil.rmtree(news)
    with pytest.raises(SourceError, match=r"`rag index --remove"):
        place.sync()
    summary = remove(place.index, fake_encoder(), [news])
    assert counts(summary) == (0, 0, 3, 0)
    assert (place.sources(), place.ids()) == (["more"], {"owl.txt"})
    assert counts(place.sync()) == (0, 0, 0, 1)


def test_what_is_no_source_cannot_be_taken_out(
    place: Workplace, fake_encoder: "type[FakeEncoder]", tmp_path: Path
) -> None:
    place.sync(place.source("news", NEWS))
    with pytest.raises(SourceError, match=rf"is no source of this index; its sources: {tmp_path}"):
        remove(place.index, fake_encoder(), [tmp_path / "other"])


def test_a_source_that_is_suddenly_empty_is_not_taken_for_deleted(
    place: Workplace, held: "Held"
) -> None:
    news = place.source("news", NEWS)
    place.sync(news)
    before = held(place.index)
    place.source("news", {})
    with pytest.raises(SourceError, match="No article could be read from"):
        place.sync()
    assert held(place.index) == before


def test_an_index_among_its_own_articles_is_none_of_them(place: Workplace, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The ferry sank.")
    summary = place.sync(tmp_path)
    assert (counts(summary), summary.skipped) == ((1, 0, 0, 0), [])
    assert counts(place.sync()) == (0, 0, 0, 1)


# -- which sources stay


@pytest.fixture
def seeds(place: Workplace) -> Path:
    return place.source("seeds", {"seed.txt": "A sample about a ferry."})


def test_a_new_index_without_a_source_named_holds_the_samples(
    place: Workplace, seeds: Path
) -> None:
    assert counts(place.sync()) == (1, 0, 0, 0)
    assert place.sources() == ["seeds"]


def test_without_samples_a_source_must_be_named(place: Workplace) -> None:
    with pytest.raises(SourceError, match=r"No source was named, and there are no sample articles"):
        place.sync()


def test_the_samples_leave_when_the_first_own_source_comes_in(
    place: Workplace, seeds: Path
) -> None:
    place.sync()
    summary = place.sync(place.source("news", NEWS))
    assert summary.left == [seeds]
    assert counts(summary) == (3, 0, 1, 0)
    assert place.sources() == ["news"]
    assert place.ids() == set(NEWS)


def test_the_samples_stay_when_they_are_named_too(place: Workplace, seeds: Path) -> None:
    place.sync()
    summary = place.sync(place.source("news", NEWS), Path("seeds"))
    assert summary.left == []
    assert counts(summary) == (3, 0, 0, 1)
    assert place.ids() == {"seed.txt", *NEWS}


def test_samples_named_beside_an_own_source_stay_at_the_next_one(
    place: Workplace, seeds: Path
) -> None:
    place.sync(place.source("news", NEWS), seeds)
    assert place.sync(place.source("more", {"owl.txt": "An owl moved in."})).left == []
    assert place.ids() == {"seed.txt", "owl.txt", *NEWS}


def test_named_sources_leave_the_others_as_they_are(place: Workplace) -> None:
    news = place.source("news", NEWS)
    more = place.source("more", {"owl.txt": "An owl moved in."})
    place.sync(news, more)
    (news / "ferry.txt").unlink()
    place.source("more", {"owl.txt": "The owl left."})
    assert counts(place.sync(more)) == (0, 1, 0, 0)
    assert place.ids() == {"owl.txt", *NEWS}
    assert counts(place.sync()) == (0, 0, 1, 3), "without a name, all are brought in line"


def test_rebuilding_keeps_only_the_sources_named(place: Workplace) -> None:
    place.sync(place.source("news", NEWS))
    more = place.source("more", {"owl.txt": "An owl moved in."})
    assert counts(place.sync(more, rebuild=True)) == (1, 0, 0, 0)
    assert place.sources() == ["more"]
    assert place.ids() == {"owl.txt"}


def test_rebuilding_without_naming_a_source_keeps_them_all(place: Workplace) -> None:
    place.sync(place.source("news", NEWS))
    assert counts(place.sync(rebuild=True)) == (3, 0, 0, 0)
    assert place.sources() == ["news"]


def test_another_encoder_takes_one_sync_of_whatever_source(
    place: Workplace, fake_encoder: "type[FakeEncoder]"
) -> None:
    owls = place.source("owls", {"owl.txt": "An owl moved in."})
    place.sync(place.source("news", NEWS), owls)
    another = fake_encoder("another")
    assert counts(place.sync(owls, encoder=another)) == (0, 0, 0, 4)
    assert len(another.encoded) == len(set(another.encoded)) >= 4
    with PassageIndex.open(place.index, encoder=another.id) as index:
        assert index.contents().articles == 4
    assert counts(place.sync(encoder=another)) == (0, 0, 0, 4)
    assert place.ids() == {*NEWS, "owl.txt"}


def test_another_encoder_goes_on_where_it_was_interrupted(
    place: Workplace, fake_encoder: "type[FakeEncoder]", monkeypatch: pytest.MonkeyPatch
) -> None:
    place.sync(place.source("news", NEWS))
    monkeypatch.setattr(indexing, "WINDOW", 1)
    first, second = fake_encoder("another", fail_after=2), fake_encoder("another")
    with pytest.raises(KeyboardInterrupt):
        place.sync(encoder=first)
    with PassageIndex.open(place.index, encoder=fake_encoder().id) as index:
        assert index.contents().articles == 3, "until it is done, the index is as it was"
    place.sync(encoder=second)
    assert second.encoded
    assert not set(first.encoded) & set(second.encoded)


def test_a_source_is_known_by_its_path_however_it_is_written(
    place: Workplace, tmp_path: Path
) -> None:
    news = place.source("news", NEWS)
    place.sync(news)
    (tmp_path / "link").symlink_to(news)
    for written in (Path("news"), Path("./news/../news"), tmp_path / "link"):
        assert counts(place.sync(written)) == (0, 0, 0, 3)
    assert place.sources() == ["news"]


def test_the_summary_speaks_the_contracts_json(place: Workplace) -> None:
    news = place.source("news", {**NEWS, "b.png": "x"})
    told = place.sync(news).as_json()
    assert told["articles"] == {
        "added": 3,
        "changed": 0,
        "removed": 0,
        "unchanged": 0,
        "skipped": 1,
    }
    assert told["passages"] >= 3
    assert told["seconds"] >= 0
    assert told["passages_per_second"] > 0
    assert told["encoder"] == "fake"
    assert [skipped["path"] for skipped in told["skipped"]] == ["b.png"]
