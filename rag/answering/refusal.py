"""Refusals: what is said when the articles do not answer a question."""

from collections.abc import Sequence

from rag.text.tokens import quoted_phrases
from rag.types import Hit, Message, SearchQuery

NO_ANSWER = "The articles do not seem to answer"
"""Beginning of a refusal that names the question."""
PHRASE_NOT_FOUND = "No passage holds the words in quotation marks as they stand there."
EMPTY_INDEX = "The index holds no articles, so there is nothing to answer from."

MAX_QUESTION_CHARACTERS = 200
"""Length beyond which the question is truncated in a refusal."""


def refusal_text(query: SearchQuery, hits: Sequence[Hit]) -> str:
    """Return the refusal to a query with these hits."""
    if hits:
        question = query.text
        if len(question) > MAX_QUESTION_CHARACTERS:
            question = f"{question[:MAX_QUESTION_CHARACTERS]}…"
        return f"{NO_ANSWER} “{question}”. The passages nearest to it are shown with it."
    return PHRASE_NOT_FOUND if quoted_phrases(query.question) else EMPTY_INDEX


def without_refusals(history: Sequence[Message]) -> list[Message]:
    """Remove the chatbot's own refusals from a conversation: they say nothing about its subject."""
    refusals = (NO_ANSWER, PHRASE_NOT_FOUND, EMPTY_INDEX)
    return [message for message in history if not message["content"].startswith(refusals)]
