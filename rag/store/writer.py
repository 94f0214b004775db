"""Writer of an index: builds the next snapshot and publishes it.

All changes go to a database of their own, which no reader opens before it is published. Its
transaction is committed every few seconds, so that an interrupted build can be resumed. "Commit" always
means SQLite's; what readers see changes only with `publish`.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from rag.errors import SourceError
from rag.store import snapshot as snapshots
from rag.store import unfinished
from rag.store.publish import publish_database
from rag.store.schema import (
    FULL_TEXT_SCHEMA,
    SCHEMA,
    IndexedFile,
    IndexedFiles,
    Row,
    connect_read_only,
    content_hash,
    excerpt_checksum,
    excerpt_from_article,
    format_pages,
    read_only_uri,
    select_files,
    select_skipped,
    translate_sqlite_errors,
)
from rag.store.snapshot import Snapshot
from rag.text.chunking import searchable_metadata
from rag.text.tokens import searchable
from rag.types import Article, EncoderId, Excerpt, Passage, SkipCause, Skipped
from rag.wording import encode_phrase, phrase

COMMIT_INTERVAL_S = 2.0
"""Seconds of work that an interruption may lose, besides the passages that are being encoded."""

DUPLICATE_ID = phrase("duplicate_id")
"""Reason for which an article is skipped."""


@dataclass(frozen=True, slots=True)
class StoredArticle:
    """An article of the database: its number, id, content hash and the number of its file."""

    number: int
    id: str
    hash: bytes
    file: int


@dataclass(frozen=True, slots=True)
class ArticleCounts:
    """Numbers of articles that differ from the current snapshot, and that do not."""

    added: int
    changed: int
    removed: int
    unchanged: int


class IndexWriter:
    """Build the next snapshot of an index. All methods may be called from several threads.

    Attributes:
        folder: The folder of the index.
        base: The current snapshot, if there is one.
    """

    def __init__(
        self, folder: Path, db: sqlite3.Connection, base: Snapshot | None, *, rebuild: bool
    ) -> None:
        self.folder = folder
        self.base = base
        self._compared_database = None if rebuild or base is None else base.database
        self._db = db
        self._lock = RLock()
        self._last_commit = time.monotonic()

    @classmethod
    @contextmanager
    def begin(cls, folder: Path, encoder: EncoderId, *, rebuild: bool) -> Iterator["IndexWriter"]:
        """Begin the next snapshot, or resume an interrupted build. The caller holds `writer_lock`.

        If the context is left without `publish`, the next build resumes this one from its last commit,
        unless a SourceError is raised: then the wrong sources were given, and the build is discarded.

        Args:
            folder: The folder of the index, which must exist.
            encoder: The encoder of all vectors that will be added.
            rebuild: Start with an empty database instead of a copy of the current snapshot's.

        Raises:
            IndexUnusable: The folder cannot be written to.
            IndexDamaged: The current snapshot is damaged (unless rebuilding).
        """
        with translate_sqlite_errors(folder):
            base = unfinished.base_snapshot(folder, rebuild=rebuild)
            resumed = not rebuild and unfinished.resume(folder, base, encoder)
            copied = False
            if not resumed:
                copied = unfinished.start(folder, None if rebuild else base, encoder)
            db = unfinished.connect(folder)
            try:
                writer = cls(folder, db, base, rebuild=rebuild)
                if not resumed:
                    writer._prepare_database(encoder, copied=copied)
                yield writer
            except KeyboardInterrupt:
                db.commit()  # between two steps: everything done so far is consistent
                raise
            except SourceError:
                db.close()
                unfinished.discard(folder)
                raise
            finally:
                db.close()

    def _prepare_database(self, encoder: EncoderId, *, copied: bool) -> None:
        """Create the tables, unless copied, and store what the database is based on."""
        if not self._fetch_all("SELECT 1 FROM sqlite_schema WHERE name = 'about'"):
            self._create_tables(SCHEMA)
            self._create_tables(FULL_TEXT_SCHEMA)
        about = unfinished.build_parameters(self.base, encoder) | {"copied": copied}
        self._db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", about.items())
        self._db.commit()

    def _create_tables(self, schema: str) -> None:
        for statement in schema.split(";\n"):  # executescript() would commit
            if statement.strip():
                self._db.execute(statement)

    # -- committing and publishing

    def commit_if_due(self) -> None:
        """Commit the transaction if the last commit is COMMIT_INTERVAL_S ago."""
        if time.monotonic() - self._last_commit > COMMIT_INTERVAL_S:
            self.commit()

    def commit(self) -> None:
        """Commit the transaction, so that an interruption does not lose it."""
        with translate_sqlite_errors(self.folder), self._lock:
            self._db.commit()
            self._last_commit = time.monotonic()

    def publish(self) -> Snapshot:
        """Make what was built the current snapshot. The writer cannot be used afterwards.

        Raises:
            IndexUnusable: The disk is full.
            IndexDamaged: A vector is missing or damaged.
        """
        database = self.folder / f"passages.{snapshots.next_number()}.sqlite"
        with translate_sqlite_errors(self.folder), self._lock:
            self._db.execute("DELETE FROM vectors WHERE key NOT IN (SELECT key FROM passages)")
            self._db.commit()
            self._db.execute("PRAGMA journal_mode = DELETE")  # merges the WAL into the file
            self._db.close()
        (self.folder / unfinished.BUILDING).replace(database)
        return publish_database(self.folder, database)

    # -- sources and files

    def sources(self) -> list[Path]:
        """Return the files and folders that were indexed, oldest first."""
        return [Path(path) for (path,) in self._fetch_all("SELECT path FROM sources ORDER BY id")]

    def add_source(self, path: Path) -> int:
        """Add a source, unless it exists; return its number."""
        self._execute("INSERT OR IGNORE INTO sources (path) VALUES (?)", str(path))
        return self._fetch_int("SELECT id FROM sources WHERE path = ?", str(path))

    def remove_source(self, path: Path) -> None:
        """Remove a source with all its articles."""
        source = self.add_source(path)
        for file in self.files().get(path, {}).values():
            self.remove_file(file.number)
        self._execute("DELETE FROM sources WHERE id = ?", source)

    def files(self) -> IndexedFiles:
        """Return the files of all sources as they were when they were read."""
        with translate_sqlite_errors(self.folder), self._lock:
            return select_files(self._db)

    def begin_file(self, source: int, name: str) -> int:
        """Note that a file is being read, and forget what was skipped in it; return its number."""
        self._execute(
            "INSERT INTO files (source, name) VALUES (?, ?)"
            " ON CONFLICT DO UPDATE SET size = NULL, mtime_ns = NULL, hash = NULL",
            source,
            name,
        )
        number = self._fetch_int(
            "SELECT number FROM files WHERE source = ? AND name = ?", source, name
        )
        self._execute("DELETE FROM skipped WHERE file = ?", number)
        return number

    def end_file(self, file: IndexedFile) -> None:
        """Store what a file was like when it was read completely."""
        self._execute(
            "UPDATE files SET size = ?, mtime_ns = ?, hash = ? WHERE number = ?",
            file.size,
            file.mtime_ns,
            file.hash,
            file.number,
        )

    def remove_file(self, number: int) -> None:
        """Remove a file with its articles."""
        for article in self.articles_in_file(number).values():
            self.remove_article(article)
        self._execute("DELETE FROM skipped WHERE file = ?", number)
        self._execute("DELETE FROM files WHERE number = ?", number)

    def skip(self, file: int, skipped: Skipped) -> None:
        """Store that something in a file was skipped."""
        self._execute(
            "INSERT INTO skipped VALUES (?, ?, ?, ?)",
            file,
            skipped.path,
            encode_phrase(skipped.reason),
            skipped.cause,
        )

    def skipped(self, sources: Sequence[Path]) -> list[Skipped]:
        """Return what was skipped in these sources, in the order of their files."""
        with translate_sqlite_errors(self.folder), self._lock:
            return select_skipped(self._db, sources)

    def files_with_freed_ids(self, source: int) -> list[str]:
        """Return the names of the files with an article whose id was a duplicate, but no longer is."""
        rows = self._fetch_all(
            "SELECT DISTINCT f.name FROM skipped s JOIN files f ON f.number = s.file"
            " WHERE f.source = ? AND s.taken = ? AND NOT EXISTS"
            " (SELECT 1 FROM articles a WHERE a.source = f.source AND a.name = s.path)"
            " ORDER BY f.name",
            source,
            SkipCause.DUPLICATE_ID,
        )
        return [name for (name,) in rows]

    # -- articles and passages

    def find_article(self, source: int, name: str) -> StoredArticle | None:
        """Return the article whose id within its source is `name`, if there is one."""
        rows = self._fetch_all(
            "SELECT number, id, hash, file FROM articles WHERE source = ? AND name = ?",
            source,
            name,
        )
        return StoredArticle(*rows[0]) if rows else None

    def articles_in_file(self, file: int) -> dict[str, int]:
        """Return the articles of a file: id within the source → number."""
        return dict(self._fetch_all("SELECT name, number FROM articles WHERE file = ?", file))

    def has_article(self, id: str) -> bool:
        return bool(self._fetch_all("SELECT 1 FROM articles WHERE id = ?", id))

    def article_count(self, source: int) -> int:
        return self._fetch_int("SELECT count(*) FROM articles WHERE source = ?", source)

    def passage_count(self) -> int:
        return self._fetch_int("SELECT count(*) FROM passages")

    def add_article(
        self,
        article: Article,
        name: str,
        source: int,
        file: int,
        passages: Iterable[tuple[Passage, bytes]],
    ) -> None:
        """Add an article.

        Args:
            article: The article; its id must be unique within the index.
            name: Its id within its source.
            source: The number of its source.
            file: The number of its file.
            passages: Its passages, each with the key of its vector.
        """
        with translate_sqlite_errors(self.folder), self._lock:
            number = self._insert_article(article, name, source, file)
            about = searchable_metadata(article.title, article.date, article.source)
            for passage, vector_key in passages:
                excerpt = excerpt_from_article(article, passage)
                passage_number = self._db.execute(
                    'INSERT INTO passages (article, "start", "end", key, checksum)'
                    " VALUES (?, ?, ?, ?, ?)",
                    (number, passage.start, passage.end, vector_key, excerpt_checksum(excerpt)),
                ).lastrowid
                self._add_to_full_text_index(passage_number, about, excerpt.text)

    def _insert_article(self, article: Article, name: str, source: int, file: int) -> int | None:
        columns = {
            "id": article.id,
            "file": file,
            "source": source,
            "name": name,
            "hash": content_hash(article),
            "title": article.title,
            "text": article.text,
            "date": article.date,
            "publisher": article.source,
            "url": article.url,
            "pages": format_pages(article.pages),
        }
        placeholders = ", ".join("?" * len(columns))
        return self._db.execute(
            f"INSERT INTO articles ({', '.join(columns)}) VALUES ({placeholders})",
            list(columns.values()),
        ).lastrowid

    def remove_article(self, number: int) -> None:
        """Remove an article with its passages."""
        passages = "(SELECT number FROM passages WHERE article = ?)"
        self._execute(f"DELETE FROM words WHERE rowid IN {passages}", number)
        self._execute("DELETE FROM passages WHERE article = ?", number)
        self._execute("DELETE FROM articles WHERE number = ?", number)

    def rebuild_full_text_index(self) -> None:
        """Build the full-text index again from the articles and passages."""
        with translate_sqlite_errors(self.folder), self._lock:
            self._db.execute("DROP TABLE vocabulary")
            self._db.execute("DROP TABLE words")
            self._create_tables(FULL_TEXT_SCHEMA)
            rows = self._db.execute(
                "SELECT p.number, a.title, a.date, a.publisher,"
                ' substr(a.text, p."start" + 1, p."end" - p."start")'
                " FROM passages p JOIN articles a ON a.number = p.article"
            )
            for number, title, date, publisher, text in rows:
                self._add_to_full_text_index(
                    number, searchable_metadata(title, date, publisher), text
                )

    def _add_to_full_text_index(self, passage: int | None, about: str, text: str) -> None:
        self._db.execute(
            "INSERT INTO words (rowid, about, text) VALUES (?, ?, ?)",
            (passage, searchable(about), searchable(text)),
        )

    # -- vectors

    def unencoded_passages(self, after: int, limit: int) -> list[tuple[int, bytes, Excerpt]]:
        """Return passages without a vector: the number, the vector's key and the excerpt of each.

        The first `limit` of those whose number is greater than `after`, in the order of their
        numbers. The excerpts lack source, URL and pages.
        """
        rows = self._fetch_all(
            'SELECT p.number, p.key, a.id, a.title, p."start", p."end",'
            ' substr(a.text, p."start" + 1, p."end" - p."start"), a.date'
            " FROM passages p JOIN articles a ON a.number = p.article"
            " WHERE p.number > ? AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.key = p.key)"
            " ORDER BY p.number LIMIT ?",
            after,
            limit,
        )
        return [(number, key, Excerpt(*columns)) for number, key, *columns in rows]

    def count_unencoded(self) -> int:
        """Count the vectors that are missing."""
        return self._fetch_int(
            "SELECT count(DISTINCT key) FROM passages WHERE key NOT IN (SELECT key FROM vectors)"
        )

    def add_vectors(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """Add vectors, shape (keys, dimensions)."""
        blobs = [vector.tobytes() for vector in vectors.astype("<f4", copy=False)]
        rows = [(key, blob, crc32(blob)) for key, blob in zip(keys, blobs, strict=True)]
        with translate_sqlite_errors(self.folder), self._lock:
            self._db.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", rows)

    def copy_valid_vectors(self, database: Path) -> None:
        """Copy the undamaged vectors of another database, as far as it can be read."""
        with suppress(sqlite3.Error), closing(connect_read_only(database)) as other:
            for key, vector, checksum in other.execute("SELECT key, vector, checksum FROM vectors"):
                if crc32(vector) == checksum:
                    self._execute(
                        "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", key, vector, checksum
                    )

    # -- comparing with the current snapshot

    def count_articles(self, sources: Sequence[Path]) -> ArticleCounts:
        """Compare the articles of these sources with those of the current snapshot."""
        paths = [str(path) for path in sources]
        select_articles = (
            "SELECT s.path, a.name, a.hash FROM {0}.articles a JOIN {0}.sources s"
            f" ON s.id = a.source WHERE s.path IN ({', '.join('?' * len(sources))})"
        )
        new, old = select_articles.format("main"), select_articles.format("old")
        self._attach_old_database()
        counts = self._fetch_all(
            "SELECT sum(old.hash IS NULL), sum(old.hash <> new.hash), sum(old.hash = new.hash)"
            f" FROM ({new}) new LEFT JOIN ({old}) old USING (path, name)",
            *paths,
            *paths,
        )[0]
        old_count = self._fetch_int(f"SELECT count(*) FROM ({old})", *paths)
        self._db.commit()
        self._execute("DETACH old")
        added, changed, unchanged = (int(count or 0) for count in counts)
        return ArticleCounts(added, changed, old_count - changed - unchanged, unchanged)

    def _attach_old_database(self) -> None:
        """Attach the current snapshot's database as `old`; an empty one if there is none to compare."""
        with self._lock:
            self._db.commit()  # ATTACH is not possible within a transaction
        database = self._compared_database
        if database is None or database.problem(self.folder):
            self._execute("ATTACH ':memory:' AS old")
            self._execute("CREATE TABLE old.articles (source, name, hash)")
            self._execute("CREATE TABLE old.sources (id, path)")
        else:
            self._execute("ATTACH ? AS old", read_only_uri(self.folder / database.name))

    # -- SQL

    def _execute(self, statement: str, *parameters: object) -> None:
        with translate_sqlite_errors(self.folder), self._lock:
            self._db.execute(statement, parameters)

    def _fetch_all(self, statement: str, *parameters: object) -> list[Row]:
        with translate_sqlite_errors(self.folder), self._lock:
            return self._db.execute(statement, parameters).fetchall()

    def _fetch_int(self, statement: str, *parameters: object) -> int:
        (value,) = self._fetch_all(statement, *parameters)[0]
        return int(value)
