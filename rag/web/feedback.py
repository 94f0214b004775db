"""Likes and dislikes of answers → lines of a file that `rag eval` reads as questions."""

import json
import time
from collections import deque
from pathlib import Path
from threading import Lock
from typing import Any

from rag.datatypes import Answer, Mode
from rag.errors import QuestionError
from rag.web.conversations import Conversation

NOT_SAID = "feedback_refuse"
"""The reason of who says that the articles do not hold what was answered."""


_LOCK = Lock()


def note(file: Path, talk: Conversation, turn: int, liked: bool, reason: str) -> bool:
    """Add the verdict on the answer of that turn, counted from 0; False when it was just added.

    Gradio tells one click on a reason twice. Raises QuestionError.
    """
    line = as_line(talk, turn, liked, reason)
    try:
        with _LOCK:
            if line == _last(file):
                return False
            file.parent.mkdir(parents=True, exist_ok=True)
            now = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line | now, ensure_ascii=False) + "\n")
            return True
    except OSError as error:
        raise QuestionError(
            f"The file {file} cannot be written: {error.strerror}.",
            remedy="Set RAG_FEEDBACK to another.",
        ) from error


def as_line(talk: Conversation, turn: int, liked: bool, reason: str) -> dict[str, Any]:
    """A question of `rag eval`, with what it should come to as far as the verdict tells."""
    asked = talk.turns[turn]
    answer = asked.answer
    line: dict[str, Any] = {"question": asked.question}
    if history := talk.up_to(turn).history():
        line["history"] = history
    if answer is not None:
        line |= _expected(answer, liked, reason)
        line |= {"answer": answer.text, "mode": answer.mode.value}
    return line | ({"liked": liked, "reason": reason} if reason else {"liked": liked})


def _last(file: Path) -> dict[str, Any] | None:
    """The last line of the file, without its time."""
    if not file.is_file():
        return None
    with file.open(encoding="utf-8") as lines:
        last = deque(lines, maxlen=1)
    return {k: v for k, v in json.loads(last[0]).items() if k != "time"} if last else None


def _expected(answer: Answer, liked: bool, reason: str) -> dict[str, Any]:
    refused = answer.mode is Mode.REFUSED
    if liked and not refused:
        cited = dict.fromkeys(citation.quote.article_id for citation in answer.citations)
        return {"article_ids": list(cited)}
    return {"unanswerable": True} if (liked and refused) or reason == NOT_SAID else {}
