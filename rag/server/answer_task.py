"""One question answered on a thread of its own, and the status that is reported meanwhile."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial

from rag.answering.chatbot import Chatbot
from rag.errors import RagError
from rag.server.errors import INTERNAL_ERROR, ServiceUnavailable
from rag.store.reader import IndexReader
from rag.types import Answer, ArticleFilter, Message
from rag.wording import Localizable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AnswerStatus:
    """Progress of one question: first the models load, then it waits, then its answer grows."""

    loading: bool = False
    """Whether the models are still being loaded."""
    position: int = 0
    """How many questions must end before this one starts."""
    answer: Answer | None = None
    """The answer as far as it has come."""
    done: bool = False
    """Whether this is the last status."""
    error: Localizable | None = None
    """Why there will be no answer, in one line for the reader."""

    def final_answer(self) -> Answer:
        """Return the answer of a question that is done.

        Raises:
            ServiceUnavailable: The question could not be answered.
        """
        if self.answer is None or self.error:
            raise ServiceUnavailable(self.error or INTERNAL_ERROR)
        return self.answer


class AnswerTask:
    """Runs a chatbot on a thread. To be created on an event loop.

    Args:
        chatbot: The chatbot that answers.
        question: The question.
        history: Messages before it, oldest first.
        article_filter: The articles of the index that may be used.
        uploads: The index of the reader's own files, if there is one.
    """

    def __init__(
        self,
        chatbot: Chatbot,
        question: str,
        history: Sequence[Message],
        article_filter: ArticleFilter,
        uploads: IndexReader | None,
    ) -> None:
        self.latest: Answer | None = None
        """The answer as far as it has come."""
        self.error: Localizable | None = None
        self.ended = asyncio.Event()
        self._ask = partial(
            chatbot.ask,
            question,
            history=history,
            article_filter=article_filter,
            extra_index=uploads,
        )
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name="answer", daemon=True).start()

    def stop(self) -> None:
        """Stop the language model at its next token."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            with closing(self._ask()) as answers:
                for self.latest in answers:
                    if self._stopped.is_set():
                        return
        except RagError as error:
            logger.warning("A question could not be answered. %s", error)
            self.error = error
        except Exception:
            logger.exception("A question could not be answered.")
            self.error = INTERNAL_ERROR
        finally:
            with suppress(RuntimeError):  # the event loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self.ended.set)
