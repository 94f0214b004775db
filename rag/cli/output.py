"""What the commands print: JSON and text on stdout; progress, timings and status on stderr."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.settings import SEEDS
from rag.types import Answer, Citation, Hit, Skipped

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID
    from rich.text import Text

    from rag.deploy.space import Deployment
    from rag.evaluation.runner import Estimate, Evaluation, RiskCoveragePoint
    from rag.indexing.repair import DoctorReport
    from rag.indexing.sync import Plan, SyncReport
    from rag.models.machine import Machine

MAX_REASONS = 20
"""Reasons for which something was skipped that are listed; what else was skipped is counted."""

MAX_SKIPPED_PATHS = 3
"""Skipped files and rows that are listed for each reason; the others are counted."""

MAX_RELATED = 3
"""Hits that are listed below an answer without citations."""


def print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


# -- progress


@contextmanager
def status(message: str) -> Iterator[None]:
    """Show a message on stderr while the block runs, if that is a terminal."""
    from rich.console import Console

    with Console(stderr=True).status(message):
        yield


@contextmanager
def progress_bar() -> Iterator["RichProgress"]:
    """Show a progress bar on stderr while the block runs, if that is a terminal."""
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


class ProgressBar:
    """Reports a sync's progress on a rich progress bar, one task at a time.

    The bar of a finished task stays until the next task starts.
    """

    def __init__(self, bar: "RichProgress") -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def start(self, task: str, total: int | None) -> None:
        """Begin a task of `total` steps, or of an unknown number (None)."""
        self._bar.console.print(task, style="dim")
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(task, total=total, rate="")

    def expect(self, total: int) -> None:
        """Set the number of steps of the current task."""
        if self._task is not None:
            self._bar.update(self._task, total=total)

    def advance(self, steps: int) -> None:
        """Count steps of the current task as done."""
        if self._task is not None:
            speed = self._bar.tasks[-1].speed
            self._bar.update(self._task, advance=steps, rate=f"{speed:.0f}/s" if speed else "")


# -- the index


def print_sync_report(report: "SyncReport", index: Path, as_json: bool) -> None:
    if as_json:
        print_json(report.as_json())
        return
    for path in report.removed_sources:
        samples = "the sample articles in " if path == SEEDS.resolve() else ""
        print(f"Removed {samples}{path} from the index.")
    print_skipped(report.skipped)
    ignored = f", {report.ignored} ignored (hidden files and links)" if report.ignored else ""
    print(
        f"{index}: {report.added} articles added, {report.changed} changed,"
        f" {report.removed} removed, {report.unchanged} unchanged,"
        f" {len(report.skipped)} skipped{ignored}; {report.passages} passages;"
        f" {report.seconds:.1f} s.",
        flush=True,
    )


def print_skipped(skipped: Sequence[Skipped]) -> None:
    """Print what was skipped, with one line for each reason."""
    paths: dict[str, list[str]] = {}
    for each in skipped:
        paths.setdefault(str(each.reason), []).append(each.path)
    for reason, of_reason in list(paths.items())[:MAX_REASONS]:
        shown = ", ".join(of_reason[:MAX_SKIPPED_PATHS])
        unshown = len(of_reason) - MAX_SKIPPED_PATHS
        more = f" and {unshown:,} more" if unshown > 0 else ""
        print(f"Skipped {shown}{more}: {reason}.")
    unlisted = sum(len(of_reason) for of_reason in list(paths.values())[MAX_REASONS:])
    if unlisted:
        print(f"Skipped {unlisted:,} more for other reasons; use --json to list all.")


def print_plan(plan: "Plan", as_json: bool) -> None:
    if as_json:
        print_json(plan.as_json())
        return
    for path in plan.removed_sources:
        print(f"would remove the source: {path}")
    for source in plan.sources:
        for file in source.new:
            print(f"new      {source.source}: {file.name}")
        for file in source.changed:
            print(f"changed  {source.source}: {file.name}")
        for name in sorted(source.removed):
            print(f"deleted  {source.source}: {name}")
    if plan.is_empty:
        print("Nothing would change.")


def print_machine(machine: "Machine") -> None:
    print(f"CPU        {machine.cpu}")
    seconds = ", ".join(f"{dtype} {s:.3f} s" for dtype, s in machine.encoder_seconds.items())
    print(f"Encoder    {machine.encoder} ({seconds})")
    variants = f" (built: {', '.join(machine.built)})" if machine.built else ""
    print(f"llama.cpp  {machine.generator}{variants}")
    for variant, reason in machine.ruled_out.items():
        print(f"Ruled out  {variant}: {reason}")
    if machine.problem:
        print(f"Problem: {machine.problem}")


def print_doctor_report(report: "DoctorReport") -> None:
    for problem in report.problems:
        print(f"Problem: {problem}.")
    print(report.verdict)


def print_index_info(info: Mapping[str, Any]) -> None:
    """Print the output of `rag info --json` as text, with the sources last."""
    for name, value in info.items():
        if name != "sources" and value != "":
            print(f"{name:<17} {value}")
    for source in info["sources"]:
        print(
            f"{'source':<17} {source['path']}: {source['articles']} articles in"
            f" {source['files']} files, {source['bytes']:,} bytes"
        )


# -- hits and answers


def print_hits(hits: Sequence[Hit]) -> None:
    for hit in hits:
        passage = hit.passage
        print(f"{hit.rank}. {format_title(passage.title, passage.date)}  [{hit.score:.2f}]")
        print(f"   {' '.join(passage.text.split())}\n")


def stream_answer(answers: Iterator[Answer]) -> Answer:
    """Show the draft of an answer, dimmed, as it is written, then replace it with the final answer.

    Args:
        answers: The states of one answer, the final one last.

    Returns:
        The final answer.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    with Live(console=console, transient=True, refresh_per_second=8) as live:
        for answer in answers:
            live.update(Text(answer.draft or "Searching …", style="dim italic"))
    if answer.standalone_question != answer.question:
        console.print(Text(f"Searched for: {answer.standalone_question}\n", style="dim"))
    style = {"written": "", "quoted": "", "refused": "yellow"}[answer.mode]
    console.print(Text(answer.text, style=style))
    console.print()
    for citation in answer.citations:
        console.print(_format_citation(citation))
        console.print(Text(f"    “{' '.join(citation.quote.text.split())}”", style="green"))
    if not answer.citations:
        for hit in answer.hits[:MAX_RELATED]:
            title = format_title(hit.passage.title, hit.passage.date)
            console.print(Text(f"  · {title}", style="dim"))
    console.print(Text(format_footer(answer), style="dim"))
    return answer


def _format_citation(citation: Citation) -> "Text":
    from rich.text import Text

    quote = citation.quote
    return Text.assemble(
        (f"[{citation.marker}] ", "bold cyan"),
        (format_title(quote.title, quote.date), "bold"),
        f" · {format_location(str(quote.article), quote.start, quote.end)}",
        f" · page {quote.page}" if quote.page else "",
        *(
            f" · also {format_location(str(twin.article), twin.start, twin.end)}"
            for twin in quote.duplicates
        ),
    )


def format_title(title: str, date: str | None) -> str:
    return f"{title} ({date})" if date else title


def format_location(article_id: str, start: int, end: int) -> str:
    """Return a span of an article as ID:START–END, in code points."""
    return f"{article_id}:{start}–{end}"


def format_footer(answer: Answer) -> str:
    """Return the mode, seconds and model of an answer, and how many drafted sentences it lost."""
    parts = [answer.mode.value, f"{answer.timings.total_s:.1f} s", answer.model]
    unsupported = sum(not sentence.supported for sentence in answer.sentences)
    if unsupported:
        sentences = "sentence" if unsupported == 1 else "sentences"
        parts.insert(1, f"{unsupported} unsupported {sentences} removed")
    return " · ".join(parts)


def print_timings(stages: Mapping[str, float], loading_s: float) -> None:
    """Print the seconds of each stage of a question on stderr, and those of loading the models."""
    total_s = sum(stages.values())
    lines = [
        f"{stage.replace('_', ' '):<20}{seconds:>9.4f} s{seconds / total_s:>7.1%}"
        for stage, seconds in stages.items()
    ]
    lines.append(f"{'total':<20}{total_s:>9.4f} s")
    lines.append(f"{'loading (once)':<20}{loading_s:>9.4f} s")
    print(*lines, sep="\n", file=sys.stderr, flush=True)


# -- evaluation


def print_citation_report(report: Mapping[str, Any]) -> None:
    """Print the citations that no longer match, then the number of those that do."""
    for problem in report["problems"]:
        location = format_location(problem["article_id"], problem["start"], problem["end"])
        print(f"{problem['state']:<8} {location}  “{problem['quote']}”")
    print(f"{report['stands']} of {report['citations']} citations match word for word.")


def print_evaluation(evaluation: "Evaluation") -> None:
    print_estimates(evaluation.measures)
    print_estimates(evaluation.differences, title="difference from the baseline")
    if evaluation.curve:
        print_risk_coverage(evaluation.curve)


def print_estimates(estimates: Mapping[str, "Estimate"], title: str | None = None) -> None:
    from rich.console import Console
    from rich.table import Table

    if not estimates:
        return
    table = Table(title=title, box=None, pad_edge=False)
    table.add_column("measure")
    for heading in ("mean", "95 % interval", "questions"):
        table.add_column(heading, justify="right")
    for name, estimate in estimates.items():
        interval = f"{estimate.low:.3f} … {estimate.high:.3f}"
        table.add_row(name, f"{estimate.value:.3f}", interval, str(estimate.n))
    Console().print(table)


def print_risk_coverage(curve: Sequence["RiskCoveragePoint"]) -> None:
    """Print how the share of wrong answers falls as fewer questions are answered."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="risk and coverage", box=None, pad_edge=False)
    for heading in ("answered", "of which wrong", "minimum confidence"):
        table.add_column(heading, justify="right")
    for point in quartile_points(curve):
        table.add_row(f"{point.coverage:.0%}", f"{point.risk:.0%}", f"{point.confidence:.2f}")
    Console().print(table)


def quartile_points(curve: Sequence["RiskCoveragePoint"]) -> "list[RiskCoveragePoint]":
    """Return the points nearest to a quarter, a half, three quarters and all of the coverage."""
    coverages = [curve[-1].coverage * quarter / 4 for quarter in range(1, 5)]
    return [min(curve, key=lambda point: abs(point.coverage - share)) for share in coverages]


# -- deployment


def print_deployment(deployment: "Deployment", *, private: bool) -> None:
    """Print what would be uploaded, and who could read it."""
    from rag.deploy.space import content_size

    for path, content in deployment.files.items():
        print(f"{content_size(content):>12,}  {path}")
    for name, value in deployment.variables.items():
        print(f"{'variable':>12}  {name}={value}")
    for name in deployment.secrets:
        print(f"{'secret':>12}  {name}")
    print(f"{format_upload_size(deployment)} would be uploaded.")
    if private:
        print("The Space would be private: only its owner could read the articles.")
    else:
        print(
            "The Space would be public: anybody could read the articles. --private prevents that."
        )


def format_upload_size(deployment: "Deployment") -> str:
    from rag.deploy.space import content_size

    total_bytes = sum(content_size(content) for content in deployment.files.values())
    return f"{len(deployment.files)} files, {total_bytes:,} bytes"
