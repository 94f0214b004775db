"""The reader's own files: uploading, listing and removing them."""

import asyncio
from collections.abc import AsyncIterator

import gradio as gr

from rag.server.service import POLL_INTERVAL_S, ChatService
from rag.server.ui import rendering
from rag.server.ui.events import (
    IMMEDIATE,
    QUIET,
    Updates,
    clicked_data,
    request_texts,
    session_id,
)
from rag.server.ui.layout import Layout, render_status

MAX_CONCURRENT_UPLOADS = 3
"""Number of readers whose files are indexed at the same time."""


class UploadEvents:
    """Event handlers of the upload area."""

    def __init__(self, service: ChatService, layout: Layout) -> None:
        self._service = service
        self._upload = layout.chat.upload
        self._list = layout.chat.upload_list

    def bind(self, page: gr.Blocks) -> None:
        """Connect the handlers to the components."""
        options = QUIET | {"concurrency_limit": MAX_CONCURRENT_UPLOADS}
        self._upload.upload(self.add, self._upload, [self._list, self._upload], **options)
        page.load(self.show, [], [self._list], **IMMEDIATE)
        self._list.select(self.remove, [], [self._list], **IMMEDIATE)

    async def add(self, files: list[str] | None, request: gr.Request) -> AsyncIterator[Updates]:
        """Index the uploaded files, showing the progress."""
        t = request_texts(request)
        if not files:
            return
        if self._service.chatbot is None:
            yield {
                self._list: render_status(self._service, t),
                self._upload: None,
            }
            return
        uploads = self._service.sessions.open_uploads(
            session_id(request), self._service.chatbot.encoder
        )
        indexing = asyncio.get_running_loop().run_in_executor(None, uploads.add, files)
        while not indexing.done():
            yield {self._list: rendering.uploads(uploads, t, indexing=True)}
            await asyncio.sleep(POLL_INTERVAL_S)
        await indexing
        yield {self._list: rendering.uploads(uploads, t), self._upload: None}

    def remove(self, event: gr.EventData, request: gr.Request) -> Updates:
        """Remove the file whose button was clicked."""
        uploads = self._service.sessions.uploads(session_id(request))
        if uploads is None:
            return {self._list: ""}
        uploads.remove(clicked_data(event, "name"))
        return {self._list: rendering.uploads(uploads, request_texts(request))}

    def show(self, request: gr.Request) -> Updates:
        """List the files when the page is opened."""
        uploads = self._service.sessions.uploads(session_id(request))
        html = rendering.uploads(uploads, request_texts(request)) if uploads else ""
        return {self._list: html}
