"""The commands of `rag`. JSON goes to stdout and nothing else there; progress goes to stderr."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

from rag.datatypes import Answer, Message, Question
from rag.errors import QuestionError, RagError, UsageError
from rag.settings import load

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

MOST_HITS = 1000

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Footnote: ask your own articles, and check every sentence of the answer.",
)

Index = Annotated[
    Path | None, typer.Option("--index", metavar="DIR", help="Folder of the index [index/].")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
QuestionText = Annotated[str | None, typer.Argument(metavar="QUESTION", show_default=False)]
Questions = Annotated[
    Path | None,
    typer.Option("--questions", metavar="FILE", help="A JSON Lines file of questions instead."),
]


def main() -> None:
    """The console script. Whatever a user did wrong ends as one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        code = app(standalone_mode=False)
    except RagError as error:
        print(f"rag: {error}", file=sys.stderr)
        code = error.exit_code
    except TyperException as error:
        print(f"rag: {error.format_message()} See `rag --help`.", file=sys.stderr)
        code = error.exit_code
    if code == 130:
        print("rag: Interrupted.", file=sys.stderr)
    sys.exit(code or 0)


@app.command("index")
def index_command(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SOURCE]...", help="Files or folders of articles."),
    ] = None,
    index: Index = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Start from nothing, with the sources named.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the index in line with its sources (without SOURCE: those it knows, else seeds/)."""
    from rag import indexing
    from rag.encoder import Encoder
    from rag.models import encoder_folder

    settings = load(index=index)
    encoder = Encoder(settings.encoder, encoder_folder(settings.encoder, settings.cache))
    with progress_bar() as bar:
        summary = indexing.sync(
            settings.index, encoder, sources or [], rebuild=rebuild, progress=Bar(bar)
        )
    if as_json:
        print_json(summary.as_json())
        return
    for path in summary.left:
        print(f"The sample articles in {path} have left the index: it now holds your own.")
    for skipped in summary.skipped:
        print(f"Skipped {skipped.path}: {skipped.reason}.")
    print(
        f"{settings.index}: {summary.added} articles added, {summary.changed} changed,"
        f" {summary.removed} removed, {summary.unchanged} unchanged,"
        f" {len(summary.skipped)} skipped; {summary.passages} passages; {summary.seconds:.1f} s."
    )


@app.command()
def search(
    question: QuestionText = None,
    index: Index = None,
    k: Annotated[str, typer.Option("--k", metavar="N", help="How many passages.")] = "5",
    questions: Questions = None,
    as_json: AsJson = False,
) -> None:
    """The passages that answer best."""
    from rag.chatbot import Chatbot

    if not k.isdecimal() or not 1 <= int(k) <= MOST_HITS:
        raise UsageError(f"--k is {k}.", remedy=f"Give a number from 1 to {MOST_HITS}.")
    asked_all = asked_for(question, questions)
    chatbot = Chatbot.open(load(index=index))
    with waiting("Loading the encoder …"):
        chatbot.load_encoder()
    for asked in asked_all:
        began = time.perf_counter()
        standalone, hits = chatbot.search(asked.text, asked.history, int(k))
        if as_json:
            print_json(
                {
                    **asked.label,
                    "question": asked.text,
                    "standalone_question": standalone,
                    "hits": [hit.as_json() for hit in hits],
                    "seconds": round(time.perf_counter() - began, 4),
                }
            )
            continue
        for hit in hits:
            print(f"{hit.rank}. {hit.passage.title}{dated(hit.passage.date)}  [{hit.score:.2f}]")
            print(f"   {' '.join(hit.passage.text.split())}\n")


@app.command()
def ask(
    question: QuestionText = None,
    index: Index = None,
    questions: Questions = None,
    as_json: AsJson = False,
) -> None:
    """One cited answer."""
    from rag.chatbot import Chatbot

    asked_all = asked_for(question, questions)
    chatbot = Chatbot.open(load(index=index))
    with waiting("Loading the models …"):
        chatbot.load()
    for asked in asked_all:
        answers = chatbot.ask(asked.text, asked.history)
        if as_json:
            *_, last = answers
            print_json({**asked.label, **last.as_json()})
        else:
            show(answers)


@app.command()
def chat(
    index: Index = None,
    host: Annotated[str | None, typer.Option(help="Address to serve on [127.0.0.1].")] = None,
    port: Annotated[str | None, typer.Option(help="Port to serve on [7860].")] = None,
) -> None:
    """Serve the chat page."""
    from rag.web import serve

    serve(load(index=index, host=host, port=port))


@app.command()
def info(index: Index = None, as_json: AsJson = False) -> None:
    """What the index holds and which models are in use."""
    from rag.index import PassageIndex

    settings = load(index=index)
    with PassageIndex.open(settings.index) as opened:
        contents = opened.contents()
    about = {
        "index": str(settings.index),
        "articles": contents.articles,
        "passages": contents.passages,
        "bytes": contents.bytes,
        "sources": dict(contents.sources),
        "encoder": contents.encoder,
        "generator": settings.generator,
    }
    if as_json:
        print_json(about)
        return
    for name, value in about.items():
        print(f"{name:<10} {value}")


# -- questions in


def asked_for(question: str | None, file: Path | None) -> Iterable[Question]:
    """The question of the command line, or those of a file. Raises UsageError and QuestionError."""
    from rag.chatbot import sound

    if question is not None and file is not None:
        raise UsageError("A question and --questions were given.", remedy="Give one of the two.")
    if file is not None:
        if not file.is_file():
            raise QuestionError(
                f"There is no file {file} of questions.", remedy="Correct the path."
            )
        return questions_of(file)
    if question is not None:
        return [Question(sound(question))]
    raise UsageError("A question is missing.", remedy="Give a QUESTION, or --questions FILE.")


def questions_of(file: Path) -> Iterator[Question]:
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield parse_question(line, f"{file}, line {number}")
    except OSError as error:
        raise QuestionError(
            f"The questions in {file} cannot be read: {error.strerror}.", remedy="Correct the path."
        ) from error
    except UnicodeError as error:
        raise QuestionError(
            f"The questions in {file} are not UTF-8 text.", remedy="Save the file as UTF-8."
        ) from error


def parse_question(line: str, place: str) -> Question:
    from rag.chatbot import sound

    try:
        row = json.loads(line)
        history = [
            Message(role=turn["role"], content=turn["content"]) for turn in row.get("history") or []
        ]
        texts = [row["question"], *(text for turn in history for text in turn.values())]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise QuestionError(
            f"{place} is not a question.",
            remedy='Write {"id": …, "question": "…"}, with "history" as role and content, on one line.',
        ) from None
    try:
        return Question(sound(row["question"]), tuple(history), row.get("id"))
    except QuestionError as error:
        raise QuestionError(f"{place}: {error.problem}", remedy=error.remedy) from None


# -- answers out


def print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


def show(answers: Iterator[Answer]) -> None:
    """Stream an answer to the terminal: the draft, dimmed, until the checked answer takes its place."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    with Live(console=console, transient=True, refresh_per_second=8) as live:
        for answer in answers:
            live.update(Text(answer.draft or "Searching …", style="dim italic"))
    if answer.standalone_question != answer.question:
        console.print(Text(f"Asked as: {answer.standalone_question}\n", style="dim"))
    style = {"written": "", "quoted": "", "refused": "yellow"}[answer.mode]
    console.print(Text(answer.text, style=style))
    console.print()
    for citation in answer.citations:
        quote = citation.quote
        console.print(
            Text.assemble(
                (f"[{citation.marker}] ", "bold cyan"),
                (f"{quote.title}{dated(quote.date)}", "bold"),
                f" · {quote.article_id}:{quote.start}–{quote.end}",
            )
        )
        console.print(Text(f"    “{' '.join(quote.text.split())}”", style="green"))
    if not answer.citations:
        for hit in answer.hits[:3]:
            console.print(Text(f"  · {hit.passage.title}{dated(hit.passage.date)}", style="dim"))
    console.print(Text(verdict(answer), style="dim"))


def verdict(answer: Answer) -> str:
    struck = sum(not sentence.supported for sentence in answer.sentences)
    parts = [answer.mode.value, f"{answer.timings.total_s:.1f} s", answer.model]
    if struck:
        parts.insert(1, f"{struck} drafted sentence{'s' if struck > 1 else ''} did not hold")
    return " · ".join(parts)


def dated(date: str | None) -> str:
    return f" ({date})" if date else ""


# -- progress


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say on a terminal's stderr what is being waited for."""
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def progress_bar() -> Iterator["RichProgress"]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        yield bar


class Bar:
    """Shows a sync's progress; the bar of the last task stays until the next one starts."""

    def __init__(self, bar: "RichProgress") -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def start(self, task: str, total: int | None) -> None:
        self._bar.console.print(task, style="dim")
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(task, total=total, rate="")

    def advance(self, steps: int) -> None:
        if self._task is not None:
            speed = self._bar.tasks[-1].speed
            self._bar.update(self._task, advance=steps, rate=f"{speed:.0f}/s" if speed else "")
