"""Gradio's API: functions that programs call with Gradio's client or plain HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rag.errors import RagError
from rag.server.article_filter import build_article_filter
from rag.server.errors import RequestError, ServiceUnavailable
from rag.server.payloads import article_metadata, search_payload
from rag.server.request_log import Channel
from rag.server.service import ChatService, Failed
from rag.types import Message

DEFAULT_TOP_K = 10
"""Hits of a search that names no number."""

MAX_HITS = 100


def register(service: ChatService) -> None:
    """Add the functions to the Gradio blocks that are open.

    Their docstrings are published as the API's description.
    """
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
            question: The question.
            history: Earlier messages, oldest first, each with a role (user or assistant) and content.
            sources: Use only articles of these sources; of all, if left out.
            since: Use only articles from this day, month or year on (2024-05-31, 2024-05, 2024).
            until: Use only articles up to this day, month or year, inclusive.
        """
        with _errors_for_client():
            answer = await service.final_answer(
                question,
                history=_parse_history(history or []),
                article_filter=build_article_filter(sources or (), since, until),
                channel=Channel.API,
            )
        return answer.as_json()

    async def search(question: str, k: int = DEFAULT_TOP_K) -> dict[str, Any]:
        """Find the passages of the articles that are most relevant to a question.

        Args:
            question: What to search for.
            k: How many passages to return, 100 at most.
        """
        with _errors_for_client():
            standalone, hits = await service.search(question, max(1, min(k, MAX_HITS)))
        return search_payload(question, standalone, hits)

    async def article(id: str) -> dict[str, Any]:
        """Return a whole article.

        Args:
            id: Its id, as in the results of ask and search (article_id).
        """
        with _errors_for_client():
            result = await service.article(id)
        return article_metadata(result) | {"text": result.text}

    def info() -> dict[str, Any]:
        """Return what the index contains, and which models are in use."""
        index = service.index
        if index is None:
            raise _client_error(
                str(service.state.reason) if isinstance(service.state, Failed) else ""
            )
        stats = index.stats()
        return {
            "articles": stats.articles,
            "passages": stats.passages,
            "encoder": index.snapshot.encoder.name,
            "generator": service.settings.generator,
        }

    for function in (ask, search, article, info):
        gr.api(function, api_name=function.__name__, concurrency_limit=None)


@contextmanager
def _errors_for_client() -> Iterator[None]:
    """Raise what the client can do something about as Gradio's error, which Gradio sends to it."""
    try:
        yield
    except (RagError, RequestError, ServiceUnavailable) as error:
        raise _client_error(str(error)) from error


def _client_error(message: str) -> Exception:
    import gradio as gr

    error: Exception = gr.Error(message, print_exception=False)
    return error


def _parse_history(history: list[dict[str, str]]) -> list[Message]:
    """Return the messages. Raises RequestError."""
    try:
        return [Message(role=turn["role"], content=str(turn["content"])) for turn in history]  # type: ignore[typeddict-item]
    except (KeyError, TypeError):
        raise RequestError(
            "Invalid history. Expected a list of messages, each with role and content."
        ) from None
