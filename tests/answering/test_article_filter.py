"""Restriction of searches, answers and listings to some articles."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import SilentProgress

from rag.answering.chatbot import Chatbot
from rag.answering.retriever import Retriever
from rag.indexing.sync import sync
from rag.models.embedding.encoder import Encoder
from rag.models.generation.llama import LlamaGenerator
from rag.models.reading.reader import Reader
from rag.store.browse import ArticleSort, list_articles, list_publishers
from rag.store.reader import IndexReader
from rag.types import ALL_ARTICLES, ArticleFilter, Mode, SearchQuery

ARTICLES = {
    "old.md": ("2019-03-01", "Herald", "The ferry of Elm is 30 metres long."),
    "new.md": ("2024-11-05", "Courier", "The ferry of Elm is 45 metres long."),
    "undated.md": ("last spring", "Courier", "The ferry of Elm is painted green."),
    "slashed.md": ("2024/01/01", "Slash", "The ferry of Elm has two decks."),
    "nameless.md": (None, None, "The ferry of Elm carries nine cars."),
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, encoder: Encoder) -> Iterator[IndexReader]:
    source, folder = tmp_path_factory.mktemp("articles"), tmp_path_factory.mktemp("index")
    for name, (date, publisher, text) in ARTICLES.items():
        front_matter = [f"title: About {name}"]
        if date:
            front_matter.append(f"date: {date}")
        if publisher:
            front_matter.append(f"source: {publisher}")
        (source / name).write_text("\n".join(["---", *front_matter, "---", text]))
    sync(folder, encoder, [source], rebuild=False, progress=SilentProgress())
    with IndexReader.open(folder, encoder=encoder.id) as reader:
        yield reader


def search(index: IndexReader, encoder: Encoder, article_filter: ArticleFilter) -> set[str]:
    query = SearchQuery("How long is the ferry of Elm?")
    hits = Retriever(index, encoder).retrieve(query, 10, article_filter)
    return {hit.passage.article_id for hit in hits}


@pytest.mark.parametrize(
    ("article_filter", "expected"),
    [
        (ALL_ARTICLES, set(ARTICLES)),
        (ArticleFilter(sources=("Courier",)), {"new.md", "undated.md"}),
        (ArticleFilter(sources=("Courier", "Herald")), {"old.md", "new.md", "undated.md"}),
        (ArticleFilter(since="2020"), {"new.md"}),
        (ArticleFilter(until="2020"), {"old.md"}),
        (ArticleFilter(since="2024-11", until="2024-11"), {"new.md"}),
        (ArticleFilter(since="2024-11-06"), set()),
        (ArticleFilter(until="2024-11-05"), {"old.md", "new.md"}),
        (ArticleFilter(since="1000", until="9999"), {"old.md", "new.md"}),
        (ArticleFilter(sources=("'; DROP TABLE articles; --",)), set()),
    ],
)
def test_only_articles_that_match_the_filter_are_found_and_listed(
    index: IndexReader, encoder: Encoder, article_filter: ArticleFilter, expected: set[str]
) -> None:
    assert search(index, encoder, article_filter) == expected
    listed, count = list_articles(index, "", article_filter, ArticleSort.NEWEST, 10)
    assert ({line.id for line in listed}, count) == (expected, len(expected))


def test_an_answer_uses_only_articles_that_match_the_filter(
    index: IndexReader, encoder: Encoder, generator: LlamaGenerator, reader: Reader
) -> None:
    bot = Chatbot(index, encoder, generator, reader)
    question = "How long is the ferry of Elm?"
    *_, answer = bot.ask(question, article_filter=ArticleFilter(sources=("Herald",)))
    assert "30 metres" in answer.text
    assert {hit.passage.article_id for hit in answer.hits} == {"old.md"}
    *_, answer = bot.ask(question, article_filter=ArticleFilter(since="2030"))
    assert answer.mode is Mode.REFUSED
    assert answer.hits == ()


@pytest.mark.parametrize(
    ("question", "article_filter", "count"),
    [
        ("How many articles mention Elm?", ArticleFilter(sources=("Courier",)), "2 articles"),
        ("How many articles are there?", ArticleFilter(since="2024"), "1 article"),
        ("How many articles mention Elm?", ArticleFilter(since="2030"), "No article"),
    ],
)
def test_only_articles_that_match_the_filter_are_counted(
    index: IndexReader,
    encoder: Encoder,
    generator: LlamaGenerator,
    reader: Reader,
    question: str,
    article_filter: ArticleFilter,
    count: str,
) -> None:
    bot = Chatbot(index, encoder, generator, reader)
    assert count in bot.answer(question, article_filter=article_filter).text


def test_only_articles_that_match_the_filter_are_of_a_period(
    index: IndexReader, encoder: Encoder, generator: LlamaGenerator, reader: Reader
) -> None:
    bot = Chatbot(index, encoder, generator, reader)
    assert bot.answer("What happened in 2019?").mode is Mode.QUOTED
    later = bot.answer("What happened in 2019?", article_filter=ArticleFilter(since="2020"))
    assert later.mode is Mode.REFUSED


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("2019", ""), ("2020-05", ""), ("2020-05", "")),
        (("2020-05", ""), ("2020", "2020"), ("2020-05", "2020")),
        (("", "2019"), ("", "2019-05"), ("", "2019-05")),
        (("", "2019-05-31"), ("", "2019-06"), ("", "2019-05-31")),
        (("", ""), ("", ""), ("", "")),
    ],
)
def test_a_filter_within_a_period_is_not_wider_than_either(
    first: tuple[str, str], second: tuple[str, str], expected: tuple[str, str]
) -> None:
    narrowed = ArticleFilter(("Herald",), *first).within(*second)
    assert narrowed == ArticleFilter(("Herald",), *expected)


def test_an_uploaded_article_is_summarised(
    index: IndexReader,
    encoder: Encoder,
    generator: LlamaGenerator,
    reader: Reader,
    tmp_path: Path,
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "note.txt").write_text("The captain of the Albatross is Runa Holm.")
    sync(tmp_path / "i", encoder, [tmp_path / "own"], rebuild=False, progress=SilentProgress())
    with IndexReader.open(tmp_path / "i", encoder=encoder.id) as own:
        *_, answer = Chatbot(index, encoder, generator, reader).ask(
            "Summarise the article about the Albatross", extra_index=own
        )
    assert [str(citation.quote.article) for citation in answer.citations] == ["also:note.txt"]
    assert "Runa Holm" in answer.text


def test_a_question_that_is_the_only_sentence_is_refused(
    encoder: Encoder, generator: LlamaGenerator, reader: Reader, tmp_path: Path
) -> None:
    question = "Why is the ferry of Elm painted green?"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "question.txt").write_text(question)
    sync(tmp_path / "i", encoder, [tmp_path / "own"], rebuild=False, progress=SilentProgress())
    with IndexReader.open(tmp_path / "i", encoder=encoder.id) as own:
        assert Chatbot(own, encoder, generator, reader).answer(question).mode is Mode.REFUSED


def test_an_answer_uses_an_additional_index_as_well(
    index: IndexReader,
    encoder: Encoder,
    generator: LlamaGenerator,
    reader: Reader,
    tmp_path: Path,
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "note.txt").write_text("The captain of the Albatross is Runa Holm.")
    sync(tmp_path / "i", encoder, [tmp_path / "own"], rebuild=False, progress=SilentProgress())
    with IndexReader.open(tmp_path / "i", encoder=encoder.id) as own:
        *_, answer = Chatbot(index, encoder, generator, reader).ask(
            "Who is the captain of the Albatross?", extra_index=own
        )
    assert "Runa Holm" in answer.text
    assert [hit.rank for hit in answer.hits] == list(range(1, len(answer.hits) + 1))
    assert {"also:note.txt", "old.md"} <= {str(hit.passage.article) for hit in answer.hits}


@pytest.mark.parametrize(
    ("order", "first", "last"),
    [
        (ArticleSort.OLDEST, "old.md", "nameless.md"),
        (ArticleSort.TITLE, "nameless.md", "undated.md"),
        (ArticleSort.SOURCE, "undated.md", "nameless.md"),
        (ArticleSort.NEWEST, "undated.md", "nameless.md"),
    ],
)
def test_articles_are_listed_in_the_given_order(
    index: IndexReader, order: ArticleSort, first: str, last: str
) -> None:
    listed, _ = list_articles(index, "", ALL_ARTICLES, order, 10)
    assert (listed[0].id, listed[-1].id) == (first, last)


def test_listed_articles_contain_all_words_up_to_the_limit(index: IndexReader) -> None:
    listed, count = list_articles(index, "green FERRY", ALL_ARTICLES, ArticleSort.NEWEST, 10)
    assert ([line.id for line in listed], count) == (["undated.md"], 1)
    listed, count = list_articles(index, "ferry", ALL_ARTICLES, ArticleSort.NEWEST, 2)
    assert (len(listed), count) == (2, 5)
    assert list_articles(index, '" OR *', ALL_ARTICLES, ArticleSort.NEWEST, 2) == ([], 0)
    assert list_articles(index, "ferry & Elm \0", ALL_ARTICLES, ArticleSort.NEWEST, 2)[1] == 5
    assert list_publishers(index) == ["Courier", "Herald", "Slash"]
