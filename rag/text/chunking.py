"""Chunking: articles are split into passages of whole sentences that fit the encoder's input.

What is encoded with a passage (its article's heading) and the key of its vector are defined here too.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from rag.text.dates import dates
from rag.text.sentences import sentences, trim
from rag.types import Article, Passage

CountTokens = Callable[[Sequence[str]], Sequence[int]]
"""Returns the number of tokens that the encoder makes of each text."""


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    tokens: int


def full_heading(title: str, date: str | None) -> str:
    """Return the heading that is encoded in front of every passage of an article."""
    return f"{title} ({date})" if date else title


def searchable_metadata(title: str, date: str | None, source: str | None) -> str:
    """Return the metadata that the lexical index stores with every passage of an article.

    Returns:
        The heading, the normalised date and the source, one per line.
    """
    lines = [full_heading(title, date), *dates(date or ""), source]
    return "\n".join(line for line in lines if line)


def short_heading(title: str, date: str | None, count_tokens: CountTokens, max_tokens: int) -> str:
    """Return the heading, cut to at most half of the encoder's input; the text follows it."""
    heading = full_heading(title, date)
    while count_tokens([heading])[0] > max_tokens // 2:
        heading = heading[: len(heading) // 2]
    return heading


def heading_formatter(
    count_tokens: CountTokens, max_tokens: int
) -> Callable[[str, str | None], str]:
    """Return a cached version of `short_heading` that takes only a title and a date."""

    @lru_cache(maxsize=1024)
    def heading(title: str, date: str | None) -> str:
        return short_heading(title, date, count_tokens, max_tokens)

    return heading


def encoded_text(heading: str, text: str) -> str:
    """Return what the encoder reads of a passage: the short heading of its article, then its text."""
    return f"{heading}\n{text}"


def vector_key(heading: str, text: str) -> bytes:
    """Return the key of a passage's vector: a hash of 16 bytes of the encoded text."""
    return sha256(encoded_text(heading, text).encode()).digest()[:16]


def split(article: Article, count_tokens: CountTokens, max_tokens: int) -> Iterator[Passage]:
    """Split an article into passages of whole sentences.

    A sentence that does not fit is split further. A passage starts with the last sentence of the one
    before if `overlaps` says so. Every character that is not white space is part of a passage.

    Args:
        article: The article to split.
        count_tokens: The encoder's token counter.
        max_tokens: The most tokens of a passage, with the heading that is encoded in front of it.

    Yields:
        The passages, in the order of the text.
    """
    heading = short_heading(article.title, article.date, count_tokens, max_tokens)
    budget = max_tokens - count_tokens([heading])[0]
    passage: list[_Span] = []
    for span in _sentence_spans(article.text, count_tokens, budget):
        if passage and sum(part.tokens for part in passage) + span.tokens > budget:
            yield Passage(passage[0].start, passage[-1].end)
            last = passage[-1]
            is_shared = len(passage) > 1 and overlaps(last.tokens, span.tokens, budget)
            passage = [last] if is_shared else []
        passage.append(span)
    if passage:
        yield Passage(passage[0].start, passage[-1].end)


def overlaps(last_tokens: int, next_tokens: int, budget: int) -> bool:
    """Return whether neighbouring passages share the last sentence of the first one.

    Args:
        last_tokens: Length of that sentence.
        next_tokens: Length of the sentence that follows it.
        budget: The most tokens of a passage without its heading.
    """
    return last_tokens <= budget // 3 and last_tokens + next_tokens <= budget


def _sentence_spans(text: str, count_tokens: CountTokens, budget: int) -> Iterator[_Span]:
    """Yield the sentences of a text, with those longer than the budget split into pieces that fit."""
    spans = list(sentences(text))
    counts = count_tokens([text[start:end] for start, end in spans])
    for (start, end), tokens in zip(spans, counts, strict=True):
        if tokens <= budget:
            yield _Span(start, end, tokens)
        else:
            yield from _halved(text, start, end, count_tokens, budget)


def _halved(
    text: str, start: int, end: int, count_tokens: CountTokens, budget: int
) -> Iterator[_Span]:
    """Yield `text[start:end]` halved, at white space where possible, until every piece fits."""
    start, end = trim(text, start, end)
    tokens = count_tokens([text[start:end]])[0]
    if tokens <= budget or end - start < 2:
        if start < end:
            yield _Span(start, end, min(tokens, budget))
        return
    middle = (start + end) // 2
    space = text.rfind(" ", start + 1, middle)
    cut = space if space > start else middle
    yield from _halved(text, start, cut, count_tokens, budget)
    yield from _halved(text, cut, end, count_tokens, budget)
