"""Builds the chat page: its components and the events bound to them.

Importing this module loads Gradio, so `rag.server.app` does that only when it serves the page.
"""

import gradio as gr

from rag.server.queue import MAX_WAITING
from rag.server.service import ChatService
from rag.server.ui.browser import BrowserEvents
from rag.server.ui.chat import ChatEvents
from rag.server.ui.history import HistoryEvents
from rag.server.ui.layout import Layout
from rag.server.ui.uploads import UploadEvents
from rag.wording import load_locales


def build_page(service: ChatService) -> gr.Blocks:
    """Return the page, not launched yet."""
    with gr.Blocks(title="Footnote", fill_width=True, delete_cache=(3600, 3600)) as page:
        layout = Layout.build(service)
        history = HistoryEvents(service, layout)
        ChatEvents(service, layout, history).bind()
        history.bind(page)
        BrowserEvents(service, layout).bind()
        if service.settings.uploads != "off":
            UploadEvents(service, layout).bind(page)
    return page.queue(max_size=2 * MAX_WAITING, api_open=False)


def page_texts() -> gr.I18n:
    """Return the texts of Gradio's components in all languages; the browser selects one."""
    return gr.I18n(
        **{
            language: {key: text for key, text in locale.items() if isinstance(text, str)}
            for language, locale in load_locales().items()
        }
    )
