"""The queue of questions that all protocols share."""

import asyncio
from bisect import insort
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rag.server.errors import QueueFull

MAX_CONCURRENT = 2
"""Questions answered at the same time.

The embedded language model has a slot for each, and each answer is the one that it would give alone.
"""

MAX_WAITING = 32
"""Questions of all sessions together that may wait."""


@dataclass(frozen=True, slots=True, eq=False)
class QueueEntry:
    """A question in the queue."""

    session: str
    start_tag: int
    """Virtual time at which the question starts; the queue is ordered by it."""
    called: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it is the question's turn, if it had to wait."""


class FairQueue:
    """Queue with one lane for each session: one session's backlog does not delay the others.

    Start-time fair queueing (Goyal, Vin and Cheng 1996) with questions of equal cost: a question's start
    tag is one more than that of its session's last question, and than those of the questions that are
    being answered. Equal tags are served in the order of arrival.
    """

    def __init__(self) -> None:
        self._entries: list[QueueEntry] = []

    def __len__(self) -> int:
        """Return the number of questions that wait or are being answered."""
        return len(self._entries)

    @contextmanager
    def queued(self, session: str) -> Iterator[QueueEntry]:
        """Yield a new entry, and remove it at the end.

        Raises:
            QueueFull: MAX_WAITING questions are waiting.
        """
        entry = self.enter(session)
        try:
            yield entry
        finally:
            self.leave(entry)

    def enter(self, session: str) -> QueueEntry:
        """Add an entry. Raises QueueFull."""
        if len(self._entries) >= MAX_WAITING + MAX_CONCURRENT:
            raise QueueFull
        running = self._entries[:MAX_CONCURRENT]
        own = [entry for entry in self._entries if entry.session == session]
        last_tag = max((entry.start_tag for entry in running + own), default=0)
        entry = QueueEntry(session, last_tag + 1)
        insort(self._entries, entry, key=lambda other: other.start_tag)
        return entry

    def position(self, entry: QueueEntry) -> int:
        """Return how many questions must end before this one starts; 0 once it is its turn."""
        return max(0, self._entries.index(entry) - MAX_CONCURRENT + 1)

    def leave(self, entry: QueueEntry) -> None:
        """Remove an entry, and call those whose turn it is now."""
        self._entries.remove(entry)
        for running in self._entries[:MAX_CONCURRENT]:
            running.called.set()
