"""Summaries and overviews: the sentences with which articles open.

News puts what matters first: the opening sentences are a baseline that few extractive methods beat
(Nenkova 2005, "Automatic text summarization of newswire").
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from rag.answering.citations import CitedSentence
from rag.answering.quote import quote, quote_dated, quote_each
from rag.text.sentences import sentences
from rag.text.tokens import words
from rag.types import Article, Excerpt, Origin, excerpt_of

SUMMARY_WORDS = 112
"""Most words of a summary."""

OVERVIEW_WORDS = (72, 36)
"""Most words of the best article and of the next one in an overview."""

PERIOD_WORDS, PERIOD_ARTICLES = 32, 4
"""Most words of each article, and most articles, in an overview of a period."""

MIN_SENTENCE_WORDS = 4
"""Words of the shortest sentence that says something by itself; shorter ones are mostly headings."""


def opening(article: Article, max_words: int) -> Excerpt:
    """Return the first sentences of an article, as many as fit; at least one.

    Args:
        article: The article.
        max_words: Most words; a sentence that does not fit is left out, and so are all after it.
    """
    first: int | None = None
    last, count = 0, 0
    for start, end in sentences(article.text):
        sentence_words = words(article.text[start:end])
        if first is None and (
            len(sentence_words) < MIN_SENTENCE_WORDS or sentence_words == words(article.title)
        ):
            continue  # a heading
        count += len(sentence_words)
        if first is not None and count > max_words:
            break
        first, last = start if first is None else first, end
    return excerpt_of(article, first or 0, last or len(article.text))


class FoundArticle(NamedTuple):
    """An article, and the index that it comes from."""

    article: Article
    origin: Origin = Origin.INDEX

    def opening(self, max_words: int) -> Excerpt:
        """Return its opening (see `opening`)."""
        return replace(opening(self.article, max_words), origin=self.origin)


def overview(found: Sequence[FoundArticle], *, newest_first: bool) -> list[CitedSentence]:
    """Return the openings of two articles, or of one if there is no other, in the order of their dates.

    Args:
        found: The articles, best first.
        newest_first: Whether the newest articles are chosen, and come first.
    """
    if newest_first:
        found = sorted(found, key=lambda each: each.article.date or "", reverse=True)
    if len(found) == 1:
        return [quote(found[0].opening(sum(OVERVIEW_WORDS)))]
    openings = [each.opening(limit) for each, limit in zip(found, OVERVIEW_WORDS, strict=False)]
    openings.sort(key=lambda excerpt: excerpt.date or "", reverse=newest_first)
    return quote_each(openings)


def period_overview(articles: Sequence[Article]) -> list[CitedSentence]:
    """Return the first sentence or two of each article, with its date, in the order given."""
    chosen = articles[:PERIOD_ARTICLES]
    return [quote_dated(opening(article, PERIOD_WORDS)) for article in chosen]
