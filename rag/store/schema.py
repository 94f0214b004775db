"""Schema of an index's database, the mapping between rows and dataclasses, and their checksums.

Every article, passage and vector is stored with a checksum, so that damaged data is recognised when
it is read.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from rag.errors import IndexDamaged
from rag.store.snapshot import disk_full_error, read_only_error
from rag.store.vectors import Ids, VectorBatches, Vectors
from rag.text.tokens import searchable
from rag.types import Article, ArticleFilter, Excerpt, Passage, SkipCause, Skipped
from rag.wording import decode_phrase

SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE sources (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE files (
    number INTEGER PRIMARY KEY,
    source INTEGER NOT NULL REFERENCES sources (id),
    name TEXT NOT NULL,            -- relative to its source
    size INTEGER, mtime_ns INTEGER, hash BLOB,  -- when it was read; NULL until it is read completely
    UNIQUE (source, name)
);
CREATE TABLE skipped (
    file INTEGER NOT NULL REFERENCES files (number),
    path TEXT NOT NULL, reason TEXT NOT NULL,
    taken INTEGER NOT NULL         -- the SkipCause
);
CREATE INDEX skipped_of_file ON skipped (file);
CREATE TABLE articles (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,       -- unique within the index
    file INTEGER NOT NULL REFERENCES files (number),
    source INTEGER NOT NULL REFERENCES sources (id),
    name TEXT NOT NULL,            -- its id within its source
    hash BLOB NOT NULL,            -- of the columns below
    title TEXT NOT NULL, text TEXT NOT NULL, date TEXT, publisher TEXT, url TEXT, pages TEXT,
    UNIQUE (source, name)
);
CREATE INDEX articles_of_file ON articles (file);
CREATE TABLE passages (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused: FAISS identifies vectors by it
    article INTEGER NOT NULL REFERENCES articles (number),
    "start" INTEGER NOT NULL, "end" INTEGER NOT NULL,
    key BLOB NOT NULL,             -- of its vector: a hash of the text that is encoded
    checksum INTEGER NOT NULL      -- of the excerpt
);
CREATE INDEX passages_of_article ON passages (article);
CREATE INDEX passages_of_vector ON passages (key);
CREATE TABLE vectors (
    key BLOB NOT NULL UNIQUE,
    vector BLOB NOT NULL,          -- float32, little-endian
    checksum INTEGER NOT NULL
);
"""

FULL_TEXT_SCHEMA = """
CREATE VIRTUAL TABLE words USING fts5 (
    about, text, tokenize = "porter unicode61 categories 'L* N* Co Mn Mc'"
);
CREATE VIRTUAL TABLE vocabulary USING fts5vocab (words, 'row');
"""

ARTICLE_COLUMNS = "id, title, text, date, publisher, url, pages, hash"
"""What `article_from_row` expects."""

VECTORS_PER_BATCH = 4096

_YEAR = "[0-9]" * 4

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file of a source as it was when it was last read.

    `hash` is the SHA-256 of its bytes, or None if it was not read completely. `mtime_ns` is None if
    the time stamp cannot be relied on. `lacked_package` says whether something in it was skipped
    because the package that reads its format was not installed.
    """

    number: int
    size: int | None
    mtime_ns: int | None
    hash: bytes | None
    lacked_package: bool = False


IndexedFiles = Mapping[Path, Mapping[str, IndexedFile]]
"""Source → name of the file → file."""


# -- connections and errors


def connect_read_only(file: Path) -> sqlite3.Connection:
    """Open a database that nobody changes. The connection may be used from several threads."""
    return sqlite3.connect(
        read_only_uri(file), uri=True, isolation_level=None, check_same_thread=False
    )


def read_only_uri(file: Path) -> str:
    return f"{file.resolve().as_uri()}?mode=ro&immutable=1"


@contextmanager
def translate_sqlite_errors(folder: Path) -> Iterator[None]:
    """Raise IndexUnusable or IndexDamaged for an error of SQLite or of the file system."""
    try:
        yield
    except sqlite3.OperationalError as error:
        message = str(error)
        if "full" in message or "disk I/O" in message:
            raise disk_full_error(folder) from error
        if "readonly" in message or "unable to open" in message:
            raise read_only_error(folder) from error
        raise damaged_error(folder, message) from error
    except sqlite3.DatabaseError as error:
        raise damaged_error(folder, str(error)) from error


def damaged_error(folder: Path, reason: str) -> IndexDamaged:
    return IndexDamaged(
        f"The index in {folder} is damaged ({reason}).", remedy="Run `rag doctor` to repair it."
    )


# -- rows


def article_from_row(row: Sequence[Any]) -> Article:
    """Convert a row of ARTICLE_COLUMNS."""
    id, title, text, date, publisher, url, pages, _ = row
    return Article(id, title, text, date, publisher, url, _parse_pages(pages))


def excerpt_from_row(row: Sequence[Any]) -> Excerpt:
    """Convert a row of an article's id and title, start, end, text, date, publisher, URL and pages."""
    id, title, start, end, text, date, publisher, url, pages = row
    return Excerpt(id, title, start, end, text, date, publisher, url, _parse_pages(pages))


def excerpt_from_article(article: Article, passage: Passage) -> Excerpt:
    return Excerpt(
        article_id=article.id,
        title=article.title,
        start=passage.start,
        end=passage.end,
        text=article.text[passage.start : passage.end],
        date=article.date,
        source=article.source,
        url=article.url,
        pages=article.pages,
    )


def format_pages(pages: Sequence[int]) -> str | None:
    return json.dumps(pages) if pages else None


def _parse_pages(pages: str | None) -> tuple[int, ...]:
    return tuple(json.loads(pages)) if pages else ()


def content_hash(article: Article) -> bytes:
    """Return the SHA-256 of everything in an article except its id."""
    fields = [article.title, article.text, article.date, article.source, article.url, article.pages]
    return sha256(json.dumps(fields).encode()).digest()


def excerpt_checksum(excerpt: Excerpt) -> int:
    """Return the CRC-32 of everything that is shown of a passage."""
    fields = [
        excerpt.article_id,
        excerpt.title,
        excerpt.date,
        excerpt.source,
        excerpt.url,
        excerpt.start,
        excerpt.end,
        excerpt.text,
        excerpt.pages,
    ]
    return crc32(json.dumps(fields).encode())


# -- queries that readers and writers share


def select_files(db: sqlite3.Connection) -> IndexedFiles:
    files: dict[Path, dict[str, IndexedFile]] = {}
    for path, name, *columns in db.execute(
        "SELECT s.path, f.name, f.number, f.size, f.mtime_ns, f.hash, EXISTS"
        " (SELECT 1 FROM skipped k WHERE k.file = f.number AND k.taken = ?)"
        " FROM files f JOIN sources s ON s.id = f.source",
        (SkipCause.MISSING_PACKAGE,),
    ):
        files.setdefault(Path(path), {})[name] = IndexedFile(*columns)
    return files


def select_skipped(db: sqlite3.Connection, sources: Sequence[Path]) -> list[Skipped]:
    rows = db.execute(
        "SELECT s.path, s.reason FROM skipped s JOIN files f ON f.number = s.file"
        " JOIN sources ON sources.id = f.source"
        f" WHERE sources.path IN ({', '.join('?' * len(sources))})"
        " ORDER BY f.source, f.name, s.rowid",
        [str(path) for path in sources],
    )
    return [Skipped(path, decode_phrase(reason)) for path, reason in rows]


def select_vectors(db: sqlite3.Connection, folder: Path, *, after: int = 0) -> VectorBatches:
    """Return the vectors of the passages whose number is greater than `after`, in batches.

    Iterating raises IndexDamaged at a vector that is missing or does not match its checksum.
    """

    def batches() -> Iterator[tuple[Ids, Vectors]]:
        rows = db.execute(
            "SELECT p.number, v.vector, v.checksum FROM passages p"
            " LEFT JOIN vectors v ON v.key = p.key WHERE p.number > ? ORDER BY p.number",
            (after,),
        )
        while batch := rows.fetchmany(VECTORS_PER_BATCH):
            for number, vector, checksum in batch:
                if vector is None or crc32(vector) != checksum:
                    raise damaged_error(folder, f"the vector of passage {number}")
            numbers = np.array([number for number, *_ in batch], dtype=np.int64)
            vectors = [np.frombuffer(vector, dtype="<f4") for _, vector, _ in batch]
            yield numbers, np.stack(vectors).astype(np.float32, copy=False)

    return batches


def filter_condition(article_filter: ArticleFilter) -> tuple[str, list[Any]]:
    """Return the SQL condition that an article passes the filter, and the condition's parameters."""
    sources, since, until = article_filter.sources, article_filter.since, article_filter.until
    conditions, parameters = ["TRUE"], list[Any](sources)
    if sources:
        conditions.append(f"publisher IN ({', '.join('?' * len(sources))})")
    if since or until:
        conditions.append(f"(date GLOB '{_YEAR}' OR date GLOB '{_YEAR}-[0-9][0-9]*')")
    if since:
        conditions.append("substr(date, 1, 10) >= ?")
        parameters.append(since)
    if until:
        conditions.append("substr(date, 1, ?) <= ?")
        parameters += [len(until), until]
    return " AND ".join(conditions), parameters


def fts5_phrase(text: str) -> str:
    """Quote a text for FTS5: a phrase of consecutive words, never an operator."""
    return '"' + searchable(text).replace('"', '""').replace("\0", " ") + '"'
