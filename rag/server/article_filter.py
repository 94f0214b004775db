"""Article filters from what clients send."""

import re
from collections.abc import Sequence

from rag.server.errors import RequestError
from rag.types import ArticleFilter

DATE_PATTERN = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")
"""A year, month or day."""


def build_article_filter(sources: Sequence[str], since: str, until: str) -> ArticleFilter:
    """Return the filter for these sources and dates; empty values leave nothing out.

    Raises:
        RequestError: `since` or `until` is no date.
    """
    for date in (since, until):
        if date and not DATE_PATTERN.fullmatch(date):
            raise RequestError(f"Invalid date: {date!r}. Expected 2024-05-31, 2024-05 or 2024.")
    return ArticleFilter(tuple(sources), since, until)
