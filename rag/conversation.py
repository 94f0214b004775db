"""History + question → a question that stands alone."""

from collections.abc import Sequence

from rag.datatypes import Message
from rag.language import terms, words

_LEANING = frozenset(
    "he she it they him her them his hers its their theirs this these those".split()
)
_OPENING = frozenset("and but or so then also why how".split())

FEW = 1
"""Meaning words up to which a question that opens with "and" or "why" is taken to lean."""

MOST_TURNS, MOST_CHARACTERS = 4, 500
"""How far back a question leans, and how long an earlier one may be to be taken along."""


def standalone(question: str, history: Sequence[Message]) -> str:
    """The question as it would be asked without the conversation before it.

    A question that leans on what was said ("And when does it expire?") gets the user's last question
    in front, and the one before when that leaned too; any other is left as it is.
    """
    asked = [turn["content"] for turn in history if turn["role"] == "user"]
    parts = [question]
    for earlier in reversed(asked[-MOST_TURNS:]):
        if not _leans(parts[0]) or len(earlier) > MOST_CHARACTERS:
            break
        parts.insert(0, earlier)
    return " ".join(part.strip() for part in parts)


def _leans(question: str) -> bool:
    said = words(question)
    if not said:
        return False
    few = len(set(terms(question))) <= FEW
    return bool(_LEANING.intersection(said)) or (few and said[0] in _OPENING)
