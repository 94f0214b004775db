"""Asking only among some articles, and listing them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rag import indexing
from rag.chatbot import Chatbot
from rag.datatypes import EVERYTHING, Among, Mode, StandaloneQuestion
from rag.encoder import Encoder
from rag.generator import LlamaGenerator
from rag.index import Order, PassageIndex
from rag.retriever import Retriever

if TYPE_CHECKING:
    from conftest import Quiet

TOLD = {
    "old.md": ("2019-03-01", "Herald", "The ferry of Elm is 30 metres long."),
    "new.md": ("2024-11-05", "Courier", "The ferry of Elm is 45 metres long."),
    "undated.md": ("last spring", "Courier", "The ferry of Elm is painted green."),
    "slashed.md": ("2024/01/01", "Slash", "The ferry of Elm has two decks."),
    "nameless.md": (None, None, "The ferry of Elm carries nine cars."),
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, encoder: Encoder) -> Iterator[PassageIndex]:
    source, folder = tmp_path_factory.mktemp("told"), tmp_path_factory.mktemp("index")
    for name, (date, publisher, text) in TOLD.items():
        about = [f"title: About {name}"]
        about += [f"date: {date}"] * bool(date) + [f"source: {publisher}"] * bool(publisher)
        (source / name).write_text("\n".join(["---", *about, "---", text]))
    indexing.sync(folder, encoder, [source], rebuild=False, progress=Nothing())
    with PassageIndex.open(folder, encoder=encoder.id) as opened:
        yield opened


class Nothing:
    def start(self, task: str, total: int | None) -> None: ...
    def expect(self, total: int) -> None: ...
    def advance(self, steps: int) -> None: ...


def found(index: PassageIndex, encoder: Encoder, among: Among) -> set[str]:
    asked = StandaloneQuestion("How long is the ferry of Elm?")
    hits = Retriever(index, encoder).retrieve(asked, 10, among)
    return {hit.passage.article_id for hit in hits}


@pytest.mark.parametrize(
    ("among", "expected"),
    [
        (EVERYTHING, set(TOLD)),
        (Among(sources=("Courier",)), {"new.md", "undated.md"}),
        (Among(sources=("Courier", "Herald")), {"old.md", "new.md", "undated.md"}),
        (Among(since="2020"), {"new.md"}),
        (Among(until="2020"), {"old.md"}),
        (Among(since="2024-11", until="2024-11"), {"new.md"}),
        (Among(since="2024-11-06"), set()),
        (Among(until="2024-11-05"), {"old.md", "new.md"}),
        (Among(since="1000", until="9999"), {"old.md", "new.md"}),
        (Among(sources=("'; DROP TABLE articles; --",)), set()),
    ],
)
def test_only_articles_of_the_sources_and_the_time_are_found(
    index: PassageIndex, encoder: Encoder, among: Among, expected: set[str]
) -> None:
    assert found(index, encoder, among) == expected
    listed, count = index.listing("", among, Order.NEWEST, 10)
    assert ({line.id for line in listed}, count) == (expected, len(expected))


def test_an_answer_rests_on_no_other_article(
    index: PassageIndex, encoder: Encoder, taught: LlamaGenerator
) -> None:
    bot = Chatbot(index, encoder, taught)
    question = "How long is the ferry of Elm?"
    *_, answer = bot.ask(question, among=Among(sources=("Herald",)))
    assert "30 metres" in answer.text
    assert {hit.passage.article_id for hit in answer.hits} == {"old.md"}
    *_, answer = bot.ask(question, among=Among(since="2030"))
    assert answer.mode is Mode.REFUSED
    assert answer.hits == ()


def test_an_answer_rests_on_another_index_as_well(
    index: PassageIndex,
    encoder: Encoder,
    taught: LlamaGenerator,
    tmp_path: Path,
    quiet: "Quiet",
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "note.txt").write_text("The captain of the Albatross is Runa Holm.")
    indexing.sync(tmp_path / "i", encoder, [tmp_path / "own"], rebuild=False, progress=quiet)
    with PassageIndex.open(tmp_path / "i", encoder=encoder.id) as own:
        *_, answer = Chatbot(index, encoder, taught).ask(
            "Who is the captain of the Albatross?", also=own
        )
    assert "Runa Holm" in answer.text
    assert [hit.rank for hit in answer.hits] == list(range(1, len(answer.hits) + 1))
    assert {"also:note.txt", "old.md"} <= {hit.passage.article_id for hit in answer.hits}


@pytest.mark.parametrize(
    ("order", "first", "last"),
    [
        (Order.OLDEST, "old.md", "nameless.md"),
        (Order.TITLE, "nameless.md", "undated.md"),
        (Order.SOURCE, "undated.md", "nameless.md"),
        (Order.NEWEST, "undated.md", "nameless.md"),
    ],
)
def test_articles_are_listed_in_the_order_asked_for(
    index: PassageIndex, order: Order, first: str, last: str
) -> None:
    listed, _ = index.listing("", EVERYTHING, order, 10)
    assert (listed[0].id, listed[-1].id) == (first, last)


def test_articles_are_listed_by_their_words_as_many_as_wanted(index: PassageIndex) -> None:
    listed, count = index.listing("green FERRY", EVERYTHING, Order.NEWEST, 10)
    assert ([line.id for line in listed], count) == (["undated.md"], 1)
    listed, count = index.listing("ferry", EVERYTHING, Order.NEWEST, 2)
    assert (len(listed), count) == (2, 5)
    assert index.listing('" OR *', EVERYTHING, Order.NEWEST, 2) == ([], 0)
    assert index.listing("ferry & Elm \0", EVERYTHING, Order.NEWEST, 2)[1] == 5
    assert index.publishers() == ["Courier", "Herald", "Slash"]
