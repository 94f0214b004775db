"""Expected answer types: whether a question asks for a date, a number or a name."""

import re
from enum import Enum

from rag.text.dates import MONTH_PATTERN, dates
from rag.text.tokens import NUMERALS, words


class AnswerType(Enum):
    """What kind of answer a question asks for."""

    DATE = "date"
    NUMBER = "number"
    NAME = "name"

    @classmethod
    def of(cls, question: str) -> "AnswerType | None":
        """Return the first type that the question's wording matches, or None for any other."""
        return next((kind for kind, p in _QUESTION_PATTERNS.items() if p.search(question)), None)

    def answered_by(self, sentence: str, question: str) -> bool:
        """Whether the sentence contains a word of this type that the question does not contain."""
        return not self.words_in(sentence) <= set(words(question))

    def words_in(self, text: str) -> set[str]:
        """Return the words of a text, in lower case, that are part of a date, number or name."""
        match self:
            case AnswerType.DATE:
                years = {word for word in words(text) if len(word) == 4 and word.isdigit()}
                months = {month.lower() for month in _MONTH.findall(text)}
                return years.union(*(words(date) for date in dates(text)), months)
            case AnswerType.NUMBER:
                return {word for word in words(text) if word[0].isdigit() or word in NUMERALS}
            case AnswerType.NAME:
                return {word.lower() for word in _NAME_WORD.findall(text)}


_QUESTION_PATTERNS = {
    # "when", "what year", "which century"
    AnswerType.DATE: re.compile(
        r"\b(?:when|(?:what|which) (?:year|date|day|month|time|century|decade))\b", re.IGNORECASE
    ),
    # "how many", "how tall", "what percentage"
    AnswerType.NUMBER: re.compile(
        r"\bhow (?:many|much|long|old|far|tall|high|large|big|often|fast|deep)\b"
        r"|\bwhat (?:percentage|percent|number|amount|share)\b",
        re.IGNORECASE,
    ),
    # "who", "where", "which city"
    AnswerType.NAME: re.compile(
        r"\b(?:who|whom|whose|where)\b"
        r"|\b(?:what|which) (?:city|country|place|state|region|town|river|company|person)\b",
        re.IGNORECASE,
    ),
}
# A capitalised word that does not begin a sentence.
_NAME_WORD = re.compile(r"(?<=[\w,;:’'\"“)] )[A-Z][\w’'-]+")
# The name of a month, capitalised.
_MONTH = re.compile(rf"\b(?:{MONTH_PATTERN})\b")
