"""History + question → a question that stands alone."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence, Set
from enum import Enum
from heapq import nlargest
from math import log

from rag.datatypes import Message, StandaloneQuestion
from rag.language import LEANING, Rarity, stem, terms, word_places, words

_MARKER = re.compile(r"\[\d+\]")

FEW = 1
"""Meaning words up to which a question cannot stand alone: "And why?"."""

ABOUT = 3
"""Words of the conversation that a question is taken to be about."""

TURNS, CHARACTERS = 8, 1000
"""How many turns a conversation is looked back over, and how much of each is read."""

MOST_CHARACTERS = 300
"""Of a question as a generator has worded it."""

FADING = 0.64
"""What the words of a turn weigh against those of two turns later."""

ASKED = 2.0
"""What a word weighs that the user said, against one of an answer."""


class Talk(Enum):
    """What is said to the chat itself rather than asked of the articles."""

    THANKS = re.compile(
        r"(?:many |ok |great )*(?:thanks?(?: you)?|thx|danke|great|ok|okay)(?: .{0,20})?"
    )
    GREETING = re.compile(r"(?:hi|hello|hey|good (?:morning|afternoon|evening)|hallo)(?: there)?")
    FAREWELL = re.compile(r"(?:good )?bye(?: bye)?|see you(?: later)?")
    ABOUT_IT = re.compile(
        r"(?:who|what) are you|help|what (?:can|do) you (?:do|answer|know)(?: about)?"
        r"|what can (?:i|you) ask(?: you)?|how (?:do|can) (?:you work|i use (?:you|this))"
        r"|what is this|what is footnote"
    )


def talk(said: str) -> Talk | None:
    """What kind of talk that is; None when it asks for something that articles may hold."""
    plain = " ".join(words(said))
    return next((kind for kind in Talk if kind.value.fullmatch(plain)), None)


def standalone(question: str, history: Sequence[Message], rarity: Rarity) -> StandaloneQuestion:
    """The question with what the conversation was about, where it goes on with that.

    It does when it leans on what was said ("And when does it expire?") or shares a word with it;
    a new subject is left as it is.
    """
    turns = [_read(turn) for turn in reversed(history[-TURNS:])]
    if not _goes_on(question, turns):
        return StandaloneQuestion(question)
    telling = _telling(question, turns, rarity)
    return StandaloneQuestion(question, tuple(_as_said(telling, turns)))


def rewritten(
    question: StandaloneQuestion, draft: str, history: Sequence[Message]
) -> StandaloneQuestion:
    """The question as a generator has worded it, if it brings in nothing that was not spoken of."""
    wording = " ".join(draft.split())
    said = " ".join([question.asked, *(turn["content"] for turn in history)])
    meant = set(terms(wording))
    if not meant or len(wording) > MOST_CHARACTERS or not meant <= set(terms(said)):
        return question
    return StandaloneQuestion(wording)


def _read(turn: Message) -> Message:
    return Message(role=turn["role"], content=_MARKER.sub("", turn["content"][:CHARACTERS]))


def _goes_on(question: str, turns: Sequence[Message]) -> bool:
    meant = set(terms(question))
    told = {term for turn in turns for term in terms(turn["content"])}
    leans = not LEANING.isdisjoint(words(question)) or len(meant) <= FEW
    return bool(told) and (leans or not meant.isdisjoint(told))


def _telling(question: str, turns: Sequence[Message], rarity: Rarity) -> list[str]:
    """The stems that tell most of what was spoken of and that the question does not name."""
    counted = [Counter(terms(turn["content"])) for turn in turns]
    rare = rarity({term for counts in counted for term in counts})
    named = set(terms(question))
    weights: dict[str, float] = defaultdict(float)
    for ago, (turn, counts) in enumerate(zip(turns, counted, strict=True)):
        heard = FADING ** ((ago + 1) // 2) * (ASKED if turn["role"] == "user" else 1.0)
        for term, count in counts.items():
            if term not in named and (len(term) > 1 or not term.isascii()):
                weights[term] += heard * (1 + log(count)) * rare[term]
    return nlargest(ABOUT, weights, key=weights.__getitem__)


def _as_said(telling: Sequence[str], turns: Sequence[Message]) -> list[str]:
    """The telling stems as they were last said, neighbours together: "Amara Lind"."""
    said: dict[str, int] = {}
    left = set(telling)
    for turn in turns:
        for run in _runs(turn["content"], set(telling)):
            stems = [stem(word) for word in words(run)]
            if not left.isdisjoint(stems):
                said[run] = min(telling.index(known) for known in stems)
                left.difference_update(stems)
    return sorted(said, key=lambda run: said[run])


def _runs(text: str, stems: Set[str]) -> Iterator[str]:
    """The parts of a text that hold nothing but words of these stems."""
    begin = end = 0
    for start, stop in word_places(text):
        if stem(text[start:stop].lower()) not in stems:
            continue
        if end and not text[end:start].strip():
            end = stop
            continue
        if end:
            yield text[begin:end]
        begin, end = start, stop
    if end:
        yield text[begin:end]
