"""What stands on the page, and what happens when it is used.

What comes from a model or an article is escaped in `rendering`, and the page shows HTML only, never
Markdown. Every event's function is here, in the order in which a reader meets them.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rag.datatypes import Among, Article, Message
from rag.errors import IndexDamaged, RagError
from rag.index import Order
from rag.questions import MOST_CHARACTERS
from rag.web import feedback, rendering
from rag.web.conversations import MOST_KEPT, Conversation, Conversations, kept, to_keep
from rag.web.desk import EXAMPLES, PERIOD_S, WAITING, Busy, Desk, Progress
from rag.web.journal import Face
from rag.web.texts import Texts, entries, for_reader

if TYPE_CHECKING:
    import gradio as gr

LINES = 50
"""Articles listed at once."""

REASONS = ("feedback_wrong", "feedback_source", feedback.NOT_SAID, "feedback_missed")
"""Why an answer is not liked, beside no reason."""

MOST_READING = 3
"""Readers whose files are read at once."""

Changes = dict[Any, Any]
"""Parts of the page → what they become."""


def page_of(desk: Desk) -> Any:
    import gradio as gr

    with gr.Blocks(title="Footnote", fill_width=True, delete_cache=(3600, 3600)) as page:
        parts = Parts.laid_out(desk)
        _connect_chat(desk, parts)
        _connect_conversations(desk, page, parts)
        _connect_articles(desk, parts)
        if desk.settings.uploads != "off":
            _connect_uploads(desk, page, parts)
    return page.queue(max_size=2 * WAITING, api_open=False)


def page_texts() -> Any:
    """The words of Gradio's components, which the browser chooses among."""
    import gradio as gr

    plain = {
        language: {key: text for key, text in found.items() if isinstance(text, str)}
        for language, found in entries().items()
    }
    return gr.I18n(**plain)


# -- what stands on it


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the page that change."""

    held: Any
    stored: Any
    status: Any
    timer: Any
    heading: Any
    list: Any
    anew: Any
    chat: Any
    offer: Any
    examples: Sequence[Any]
    scope_sources: Any
    scope_since: Any
    scope_until: Any
    question: Any
    send: Any
    stop: Any
    search: Any
    order: Any
    found_sources: Any
    found_since: Any
    found_until: Any
    shown: Any
    found: Any
    more: Any
    articles: Any
    sources: Any
    reader: Any
    drop: Any
    dropped: Any

    @classmethod
    def laid_out(cls, desk: Desk) -> "Parts":
        """A new page, in the blocks that are open."""
        import gradio as gr

        t = gr.I18n()
        made: dict[str, Any] = {
            "held": gr.State(Conversations()),
            "stored": gr.BrowserState({}, storage_key="footnote", secret="footnote"),  # noqa: S106
            "timer": gr.Timer(1, active=not desk.settled),
            "shown": gr.State(LINES),
        }
        with gr.Sidebar(open=False, width=300, elem_id="sidebar"):
            made["list"] = gr.HTML(
                "", elem_id="conversations", apply_default_css=False, js_on_load=_TELL
            )
        with gr.Row(elem_id="heading"):
            made["heading"] = gr.HTML(rendering.heading(Texts("en")), apply_default_css=False)
            made["status"] = gr.HTML(
                _status(desk, Texts("en")), elem_id="status", apply_default_css=False
            )
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=3, min_width=320), gr.Tabs(elem_id="tabs"):
                with gr.Tab(t("ask"), elem_id="asked"):
                    made |= _laid_out_chat(t, desk.settings.uploads)
                with gr.Tab(t("articles"), elem_id="held") as made["articles"]:
                    made |= _laid_out_articles(t)
            with gr.Column(scale=2, min_width=320, elem_id="aside"):
                made["sources"] = gr.HTML(
                    "", elem_id="sources", apply_default_css=False, js_on_load=_TELL
                )
                made["reader"] = gr.HTML(
                    "",
                    elem_id="reader",
                    apply_default_css=False,
                    js_on_load=_TELL + _REACH_QUOTE,
                    visible="hidden",
                )
        return cls(**made)

    def showing(self, held: Conversations, t: Texts) -> Changes:
        """What the parts become for the conversation as it is now, the sources left out."""
        import gradio as gr

        talk = held.shown
        return {
            self.held: held,
            self.chat: rendering.messages(talk.turns, t),
            self.send: gr.update(visible=not talk.busy),
            self.stop: gr.update(visible=talk.busy),
            self.anew: gr.update(visible=bool(talk.turns) and not talk.busy),
        }

    @property
    def shown_always(self) -> list[Any]:
        return [self.held, self.chat, self.send, self.stop, self.anew]

    def settled(self, held: Conversations, t: Texts) -> Changes:
        """What else they become when nothing is being answered."""
        import gradio as gr

        return self.showing(held, t) | {
            self.sources: gr.update(value=rendering.sources(held.shown.turns, t), visible=True),
            self.reader: gr.update(visible="hidden"),
            self.list: rendering.conversations(held, t),
        }

    @property
    def shown_settled(self) -> list[Any]:
        return [*self.shown_always, self.sources, self.reader, self.list]

    def welcoming(self, desk: Desk, t: Texts) -> Changes:
        """What the status and the sources to choose from become for the articles as they are now."""
        import gradio as gr

        sources = desk.index.publishers() if desk.index else []
        return {
            self.status: _status(desk, t),
            self.heading: rendering.heading(t),
            self.scope_sources: gr.update(choices=sources),
            self.found_sources: gr.update(choices=sources),
        }

    @property
    def welcomed(self) -> list[Any]:
        return [self.status, self.heading, self.scope_sources, self.found_sources]

    def offering(self, questions: Sequence[str]) -> Changes:
        """The row of questions that are offered; away when there is none."""
        import gradio as gr

        padded = [*questions, *[""] * EXAMPLES][:EXAMPLES]
        return {self.offer: gr.update(visible=bool(questions))} | {
            button: gr.update(value=question, visible=bool(question))
            for button, question in zip(self.examples, padded, strict=True)
        }

    @property
    def offered(self) -> list[Any]:
        return [self.offer, *self.examples]

    @property
    def scoped(self) -> list[Any]:
        return [self.scope_sources, self.scope_since, self.scope_until]


def _laid_out_chat(t: Any, uploads: str) -> dict[str, Any]:
    import gradio as gr

    made: dict[str, Any] = {}
    made["chat"] = gr.Chatbot(
        elem_id="chat",
        label=t("conversation"),
        placeholder=t("empty_chat"),
        feedback_options=_feedback_options(Texts("en")),
        **_AS_HTML_ONLY,
    )
    with gr.Row(elem_id="examples") as made["offer"]:
        made["examples"] = [
            gr.Button("", size="sm", min_width=240, visible=False) for _ in range(EXAMPLES)
        ]
    with gr.Accordion(t("among"), open=False, elem_id="scope"):
        made |= _laid_out_scope(t, "scope")
    with gr.Accordion(t("uploads"), open=False, elem_id="uploads", visible=uploads != "off"):
        hint = "uploads_shared_hint" if uploads == "shared" else "uploads_hint"
        made["drop"] = gr.File(label=t(hint), file_count="multiple", height=120)
        made["dropped"] = gr.HTML("", elem_id="dropped", apply_default_css=False, js_on_load=_TELL)
    with gr.Row(elem_id="asking"):
        made["question"] = gr.Textbox(
            label=t("your_question"), placeholder=t("ask_the_articles"), **_QUESTION
        )
        made["send"] = gr.Button(t("send"), variant="primary", scale=0, min_width=100)
        made["stop"] = gr.Button(t("stop"), variant="stop", scale=0, min_width=100, visible=False)
        made["anew"] = gr.Button(t("new_chat"), scale=0, min_width=100, visible=False)
    return made


def _laid_out_scope(t: Any, name: str) -> dict[str, Any]:
    """Fields to choose some articles with."""
    import gradio as gr

    with gr.Row():
        return {
            f"{name}_sources": gr.Dropdown([], label=t("among_sources"), multiselect=True),
            f"{name}_since": gr.Textbox(label=t("among_since"), max_length=10),
            f"{name}_until": gr.Textbox(label=t("among_until"), max_length=10),
        }


def _laid_out_articles(t: Any) -> dict[str, Any]:
    import gradio as gr

    made: dict[str, Any] = {}
    orders = _orders(Texts("en"))
    with gr.Row():
        made["search"] = gr.Textbox(
            label=t("search_articles"), placeholder=t("words_in_them"), max_length=200, scale=2
        )
        made["order"] = gr.Dropdown(
            orders, value=orders[0], type="index", label=t("order"), filterable=False, scale=1
        )
    made |= _laid_out_scope(t, "found")
    made["found"] = gr.HTML("", elem_id="found", apply_default_css=False, js_on_load=_TELL)
    made["more"] = gr.Button(t("more"), size="sm", visible=False)
    return made


def _orders(t: Texts) -> list[str]:
    return [t(order.value) for order in Order]


def _feedback_options(t: Texts) -> list[str]:
    return ["Like", "Dislike", *map(t, REASONS)]  # the first two are Gradio's own


_AS_HTML_ONLY: dict[str, Any] = {
    "show_label": False,
    "render_markdown": False,
    "sanitize_html": True,
    "allow_tags": False,
    "latex_delimiters": [],
    "buttons": [],
    "editable": "user",
    "layout": "panel",
    "height": "100%",
}

_QUESTION: dict[str, Any] = {
    "show_label": False,
    "container": False,
    "max_length": MOST_CHARACTERS,
    "max_lines": 6,
    "autofocus": True,
    "scale": 1,
}

_TELL = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) trigger("select", { ...button.dataset });
});
"""
"""A click on what bears data-do is told to `select`, with all its data."""

_REACH_QUOTE = """
watch(["value", "visible"], () => requestAnimationFrame(() => {
  element.querySelector("article")?.focus({ preventScroll: true });
  (element.querySelector("mark") ?? element).scrollIntoView({ block: "center" });
}));
"""


def _status(desk: Desk, t: Texts) -> str:
    """How far the models have come, and what is held now."""
    if desk.problem or desk.broken:
        return rendering.status(desk.problem or t("broken"), "", "")
    if not desk.settled or desk.chatbot is None:
        return rendering.status("", t("loading"), "loading")
    if desk.chatbot.problem:
        return rendering.status(desk.chatbot.problem, "", "")
    held = t.counted("n_articles", desk.chatbot.index.article_count)
    said = t("status", articles=held, generator=desk.settings.generator)
    return rendering.status("", said, "ready")


# -- asking


async def answering(
    desk: Desk,
    talk: Conversation,
    among: Among,
    session: str,
    t: Texts,
    face: Face,
    told: Sequence[Message] = (),
) -> AsyncGenerator[Conversation]:
    """The conversation as the answer to its last question comes about; `told` was said before it.

    When Gradio cancels this (Stop, or a closed tab), the generator is stopped.
    """
    if not talk.busy:
        return
    turn = talk.turns[-1]
    await asyncio.to_thread(desk.reopen)
    while not desk.settled:
        yield talk.with_last(replace(turn, note=t("still_loading")))
        await asyncio.sleep(PERIOD_S)
    if desk.chatbot is None or desk.broken:
        yield talk.ended(desk.problem or t("broken"))
        return
    history = [*told, *talk.up_to(len(talk.turns) - 1).history()]
    asked = desk.answering(desk.chatbot, turn.question, history, among, session, face)
    try:
        async with aclosing(asked) as progress:
            async for now in progress:
                note = _note(now, t)
                yield talk.with_last(replace(turn, answer=now.answer, note=note, over=now.over))
    except Busy:
        yield talk.ended(t("busy"))


def _note(now: Progress, t: Texts) -> str:
    """What stands in for an answer."""
    if now.place:
        return t("place", place=now.place)
    return t("broken") if now.broken else now.problem


def _connect_chat(desk: Desk, parts: Parts) -> None:
    """Asking, stopping, asking again, editing, liking."""
    import gradio as gr

    def take(asked: str, held: Conversations, request: gr.Request) -> Changes:
        now = held.showing(held.shown.asked(asked))
        if now.shown is held.shown:
            raise _not_now()
        desk.count(_session(request))
        return parts.showing(now, _texts(request)) | {parts.question: ""} | parts.offering([])

    def again(event: gr.RetryData, held: Conversations, request: gr.Request) -> Changes:
        return anew_from(event.index, None, held, request)

    def edit(event: gr.EditData, held: Conversations, request: gr.Request) -> Changes:
        return anew_from(event.index, event.value, held, request)

    def anew_from(message: Any, value: Any, held: Conversations, request: gr.Request) -> Changes:
        """Ask the question of that message anew, as it was or with another text."""
        turn = _turn_at(held.shown, message)
        asked = held.shown.turns[turn].question
        if value is not None:
            asked = rendering.unescaped(value if isinstance(value, str) else value[0]["text"])
        if held.shown.busy or not asked.strip():
            raise _not_now()
        desk.count(_session(request))
        talk = held.shown.up_to(turn).asked(asked[:MOST_CHARACTERS])
        return parts.showing(held.showing(talk), _texts(request)) | parts.offering([])

    async def answer(
        held: Conversations, sources: list[str], since: str, until: str, request: gr.Request
    ) -> AsyncIterator[Changes]:
        t, among = _texts(request), _among(sources, since, until)
        session = _session(request)
        async with aclosing(answering(desk, held.shown, among, session, t, Face.PAGE)) as progress:
            async for talk in progress:
                now = held.showing(talk)
                if talk.busy:
                    yield parts.showing(now, t)
                else:
                    yield parts.settled(now, t) | {parts.status: _status(desk, t)}

    def end(held: Conversations, request: gr.Request) -> Changes:
        t, talk = _texts(request), held.shown
        begun = bool(talk.turns) and talk.turns[-1].answer is not None
        ended = talk.ended(t("stopped" if begun else "unanswered"))
        return parts.settled(held.showing(ended), t)

    def offer(
        held: Conversations, sources: list[str], since: str, until: str, request: gr.Request
    ) -> Changes:
        last = held.shown.turns[-1].answer if held.shown.turns else None
        if desk.chatbot is None or last is None:
            return parts.offering([])
        before = desk.asked(_session(request))
        offers = desk.chatbot.offers(last, _among(sources, since, until))
        # Another question may have been asked meanwhile.
        return parts.offering(offers if desk.asked(_session(request)) == before else [])

    def like(event: gr.LikeData, held: Conversations, request: gr.Request) -> None:
        t, liked = _texts(request), event.liked
        reason = next((key for key in REASONS if t(key) == liked), "")
        turn = _turn_at(held.shown, event.index)
        try:
            if desk.feedback.note(held.shown, turn, liked is True, reason):
                gr.Info(t("thanks", file=desk.feedback.file))
        except RagError as error:
            gr.Warning(str(error))

    one = _QUIET | {"concurrency_limit": None}
    asked = [*parts.shown_always, parts.question, *parts.offered]
    anew = [*parts.shown_always, *parts.offered]
    sent = [parts.send.click, parts.question.submit]
    takes = [gr.on(sent, take, [parts.question, parts.held], asked, **_QUICK)]
    takes += [b.click(take, [b, parts.held], asked, **_QUICK) for b in parts.examples]
    takes += [parts.chat.retry(again, parts.held, anew, **_QUICK)]
    takes += [parts.chat.edit(edit, parts.held, anew, **_QUICK)]
    inputs = [parts.held, *parts.scoped]
    answers = [
        taken.success(answer, inputs, [*parts.shown_settled, parts.status], **one)
        for taken in takes
    ]
    # Stop only cancels. Gradio takes that for a failure too, so that closing the question falls to
    # `failure` alone: were Stop to close it as well, whichever came last would have its say.
    parts.stop.click(None, cancels=answers, **_QUIET)
    for answered in answers:
        ended = answered.failure(end, parts.held, parts.shown_settled, **_QUICK)
        keeping = _keeping(desk), [parts.held, parts.stored], parts.stored
        ended.then(*keeping, **_QUICK)
        done = answered.success(*keeping, **_QUICK)
        done.then(offer, inputs, parts.offered, **_QUIET | {"concurrency_limit": 1})
    parts.chat.like(like, parts.held, None, **_QUIET)


def _turn_at(talk: Conversation, message: Any) -> int:
    """The turn, counted from 0, of a message of the chat."""
    place = message[0] if isinstance(message, (list, tuple)) else message
    told = rendering.messages(talk.turns, Texts("en"))[: int(place) + 1]
    return len([each for each in told if each["role"] == "user"]) - 1


def _among(sources: list[str] | None, since: str | None, until: str | None) -> Among:
    """What was chosen; a time that is none leaves nothing out."""
    return Among(tuple(sources or ()), _day(since), _day(until))


def _day(text: str | None) -> str:
    found = DAY.fullmatch((text or "").strip())
    return found[0] if found else ""


DAY = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")


# -- conversations


def _connect_conversations(desk: Desk, page: Any, parts: Parts) -> None:
    """What a reader finds on coming back, and going to another conversation."""
    import gradio as gr

    def arrive(held: Conversations, stored: Any, request: gr.Request) -> Changes:
        t, session = _texts(request), _session(request)
        talks = desk.shelf.merged(_reader(stored), _talks(stored), MOST_KEPT)
        found = kept(talks, lambda id: _article(desk, id, session), t("gone"))
        now = held.joined(found)
        if now.all and not now.shown.turns:
            now = now.opened(now.all[0].id)
        offers = [] if now.shown.turns else desk.examples()
        shown = parts.settled(now, t) | parts.welcoming(desk, t) | parts.offering(offers)
        # Who was quicker with a question than this, has a conversation by now.
        return parts.welcoming(desk, t) if desk.asked(session) else shown

    def begin(held: Conversations, request: gr.Request) -> Changes:
        t = _texts(request)
        shown = parts.settled(held.opened(""), t) | parts.welcoming(desk, t)
        return shown | parts.offering(desk.examples())

    def turn_to(
        event: gr.EventData, held: Conversations, stored: Any, request: gr.Request
    ) -> Changes:
        if held.shown.busy:
            raise _not_now()
        desk.count(_session(request))
        id, changes = _told(event, "id"), {}
        if _told(event, "do") == "delete":
            desk.shelf.put(_reader(stored), id, None)
            held, changes = held.without(id), {parts.stored: _merged(desk, stored)}
        elif id != held.shown.id:
            held = held.opened(id)
        offers = [] if held.shown.turns else desk.examples()
        return parts.settled(held, _texts(request)) | parts.offering(offers) | changes

    def look(request: gr.Request) -> Changes:
        status = _status(desk, _texts(request))
        return {parts.status: status, parts.timer: gr.Timer(active=not desk.settled)}

    def speak(request: gr.Request) -> Changes:
        t = _texts(request)  # Gradio leaves what can be chosen untranslated
        orders = _orders(t)
        return {
            parts.order: gr.update(choices=orders, value=orders[0]),
            parts.chat: gr.update(feedback_options=_feedback_options(t)),
        }

    def leave(request: gr.Request) -> None:
        desk.leave(_session(request))

    both = [*parts.shown_settled, *parts.welcomed, *parts.offered]
    page.load(arrive, [parts.held, parts.stored], both, **_QUICK)
    page.load(speak, [], [parts.order, parts.chat], **_QUICK)
    parts.anew.click(begin, parts.held, both, **_QUICK)
    turned = [*parts.shown_settled, *parts.offered, parts.stored]
    parts.list.select(turn_to, [parts.held, parts.stored], turned, **_QUICK)
    page.unload(leave)
    parts.timer.tick(look, [], [parts.status, parts.timer], **_QUICK)


def _keeping(desk: Desk) -> Any:
    def keep(held: Conversations, stored: Any) -> Any:
        stored = {"reader": _reader(stored), "talks": _talks(stored)}
        talk = held.shown
        desk.shelf.put(stored["reader"], talk.id, to_keep(talk))
        if talk.replaces:
            desk.shelf.put(stored["reader"], talk.replaces, None)
        return _merged(desk, stored)

    return keep


def _merged(desk: Desk, stored: Any) -> dict[str, Any]:
    """What a browser is to keep: what it had, as all of its tabs have changed it."""
    reader = _reader(stored)
    return {"reader": reader, "talks": desk.shelf.merged(reader, _talks(stored), MOST_KEPT)}


def _talks(stored: Any) -> list[dict[str, Any]]:
    """What a browser had kept; nothing of what is not as this page wrote it."""
    talks = stored.get("talks") if isinstance(stored, dict) else None
    return [talk for talk in talks if _is_talk(talk)] if isinstance(talks, list) else []


def _is_talk(talk: Any) -> bool:
    return (
        isinstance(talk, dict)
        and isinstance(talk.get("id"), str)
        and isinstance(talk.get("changed"), int | float)
        and isinstance(talk.get("turns"), list)
    )


def _reader(stored: Any) -> str:
    """What tells this browser from others; a new one when it has not been here."""
    known = stored.get("reader") if isinstance(stored, dict) else None
    sound = isinstance(known, str) and re.fullmatch("[0-9a-f]{32}", known)
    return str(known) if sound else secrets.token_hex(16)


def _article(desk: Desk, id: str, session: str) -> Article | None:
    try:
        return desk.article(id, session)
    except IndexDamaged:
        return None


# -- articles


def _connect_articles(desk: Desk, parts: Parts) -> None:
    """Looking through the articles, and reading one."""
    import gradio as gr

    def find(
        words: str,
        order: int | None,
        sources: list[str],
        since: str,
        until: str,
        most: int,
        request: gr.Request,
    ) -> Changes:
        t, index = _texts(request), desk.index
        lines, count = (
            ([], 0)
            if index is None
            else index.listing(words, _among(sources, since, until), list(Order)[order or 0], most)
        )
        return {
            parts.found: rendering.articles(lines, count, t),
            parts.more: gr.update(visible=count > len(lines)),
        }

    def read(event: gr.EventData, request: gr.Request) -> Changes:
        if _told(event, "do") != "read":
            return {
                parts.reader: gr.update(visible="hidden"),
                parts.sources: gr.update(visible=True),
            }
        found = _article(desk, _told(event, "article"), _session(request))
        start, end = (int(_told(event, place) or 0) for place in ("start", "end"))
        shown = rendering.article(found, start, end, _texts(request))
        return {
            parts.reader: gr.update(value=shown, visible=True),
            parts.sources: gr.update(visible="hidden"),
        }

    fields = [
        *(parts.search, parts.order),
        *(parts.found_sources, parts.found_since, parts.found_until),
    ]
    looked = [*fields, parts.shown], [parts.found, parts.more]
    begun = [parts.articles.select, *(f.change for f in fields)]
    counted = gr.on(begun, lambda: LINES, [], parts.shown, **_QUICK)
    grown = parts.more.click(lambda most: most + LINES, parts.shown, parts.shown, **_QUICK)
    for changed in (counted, grown):
        changed.then(find, *looked, **_QUICK)
    for part in (parts.sources, parts.found, parts.reader):
        part.select(read, [], [parts.reader, parts.sources], **_QUICK)


# -- files of the reader's own


def _connect_uploads(desk: Desk, page: Any, parts: Parts) -> None:
    import gradio as gr

    async def take(files: list[str] | None, request: gr.Request) -> AsyncIterator[Changes]:
        t = _texts(request)
        if not files:
            return
        if desk.chatbot is None:
            yield {parts.dropped: rendering.status(desk.problem, "", ""), parts.drop: None}
            return
        uploads = desk.uploads(_session(request), desk.chatbot.encoder)
        adding = asyncio.get_running_loop().run_in_executor(None, uploads.add, files)
        while not adding.done():
            yield {parts.dropped: rendering.uploads(uploads, t, doing=True)}
            await asyncio.sleep(PERIOD_S)
        await adding
        yield {parts.dropped: rendering.uploads(uploads, t), parts.drop: None}

    def remove(event: gr.EventData, request: gr.Request) -> Changes:
        uploads = desk.uploads_of(_session(request))
        if uploads is None:
            return {parts.dropped: ""}
        uploads.remove(_told(event, "name"))
        return {parts.dropped: rendering.uploads(uploads, _texts(request))}

    def arrive(request: gr.Request) -> Changes:
        uploads = desk.uploads_of(_session(request))
        return {parts.dropped: rendering.uploads(uploads, _texts(request)) if uploads else ""}

    several = _QUIET | {"concurrency_limit": MOST_READING}
    parts.drop.upload(take, parts.drop, [parts.dropped, parts.drop], **several)
    page.load(arrive, [], [parts.dropped], **_QUICK)
    parts.dropped.select(remove, [], [parts.dropped], **_QUICK)


def _not_now() -> Exception:
    """What ends an event without a word: nothing changes, and nothing that follows it happens."""
    import gradio as gr

    silent: Exception = gr.Error("", visible=False, print_exception=False)
    return silent


def _told(event: "gr.EventData", key: str) -> str:
    """What a click has told of the button; empty when it has not."""
    data = event._data if isinstance(event._data, dict) else {}
    return str(data.get(key, ""))


def _session(request: "gr.Request") -> str:
    """What tells this tab from others, as long as it is open."""
    return request.session_hash or ""


def _texts(request: "gr.Request") -> Texts:
    return for_reader(request.headers.get("accept-language", ""))


# `private` keeps every event out of the API; the quick ones do not stand in the queue.
_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
_QUICK = _QUIET | {"queue": False}
