"""What was asked and answered, as the page holds it, and as the reader's browser keeps it.

A browser keeps no text of an article but the quotes: everything else is read again from the index, so
that what has left the articles has left the page as well.
"""

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rag.datatypes import Answer, Article, Citation, Excerpt, Hit, Message, Stage

MOST_KEPT = 50
"""Conversations that a browser keeps; the oldest go."""

MOST_TURNS = 200
"""Of a conversation, that are kept."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and how far its answer has come. `note` stands in for an answer."""

    question: str
    answer: Answer | None = None
    note: str = ""
    over: bool = False

    @property
    def answered(self) -> bool:
        return self.answer is not None and self.answer.stage is Stage.DONE


Turns = tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns, oldest first; `changed` is when the last came, in seconds since 1970.

    It gets its id with the first question. One that a browser had kept gets another when it goes on, in
    place of the one that it `replaces`: it may go on in another tab as well.
    """

    id: str = ""
    replaces: str = ""
    is_kept: bool = False
    turns: Turns = field(default=(), kw_only=True)
    changed: float = field(default=0.0, kw_only=True)

    @property
    def title(self) -> str:
        return self.turns[0].question if self.turns else ""

    @property
    def busy(self) -> bool:
        return bool(self.turns) and not self.turns[-1].over

    def asked(self, question: str) -> "Conversation":
        """With one more question; as it was when that is empty or comes too early."""
        if self.busy or not question.strip():
            return self
        begun = self
        if self.is_kept or not self.id:
            begun = replace(self, id=secrets.token_hex(8), replaces=self.id, is_kept=False)
        return begun.with_turns((*self.turns, Turn(question.strip())))

    def with_turns(self, turns: Turns) -> "Conversation":
        return replace(self, turns=turns, changed=time.time())

    def with_last(self, turn: Turn) -> "Conversation":
        return self.with_turns((*self.turns[:-1], turn))

    def ended(self, note: str) -> "Conversation":
        """With its last question closed, if it was still open."""
        return self.with_last(replace(self.turns[-1], note=note, over=True)) if self.busy else self

    def up_to(self, turn: int) -> "Conversation":
        """Only the turns before that one, counted from 0."""
        return self.with_turns(self.turns[:turn])

    def history(self) -> list[Message]:
        """What was asked and answered, for the chatbot."""
        history: list[Message] = []
        for turn in self.turns:
            if turn.answer is not None and turn.answered:
                history.append({"role": "user", "content": turn.question})
                history.append({"role": "assistant", "content": turn.answer.text})
        return history


@dataclass(frozen=True, slots=True)
class Conversations:
    """The one that is shown, and all others of the same reader."""

    shown: Conversation = field(default_factory=Conversation)
    others: tuple[Conversation, ...] = ()

    @property
    def all(self) -> list[Conversation]:
        """Those in which something was asked, the newest first."""
        begun = (talk for talk in (self.shown, *self.others) if talk.turns)
        return sorted(begun, key=lambda talk: -talk.changed)[:MOST_KEPT]

    def showing(self, now: Conversation) -> "Conversations":
        return replace(self, shown=now)

    def opened(self, id: str) -> "Conversations":
        """With another one shown; with a new one when there is none of that id."""
        found = next((talk for talk in self.others if talk.id == id), Conversation())
        rest = tuple(talk for talk in self.all if talk.id != found.id)
        return Conversations(found, rest)

    def without(self, id: str) -> "Conversations":
        rest = tuple(talk for talk in self.others if talk.id != id)
        return Conversations(Conversation() if self.shown.id == id else self.shown, rest)

    def joined(self, others: Iterable[Conversation]) -> "Conversations":
        """With conversations from elsewhere; of two of the same id, the newer."""
        newest = {talk.id: talk for talk in self.others}
        for talk in others:
            if talk.id not in newest or newest[talk.id].changed < talk.changed:
                newest[talk.id] = talk
        newest.pop(self.shown.id, None)
        return replace(self, others=tuple(newest.values()))


# -- as a browser keeps them

Find = Callable[[str], Article | None]
"""An article's id → the article."""

_ANSWER = TypeAdapter(Answer)


def to_keep(talk: Conversation) -> dict[str, Any]:
    """As JSON, without any text that the articles still hold."""
    turns = [
        {"question": turn.question, "note": turn.note}
        | ({"answer": _bare(turn.answer)} if turn.answer and turn.answered else {})
        for turn in talk.turns[-MOST_TURNS:]
        if turn.over
    ]
    return {"id": talk.id, "changed": talk.changed, "turns": turns}


def kept(stored: Any, find: Find, gone: str) -> list[Conversation]:
    """The conversations of what a browser had kept; what is none is passed over.

    An answer whose quotes no longer stand in the articles has the note `gone` in its place.
    """
    found = []
    for talk in stored if isinstance(stored, list) else []:
        try:
            turns = tuple(_turn(turn, find, gone) for turn in talk["turns"])
            changed = float(talk["changed"])
            found.append(Conversation(str(talk["id"]), turns=turns, changed=changed, is_kept=True))
        except (KeyError, TypeError, ValueError):
            continue
    return found


def _turn(stored: Any, find: Find, gone: str) -> Turn:
    turn = Turn(str(stored["question"]), note=str(stored["note"]), over=True)
    if "answer" not in stored:
        return turn
    try:
        answer = _ANSWER.validate_python(stored["answer"])
    except ValidationError:
        return turn
    whole = _whole(answer, find)
    return replace(turn, note=gone) if whole is None else replace(turn, answer=whole)


def _bare(answer: Answer) -> Any:
    hits = tuple(replace(hit, passage=_place(hit.passage)) for hit in answer.hits)
    citations = tuple(
        replace(c, quote=replace(_place(c.quote), text=c.quote.text)) for c in answer.citations
    )
    bare = replace(answer, hits=hits, citations=citations, draft="", thought="")
    return _ANSWER.dump_python(bare, mode="json", exclude_defaults=True)


def _place(excerpt: Excerpt) -> Excerpt:
    return Excerpt(excerpt.article_id, "", excerpt.start, excerpt.end, "")


def _whole(answer: Answer, find: Find) -> Answer | None:
    """The answer with the articles' texts; None when a quote no longer stands where it stood."""
    citations = []
    for citation in answer.citations:
        quote = _read(citation.quote, find)
        if quote is None or quote.text != citation.quote.text:
            return None
        citations.append(Citation(citation.marker, quote))
    passages = ((hit, _read(hit.passage, find)) for hit in answer.hits)
    hits = tuple(Hit(hit.rank, hit.score, passage) for hit, passage in passages if passage)
    return replace(answer, hits=hits, citations=tuple(citations))


def _read(place: Excerpt, find: Find) -> Excerpt | None:
    article = find(place.article_id)
    if article is None or not 0 <= place.start < place.end <= len(article.text):
        return None
    return Excerpt(
        *(article.id, article.title, place.start, place.end, article.text[place.start : place.end]),
        *(article.date, article.source, article.url, article.pages),
    )
