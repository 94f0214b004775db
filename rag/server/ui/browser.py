"""The articles tab: listing and searching the articles, and reading one."""

import gradio as gr

from rag.server.service import ChatService
from rag.server.ui import rendering
from rag.server.ui.events import (
    IMMEDIATE,
    Updates,
    clicked_article,
    clicked_data,
    find_article,
    request_texts,
    session_id,
)
from rag.server.ui.filters import parse_article_filter
from rag.server.ui.layout import PAGE_SIZE, Layout
from rag.store.browse import ArticleSort, list_articles


class BrowserEvents:
    """Event handlers of the articles tab and of the article reader."""

    def __init__(self, service: ChatService, layout: Layout) -> None:
        self._service = service
        self._layout = layout

    def bind(self) -> None:
        """Connect the handlers to the components."""
        layout, tab = self._layout, self._layout.articles
        limit = layout.article_limit
        fields = [tab.search, tab.sort, *tab.filter.components]
        triggers = [tab.tab.select, *(field.change for field in fields)]
        reset = gr.on(triggers, lambda: PAGE_SIZE, [], limit, **IMMEDIATE)
        extended = tab.more.click(lambda limit: limit + PAGE_SIZE, limit, limit, **IMMEDIATE)
        for limit_changed in (reset, extended):
            limit_changed.then(
                self.list_articles, [*fields, limit], [tab.results, tab.more], **IMMEDIATE
            )
        for component in (layout.sources, tab.results, layout.reader):
            component.select(self.open_or_close, [], [layout.reader, layout.sources], **IMMEDIATE)

    def list_articles(
        self,
        words: str | None,
        sort: int | None,
        sources: list[str],
        since: str,
        until: str,
        limit: int,
        request: gr.Request,
    ) -> Updates:
        """List the articles that match the fields; Gradio sends None for one that is not shown yet."""
        index = self._service.index
        article_filter = parse_article_filter(sources, since, until)
        order = list(ArticleSort)[sort or 0]
        articles, count = (
            ([], 0)
            if index is None
            else list_articles(index, words or "", article_filter, order, limit)
        )
        return {
            self._layout.articles.results: rendering.articles(
                articles, count, request_texts(request)
            ),
            self._layout.articles.more: gr.update(visible=count > len(articles)),
        }

    def open_or_close(self, event: gr.EventData, request: gr.Request) -> Updates:
        """Open an article in place of the sources, at the quote if there is one; or close it."""
        if clicked_data(event, "do") != "read":
            return {
                self._layout.reader: gr.update(visible="hidden"),
                self._layout.sources: gr.update(visible=True),
            }
        article = find_article(self._service, clicked_article(event), session_id(request))
        start = int(clicked_data(event, "start") or 0)
        end = int(clicked_data(event, "end") or 0)
        html = rendering.article(article, start, end, request_texts(request))
        return {
            self._layout.reader: gr.update(value=html, visible=True),
            self._layout.sources: gr.update(visible="hidden"),
        }
