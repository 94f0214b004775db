"""Parsing of the fields that restrict a question or a listing to some of the articles."""

from collections.abc import Sequence

from rag.server.article_filter import DATE_PATTERN
from rag.types import ArticleFilter


def parse_article_filter(
    sources: Sequence[str] | None, since: str | None, until: str | None
) -> ArticleFilter:
    """Return the filter that a reader has chosen; a malformed date restricts nothing."""
    return ArticleFilter(tuple(sources or ()), _parse_date(since), _parse_date(until))


def _parse_date(text: str | None) -> str:
    date = (text or "").strip()
    return date if DATE_PATTERN.fullmatch(date) else ""
