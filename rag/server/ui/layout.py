"""The page's components, and how they show the state of the conversations and of the service.

Text from a model or an article is escaped in `rendering`; components that show it take HTML only, never
Markdown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from rag.answering.question import MAX_CHARACTERS
from rag.server.service import MAX_EXAMPLES, ChatService, Failed, Loading
from rag.server.ui import feedback, rendering
from rag.server.ui.conversations import Conversations
from rag.server.ui.events import Updates
from rag.store.browse import ArticleSort, list_publishers
from rag.wording import DEFAULT_LANGUAGE, Texts

PAGE_SIZE = 50
"""Number of articles that the list shows at first, and by which "Show more" extends it."""

FEEDBACK_REASONS = (
    "feedback_wrong",
    "feedback_source",
    feedback.NOT_IN_ARTICLES,
    "feedback_missed",
)
"""Reasons for a dislike, as keys of their texts; they are also written to the feedback file."""

_SEND_CLICKS = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) trigger("select", { ...button.dataset });
});
"""
"""Turns a click on an element with `data-do` into a `select` event that carries its data attributes."""

_SCROLL_TO_QUOTE = """
watch(["value", "visible"], () => requestAnimationFrame(() => {
  element.querySelector("article")?.focus({ preventScroll: true });
  (element.querySelector("mark") ?? element).scrollIntoView({ block: "center" });
}));
"""


@dataclass(frozen=True, slots=True)
class FilterFields:
    """The fields that restrict a question or a listing to some of the articles."""

    sources: gr.Dropdown
    since: gr.Textbox
    until: gr.Textbox

    @classmethod
    def build(cls, t: gr.I18n) -> "FilterFields":
        with gr.Row():
            return cls(
                sources=gr.Dropdown([], label=t("filter_sources"), multiselect=True),
                since=gr.Textbox(label=t("filter_since"), max_length=10),
                until=gr.Textbox(label=t("filter_until"), max_length=10),
            )

    @property
    def components(self) -> list[Component]:
        return [self.sources, self.since, self.until]


@dataclass(frozen=True, slots=True)
class ChatTab:
    """The tab in which questions are asked."""

    chatbot: gr.Chatbot
    suggestion_row: gr.Row
    suggestions: Sequence[gr.Button]
    filter: FilterFields
    upload: gr.File
    upload_list: gr.HTML
    question: gr.Textbox
    send: gr.Button
    stop: gr.Button
    new_chat: gr.Button

    @classmethod
    def build(cls, t: gr.I18n, uploads: str) -> "ChatTab":
        """Build the tab; `uploads` is the setting of that name."""
        chatbot = gr.Chatbot(
            elem_id="chat",
            label=t("conversation"),
            show_label=False,
            placeholder=t("chat_placeholder"),
            feedback_options=feedback_options(Texts("en")),
            # The messages are HTML that the templates have escaped.
            render_markdown=False,
            sanitize_html=True,
            allow_tags=False,
            latex_delimiters=[],
            buttons=[],
            editable="user",
            layout="panel",
            height="100%",
        )
        with gr.Row(elem_id="examples") as suggestion_row:
            suggestions = [
                gr.Button("", size="sm", min_width=240, visible=False) for _ in range(MAX_EXAMPLES)
            ]
        with gr.Accordion(t("filter"), open=False, elem_id="scope"):
            filter_fields = FilterFields.build(t)
        with gr.Accordion(t("uploads"), open=False, elem_id="uploads", visible=uploads != "off"):
            hint = "uploads_shared_hint" if uploads == "shared" else "uploads_hint"
            upload = gr.File(label=t(hint), file_count="multiple", height=120)
            upload_list = gr.HTML(
                "", elem_id="dropped", apply_default_css=False, js_on_load=_SEND_CLICKS
            )
        with gr.Row(elem_id="asking"):
            question = gr.Textbox(
                label=t("your_question"),
                show_label=False,
                placeholder=t("question_placeholder"),
                container=False,
                max_length=MAX_CHARACTERS,
                max_lines=6,
                autofocus=True,
                scale=1,
            )
            send = gr.Button(t("send"), variant="primary", scale=0, min_width=100)
            stop = gr.Button(t("stop"), variant="stop", scale=0, min_width=100, visible=False)
            new_chat = gr.Button(t("new_chat"), scale=0, min_width=100, visible=False)
        return cls(
            chatbot=chatbot,
            suggestion_row=suggestion_row,
            suggestions=suggestions,
            filter=filter_fields,
            upload=upload,
            upload_list=upload_list,
            question=question,
            send=send,
            stop=stop,
            new_chat=new_chat,
        )


@dataclass(frozen=True, slots=True)
class ArticlesTab:
    """The tab in which articles are listed and searched."""

    tab: gr.Tab
    search: gr.Textbox
    sort: gr.Dropdown
    filter: FilterFields
    results: gr.HTML
    more: gr.Button

    @classmethod
    def build(cls, t: gr.I18n) -> "ArticlesTab":
        orders = sort_orders(Texts("en"))
        with gr.Tab(t("articles"), elem_id="articles") as tab:
            with gr.Row():
                search = gr.Textbox(
                    label=t("search_articles"),
                    placeholder=t("search_placeholder"),
                    max_length=200,
                    scale=2,
                )
                sort = gr.Dropdown(
                    orders,
                    value=orders[0],
                    type="index",
                    label=t("sort_by"),
                    filterable=False,
                    scale=1,
                )
            filter_fields = FilterFields.build(t)
            results = gr.HTML("", elem_id="found", apply_default_css=False, js_on_load=_SEND_CLICKS)
            more = gr.Button(t("more"), size="sm", visible=False)
        return cls(tab, search, sort, filter_fields, results, more)


@dataclass(frozen=True, slots=True)
class Layout:
    """All components of the page that are read or changed by an event.

    Each `…_updates` method returns new values for the components that the `…_outputs` property of the
    same name lists.
    """

    conversations: gr.State
    """`Conversations` of this tab."""
    storage: gr.BrowserState
    """What the browser stores of the conversations, see `history`."""
    status_timer: gr.Timer
    article_limit: gr.State
    """Number of articles that the list may show."""
    conversation_list: gr.HTML
    heading: gr.HTML
    status: gr.HTML
    chat: ChatTab
    articles: ArticlesTab
    sources: gr.HTML
    reader: gr.HTML
    """A whole article, shown in place of the sources."""

    @classmethod
    def build(cls, service: ChatService) -> "Layout":
        """Create the components in the `gr.Blocks` that is open."""
        t = gr.I18n()
        conversations = gr.State(Conversations())
        storage = gr.BrowserState({}, storage_key="footnote", secret="footnote")  # noqa: S106
        status_timer = gr.Timer(1, active=not service.settled)
        article_limit = gr.State(PAGE_SIZE)
        with gr.Sidebar(open=False, width=300, elem_id="sidebar"):
            conversation_list = gr.HTML(
                "", elem_id="conversations", apply_default_css=False, js_on_load=_SEND_CLICKS
            )
        with gr.Row(elem_id="heading"):
            heading = gr.HTML(rendering.heading(Texts("en")), apply_default_css=False)
            status = gr.HTML(
                render_status(service, Texts("en")), elem_id="status", apply_default_css=False
            )
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=3, min_width=320), gr.Tabs(elem_id="tabs"):
                with gr.Tab(t("ask"), elem_id="asked"):
                    chat = ChatTab.build(t, service.settings.uploads)
                articles = ArticlesTab.build(t)
            with gr.Column(scale=2, min_width=320, elem_id="aside"):
                sources = gr.HTML(
                    "", elem_id="sources", apply_default_css=False, js_on_load=_SEND_CLICKS
                )
                reader = gr.HTML(
                    "",
                    elem_id="reader",
                    apply_default_css=False,
                    js_on_load=_SEND_CLICKS + _SCROLL_TO_QUOTE,
                    visible="hidden",
                )
        return cls(
            conversations=conversations,
            storage=storage,
            status_timer=status_timer,
            article_limit=article_limit,
            conversation_list=conversation_list,
            heading=heading,
            status=status,
            chat=chat,
            articles=articles,
            sources=sources,
            reader=reader,
        )

    def chat_updates(self, conversations: Conversations, t: Texts) -> Updates:
        """Show the current conversation, without its sources."""
        current = conversations.current
        can_start_new = bool(current.turns) and not current.busy
        return {
            self.conversations: conversations,
            self.chat.chatbot: rendering.messages(current.turns, t),
            self.chat.send: gr.update(visible=not current.busy),
            self.chat.stop: gr.update(visible=current.busy),
            self.chat.new_chat: gr.update(visible=can_start_new),
        }

    @property
    def chat_outputs(self) -> list[Block]:
        chat = self.chat
        return [self.conversations, chat.chatbot, chat.send, chat.stop, chat.new_chat]

    def conversation_updates(self, conversations: Conversations, t: Texts) -> Updates:
        """Show the current conversation with its sources, and the list of all conversations."""
        sources = rendering.sources(conversations.current.turns, t)
        return self.chat_updates(conversations, t) | {
            self.sources: gr.update(value=sources, visible=True),
            self.reader: gr.update(visible="hidden"),
            self.conversation_list: rendering.conversations(conversations, t),
        }

    @property
    def conversation_outputs(self) -> list[Block]:
        return [*self.chat_outputs, self.sources, self.reader, self.conversation_list]

    def index_updates(self, service: ChatService, t: Texts) -> Updates:
        """Show the status, the heading, and the sources that the current index has."""
        sources = list_publishers(service.index) if service.index else []
        return {
            self.status: render_status(service, t),
            self.heading: rendering.heading(t),
            self.chat.filter.sources: gr.update(choices=sources),
            self.articles.filter.sources: gr.update(choices=sources),
        }

    @property
    def index_outputs(self) -> list[Block]:
        return [
            self.status,
            self.heading,
            self.chat.filter.sources,
            self.articles.filter.sources,
        ]

    def example_updates(self, service: ChatService, t: Texts) -> Updates:
        """Suggest the questions for an empty conversation."""
        return self.suggestion_updates([question.text_in(t) for question in service.examples()])

    def suggestion_updates(self, questions: Sequence[str]) -> Updates:
        """Suggest these questions; hide the row of suggestions when there are none."""
        padded = [*questions, *[""] * MAX_EXAMPLES][:MAX_EXAMPLES]
        return {self.chat.suggestion_row: gr.update(visible=bool(questions))} | {
            button: gr.update(value=question, visible=bool(question))
            for button, question in zip(self.chat.suggestions, padded, strict=True)
        }

    @property
    def suggestion_outputs(self) -> list[Block]:
        return [self.chat.suggestion_row, *self.chat.suggestions]


def sort_orders(t: Texts) -> list[str]:
    """Return the labels of `ArticleSort`, in its order."""
    return [t(order.value) for order in ArticleSort]


def feedback_options(t: Texts) -> list[str]:
    """Return the options of the feedback menu; the first two are Gradio's own names."""
    return ["Like", "Dislike", *map(t, FEEDBACK_REASONS)]


def render_status(service: ChatService, t: Texts) -> str:
    """Return the HTML of the status line: a problem, "loading", or what is indexed."""
    state = service.state
    if isinstance(state, Failed):
        return rendering.status(state.reason.text_in(t), "", "")
    if isinstance(state, Loading):
        return rendering.status("", t("loading"), "loading")
    if state.chatbot.problem:
        return rendering.status(_generator_problem(state.chatbot.problem, t), "", "")
    articles = t("n_articles", n=state.chatbot.index.article_count)
    status = t("status", articles=articles, generator=service.settings.generator)
    return rendering.status("", status, "ready")


def _generator_problem(problem: str, t: Texts) -> str:
    """Return why the language model is off: English text for the operator."""
    return problem if t.language == DEFAULT_LANGUAGE else t("generator_off")
