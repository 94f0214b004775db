"""The chat page: questions on the left, the answer's sources beside it.

`serve` opens the chatbot, launches the page, and loads the models while the page is already up.
What comes from a model or an article is escaped in `rag.markup`, and the page renders HTML only, never
Markdown.
"""

import asyncio
import os
import socket
import sys
import threading
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from errno import EADDRINUSE
from functools import partial
from html import escape
from importlib.resources import files
from typing import Any

from rag import markup
from rag.chatbot import Chatbot
from rag.datatypes import Answer, Message
from rag.errors import PageError, RagError
from rag.markup import Turn, Turns
from rag.questions import MOST_CHARACTERS
from rag.settings import Settings

EXAMPLES = 4
"""Questions offered while the conversation is empty."""

LONGEST_EXAMPLE = 70
"""Characters of a title; a longer one makes no readable question."""

PERIOD_S = 0.15
"""Between two looks at an answer: quick to the eye, and often enough for Gradio to notice that the
reader has gone."""

WAITING = 32
"""Questions that may wait for their turn, from all readers together."""

LOADING = "Loading the models… you can already type."
STILL_LOADING = "The models are still loading. Your question is next, no need to ask again."
STOPPED = "Stopped. What had been written was not checked."
UNANSWERED = "No answer came: stopped, too many questions waiting, or out of touch. Ask again."
BROKEN = "Something went wrong here. What it was stands where this page was started."


def serve(settings: Settings) -> None:
    """Serve the page until Ctrl-C. Raises PageError when it cannot be served."""
    host = _host(settings)
    _check_free(host, settings.port)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    desk = Desk(settings)
    page = _page(desk)
    try:
        page.launch(
            server_name=host,
            server_port=settings.port,
            prevent_thread_lock=True,
            quiet=True,
            **_shielded(),
            **_looks(),
        )
    except OSError as error:
        raise _in_use(settings.port) from error
    line = f"Footnote is on http://{_shown_host(host)}:{settings.port} (Ctrl-C stops it)."
    try:
        print(line, flush=True)
        desk.load()
        threading.Event().wait()
    except KeyboardInterrupt:
        page.close(verbose=False)


# -- the models behind the page


class Desk:
    """The chatbot behind the page: opened at once, its models loaded on a thread of their own."""

    def __init__(self, settings: Settings) -> None:
        self.problem = ""
        self.chatbot: Chatbot | None = None
        self._settings = settings
        self._settled = threading.Event()
        self._open()

    def reopen(self) -> None:
        """Try once more when there was nothing to open: an index may have been built since."""
        if self.chatbot is None:
            self._settled.clear()
            self._open()
            self.load()

    def load(self) -> None:
        """Begin to load the models; returns at once."""
        threading.Thread(target=self._load, name="models", daemon=True).start()

    @property
    def settled(self) -> bool:
        """Whether the models are loaded, or never will be."""
        return self._settled.is_set()

    @property
    def status(self) -> str:
        """How far the models have come, and what is held now, in one line of HTML."""
        if self.problem:
            return f'<p class="status problem">{escape(self.problem)}</p>'
        if not self.settled or self.chatbot is None:
            return f'<p class="status loading">{LOADING}</p>'
        held = markup.counted(self.chatbot.index.contents().articles, "article")
        return (
            f'<p class="status">{held} indexed · answers by {escape(self._settings.generator)}</p>'
        )

    def examples(self) -> list[str]:
        """Questions that the newest articles answer, as they are now."""
        if self.chatbot is None:
            return []
        self.chatbot.renew()
        titles = self.chatbot.index.titles(5 * EXAMPLES)
        fitting = [title for title in titles if title and len(title) <= LONGEST_EXAMPLE]
        return [f"What is known about “{title}”?" for title in fitting[:EXAMPLES]]

    def _open(self) -> None:
        try:
            self.chatbot = Chatbot.open(self._settings)
            self.problem = ""
        except RagError as error:
            self._fail(str(error))

    def _load(self) -> None:
        if self.chatbot is None:
            return
        try:
            self.chatbot.load()
        except RagError as error:
            self._fail(str(error))
        except Exception:
            traceback.print_exc()
            self._fail(BROKEN)
        self._settled.set()

    def _fail(self, problem: str) -> None:
        print(problem, file=sys.stderr)
        self.problem = problem
        self._settled.set()


class Asking:
    """A question answered on a thread of its own; `newest` is as far as the answer has come."""

    def __init__(self, chatbot: Chatbot, question: str, history: Sequence[Message]) -> None:
        self.newest: Answer | None = None
        self.problem = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(chatbot, question, history), name="answer", daemon=True
        )
        self._thread.start()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Have the generator stopped at its next piece."""
        self._stopped.set()

    def _run(self, chatbot: Chatbot, question: str, history: Sequence[Message]) -> None:
        try:
            with closing(chatbot.ask(question, history)) as answers:
                for self.newest in answers:
                    if self._stopped.is_set():
                        break
        except RagError as error:
            self.problem = str(error)
        except Exception:
            traceback.print_exc()
            self.problem = BROKEN


# -- a conversation


def _taken(question: str, turns: Turns) -> Turns:
    """The conversation with one more question; as it was when that is empty or comes too early."""
    early = bool(turns) and not turns[-1].over
    return turns if early or not question.strip() else (*turns, Turn(question.strip()))


def _ended(turns: Turns, note: str) -> Turns:
    """The conversation with its last question closed, if it was still open."""
    if not turns or turns[-1].over:
        return turns
    return (*turns[:-1], replace(turns[-1], note=note, over=True))


async def _answering(desk: Desk, turns: Turns) -> AsyncGenerator[Turns]:
    """The conversation as the answer to its last question comes about.

    When Gradio cancels this (Stop, or a closed tab), the generator is stopped.
    """
    if not turns or turns[-1].over:
        return
    *earlier, turn = turns
    desk.reopen()
    while not desk.settled:
        yield (*earlier, replace(turn, note=STILL_LOADING))
        await asyncio.sleep(PERIOD_S)
    if desk.problem or desk.chatbot is None:
        yield _ended(turns, desk.problem)
        return
    asking = Asking(desk.chatbot, turn.question, _history(earlier))
    try:
        while not asking.over:
            await asyncio.sleep(PERIOD_S)
            yield (*earlier, replace(turn, answer=asking.newest))
    finally:
        asking.stop()
    yield (*earlier, replace(turn, answer=asking.newest, note=asking.problem, over=True))


def _history(turns: Iterable[Turn]) -> list[Message]:
    """What was asked and answered, for the chatbot."""
    history: list[Message] = []
    for turn in turns:
        if turn.answer is not None and turn.answered:
            history.append({"role": "user", "content": turn.question})
            history.append({"role": "assistant", "content": turn.answer.text})
    return history


# -- the page


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the page that change."""

    turns: Any
    status: Any
    timer: Any
    chat: Any
    offer: Any
    examples: Sequence[Any]
    question: Any
    send: Any
    stop: Any
    anew: Any
    sources: Any

    def offering(self, desk: Desk) -> dict[Any, Any]:
        """What the status and the example questions become for the articles as they are now."""
        import gradio as gr

        questions = [*desk.examples(), *[""] * EXAMPLES][:EXAMPLES]
        buttons = zip(self.examples, questions, strict=True)
        return {self.status: desk.status} | {
            button: gr.update(value=question, visible=bool(question))
            for button, question in buttons
        }

    def showing(self, now: Turns) -> dict[Any, Any]:
        """What the parts become for the conversation as it is now, the sources left out."""
        import gradio as gr

        busy = bool(now) and not now[-1].over
        return {
            self.turns: now,
            self.chat: markup.messages(now),
            self.offer: gr.update(visible=not now),
            self.send: gr.update(visible=not busy),
            self.stop: gr.update(visible=busy),
            self.anew: gr.update(visible=bool(now) and not busy),
        }


def _page(desk: Desk) -> Any:
    import gradio as gr

    with gr.Blocks(title="Footnote", fill_width=True, delete_cache=(3600, 3600)) as page:
        turns = gr.State(())
        with gr.Row(elem_id="heading"):
            gr.HTML(_HEADING)
            status = gr.HTML(desk.status, elem_id="status")
        timer = gr.Timer(1, active=not desk.settled)
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=3, min_width=320):
                chat = gr.Chatbot(elem_id="chat", **_AS_HTML_ONLY)
                with gr.Row(elem_id="examples") as offer:
                    examples = [
                        gr.Button("", size="sm", min_width=240, visible=False)
                        for _ in range(EXAMPLES)
                    ]
                with gr.Row(elem_id="asking"):
                    question = gr.Textbox(**_QUESTION)
                    send = gr.Button("Send", variant="primary", scale=0, min_width=100)
                    stop = gr.Button("Stop", variant="stop", scale=0, min_width=100, visible=False)
                    anew = gr.Button("New chat", scale=0, min_width=100, visible=False)
            with gr.Column(scale=2, min_width=320):
                sources = gr.HTML(markup.sources(()), elem_id="sources")
        parts = Parts(
            *(turns, status, timer, chat, offer, examples),
            *(question, send, stop, anew, sources),
        )
        _connect(desk, page, parts)
    return page.queue(max_size=WAITING, api_open=False)


def _connect(desk: Desk, page: Any, parts: Parts) -> None:
    """What happens when the parts are used."""
    import gradio as gr

    def take(asked: str, before: Turns) -> dict[Any, Any]:
        now = _taken(asked, before)
        return parts.showing(now) | {parts.question: asked if now is before else ""}

    async def answer(before: Turns) -> AsyncIterator[dict[Any, Any]]:
        async with aclosing(_answering(desk, before)) as progress:
            async for now in progress:
                over = {parts.sources: markup.sources(now), parts.status: desk.status}
                yield parts.showing(now) | (over if now[-1].over else {})

    def end(before: Turns) -> dict[Any, Any]:
        begun = bool(before) and before[-1].answer is not None
        return parts.showing(_ended(before, STOPPED if begun else UNANSWERED))

    def clear() -> dict[Any, Any]:
        return parts.showing(()) | {parts.sources: markup.sources(())} | parts.offering(desk)

    def look() -> dict[Any, Any]:
        return {parts.status: desk.status, parts.timer: gr.Timer(active=not desk.settled)}

    # `private` keeps every event out of the API; the quick ones do not stand in the queue.
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    quick = quiet | {"queue": False}
    one = quiet | {"concurrency_id": "answer", "concurrency_limit": 1}
    turns, shown = [parts.turns], list(parts.showing(()))
    asked = [*shown, parts.question]
    sent = [parts.send.click, parts.question.submit]
    takes = [gr.on(sent, take, [parts.question, parts.turns], asked, **quick)]
    takes += [button.click(take, [button, *turns], asked, **quick) for button in parts.examples]
    answered = [*shown, parts.sources, parts.status]
    answers = [taken.then(answer, turns, answered, **one) for taken in takes]
    # Stop only cancels. Gradio takes that for a failure too, so that closing the question falls to
    # `failure` alone: were Stop to close it as well, whichever came last would have its say.
    parts.stop.click(None, cancels=answers, **quiet)
    for answering in answers:
        answering.failure(end, turns, shown, **quick)
    parts.anew.click(clear, [], [*answered, *parts.examples], **quick)
    page.load(partial(parts.offering, desk), [], [parts.status, *parts.examples], **quick)
    parts.timer.tick(look, [], [parts.status, parts.timer], **quick)


_AS_HTML_ONLY: dict[str, Any] = {
    "label": "Conversation",
    "show_label": False,
    "placeholder": "Ask what the articles may answer. Every sentence is checked against them.",
    "render_markdown": False,
    "sanitize_html": True,
    "allow_tags": False,
    "latex_delimiters": [],
    "buttons": [],
    "feedback_options": None,
    "layout": "panel",
    "height": "100%",
}

_QUESTION: dict[str, Any] = {
    "label": "Your question",
    "show_label": False,
    "placeholder": "Ask the articles…",
    "container": False,
    "max_length": MOST_CHARACTERS,
    "max_lines": 6,
    "autofocus": True,
    "scale": 1,
}

_HEADING = """<header><h1>Footnote</h1>
<p>Answers from the articles alone, each sentence checked against the passage that it cites.</p>
</header>"""


def _looks() -> dict[str, Any]:
    import gradio as gr

    here = files("rag")
    # Gradio's own choice of weights holds a semi-bold without the letters of English.
    font = [gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"]
    return {
        "theme": gr.themes.Default(primary_hue="teal", neutral_hue="stone", font=font),
        "css": here.joinpath("web.css").read_text(encoding="utf-8"),
        "js": here.joinpath("web.js").read_text(encoding="utf-8"),
        "footer_links": [],
    }


def _shielded() -> dict[str, Any]:
    """What Gradio would offer to anybody who can reach the page, and this page does not need."""
    return {
        "share": False,
        "show_error": False,
        "enable_monitoring": False,
        "run_history": False,
        "ssr_mode": False,
        "max_file_size": "1kb",
    }


# -- the address


def _host(settings: Settings) -> str:
    """The settings' address; on a Space, where only 0.0.0.0 is reached, that one by default."""
    usual = settings.host == Settings.model_fields["host"].default
    return "0.0.0.0" if usual and os.environ.get("SYSTEM") == "spaces" else settings.host  # noqa: S104


def _check_free(host: str, port: int) -> None:
    """Raises PageError when the page could not be served there; Gradio would not say why."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == EADDRINUSE:
            raise _in_use(port) from error
        raise PageError(
            f"The page cannot be served on {host}, port {port} ({error.strerror}).",
            remedy="Choose others with --host and --port, or RAG_HOST and RAG_PORT.",
        ) from error


def _in_use(port: int) -> PageError:
    return PageError(f"Port {port} is in use.", remedy="Choose another with --port or RAG_PORT.")


def _shown_host(host: str) -> str:
    """An address that can be opened, for one that is listened on."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
