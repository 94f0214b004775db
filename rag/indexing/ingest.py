"""Ingestion: reads the files of a plan, splits their articles into passages, and stores them."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from threading import Event

from rag.errors import NoArticles
from rag.indexing.plan import Plan, SourcePlan, hash_file
from rag.indexing.progress import Progress
from rag.models.embedding.encoder import Encoder
from rag.sources.process import ReaderProcess, ReadResult
from rag.sources.registry import known_formats
from rag.sources.scan import SourceFile
from rag.store.schema import IndexedFile, content_hash
from rag.store.writer import DUPLICATE_ID, IndexWriter
from rag.text import chunking
from rag.types import Article, Passage, SkipCause, Skipped

MIN_AGE_NS = 2_000_000_000
"""Age below which a file's time stamp is not relied on: it could change again within its resolution."""


class Ingestor:
    """Ingests the sources of a plan. `ingest` runs in a thread; `stop` may be called from another."""

    def __init__(
        self, writer: IndexWriter, encoder: Encoder, reader: ReaderProcess, progress: Progress
    ) -> None:
        self._writer = writer
        self._encoder = encoder
        self._reader = reader
        self._progress = progress
        self._stopped = Event()

    @cached_property
    def _short_heading(self) -> Callable[[str, str | None], str]:
        """Created only when there is something new, since it loads the model."""
        return chunking.heading_formatter(self._encoder.count_tokens, self._encoder.max_tokens)

    def stop(self) -> None:
        """Stop soon. The articles ingested so far are complete."""
        self._stopped.set()
        self._reader.close()

    def ingest(self, plan: Plan) -> None:
        """Ingest all sources.

        Raises:
            NoArticles: A source contains no article.
        """
        for source in plan.sources:
            self._progress.start(f"Reading {source.source.name}", None)
            self._ingest_source(source)

    def _ingest_source(self, plan: SourcePlan) -> None:
        source = self._writer.add_source(plan.source)
        for number in plan.removed.values():
            self._writer.remove_file(number)
        self._read_files(plan.source, source, plan.files_to_read)
        # An id may have been freed by a file that was read, or removed, later.
        while freed := set(self._writer.files_with_freed_ids(source)):
            if self._stopped.is_set():
                break
            files = [file for file in plan.files if file.name in freed]
            self._read_files(plan.source, source, files)
        if not self._stopped.is_set() and not self._writer.article_count(source):
            raise self._no_article_error(plan.source)

    def _read_files(self, path: Path, source: int, files: Sequence[SourceFile]) -> None:
        results = self._reader.read(files)
        for file, file_results in groupby(results, key=lambda result: result.file):
            if not self._ingest_file(path, source, file, file_results):
                return

    def _ingest_file(
        self, path: Path, source: int, file: SourceFile, results: Iterable[ReadResult]
    ) -> bool:
        """Ingest one file, given in pieces. Return False if stopped before its end."""
        number = self._writer.begin_file(source, file.name)
        old_articles = self._writer.articles_in_file(number)
        names = set[str]()
        for result in results:
            for article in result.articles:
                if self._stopped.is_set():
                    return False
                self._progress.advance(1)
                if isinstance(article, Skipped):
                    self._writer.skip(number, article)
                else:
                    self._ingest_article(article, path, source, number, names)
            self._writer.commit_if_due()
        if not result.last:  # stopped: the next sync reads the file from its beginning
            return False
        if not result.failed:  # otherwise, the articles that could not be read again remain
            for name in old_articles.keys() - names:
                self._writer.remove_article(old_articles[name])
        self._writer.end_file(_as_indexed(file, number))
        return True

    def _ingest_article(
        self, article: Article, path: Path, source: int, file: int, names: set[str]
    ) -> None:
        """Store an article, unless it is stored already.

        `article.id` is its name: the id within its source. `names` holds those of the file so far.
        """
        name = article.id
        stored = self._writer.find_article(source, name)
        if name in names or (stored and stored.file != file):
            self._writer.skip(file, Skipped(name, DUPLICATE_ID, SkipCause.DUPLICATE_ID))
            return
        names.add(name)
        if stored and stored.hash == content_hash(article):
            return
        if stored:
            self._writer.remove_article(stored.number)
        article = replace(article, id=stored.id if stored else self._unique_id(path, name))
        self._writer.add_article(article, name, source, file, self._split(article))

    def _unique_id(self, path: Path, name: str) -> str:
        """Prefix the name with that of its source, and of the parents, until it is not yet an id."""
        id = name
        for parent in (path, *path.parents):
            if not self._writer.has_article(id):
                break
            id = f"{parent.name}/{id}"
        return id

    def _split(self, article: Article) -> list[tuple[Passage, bytes]]:
        """Split an article into passages, each with the key of its vector."""
        heading = self._short_heading(article.title, article.date)
        passages = chunking.split(article, self._encoder.count_tokens, self._encoder.max_tokens)
        return [
            (passage, chunking.vector_key(heading, article.text[passage.start : passage.end]))
            for passage in passages
        ]

    def _no_article_error(self, path: Path) -> NoArticles:
        """Also used if there were articles before: a disk may not be mounted."""
        skipped = self._writer.skipped([path])
        reason = f" {skipped[0].path} was skipped: {skipped[0].reason}." if skipped else ""
        return NoArticles(
            f"No article could be read from {path}.{reason}",
            remedy=f"Give a file or folder with {known_formats()} files, or remove the source"
            " with `rag index --remove`.",
            skipped=[(each.path, each.reason) for each in skipped],
        )


def _as_indexed(file: SourceFile, number: int) -> IndexedFile:
    """Describe a file that was read completely; without a hash if it has changed since it was listed."""
    try:
        status = file.path.stat()
    except OSError:
        return IndexedFile(number, None, None, None)
    if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns):
        return IndexedFile(number, None, None, None)
    is_recent = time.time_ns() - file.mtime_ns < MIN_AGE_NS
    mtime_ns = None if is_recent else file.mtime_ns
    return IndexedFile(number, file.size, mtime_ns, hash_file(file.path))
