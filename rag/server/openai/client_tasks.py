"""Tasks that chat programs give a model beside their users' questions, such as a title for the chat.

Open WebUI sends them as messages of the user. They are not questions about the articles: each gets a
short reply of the form that it asks for, without a search.
"""

import json
import re
from collections.abc import AsyncGenerator
from textwrap import shorten

from rag.server.answer_task import AnswerStatus
from rag.server.openai.schemas import MODEL_NAME
from rag.types import Answer, Mode, Stage, Timings
from rag.wording import phrase

MAX_TITLE_LENGTH = 60

_HEADING = re.compile(r"\s*### Task:\s")
_CHAT = re.compile(r"<chat_history>(.*?)</chat_history>", re.DOTALL)
_FIRST_QUESTION = re.compile(r"^USER: (.*?)(?=^[A-Z]+: |\Z)", re.DOTALL | re.MULTILINE)
_JSON_FORM = re.compile(r'\{\s*"(\w{1,40})":\s*(["\[])')


def reply_to_task(message: str) -> str | None:
    """Return the reply to a task of a chat program, or None if the message is none.

    A task has the heading "### Task:", the JSON object that is wanted, and the chat in a
    `<chat_history>` element. The title is the first question of the chat; a list is left empty, except
    that of tags, for which Open WebUI expects "General" if there is nothing to say.
    """
    if not _HEADING.match(message):
        return None
    chat = _CHAT.search(message)
    form = _JSON_FORM.search(message)
    if chat is None or form is None or form.start() > chat.start():
        return None
    key, opening = form.groups()
    values = {"title": _title(chat[1]), "tags": ["General"]}
    value = values.get(key, [] if opening == "[" else "")
    return json.dumps({key: value}, ensure_ascii=False)


async def reply_statuses(message: str, reply: str) -> AsyncGenerator[AnswerStatus]:
    """Yield the statuses of a reply, as `ChatService.answer` yields those of an answer."""
    yield AnswerStatus()
    answer = Answer(
        question=message,
        standalone_question=message,
        stage=Stage.DONE,
        mode=Mode.WRITTEN,
        reply=phrase("untranslated", text=reply),
        hits=(),
        model=MODEL_NAME,
        timings=Timings(retrieve_s=0.0),
    )
    yield AnswerStatus(answer=answer, done=True)


def _title(chat: str) -> str:
    question = _FIRST_QUESTION.search(chat)
    return shorten(question[1] if question else "", MAX_TITLE_LENGTH, placeholder=" …") or "Chat"
