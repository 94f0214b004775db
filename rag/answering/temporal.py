"""Time constraints in questions: "as of 2016", "before May 2017", "the latest …"."""

import re
from calendar import month_name
from collections.abc import Sequence
from typing import NamedTuple

from rag.text.dates import MONTH_PATTERN, Day, days
from rag.types import Evidence

SCORE_MARGIN = 0.3
"""Distance from the best score within which the newest evidence is preferred for "the latest"."""

# Asks for the newest.
_LATEST = re.compile(r"\b(?:latest|newest|most recent(?:ly)?|current(?:ly)?)\b", re.IGNORECASE)
# Begins an upper limit: followed by a figure, with up to two words before it ("before the 8 May").
_LIMIT = re.compile(r"\b(?:as of|before|until|up to) (?=(?:\w+ ){0,2}\d)", re.IGNORECASE)
# A year between 1000 and 2099.
_YEAR = re.compile(r"\b(?:1\d|20)\d\d\b")


def apply_time_constraints(question: str, evidence: Sequence[Evidence]) -> list[Evidence]:
    """Filter and reorder evidence by the date of its article, as the question demands.

    If the question names an upper limit ("as of 2016"), evidence from later articles is removed. If it
    asks for the latest, the newest evidence with about the best score comes first.

    Args:
        question: The question.
        evidence: The evidence, best first.
    """
    limit_match = _LIMIT.search(question)
    if limit_match:
        limit = _first_day(question[limit_match.end() :])
        evidence = [item for item in evidence if not _is_after(item.sentence.date, limit)]
    if not evidence or not _LATEST.search(question):
        return list(evidence)
    candidates = [item for item in evidence if item.score >= evidence[0].score - SCORE_MARGIN]
    newest = max(candidates, key=lambda item: _first_day(item.sentence.date or "") or Day(0, 0, 0))
    return [newest, *(item for item in evidence if item is not newest)]


def _first_day(text: str) -> Day | None:
    """Return the first date in a text, or else the first year."""
    year = _YEAR.search(text)
    return next(iter(days(text)), Day(int(year[0]), 0, 0) if year else None)


def _is_after(date: str | None, limit: Day | None) -> bool:
    day = _first_day(date or "")
    if day is None or limit is None:
        return False
    precision = sum(part > 0 for part in limit)  # "as of 2016" includes all of 2016
    return day[:precision] > limit[:precision]


# -- periods


class Period(NamedTuple):
    """A period, as the first and the last day, month or year of it in ISO 8601; empty if open."""

    since: str
    until: str


_TWO_MONTHS = re.compile(
    rf"\b(?:between|from) (?P<first>{MONTH_PATTERN})(?: (?P<first_year>\d{{4}}))?"
    rf" (?:and|to|until|till) (?P<last>{MONTH_PATTERN}) (?P<last_year>\d{{4}})\b",
    re.IGNORECASE,
)
_TWO_YEARS = re.compile(
    r"\b(?:between|from) (?P<first>\d{4}) (?:and|to|until|till) (?P<last>\d{4})\b", re.IGNORECASE
)
_SINCE = re.compile(rf"\b(?:since|after) (?=(?:{MONTH_PATTERN}|\d))", re.IGNORECASE)
_BEFORE = re.compile(rf"\b(?:before|until|till|up to) (?=(?:{MONTH_PATTERN}|\d))", re.IGNORECASE)


def find_period(question: str) -> Period | None:
    """Return the period that a question names: a day, a month, a year, or from one to another."""
    months = [name.lower() for name in month_name]
    if match := _TWO_MONTHS.search(question):
        first_year = match["first_year"] or match["last_year"]
        first, last = (months.index(match[name].lower()) for name in ("first", "last"))
        return Period(f"{first_year}-{first:02}", f"{match['last_year']}-{last:02}")
    if match := _TWO_YEARS.search(question):
        return Period(match["first"], match["last"])
    day = _first_day(question)
    if day is None:
        return None
    text = "-".join([f"{day.year:04}", *(f"{part:02}" for part in day[1:] if part)])
    if _SINCE.search(question):
        return Period(text, "")
    if _BEFORE.search(question):
        return Period("", text)
    return Period(text, text)
