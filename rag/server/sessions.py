"""What the server remembers of its readers: questions asked, uploaded files, conversations of a browser.

A session is one open tab of the page. Nothing here outlives the process.
"""

import json
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from rag.models.embedding.encoder import Encoder
from rag.server.uploads import Uploads

MAX_SESSIONS = 10_000
"""Sessions whose questions are counted; the least recent are forgotten."""

MAX_UPLOADING = 20
"""Sessions whose files are kept at the same time; the oldest are deleted to make room."""

MAX_READERS = 1000
"""Browsers whose changed conversations are remembered."""

MAX_CHANGED = 200
"""Changed conversations remembered of each browser."""

MAX_HISTORY_BYTES = 2_000_000
"""JSON given to a browser to store. It stores 5 MB, and encryption and encoding enlarge the JSON."""

_SHARED_SESSION = " of all readers"
"""Key of uploads that all sessions share; a session's own key has no spaces."""


class Sessions:
    """Counts of questions, and uploaded files, by session.

    Args:
        share_uploads: Whether all sessions see the same uploaded files.
    """

    def __init__(self, *, share_uploads: bool) -> None:
        self._share_uploads = share_uploads
        self._question_counts: OrderedDict[str, int] = OrderedDict()
        self._uploads: OrderedDict[str, Uploads] = OrderedDict()

    def count_question(self, session: str) -> None:
        """Note that a question was asked, or that the reader has turned to something else."""
        self._question_counts[session] = self.question_count(session) + 1
        self._question_counts.move_to_end(session)
        while len(self._question_counts) > MAX_SESSIONS:
            self._question_counts.popitem(last=False)

    def question_count(self, session: str) -> int:
        return self._question_counts.get(session, 0)

    def uploads(self, session: str) -> Uploads | None:
        """Return the files that this session sees, if there are any."""
        return self._uploads.get(self._uploads_key(session))

    def open_uploads(self, session: str, encoder: Encoder) -> Uploads:
        """Return the files that this session sees, to add to them."""
        key = self._uploads_key(session)
        if key not in self._uploads:
            while len(self._uploads) >= MAX_UPLOADING:
                self._uploads.popitem(last=False)[1].close()
            self._uploads[key] = Uploads(encoder)
        return self._uploads[key]

    def close(self, session: str) -> None:
        """Forget the session, and delete files that only it could see."""
        self._question_counts.pop(session, None)
        if not self._share_uploads and session in self._uploads:
            self._uploads.pop(session).close()

    def _uploads_key(self, session: str) -> str:
        return _SHARED_SESSION if self._share_uploads else session


class BrowserHistoryStore:
    """Conversations that have changed since the start, by browser.

    Each tab of a browser writes the whole list of conversations to the browser's storage. It would
    overwrite what other tabs have added, unless it merges their changes first.
    """

    def __init__(self) -> None:
        self._changed: OrderedDict[str, dict[str, dict[str, Any] | None]] = OrderedDict()

    def put(self, reader: str, id: str, conversation: dict[str, Any] | None) -> None:
        """Remember a conversation as a tab has it now, as JSON; None when it was deleted."""
        conversations = self._changed.setdefault(reader, {})
        conversations.pop(id, None)
        conversations[id] = conversation
        if len(conversations) > MAX_CHANGED:
            del conversations[next(iter(conversations))]
        self._changed.move_to_end(reader)
        while len(self._changed) > MAX_READERS:
            self._changed.popitem(last=False)

    def merged(
        self, reader: str, stored: Sequence[dict[str, Any]], limit: int
    ) -> list[dict[str, Any]]:
        """Return the conversations that a browser is to store, newest first.

        Args:
            reader: The id of the browser.
            stored: The conversations that a tab has read from the browser's storage.
            limit: How many to return at most. MAX_HISTORY_BYTES may allow fewer.
        """
        conversations: dict[str, dict[str, Any] | None] = {item["id"]: item for item in stored}
        conversations |= self._changed.get(reader, {})
        existing = [item for item in conversations.values() if item and item["turns"]]
        newest = sorted(existing, key=lambda item: -item["changed"])[:limit]
        sizes = accumulate(len(json.dumps(item)) for item in newest)
        return [item for item, size in zip(newest, sizes, strict=True) if size <= MAX_HISTORY_BYTES]
