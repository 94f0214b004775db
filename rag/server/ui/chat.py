"""What happens when a reader asks, retries, edits, stops or rates."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import gradio as gr
from gradio.events import Dependency

from rag.answering.question import MAX_CHARACTERS
from rag.errors import RagError
from rag.server.service import ChatService
from rag.server.ui import rendering
from rag.server.ui.asking import answer_last_question
from rag.server.ui.conversations import Conversation, Conversations
from rag.server.ui.events import (
    IMMEDIATE,
    QUIET,
    Updates,
    cancelled_event,
    request_texts,
    session_id,
)
from rag.server.ui.feedback import Feedback
from rag.server.ui.filters import parse_article_filter
from rag.server.ui.history import HistoryEvents
from rag.server.ui.layout import FEEDBACK_REASONS, Layout, render_status
from rag.wording import Texts

logger = logging.getLogger(__name__)


class ChatEvents:
    """Event handlers of the chat."""

    def __init__(self, service: ChatService, layout: Layout, history: HistoryEvents) -> None:
        self._service = service
        self._layout = layout
        self._history = history
        self._feedback = Feedback(service.settings.feedback)

    def bind(self) -> None:
        """Connect the handlers to the components."""
        layout, chat = self._layout, self._layout.chat
        inputs = [layout.conversations, *chat.filter.components]
        outputs = [*layout.conversation_outputs, layout.status]
        # `ChatService` limits how many questions are answered at once.
        options = QUIET | {"concurrency_limit": None}
        # Gradio counts concurrent calls per function object: each access to `self.answer` makes another.
        answer, suggest = self.answer, self.suggest
        answered = [
            submitted.success(answer, inputs, outputs, **options)
            for submitted in self._bind_submissions()
        ]
        # Stop only cancels. Gradio reports that as a failure as well, so `close` is bound to `failure`
        # alone: were it bound to Stop too, whichever of the two came last would win.
        chat.stop.click(None, cancels=answered, **QUIET)
        storage = [layout.conversations, layout.storage]
        for event in answered:
            closed = event.failure(
                self.close, layout.conversations, layout.conversation_outputs, **IMMEDIATE
            )
            closed.then(self._history.save, storage, layout.storage, **IMMEDIATE)
            saved = event.success(self._history.save, storage, layout.storage, **IMMEDIATE)
            saved.then(
                suggest, inputs, layout.suggestion_outputs, **QUIET | {"concurrency_limit": 1}
            )
        chat.chatbot.like(self.rate, layout.conversations, None, **QUIET)

    def _bind_submissions(self) -> list[Dependency]:
        """Connect everything that asks a question: the text box, the suggestions, retry and edit."""
        layout, chat = self._layout, self._layout.chat
        retry_outputs = [*layout.chat_outputs, *layout.suggestion_outputs]
        outputs = [*layout.chat_outputs, chat.question, *layout.suggestion_outputs]
        send = [chat.send.click, chat.question.submit]
        return [
            gr.on(send, self.submit, [chat.question, layout.conversations], outputs, **IMMEDIATE),
            *(
                button.click(self.submit, [button, layout.conversations], outputs, **IMMEDIATE)
                for button in chat.suggestions
            ),
            chat.chatbot.retry(self.retry, layout.conversations, retry_outputs, **IMMEDIATE),
            chat.chatbot.edit(self.edit, layout.conversations, retry_outputs, **IMMEDIATE),
        ]

    def submit(self, question: str, conversations: Conversations, request: gr.Request) -> Updates:
        """Add the question to the conversation and clear the text box."""
        conversation = conversations.current.with_question(question)
        if conversation is conversations.current:
            raise cancelled_event()
        self._service.sessions.count_question(session_id(request))
        return (
            self._layout.chat_updates(
                conversations.with_current(conversation), request_texts(request)
            )
            | {self._layout.chat.question: ""}
            | self._layout.suggestion_updates([])
        )

    def retry(
        self, event: gr.RetryData, conversations: Conversations, request: gr.Request
    ) -> Updates:
        """Ask a question of the conversation again."""
        turn = _turn_of_message(conversations.current, event.index)
        question = conversations.current.turns[turn].question
        return self._ask_again(turn, question, conversations, request)

    def edit(
        self, event: gr.EditData, conversations: Conversations, request: gr.Request
    ) -> Updates:
        """Ask a question of the conversation again, with the text that the reader has edited."""
        turn = _turn_of_message(conversations.current, event.index)
        text = event.value if isinstance(event.value, str) else event.value[0]["text"]
        return self._ask_again(turn, rendering.unescape(text), conversations, request)

    def _ask_again(
        self, turn: int, question: str, conversations: Conversations, request: gr.Request
    ) -> Updates:
        """Drop that turn and all after it, and ask the question instead."""
        if conversations.current.busy or not question.strip():
            raise cancelled_event()
        self._service.sessions.count_question(session_id(request))
        earlier = conversations.current.up_to(turn)
        conversation = earlier.with_question(question[:MAX_CHARACTERS])
        return self._layout.chat_updates(
            conversations.with_current(conversation), request_texts(request)
        ) | self._layout.suggestion_updates([])

    async def answer(
        self,
        conversations: Conversations,
        sources: list[str],
        since: str,
        until: str,
        request: gr.Request,
    ) -> AsyncIterator[Updates]:
        """Answer the last question, showing the answer as it is written."""
        t = request_texts(request)
        progress = answer_last_question(
            self._service,
            conversations.current,
            parse_article_filter(sources, since, until),
            session_id(request),
            t,
        )
        async with aclosing(progress):
            async for conversation in progress:
                updated = conversations.with_current(conversation)
                if conversation.busy:
                    yield self._layout.chat_updates(updated, t)
                else:
                    status = {self._layout.status: render_status(self._service, t)}
                    yield self._layout.conversation_updates(updated, t) | status

    def close(self, conversations: Conversations, request: gr.Request) -> Updates:
        """Close the last question after it was stopped, or after the connection was lost."""
        t, conversation = request_texts(request), conversations.current
        has_draft = bool(conversation.turns) and conversation.turns[-1].answer is not None
        closed = conversation.with_last_closed(t("stopped" if has_draft else "no_answer"))
        return self._layout.conversation_updates(conversations.with_current(closed), t)

    def suggest(
        self,
        conversations: Conversations,
        sources: list[str],
        since: str,
        until: str,
        request: gr.Request,
    ) -> Updates:
        """Suggest follow-up questions to the last answer."""
        turns, session = conversations.current.turns, session_id(request)
        answer = turns[-1].answer if turns else None
        if self._service.chatbot is None or answer is None:
            return self._layout.suggestion_updates([])
        sessions = self._service.sessions
        count = sessions.question_count(session)
        questions: Sequence[str] = self._service.chatbot.suggest_questions(
            answer,
            parse_article_filter(sources, since, until),
            language=request_texts(request).language,
        )
        if sessions.question_count(session) != count:  # another one was asked in the meantime
            questions = []
        return self._layout.suggestion_updates(questions)

    def rate(self, event: gr.LikeData, conversations: Conversations, request: gr.Request) -> None:
        """Write a like, a dislike or a reason for a dislike to the feedback file."""
        t = request_texts(request)
        liked = event.liked is True
        reason = next((key for key in FEEDBACK_REASONS if t(key) == event.liked), "")
        turn = _turn_of_message(conversations.current, event.index)
        try:
            if self._feedback.record(conversations.current, turn, liked, reason):
                gr.Info(t("feedback_saved", file=str(self._feedback.file)))
        except RagError as error:
            logger.warning("%s", error)
            gr.Warning(t("feedback_not_saved"))


def _turn_of_message(conversation: Conversation, message: Any) -> int:
    """Return the index of the turn that a message of the chat belongs to.

    Args:
        message: position of the message as Gradio gives it: a number, or a sequence that begins with it
    """
    position = int(message[0] if isinstance(message, (list, tuple)) else message)
    messages = rendering.messages(conversation.turns, Texts("en"))[: position + 1]
    return sum(message["role"] == "user" for message in messages) - 1
