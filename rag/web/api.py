"""The same answers for programs: functions of Gradio's API, and routes that tell how things stand."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Never

from rag.datatypes import Message
from rag.errors import RagError
from rag.web import programs
from rag.web.desk import Desk
from rag.web.journal import Face
from rag.web.programs import EN

HITS = 10
"""Passages that a search gives, unless told otherwise."""

MOST_HITS = 100


def offer(desk: Desk) -> None:
    """Add the functions to the blocks that are open. What goes wrong is told as on the command line."""
    import gradio as gr

    async def ask(
        question: str,
        history: list[dict[str, str]] | None = None,
        sources: list[str] | None = None,
        since: str = "",
        until: str = "",
    ) -> dict[str, Any]:
        """Answer a question from the articles alone, with citations that can be checked.

        Args:
            question: what is asked
            history: what was said before, oldest first, each with a role (user or assistant) and content
            sources: only articles of these sources are asked; all when left out
            since: only articles from this day, month or year on (2024-05-31, 2024-05, 2024)
            until: only articles up to and with this day, month or year
        """
        told = _messages(history or [])
        with _told():
            among = programs.among_of(sources or (), since, until)
            return (await programs.answer(desk, question, Face.API, told, among)).as_json()

    async def search(question: str, k: int = HITS) -> dict[str, Any]:
        """The passages of the articles that bear most on a question.

        Args:
            question: what is searched for
            k: how many passages, 100 at most
        """
        with _told():
            standalone, hits = await programs.search(desk, question, max(1, min(k, MOST_HITS)))
        return programs.search_json(question, standalone, hits)

    async def article(id: str) -> dict[str, Any]:
        """A whole article.

        Args:
            id: its id, as answers and searches name it (article_id)
        """
        with _told():
            found = await programs.article(desk, id)
        return programs.about(found) | {"text": found.text}

    def info() -> dict[str, Any]:
        """What the index holds, and which models are in use."""
        index = desk.index
        if index is None:
            _refuse(desk.problem)
        held = index.contents()
        return {
            "articles": held.articles,
            "passages": held.passages,
            "encoder": index.commit.encoder.name,
            "generator": desk.settings.generator,
        }

    for function in (ask, search, article, info):
        gr.api(function, api_name=function.__name__, concurrency_limit=None)


def routes(desk: Desk) -> list[Any]:
    """`/healthz`: the process answers; `/readyz`: the models are loaded and the index is open.

    A language model that is off does not make it unready: questions are answered by quotations. A second
    line of `/readyz` says why it is off.
    """
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    def live(request: Any) -> Any:
        return PlainTextResponse("ok\n")

    def ready(request: Any) -> Any:
        if desk.problem or desk.broken:
            return PlainTextResponse(f"{desk.problem or EN('broken')}\n", 503)
        if not desk.settled:
            return PlainTextResponse("loading\n", 503)
        off = desk.chatbot.problem if desk.chatbot else ""
        return PlainTextResponse(f"ok\n{off}\n" if off else "ok\n")

    return [Route("/healthz", live), Route("/readyz", ready)]


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong with the index or the question, in words that the client is given."""
    try:
        yield
    except (RagError, programs.Unanswered) as error:
        _refuse(str(error))


def _messages(history: list[dict[str, str]]) -> list[Message]:
    try:
        return [Message(role=turn["role"], content=str(turn["content"])) for turn in history]  # type: ignore[typeddict-item]
    except (KeyError, TypeError):
        _refuse("The history is no list of turns, each with a role and content.")


def _refuse(problem: str) -> Never:
    import gradio as gr

    raise gr.Error(problem, print_exception=False)
