"""Summaries and overviews: the sentences with which articles open."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.answering import openings
from rag.answering.citations import CitedSentence
from rag.text.tokens import words
from rag.types import Article

SENTENCES = ("The dam of Ormsby broke on Friday.", "Rain had softened it.", "Nobody was hurt.")


def article(id: str, text: str, date: str | None = None, title: str = "A title") -> Article:
    return Article(id=id, title=title, text=text, date=date)


def ids(cited: list[CitedSentence]) -> list[str]:
    return [sources[0].article_id for _, sources in cited]


def test_an_opening_is_the_first_sentences_that_fit() -> None:
    whole = article("a", " ".join(SENTENCES))
    assert openings.opening(whole, 12).text == " ".join(SENTENCES[:2])
    assert openings.opening(whole, 100).text == whole.text


@pytest.mark.parametrize("heading", ["Dam breaks.", "A long enough title of the story."])
def test_headings_are_not_part_of_an_opening(heading: str) -> None:
    story = article("a", f"{heading}\n\n{SENTENCES[0]}", title="A long enough title of the story")
    assert openings.opening(story, 100).text == SENTENCES[0]


@settings(deadline=None)
@given(text=st.text(max_size=200), max_words=st.integers(1, 40))
def test_an_opening_is_verbatim_and_fits_unless_it_is_one_sentence(
    text: str, max_words: int
) -> None:
    excerpt = openings.opening(article("a", text), max_words)
    assert excerpt.text == text[excerpt.start : excerpt.end]
    whole = openings.opening(article("a", text), 10**6)
    assert len(excerpt.text) <= max(len(whole.text), len(text))


def test_the_first_sentence_is_kept_even_if_it_is_too_long() -> None:
    long = f"{'word ' * 50}end."
    assert len(words(openings.opening(article("a", f"{long} {SENTENCES[1]}"), 5).text)) == 51


OLD = article("old", " ".join(SENTENCES), "2019-01-01")
NEW = article("new", "A new dam will be built in Ormsby.", "2024-01-01")
MIDDLE = article("middle", "The inquiry into the dam has ended.", "2021-01-01")


def found(*articles: Article) -> list[openings.FoundArticle]:
    return [openings.FoundArticle(each) for each in articles]


def test_an_overview_is_in_the_order_of_dates_and_names_them() -> None:
    cited = openings.overview(
        [openings.FoundArticle(NEW), openings.FoundArticle(OLD)], newest_first=False
    )
    assert ids(cited) == ["old", "new"]
    assert [sentence.date for sentence, _ in cited] == ["2019-01-01", "2024-01-01"]


def test_an_overview_of_the_latest_has_the_newest_articles_first() -> None:
    assert ids(
        openings.overview(
            [openings.FoundArticle(OLD), openings.FoundArticle(MIDDLE), openings.FoundArticle(NEW)],
            newest_first=True,
        )
    ) == ["new", "middle"]


def test_an_overview_of_one_article_has_no_date() -> None:
    ((sentence, _),) = openings.overview(found(OLD), newest_first=False)
    assert sentence.date is None
    assert sentence.quoted


def test_an_overview_of_a_period_names_every_date_and_is_limited() -> None:
    articles = [article(str(n), f"Story number {n} was printed.", "2019-05") for n in range(9)]
    cited = openings.period_overview(articles)
    assert ids(cited) == [str(n) for n in range(openings.PERIOD_ARTICLES)]
    assert {sentence.date for sentence, _ in cited} == {"2019-05"}
