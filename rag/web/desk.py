"""The chatbot behind the page, and the readers who wait for it."""

import asyncio
import json
import sys
import threading
import traceback
from bisect import insort
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import accumulate
from time import monotonic
from typing import Any

from rag import memory
from rag.chatbot import ALSO, Chatbot
from rag.datatypes import Among, Answer, Article, Message
from rag.encoder import Encoder
from rag.errors import RagError
from rag.index import PassageIndex
from rag.settings import Settings
from rag.suggestions import LONGEST, about_title
from rag.web.feedback import Feedback
from rag.web.journal import Ending, Face, Noted, Watch
from rag.web.uploads import Uploads

PERIOD_S = 0.15
"""Between two looks at an answer: quick to the eye, and often enough to notice that a reader has gone."""

EXAMPLES = 4
"""Questions offered while the conversation is empty."""

TOGETHER = 2
"""Questions answered side by side: the embedded generator has a slot for each, and each answer is the one
that it would be alone."""

WAITING = 32
"""Questions that may wait for their turn, from all readers together."""

LONGEST_S = 600.0
"""That an answer may take, its wait in line left out."""

TOO_LONG = (
    f"The answer was not there after {LONGEST_S / 60:.0f} minutes, and was stopped. A smaller model is"
    " faster (RAG_GENERATOR)."
)

MOST_READERS = 1000
"""Browsers whose conversations are remembered between their tabs."""

MOST_SESSIONS = 10_000
"""Whose questions are counted."""

MOST_UPLOADING = 20
"""Readers whose files are held at once; the oldest are forgotten for another's."""

MOST_CHANGED = 200
"""Conversations of a browser that are remembered between its tabs."""

MOST_BYTES = 2_000_000
"""That a browser is given to keep: it takes no more than five million, encrypted and encoded."""

_SHARED = " of all readers"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a question has come: how many come before it, and its answer once none does.

    `problem` says why there will be none; `broken`, that the reason is not for a reader's eyes.
    """

    place: int = 0
    answer: Answer | None = None
    problem: str = ""
    broken: bool = False
    over: bool = False


class Desk:
    """The chatbot behind the page: opened at once, its models loaded on a thread of their own.

    `problem` says why there is none; `broken`, that the reason is not for a reader's eyes. `listeners`
    are told of each question that is over.
    """

    def __init__(self, settings: Settings) -> None:
        self.problem: str = ""
        self.broken = False
        self.chatbot: Chatbot | None = None
        self.settings = settings
        self.line = Line()
        self.shelf = Shelf()
        self.listeners: list[Callable[[Noted], None]] = []
        self.feedback = Feedback(settings.feedback)
        self._asked: OrderedDict[str, int] = OrderedDict()
        self._uploads: OrderedDict[str, Uploads] = OrderedDict()
        self._settled = threading.Event()
        self._open()

    def reopen(self) -> None:
        """Try once more when there was nothing to open: an index may have been built since."""
        if self.chatbot is None:
            self._settled.clear()
            self._open()
            self.load()

    def load(self) -> None:
        """Begin to load the models; returns at once."""
        memory.share_heaps()
        threading.Thread(target=self._load, name="models", daemon=True).start()

    @property
    def settled(self) -> bool:
        """Whether the models are loaded, or never will be."""
        return self._settled.is_set()

    @property
    def ready(self) -> bool:
        """Whether the models are loaded and the index is open."""
        failed = self.chatbot is None or self.problem or self.broken
        return self.settled and not failed

    @property
    def index(self) -> PassageIndex | None:
        """The index as it is now."""
        if self.chatbot is None:
            return None
        self.chatbot.renew()
        return self.chatbot.index

    def examples(self) -> list[str]:
        """Questions that the newest articles answer, as they are now."""
        index = self.index
        titles = index.titles(5 * EXAMPLES) if index else []
        return [about_title(t) for t in titles if t and len(t) <= LONGEST][:EXAMPLES]

    def article(self, id: str, session: str) -> Article | None:
        """Of the index, or of what the reader of this session has added."""
        if id.startswith(ALSO):
            own = self.uploads_of(session)
            return own.article(id.removeprefix(ALSO)) if own else None
        return self.chatbot.index.article(id) if self.chatbot else None

    async def answering(
        self,
        chatbot: Chatbot,
        question: str,
        history: Sequence[Message],
        among: Among,
        session: str,
        face: Face,
    ) -> AsyncGenerator[Progress]:
        """A question in line and then answered, as it goes, until one is `over`. Raises Busy.

        Closing this gives up its place, and stops the generator.
        """
        with self._watching(face, question) as watch, self.line.standing(session) as ticket:
            while place := self.line.place(ticket):
                yield watch.see(Progress(place))
                await _until(ticket.called)
            own = self.uploads_of(session)
            asking = Asking(chatbot, question, history, among, own.index if own else None)
            until = monotonic() + LONGEST_S
            try:
                while not asking.ended.is_set() and monotonic() < until:
                    await _until(asking.ended)
                    yield watch.see(Progress(answer=asking.newest))
            finally:
                asking.stop()
            problem = asking.problem if asking.ended.is_set() else TOO_LONG
            yield watch.see(Progress(0, asking.newest, problem, asking.broken, over=True))

    @contextmanager
    def _watching(self, face: Face, question: str) -> Iterator[Watch]:
        """What is seen of a question meanwhile is told to all listeners in the end."""
        watch = Watch(face, question)
        try:
            yield watch
        except Busy:
            watch.ending = Ending.BUSY
            raise
        except Exception:
            watch.ending = Ending.FAILED
            raise
        finally:
            for tell in self.listeners:
                tell(watch.noted())

    def count(self, session: str) -> None:
        """Note that something has been asked in this session."""
        self._asked[session] = self.asked(session) + 1
        self._asked.move_to_end(session)
        while len(self._asked) > MOST_SESSIONS:
            self._asked.popitem(last=False)

    def asked(self, session: str) -> int:
        """How many questions have been asked in this session."""
        return self._asked.get(session, 0)

    def uploads_of(self, session: str) -> Uploads | None:
        return self._uploads.get(self._key(session))

    def uploads(self, session: str, encoder: Encoder) -> Uploads:
        """Where this reader's files go, and are encoded by `encoder`."""
        key = self._key(session)
        if key not in self._uploads:
            while len(self._uploads) >= MOST_UPLOADING:
                self._uploads.popitem(last=False)[1].close()
            self._uploads[key] = Uploads(encoder)
        return self._uploads[key]

    def leave(self, session: str) -> None:
        """Forget what only this reader could see."""
        self._asked.pop(session, None)
        if self.settings.uploads != "shared" and session in self._uploads:
            self._uploads.pop(session).close()

    def _key(self, session: str) -> str:
        return _SHARED if self.settings.uploads == "shared" else session

    def _open(self) -> None:
        try:
            self.chatbot = Chatbot.open(self.settings)
            self.problem = ""
        except RagError as error:
            self._fail(str(error))

    def _load(self) -> None:
        if self.chatbot is None:
            return
        try:
            self.chatbot.load()
        except RagError as error:
            self._fail(str(error))
        except Exception:
            traceback.print_exc()
            self.broken = True
        self._settled.set()

    def _fail(self, problem: str) -> None:
        print(problem, file=sys.stderr)
        self.problem = problem
        self._settled.set()


class Asking:
    """A question answered on a thread of its own; `newest` is as far as the answer has come.

    Made on an event loop, which is told when it has `ended`. `broken` says that something went
    wrong that a reader can do nothing about.
    """

    def __init__(
        self,
        chatbot: Chatbot,
        question: str,
        history: Sequence[Message],
        among: Among,
        also: PassageIndex | None,
    ) -> None:
        self.newest: Answer | None = None
        self.problem = ""
        self.broken = False
        self.ended = asyncio.Event()
        self._stopped = threading.Event()
        asked = (asyncio.get_running_loop(), chatbot, question, history, among, also)
        threading.Thread(target=self._run, args=asked, name="answer", daemon=True).start()

    def stop(self) -> None:
        """Have the generator stopped at its next piece."""
        self._stopped.set()

    def _run(self, loop: asyncio.AbstractEventLoop, chatbot: Chatbot, *asked: Any) -> None:
        try:
            with closing(chatbot.ask(*asked)) as answers:
                for self.newest in answers:
                    if self._stopped.is_set():
                        return
        except RagError as error:
            self.problem = str(error)
        except Exception:
            traceback.print_exc()
            self.broken = True
        finally:
            with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                loop.call_soon_threadsafe(self.ended.set)


class Busy(Exception):
    """More questions are waiting than may."""


class Line:
    """Who has asked and waits to be answered, TOGETHER at a time: first come, first served, session by
    session. Whoever asks much at once keeps nobody else waiting.

    That is start-time fair queueing (Goyal, Vin and Cheng 1996): each question of a session has its turn
    one after the session's last, and none before those that are being answered.
    """

    def __init__(self) -> None:
        self._waiting: list[Ticket] = []

    @contextmanager
    def standing(self, session: str) -> Iterator["Ticket"]:
        """A place, left in the end. Raises Busy."""
        ticket = self.enter(session)
        try:
            yield ticket
        finally:
            self.leave(ticket)

    def enter(self, session: str) -> "Ticket":
        """A place behind those whose turn is sooner. Raises Busy."""
        if len(self._waiting) >= WAITING + TOGETHER:
            raise Busy
        before = self._waiting[:TOGETHER] + [t for t in self._waiting if t.session == session]
        ticket = Ticket(session, 1 + max((other.turn for other in before), default=0))
        insort(self._waiting, ticket, key=lambda other: other.turn)
        return ticket

    def place(self, ticket: "Ticket") -> int:
        """How many come before; 0 for those whose turn it is."""
        return max(0, self._waiting.index(ticket) - TOGETHER + 1)

    def leave(self, ticket: "Ticket") -> None:
        self._waiting.remove(ticket)
        for other in self._waiting[:TOGETHER]:
            other.called.set()

    def __len__(self) -> int:
        """How many are being answered, or wait to be."""
        return len(self._waiting)


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """A place in line; `called` when none comes before it any more."""

    session: str
    turn: int
    called: asyncio.Event = field(default_factory=asyncio.Event)


async def _until(happened: asyncio.Event) -> None:
    """Wait for it, PERIOD_S at most."""
    with suppress(TimeoutError):
        await asyncio.wait_for(happened.wait(), PERIOD_S)


class Shelf:
    """The conversations that each browser keeps, as all of its tabs have left them since the start.

    Each tab writes all of them, and would otherwise write over what the others have added.
    """

    def __init__(self) -> None:
        self._changed: OrderedDict[str, dict[str, dict[str, Any] | None]] = OrderedDict()

    def put(self, reader: str, id: str, talk: dict[str, Any] | None) -> None:
        """As one tab has it now; None when it was deleted."""
        talks = self._changed.setdefault(reader, {})
        talks.pop(id, None)
        talks[id] = talk
        if len(talks) > MOST_CHANGED:
            del talks[next(iter(talks))]
        self._changed.move_to_end(reader)
        while len(self._changed) > MOST_READERS:
            self._changed.popitem(last=False)

    def merged(
        self, reader: str, kept: Sequence[dict[str, Any]], most: int
    ) -> list[dict[str, Any]]:
        """What one tab had read with what all have changed, newest first, `most` at most."""
        talks: dict[str, dict[str, Any] | None] = {talk["id"]: talk for talk in kept}
        talks |= self._changed.get(reader, {})
        left = [talk for talk in talks.values() if talk and talk["turns"]]
        newest = sorted(left, key=lambda talk: -talk["changed"])[:most]
        sizes = accumulate(len(json.dumps(talk)) for talk in newest)
        return [talk for talk, size in zip(newest, sizes, strict=True) if size <= MOST_BYTES]
