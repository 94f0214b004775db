"""Refusals: why the articles do not answer a question."""

from collections.abc import Sequence

from rag.text.tokens import quoted_phrases
from rag.types import Evidence, Hit, Message, Refusal, SearchQuery
from rag.wording import Phrase, is_any_text, phrase

MAX_QUESTION_CHARACTERS = 200
"""Length beyond which the question is truncated in a refusal."""

MIN_NEAR_MISS_SCORE = 0.15
"""Score of a sentence from which on a refusal names it as the nearest that the articles say."""

MAX_SENTENCE_CHARACTERS = 200
"""Length beyond which that sentence is truncated."""


def build_refusal(
    query: SearchQuery, hits: Sequence[Hit], evidence: Sequence[Evidence] = ()
) -> Phrase:
    """Return the refusal to a query.

    Args:
        query: The query.
        hits: The passages retrieved for it.
        evidence: Their sentences, best first; the best one is named if it is near enough.
    """
    if hits:
        question = query.text
        if len(question) > MAX_QUESTION_CHARACTERS:
            question = f"{question[:MAX_QUESTION_CHARACTERS]}…"
        if evidence and evidence[0].score >= MIN_NEAR_MISS_SCORE:
            nearest = evidence[0].sentence
            label = nearest.date or nearest.title
            sentence = _shortened(" ".join(nearest.text.split()))
            return phrase(Refusal.NEAR_MISS, question=question, label=label, sentence=sentence)
        return phrase(Refusal.NO_EVIDENCE, question=question)
    has_quotation = quoted_phrases(query.question)
    return phrase(Refusal.PHRASE_NOT_FOUND if has_quotation else Refusal.EMPTY_INDEX)


def _shortened(sentence: str) -> str:
    if len(sentence) <= MAX_SENTENCE_CHARACTERS:
        return sentence
    return sentence[:MAX_SENTENCE_CHARACTERS].rsplit(" ", 1)[0] + " …"


def without_refusals(history: Sequence[Message]) -> list[Message]:
    """Remove the chatbot's own refusals from a conversation: they say nothing about its subject.

    A conversation consists of plain text, as clients send it, so refusals are known by their text.
    """
    return [
        message
        for message in history
        if message["role"] != "assistant" or not is_any_text(message["content"], Refusal)
    ]
