"""Time constraints in questions: "as of 2016", "before May 2017", "the latest …"."""

import re
from collections.abc import Sequence

from rag.text.dates import Day, days
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
