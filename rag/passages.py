"""Article → Passages: runs of whole sentences as long as the encoder takes in, offsets kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from rag.datatypes import Article, Passage
from rag.language import dates, sentences, trim

CountTokens = Callable[[Sequence[str]], Sequence[int]]
"""Texts → how many tokens the encoder makes of each."""


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    tokens: int


def heading(title: str, date: str | None) -> str:
    """What is encoded in front of every passage of an article."""
    return f"{title} ({date})" if date else title


def words_about(title: str, date: str | None, source: str | None) -> str:
    """What is searched for words with every passage of an article: its heading, date and source."""
    about = [heading(title, date), *dates(date or ""), source]
    return "\n".join(part for part in about if part)


def short_heading(title: str, date: str | None, count_tokens: CountTokens, max_tokens: int) -> str:
    """The heading, cut to at most half of what the encoder takes in: the text comes after it."""
    short = heading(title, date)
    while count_tokens([short])[0] > max_tokens // 2:
        short = short[: len(short) // 2]
    return short


def headings(count_tokens: CountTokens, max_tokens: int) -> Callable[[str, str | None], str]:
    """Title and date → their short heading; those last asked for are remembered."""

    @lru_cache(maxsize=1024)
    def heading(title: str, date: str | None) -> str:
        return short_heading(title, date, count_tokens, max_tokens)

    return heading


def vector_key(heading: str, text: str) -> bytes:
    """What the vector of a passage is found by: a hash of what is encoded."""
    return sha256(encoded_text(heading, text).encode()).digest()[:16]


def encoded_text(heading: str, text: str) -> str:
    """What the encoder sees of a passage: its article's (short) heading, then its text."""
    return f"{heading}\n{text}"


def split(article: Article, count_tokens: CountTokens, max_tokens: int) -> Iterator[Passage]:
    """Cut an article into passages of at most `max_tokens` tokens each, heading included.

    Neighbours share a sentence where it is at most a third of a passage. Every character that is
    not white space stands in some passage.
    """
    above = short_heading(article.title, article.date, count_tokens, max_tokens)
    budget = max_tokens - count_tokens([above])[0]
    run: list[_Span] = []
    for span in _spans(article.text, count_tokens, budget):
        if run and sum(part.tokens for part in run) + span.tokens > budget:
            yield Passage(run[0].start, run[-1].end)
            last = run[-1]
            run = [last] if len(run) > 1 and sharing(last.tokens, span.tokens, budget) else []
        run.append(span)
    if run:
        yield Passage(run[0].start, run[-1].end)


def sharing(last: int, following: int, budget: int) -> bool:
    """Whether a passage opens with the last sentence of the one before; lengths in tokens."""
    return last <= budget // 3 and last + following <= budget


def _spans(text: str, count_tokens: CountTokens, budget: int) -> Iterator[_Span]:
    """The sentences of a text; one longer than the budget comes in pieces that fit."""
    places = list(sentences(text))
    counts = count_tokens([text[start:end] for start, end in places])
    for (start, end), tokens in zip(places, counts, strict=True):
        if tokens <= budget:
            yield _Span(start, end, tokens)
        else:
            yield from _pieces(text, start, end, count_tokens, budget)


def _pieces(
    text: str, start: int, end: int, count_tokens: CountTokens, budget: int
) -> Iterator[_Span]:
    """text[start:end] halved, at white space where there is some, until every piece fits."""
    start, end = trim(text, start, end)
    tokens = count_tokens([text[start:end]])[0]
    if tokens <= budget or end - start < 2:
        if start < end:
            yield _Span(start, end, min(tokens, budget))
        return
    middle = (start + end) // 2
    space = text.rfind(" ", start + 1, middle)
    cut = space if space > start else middle
    yield from _pieces(text, start, cut, count_tokens, budget)
    yield from _pieces(text, cut, end, count_tokens, budget)
