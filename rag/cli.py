"""The commands of `rag`. JSON goes to stdout and nothing else there; progress goes to stderr."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from rag.cli_models import app as models
from rag.datatypes import Answer, Hit, Notice, Question, rounded
from rag.errors import RagError, UsageError
from rag.questions import Expected, questions_of, sound
from rag.settings import SEEDS, Settings, load
from rag.stopwatch import Stopwatch
from rag.terminal import Bar, print_json, progress_bar, waiting

if TYPE_CHECKING:
    from rag.encoder import Encoder
    from rag.evaluation import Evaluation, Outcome, Point
    from rag.indexing import Plan, Summary
    from rag.machine import Machine
    from rag.space import Deployment

MOST_HITS = 1000
MOST_DRAFTED = 10_000

CRASHED = (
    "The language model stopped unexpectedly, so the articles are quoted. It is started again for the"
    " next question."
)

MOST_SKIPPED = 20
"""Named in the terminal, each with its reason."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Footnote: ask your own articles, and check every sentence of the answer.",
)

app.add_typer(models, name="models")
deploy_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(deploy_app, name="deploy", help="Put the page where others can reach it.")

Index = Annotated[
    Path | None, typer.Option("--index", metavar="DIR", help="Folder of the index [index/].")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
ShowTimings = Annotated[
    bool, typer.Option("--timings", help="Say on stderr where the seconds went.")
]
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
    remove: Annotated[
        list[Path] | None,
        typer.Option("--remove", metavar="SOURCE", help="Take a source out of the index."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on bringing it in line whenever a source changes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the index in line with its sources (without SOURCE: those it knows, else seeds/)."""
    from rag import indexing
    from rag.calibration import calibrate

    settings = load(index=index)
    if sum([rebuild, bool(remove), dry_run, watch]) > 1 or (remove and sources):
        raise UsageError(
            "--rebuild, --remove, --dry-run and --watch do not go together, nor --remove with SOURCE.",
            remedy="Give one of them.",
        )
    if dry_run:
        show_plan(indexing.preview(settings.index, sources or []), as_json)
        return
    encoder = encoder_of(settings)
    if remove:
        show_summary(indexing.remove(settings.index, encoder, remove), settings.index, as_json)
        return

    def bring_in_line(named: list[Path]) -> None:
        with progress_bar() as bar:
            summary = indexing.sync(
                settings.index, encoder, named, rebuild=rebuild, progress=Bar(bar)
            )
            calibrate(settings.index, encoder, Bar(bar))
        show_summary(summary, settings.index, as_json)

    bring_in_line(sources or [])
    if watch:
        follow(settings.index, bring_in_line)


def encoder_of(settings: Settings) -> "Encoder":
    from rag.encoder import Encoder

    return Encoder.chosen(settings)


def follow(index: Path, bring_in_line: Callable[[list[Path]], None]) -> None:
    """Bring the index in line at every change of its sources, until Ctrl-C."""
    import watchfiles

    from rag.index import PassageIndex

    with PassageIndex.open(index) as opened:
        watched = [path for path in opened.sources() if path.exists()]
    print(f"Following {', '.join(map(str, watched))} (Ctrl-C stops it).", file=sys.stderr)
    own = index.resolve()  # an index among its own articles would change them for ever

    def is_article(_: object, path: str) -> bool:
        return not Path(path).is_relative_to(own)

    for _ in watchfiles.watch(*watched, watch_filter=is_article, ignore_permission_denied=True):
        try:
            bring_in_line([])
        except RagError as error:  # what is wrong now may be right at the next change
            print(f"rag: {error}", file=sys.stderr)


def show_summary(summary: "Summary", index: Path, as_json: bool) -> None:
    if as_json:
        print_json(summary.as_json())
        return
    for path in summary.left:
        samples = path == SEEDS.resolve()
        what = f"The sample articles in {path} have" if samples else f"{path} has"
        print(f"{what} left the index.")
    for skipped in summary.skipped[:MOST_SKIPPED]:
        print(f"Skipped {skipped.path}: {skipped.reason}.")
    more = len(summary.skipped) - MOST_SKIPPED
    if more > 0:
        print(f"Skipped {more} more; --json names them all.")
    alone = f", {summary.left_alone} left alone (hidden, links)" if summary.left_alone else ""
    print(
        f"{index}: {summary.added} articles added, {summary.changed} changed,"
        f" {summary.removed} removed, {summary.unchanged} unchanged,"
        f" {len(summary.skipped)} skipped{alone}; {summary.passages} passages;"
        f" {summary.seconds:.1f} s.",
        flush=True,
    )


def show_plan(plan: "Plan", as_json: bool) -> None:
    if as_json:
        print_json(plan.as_json())
        return
    for path in plan.leave:
        print(f"would leave: {path}")
    for source in plan.sources:
        new, changed = ([file.name for file in files] for files in (source.new, source.changed))
        for what, names in {"new": new, "changed": changed, "gone": sorted(source.gone)}.items():
            for name in names:
                print(f"{what:<8} {source.source}: {name}")
    if plan.nothing:
        print("Nothing would change.")


@app.command()
def doctor(index: Index = None, as_json: AsJson = False) -> None:
    """Test what this machine's CPU runs, check every link of the index, and mend what can be mended."""
    from rag import machine
    from rag.doctor import examine

    settings = load(index=index)
    with waiting("Testing what this CPU runs …"):
        tested = machine.test(settings)
    if not as_json:
        show_machine(tested)
    with progress_bar() as bar:
        findings = examine(settings.index, encoder_of(settings), Bar(bar))
    if as_json:
        print_json(findings.as_json() | {"machine": tested.as_json()})
    else:
        for problem in findings.problems:
            print(f"Wrong: {problem}.")
        print(findings.verdict)
    if not findings.sound:
        raise typer.Exit(1)


def show_machine(tested: "Machine") -> None:
    print(f"CPU        {tested.cpu}")
    seconds = ", ".join(f"{way} {took:.3f} s" for way, took in tested.encoder_seconds.items())
    print(f"Encoder    {tested.encoder} ({seconds})")
    built = f" (built: {', '.join(tested.built)})" if tested.built else ""
    print(f"llama.cpp  {tested.generator}{built}")
    for what, reason in tested.ruled_out.items():
        print(f"Ruled out  {what}: {reason}")
    if tested.problem:
        print(f"Wrong: {tested.problem}")


@app.command()
def search(
    question: QuestionText = None,
    index: Index = None,
    k: Annotated[str, typer.Option("--k", metavar="N", help="How many passages.")] = "5",
    questions: Questions = None,
    timings: ShowTimings = False,
    as_json: AsJson = False,
) -> None:
    """The passages that answer best."""
    began = time.perf_counter()
    from rag.chatbot import Chatbot

    most = number("--k", k, MOST_HITS)
    asked_all = asked_for(question, questions)
    chatbot = Chatbot.open(load(index=index))
    with waiting("Loading the encoder …"):
        chatbot.load_encoder()
    loading_s = time.perf_counter() - began
    for asked in asked_all:
        clock = Stopwatch()
        standalone, hits = chatbot.search(asked.text, asked.history, most, clock)
        stages = clock.stages()
        total_s = sum(stages.values())
        if as_json:
            print_json(
                {
                    **asked.label,
                    "question": asked.text,
                    "standalone_question": standalone,
                    "hits": [hit.as_json() for hit in hits],
                    "seconds": round(total_s, 4),
                    "timings": {"total_s": round(total_s, 4), "stages": rounded(stages)},
                }
            )
        else:
            show_hits(hits)
        if timings:
            show_timings(stages, loading_s)


@app.command()
def ask(
    question: QuestionText = None,
    index: Index = None,
    questions: Questions = None,
    timings: ShowTimings = False,
    as_json: AsJson = False,
) -> None:
    """One cited answer."""
    began = time.perf_counter()
    from rag.chatbot import Chatbot

    asked_all = asked_for(question, questions)
    chatbot = Chatbot.open(load(index=index))
    with waiting("Loading the models …"):
        chatbot.load()
    loading_s = time.perf_counter() - began
    if chatbot.problem:
        print(f"rag: {chatbot.problem}", file=sys.stderr)
    for asked in asked_all:
        if as_json:
            last = chatbot.answer(asked.text, asked.history)
            print_json({**asked.label, **last.as_json()})
        else:
            last = show(chatbot.ask(asked.text, asked.history))
        if last.notice is Notice.GENERATOR_CRASHED:
            print(f"rag: {CRASHED}", file=sys.stderr)
        if timings:
            show_timings(last.timings.stages, loading_s)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `rag ask --json` has said.")],
    index: Index = None,
    as_json: AsJson = False,
) -> None:
    """Whether the citations of saved answers still stand, word for word."""
    from rag.index import PassageIndex
    from rag.standing import report, saved_citations, standing

    saved = saved_citations(file)
    with PassageIndex.open(load(index=index).index) as opened:
        found = report(standing(opened, citation) for citation in saved)
    if as_json:
        print_json(found)
    else:
        for problem in found["problems"]:
            where = f"{problem['article_id']}:{problem['start']}–{problem['end']}"
            print(f"{problem['state']:<8} {where}  “{problem['quote']}”")
        print(f"{found['stands']} of {found['citations']} citations stand word for word.")
    if found["problems"]:
        raise typer.Exit(1)


@app.command("eval")
def eval_command(
    questions: Annotated[
        Path | None,
        typer.Argument(
            metavar="[QUESTIONS]", help="A JSON Lines file, or a folder in BEIR's format."
        ),
    ] = None,
    index: Index = None,
    k: Annotated[str, typer.Option("--k", metavar="N", help="Passages searched for.")] = "10",
    answers: Annotated[bool, typer.Option("--answers", help="Answer them as well.")] = False,
    against: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Compare with a run saved by --json.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="REPORT", help="Write a report.")
    ] = None,
    make: Annotated[
        str | None, typer.Option(metavar="N", help="Draft N questions from the articles instead.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """How well your own questions are searched for and answered."""
    settings = load(index=index)
    if make is not None:
        draft_questions(settings, number("--make", make, MOST_DRAFTED))
        return
    if questions is None:
        raise UsageError(
            "QUESTIONS are missing.", remedy="Name a file, or draft some with --make N."
        )
    from rag import evaluation
    from rag.questions import expectations_of

    most = number("--k", k, MOST_HITS)
    expected = expectations_of(questions)
    earlier = evaluation.earlier_values(against) if against else {}
    outcomes = list(asked_and_measured(settings, expected, most, answers))
    found = evaluation.evaluation(outcomes, earlier)
    if html:
        from rag.report import write

        about = {"questions": str(questions), "index": str(settings.index), "k": str(most)}
        write(found, about | {"encoder": settings.encoder, "generator": settings.generator}, html)
    if as_json:
        print_json(found.as_json())
    else:
        show_evaluation(found)


def asked_and_measured(
    settings: Settings, expected: Sequence[Expected], k: int, answers: bool
) -> "Iterator[Outcome]":
    """What each question comes to, with progress on stderr."""
    from rag import evaluation
    from rag.chatbot import Chatbot

    chatbot = Chatbot.open(settings)
    with waiting("Loading the models …"):
        (chatbot.load if answers else chatbot.load_encoder)()
    outcome = evaluation.answer_outcome if answers else evaluation.search_outcome
    with progress_bar() as bar:
        shown = Bar(bar)
        shown.start("Asking" if answers else "Searching", len(expected))
        for question in expected:
            yield outcome(chatbot, question, k)
            shown.advance(1)


def show_evaluation(found: "Evaluation") -> None:
    from rich.console import Console
    from rich.table import Table

    for title, estimates in {"": found.measures, "against it": found.differences}.items():
        table = Table(title=title or None, box=None, pad_edge=False)
        for heading in ("measure", "mean", "95 % interval", "questions"):
            table.add_column(heading, justify="left" if heading == "measure" else "right")
        for name, estimate in estimates.items():
            interval = f"{estimate.low:.3f} … {estimate.high:.3f}"
            table.add_row(name, f"{estimate.value:.3f}", interval, str(estimate.n))
        if estimates:
            Console().print(table)
    if found.curve:
        table = Table(title="risk and coverage", box=None, pad_edge=False)
        for heading in ("answered", "of these not right", "from confidence"):
            table.add_column(heading, justify="right")
        for point in quarters(found.curve):
            table.add_row(f"{point.coverage:.0%}", f"{point.risk:.0%}", f"{point.confidence:.2f}")
        Console().print(table)


def quarters(curve: "Sequence[Point]") -> "list[Point]":
    """The points of a curve at a quarter, a half, three quarters and all of what was answered."""
    wanted = [curve[-1].coverage * part / 4 for part in range(1, 5)]
    return [min(curve, key=lambda point: abs(point.coverage - share)) for share in wanted]


def draft_questions(settings: Settings, most: int) -> None:
    """Print drafted questions as JSON Lines, and say on stderr what became of the number."""
    from rag.drafting import draft
    from rag.index import PassageIndex

    made = 0
    with PassageIndex.open(settings.index) as opened:
        for made, expected in enumerate(draft(opened, most), start=1):
            print_json({"id": made, **expected.as_json()})
    if made < most:
        print(f"The articles gave {made} questions, not {most}.", file=sys.stderr)


@app.command()
def chat(
    index: Index = None,
    host: Annotated[str | None, typer.Option(help="Address to serve on [127.0.0.1].")] = None,
    port: Annotated[str | None, typer.Option(help="Port to serve on [7860].")] = None,
    mcp: Annotated[bool, typer.Option("--mcp", help="Let models ask at /mcp as well.")] = False,
) -> None:
    """Serve the chat page."""
    from rag.web import serve

    serve(load(index=index, host=host, port=port, mcp=mcp or None))


@app.command("mcp")
def mcp_command(index: Index = None) -> None:
    """Let a model ask, by the Model Context Protocol on stdin and stdout."""
    from rag.web import mcp

    mcp.run(load(index=index))


@deploy_app.command("space")
def deploy_space(
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The Space's name.")],
    articles: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Send these articles, which the Space indexes."),
    ] = None,
    with_index: Annotated[
        bool, typer.Option("--with-index", help="Send the index instead, articles and all.")
    ] = False,
    index: Index = None,
    private: Annotated[bool, typer.Option("--private", help="Let only its owner see it.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")
    ] = False,
) -> None:
    """Make a Hugging Face Space of the page, or bring it up to date (without articles: seeds/)."""
    from rag import space

    if articles and with_index:
        raise UsageError("--articles and --with-index were given.", remedy="Give one of the two.")
    made = space.deployment(name, load(index=index), articles, with_index)
    for reason in made.left:
        print(reason, file=sys.stderr)
    if dry_run:
        show_deployment(made)
        return
    seen_by = "only you" if private else "everybody"
    print(f"Sending {in_all(made)} to {name}, for {seen_by} to see.", file=sys.stderr)
    print(space.deploy(name, made, private))


def show_deployment(made: "Deployment") -> None:
    from rag.space import size

    for path, content in made.files.items():
        print(f"{size(content):>12,}  {path}")
    for key, value in made.variables.items():
        print(f"{'variable':>12}  {key}={value}")
    for key in made.secrets:
        print(f"{'secret':>12}  {key}")
    print(f"{in_all(made)} would be sent.")


def in_all(made: "Deployment") -> str:
    from rag.space import size

    return f"{len(made.files)} files, {sum(map(size, made.files.values())):,} bytes"


@app.command()
def password(user: Annotated[str, typer.Argument(metavar="USER", help="The user's name.")]) -> None:
    """A line for RAG_AUTH: a user's name with the hash of a password, which is asked for."""
    from rag.web.access import line_for

    print(line_for(user, asked_password()))


@app.command()
def info(index: Index = None, as_json: AsJson = False) -> None:
    """What the index holds and which models are in use."""
    from rag import supervised, threshold
    from rag.index import PassageIndex
    from rag.models import SMOLLM2

    settings = load(index=index)
    with PassageIndex.open(settings.index) as opened:
        contents, commit = opened.contents(), opened.commit
        normal = threshold.least_score(settings.index, commit.encoder)
    about = {
        "index": str(settings.index),
        "articles": contents.articles,
        "duplicates": contents.duplicates,
        "passages": contents.passages,
        "bytes": contents.bytes,
        "sources": [asdict(source) for source in contents.sources],
        "encoder": commit.encoder.name,
        "dimensions": commit.dimensions,
        "vectors": commit.family,
        "recall": commit.recall,
        "refused_below": round(settings.strictness.least_score(normal), 3),
        "generator": settings.generator,
        "adapter": settings.adapter if settings.generator == SMOLLM2.name else "off",
        "generator_problem": supervised.last_problem(settings.cache),
    }
    if as_json:
        print_json(about)
        return
    for name, value in about.items():
        if name != "sources" and value != "":
            print(f"{name:<17} {value}")
    for source in contents.sources:
        print(
            f"{'source':<17} {source.path}: {source.articles} articles in {source.files} files,"
            f" {source.bytes:,} bytes"
        )


# -- questions in


def number(name: str, given: str, most: int) -> int:
    """A number from 1 to `most`. Raises UsageError."""
    if not given.isdecimal() or not 1 <= int(given) <= most:
        raise UsageError(f"{name} is {given}.", remedy=f"Give a number from 1 to {most}.")
    return int(given)


def asked_for(question: str | None, file: Path | None) -> Iterable[Question]:
    """The question of the command line, or those of a file. Raises UsageError and QuestionError."""
    if question is not None and file is not None:
        raise UsageError("A question and --questions were given.", remedy="Give one of the two.")
    if file is not None:
        return questions_of(file)
    if question is not None:
        return [Question(sound(question))]
    raise UsageError("A question is missing.", remedy="Give a QUESTION, or --questions FILE.")


def asked_password() -> str:
    """Typed twice without being shown, or the first line of what is piped in. Raises UsageError."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first, second = getpass("Password: "), getpass("The same again: ")
    if first != second:
        raise UsageError("The two passwords differ.", remedy="Type the same twice.")
    return first


# -- answers out


def show_hits(hits: Sequence[Hit]) -> None:
    for hit in hits:
        print(f"{hit.rank}. {hit.passage.title}{dated(hit.passage.date)}  [{hit.score:.2f}]")
        print(f"   {' '.join(hit.passage.text.split())}\n")


def show_timings(stages: Mapping[str, float], loading_s: float) -> None:
    """Where the seconds of a question went, and apart from them those before the first one."""
    total_s = sum(stages.values())
    rows = [
        (work.replace("_", " "), seconds, seconds / total_s) for work, seconds in stages.items()
    ]
    lines = [f"{work:<20}{seconds:>9.4f} s{share:>7.1%}" for work, seconds, share in rows]
    lines += [f"{'in all':<20}{total_s:>9.4f} s", f"{'loading, once':<20}{loading_s:>9.4f} s"]
    print(*lines, sep="\n", file=sys.stderr, flush=True)


def show(answers: Iterator[Answer]) -> Answer:
    """Stream an answer to the terminal: the draft, dimmed, until the checked answer takes its place.

    Returns the answer as it is in the end.
    """
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
                f" · page {quote.page}" if quote.page else "",
                *(f" · also {also.article_id}:{also.start}–{also.end}" for also in quote.also),
            )
        )
        console.print(Text(f"    “{' '.join(quote.text.split())}”", style="green"))
    if not answer.citations:
        for hit in answer.hits[:3]:
            console.print(Text(f"  · {hit.passage.title}{dated(hit.passage.date)}", style="dim"))
    console.print(Text(verdict(answer), style="dim"))
    return answer


def verdict(answer: Answer) -> str:
    struck = sum(not sentence.supported for sentence in answer.sentences)
    parts = [answer.mode.value, f"{answer.timings.total_s:.1f} s", answer.model]
    if struck:
        parts.insert(1, f"{struck} drafted sentence{'s' if struck > 1 else ''} did not hold")
    return " · ".join(parts)


def dated(date: str | None) -> str:
    return f" ({date})" if date else ""
