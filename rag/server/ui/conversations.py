"""Conversations as the page holds them, and as the reader's browser stores them.

A browser stores quotes, but no other text of an article: passages are read from the index again when a
conversation is restored, so that what was removed from the index is no longer shown either.
"""

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rag.types import Answer, Article, ArticleRef, Citation, Excerpt, Hit, Message, Mode, Stage

MAX_STORED = 50
"""Number of conversations that a browser stores; the oldest are dropped."""

MAX_STORED_TURNS = 200
"""Number of turns that are stored of each conversation; the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer, as far as it has come.

    `note` is shown when there is no complete answer. `done` is true once nothing more will come.
    """

    question: str
    answer: Answer | None = None
    note: str = ""
    done: bool = False

    @property
    def answered(self) -> bool:
        return self.answer is not None and self.answer.stage is Stage.DONE


Turns = tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A sequence of turns, oldest first.

    It gets its `id` with the first question. A conversation restored from the browser (`is_stored`) gets
    a new id when it is continued, because it may be continued in another tab as well; `replaces` is then
    the id that it had.
    """

    id: str = ""
    replaces: str = ""
    is_stored: bool = False
    turns: Turns = field(default=(), kw_only=True)
    changed_at: float = field(default=0.0, kw_only=True)
    """Time of the last change, in seconds since 1970."""

    @property
    def title(self) -> str:
        return self.turns[0].question if self.turns else ""

    @property
    def busy(self) -> bool:
        """Whether the last question is still being answered."""
        return bool(self.turns) and not self.turns[-1].done

    def with_question(self, question: str) -> "Conversation":
        """Return the conversation with another question; itself if that is empty or it is busy."""
        if self.busy or not question.strip():
            return self
        conversation = self
        if self.is_stored or not self.id:
            conversation = replace(self, id=secrets.token_hex(8), replaces=self.id, is_stored=False)
        return conversation.with_turns((*self.turns, Turn(question.strip())))

    def with_turns(self, turns: Turns) -> "Conversation":
        return replace(self, turns=turns, changed_at=time.time())

    def with_last_turn(self, turn: Turn) -> "Conversation":
        """Return the conversation with its last turn replaced."""
        return self.with_turns((*self.turns[:-1], turn))

    def with_last_closed(self, note: str) -> "Conversation":
        """Return the conversation with its last turn closed, if that was still open."""
        return (
            self.with_last_turn(replace(self.turns[-1], note=note, done=True))
            if self.busy
            else self
        )

    def up_to(self, turn: int) -> "Conversation":
        """Return the conversation before the turn of that index."""
        return self.with_turns(self.turns[:turn])

    def history(self) -> list[Message]:
        """Return the answered questions and their answers as messages, oldest first.

        A refusal is not among them: it says nothing about the subject of the conversation.
        """
        history: list[Message] = []
        for turn in self.turns:
            if turn.answer is not None and turn.answered:
                history.append({"role": "user", "content": turn.question})
                if turn.answer.mode is not Mode.REFUSED:
                    history.append({"role": "assistant", "content": turn.answer.text})
        return history


@dataclass(frozen=True, slots=True)
class Conversations:
    """The conversation that is shown, and all others of the same reader."""

    current: Conversation = field(default_factory=Conversation)
    others: tuple[Conversation, ...] = ()

    @property
    def all(self) -> list[Conversation]:
        """All conversations with at least one question, newest first."""
        nonempty = (each for each in (self.current, *self.others) if each.turns)
        return sorted(nonempty, key=lambda each: -each.changed_at)[:MAX_STORED]

    def with_current(self, conversation: Conversation) -> "Conversations":
        """Return these with the current conversation replaced."""
        return replace(self, current=conversation)

    def with_opened(self, id: str) -> "Conversations":
        """Return these with another conversation shown; a new one when none has that id."""
        opened = next((each for each in self.others if each.id == id), Conversation())
        others = tuple(each for each in self.all if each.id != opened.id)
        return Conversations(opened, others)

    def without(self, id: str) -> "Conversations":
        """Return these without the conversation of that id."""
        others = tuple(each for each in self.others if each.id != id)
        current = Conversation() if self.current.id == id else self.current
        return Conversations(current, others)

    def merged_with(self, others: Iterable[Conversation]) -> "Conversations":
        """Return these with more conversations; of two with the same id, the newer is kept."""
        newest = {each.id: each for each in self.others}
        for other in others:
            if other.id not in newest or newest[other.id].changed_at < other.changed_at:
                newest[other.id] = other
        newest.pop(self.current.id, None)
        return replace(self, others=tuple(newest.values()))


# -- as a browser stores them

FindArticle = Callable[[ArticleRef], Article | None]
"""Reads an article; returns None when there is none."""

_ANSWER = TypeAdapter(Answer)


def to_stored(conversation: Conversation) -> dict[str, Any]:
    """Return the conversation as JSON values, with no text of the articles but the quotes."""
    turns = [_turn_to_stored(turn) for turn in conversation.turns[-MAX_STORED_TURNS:] if turn.done]
    return {"id": conversation.id, "changed": conversation.changed_at, "turns": turns}


def restore_conversations(
    stored: Any, find_article: FindArticle, outdated_note: str
) -> list[Conversation]:
    """Return the conversations that a browser has stored.

    Args:
        stored: list of conversations as `to_stored` returns them; malformed ones are skipped
        find_article: reads an article from the index
        outdated_note: note shown instead of an answer whose quotes the articles no longer contain
    """
    conversations = []
    for each in stored if isinstance(stored, list) else []:
        try:
            turns = tuple(
                _restore_turn(turn, find_article, outdated_note) for turn in each["turns"]
            )
            changed_at = float(each["changed"])
            conversations.append(
                Conversation(str(each["id"]), turns=turns, changed_at=changed_at, is_stored=True)
            )
        except (KeyError, TypeError, ValueError):
            continue
    return conversations


def _turn_to_stored(turn: Turn) -> dict[str, Any]:
    stored: dict[str, Any] = {"question": turn.question, "note": turn.note}
    if turn.answer is not None and turn.answered:
        stored["answer"] = _answer_to_stored(turn.answer)
    return stored


def _answer_to_stored(answer: Answer) -> Any:
    hits = tuple(replace(hit, passage=_position_only(hit.passage)) for hit in answer.hits)
    citations = tuple(
        replace(each, quote=replace(_position_only(each.quote), text=each.quote.text))
        for each in answer.citations
    )
    stripped = replace(answer, hits=hits, citations=citations, draft="", thought="")
    return _ANSWER.dump_python(stripped, mode="json", exclude_defaults=True, by_alias=True)


def _position_only(excerpt: Excerpt) -> Excerpt:
    return Excerpt(excerpt.article_id, "", excerpt.start, excerpt.end, "", origin=excerpt.origin)


def _restore_turn(stored: Any, find_article: FindArticle, outdated_note: str) -> Turn:
    turn = Turn(str(stored["question"]), note=str(stored["note"]), done=True)
    if "answer" not in stored:
        return turn
    try:
        stored_answer = _ANSWER.validate_python(stored["answer"])
    except ValidationError:
        return turn
    if "text" in stored["answer"]:  # an earlier version stored texts instead of codes
        return turn
    answer = _restore_answer(stored_answer, find_article)
    return replace(turn, note=outdated_note) if answer is None else replace(turn, answer=answer)


def _restore_answer(answer: Answer, find_article: FindArticle) -> Answer | None:
    """Return the answer with the text of its passages; None when a quote is no longer in its place."""
    citations = []
    for citation in answer.citations:
        quote = _read_excerpt(citation.quote, find_article)
        if quote is None or quote.text != citation.quote.text:
            return None
        citations.append(Citation(citation.marker, quote))
    passages = ((hit, _read_excerpt(hit.passage, find_article)) for hit in answer.hits)
    hits = tuple(Hit(hit.rank, hit.score, passage) for hit, passage in passages if passage)
    return replace(answer, hits=hits, citations=tuple(citations))


def _read_excerpt(position: Excerpt, find_article: FindArticle) -> Excerpt | None:
    article = find_article(position.article)
    if article is None or not 0 <= position.start < position.end <= len(article.text):
        return None
    return Excerpt(
        article_id=article.id,
        title=article.title,
        start=position.start,
        end=position.end,
        text=article.text[position.start : position.end],
        date=article.date,
        source=article.source,
        url=article.url,
        pages=article.pages,
        origin=position.origin,
    )
