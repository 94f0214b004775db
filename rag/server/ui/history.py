"""Conversations that the browser keeps: restored on arrival, listed, opened, deleted and saved.

The browser stores `{"reader": ID, "talks": [...]}` under one key: a random identifier of the browser, and
its conversations as `conversations.to_stored` writes them.
"""

import re
import secrets
from typing import Any

import gradio as gr

from rag.server.service import ChatService
from rag.server.ui.conversations import MAX_STORED, Conversations, restore_conversations, to_stored
from rag.server.ui.events import (
    IMMEDIATE,
    Updates,
    cancelled_event,
    clicked_data,
    find_article,
    request_texts,
    session_id,
)
from rag.server.ui.layout import Layout, feedback_options, render_status, sort_orders
from rag.wording import Texts


class HistoryEvents:
    """Event handlers for opening and closing the page, and for its conversations."""

    def __init__(self, service: ChatService, layout: Layout) -> None:
        self._service = service
        self._layout = layout

    def bind(self, page: gr.Blocks) -> None:
        """Connect the handlers to the components."""
        layout = self._layout
        state = [layout.conversations, layout.storage]
        outputs = [
            *layout.conversation_outputs,
            *layout.index_outputs,
            *layout.suggestion_outputs,
        ]
        page.load(self.restore, state, outputs, **IMMEDIATE)
        translated = [layout.articles.sort, layout.chat.chatbot]
        page.load(self.translate, [], translated, **IMMEDIATE)
        layout.chat.new_chat.click(self.start_new, layout.conversations, outputs, **IMMEDIATE)
        switched = [*layout.conversation_outputs, *layout.suggestion_outputs, layout.storage]
        layout.conversation_list.select(self.open_or_delete, state, switched, **IMMEDIATE)
        page.unload(self.leave)
        polled = [layout.status, layout.status_timer]
        layout.status_timer.tick(self.poll_status, [], polled, **IMMEDIATE)

    def restore(self, conversations: Conversations, stored: Any, request: gr.Request) -> Updates:
        """Load the browser's conversations when the page is opened, and show the newest."""
        t, session, service = request_texts(request), session_id(request), self._service
        stored_conversations = _merged_storage(service, stored)["talks"]
        restored = restore_conversations(
            stored_conversations,
            lambda article: find_article(service, article, session),
            t("answer_outdated"),
        )
        conversations = conversations.merged_with(restored)
        if conversations.all and not conversations.current.turns:
            conversations = conversations.with_opened(conversations.all[0].id)
        updates = (
            self._layout.conversation_updates(conversations, t)
            | self._layout.index_updates(service, t)
            | self._suggestion_updates(conversations, t)
        )
        # A reader who asked before this was done already has a conversation on the page: keep that.
        return (
            self._layout.index_updates(service, t)
            if service.sessions.question_count(session)
            else updates
        )

    def start_new(self, conversations: Conversations, request: gr.Request) -> Updates:
        """Show a new, empty conversation."""
        t = request_texts(request)
        return (
            self._layout.conversation_updates(conversations.with_opened(""), t)
            | self._layout.index_updates(self._service, t)
            | self._layout.example_updates(self._service, t)
        )

    def open_or_delete(
        self,
        event: gr.EventData,
        conversations: Conversations,
        stored: Any,
        request: gr.Request,
    ) -> Updates:
        """Open or delete the conversation whose button was clicked."""
        if conversations.current.busy:
            raise cancelled_event()
        self._service.sessions.count_question(session_id(request))
        id = clicked_data(event, "id")
        storage_update: Updates = {}
        if clicked_data(event, "do") == "delete":
            self._service.history_store.put(_browser_id(stored), id, None)
            conversations = conversations.without(id)
            storage_update = {self._layout.storage: _merged_storage(self._service, stored)}
        elif id != conversations.current.id:
            conversations = conversations.with_opened(id)
        t = request_texts(request)
        return (
            self._layout.conversation_updates(conversations, t)
            | self._suggestion_updates(conversations, t)
            | storage_update
        )

    def _suggestion_updates(self, conversations: Conversations, t: Texts) -> Updates:
        """Suggest the examples in an empty conversation, and nothing in another one."""
        if conversations.current.turns:
            return self._layout.suggestion_updates([])
        return self._layout.example_updates(self._service, t)

    def save(self, conversations: Conversations, stored: Any) -> dict[str, Any]:
        """Return what the browser is to store after the current conversation has changed."""
        stored = {"reader": _browser_id(stored), "talks": _stored_conversations(stored)}
        current = conversations.current
        self._service.history_store.put(stored["reader"], current.id, to_stored(current))
        if current.replaces:
            self._service.history_store.put(stored["reader"], current.replaces, None)
        return _merged_storage(self._service, stored)

    def poll_status(self, request: gr.Request) -> Updates:
        """Update the status line while the models are loading."""
        return {
            self._layout.status: render_status(self._service, request_texts(request)),
            self._layout.status_timer: gr.Timer(active=not self._service.settled),
        }

    def translate(self, request: gr.Request) -> Updates:
        """Translate choices, which Gradio's own translation leaves in English."""
        t = request_texts(request)
        orders = sort_orders(t)
        return {
            self._layout.articles.sort: gr.update(choices=orders, value=orders[0]),
            self._layout.chat.chatbot: gr.update(feedback_options=feedback_options(t)),
        }

    def leave(self, request: gr.Request) -> None:
        """Forget what only this tab could see."""
        self._service.sessions.close(session_id(request))


def _merged_storage(service: ChatService, stored: Any) -> dict[str, Any]:
    """Return what the browser is to store, with the changes that all of its tabs have made."""
    browser_id = _browser_id(stored)
    conversations = service.history_store.merged(
        browser_id, _stored_conversations(stored), MAX_STORED
    )
    return {"reader": browser_id, "talks": conversations}


def _stored_conversations(stored: Any) -> list[dict[str, Any]]:
    """Return the well-formed conversations among what the browser has stored."""
    conversations = stored.get("talks") if isinstance(stored, dict) else None
    if not isinstance(conversations, list):
        return []
    return [each for each in conversations if _is_stored_conversation(each)]


def _is_stored_conversation(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("id"), str)
        and isinstance(value.get("changed"), int | float)
        and isinstance(value.get("turns"), list)
    )


def _browser_id(stored: Any) -> str:
    """Return the identifier that the browser has stored, or a new one."""
    id = stored.get("reader") if isinstance(stored, dict) else None
    if isinstance(id, str) and re.fullmatch("[0-9a-f]{32}", id):
        return id
    return secrets.token_hex(16)
