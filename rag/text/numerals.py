"""Numbers written as words: "eleven" and "twenty-one" are read as figures for comparisons."""

import re
from collections.abc import Mapping
from functools import cache

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


@cache
def _values() -> Mapping[str, int]:
    values = {word: number for number, word in enumerate(_UNITS)}
    for ten, word in enumerate(_TENS, start=2):
        values[word] = 10 * ten
        for unit in range(1, 10):
            values[f"{word}-{_UNITS[unit]}"] = 10 * ten + unit
            values[f"{word} {_UNITS[unit]}"] = 10 * ten + unit
    return values | {"dozen": 12}


@cache
def _pattern() -> re.Pattern[str]:
    longest_first = sorted(_values(), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(longest_first)})\b", re.IGNORECASE)


_SEPARATOR = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def digits(text: str) -> str:
    """Return a text with number words as figures, and figures without thousands separators.

    >>> digits("Eleven of 30,000 were hurt.")
    '11 of 30000 were hurt.'
    """
    written = _pattern().sub(lambda match: str(_values()[match[0].lower()]), text)
    return _SEPARATOR.sub("", written)
