"""Helpers shared by the page's event handlers."""

from typing import Any

import gradio as gr
from gradio.blocks import Block

from rag.errors import IndexDamaged
from rag.server.service import ChatService
from rag.types import Article, ArticleRef, Origin
from rag.wording import Texts, texts_for

Updates = dict[Block, Any]
"""Components → their new values or properties, as an event handler returns them to Gradio."""

# "private" keeps an event out of Gradio's API.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Options of every event of the page."""

IMMEDIATE = QUIET | {"queue": False}
"""Options of events that take no time, and so need not wait in Gradio's queue."""


def cancelled_event() -> Exception:
    """Return an exception that ends an event silently: no update, no message, no follow-up event."""
    error: Exception = gr.Error("", visible=False, print_exception=False)
    return error


def clicked_data(event: gr.EventData, key: str) -> str:
    """Return the `data-KEY` attribute of the button that was clicked; empty when it has none."""
    data = event._data if isinstance(event._data, dict) else {}
    return str(data.get(key, ""))


def session_id(request: gr.Request) -> str:
    """Return Gradio's identifier of the browser tab, which stays the same while the tab is open."""
    return request.session_hash or ""


def request_texts(request: gr.Request) -> Texts:
    """Return the texts in the language that the browser asks for."""
    return texts_for(request.headers.get("accept-language", ""))


def clicked_article(event: gr.EventData) -> ArticleRef:
    """Return the article of the button that was clicked."""
    is_upload = clicked_data(event, "origin") == Origin.UPLOADS
    origin = Origin.UPLOADS if is_upload else Origin.INDEX
    return ArticleRef(origin, clicked_data(event, "article"))


def find_article(service: ChatService, article: ArticleRef, session: str) -> Article | None:
    """Return the article, or None when it no longer exists or its index is damaged."""
    try:
        return service.find_article(article, session)
    except IndexDamaged:
        return None
