"""Words, stems and search terms.

The same definition of a word serves the lexical index, query building, evidence scoring and the
checks of citations.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from unicodedata import normalize

import snowballstemmer

# Scripts written without spaces between words: Han, kana, Thai, Lao, Myanmar, Khmer.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+")
# Combining marks within words, which \w leaves out.
_COMBINING = "\u0300-\u036f\u064b-\u065f\u0670\u0900-\u0dff"
_NUMBER_OR_LETTERS = rf"\d+(?:[.,]\d+)*|(?:[^\W\d_{_UNSPACED}]|[{_COMBINING}])+"
_WORD = re.compile(rf"[{_UNSPACED}]|{_NUMBER_OR_LETTERS}")
_ALPHANUMERIC = re.compile(rf"(?:{_NUMBER_OR_LETTERS})+")  # "p53" and "5g": two words, one token
_LETTER_DIGIT_BOUNDARY = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
_QUOTATION = re.compile('["“„«「]([^"“”„«»「」]{1,200})["”“»」]')
_DIACRITICS = re.compile(  # accents, Hebrew and Arabic vowel signs, and the Arabic tatweel
    "[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670]"
)
_THOUSANDS_SEPARATOR = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_STEMMER = snowballstemmer.stemmer("porter")

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
"""Function words, which say how a sentence is built and not what it is about."""

NUMERALS = frozenset(
    """one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty
    sixty seventy eighty ninety hundred thousand million billion half dozen""".split()
)
"""Numbers written as words."""

QUESTION_WORDS = frozenset(
    """who whom whose what when where which why how is are was were do does did has have had can could
    will would should may""".split()
)
"""Words that a question begins with."""

PRONOUNS = frozenset(
    "he she it they him her them his hers its their theirs this these those".split()
)
"""Pronouns and demonstratives, whose meaning depends on the text before them."""

Idf = Callable[[Iterable[str]], Mapping[str, float]]
"""Returns the inverse document frequency of every stem; the document is a passage."""


def words(text: str) -> list[str]:
    """Return the words and numbers of a text in lower case, in order.

    Numbers keep their decimal points and commas. In scripts written without spaces, every character
    is a word.
    """
    return _WORD.findall(text.lower())


def word_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end offset of every word and number of a text, in order."""
    return (match.span() for match in _WORD.finditer(text))


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Return the stem of a word by Porter's algorithm (1980), as FTS5's `porter` tokenizer does."""
    return str(_STEMMER.stemWord(searchable(word)))


def terms(text: str) -> list[str]:
    """Return the stems of the words of a text in order, without stop words."""
    return [stem(word) for word in words(text) if word not in STOP_WORDS]


def searchable(text: str) -> str:
    """Normalise a text for the lexical index.

    Case, diacritics, character widths and thousands separators are removed. Letters and digits are
    separated ("p 53", "10 km"), and so are the characters of scripts written without spaces, so that
    a word in them is found as a phrase of characters.
    """
    folded = _LETTER_DIGIT_BOUNDARY.sub(" ", _THOUSANDS_SEPARATOR.sub("", text.casefold()))
    if folded.isascii():
        return folded
    folded = normalize("NFC", _DIACRITICS.sub("", normalize("NFKD", folded)))
    return _UNSPACED_CHARACTER.sub(r" \g<0> ", folded).strip()


def phrases(question: str) -> list[str]:
    """Return the phrases to search the lexical index for, without duplicates.

    These are the content words of the question, or all of its words if it has no others. A run of a
    script written without spaces contributes its character bigrams, since most of its words are two
    characters long.
    """
    question_words = [
        word for part in _UNSPACED_RUN.split(question) for word in _ALPHANUMERIC.findall(part)
    ]
    content_words = [
        word for position, word in enumerate(question_words) if _is_content_word(word, position)
    ]
    bigrams = [pair for run in _UNSPACED_RUN.findall(question) for pair in _bigrams(run)]
    lowered = [word.lower() for word in content_words or question_words]
    return list(dict.fromkeys([*lowered, *bigrams]))


def _is_content_word(word: str, position: int) -> bool:
    """Return whether a word is no stop word; a capitalised "US", "WHO" or "May" may be a name."""
    return word.lower() not in STOP_WORDS or (position > 0 and not word.islower())


def _bigrams(run: str) -> list[str]:
    return [run] if len(run) == 1 else [run[i : i + 2] for i in range(len(run) - 1)]


def quoted_phrases(question: str) -> list[str]:
    """Return the phrases that a question puts in quotation marks, to be searched for verbatim."""
    return [phrase for phrase in _QUOTATION.findall(question) if words(phrase)]
