"""Where sentences begin and end, and which words carry meaning.

The one place that knows about words: passages are cut, evidence is scored and claims are checked
with the same sentences and the same stems.
"""

import re
from calendar import month_name
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from unicodedata import normalize

import punkt
import snowballstemmer

_BLANK_LINE = re.compile(r"\n\s*\n|\Z")
_DETACHED_STOP = re.compile(r" \.(?=\s|$)")
_SPOKEN = re.compile(r"[?!,]\s?[\"'”’»]\s*\Z")
# Scripts that put no space between words: Han, kana, Thai, Lao, Myanmar, Khmer.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_ONE = re.compile(f"[{_UNSPACED}]")
_RUN = re.compile(f"[{_UNSPACED}]+")
_JOINED = "\u0300-\u036f\u064b-\u065f\u0670\u0900-\u0dff"  # marks within words, which \w leaves out
_PART = rf"\d+(?:[.,]\d+)*|(?:[^\W\d_{_UNSPACED}]|[{_JOINED}])+"
_WORD = re.compile(rf"[{_UNSPACED}]|{_PART}")
_NAME = re.compile(rf"(?:{_PART})+")  # "p53" and "5g" are two words, and one name
_SEAM = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
_QUOTED = re.compile('["“„«「](?P<said>[^"“”„«»「」]{1,200})["”“»」]')
_MARKS = re.compile(  # accents, Hebrew and Arabic vowel signs, and Arabic's lengthening stroke
    "[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670]"
)
_MONTHS = [name.lower() for name in month_name]
_MONTH = "|".join(name for name in _MONTHS if name)
_DATE = re.compile(
    r"(?<!\d)(?P<iso_year>\d{4})-(?P<iso_month>\d\d)(?:-(?P<iso_day>\d\d))?(?!\d)"
    rf"|\b(?:(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? )?(?P<month>{_MONTH})"
    r" (?:(?P<us_day>\d{1,2})(?:st|nd|rd|th)?,? )?(?P<year>\d{4})\b",
    re.IGNORECASE,
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_FULL_STOP = re.compile(r"[。！？｡؟۔]+[」』”’）]*")
_SEGMENTER = punkt.tokenizer_for("english", prefixes=True)
_STEMMER = snowballstemmer.stemmer("porter")

# Function words: they say how a sentence is built, not what it is about.
STOP_WORDS = frozenset(
    """a about above after again against all also am an and any are as at be because been before
    being below between both but by can could d did do does doing don down during each ever
    few for from further had has have having he her here hers herself him himself his how i if
    in into is it its itself ll m many may me might more most much must my myself of off on
    once only or other our ours ourselves out over own please re s same shall she should so
    some such t tell than that the their theirs them themselves then there these they this
    those through to too under until up upon ve very was we were what when where whether which
    while who whom whose why will with would you your yours yourself yourselves""".split()
)

Rarity = Callable[[Iterable[str]], Mapping[str, float]]
"""Stems → how rare each is among the passages; higher is rarer."""

NUMERALS = frozenset(
    """one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty
    sixty seventy eighty ninety hundred thousand million billion half dozen""".split()
)
ASKING = frozenset(
    """who whom whose what when where which why how is are was were do does did has have had can could
    will would should may""".split()
)
"""Words that questions begin with."""
LEANING = frozenset(
    "he she it they him her them his hers its their theirs this these those".split()
)
"""Words that stand for what was spoken of before."""


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """The (start, end) of each sentence of `text`, in order, without the white space around it.

    Boundaries are found by Punkt (Kiss and Strunk 2006) and never lie beyond a blank line. Tokenised
    text ("the u.s . senate") is understood: to the segmenter a detached full stop looks attached, at
    the same length, so offsets hold.
    """
    begin = 0
    for blank in _BLANK_LINE.finditer(text):
        paragraph = text[begin : blank.start()]
        starts = _starts(paragraph)
        for start, end in pairwise([*starts, len(paragraph)]):
            left, right = trim(text, begin + start, begin + end)
            if left < right:
                yield left, right
        begin = blank.end()


def _starts(paragraph: str) -> list[int]:
    """Where the sentences of a paragraph start."""
    attached = _DETACHED_STOP.sub(". ", paragraph)
    found = [start for start, _ in _SEGMENTER.span_tokenize(attached)]
    starts = {start for start in found[1:] if not _goes_on(paragraph, start)}
    starts |= {stop.end() for stop in _FULL_STOP.finditer(paragraph)} - {len(paragraph)}
    return [0, *sorted(starts)]


def _goes_on(paragraph: str, start: int) -> bool:
    """Whether what starts there says who spoke the words before: “Is it over?” she asked."""
    spoken = _SPOKEN.search(paragraph, max(0, start - 8), start)
    return spoken is not None and paragraph[start].islower()


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The part of text[start:end] without white space around it; empty when there is nothing else."""
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def words(text: str) -> list[str]:
    """The words and numbers of `text`, lower-cased, in order; figures keep their points and commas.

    Where a script puts no space between words, every character counts as one.
    """
    return _WORD.findall(text.lower())


def word_places(text: str) -> Iterator[tuple[int, int]]:
    """The (start, end) of each word and number of `text`, in order."""
    return (found.span() for found in _WORD.finditer(text))


def searchable(text: str) -> str:
    """`text` as the lexical index holds it, so that the same word is the same there.

    Case, accents, vowel signs, widths and separators of thousands are folded away. Letters and
    figures stand apart ("p 53", "10 km"), and so do the characters of a script that puts no space
    between words: a phrase of them finds them.
    """
    folded = _SEAM.sub(" ", _THOUSANDS.sub("", text.casefold()))
    if folded.isascii():
        return folded
    folded = normalize("NFC", _MARKS.sub("", normalize("NFKD", folded)))
    return _ONE.sub(r" \g<0> ", folded).strip()


def phrases(question: str) -> list[str]:
    """What to search a question's words by, each once: those that carry meaning, or else all.

    A run of a script without spaces comes as its pairs of neighbours, which is most words' length.
    """
    said = [name for part in _RUN.split(question) for name in _NAME.findall(part)]
    meant = [name for place, name in enumerate(said) if _means(name, place)] or said
    pairs = [pair for run in _RUN.findall(question) for pair in _pairs(run)]
    return list(dict.fromkeys([*(name.lower() for name in meant), *pairs]))


def _means(name: str, place: int) -> bool:
    """Whether a word is none of those that only build sentences: "US", "WHO" and "May" may be names."""
    return name.lower() not in STOP_WORDS or (place > 0 and not name.islower())


def _pairs(run: str) -> list[str]:
    return [run] if len(run) == 1 else [run[i : i + 2] for i in range(len(run) - 1)]


class Day(NamedTuple):
    """A date; `day` is 0 where only the month is told, `month` where only the year is."""

    year: int
    month: int
    day: int

    def __str__(self) -> str:
        """As it is written in one way for all: "14 May 2021", "May 2021", "2021"."""
        said = (self.day or "", month_name[self.month], self.year)
        return " ".join(str(part) for part in said if part)


def days(text: str) -> list[Day]:
    """The dates in a text that tell at least a month, however they are written."""
    found = []
    for date in _DATE.finditer(text):
        month = (
            int(date["iso_month"]) if date["iso_month"] else _MONTHS.index(date["month"].lower())
        )
        if 1 <= month <= 12:
            year, day = (
                date["iso_year"] or date["year"],
                date["iso_day"] or date["day"] or date["us_day"],
            )
            found.append(Day(int(year), month, int(day or 0)))
    return found


def dates(text: str) -> list[str]:
    """The dates in a text, in one way of writing them: "14 May 2021", or "May 2021"."""
    return [str(day) for day in days(text)]


def quoted(question: str) -> list[str]:
    """What stands in quotation marks in a question, words in it: it is to be found as it stands."""
    return [said for said in _QUOTED.findall(question) if words(said)]


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """The word's stem by Porter's algorithm (1980), which FTS5's `porter` tokeniser follows too."""
    return str(_STEMMER.stemWord(searchable(word)))


def terms(text: str) -> list[str]:
    """The stems of the words of `text` that carry meaning, in order."""
    return [stem(word) for word in words(text) if word not in STOP_WORDS]
