"""PassageIndex: SQLite holds articles, passages, vectors and words; FAISS is built from it.

What is read is one commit (rag.commits), which never changes: a reader goes on with the commit that
it opened, whatever is built meanwhile. Every article and passage carries a checksum, which is
looked at whenever it is read, so that nothing is ever answered from damaged text.
"""

import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property, lru_cache
from hashlib import sha256
from math import log
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from rag import commits
from rag.commits import Commit, full_disk, read_only
from rag.datatypes import EVERYTHING, Among, Article, EncoderId, Excerpt, Skipped
from rag.errors import IndexDamaged, IndexUnusable
from rag.language import searchable, words
from rag.nearest import Batches, Nearest, build

SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE sources (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE files (
    number INTEGER PRIMARY KEY,
    source INTEGER NOT NULL REFERENCES sources (id),
    name TEXT NOT NULL,            -- as its source knows it
    size INTEGER, mtime_ns INTEGER, hash BLOB,  -- as it was read; NULL until it is read to its end
    UNIQUE (source, name)
);
CREATE TABLE skipped (
    file INTEGER NOT NULL REFERENCES files (number),
    path TEXT NOT NULL, reason TEXT NOT NULL,
    taken INTEGER NOT NULL         -- whether it is only because another article has its id
);
CREATE INDEX skipped_of_file ON skipped (file);
CREATE TABLE articles (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,       -- as the world knows it
    file INTEGER NOT NULL REFERENCES files (number),
    source INTEGER NOT NULL REFERENCES sources (id),
    name TEXT NOT NULL,            -- as its source knows it
    hash BLOB NOT NULL,            -- of all that follows
    title TEXT NOT NULL, text TEXT NOT NULL, date TEXT, publisher TEXT, url TEXT, pages TEXT,
    UNIQUE (source, name)
);
CREATE INDEX articles_of_file ON articles (file);
CREATE TABLE passages (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: FAISS tells vectors by it
    article INTEGER NOT NULL REFERENCES articles (number),
    "start" INTEGER NOT NULL, "end" INTEGER NOT NULL,
    key BLOB NOT NULL,             -- of its vector: a hash of what is encoded
    checksum INTEGER NOT NULL      -- of the passage as it is read
);
CREATE INDEX passages_of_article ON passages (article);
CREATE INDEX passages_of_vector ON passages (key);
CREATE TABLE vectors (
    key BLOB NOT NULL UNIQUE,
    vector BLOB NOT NULL,          -- float32, little-endian
    checksum INTEGER NOT NULL
);
"""
WORDS = """
CREATE VIRTUAL TABLE words USING fts5 (
    about, text, tokenize = "porter unicode61 categories 'L* N* Co Mn Mc'"
);
CREATE VIRTUAL TABLE vocabulary USING fts5vocab (words, 'row');
"""

ARTICLE = "SELECT id, title, text, date, publisher, url, pages, hash FROM articles"
_EXCERPT = """
SELECT p.checksum, a.id, a.title, p."start", p."end",
       substr(a.text, p."start" + 1, p."end" - p."start"), a.date, a.publisher, a.url, a.pages
FROM passages p JOIN articles a ON a.number = p.article WHERE p.number = ?
"""
_OF_ARTICLES = "SELECT number FROM passages WHERE article IN (SELECT number FROM articles WHERE"
BATCH = 4096


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file of a source as the index last read it.

    `hash` is None when that came to no end, `mtime_ns` when the time stamp cannot be relied on.
    """

    number: int
    size: int | None
    mtime_ns: int | None
    hash: bytes | None


KnownFiles = Mapping[Path, Mapping[str, KnownFile]]
"""Source → name → file."""


@dataclass(frozen=True, slots=True)
class SourceContents:
    """What an index holds of one source; `bytes` is the size of its files there."""

    path: str
    articles: int
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What an index holds, in numbers; `bytes` is the size of its files."""

    articles: int
    passages: int
    duplicates: int
    sources: tuple[SourceContents, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class ArticleLine:
    """An article as a list shows it."""

    id: str
    title: str
    date: str | None
    source: str | None


class Order(StrEnum):
    """Of a list of articles; those without a date come last."""

    NEWEST = "newest"
    OLDEST = "oldest"
    TITLE = "by_title"
    SOURCE = "by_source"


_ORDERS = {
    Order.NEWEST: "date IS NULL, date DESC, number",
    Order.OLDEST: "date IS NULL, date, number",
    Order.TITLE: "title COLLATE NOCASE, number",
    Order.SOURCE: "publisher IS NULL, publisher COLLATE NOCASE, date DESC, number",
}


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Say what SQLite (or the file system) met in words that help."""
    try:
        yield
    except sqlite3.OperationalError as error:
        said = str(error)
        if "full" in said or "disk I/O" in said:
            raise full_disk(folder) from error
        if "readonly" in said or "unable to open" in said:
            raise read_only(folder) from error
        raise damaged(folder, said) from error
    except sqlite3.DatabaseError as error:
        raise damaged(folder, str(error)) from error


def damaged(folder: Path, what: str) -> IndexDamaged:
    return IndexDamaged(
        f"The index in {folder} is damaged ({what}).", remedy="Run `rag doctor` to mend it."
    )


class PassageIndex:
    """A searchable set of passages: one commit. Reading is safe from several threads."""

    def __init__(self, folder: Path, commit: Commit, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self.commit = commit
        self._db = connection
        self._lock = RLock()
        self._nearest: Nearest | None = None
        self._held_by = lru_cache(maxsize=1 << 16)(self._looked_up)  # a commit never changes

    # -- opening and closing

    @classmethod
    def open(cls, folder: Path, *, encoder: EncoderId | None = None) -> "PassageIndex":
        """Open the last commit for reading.

        Raises NoIndex when there is none, IndexUnusable when it was not made by `encoder`,
        IndexDamaged when its database is not what was written.
        """
        commit = commits.read(folder)
        check_encoder(folder, commit, encoder)
        try:
            connection = _connect(folder, commit)
        except IndexDamaged:
            if commits.read(folder).number == commit.number:
                raise
            return cls.open(folder, encoder=encoder)  # a newer commit came between the two steps
        return cls(folder, commit, connection)

    def newest(self) -> "PassageIndex":
        """This index, or the last commit, opened, when that is another one.

        Raises what `open` raises; this index can be used all the same.
        """
        if commits.read(self.folder).number == self.commit.number:
            return self
        return PassageIndex.open(self.folder, encoder=self.commit.encoder)

    def load(self) -> None:
        """Open FAISS's file now rather than at the first search."""
        self._vectors()

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

    def contents(self) -> Contents:
        sources = self._rows(
            "SELECT path, (SELECT count(*) FROM articles WHERE source = s.id), count(f.number),"
            " coalesce(sum(f.size), 0)"
            " FROM sources s LEFT JOIN files f ON f.source = s.id GROUP BY s.id ORDER BY s.id"
        )
        (articles, texts) = self._rows("SELECT count(*), count(DISTINCT text) FROM articles")[0]
        (passages,) = self._rows("SELECT count(*) FROM passages")[0]
        return Contents(
            articles=articles,
            passages=passages,
            duplicates=articles - texts,
            sources=tuple(SourceContents(*row) for row in sources),
            bytes=sum(file.bytes for file in self.commit.files),
        )

    def sources(self) -> list[Path]:
        """The sources that the index remembers, oldest first."""
        return [Path(path) for path in self.commit.sources]

    def files(self) -> KnownFiles:
        """The files of all sources as they were read."""
        with told(self.folder), self._lock:
            return known_files(self._db)

    def skipped(self, sources: Sequence[Path]) -> list[Skipped]:
        """What was skipped in these sources, in the order of their files."""
        with told(self.folder), self._lock:
            return skipped_in(self._db, sources)

    def titles(self, most: int) -> list[str]:
        """The titles of `most` articles, the newest first."""
        rows = self._rows("SELECT title FROM articles ORDER BY date DESC, number LIMIT ?", most)
        return [title for (title,) in rows]

    @cached_property
    def article_count(self) -> int:
        (count,) = self._rows("SELECT count(*) FROM articles")[0]
        return int(count)

    def publishers(self) -> list[str]:
        """The sources that the articles name, in the alphabet's order."""
        rows = self._rows(
            "SELECT DISTINCT publisher FROM articles WHERE publisher <> '' ORDER BY 1"
        )
        return [name for (name,) in rows]

    def listing(
        self, sought: str, among: Among, order: Order, most: int
    ) -> tuple[list[ArticleLine], int]:
        """The first `most` articles that hold all words of `sought`, and how many there are in all."""
        condition, values = _condition(among)
        if said := [word for word in sought.split() if words(word)]:
            condition += (
                " AND number IN (SELECT p.article FROM words w JOIN passages p ON p.number = w.rowid"
                " WHERE words MATCH ?)"
            )
            values.append(" AND ".join(map(_as_phrase, said)))
        (count,) = self._rows(f"SELECT count(*) FROM articles WHERE {condition}", *values)[0]
        rows = self._rows(
            f"SELECT id, title, date, publisher FROM articles WHERE {condition}"
            f" ORDER BY {_ORDERS[order]} LIMIT ?",
            *(*values, most),
        )
        return [ArticleLine(*row) for row in rows], count

    def among(self, among: Among) -> frozenset[int] | None:
        """The numbers of the passages of these articles; None for all."""
        if among == EVERYTHING:
            return None
        condition, values = _condition(among)
        return frozenset(
            number for (number,) in self._rows(f"{_OF_ARTICLES} {condition})", *values)
        )

    def sample(self, most: int) -> list[Article]:
        """Up to `most` articles from everywhere in the index, the same ones every time."""
        rows = self._rows(
            f"{ARTICLE} ORDER BY number * 2654435761 % 4294967296, number LIMIT ?", most
        )
        return [article_of(row) for row in rows]

    def article(self, id: str) -> Article | None:
        """The whole article of that id. Raises IndexDamaged when it is not as it was taken in."""
        row = self._row(f"{ARTICLE} WHERE id = ?", id)
        if row is None:
            return None
        article = article_of(row)
        if content_hash(article) != row[-1]:
            raise damaged(self.folder, f"the article {id}")
        return article

    # -- searching

    def nearest(
        self, vector: NDArray[np.float32], most: int, only: Set[int] | None = None
    ) -> dict[int, float]:
        """Passage numbers → cosine to `vector`, the `most` nearest, of these `only` if given."""
        vectors = self._vectors()
        if vectors.count == 0:
            return {}
        if vector.shape[0] != vectors.dimensions:
            raise IndexUnusable(
                f"The index in {self.folder} holds vectors of {vectors.dimensions} dimensions, the"
                f" encoder makes {vector.shape[0]}.",
                remedy="Build it anew with `rag index --rebuild`.",
            )
        return vectors.search(vector, most, only)

    def matching(
        self,
        phrases: Sequence[str],
        most: int,
        required: Sequence[str] = (),
        among: Among = EVERYTHING,
    ) -> dict[int, float]:
        """Passage numbers → BM25 score (higher is better), the `most` best holding any of `phrases`.

        They also hold each of `required`, and are of the articles `among`.
        """
        if not phrases:
            return {}
        any_of = " OR ".join(map(_as_phrase, phrases))
        query = " AND ".join([f"({any_of})", *map(_as_phrase, required)])
        condition, values = _condition(among)
        only = f"AND rowid IN ({_OF_ARTICLES} {condition}))" if among != EVERYTHING else ""
        rows = self._rows(
            f"SELECT rowid, -rank FROM words WHERE words MATCH ? {only} ORDER BY rank LIMIT ?",
            *(query, *values, most),
        )
        return dict(rows)

    def holding(self, phrases: Sequence[str]) -> set[int]:
        """The numbers of the passages that hold each of `phrases`, in themselves or their heading."""
        query = " AND ".join(map(_as_phrase, phrases))
        return {
            number for (number,) in self._rows("SELECT rowid FROM words WHERE words MATCH ?", query)
        }

    def rarity(self, stems: Iterable[str]) -> dict[str, float]:
        """Inverse document frequency of each stem: log(1 + passages / (1 + passages holding it))."""
        return {
            stem: log(1 + self.passage_count / (1 + count))
            for stem, count in self.held_by(stems).items()
        }

    def held_by(self, stems: Iterable[str]) -> dict[str, int]:
        """How many passages hold each stem."""
        return {stem: self._held_by(stem) for stem in set(stems)}

    @cached_property
    def passage_count(self) -> int:
        (count,) = self._rows("SELECT count(*) FROM passages")[0]
        return int(count)

    def passages(self, numbers: Iterable[int]) -> list[Excerpt]:
        """The passages of these numbers, in their order; a number that is none is left out.

        Raises IndexDamaged when one is not as it was taken in.
        """
        found = (self._row(_EXCERPT, number) for number in numbers)
        return [self._excerpt(row) for row in found if row is not None]

    # -- inside

    def _looked_up(self, stem: str) -> int:
        row = self._row("SELECT doc FROM vocabulary WHERE term = ?", searchable(stem))
        return int(row[0]) if row else 0

    def _excerpt(self, row: tuple) -> Excerpt:  # type: ignore[type-arg]
        checksum, *held, pages = row
        excerpt = replace(Excerpt(*held), pages=parsed_pages(pages))
        if excerpt_checksum(excerpt) != checksum:
            raise damaged(self.folder, f"a passage of {excerpt.article_id}")
        return excerpt

    def _vectors(self) -> Nearest:
        with told(self.folder), self._lock:
            if self._nearest is None:
                self._nearest = self._stored() or self._rebuilt()
            return self._nearest

    def _stored(self) -> Nearest | None:
        """FAISS's file, when it is what was written."""
        if self.commit.vectors.problem(self.folder):
            return None
        with suppress(ValueError):
            return Nearest.open(self.folder / self.commit.vectors.name)
        return None

    def _rebuilt(self) -> Nearest:
        """FAISS's file made again from the vectors of the database: it is only a copy."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
            file = Path(temporary, "vectors.faiss")
            count = self._db.execute("SELECT count(*) FROM passages").fetchone()[0]
            build(vector_batches(self._db, self.folder), count, self.commit.dimensions, file)
            return Nearest.open(file)

    def _rows(self, statement: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        with told(self.folder), self._lock:
            return self._db.execute(statement, values).fetchall()

    def _row(self, statement: str, *values: object) -> tuple | None:  # type: ignore[type-arg]
        rows = self._rows(statement, *values)
        return rows[0] if rows else None


_YEAR = "[0-9]" * 4


def _condition(among: Among) -> tuple[str, list[Any]]:
    """The SQL condition on an article that it is among these, and its values."""
    conditions, values = ["TRUE"], list[Any](among.sources)
    if among.sources:
        conditions.append(f"publisher IN ({', '.join('?' * len(among.sources))})")
    if among.since or among.until:
        conditions.append(f"(date GLOB '{_YEAR}' OR date GLOB '{_YEAR}-[0-9][0-9]*')")
    if among.since:
        conditions.append("substr(date, 1, 10) >= ?")
        values.append(among.since)
    if among.until:
        conditions.append("substr(date, 1, ?) <= ?")
        values += [len(among.until), among.until]
    return " AND ".join(conditions), values


def _as_phrase(text: str) -> str:
    """The text as FTS5 reads it: words that follow each other, whatever else they mean there."""
    return '"' + searchable(text).replace('"', '""').replace("\0", " ") + '"'


def check_encoder(folder: Path, commit: Commit, encoder: EncoderId | None) -> None:
    """Raises IndexUnusable when the commit was made by another encoder."""
    if encoder is None or encoder == commit.encoder:
        return
    made_by, same = commit.encoder.name, commit.encoder.name == encoder.name
    other = "whose files have changed since" if same else f"not {encoder.name}"
    raise IndexUnusable(
        f"The index in {folder} was made by the encoder {made_by}, {other}.",
        remedy="Run `rag index` to encode it anew, or set RAG_ENCODER to the one that made it.",
    )


def _connect(folder: Path, commit: Commit) -> sqlite3.Connection:
    file = folder / commit.database.name
    if not file.is_file() or file.stat().st_size != commit.database.bytes:
        raise damaged(folder, f"{file.name} is not as long as it was written")
    with told(folder):
        return sqlite3.connect(
            f"{file.resolve().as_uri()}?mode=ro&immutable=1",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )


# -- rows


def article_of(row: Sequence[Any]) -> Article:
    """The article of a row of ARTICLE."""
    *held, pages, _ = row
    return replace(Article(*held), pages=parsed_pages(pages))


def parsed_pages(pages: str | None) -> tuple[int, ...]:
    return tuple(json.loads(pages)) if pages else ()


def content_hash(article: Article) -> bytes:
    """Of everything in an article but its id."""
    about = [article.title, article.text, article.date, article.source, article.url, article.pages]
    return sha256(json.dumps(about).encode()).digest()


def excerpt_checksum(excerpt: Excerpt) -> int:
    """Of everything that is shown of a passage."""
    held = [
        *(excerpt.article_id, excerpt.title, excerpt.date, excerpt.source, excerpt.url),
        *(excerpt.start, excerpt.end, excerpt.text, excerpt.pages),
    ]
    return crc32(json.dumps(held).encode())


def known_files(db: sqlite3.Connection) -> KnownFiles:
    files: dict[Path, dict[str, KnownFile]] = {}
    for path, name, *known in db.execute(
        "SELECT s.path, f.name, f.number, f.size, f.mtime_ns, f.hash"
        " FROM files f JOIN sources s ON s.id = f.source"
    ):
        files.setdefault(Path(path), {})[name] = KnownFile(*known)
    return files


def skipped_in(db: sqlite3.Connection, sources: Sequence[Path]) -> list[Skipped]:
    rows = db.execute(
        "SELECT s.path, s.reason FROM skipped s JOIN files f ON f.number = s.file"
        " JOIN sources ON sources.id = f.source"
        f" WHERE sources.path IN ({', '.join('?' * len(sources))})"
        " ORDER BY f.source, f.name, s.rowid",
        [str(path) for path in sources],
    )
    return [Skipped(*row) for row in rows]


def vector_batches(db: sqlite3.Connection, folder: Path, *, above: int = 0) -> Batches:
    """The numbers beyond `above` with their vectors, a batch at a time. Raises IndexDamaged then."""

    def batches() -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        rows = db.execute(
            "SELECT p.number, v.vector, v.checksum FROM passages p"
            " LEFT JOIN vectors v ON v.key = p.key WHERE p.number > ? ORDER BY p.number",
            (above,),
        )
        while batch := rows.fetchmany(BATCH):
            for number, vector, checksum in batch:
                if vector is None or crc32(vector) != checksum:
                    raise damaged(folder, f"the vector of passage {number}")
            numbers = np.array([number for number, *_ in batch], dtype=np.int64)
            vectors = [np.frombuffer(vector, dtype="<f4") for _, vector, _ in batch]
            yield numbers, np.stack(vectors).astype(np.float32, copy=False)

    return batches
