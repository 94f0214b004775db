"""`rag index`, `rag doctor` and `rag info`: build, verify and describe an index."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.cli.options import IndexOption, JsonOption
from rag.cli.output import (
    ProgressBar,
    print_doctor_report,
    print_index_info,
    print_json,
    print_machine,
    print_plan,
    print_sync_report,
    progress_bar,
    status,
)
from rag.errors import RagError, UsageError
from rag.settings import Settings, load_flags

if TYPE_CHECKING:
    from rag.models.embedding.encoder import Encoder


def index_command(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SOURCE]...", help="Files or folders of articles."),
    ] = None,
    index: IndexOption = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Start from scratch, with the given sources only.")
    ] = False,
    remove: Annotated[
        list[Path] | None,
        typer.Option("--remove", metavar="SOURCE", help="Remove a source from the index."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would change, without changing it.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep running, and update whenever a source changes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Update the index from its sources. Without SOURCE: from all it knows, or else from seeds/."""
    if sum([rebuild, bool(remove), dry_run, watch]) > 1 or (remove and sources):
        raise UsageError(
            "--rebuild, --remove, --dry-run and --watch cannot be combined, nor --remove with SOURCE.",
            remedy="Use one of them.",
        )
    from rag.indexing import sync
    from rag.models.embedding.encoder import Encoder

    settings = load_flags(index=index)
    if dry_run:
        print_plan(sync.preview(settings.index, sources or []), as_json)
        return
    encoder = Encoder.from_settings(settings)
    if remove:
        report = sync.remove(settings.index, encoder, remove)
        print_sync_report(report, settings.index, as_json)
        return
    sync_sources(settings, encoder, sources or [], rebuild=rebuild, as_json=as_json)
    if watch:
        watch_sources(settings.index, lambda: sync_sources(settings, encoder, [], as_json=as_json))


def sync_sources(
    settings: Settings,
    encoder: "Encoder",
    sources: Sequence[Path],
    *,
    rebuild: bool = False,
    as_json: bool = False,
) -> None:
    """Update the index and its refusal threshold, and print a report."""
    from rag.answering.loading import build_reader
    from rag.evaluation.calibration import calibrate
    from rag.indexing.sync import sync

    with progress_bar() as bar:
        progress = ProgressBar(bar)
        report = sync(settings.index, encoder, sources, rebuild=rebuild, progress=progress)
        calibrate(settings.index, encoder, build_reader(settings), progress)
    print_sync_report(report, settings.index, as_json)


def watch_sources(index: Path, on_change: Callable[[], None]) -> None:
    """Call `on_change` whenever a source of the index changes, until Ctrl-C."""
    import watchfiles

    from rag.store.reader import IndexReader

    with IndexReader.open(index) as reader:
        sources = [path for path in reader.sources() if path.exists()]
    print(f"Watching {', '.join(map(str, sources))} (press Ctrl-C to stop).", file=sys.stderr)
    index = index.resolve()  # may be inside a source: its own changes must not trigger an update

    def is_article(_: object, path: str) -> bool:
        return not Path(path).is_relative_to(index)

    for _ in watchfiles.watch(*sources, watch_filter=is_article, ignore_permission_denied=True):
        try:
            on_change()
        except RagError as error:  # the next change may put it right
            print(f"rag: {error}", file=sys.stderr)


def doctor(index: IndexOption = None, as_json: JsonOption = False) -> None:
    """Test this machine's CPU, verify the index, and repair it where possible."""
    from rag.indexing.repair import diagnose
    from rag.models import machine
    from rag.models.embedding.encoder import Encoder

    settings = load_flags(index=index)
    with status("Testing this machine's CPU …"):
        tested_machine = machine.test(settings)
    if not as_json:
        print_machine(tested_machine)
    with progress_bar() as bar:
        report = diagnose(settings.index, Encoder.from_settings(settings), ProgressBar(bar))
    if as_json:
        print_json(report.as_json() | {"machine": tested_machine.as_json()})
    else:
        print_doctor_report(report)
    if not report.sound:
        raise typer.Exit(1)


def info(index: IndexOption = None, as_json: JsonOption = False) -> None:
    """Show what the index contains and which models are in use."""
    index_info = collect_info(load_flags(index=index))
    if as_json:
        print_json(index_info)
    else:
        print_index_info(index_info)


def collect_info(settings: Settings) -> dict[str, Any]:
    """Return what `rag info --json` prints."""
    from rag.models.generation import supervised
    from rag.store import thresholds
    from rag.store.reader import IndexReader

    with IndexReader.open(settings.index) as reader:
        stats, snapshot = reader.stats(), reader.snapshot
        threshold = thresholds.least_score(settings.index, snapshot.encoder)
    return {
        "index": str(settings.index),
        "articles": stats.articles,
        "duplicates": stats.duplicates,
        "passages": stats.passages,
        "bytes": stats.bytes,
        "sources": [asdict(source) for source in stats.sources],
        "encoder": snapshot.encoder.name,
        "dimensions": snapshot.dimensions,
        "vectors": snapshot.family,
        "recall": snapshot.recall,
        "refused_below": round(settings.strictness.least_score(threshold), 3),
        "generator": settings.generator,
        "generator_problem": supervised.last_problem(settings.cache),
    }
