"""The application service: one chatbot, and the questions that all protocols ask it.

The page, Gradio's API, OpenAI's API and the MCP server each translate between this and their clients.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from time import monotonic

from rag.answering.chatbot import Chatbot
from rag.answering.question import validate_question
from rag.answering.suggestions import MAX_NAME_CHARACTERS, question_about_title
from rag.errors import RagError
from rag.models import memory
from rag.server.answer_task import AnswerStatus, AnswerTask
from rag.server.errors import INTERNAL_ERROR, QueueFull, RequestError, ServiceUnavailable
from rag.server.queue import FairQueue
from rag.server.request_log import Channel, Outcome, RequestRecord, RequestTracker
from rag.server.sessions import BrowserHistoryStore, Sessions
from rag.settings import Settings
from rag.store.browse import newest_titles
from rag.store.reader import IndexReader
from rag.types import (
    ALL_ARTICLES,
    UPLOAD_PREFIX,
    Answer,
    Article,
    ArticleFilter,
    ArticleRef,
    Hit,
    Message,
    Origin,
)
from rag.wording import Localizable, Phrase, phrase

logger = logging.getLogger(__name__)

POLL_INTERVAL_S = 0.15
"""Between two statuses of an answer: looks continuous, and notices soon that a reader has left."""

MAX_EXAMPLES = 4
"""Example questions offered while a conversation is empty."""

ANSWER_TIMEOUT_S = 600.0
"""For one answer, without the time in the queue."""

TIMEOUT_ERROR = phrase("answer_timeout", minutes=round(ANSWER_TIMEOUT_S / 60))


@dataclass(frozen=True, slots=True)
class Loading:
    """The index is open, and the models are being loaded."""

    chatbot: Chatbot


@dataclass(frozen=True, slots=True)
class Ready:
    """The index is open, and the models are loaded."""

    chatbot: Chatbot


@dataclass(frozen=True, slots=True)
class Failed:
    """The index could not be opened (`chatbot` is None then), or the models could not be loaded."""

    reason: Localizable
    """INTERNAL_ERROR if the cause is an unexpected error, which is in the log only."""
    chatbot: Chatbot | None = None


ServiceState = Loading | Ready | Failed


class ChatService:
    """The chatbot, its queue, and what is remembered of those who ask it.

    The index is opened at once. `load` loads the models on another thread.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.queue = FairQueue()
        self.sessions = Sessions(share_uploads=settings.uploads == "shared")
        self.history_store = BrowserHistoryStore()
        self.listeners: list[Callable[[RequestRecord], None]] = []
        """Called with a record of each question that has ended."""
        self.state: ServiceState = self._open()
        self._reopening = threading.Lock()

    def load(self) -> None:
        """Begin to load the models, and return at once."""
        memory.limit_malloc_arenas()
        threading.Thread(target=self._load, name="models", daemon=True).start()

    def reopen(self) -> None:
        """Try to open the index again if there was none: it may have been built since."""
        with self._reopening:
            if self.chatbot is None:
                self.state = self._open()
                self.load()

    @property
    def chatbot(self) -> Chatbot | None:
        """The chatbot, whether its models are loaded or not; None without an index."""
        return self.state.chatbot

    @property
    def settled(self) -> bool:
        """Whether loading the models has ended, well or not."""
        return not isinstance(self.state, Loading)

    @property
    def index(self) -> IndexReader | None:
        """The newest version of the index, if there is one."""
        if self.chatbot is None:
            return None
        self.chatbot.refresh()
        return self.chatbot.index

    async def ready(self) -> Chatbot:
        """Return the chatbot once its models are loaded.

        Raises:
            ServiceUnavailable: There is no index, or the models cannot be loaded.
        """
        await asyncio.to_thread(self.reopen)
        while not self.settled:
            await asyncio.sleep(POLL_INTERVAL_S)
        return self._usable_chatbot()

    async def answer(
        self,
        question: str,
        *,
        history: Sequence[Message] = (),
        article_filter: ArticleFilter = ALL_ARTICLES,
        session: str = "",
        channel: Channel,
        wait_for_models: bool = True,
    ) -> AsyncGenerator[AnswerStatus]:
        """Queue a question and yield its status until it is done.

        Closing the generator removes the question from the queue and stops the language model. Each
        question that has come as far as the queue is recorded.

        Args:
            question: The question.
            history: Messages before it, oldest first.
            article_filter: The articles of the index that may be used.
            session: Who asks; the queue is fair among sessions, and uploads belong to one.
            channel: The protocol that it came by.
            wait_for_models: Whether to wait while the models are loaded.

        Raises:
            ServiceUnavailable: There is no index, or the models are not loaded.
            QueueFull: Too many questions are waiting.
        """
        await asyncio.to_thread(self.reopen)
        while wait_for_models and not self.settled:
            yield AnswerStatus(loading=True)
            await asyncio.sleep(POLL_INTERVAL_S)
        chatbot = self._usable_chatbot()
        with self._tracking(channel, question) as tracker, self.queue.queued(session) as entry:
            while position := self.queue.position(entry):
                yield tracker.observe(AnswerStatus(position=position))
                await _wait_briefly(entry.called)
            uploads = self.sessions.uploads(session)
            uploads_index = uploads.index if uploads else None
            task = AnswerTask(chatbot, question, history, article_filter, uploads_index)
            deadline = monotonic() + ANSWER_TIMEOUT_S
            try:
                while not task.ended.is_set() and monotonic() < deadline:
                    await _wait_briefly(task.ended)
                    yield tracker.observe(AnswerStatus(answer=task.latest))
            finally:
                task.stop()
            error = task.error if task.ended.is_set() else TIMEOUT_ERROR
            yield tracker.observe(AnswerStatus(answer=task.latest, done=True, error=error))

    async def final_answer(
        self,
        question: str,
        *,
        history: Sequence[Message] = (),
        article_filter: ArticleFilter = ALL_ARTICLES,
        channel: Channel,
    ) -> Answer:
        """Return the answer to a question of no session, once it is complete.

        Raises:
            QuestionError: The question is empty, too long or not valid Unicode.
            ServiceUnavailable: The question could not be answered.
        """
        question = validate_question(question)
        statuses = self.answer(
            question, history=history, article_filter=article_filter, channel=channel
        )
        last = AnswerStatus()
        async with aclosing(statuses):
            async for status in statuses:
                last = status
        return last.final_answer()

    async def search(self, question: str, k: int) -> tuple[str, list[Hit]]:
        """Return the standalone question and its `k` best hits.

        Raises:
            QuestionError: The question is empty, too long or not valid Unicode.
            ServiceUnavailable: There is no index, or the models cannot be loaded.
        """
        question = validate_question(question)
        chatbot = await self.ready()
        return await asyncio.to_thread(chatbot.search, question, limit=k)

    async def article(self, id: str) -> Article:
        """Return an article of the index without waiting for the models.

        Raises:
            RequestError: There is no article of that id.
            ServiceUnavailable: There is no index.
            IndexUnusable: The index cannot be read.
        """
        return await asyncio.to_thread(self._article, id)

    def find_article(self, article: ArticleRef, session: str) -> Article | None:
        """Return an article of the index, or of the files that this session sees.

        Raises:
            IndexDamaged: The article's text is not what was written.
        """
        if article.origin is Origin.UPLOADS:
            uploads = self.sessions.uploads(session)
            return uploads.article(article.id) if uploads else None
        return self.chatbot.index.article(article.id) if self.chatbot else None

    def examples(self) -> list[Phrase]:
        """Return up to MAX_EXAMPLES questions that the newest articles answer."""
        index = self.index
        titles = newest_titles(index, 5 * MAX_EXAMPLES) if index else []
        short = [title for title in titles if title and len(title) <= MAX_NAME_CHARACTERS]
        return [question_about_title(title) for title in short][:MAX_EXAMPLES]

    def _open(self) -> ServiceState:
        try:
            return Loading(Chatbot.open(self.settings))
        except RagError as error:
            logger.error("%s", error)
            return Failed(error)

    def _load(self) -> None:
        chatbot = self.chatbot
        if chatbot is None:
            return
        try:
            chatbot.load()
        except RagError as error:
            logger.error("%s", error)
            self.state = Failed(error, chatbot=chatbot)
        except Exception:
            logger.exception("The models could not be loaded.")
            self.state = Failed(INTERNAL_ERROR, chatbot=chatbot)
        else:
            self.state = Ready(chatbot)

    def _usable_chatbot(self) -> Chatbot:
        """Return the chatbot if it can be asked. Raises ServiceUnavailable."""
        state = self.state
        if isinstance(state, Ready):
            return state.chatbot
        if isinstance(state, Loading):
            raise ServiceUnavailable(phrase("models_loading"))
        if state.chatbot is None or state.reason == INTERNAL_ERROR:
            raise ServiceUnavailable(state.reason)
        # Models that could not be loaded are tried again for each question, which says what is wrong.
        return state.chatbot

    def _article(self, id: str) -> Article:
        self.reopen()
        if self.index is None and isinstance(self.state, Failed):
            raise ServiceUnavailable(self.state.reason)
        # In JSON, the id of an uploaded article may be that of another article, which comes first.
        article = self.find_article(ArticleRef(Origin.INDEX, id), "")
        if article is None and id.startswith(UPLOAD_PREFIX):
            upload = ArticleRef(Origin.UPLOADS, id.removeprefix(UPLOAD_PREFIX))
            article = self.find_article(upload, "")
        if article is None:
            raise RequestError(f"There is no article {id!r}.")
        return article

    @contextmanager
    def _tracking(self, channel: Channel, question: str) -> Iterator[RequestTracker]:
        """Track a question, and give its record to all listeners in the end."""
        tracker = RequestTracker(channel, question)
        try:
            yield tracker
        except QueueFull:
            tracker.outcome = Outcome.BUSY
            raise
        except Exception:
            tracker.outcome = Outcome.FAILED
            raise
        finally:
            record = tracker.record()
            for listener in self.listeners:
                listener(record)


async def _wait_briefly(event: asyncio.Event) -> None:
    """Wait until the event is set, POLL_INTERVAL_S at most."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), POLL_INTERVAL_S)
