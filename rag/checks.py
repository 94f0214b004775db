"""Whether the rows of an index's database are whole, and fit together."""

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from zlib import crc32

from rag.datatypes import Excerpt
from rag.index import ARTICLE, article_of, content_hash, excerpt_checksum

_MOST = 20
"""Problems of one kind that are told; beyond that, the rest is no news."""


def row_problems(db: sqlite3.Connection) -> Iterator[str]:
    """What is wrong with the database, one sentence each; nothing when all is well."""
    try:
        yield from _structure(db)
        yield from _articles(db)
        yield from _vectors(db)
        yield from _links(db)
    except sqlite3.Error as error:
        yield f"the database cannot be read ({error})"


def _structure(db: sqlite3.Connection) -> Iterator[str]:
    for (said,) in db.execute(f"PRAGMA integrity_check({_MOST})"):
        if said != "ok":
            yield f"SQLite: {said}"


def _articles(db: sqlite3.Connection) -> Iterator[str]:
    """Articles against their hashes, and their passages against the articles."""
    for number, *row in db.execute(
        f"{ARTICLE.replace('SELECT', 'SELECT number,')} ORDER BY number"
    ):
        article = article_of(row)
        if content_hash(article) != row[-1]:
            yield f"the article {article.id} is not as it was taken in"
            continue
        places = db.execute(
            'SELECT "start", "end", checksum FROM passages WHERE article = ? ORDER BY "start"',
            (number,),
        ).fetchall()
        for start, end, checksum in places:
            held = (article.text[start:end], article.date, article.source, article.url)
            excerpt = Excerpt(article.id, article.title, start, end, *held, pages=article.pages)
            if not 0 <= start < end <= len(article.text) or excerpt_checksum(excerpt) != checksum:
                yield f"a passage of {article.id} ({start}–{end}) does not fit it"
        edges = [(0, 0), *((start, end) for start, end, _ in places), (len(article.text),) * 2]
        if any(article.text[end:start].strip() for (_, end), (start, _) in pairwise(edges)):
            yield f"part of {article.id} stands in no passage"


def _vectors(db: sqlite3.Connection) -> Iterator[str]:
    lengths = set()
    for key, vector, checksum in db.execute("SELECT key, vector, checksum FROM vectors"):
        lengths.add(len(vector))
        if crc32(vector) != checksum:
            yield f"the vector {key.hex()} is not as it was encoded"
    if len(lengths) > 1:
        yield "the vectors are of different dimensions"


_LINKS = {
    "passages of no article": "FROM passages WHERE article NOT IN (SELECT number FROM articles)",
    "articles of no file": "FROM articles WHERE file NOT IN (SELECT number FROM files)",
    "files of no source": "FROM files WHERE source NOT IN (SELECT id FROM sources)",
    "passages without their words": "FROM passages WHERE number NOT IN (SELECT rowid FROM words)",
    "words of no passage": "FROM words WHERE rowid NOT IN (SELECT number FROM passages)",
}


def _links(db: sqlite3.Connection) -> Iterator[str]:
    for what, where in _LINKS.items():
        (count,) = db.execute(f"SELECT count(*) {where}").fetchone()
        if count:
            yield f"there are {count} {what}"
