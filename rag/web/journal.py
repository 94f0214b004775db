"""What is noted of every question, as it is seen from outside; and a line of JSON for each on stderr.

What was asked stands there only where the owner wants it to; what the articles hold, never.
"""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Literal

from rag.datatypes import Timings, rounded
from rag.questions import MOST_CHARACTERS

if TYPE_CHECKING:
    from rag.web.desk import Progress


class Face(StrEnum):
    """Where a question came in."""

    PAGE = "page"
    API = "api"
    V1 = "v1"
    MCP = "mcp"


class Ending(StrEnum):
    """How a question ended: with an answer of this mode, or without one."""

    WRITTEN = "written"
    QUOTED = "quoted"
    REFUSED = "refused"
    STOPPED = "stopped"
    """By whoever had asked it."""
    FAILED = "failed"
    BUSY = "busy"
    """Too many were waiting."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A question that is over. `seconds` are all that it took, `waited_s` those of them in line.

    `place` counts those that were before it when it came; `timings` are its answer's, as far as it came.
    """

    face: Face
    question: str
    ending: Ending
    place: int
    waited_s: float
    seconds: float
    timings: Timings


class Watch:
    """Sees a question through, from when this is made."""

    def __init__(self, face: Face, question: str) -> None:
        self.ending = Ending.STOPPED
        self._face = face
        self._question = question
        self._began = perf_counter()
        self._place: int | None = None
        self._waits = False
        self._waited_s = 0.0
        self._timings = Timings(retrieve_s=0.0)

    def see(self, now: "Progress") -> "Progress":
        """How far it has come, which is handed on."""
        if self._place is None:
            self._place = now.place
        if now.place or self._waits:
            self._waited_s = perf_counter() - self._began
        self._waits = bool(now.place)
        if now.answer:
            self._timings = now.answer.timings
        if now.over:
            self.ending = Ending.FAILED
            if now.answer and not now.problem and not now.broken:
                self.ending = Ending(now.answer.mode.value)
        return now

    def noted(self) -> Noted:
        seconds = perf_counter() - self._began
        waited_s = seconds if self._waits else self._waited_s
        asked = (self._face, self._question, self.ending)
        return Noted(*asked, self._place or 0, waited_s, seconds, self._timings)


Kind = Literal["off", "lines", "questions"]


def listeners(kind: Kind | None) -> list[Callable[[Noted], None]]:
    """What writes a line for each question, or nothing; None: on a terminal nothing.

    There, somebody looks at the page itself.
    """
    chosen = kind or ("off" if sys.stderr.isatty() else "lines")
    return [] if chosen == "off" else [partial(_write, chosen)]


def _write(kind: Kind, noted: Noted) -> None:
    told = as_json(noted)
    if kind == "questions":
        told["question"] = noted.question[:MOST_CHARACTERS]
    with suppress(OSError, ValueError):  # nobody reads it any more
        print(json.dumps(told), file=sys.stderr, flush=True)  # in ASCII: no text ends its line


def as_json(noted: Noted) -> dict[str, object]:
    """Without what was asked."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "face": noted.face.value,
        "mode": noted.ending.value,
        "seconds": round(noted.seconds, 4),
        "waited_s": round(noted.waited_s, 4),
        "place": noted.place,
        "prompt_tokens": noted.timings.prompt_tokens,
        "answer_tokens": noted.timings.answer_tokens,
        "stages": rounded(noted.timings.stages),
    }
