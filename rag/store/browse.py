"""Listing the articles of an index for a user who browses it, rather than for answering."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rag.store.reader import IndexReader
from rag.store.schema import ARTICLE_COLUMNS, article_from_row, filter_condition, fts5_phrase
from rag.text.sentences import sentences
from rag.text.tokens import words
from rag.types import Article, ArticleFilter, Excerpt, excerpt_of


@dataclass(frozen=True, slots=True)
class ArticleSummary:
    """An article as a list shows it."""

    id: str
    title: str
    date: str | None
    source: str | None


class ArticleSort(StrEnum):
    """The order of a list of articles; articles without the sort key come last."""

    NEWEST = "newest"
    OLDEST = "oldest"
    TITLE = "by_title"
    SOURCE = "by_source"


_ORDER_BY = {
    ArticleSort.NEWEST: "date IS NULL, date DESC, number",
    ArticleSort.OLDEST: "date IS NULL, date, number",
    ArticleSort.TITLE: "title COLLATE NOCASE, number",
    ArticleSort.SOURCE: "publisher IS NULL, publisher COLLATE NOCASE, date DESC, number",
}


def list_articles(
    index: IndexReader, search: str, article_filter: ArticleFilter, sort: ArticleSort, limit: int
) -> tuple[list[ArticleSummary], int]:
    """List the articles that contain all words of `search`.

    Args:
        index: The index to list.
        search: Words separated by white space, all of which one passage must contain. Every article
            matches an empty string.
        article_filter: Restricts the articles by source and date.
        sort: The order of the list.
        limit: Maximum length of the list.

    Returns:
        The first `limit` articles, and the number of all matching articles.
    """
    condition, parameters = filter_condition(article_filter)
    search_words = [word for word in search.split() if words(word)]
    if search_words:
        condition += (
            " AND number IN (SELECT p.article FROM words w JOIN passages p ON p.number = w.rowid"
            " WHERE words MATCH ?)"
        )
        parameters.append(" AND ".join(map(fts5_phrase, search_words)))
    (count,) = index.fetch_all(f"SELECT count(*) FROM articles WHERE {condition}", *parameters)[0]
    rows = index.fetch_all(
        f"SELECT id, title, date, publisher FROM articles WHERE {condition}"
        f" ORDER BY {_ORDER_BY[sort]} LIMIT ?",
        *parameters,
        limit,
    )
    return [ArticleSummary(*row) for row in rows], count


def list_publishers(index: IndexReader) -> list[str]:
    """List the sources that the articles name (`Article.source`), in alphabetical order."""
    rows = index.fetch_all(
        "SELECT DISTINCT publisher FROM articles WHERE publisher <> '' ORDER BY 1"
    )
    return [publisher for (publisher,) in rows]


def newest_titles(index: IndexReader, limit: int) -> list[str]:
    """Return the titles of the `limit` newest articles, newest first."""
    rows = index.fetch_all("SELECT title FROM articles ORDER BY date DESC, number LIMIT ?", limit)
    return [title for (title,) in rows]


def find_mentions(
    index: IndexReader, phrases: Sequence[str], article_filter: ArticleFilter
) -> list[Excerpt]:
    """Find the articles whose title or text contains all phrases, in any case.

    Args:
        index: The index to search.
        phrases: At least one phrase, to be found as it is written.
        article_filter: Restricts the articles by source and date.

    Returns:
        For each article, oldest first, the sentence of its text with the first phrase, or its first
        sentence if only the title contains the phrase.
    """
    condition, parameters = filter_condition(article_filter)
    for phrase in phrases:  # the full-text index finds candidates by their stems
        condition += (
            " AND number IN (SELECT p.article FROM words w JOIN passages p ON p.number = w.rowid"
            " WHERE words MATCH ?)"
        )
        parameters.append(fts5_phrase(phrase))
    rows = index.fetch_all(
        f"SELECT {ARTICLE_COLUMNS} FROM articles WHERE {condition}"
        f" ORDER BY {_ORDER_BY[ArticleSort.OLDEST]}",
        *parameters,
    )
    patterns = [
        re.compile(rf"(?<!\w){re.escape(phrase)}(?!\w)", re.IGNORECASE) for phrase in phrases
    ]
    articles = map(article_from_row, rows)
    return [
        _sentence_with(article, patterns[0])
        for article in articles
        if all(p.search(article.title) or p.search(article.text) for p in patterns)
    ]


def _sentence_with(article: Article, pattern: re.Pattern[str]) -> Excerpt:
    """Return the first sentence with a match, or the first sentence of all."""
    match = pattern.search(article.text)
    offset = match.start() if match else 0
    span = next((s for s in sentences(article.text) if s[1] > offset), (0, len(article.text)))
    return excerpt_of(article, *span)
