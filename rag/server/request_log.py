"""Records of questions, and the request log: a line of JSON on stderr for each question.

The log contains questions only if the settings ask for them, and never any text of articles.
"""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from time import perf_counter
from typing import Literal

from rag.answering.question import MAX_CHARACTERS
from rag.server.answer_task import AnswerStatus
from rag.server.logs import log_to_stderr
from rag.types import Timings, round_seconds

logger = logging.getLogger(__name__)


class Channel(StrEnum):
    """The protocol that a question came by."""

    PAGE = "page"
    API = "api"
    """Gradio's API."""
    V1 = "v1"
    """OpenAI's API."""
    MCP = "mcp"


class Outcome(StrEnum):
    """How a question ended: with an answer of this mode, or without one."""

    WRITTEN = "written"
    QUOTED = "quoted"
    REFUSED = "refused"
    SMALL_TALK = "small_talk"
    STOPPED = "stopped"
    """By the reader or client."""
    FAILED = "failed"
    BUSY = "busy"
    """The queue was full."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A question that has ended."""

    channel: Channel
    question: str
    outcome: Outcome
    position: int
    """Its position in the queue on arrival."""
    queued_s: float
    """Seconds in the queue."""
    total_s: float
    """Seconds from arrival to the end, those in the queue included."""
    timings: Timings
    """Those of its answer, as far as it came."""


class RequestTracker:
    """Measures one question from its arrival, which is when this is created, to its end."""

    def __init__(self, channel: Channel, question: str) -> None:
        self.outcome = Outcome.STOPPED
        self._channel = channel
        self._question = question
        self._arrived = perf_counter()
        self._first_position: int | None = None
        self._queueing = False
        self._queued_s = 0.0
        self._timings = Timings(retrieve_s=0.0)

    def observe(self, status: AnswerStatus) -> AnswerStatus:
        """Take note of a status, and return it."""
        if self._first_position is None:
            self._first_position = status.position
        if status.position or self._queueing:
            self._queued_s = perf_counter() - self._arrived
        self._queueing = bool(status.position)
        if status.answer:
            self._timings = status.answer.timings
        if status.done:
            self.outcome = Outcome.FAILED
            if status.answer and not status.error:
                mode = Outcome(status.answer.mode.value)
                self.outcome = Outcome.SMALL_TALK if status.answer.small_talk else mode
        return status

    def record(self) -> RequestRecord:
        """Return the record of the question, which ends now."""
        total_s = perf_counter() - self._arrived
        return RequestRecord(
            channel=self._channel,
            question=self._question,
            outcome=self.outcome,
            position=self._first_position or 0,
            queued_s=total_s if self._queueing else self._queued_s,
            total_s=total_s,
            timings=self._timings,
        )


LogContent = Literal["off", "lines", "questions"]
"""Nothing, a line for each question without its text, or with it."""


def listeners(content: LogContent | None) -> list[Callable[[RequestRecord], None]]:
    """Return what writes the request log: one function, or none.

    Args:
        content: What to write. None: nothing if stderr is a terminal, where somebody watches the page
            itself, else lines.
    """
    chosen = content or ("off" if sys.stderr.isatty() else "lines")
    if chosen == "off":
        return []
    log_to_stderr(logger.name, logging.INFO)
    return [partial(_log, chosen)]


def _log(content: LogContent, record: RequestRecord) -> None:
    line = as_json(record)
    if content == "questions":
        line["question"] = record.question[:MAX_CHARACTERS]
    logger.info("%s", json.dumps(line))  # in ASCII: no question can end its line


def as_json(record: RequestRecord) -> dict[str, object]:
    """Return a record as it is logged, without its question."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "face": record.channel.value,
        "mode": record.outcome.value,
        "seconds": round(record.total_s, 4),
        "waited_s": round(record.queued_s, 4),
        "place": record.position,
        "prompt_tokens": record.timings.prompt_tokens,
        "answer_tokens": record.timings.answer_tokens,
        "stages": round_seconds(record.timings.stages),
    }
