"""Recognition and normalisation of English and ISO dates."""

import re
from calendar import month_name
from typing import NamedTuple

MONTH_PATTERN = "|".join(month_name[1:])
"""Regular expression that matches the English name of a month, alternatives only."""

_MONTHS = [name.lower() for name in month_name]
_DATE = re.compile(
    r"(?<!\d)(?P<iso_year>\d{4})-(?P<iso_month>\d\d)(?:-(?P<iso_day>\d\d))?(?!\d)"
    rf"|\b(?:(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? )?(?P<month>{MONTH_PATTERN})"
    r" (?:(?P<us_day>\d{1,2})(?:st|nd|rd|th)?,? )?(?P<year>\d{4})\b",
    re.IGNORECASE,
)


class Day(NamedTuple):
    """A calendar date that may be incomplete.

    `day` is 0 if only the month is known; `month` is 0 if only the year is known.
    """

    year: int
    month: int
    day: int

    def __str__(self) -> str:
        """Return the normalised form: "14 May 2021", "May 2021" or "2021"."""
        parts = (self.day or "", month_name[self.month], self.year)
        return " ".join(str(part) for part in parts if part)


def days(text: str) -> list[Day]:
    """Return the dates in a text that name at least a month and a year, in order."""
    parsed = []
    for match in _DATE.finditer(text):
        iso_month, name = match["iso_month"], match["month"]
        month = int(iso_month) if iso_month else _MONTHS.index(name.lower())
        if 1 <= month <= 12:
            year = match["iso_year"] or match["year"]
            day = match["iso_day"] or match["day"] or match["us_day"]
            parsed.append(Day(int(year), month, int(day or 0)))
    return parsed


def dates(text: str) -> list[str]:
    """Return the dates in a text in their normalised form: "14 May 2021" or "May 2021"."""
    return [str(day) for day in days(text)]
