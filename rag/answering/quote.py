"""Quotations: verbatim parts of articles as sentences of an answer."""

from collections.abc import Sequence

from rag.answering.citations import CitedSentence
from rag.types import Excerpt, Sentence, Verdict


def quote(excerpt: Excerpt) -> CitedSentence:
    """Return a quotation of an excerpt, which it cites."""
    return CitedSentence(_quotation(excerpt, None), (excerpt,))


def quote_dated(excerpt: Excerpt) -> CitedSentence:
    """Return a quotation of an excerpt with the date of its article before it."""
    return CitedSentence(_quotation(excerpt, excerpt.date), (excerpt,))


def quote_each(excerpts: Sequence[Excerpt]) -> list[CitedSentence]:
    """Return quotations; with dates if they are from articles of different dates."""
    several_dates = len({excerpt.date for excerpt in excerpts}) > 1
    return [quote_dated(excerpt) if several_dates else quote(excerpt) for excerpt in excerpts]


def _quotation(excerpt: Excerpt, date: str | None) -> Sentence:
    text = " ".join(excerpt.text.split())
    return Sentence(text, Verdict.SUPPORTED, quoted=True, date=date)
