"""Synchronisation of an index with its sources: plan, read, split, encode, publish.

Reading (in a process), splitting (in a thread) and encoding (in the caller's thread) run concurrently.
Only files that have changed are read, and only texts that were not encoded before are encoded.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rag.errors import IndexUnusable, NoIndex
from rag.indexing.embed import EncodingStats, embed_pending
from rag.indexing.ingest import Ingestor
from rag.indexing.plan import (
    Plan,
    find_indexed_source,
    make_plan,
    resolve_source,
    sources_to_keep,
)
from rag.indexing.progress import Progress
from rag.models.embedding.encoder import Encoder
from rag.sources.process import ReaderProcess
from rag.store import snapshot as snapshots
from rag.store import unfinished
from rag.store.migrations import migrate
from rag.store.reader import IndexReader
from rag.store.writer import IndexWriter
from rag.types import Skipped

__all__ = ["Plan", "Progress", "SyncReport", "preview", "rebuild_reusing_vectors", "remove", "sync"]


@dataclass(slots=True)
class SyncReport:
    """Result of a sync.

    Attributes:
        added: Number of articles of the given sources that are new in the index; likewise `changed`,
            `removed` and `unchanged`.
        skipped: What could not be read as an article.
        ignored: Number of hidden files, links and so on.
        removed_sources: Sources that are no longer in the index.
        passages: Number of passages in the index.
        encoded: Number of passages that were encoded.
        encoding_s: Seconds that the encoding took.
        seconds: Seconds that all of it took.
        encoder: Name of the encoder.
    """

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    ignored: int = 0
    removed_sources: list[Path] = field(default_factory=list)
    passages: int = 0
    encoded: int = 0
    encoding_s: float = 0.0
    seconds: float = 0.0
    encoder: str = ""

    def as_json(self) -> dict[str, Any]:
        rate = self.encoded / self.encoding_s if self.encoding_s else 0.0
        return {
            "articles": {
                "added": self.added,
                "changed": self.changed,
                "removed": self.removed,
                "unchanged": self.unchanged,
                "skipped": len(self.skipped),
            },
            "passages": self.passages,
            "seconds": round(self.seconds, 3),
            "passages_per_second": round(rate, 2),
            "encoder": self.encoder,
            "skipped": [skipped.as_json() for skipped in self.skipped],
            "left_alone": self.ignored,
            "sources_left": [str(path) for path in self.removed_sources],
        }


def sync(
    folder: Path, encoder: Encoder, sources: Sequence[Path], *, rebuild: bool, progress: Progress
) -> SyncReport:
    """Bring an index up to date with its sources.

    If anything fails, the index remains as it was. After an interruption or a crash, the next sync
    resumes what was done.

    Args:
        folder: The folder of the index, which is created if it does not exist.
        encoder: The encoder. If it is another one than before, all passages are encoded again.
        sources: Files and folders to add or update. If empty, all sources of the index are updated.
        rebuild: Build the index from scratch, from these sources only.
        progress: Receives the progress.

    Raises:
        SourceError: A source does not exist or contains no article.
        IndexUnusable: The index is damaged, in use by another writer, or cannot be written.
        ModelError: The encoder cannot be loaded.
    """
    began = time.perf_counter()
    paths = [resolve_source(path) for path in sources]
    with _locked(folder):
        if rebuild and not paths:
            paths = _indexed_sources(folder)
        elif not rebuild and _encoder_has_changed(folder, encoder):
            progress.start(f"Encoding every passage again, with {encoder.name}", None)
            indexed_sources = [Path(path) for path in snapshots.read_any_version(folder).sources]
            paths = sources_to_keep(indexed_sources, paths)
        report = None if rebuild else _report_if_up_to_date(folder, encoder, paths)
        if report is None:
            with IndexWriter.begin(folder, encoder.id, rebuild=rebuild) as writer:
                if not rebuild:
                    migrate(writer, encoder)
                report = _build(writer, encoder, paths, progress)
    report.seconds = time.perf_counter() - began
    return report


def remove(folder: Path, encoder: Encoder, sources: Sequence[Path]) -> SyncReport:
    """Remove sources from the index, with all their articles. An interrupted sync is discarded.

    Raises:
        SourceError: One of them is not a source of the index.
        IndexUnusable: The index cannot be read or written.
    """
    began = time.perf_counter()
    with _locked(folder):
        with IndexReader.open(folder, encoder=encoder.id) as index:
            paths = [find_indexed_source(index.sources(), path) for path in sources]
        unfinished.discard(folder)
        with IndexWriter.begin(folder, encoder.id, rebuild=False) as writer:
            for path in paths:
                writer.remove_source(path)
            report = SyncReport(
                removed=writer.count_articles(paths).removed,
                removed_sources=paths,
                passages=writer.passage_count(),
                encoder=encoder.id.name,
            )
            writer.publish()
    report.seconds = time.perf_counter() - began
    return report


def rebuild_reusing_vectors(
    folder: Path, encoder: Encoder, sources: Sequence[Path], damaged: Path, progress: Progress
) -> SyncReport:
    """Rebuild an index from its sources, with the undamaged vectors of the database `damaged`.

    Raises what `sync` raises.
    """
    paths = [resolve_source(path) for path in sources]
    with (
        _locked(folder),
        IndexWriter.begin(folder, encoder.id, rebuild=True) as writer,
    ):
        writer.copy_valid_vectors(damaged)
        return _build(writer, encoder, paths, progress)


def preview(folder: Path, sources: Sequence[Path]) -> Plan:
    """Return what `sync` would do, without changing anything.

    Raises:
        SourceError: A source does not exist or cannot be listed.
        IndexUnusable: The index cannot be read.
    """
    paths = [resolve_source(path) for path in sources]
    try:
        with IndexReader.open(folder) as index:
            return make_plan(folder, index.sources(), index.files(), paths)
    except NoIndex:
        return make_plan(folder, [], {}, paths)


# -- is there anything to do?


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Create the folder and hold its writer lock."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IndexUnusable(
            f"The folder {folder} cannot be created: {error.strerror}.",
            remedy="Choose another one with --index or RAG_INDEX.",
        ) from error
    with snapshots.writer_lock(folder):
        yield


def _indexed_sources(folder: Path) -> list[Path]:
    with suppress(NoIndex), IndexReader.open(folder) as index:
        return index.sources()
    return []


def _encoder_has_changed(folder: Path, encoder: Encoder) -> bool:
    with suppress(IndexUnusable):
        return snapshots.read_any_version(folder).encoder != encoder.id
    return False


def _report_if_up_to_date(
    folder: Path, encoder: Encoder, sources: Sequence[Path]
) -> SyncReport | None:
    """Return the report of a sync that has nothing to do; None if there is something to do."""
    try:
        if unfinished.exists(folder) or not _is_current(folder, encoder):
            return None
        with IndexReader.open(folder, encoder=encoder.id) as index:
            plan = make_plan(folder, index.sources(), index.files(), sources)
            if not plan.is_empty or index.snapshot.vectors.problem(folder):
                return None
            paths = [source.source for source in plan.sources]
            stats = index.stats()
            return SyncReport(
                unchanged=sum(s.articles for s in stats.sources if Path(s.path) in paths),
                skipped=index.skipped(paths),
                ignored=sum(source.ignored for source in plan.sources),
                passages=stats.passages,
                encoder=encoder.id.name,
            )
    except NoIndex:
        return None


def _is_current(folder: Path, encoder: Encoder) -> bool:
    """Whether the index has this format version and encoder. Raises NoIndex and IndexDamaged."""
    if (folder / snapshots.VERSION_1_DATABASE).exists():
        return False
    snapshot = snapshots.read_any_version(folder)
    return snapshot.version == snapshots.VERSION and snapshot.encoder == encoder.id


# -- building


def _build(
    writer: IndexWriter, encoder: Encoder, sources: Sequence[Path], progress: Progress
) -> SyncReport:
    """Build and publish the next snapshot."""
    old_sources = [Path(path) for path in writer.base.sources] if writer.base else []
    if sources:
        _forget_interrupted_sources(writer, [*old_sources, *sources])
    plan = make_plan(writer.folder, writer.sources() or old_sources, writer.files(), sources)
    for path in plan.removed_sources:
        writer.remove_source(path)
    for source in plan.sources:
        writer.add_source(source.source)
    writer.commit()
    encoding = _ingest_and_embed(writer, encoder, plan, progress)
    synced = [source.source for source in plan.sources]
    removed_sources = [path for path in old_sources if path not in writer.sources()]
    counts = writer.count_articles([*synced, *removed_sources])
    report = SyncReport(
        added=counts.added,
        changed=counts.changed,
        removed=counts.removed,
        unchanged=counts.unchanged,
        skipped=writer.skipped(synced),
        ignored=sum(source.ignored for source in plan.sources),
        removed_sources=removed_sources,
        passages=writer.passage_count(),
        encoded=encoding.passages,
        encoding_s=encoding.seconds,
        encoder=encoder.id.name,
    )
    writer.publish()
    return report


def _forget_interrupted_sources(writer: IndexWriter, wanted: Sequence[Path]) -> None:
    """Remove the sources that an interrupted sync had begun to add and that are no longer wanted."""
    for path in writer.sources():
        if path not in wanted:
            writer.remove_source(path)


def _ingest_and_embed(
    writer: IndexWriter, encoder: Encoder, plan: Plan, progress: Progress
) -> EncodingStats:
    """Ingest the files of the plan in a thread, while encoding the passages ingested so far."""
    with ReaderProcess() as reader, ThreadPoolExecutor(1, "ingestion") as pool:
        ingestor = Ingestor(writer, encoder, reader, progress)
        ingestion = pool.submit(ingestor.ingest, plan)
        try:
            return embed_pending(writer, encoder, ingestion, progress)
        except BaseException:
            ingestor.stop()
            raise
