"""Readers' likes and dislikes, written to a file that `rag eval` reads as questions."""

import json
import time
from pathlib import Path
from threading import Lock
from typing import Any

from rag.errors import QuestionError
from rag.server.ui.conversations import Conversation
from rag.types import Answer, Mode, Origin

NOT_IN_ARTICLES = "feedback_refuse"
"""The reason for a dislike that says: the articles do not contain this answer."""


class Feedback:
    """The feedback file: one JSON object per line."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._last_entry: dict[str, Any] = {}
        self._lock = Lock()

    def record(self, conversation: Conversation, turn: int, liked: bool, reason: str) -> bool:
        """Append a reader's rating of an answer to the file.

        Args:
            conversation: the conversation that holds the answer
            turn: index of the answer's turn
            liked: whether the reader likes the answer
            reason: key of the reason for a dislike; empty for none

        Returns:
            False when this is the entry written last, since Gradio reports one click on a reason twice.

        Raises:
            QuestionError: the file cannot be written.
        """
        entry = build_entry(conversation, turn, liked, reason)
        timestamp = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        with self._lock:
            if entry == self._last_entry:
                return False
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                with self.file.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(entry | timestamp, ensure_ascii=False) + "\n")
            except OSError as error:
                raise QuestionError(
                    f"Cannot write the feedback file {self.file}: {error.strerror}.",
                    remedy="Set RAG_FEEDBACK to a file that can be written.",
                ) from error
            self._last_entry = entry
            return True


def build_entry(conversation: Conversation, turn: int, liked: bool, reason: str) -> dict[str, Any]:
    """Return a question for `rag eval`, with the expected result as far as the rating implies one."""
    rated = conversation.turns[turn]
    answer = rated.answer
    entry: dict[str, Any] = {"question": rated.question}
    answers = [each.answer for each in conversation.turns[: turn + 1] if each.answer]
    if answer is not None and not any(map(_uses_uploads, answers)):
        if history := conversation.up_to(turn).history():
            entry["history"] = history
        entry |= _expected_result(answer, liked, reason)
        entry |= {"answer": answer.text, "mode": answer.mode.value}
    return entry | ({"liked": liked, "reason": reason} if reason else {"liked": liked})


def _expected_result(answer: Answer, liked: bool, reason: str) -> dict[str, Any]:
    refused = answer.mode is Mode.REFUSED
    if liked and not refused:
        article_ids = dict.fromkeys(citation.quote.article_id for citation in answer.citations)
        return {"article_ids": list(article_ids)}
    return {"unanswerable": True} if (liked and refused) or reason == NOT_IN_ARTICLES else {}


def _uses_uploads(answer: Answer) -> bool:
    """Return whether the answer draws on the reader's own files, which the owner must not see."""
    return any(hit.passage.origin is Origin.UPLOADS for hit in answer.hits)
