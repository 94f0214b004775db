"""Extracts: the sentences of the evidence that answer a question of a certain kind."""

from collections.abc import Sequence
from itertools import islice

from rag.text.sentences import sentences
from rag.text.tokens import words
from rag.types import Evidence, Excerpt, Hit, QuestionKind, excerpt_part

MAX_WORDS = {
    QuestionKind.EXPLANATION: 60,
    QuestionKind.LIST: 60,
    QuestionKind.KEYWORDS: 60,
    QuestionKind.COMPARISON: 100,
    QuestionKind.YES_NO: 36,
}
"""Most words that are quoted for a kind of question, unless the best sentence alone is longer."""

MIN_RELATIVE_SCORE = 0.3
"""Score of the worst sentence quoted, relative to that of the best."""

MAX_NEIGHBOURS = 2
"""Most sentences after the best one that are quoted with it as an explanation."""


def explanation(best: Evidence, hits: Sequence[Hit]) -> Excerpt:
    """Return the best sentence with the sentences after it, and the one before it that it refers to."""
    passage = passage_with(best.sentence, hits)
    offset = passage.start
    first = (best.preceding or best.sentence).start - offset
    last = best.sentence.end - offset
    following = (end for start, end in sentences(passage.text) if start >= last)
    for end in islice(following, MAX_NEIGHBOURS):
        if len(words(passage.text[first:end])) > MAX_WORDS[QuestionKind.EXPLANATION]:
            break
        last = end
    return excerpt_part(passage, first, last)


def several(evidence: Sequence[Evidence], kind: QuestionKind) -> list[Excerpt]:
    """Return the best sentences that fit, those of one article together and in the order of its text.

    Args:
        evidence: At least one sentence, best first.
        kind: The kind of question, which says how many words fit.
    """
    chosen: list[Excerpt] = []
    count = 0
    for item in evidence:
        if item.score < MIN_RELATIVE_SCORE * evidence[0].score:
            break
        length = len(words(item.sentence.text))
        repeated = any(words(item.sentence.text) == words(other.text) for other in chosen)
        if repeated or (chosen and count + length > MAX_WORDS[kind]):
            continue
        chosen.append(item.sentence)
        count += length
    articles = list(dict.fromkeys(excerpt.article for excerpt in chosen))
    return sorted(chosen, key=lambda excerpt: (articles.index(excerpt.article), excerpt.start))


def in_order_of_time(excerpts: Sequence[Excerpt]) -> list[Excerpt]:
    """Return the excerpts in the order of their articles' dates; those without a date come first."""
    return sorted(excerpts, key=lambda excerpt: excerpt.date or "")


def passage_with(sentence: Excerpt, hits: Sequence[Hit]) -> Excerpt:
    """Return the passage that contains a sentence; the sentence itself if none of the hits does."""
    passages = (hit.passage for hit in hits if hit.passage.article == sentence.article)
    return next(
        (p for p in passages if p.start <= sentence.start and sentence.end <= p.end), sentence
    )
