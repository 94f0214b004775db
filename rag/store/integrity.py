"""Integrity check of an index's database: checksums, and references between its rows."""

import sqlite3
from collections.abc import Iterator, Sequence
from zlib import crc32

from rag.store.schema import (
    ARTICLE_COLUMNS,
    article_from_row,
    content_hash,
    excerpt_checksum,
    excerpt_from_article,
)
from rag.types import Article, Passage

_MAX_SQLITE_PROBLEMS = 20

_BROKEN_REFERENCES = {
    "passages belong to no article": (
        "FROM passages WHERE article NOT IN (SELECT number FROM articles)"
    ),
    "articles belong to no file": "FROM articles WHERE file NOT IN (SELECT number FROM files)",
    "files belong to no source": "FROM files WHERE source NOT IN (SELECT id FROM sources)",
    "passages are missing in the full-text index": (
        "FROM passages WHERE number NOT IN (SELECT rowid FROM words)"
    ),
    "entries of the full-text index belong to no passage": (
        "FROM words WHERE rowid NOT IN (SELECT number FROM passages)"
    ),
}


def database_problems(db: sqlite3.Connection) -> Iterator[str]:
    """Yield a description of each problem of the database; nothing if it is intact."""
    try:
        yield from _sqlite_problems(db)
        yield from _article_problems(db)
        yield from _vector_problems(db)
        yield from _reference_problems(db)
    except sqlite3.Error as error:
        yield f"the database cannot be read ({error})"


def _sqlite_problems(db: sqlite3.Connection) -> Iterator[str]:
    for (message,) in db.execute(f"PRAGMA integrity_check({_MAX_SQLITE_PROBLEMS})"):
        if message != "ok":
            yield f"SQLite: {message}"


def _article_problems(db: sqlite3.Connection) -> Iterator[str]:
    """Compare the articles with their hashes, and their passages with the articles."""
    for number, *row in db.execute(
        f"SELECT number, {ARTICLE_COLUMNS} FROM articles ORDER BY number"
    ):
        article = article_from_row(row)
        if content_hash(article) != row[-1]:
            yield f"article {article.id} does not match its hash"
            continue
        passages = db.execute(
            'SELECT "start", "end", checksum FROM passages WHERE article = ? ORDER BY "start"',
            (number,),
        ).fetchall()
        yield from _passage_problems(article, passages)


def _passage_problems(article: Article, passages: Sequence[tuple[int, int, int]]) -> Iterator[str]:
    """Check an article's passages, given as (start, end, checksum) and ordered by start."""
    for start, end, checksum in passages:
        excerpt = excerpt_from_article(article, Passage(start, end))
        within_article = 0 <= start < end <= len(article.text)
        if not within_article or excerpt_checksum(excerpt) != checksum:
            yield f"a passage of {article.id} ({start}–{end}) does not match its checksum"
    ends = [0, *(end for _, end, _ in passages)]
    starts = [*(start for start, _, _ in passages), len(article.text)]
    gaps = (article.text[end:start] for end, start in zip(ends, starts, strict=True))
    if any(gap.strip() for gap in gaps):
        yield f"part of article {article.id} is in no passage"


def _vector_problems(db: sqlite3.Connection) -> Iterator[str]:
    lengths = set()
    for key, vector, checksum in db.execute("SELECT key, vector, checksum FROM vectors"):
        lengths.add(len(vector))
        if crc32(vector) != checksum:
            yield f"the vector {key.hex()} does not match its checksum"
    if len(lengths) > 1:
        yield "the vectors have different numbers of dimensions"


def _reference_problems(db: sqlite3.Connection) -> Iterator[str]:
    for problem, rows in _BROKEN_REFERENCES.items():
        (count,) = db.execute(f"SELECT count(*) {rows}").fetchone()
        if count:
            yield f"{count} {problem}"
