"""Question + Hits → Evidence: the sentences that bear on it, and how surely each answers it.

Question and sentence are compared token by token, each token as its surroundings make it ("late
interaction": Khattab and Zaharia 2020, "ColBERT"), with the vectors that the encoder has anyway. The
weights were fitted to one question set; docs/measurements.md says what each part gives.
"""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from math import exp

import numpy as np
from numpy.typing import NDArray

from rag.datatypes import Evidence, Excerpt, Hit, StandaloneQuestion
from rag.encoder import Encoder, TokenVectors
from rag.language import (
    ASKING,
    LEANING,
    NUMERALS,
    Day,
    Rarity,
    dates,
    days,
    sentences,
    terms,
    words,
)
from rag.passages import encoded_text, headings

# What makes a sentence answer, and how much each counts.
_NEAREST_TOKENS = 21.1
_WHOLE = 4.2
_WORDS_AROUND = 6.3
_PAIRS = 2.5
_KIND = 0.94
_NOTHING = -18.8
"""What a sentence must outweigh to be an answer more likely than not."""

_SOFTENED = 0.6
"""Of the weights, which were fitted to put sentences in order, as a measure of certainty."""

ABOUT_AS_GOOD = 0.4
"""Of the best sentence's odds, from which on the second best is worth quoting with it."""

MOST_QUOTED_WORDS = 60
"""Of two quotations together."""

REPEATED = 4
"""Words of a question from which on a sentence that holds them in a row is taken to ask it."""

OPPOSED = 0.3
"""Distance in score up to which another article's figure or date stands against the best one's."""


class Wanted(Enum):
    """What kind of thing a question asks for."""

    DATE = re.compile(
        r"\b(?:when|(?:what|which) (?:year|date|day|month|time|century|decade))\b", re.IGNORECASE
    )
    NUMBER = re.compile(
        r"\bhow (?:many|much|long|old|far|tall|high|large|big|often|fast|deep)\b"
        r"|\bwhat (?:percentage|percent|number|amount|share)\b",
        re.IGNORECASE,
    )
    NAME = re.compile(
        r"\b(?:who|whom|whose|where)\b"
        r"|\b(?:what|which) (?:city|country|place|state|region|town|river|company|person)\b",
        re.IGNORECASE,
    )

    @classmethod
    def of(cls, question: str) -> "Wanted | None":
        """The first kind that the question asks for; None when it may be anything."""
        return next((kind for kind in cls if kind.value.search(question)), None)

    def told(self, sentence: str, question: str) -> bool:
        """Whether the sentence holds such a thing that the question does not name itself."""
        return not _things(self, sentence) <= set(words(question))


@dataclass(frozen=True, slots=True)
class _Place:
    """A sentence of a hit, its terms, and with them those of its title and the sentences beside it."""

    sentence: Excerpt
    start: int
    terms: list[str]
    around: set[str]
    leans_on: Excerpt | None


def weigh(
    question: StandaloneQuestion, hits: Sequence[Hit], encoder: Encoder, rarity: Rarity
) -> list[Evidence]:
    """The sentences of the hits, those first that answer most surely.

    Asked for the latest, the newest of what is about as sure comes first; asked for how it was as of a
    date, or before it, what was written later is left out.
    """
    if not hits:
        return []
    asked = f"{question.asked} {question.about_text}".strip()
    heading = headings(encoder.count_tokens, encoder.max_tokens)
    above = [heading(hit.passage.title, hit.passage.date) for hit in hits]
    texts = [encoded_text(head, hit.passage.text) for head, hit in zip(above, hits, strict=True)]
    sought, *read = encoder.encode_tokens([asked, *texts])
    weights = _Weights(asked, sought, rarity(terms(asked)))
    found: dict[tuple[str, int], Evidence] = {}
    for hit, head, tokens in zip(hits, above, read, strict=True):
        for place in _places(hit.passage):
            if _repeats(place.sentence.text, question.asked):
                continue
            score = weights.score(place, tokens, len(encoded_text(head, "")))
            evidence = Evidence(score, place.sentence, place.leans_on)
            key = (place.sentence.article_id, place.sentence.start)
            if key not in found or found[key].score < evidence.score:
                found[key] = evidence
    return _timely(question.asked, sorted(found.values(), key=lambda evidence: -evidence.score))


def _repeats(sentence: str, question: str) -> bool:
    """Whether a sentence puts the question itself, as it stands: that answers nothing.

    What comes beside it there may have been written to be taken for the answer.
    """
    asked = words(question)
    if len(asked) < REPEATED or asked[0] not in ASKING:
        return False
    return f" {' '.join(asked)} " in f" {' '.join(words(sentence))} "


def _timely(question: str, evidence: Sequence[Evidence]) -> list[Evidence]:
    limit = _LIMIT.search(question)
    if limit:
        last = _day(question[limit.end() :])
        evidence = [found for found in evidence if not _is_after(found.sentence.date, last)]
    if not evidence or not _LATEST.search(question):
        return list(evidence)
    sure = [found for found in evidence if found.score >= evidence[0].score - OPPOSED]
    newest = max(sure, key=lambda found: _day(found.sentence.date or "") or Day(0, 0, 0))
    return [newest, *(found for found in evidence if found is not newest)]


def _day(text: str) -> Day | None:
    """The first date that a text tells, or else the first year."""
    year = _YEAR.search(text)
    return next(iter(days(text)), Day(int(year[0]), 0, 0) if year else None)


def _is_after(date: str | None, limit: Day | None) -> bool:
    day = _day(date or "")
    if day is None or limit is None:
        return False
    told = sum(part > 0 for part in limit)  # "as of 2016" takes in all of 2016
    return day[:told] > limit[:told]


def worth_quoting(question: StandaloneQuestion, evidence: Sequence[Evidence]) -> list[Evidence]:
    """The best of some evidence, and one more when it says another thing and is about as good.

    Where another article gives another date or figure, the two are told side by side, newest first.
    """
    best, *others = evidence
    against = next((other for other in others if opposed(question.asked, best, other)), None)
    if against:
        return sorted([best, against], key=lambda found: found.sentence.date or "", reverse=True)
    said = words(best.sentence.text)
    other = next((found for found in others if words(found.sentence.text) != said), None)
    if other is None or _odds(other.score) < ABOUT_AS_GOOD * _odds(best.score):
        return [best]
    length = len(said) + len(words(other.sentence.text))
    return [best, other] if length <= MOST_QUOTED_WORDS else [best]


def _odds(score: float) -> float:
    return score / max(1e-9, 1 - score)


def opposed(question: str, best: Evidence, other: Evidence) -> bool:
    """Whether two articles give what is asked for, a date or a number, and not the same one."""
    kind = Wanted.of(question)
    if kind not in (Wanted.DATE, Wanted.NUMBER) or other.score < best.score - OPPOSED:
        return False
    if best.sentence.article_id == other.sentence.article_id:
        return False
    named = set(words(question))
    one, two = (_things(kind, found.sentence.text) - named for found in (best, other))
    same_story = _alike(best.sentence.text, other.sentence.text)
    return bool(one and two) and one.isdisjoint(two) and same_story


def _alike(one: str, two: str) -> bool:
    """Whether two sentences are about the same: half the meaning words of the shorter are shared."""
    first, second = set(terms(one)), set(terms(two))
    return 2 * len(first & second) >= min(len(first), len(second))


class _Weights:
    """What sentences are weighed by, for one question."""

    def __init__(self, asked: str, tokens: TokenVectors, rarity: Mapping[str, float]) -> None:
        self._asked = asked
        self._tokens = tokens.vectors
        self._whole = _mean(tokens.vectors)
        self._rarity = rarity
        self._pairs = set(pairwise(terms(asked)))
        self._wanted = Wanted.of(asked)

    def score(self, place: _Place, tokens: TokenVectors, shift: int) -> float:
        """How surely the sentence answers, 0 to 1; its passage's text begins at `shift`."""
        text = place.sentence.text
        vectors = tokens.within(shift + place.start, shift + place.start + len(text))
        if not len(vectors) or not len(self._tokens):
            return 0.0
        weight = (
            _NEAREST_TOKENS * float((self._tokens @ vectors.T).max(axis=1).mean())
            + _WHOLE * float(self._whole @ _mean(vectors))
            + _WORDS_AROUND * _share(self._rarity, place.around)
            + _PAIRS * len(self._pairs & set(pairwise(place.terms))) / max(1, len(self._pairs))
            + _KIND * self._fitting(text)
            + _NOTHING
        )
        return 1 / (1 + exp(-_SOFTENED * weight))

    def _fitting(self, text: str) -> float:
        return 0.5 if self._wanted is None else float(self._wanted.told(text, self._asked))


def _mean(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of length 1."""
    mean = vectors.sum(axis=0)
    scaled: NDArray[np.float32] = mean / max(float(np.linalg.norm(mean)), 1e-9)
    return scaled


def _things(kind: Wanted, text: str) -> set[str]:
    """The words of a text that are dates, numbers or names."""
    said = words(text)
    match kind:
        case Wanted.DATE:
            years = {word for word in said if len(word) == 4 and word.isdigit()}
            return years.union(*(words(date) for date in dates(text)), _months(text))
        case Wanted.NUMBER:
            return {word for word in said if word[0].isdigit() or word in NUMERALS}
        case Wanted.NAME:
            return {word.lower() for word in _NAMED.findall(text)}


_LATEST = re.compile(r"\b(?:latest|newest|most recent(?:ly)?|current(?:ly)?)\b", re.IGNORECASE)
_LIMIT = re.compile(r"\b(?:as of|before|until|up to) (?=(?:\w+ ){0,2}\d)", re.IGNORECASE)
_YEAR = re.compile(r"\b(?:1\d|20)\d\d\b")
_NAMED = re.compile(r"(?<=[\w,;:’'\"“)] )[A-Z][\w’'-]+")
_MONTH = re.compile(
    r"\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\b"
)


def _months(text: str) -> set[str]:
    return {month.lower() for month in _MONTH.findall(text)}


def _places(passage: Excerpt) -> Iterator[_Place]:
    spans = list(sentences(passage.text))
    texts = ["", *(passage.text[start:end] for start, end in spans), ""]
    title, said = terms(passage.title), [terms(text) for text in texts]
    for number, (start, _) in enumerate(spans, start=1):
        text = texts[number]
        also = tuple(
            _part(twin, at, text) for twin in passage.also if (at := twin.text.find(text)) >= 0
        )
        around = set().union(title, *said[number - 1 : number + 2])
        leans = number > 1 and not LEANING.isdisjoint(words(text)[:2])
        before = _part(passage, spans[number - 2][0], texts[number - 1]) if leans else None
        yield _Place(
            replace(_part(passage, start, text), also=also), start, said[number], around, before
        )


def _part(passage: Excerpt, start: int, text: str) -> Excerpt:
    start += passage.start
    return replace(passage, start=start, end=start + len(text), text=text)


def _share(rarity: Mapping[str, float], held: Set[str]) -> float:
    """The share of the question's words, weighted by their rarity, that stand among `held`."""
    total = sum(rarity.values())
    return sum(rarity[term] for term in rarity.keys() & held) / total if total else 0.0
