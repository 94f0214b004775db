"""Refusals: why the articles do not answer a question."""

from collections.abc import Sequence

from rag.text.tokens import quoted_phrases
from rag.types import Hit, Message, Refusal, SearchQuery
from rag.wording import Phrase, is_any_text, phrase

MAX_QUESTION_CHARACTERS = 200
"""Length beyond which the question is truncated in a refusal."""


def build_refusal(query: SearchQuery, hits: Sequence[Hit]) -> Phrase:
    """Return the refusal to a query with these hits."""
    if hits:
        question = query.text
        if len(question) > MAX_QUESTION_CHARACTERS:
            question = f"{question[:MAX_QUESTION_CHARACTERS]}…"
        return phrase(Refusal.NO_EVIDENCE, question=question)
    has_quotation = quoted_phrases(query.question)
    return phrase(Refusal.PHRASE_NOT_FOUND if has_quotation else Refusal.EMPTY_INDEX)


def without_refusals(history: Sequence[Message]) -> list[Message]:
    """Remove the chatbot's own refusals from a conversation: they say nothing about its subject.

    A conversation consists of plain text, as clients send it, so refusals are known by their text.
    """
    return [
        message
        for message in history
        if message["role"] != "assistant" or not is_any_text(message["content"], Refusal)
    ]
