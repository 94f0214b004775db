"""`rag eval`: measure retrieval and answers on a set of questions, or generate such a set."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rag import extras
from rag.cli.options import MAX_HITS, IndexOption, JsonOption, parse_number
from rag.cli.output import ProgressBar, print_evaluation, print_json, progress_bar, status
from rag.errors import UsageError
from rag.evaluation.dataset import EvalQuestion
from rag.settings import Settings, load_flags, warn_deprecated

if TYPE_CHECKING:
    from rag.evaluation.runner import QuestionResult

MAX_GENERATED = 10_000
"""Most questions that --generate makes."""


def eval_command(
    questions: Annotated[
        Path | None,
        typer.Argument(
            metavar="[QUESTIONS]", help="A JSON Lines file, or a folder in BEIR format."
        ),
    ] = None,
    index: IndexOption = None,
    k: Annotated[str, typer.Option("--k", metavar="N", help="Number of passages.")] = "10",
    answers: Annotated[bool, typer.Option("--answers", help="Evaluate answers as well.")] = False,
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", metavar="RUN", help="Compare with a run saved with --json."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="REPORT", help="Write an HTML report.")
    ] = None,
    generate: Annotated[
        str | None,
        typer.Option("--generate", metavar="N", help="Generate N questions from the articles."),
    ] = None,
    as_json: JsonOption = False,
    against: Annotated[Path | None, typer.Option("--against", hidden=True)] = None,
    make: Annotated[str | None, typer.Option("--make", hidden=True)] = None,
) -> None:
    """Evaluate retrieval, and answers with --answers, on your own questions."""
    settings = load_flags(index=index)
    if against is not None:
        warn_deprecated("--against", "--baseline", ignored=baseline is not None)
    if make is not None:
        warn_deprecated("--make", "--generate", ignored=generate is not None)
    if generate is not None:
        generate_questions(settings, parse_number("--generate", generate, MAX_GENERATED))
        return
    if make is not None:
        generate_questions(settings, parse_number("--make", make, MAX_GENERATED))
        return
    if questions is None:
        raise UsageError(
            "The argument QUESTIONS is missing.",
            remedy="Name a file, or generate questions with --generate N.",
        )
    extras.require("eval", "`rag eval`")
    from rag.evaluation import runner
    from rag.evaluation.dataset import read_eval_questions

    limit = parse_number("--k", k, MAX_HITS)
    dataset = read_eval_questions(questions)
    earlier_run = baseline or against
    baseline_values = runner.read_baseline(earlier_run) if earlier_run else {}
    results = list(evaluate_questions(settings, dataset, limit, answers))
    evaluation = runner.evaluation(results, baseline_values)
    if html:
        from rag.evaluation import report

        parameters = {"questions": str(questions), "index": str(settings.index), "k": str(limit)}
        models = {"encoder": settings.encoder, "generator": settings.generator}
        report.write(evaluation, parameters | models, html)
    if as_json:
        print_json(evaluation.as_json())
    else:
        print_evaluation(evaluation)


def evaluate_questions(
    settings: Settings, dataset: Sequence[EvalQuestion], k: int, answers: bool
) -> "Iterator[QuestionResult]":
    """Yield the result of each question, with progress on stderr."""
    from rag.answering.chatbot import Chatbot
    from rag.evaluation import runner

    chatbot = Chatbot.open(settings)
    with status("Loading the models …"):
        if answers:
            chatbot.load()
        else:
            chatbot.load_encoder()
    evaluate_one = runner.evaluate_answer if answers else runner.evaluate_search
    with progress_bar() as bar:
        progress = ProgressBar(bar)
        progress.start("Answering" if answers else "Searching", len(dataset))
        for question in dataset:
            yield evaluate_one(chatbot, question, k)
            progress.advance(1)


def generate_questions(settings: Settings, count: int) -> None:
    """Print generated questions as JSON Lines, and warn if there are fewer than `count`."""
    from rag.evaluation.synthesize import draft
    from rag.store.reader import IndexReader

    generated = 0
    with IndexReader.open(settings.index) as reader:
        for generated, question in enumerate(draft(reader, count), start=1):
            print_json({"id": generated, **question.as_json()})
    if generated < count:
        print(
            f"Only {generated} questions could be generated from the articles, not {count}.",
            file=sys.stderr,
        )
