"""Answering the last question of a conversation, as a stream of conversations."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from rag.server.answer_task import AnswerStatus
from rag.server.errors import ServiceUnavailable
from rag.server.request_log import Channel
from rag.server.service import ChatService
from rag.server.ui.conversations import Conversation
from rag.types import ArticleFilter
from rag.wording import Texts


async def answer_last_question(
    service: ChatService,
    conversation: Conversation,
    article_filter: ArticleFilter,
    session: str,
    t: Texts,
) -> AsyncGenerator[Conversation]:
    """Answer the last question of a conversation and yield the conversation after every step.

    Closing the generator, as Gradio does on Stop and when a tab is closed, stops the language model.
    """
    if not conversation.busy:
        return
    turn = conversation.turns[-1]
    statuses = service.answer(
        turn.question,
        history=conversation.up_to(len(conversation.turns) - 1).history(),
        article_filter=article_filter,
        session=session,
        channel=Channel.PAGE,
    )
    try:
        async with aclosing(statuses):
            async for status in statuses:
                note = _status_note(status, t)
                yield conversation.with_last_turn(
                    replace(turn, answer=status.answer, note=note, done=status.done)
                )
    except ServiceUnavailable as error:
        yield conversation.with_last_closed(error.reason.text_in(t))


def _status_note(status: AnswerStatus, t: Texts) -> str:
    """Return the note that is shown as long as there is no complete answer."""
    if status.loading:
        return t("still_loading")
    if status.position:
        return t("queue_position", position=status.position)
    return status.error.text_in(t) if status.error else ""
