"""PassageIndex: SQLite holds articles, passages, vectors and words; FAISS is built from it.

Two files in the index's folder: `passages.sqlite` is the truth, and `vectors.N.faiss` was built
from its commit N. When no FAISS file carries the database's commit (a crash, a copy, an older
version), FAISS is built again from the stored vectors, without encoding anything.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from rag.datatypes import Article, Excerpt, Passage
from rag.errors import IndexUnusable, NoIndex
from rag.passages import heading

if TYPE_CHECKING:
    import faiss

DATABASE = "passages.sqlite"
VERSION = 1
"""Of the schema; an index of another version is refused."""

_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE sources (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE articles (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,       -- as the world knows it
    source INTEGER NOT NULL REFERENCES sources (id),
    name TEXT NOT NULL,            -- as its source knows it
    hash BLOB NOT NULL,
    title TEXT NOT NULL, text TEXT NOT NULL, date TEXT, publisher TEXT, url TEXT,
    UNIQUE (source, name)
);
CREATE TABLE passages (
    number INTEGER PRIMARY KEY,
    article INTEGER NOT NULL REFERENCES articles (number),
    "start" INTEGER NOT NULL, "end" INTEGER NOT NULL,
    vector BLOB                    -- float32, little-endian; NULL until it is encoded
);
CREATE INDEX passages_of_article ON passages (article);
CREATE VIRTUAL TABLE words USING fts5 (title, text, tokenize = 'porter unicode61');
CREATE VIRTUAL TABLE vocabulary USING fts5vocab (words, 'row');
"""

_ARTICLE = "SELECT id, title, text, date, publisher, url FROM articles"
_EXCERPT = """
SELECT a.id, a.title, p."start", p."end", substr(a.text, p."start" + 1, p."end" - p."start"),
       a.date, a.publisher, a.url
FROM passages p JOIN articles a ON a.number = p.article WHERE p.number = ?
"""


@dataclass(frozen=True, slots=True)
class Known:
    """An article that the index holds already: its number, and the hash of its content."""

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Contents:
    """What an index holds, in numbers; `bytes` is the size of its files."""

    articles: int
    passages: int
    encoder: str
    sources: Mapping[str, int]
    bytes: int


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Say what SQLite (or the file system) met in words that help."""
    try:
        yield
    except sqlite3.OperationalError as error:
        said = str(error)
        if "full" in said:
            problem, remedy = "The disk is full", "Make room there and run `rag index` again."
        elif "locked" in said:
            problem = "Another `rag index` is at work"
            remedy = "Wait for it to end, or stop it."
        elif "readonly" in said or "unable to open" in said:
            problem = "The folder cannot be written to"
            remedy = "Make it writable, or name another one with --index or RAG_INDEX."
        else:
            problem = f"The index cannot be used ({said})"
            remedy = "Build it anew with `rag index --rebuild SOURCE`."
        raise IndexUnusable(
            f"{problem}: {folder}. The index is as it was.", remedy=remedy
        ) from error
    except sqlite3.DatabaseError as error:
        raise IndexUnusable(
            f"{folder / DATABASE} is not an index, or is damaged ({error}).",
            remedy="Build it anew with `rag index --rebuild SOURCE`.",
        ) from error


class PassageIndex:
    """A searchable set of passages. Reading is safe from several threads."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._db = connection
        self._lock = RLock()
        self._vectors: faiss.Index | None = None

    # -- opening and closing

    @classmethod
    def open(cls, folder: Path, *, encoder: str | None = None) -> "PassageIndex":
        """Open an index for reading.

        Raises NoIndex when there is none, IndexUnusable when it was not made by `encoder`.
        """
        file = folder / DATABASE
        try:
            if not file.is_file():
                raise NoIndex(
                    f"There is no index in {folder}.", remedy="Run `rag index` to build it."
                )
        except OSError as error:
            raise IndexUnusable(
                f"The folder {folder} cannot be read: {error.strerror}.",
                remedy="Name another one with --index or RAG_INDEX.",
            ) from error
        with _told(folder):
            uri = f"{file.resolve().as_uri()}?mode=ro"
            try:
                connection = _connect_reader(uri)
            except sqlite3.OperationalError:
                # A folder that cannot be written to has no room for SQLite's lock files. What stands
                # in its log beside the database would then be passed over.
                if _is_filled(Path(f"{file}-wal")):
                    raise
                connection = _connect_reader(f"{uri}&immutable=1")
            index = cls(folder, connection)
            try:
                index._check(encoder)
            except BaseException:
                index.close()
                raise
        return index

    @classmethod
    @contextmanager
    def change(cls, folder: Path, encoder: str, *, rebuild: bool) -> Iterator["IndexChange"]:
        """One change of an index, made when there is none: all of it holds at the end, or nothing.

        Raises IndexUnusable when another change is under way, when the folder cannot be written,
        or when the index was made by another encoder (unless it is to be rebuilt).
        """
        with _told(folder):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise IndexUnusable(
                    f"The folder {folder} cannot be made: {error.strerror}.",
                    remedy="Name another one with --index or RAG_INDEX.",
                ) from error
            new = not (folder / DATABASE).exists()
            connection = _connect(folder / DATABASE, replace_damaged=rebuild)
            try:
                change = IndexChange(folder, connection)
                change.prepare(encoder, rebuild=rebuild)
                yield change
                change.commit()
                new = False
            finally:
                connection.close()  # rolls back what was not committed
                if new:
                    _remove(folder / DATABASE)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- what it holds

    def about(self, key: str) -> str | int:
        row = self._row("SELECT value FROM about WHERE key = ?", key)
        return "" if row is None else row[0]

    def contents(self) -> Contents:
        counts = self._rows(
            "SELECT s.path, count(a.number) FROM sources s LEFT JOIN articles a ON a.source = s.id"
            " GROUP BY s.id ORDER BY s.id"
        )
        (passages,) = self._rows("SELECT count(*) FROM passages")[0]
        return Contents(
            articles=sum(count for _, count in counts),
            passages=passages,
            encoder=str(self.about("encoder")),
            sources=dict(counts),
            bytes=sum(
                file.stat().st_size for file in [self.folder / DATABASE, *_faiss_files(self.folder)]
            ),
        )

    def sources(self) -> list[Path]:
        """The sources that the index remembers, oldest first."""
        return [Path(path) for (path,) in self._rows("SELECT path FROM sources ORDER BY id")]

    def titles(self, most: int) -> list[str]:
        """The titles of `most` articles, the newest first."""
        rows = self._rows("SELECT title FROM articles ORDER BY date DESC, number LIMIT ?", most)
        return [title for (title,) in rows]

    def article(self, id: str) -> Article | None:
        """The whole article of that id."""
        row = self._row(f"{_ARTICLE} WHERE id = ?", id)
        return None if row is None else Article(*row)

    def has_article(self, id: str) -> bool:
        return self._row("SELECT 1 FROM articles WHERE id = ?", id) is not None

    # -- searching

    def nearest(self, vector: NDArray[np.float32], most: int) -> dict[int, float]:
        """Passage numbers → cosine to `vector`, the `most` nearest."""
        index = self._faiss()
        if index.ntotal == 0:
            return {}
        if vector.shape[0] != index.d:
            raise IndexUnusable(
                f"The index in {self.folder} holds vectors of {index.d} dimensions, the encoder makes"
                f" {vector.shape[0]}.",
                remedy="Build it anew with `rag index --rebuild SOURCE`.",
            )
        scores, numbers = index.search(vector[np.newaxis], min(most, index.ntotal))
        found = zip(numbers[0].tolist(), scores[0].tolist(), strict=True)
        return {number: score for number, score in found if number >= 0}

    def matching(self, words: Sequence[str], most: int) -> dict[int, float]:
        """Passage numbers → BM25 score (higher is better), the `most` best holding any of `words`."""
        if not words:
            return {}
        query = " OR ".join('"' + word.replace('"', '""') + '"' for word in words)
        rows = self._rows(
            "SELECT rowid, -rank FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?", query, most
        )
        return dict(rows)

    def rarity(self, stems: Iterable[str]) -> dict[str, float]:
        """Inverse document frequency of each stem: log(1 + passages / (1 + passages holding it))."""
        (total,) = self._rows("SELECT count(*) FROM passages")[0]
        held = {}
        for stem in set(stems):
            row = self._row("SELECT doc FROM vocabulary WHERE term = ?", stem)
            held[stem] = 0 if row is None else row[0]
        return {stem: float(np.log(1 + total / (1 + count))) for stem, count in held.items()}

    def passages(self, numbers: Iterable[int]) -> list[Excerpt]:
        """The passages of these numbers, in their order."""
        found = (self._row(_EXCERPT, number) for number in numbers)
        return [Excerpt(*row) for row in found if row is not None]

    # -- inside

    def _faiss(self) -> "faiss.Index":
        with _told(self.folder), self._lock:
            if self._vectors is None:
                self._vectors = self._read_faiss() or self._build_faiss()
            return self._vectors

    def _read_faiss(self) -> "faiss.Index | None":
        import faiss

        file = _faiss_file(self.folder, int(self.about("commit")))
        try:
            index = faiss.read_index(str(file))
        except (RuntimeError, MemoryError):  # not there, or damaged: it is only a copy
            return None
        (passages,) = self._db.execute("SELECT count(*) FROM passages").fetchone()
        return index if index.ntotal == passages else None

    def _build_faiss(self) -> "faiss.Index":
        import faiss

        rows = self._db.execute("SELECT number, vector FROM passages ORDER BY number")
        index: faiss.Index | None = None
        while batch := rows.fetchmany(4096):
            vectors = np.stack([np.frombuffer(blob, dtype="<f4") for _, blob in batch])
            if index is None:
                index = faiss.IndexIDMap2(faiss.IndexFlatIP(vectors.shape[1]))
            index.add_with_ids(vectors, np.array([number for number, _ in batch], dtype=np.int64))
        return faiss.IndexIDMap2(faiss.IndexFlatIP(1)) if index is None else index

    def _check(self, encoder: str | None) -> None:
        """Raises IndexUnusable when this is no finished index, or not one of this encoder's."""
        if not self._row("SELECT 1 FROM sqlite_schema WHERE name = 'about'"):
            # The first build is still under way, or was killed.
            raise NoIndex(
                f"The index in {self.folder} was never finished.",
                remedy="Run `rag index` to build it, or wait for the one that is at work.",
            )
        version, made_by = self.about("version"), self.about("encoder")
        if version != VERSION:
            raise IndexUnusable(
                f"The index in {self.folder} is of version {version}, not {VERSION}.",
                remedy="Build it anew with `rag index --rebuild SOURCE`.",
            )
        if encoder is not None and made_by != encoder:
            raise IndexUnusable(
                f"The index in {self.folder} was made by the encoder {made_by}, not {encoder}.",
                remedy="Set RAG_ENCODER to that one, or build anew with `rag index --rebuild`.",
            )

    def _rows(self, statement: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        with _told(self.folder), self._lock:
            return self._db.execute(statement, values).fetchall()

    def _row(self, statement: str, *values: object) -> tuple | None:  # type: ignore[type-arg]
        rows = self._rows(statement, *values)
        return rows[0] if rows else None


class IndexChange(PassageIndex):
    """An index while it is changed; see PassageIndex.change."""

    def prepare(self, encoder: str, *, rebuild: bool) -> None:
        """Make the tables of a new index; empty those of one that is to be rebuilt."""
        names = {name for (name,) in self._db.execute("SELECT name FROM sqlite_schema")}
        if rebuild and names:
            self._drop_everything()
        if rebuild or not names:
            for statement in _SCHEMA.split(";\n"):
                if statement.strip():
                    self._db.execute(statement)
            about = {"version": VERSION, "encoder": encoder, "commit": 0}
            self._db.executemany("INSERT INTO about VALUES (?, ?)", about.items())
            return
        self._check(encoder)

    def _drop_everything(self) -> None:
        for name in ("vocabulary", "words", "passages", "articles", "sources", "about"):
            self._db.execute(f"DROP TABLE IF EXISTS {name}")

    def commit(self) -> None:
        """Write FAISS's file for the new commit, then commit, then drop the older files."""
        number = time.time_ns()  # always rising, and never the same for two indexes
        self._db.execute("UPDATE about SET value = ? WHERE key = 'commit'", (number,))
        file = _faiss_file(self.folder, number)
        try:
            self._write_faiss(file)
            self._db.execute("COMMIT")
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        for old in _faiss_files(self.folder):
            if old != file:
                old.unlink(missing_ok=True)

    def _write_faiss(self, file: Path) -> None:
        import faiss

        try:
            faiss.write_index(self._build_faiss(), str(file))
        except RuntimeError as error:
            raise IndexUnusable(
                f"{file} cannot be written. The index is as it was.",
                remedy="Make room there and run `rag index` again.",
            ) from error

    # -- sources and articles

    def add_source(self, path: Path) -> int:
        """The number of the source at `path`, which is remembered from now on."""
        self._db.execute("INSERT OR IGNORE INTO sources (path) VALUES (?)", (str(path),))
        (number,) = self._db.execute(
            "SELECT id FROM sources WHERE path = ?", (str(path),)
        ).fetchone()
        return int(number)

    def remove_source(self, path: Path) -> int:
        """Forget a source with all its articles; how many these were."""
        source = self.add_source(path)
        articles = self.known(source).values()
        for known in articles:
            self.remove(known.number)
        self._db.execute("DELETE FROM sources WHERE id = ?", (source,))
        return len(articles)

    def known(self, source: int) -> dict[str, Known]:
        """The articles of a source, by the name that it knows them by."""
        rows = self._rows("SELECT name, number, hash FROM articles WHERE source = ?", source)
        return {name: Known(number, hash) for name, number, hash in rows}

    def add(self, article: Article, source: int, name: str, hash: bytes) -> None:
        """Take an article in; it has no passages yet."""
        self._db.execute(
            "INSERT INTO articles (id, source, name, hash, title, text, date, publisher, url)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(article.id, source, name, hash, article.title, article.text),
                *(article.date, article.source, article.url),
            ),
        )

    def remove(self, article: int) -> None:
        """Remove an article from everything."""
        within = "(SELECT number FROM passages WHERE article = ?)"
        self._db.execute(f"DELETE FROM words WHERE rowid IN {within}", (article,))
        self._db.execute("DELETE FROM passages WHERE article = ?", (article,))
        self._db.execute("DELETE FROM articles WHERE number = ?", (article,))

    def uncut(self) -> list[int]:
        """The numbers of the articles that have no passages yet."""
        rows = self._rows(
            "SELECT number FROM articles WHERE number NOT IN (SELECT article FROM passages)"
        )
        return [number for (number,) in rows]

    def article_of(self, number: int) -> Article:
        """The article of that number, which must be held."""
        return Article(*self._rows(f"{_ARTICLE} WHERE number = ?", number)[0])

    def add_passages(self, number: int, article: Article, passages: Iterable[Passage]) -> None:
        """Take in an article's passages; they have no vectors yet."""
        title = heading(article.title, article.date)
        for passage in passages:
            cursor = self._db.execute(
                'INSERT INTO passages (article, "start", "end") VALUES (?, ?, ?)',
                (number, passage.start, passage.end),
            )
            self._db.execute(
                "INSERT INTO words (rowid, title, text) VALUES (?, ?, ?)",
                (cursor.lastrowid, title, article.text[passage.start : passage.end]),
            )

    def unencoded(self) -> list[int]:
        """The numbers of the passages that have no vector yet."""
        return [n for (n,) in self._rows("SELECT number FROM passages WHERE vector IS NULL")]

    def set_vectors(self, numbers: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Store vectors, shape (numbers, dimensions), of these passages."""
        little_endian = vectors.astype("<f4")
        rows = zip((vector.tobytes() for vector in little_endian), numbers, strict=True)
        self._db.executemany("UPDATE passages SET vector = ? WHERE number = ?", rows)


def _faiss_file(folder: Path, commit: int) -> Path:
    return folder / f"vectors.{commit}.faiss"


def _faiss_files(folder: Path) -> list[Path]:
    return list(folder.glob("vectors.*.faiss"))


def _is_filled(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0


def _connect_reader(uri: str) -> sqlite3.Connection:
    """A connection that goes on reading the commit that it was made at, whatever is written."""
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(database: Path, *, replace_damaged: bool) -> sqlite3.Connection:
    """A connection that holds the right to write."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=1)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        connection.close()
        raise
    except sqlite3.DatabaseError:  # not a database
        connection.close()
        if not replace_damaged:
            raise
        _remove(database)
        return _connect(database, replace_damaged=False)
    return connection


def _remove(database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
