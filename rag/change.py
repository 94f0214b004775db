"""IndexChange: the next commit of an index in the making.

It is a database of its own, a copy of the last commit's to begin with, to which everything done is
committed every few seconds. Interrupted, it is gone on with by the next change; nobody reads it
before it is published.
"""

import json
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path
from threading import RLock
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from rag import checks, commits
from rag.articles import SourceFile
from rag.commits import Commit, StoredFile, full_disk, read_only
from rag.datatypes import Article, EncoderId, Excerpt, Passage, Skipped
from rag.errors import IndexUnusable, NoIndex, SourceError
from rag.index import (
    SCHEMA,
    WORDS,
    KnownFile,
    KnownFiles,
    content_hash,
    damaged,
    excerpt_checksum,
    known_files,
    skipped_in,
    told,
    vector_batches,
)
from rag.language import searchable
from rag.nearest import Family, Nearest, build, update
from rag.passages import words_about

BUILDING = "building.sqlite"

COMMIT_S = 2.0
"""Seconds of work that an interruption may cost, beside the passages that are being encoded."""

TAKEN = "another article of this source has the same id"


@dataclass(frozen=True, slots=True)
class HeldArticle:
    """An article that the index holds: its number, id, content's hash and file."""

    number: int
    id: str
    hash: bytes
    file: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Articles that came, changed, went and stayed between two commits."""

    added: int
    changed: int
    removed: int
    unchanged: int


class IndexChange:
    """See the module. Its methods may be called from two threads."""

    def __init__(
        self, folder: Path, db: sqlite3.Connection, base: Commit | None, *, rebuild: bool
    ) -> None:
        self.folder = folder
        self.base = base
        self._compared = None if rebuild or base is None else base.database
        self._db = db
        self._lock = RLock()
        self._committed = time.monotonic()

    @classmethod
    @contextmanager
    def begin(cls, folder: Path, encoder: EncoderId, *, rebuild: bool) -> Iterator["IndexChange"]:
        """Begin the next commit, or go on with one that was interrupted.

        Whoever calls it holds commits.sole_builder. Raises IndexUnusable when the folder cannot be
        written to, IndexDamaged when there is nothing sound to begin with (unless rebuilding).
        """
        with told(folder):
            base = _last(folder, rebuild=rebuild)
            goes_on = not rebuild and _taken_up(folder, base, encoder)
            if not goes_on:
                discard(folder)
            copied = not goes_on and not rebuild and base and base.encoder == encoder
            if base and copied:
                _copy(folder, base)
            db = _connect(folder / BUILDING)
            try:
                change = cls(folder, db, base, rebuild=rebuild)
                if not goes_on:
                    change._prepare(encoder, copied=bool(copied))
                yield change
            except KeyboardInterrupt:
                db.commit()  # nobody is in the middle of anything: keep it all
                raise
            except SourceError:
                db.close()
                discard(folder)  # what was named was wrong: nothing of it is to be gone on with
                raise
            finally:
                db.close()

    def _prepare(self, encoder: EncoderId, *, copied: bool) -> None:
        """Make the tables of a new database; note for which commit and encoder it is made."""
        if not self._rows("SELECT 1 FROM sqlite_schema WHERE name = 'about'"):
            self._make(SCHEMA)
            self._make(WORDS)
        about = _about(self.base, encoder) | {"copied": copied}
        self._db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", about.items())
        self._db.commit()

    def _make(self, tables: str) -> None:
        for statement in tables.split(";\n"):
            if statement.strip():
                self._db.execute(statement)

    # -- keeping what is done

    def keep(self) -> None:
        """Commit what was done, when the last time is a while ago."""
        if time.monotonic() - self._committed > COMMIT_S:
            self.keep_now()

    def keep_now(self) -> None:
        """Commit what was done."""
        with told(self.folder), self._lock:
            self._db.commit()
            self._committed = time.monotonic()

    def publish(self) -> Commit:
        """Make this the index's last commit. Nothing can be done with the change after that."""
        database = self.folder / f"passages.{commits.next_number()}.sqlite"
        with told(self.folder), self._lock:
            self._db.execute("DELETE FROM vectors WHERE key NOT IN (SELECT key FROM passages)")
            self._db.commit()
            self._db.execute("PRAGMA journal_mode = DELETE")  # all into one file
            self._db.close()
        (self.folder / BUILDING).replace(database)
        return publish(self.folder, database)

    # -- sources and files

    def sources(self) -> list[Path]:
        """The sources that the index remembers, oldest first."""
        return [Path(path) for (path,) in self._rows("SELECT path FROM sources ORDER BY id")]

    def add_source(self, path: Path) -> int:
        """The number of the source at `path`, which is remembered from now on."""
        self._do("INSERT OR IGNORE INTO sources (path) VALUES (?)", str(path))
        (number,) = self._rows("SELECT id FROM sources WHERE path = ?", str(path))[0]
        return int(number)

    def remove_source(self, path: Path) -> None:
        """Forget a source with all its articles."""
        source = self.add_source(path)
        for file in self.files().get(path, {}).values():
            self.remove_file(file.number)
        self._do("DELETE FROM sources WHERE id = ?", source)

    def files(self) -> KnownFiles:
        """The files of all sources as they were read."""
        with told(self.folder), self._lock:
            return known_files(self._db)

    def begin_file(self, source: int, file: SourceFile) -> int:
        """The number of a file that is about to be read."""
        self._do(
            "INSERT INTO files (source, name) VALUES (?, ?)"
            " ON CONFLICT DO UPDATE SET size = NULL, mtime_ns = NULL, hash = NULL",
            *(source, file.name),
        )
        (number,) = self._rows(
            "SELECT number FROM files WHERE source = ? AND name = ?", source, file.name
        )[0]
        self._do("DELETE FROM skipped WHERE file = ?", number)
        return int(number)

    def end_file(self, number: int, read: KnownFile) -> None:
        """Remember what a file was when it was read to its end."""
        self._do(
            "UPDATE files SET size = ?, mtime_ns = ?, hash = ? WHERE number = ?",
            *(read.size, read.mtime_ns, read.hash, number),
        )

    def remove_file(self, number: int) -> None:
        """Remove a file with its articles."""
        for article in self.articles_of(number).values():
            self.remove(article)
        self._do("DELETE FROM skipped WHERE file = ?", number)
        self._do("DELETE FROM files WHERE number = ?", number)

    def skip(self, file: int, skipped: Skipped) -> None:
        self._do(
            "INSERT INTO skipped VALUES (?, ?, ?, ?)",
            *(file, skipped.path, skipped.reason, skipped.reason == TAKEN),
        )

    def skipped(self, sources: Sequence[Path]) -> list[Skipped]:
        """What was skipped in these sources, in the order of their files."""
        with told(self.folder), self._lock:
            return skipped_in(self._db, sources)

    def freed(self, source: int) -> list[str]:
        """The names of the files with articles whose id was taken and is free now."""
        rows = self._rows(
            "SELECT DISTINCT f.name FROM skipped s JOIN files f ON f.number = s.file"
            " WHERE f.source = ? AND s.taken AND NOT EXISTS"
            " (SELECT 1 FROM articles a WHERE a.source = f.source AND a.name = s.path)"
            " ORDER BY f.name",
            source,
        )
        return [name for (name,) in rows]

    # -- articles and passages

    def held(self, source: int, name: str) -> "HeldArticle | None":
        """The article that a source knows by that name."""
        rows = self._rows(
            "SELECT number, id, hash, file FROM articles WHERE source = ? AND name = ?",
            *(source, name),
        )
        return HeldArticle(*rows[0]) if rows else None

    def articles_of(self, file: int) -> dict[str, int]:
        """The names and numbers of a file's articles."""
        return dict(self._rows("SELECT name, number FROM articles WHERE file = ?", file))

    def has_article(self, id: str) -> bool:
        return bool(self._rows("SELECT 1 FROM articles WHERE id = ?", id))

    def article_count(self, source: int) -> int:
        (count,) = self._rows("SELECT count(*) FROM articles WHERE source = ?", source)[0]
        return int(count)

    def add(
        self,
        article: Article,
        name: str,
        source: int,
        file: int,
        passages: Iterable[tuple[Passage, bytes]],
    ) -> None:
        """Take an article in, with its passages and the keys of their vectors."""
        pages = json.dumps(article.pages) if article.pages else None
        with told(self.folder), self._lock:
            number = self._db.execute(
                "INSERT INTO articles"
                " (id, file, source, name, hash, title, text, date, publisher, url, pages)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(article.id, file, source, name, content_hash(article), article.title),
                    *(article.text, article.date, article.source, article.url, pages),
                ),
            ).lastrowid
            about = words_about(article.title, article.date, article.source)
            for passage, key in passages:
                excerpt = excerpt_of(article, passage)
                row = self._db.execute(
                    'INSERT INTO passages (article, "start", "end", key, checksum)'
                    " VALUES (?, ?, ?, ?, ?)",
                    (number, passage.start, passage.end, key, excerpt_checksum(excerpt)),
                ).lastrowid
                self._add_words(row, about, excerpt.text)

    def _add_words(self, passage: int | None, about: str, text: str) -> None:
        self._db.execute(
            "INSERT INTO words (rowid, about, text) VALUES (?, ?, ?)",
            (passage, searchable(about), searchable(text)),
        )

    def renew_words(self) -> None:
        """Make what words are searched in again, from the articles and passages."""
        with told(self.folder), self._lock:
            self._db.execute("DROP TABLE vocabulary")
            self._db.execute("DROP TABLE words")
            self._make(WORDS)
            rows = self._db.execute(
                "SELECT p.number, a.title, a.date, a.publisher,"
                ' substr(a.text, p."start" + 1, p."end" - p."start")'
                " FROM passages p JOIN articles a ON a.number = p.article"
            )
            for number, title, date, publisher, text in rows:
                self._add_words(number, words_about(title, date, publisher), text)

    def remove(self, article: int) -> None:
        """Remove an article from everything."""
        within = "(SELECT number FROM passages WHERE article = ?)"
        self._do(f"DELETE FROM words WHERE rowid IN {within}", article)
        self._do("DELETE FROM passages WHERE article = ?", article)
        self._do("DELETE FROM articles WHERE number = ?", article)

    # -- vectors

    def unencoded(self, after: int, most: int) -> list[tuple[int, bytes, Excerpt]]:
        """Number, key and passage of `most` passages without a vector, beyond the number `after`."""
        rows = self._rows(
            'SELECT p.number, p.key, a.id, a.title, p."start", p."end",'
            ' substr(a.text, p."start" + 1, p."end" - p."start"), a.date'
            " FROM passages p JOIN articles a ON a.number = p.article"
            " WHERE p.number > ? AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.key = p.key)"
            " ORDER BY p.number LIMIT ?",
            *(after, most),
        )
        return [(number, key, Excerpt(*held)) for number, key, *held in rows]

    def count_unencoded(self) -> int:
        (count,) = self._rows(
            "SELECT count(DISTINCT key) FROM passages WHERE key NOT IN (SELECT key FROM vectors)"
        )[0]
        return int(count)

    def add_vectors(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """Store vectors, shape (keys, dimensions)."""
        blobs = [vector.tobytes() for vector in vectors.astype("<f4", copy=False)]
        rows = [(key, blob, crc32(blob)) for key, blob in zip(keys, blobs, strict=True)]
        with told(self.folder), self._lock:
            self._db.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", rows)

    def salvage(self, database: Path) -> None:
        """Take over the sound vectors of a database, however damaged the rest of it may be."""
        with suppress(sqlite3.Error), closing(reader(database)) as other:
            for key, vector, checksum in other.execute("SELECT key, vector, checksum FROM vectors"):
                if crc32(vector) == checksum:
                    self._do(
                        "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", key, vector, checksum
                    )

    # -- what it comes to

    def counts(self, sources: Sequence[Path]) -> Counts:
        """What became of the articles of these sources since the last commit."""
        with self._lock:
            self._db.commit()  # nothing can be attached within a transaction
        if self._compared is None or self._compared.problem(self.folder):
            self._do("ATTACH ':memory:' AS old")
            self._do("CREATE TABLE old.articles (source, name, hash)")
            self._do("CREATE TABLE old.sources (id, path)")
        else:
            self._do("ATTACH ? AS old", _uri(self.folder / self._compared.name))
        among = f"({', '.join('?' * len(sources))})"
        paths = [str(path) for path in sources]
        of = "SELECT s.path, a.name, a.hash FROM {0}.articles a JOIN {0}.sources s"
        of += f" ON s.id = a.source WHERE s.path IN {among}"
        new, old = of.format("main"), of.format("old")
        row = self._rows(
            f"SELECT sum(old.hash IS NULL), sum(old.hash <> new.hash), sum(old.hash = new.hash)"
            f" FROM ({new}) new LEFT JOIN ({old}) old USING (path, name)",
            *(*paths, *paths),
        )[0]
        (before,) = self._rows(f"SELECT count(*) FROM ({old})", *paths)[0]
        added, changed, unchanged = (int(count or 0) for count in row)
        self._db.commit()
        self._do("DETACH old")
        return Counts(added, changed, before - changed - unchanged, unchanged)

    def passage_count(self) -> int:
        (count,) = self._rows("SELECT count(*) FROM passages")[0]
        return int(count)

    # -- inside

    def _do(self, statement: str, *values: object) -> None:
        with told(self.folder), self._lock:
            self._db.execute(statement, values)

    def _rows(self, statement: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        with told(self.folder), self._lock:
            return self._db.execute(statement, values).fetchall()


def excerpt_of(article: Article, passage: Passage) -> Excerpt:
    start, end = passage.start, passage.end
    return Excerpt(
        article_id=article.id,
        title=article.title,
        start=start,
        end=end,
        text=article.text[start:end],
        date=article.date,
        source=article.source,
        url=article.url,
        pages=article.pages,
    )


# -- ending


def publish(folder: Path, database: Path) -> Commit:
    """Build FAISS's file from a finished database, and make the two the index's last commit.

    Raises IndexDamaged when a vector is, IndexUnusable on a full disk.
    """
    vectors = folder / f"vectors.{commits.next_number()}.faiss"
    with told(folder), closing(reader(database)) as db:
        (held,) = db.execute("SELECT count(*) FROM passages").fetchone()
        dimensions = db.execute("SELECT length(vector) / 4 FROM vectors LIMIT 1").fetchone()
        sources = db.execute("SELECT path FROM sources ORDER BY id").fetchall()
        (encoder,) = db.execute("SELECT value FROM about WHERE key = 'encoder'").fetchone()
        dimension = dimensions[0] if dimensions else 1
        try:
            family = _updated(folder, db, vectors) or build(
                vector_batches(db, folder), held, dimension, vectors
            )
            commit = Commit(
                number=commits.next_number(),
                encoder=EncoderId(*json.loads(encoder)),
                dimensions=dimension,
                sources=tuple(path for (path,) in sources),
                family=family.name,
                recall=family.recall,
                database=StoredFile.of(database),
                vectors=StoredFile.of(vectors),
            )
            commits.publish(folder, commit)
        except OSError as error:
            vectors.unlink(missing_ok=True)
            raise full_disk(folder) from error
    return commit


def _updated(folder: Path, db: sqlite3.Connection, file: Path) -> Family | None:
    """Write FAISS's file by what has changed since the last commit, where that is worth it."""
    about = dict(db.execute("SELECT key, value FROM about"))
    base = _last(folder, rebuild=True)
    if base is None or not about["copied"] or about["base"] != base.number:
        return None  # passages are numbered anew
    if base.vectors.problem(folder):
        return None
    before = Nearest.open(folder / base.vectors.name).numbers()
    now = np.array([n for (n,) in db.execute("SELECT number FROM passages")], dtype=np.int64)
    return update(
        folder / base.vectors.name,
        np.setdiff1d(before, now).tolist(),
        vector_batches(db, folder, above=int(before.max(initial=0))),
        vector_batches(db, folder),
        len(now),
        file,
    )


# -- beginning


def discard(folder: Path) -> None:
    """Drop what an interrupted change has left."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        (folder / f"{BUILDING}{suffix}").unlink(missing_ok=True)


def is_unfinished(folder: Path) -> bool:
    """Whether an interrupted change is waiting to be gone on with."""
    return (folder / BUILDING).exists()


def _last(folder: Path, *, rebuild: bool) -> Commit | None:
    try:
        return commits.last(folder)
    except NoIndex:
        return None
    except IndexUnusable:
        if rebuild or (folder / commits.FIRST_DATABASE).exists():
            return None
        raise


def _about(base: Commit | None, encoder: EncoderId) -> dict[str, object]:
    """What tells whether an interrupted change may be gone on with."""
    return {
        "version": commits.VERSION,
        "base": base.number if base else 0,
        "encoder": json.dumps(encoder),
    }


def newest_database(folder: Path) -> Path | None:
    """The newest database of a commit, or of what was about to become one."""
    return max(folder.glob("passages.*.sqlite"), default=None)  # their numbers are equally long


def _taken_up(folder: Path, base: Commit | None, encoder: EncoderId) -> bool:
    """Whether there is an interrupted change of this commit, by this encoder, all of it sound."""
    newest = newest_database(folder)
    if newest and not is_unfinished(folder) and (base is None or newest.name > base.database.name):
        newest.replace(folder / BUILDING)  # finished, but cut off before it became a commit
    if not is_unfinished(folder):
        return False
    with suppress(sqlite3.Error, ValueError), closing(_connect(folder / BUILDING)) as db:
        about = dict(db.execute("SELECT key, value FROM about"))
        if not about.items() >= _about(base, encoder).items():
            return False
        if next(checks.row_problems(db), ""):
            return False
        db.execute("INSERT INTO words (words) VALUES ('integrity-check')")  # raises when it is not
        db.commit()
        return True
    return False


def _copy(folder: Path, base: Commit) -> None:
    problem = base.database.problem(folder)
    if problem:
        raise damaged(folder, problem)
    try:
        shutil.copyfile(folder / base.database.name, folder / BUILDING)
    except OSError as error:
        discard(folder)
        raise (full_disk if error.errno == ENOSPC else read_only)(folder) from error


def _connect(file: Path) -> sqlite3.Connection:
    db = sqlite3.connect(file, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA secure_delete = ON")  # a removed article leaves no trace in the file
    db.execute("PRAGMA cache_size = -65536")
    return db


def reader(file: Path) -> sqlite3.Connection:
    """A connection to a database that nobody changes."""
    return sqlite3.connect(_uri(file), uri=True)


def _uri(file: Path) -> str:
    return f"{file.resolve().as_uri()}?mode=ro&immutable=1"
