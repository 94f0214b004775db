"""What programs can ask of the page: the same for Gradio's API and for models (MCP)."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from rag.chatbot import Chatbot
from rag.datatypes import EVERYTHING, Among, Answer, Article, Hit, Message
from rag.questions import sound
from rag.web.conversations import Conversation
from rag.web.desk import Desk
from rag.web.journal import Face
from rag.web.page import DAY, answering
from rag.web.texts import Texts

EN = Texts("en")


class Unanswered(Exception):
    """Why there is no answer, in one line for whoever asked."""


async def answer(
    desk: Desk,
    question: str,
    face: Face,
    history: Sequence[Message] = (),
    among: Among = EVERYTHING,
) -> Answer:
    """The answer to a question, once it was its turn in line. Raises QuestionError and Unanswered."""
    talk = Conversation().asked(sound(question))
    turn = talk.turns[-1]
    async with aclosing(answering(desk, talk, among, "", EN, face, history)) as progress:
        async for now in progress:
            turn = now.turns[-1]
    if turn.answer is None or not turn.answered:
        raise Unanswered(turn.note)
    return turn.answer


async def search(desk: Desk, question: str, k: int) -> tuple[str, list[Hit]]:
    """The standalone question and its `k` best hits. Raises QuestionError and Unanswered."""
    asked = sound(question)
    chatbot = await _ready(desk)
    return await asyncio.to_thread(chatbot.search, asked, [], k)


def search_json(question: str, standalone: str, hits: Sequence[Hit]) -> dict[str, Any]:
    found = [hit.as_json() for hit in hits]
    return {"question": question, "standalone_question": standalone, "hits": found}


async def article(desk: Desk, id: str) -> Article:
    """The article of that id, without waiting for models. Raises IndexUnusable and Unanswered."""
    return await asyncio.to_thread(_article, desk, id)


def _article(desk: Desk, id: str) -> Article:
    desk.reopen()
    if desk.index is None:
        raise Unanswered(desk.problem)
    found = desk.article(id, "")
    if found is None:
        raise Unanswered(f"There is no article {id!r}.")
    return found


def about(article: Article) -> dict[str, Any]:
    """What is known of an article, but for its text."""
    told = {"date": article.date, "source": article.source, "url": article.url}
    known = {key: value for key, value in told.items() if value is not None}
    return {"id": article.id, "title": article.title} | known


def among_of(sources: Sequence[str], since: str, until: str) -> Among:
    """Raises Unanswered for a time that is none."""
    return Among(tuple(sources), _day(since), _day(until))


def _day(text: str) -> str:
    if text and not DAY.fullmatch(text):
        raise Unanswered(f"{text!r} is no day, month or year. Write 2024-05-31, 2024-05 or 2024.")
    return text


async def _ready(desk: Desk) -> Chatbot:
    await asyncio.to_thread(desk.reopen)
    while not desk.settled:
        await asyncio.sleep(0.1)
    if desk.chatbot is None or desk.broken:
        raise Unanswered(desk.problem or EN("broken"))
    return desk.chatbot
