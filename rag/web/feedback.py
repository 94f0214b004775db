"""Likes and dislikes of answers → lines of a file that `rag eval` reads as questions."""

import json
import time
from pathlib import Path
from threading import Lock
from typing import Any

from rag.chatbot import ALSO
from rag.datatypes import Answer, Mode
from rag.errors import QuestionError
from rag.web.conversations import Conversation

NOT_SAID = "feedback_refuse"
"""The reason of who says that the articles do not hold what was answered."""


class Feedback:
    """The file of verdicts."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._last: dict[str, Any] = {}
        self._lock = Lock()

    def note(self, talk: Conversation, turn: int, liked: bool, reason: str) -> bool:
        """Add the verdict on the answer of that turn, counted from 0; False when it was just added.

        Gradio tells one click on a reason twice. Raises QuestionError.
        """
        line = as_line(talk, turn, liked, reason)
        now = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        with self._lock:
            if line == self._last:
                return False
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                with self.file.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(line | now, ensure_ascii=False) + "\n")
            except OSError as error:
                raise QuestionError(
                    f"The file {self.file} cannot be written: {error.strerror}.",
                    remedy="Set RAG_FEEDBACK to another.",
                ) from error
            self._last = line
            return True


def as_line(talk: Conversation, turn: int, liked: bool, reason: str) -> dict[str, Any]:
    """A question of `rag eval`, with what it should come to as far as the verdict tells."""
    asked = talk.turns[turn]
    answer = asked.answer
    line: dict[str, Any] = {"question": asked.question}
    answers = [told.answer for told in talk.turns[: turn + 1] if told.answer]
    if not any(map(_is_private, answers)) and answer is not None:
        if history := talk.up_to(turn).history():
            line["history"] = history
        line |= _expected(answer, liked, reason)
        line |= {"answer": answer.text, "mode": answer.mode.value}
    return line | ({"liked": liked, "reason": reason} if reason else {"liked": liked})


def _expected(answer: Answer, liked: bool, reason: str) -> dict[str, Any]:
    refused = answer.mode is Mode.REFUSED
    if liked and not refused:
        cited = dict.fromkeys(citation.quote.article_id for citation in answer.citations)
        return {"article_ids": list(cited)}
    return {"unanswerable": True} if (liked and refused) or reason == NOT_SAID else {}


def _is_private(answer: Answer) -> bool:
    """Whether it rests on what the reader has added: that is not for the owner's file."""
    return any(hit.passage.article_id.startswith(ALSO) for hit in answer.hits)
