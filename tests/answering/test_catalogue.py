"""Questions about the collection itself, answered from the index."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FakeEncoder, SilentProgress

from rag.answering.catalogue import (
    Selection,
    describe,
    parse_catalogue_query,
    run_catalogue_query,
)
from rag.answering.question_type import plan_question
from rag.indexing.sync import sync
from rag.store.reader import IndexReader
from rag.types import ArticleFilter

ARTICLES = {
    "old.md": ("2019-03-01", "Herald", "The ferry of Elm is 30 metres long. Boeing built it."),
    "new.md": ("2024-11-05", "Courier", "Boeing and the town of Elm agreed. It took 99 days."),
    "other.md": ("2021-06-01", "Courier", "Avocets nest in the marsh."),
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexReader]:
    source, folder = tmp_path_factory.mktemp("articles"), tmp_path_factory.mktemp("index")
    for name, (date, publisher, text) in ARTICLES.items():
        head = f"---\ntitle: About {name}\ndate: {date}\nsource: {publisher}\n---\n"
        (source / name).write_text(head + text)
    encoder = FakeEncoder()
    sync(folder, encoder, [Path(source)], rebuild=False, progress=SilentProgress())
    with IndexReader.open(folder, encoder=encoder.id) as reader:
        yield reader


def ask(index: IndexReader, question: str, *, names: bool = False) -> tuple[str, list[str]]:
    """The answer's text, and the articles that it cites."""
    result = run_catalogue_query(index, question, plan_question(question).subject)
    cited = describe(result, names=names)
    texts = " ".join(str(sentence.phrase) for sentence, _ in cited)
    return texts, [source.article_id for _, sources in cited for source in sources]


@pytest.mark.parametrize(
    ("subject", "selection", "phrases"),
    [
        ("are there", Selection.ALL, ()),
        ("do you have in total", Selection.ALL, ()),
        ("that mention Boeing", Selection.MENTIONING, ("Boeing",)),
        ("mention both Boeing and Airbus", Selection.MENTIONING, ("Boeing", "Airbus")),
        ("do you have about the World Cup", Selection.MENTIONING, ("the World Cup",)),
        ("does the ferry come up", Selection.MENTIONING, ("the ferry",)),
    ],
)
def test_what_the_articles_mention_is_found(
    subject: str, selection: Selection, phrases: tuple[str, ...]
) -> None:
    query = parse_catalogue_query(f"How many articles {subject}?", subject, [])
    assert (query.selection, query.phrases) == (selection, phrases)


def test_sources_and_dates_restrict_the_articles() -> None:
    subject = "from the Courier were published in 2021"
    query = parse_catalogue_query(f"How many articles {subject}?", subject, ["Courier"])
    assert query.article_filter == ArticleFilter(("Courier",), "2021", "2021")


@pytest.mark.parametrize(
    ("question", "count"),
    [
        ("How many articles are there?", "3"),
        ("How many articles mention Boeing?", "2"),
        ("How many articles mention Boeing and the ferry?", "1"),
        ("How many articles are from the Courier?", "2"),
    ],
)
def test_articles_are_counted(index: IndexReader, question: str, count: str) -> None:
    text, cited = ask(index, question)
    assert count in text.split()
    assert len(cited) == int(count)
    assert "99" not in text


def test_a_phrase_that_no_article_mentions_is_named(index: IndexReader) -> None:
    text, cited = ask(index, "How many articles mention Zeppelin?")
    assert "Zeppelin" in text
    assert cited == []


def test_articles_are_named_oldest_first(index: IndexReader) -> None:
    text, cited = ask(index, "Which articles mention Boeing?", names=True)
    assert text.index("About old.md (2019-03-01)") < text.index("About new.md (2024-11-05)")
    assert cited == ["old.md", "new.md"]


def test_the_oldest_and_the_newest_article_are_named(index: IndexReader) -> None:
    _, cited = ask(index, "What are the oldest and newest articles?", names=True)
    assert cited == ["old.md", "new.md"]


def test_the_citations_are_verbatim(index: IndexReader) -> None:
    result = run_catalogue_query(index, "Which articles mention Elm?", "mention Elm")
    for mention in result.mentions:
        article = index.article(mention.article_id)
        assert article is not None
        assert article.text[mention.start : mention.end] == mention.text
        assert "Elm" in mention.text
