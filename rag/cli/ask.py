"""`rag search`, `ask` and `check`, and the servers that answer questions: `rag chat` and `rag mcp`."""

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from rag.answering.question import validate_question
from rag.cli.options import MAX_HITS, IndexOption, JsonOption, parse_number
from rag.cli.output import (
    print_citation_report,
    print_hits,
    print_json,
    print_timings,
    status,
    stream_answer,
)
from rag.errors import UsageError
from rag.evaluation.dataset import read_questions
from rag.settings import load_flags
from rag.timing import PhaseTimer
from rag.types import Notice, Question, round_seconds

GENERATOR_CRASHED = (
    "The language model crashed, so the answer is a quotation. It restarts with the next question."
)

QuestionArgument = Annotated[str | None, typer.Argument(metavar="QUESTION", show_default=False)]
QuestionsOption = Annotated[
    Path | None,
    typer.Option("--questions", metavar="FILE", help="Read questions from a JSON Lines file."),
]
TimingsOption = Annotated[
    bool, typer.Option("--timings", help="Print on stderr how long each step took.")
]


def search(
    question: QuestionArgument = None,
    index: IndexOption = None,
    k: Annotated[str, typer.Option("--k", metavar="N", help="Number of passages.")] = "5",
    questions: QuestionsOption = None,
    timings: TimingsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print the passages that match a question best."""
    started_at = time.perf_counter()
    from rag.answering.chatbot import Chatbot

    limit = parse_number("--k", k, MAX_HITS)
    requests = parse_questions(question, questions)
    chatbot = Chatbot.open(load_flags(index=index))
    with status("Loading the encoder …"):
        chatbot.load_encoder()
    loading_s = time.perf_counter() - started_at
    for request in requests:
        timer = PhaseTimer()
        standalone_question, hits = chatbot.search(
            request.text, history=request.history, limit=limit, timer=timer
        )
        stages = timer.stages()
        total_s = round(sum(stages.values()), 4)
        if as_json:
            print_json(
                {
                    **request.label,
                    "question": request.text,
                    "standalone_question": standalone_question,
                    "hits": [hit.as_json() for hit in hits],
                    "seconds": total_s,
                    "timings": {"total_s": total_s, "stages": round_seconds(stages)},
                }
            )
        else:
            print_hits(hits)
        if timings:
            print_timings(stages, loading_s)


def ask(
    question: QuestionArgument = None,
    index: IndexOption = None,
    questions: QuestionsOption = None,
    timings: TimingsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Answer a question, with citations."""
    started_at = time.perf_counter()
    from rag.answering.chatbot import Chatbot

    requests = parse_questions(question, questions)
    chatbot = Chatbot.open(load_flags(index=index))
    with status("Loading the models …"):
        chatbot.load()
    loading_s = time.perf_counter() - started_at
    if chatbot.problem:
        print(f"rag: {chatbot.problem}", file=sys.stderr)
    for request in requests:
        if as_json:
            answer = chatbot.answer(request.text, history=request.history)
            print_json({**request.label, **answer.as_json()})
        else:
            answer = stream_answer(chatbot.ask(request.text, history=request.history))
        if answer.notice is Notice.GENERATOR_CRASHED:
            print(f"rag: {GENERATOR_CRASHED}", file=sys.stderr)
        if timings:
            print_timings(answer.timings.stages, loading_s)


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Output of `rag ask --json`.")],
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that the citations of saved answers still match the articles, word for word."""
    from rag.evaluation.citation_audit import audit_citations, read_saved_citations, report
    from rag.store.reader import IndexReader

    citations = read_saved_citations(file)
    with IndexReader.open(load_flags(index=index).index) as reader:
        citation_report = report(audit_citations(reader, citations))
    if as_json:
        print_json(citation_report)
    else:
        print_citation_report(citation_report)
    if citation_report["problems"]:
        raise typer.Exit(1)


def chat(
    index: IndexOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[str | None, typer.Option(help="Port to listen on [7860].")] = None,
    root_path: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Path prefix that a proxy in front removes, as /news."),
    ] = None,
    mcp: Annotated[bool, typer.Option("--mcp", help="Also serve MCP, at /mcp.")] = False,
) -> None:
    """Serve the chat page."""
    from rag.server import serve

    settings = load_flags(index=index, host=host, port=port, root_path=root_path, mcp=mcp or None)
    serve(settings)


def mcp_command(index: IndexOption = None) -> None:
    """Run an MCP (Model Context Protocol) server on stdin and stdout."""
    from rag.server import mcp_server

    mcp_server.run(load_flags(index=index))


def parse_questions(question: str | None, file: Path | None) -> Iterable[Question]:
    """Return the question of the command line, or those of a file.

    Raises:
        UsageError: There is neither, or both.
        QuestionError: The question is empty or too long. A file is read lazily, and raises later.
    """
    if question is not None and file is not None:
        raise UsageError("QUESTION and --questions cannot be combined.", remedy="Use one of them.")
    if file is not None:
        return read_questions(file)
    if question is not None:
        return [Question(validate_question(question))]
    raise UsageError(
        "The argument QUESTION is missing.", remedy="Pass a question, or --questions FILE."
    )
