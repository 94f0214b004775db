"""Quotations."""

from dataclasses import replace

from rag.answering.citations import number_citations
from rag.answering.quote import quote, quote_dated, quote_each
from rag.types import Excerpt
from rag.wording import english

TEXT = "The council has not agreed\n to reopen the harbour before 12 May."
COUNCIL = Excerpt("a", "Ferry strike", 200, 200 + len(TEXT), TEXT, date="2021-05-14")
LATER = replace(COUNCIL, article_id="b", date="2021-06-01")


def test_a_quotation_cites_its_excerpt_and_says_neither_title_nor_date() -> None:
    sentence, sources = quote(COUNCIL)
    assert sentence.supported
    assert sentence.quoted
    assert sentence.text == " ".join(TEXT.split())
    assert sentence.text_in(english()) == f"“{sentence.text}”"
    assert sources == (COUNCIL,)


def test_a_dated_quotation_has_the_date_before_it() -> None:
    sentence, _ = quote_dated(COUNCIL)
    assert sentence.text_in(english()) == f"2021-05-14: “{sentence.text}”"


def test_dates_are_named_only_where_they_differ() -> None:
    assert {sentence.date for sentence, _ in quote_each([COUNCIL, COUNCIL])} == {None}
    assert [s.date for s, _ in quote_each([COUNCIL, LATER])] == ["2021-05-14", "2021-06-01"]


def test_an_excerpt_that_two_sentences_cite_has_one_marker() -> None:
    cited = number_citations([quote(COUNCIL), quote(LATER), quote(COUNCIL)])
    assert [sentence.citations for sentence in cited.sentences] == [(1,), (2,), (1,)]
    assert [citation.quote for citation in cited.citations] == [COUNCIL, LATER]


def test_bracketed_numbers_in_an_article_are_not_taken_for_markers() -> None:
    text = "The firm was founded in 1950.[4] [2, 3]［5］【6】"
    annotated = Excerpt("a", "Firm", 0, len(text), text)
    cited = number_citations([quote(annotated)])
    assert not set("[［【") & set(cited.sentences[0].text)
    assert cited.citations[0].quote.text == text
