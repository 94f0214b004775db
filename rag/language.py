"""Where sentences begin and end, and which words carry meaning.

The one place that knows about words: passages are cut, evidence is scored and claims are checked
with the same sentences and the same stems.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import punkt
import snowballstemmer

_BLANK_LINE = re.compile(r"\n\s*\n|\Z")
_DETACHED_STOP = re.compile(r" \.(?=\s|$)")
_SPOKEN = re.compile(r"[?!,]\s?[\"'”’»]\s*\Z")
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
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
    return [0, *(start for start in found[1:] if not _goes_on(paragraph, start))]


def _goes_on(paragraph: str, start: int) -> bool:
    """Whether what starts there says who spoke the words before: “Is it over?” she asked."""
    spoken = _SPOKEN.search(paragraph, max(0, start - 8), start)
    return spoken is not None and paragraph[start].islower()


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The part of text[start:end] without white space around it; empty when there is nothing else."""
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def words(text: str) -> list[str]:
    """The words and numbers of `text`, lower-cased, in order; figures keep their points and commas."""
    return _WORD.findall(text.lower())


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """The word's stem by Porter's algorithm (1980), which FTS5's `porter` tokeniser follows too."""
    return str(_STEMMER.stemWord(word))


def terms(text: str) -> list[str]:
    """The stems of the words of `text` that carry meaning, in order."""
    return [stem(word) for word in words(text) if word not in STOP_WORDS]
