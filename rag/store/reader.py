"""Reader of an index: opening a snapshot, searching it, and fetching articles and passages.

SQLite holds the articles, passages, vectors and words; the FAISS file is derived from it. A snapshot
never changes, so a reader keeps answering from the snapshot that it opened while the next one is
built. Articles and passages are verified against their checksums when they are read: damaged text is
never returned.
"""

import sqlite3
import tempfile
from collections.abc import Iterable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import log
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rag.errors import IndexDamaged, IndexUnusable
from rag.store import snapshot as snapshots
from rag.store.schema import (
    ARTICLE_COLUMNS,
    IndexedFiles,
    Row,
    article_from_row,
    connect_read_only,
    content_hash,
    damaged_error,
    excerpt_checksum,
    excerpt_from_row,
    filter_condition,
    fts5_phrase,
    select_files,
    select_skipped,
    select_vectors,
    translate_sqlite_errors,
)
from rag.store.snapshot import Snapshot
from rag.store.vectors import VectorIndex, build_vector_file
from rag.text.tokens import searchable
from rag.types import ALL_ARTICLES, Article, ArticleFilter, EncoderId, Excerpt, Skipped

_SELECT_EXCERPT = """
SELECT p.checksum, a.id, a.title, p."start", p."end",
       substr(a.text, p."start" + 1, p."end" - p."start"), a.date, a.publisher, a.url, a.pages
FROM passages p JOIN articles a ON a.number = p.article WHERE p.number = ?
"""
_DOCUMENT_FREQUENCY_CACHE_SIZE = 1 << 16


@dataclass(frozen=True, slots=True)
class SourceStats:
    """Number of articles and files of one source; `bytes` is the size of the files there."""

    path: str
    articles: int
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class IndexStats:
    """Size of an index.

    `duplicates` counts the articles that repeat the text of another one; `bytes` is the size of the
    index's own files.
    """

    articles: int
    passages: int
    duplicates: int
    sources: tuple[SourceStats, ...]
    bytes: int


class IndexReader:
    """Read and search one snapshot of an index. All methods may be called from several threads.

    Attributes:
        folder: The folder of the index.
        snapshot: The snapshot that was opened.
    """

    def __init__(self, folder: Path, snapshot: Snapshot, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self.snapshot = snapshot
        self._db = connection
        self._lock = RLock()
        self._vector_index: VectorIndex | None = None
        self._cached_document_frequency = lru_cache(_DOCUMENT_FREQUENCY_CACHE_SIZE)(
            self._document_frequency
        )

    # -- opening and closing

    @classmethod
    def open(cls, folder: Path, *, encoder: EncoderId | None = None) -> "IndexReader":
        """Open the current snapshot.

        Args:
            folder: The folder of the index.
            encoder: The encoder that the index must have been built with; None accepts any.

        Raises:
            NoIndex: There is no index in the folder.
            IndexUnusable: The index was built with another encoder, or has another format version.
            IndexDamaged: The files are not as they were written.
        """
        current = snapshots.read(folder)
        _check_encoder(folder, current, encoder)
        try:
            connection = _connect(folder, current)
        except IndexDamaged:
            if snapshots.read(folder).number == current.number:
                raise
            # A newer snapshot was published, and this one's files removed, in between.
            return cls.open(folder, encoder=encoder)
        return cls(folder, current, connection)

    def newest(self) -> "IndexReader":
        """Return a reader of the current snapshot: this one, unless a newer snapshot was published.

        Raises what `open` raises; this reader remains usable nevertheless.
        """
        if snapshots.read(self.folder).number == self.snapshot.number:
            return self
        return IndexReader.open(self.folder, encoder=self.snapshot.encoder)

    def load(self) -> None:
        """Open the FAISS file now instead of at the first search."""
        self._open_vector_index()

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

    # -- statistics and sources

    def stats(self) -> IndexStats:
        """Count the articles, passages and sources."""
        sources = self.fetch_all(
            "SELECT path, (SELECT count(*) FROM articles WHERE source = s.id), count(f.number),"
            " coalesce(sum(f.size), 0)"
            " FROM sources s LEFT JOIN files f ON f.source = s.id GROUP BY s.id ORDER BY s.id"
        )
        articles, texts = self.fetch_all("SELECT count(*), count(DISTINCT text) FROM articles")[0]
        return IndexStats(
            articles=articles,
            passages=self.passage_count,
            duplicates=articles - texts,
            sources=tuple(SourceStats(*row) for row in sources),
            bytes=sum(file.bytes for file in self.snapshot.files),
        )

    @cached_property
    def article_count(self) -> int:
        (count,) = self.fetch_all("SELECT count(*) FROM articles")[0]
        return int(count)

    @cached_property
    def passage_count(self) -> int:
        (count,) = self.fetch_all("SELECT count(*) FROM passages")[0]
        return int(count)

    def sources(self) -> list[Path]:
        """Return the files and folders that were indexed, oldest first."""
        return [Path(path) for path in self.snapshot.sources]

    def files(self) -> IndexedFiles:
        """Return the files of all sources as they were when they were read."""
        with translate_sqlite_errors(self.folder), self._lock:
            return select_files(self._db)

    def skipped(self, sources: Sequence[Path]) -> list[Skipped]:
        """Return what was skipped in these sources, in the order of their files."""
        with translate_sqlite_errors(self.folder), self._lock:
            return select_skipped(self._db, sources)

    # -- articles and passages

    def article(self, id: str) -> Article | None:
        """Return the article with that id, if there is one.

        Raises:
            IndexDamaged: The article does not match its hash.
        """
        row = self._fetch_one(f"SELECT {ARTICLE_COLUMNS} FROM articles WHERE id = ?", id)
        if row is None:
            return None
        article = article_from_row(row)
        if content_hash(article) != row[-1]:
            raise damaged_error(self.folder, f"article {id}")
        return article

    def sample(self, limit: int) -> list[Article]:
        """Return up to `limit` articles from all over the index, always the same ones."""
        rows = self.fetch_all(
            f"SELECT {ARTICLE_COLUMNS} FROM articles"
            " ORDER BY number * 2654435761 % 4294967296, number LIMIT ?",  # multiplicative hashing
            limit,
        )
        return [article_from_row(row) for row in rows]

    def passages(self, numbers: Iterable[int]) -> list[Excerpt]:
        """Return the passages with these numbers, in the same order; unknown numbers are ignored.

        Raises:
            IndexDamaged: A passage does not match its checksum.
        """
        rows = (self._fetch_one(_SELECT_EXCERPT, number) for number in numbers)
        return [self._verified_excerpt(row) for row in rows if row is not None]

    def passage_numbers(self, article_filter: ArticleFilter) -> frozenset[int] | None:
        """Return the numbers of the passages of the articles that pass the filter.

        None stands for all passages, if the filter is empty.
        """
        if article_filter == ALL_ARTICLES:
            return None
        condition, parameters = filter_condition(article_filter)
        rows = self.fetch_all(_select_passages_of_articles(condition), *parameters)
        return frozenset(number for (number,) in rows)

    # -- searching

    def vector_search(
        self, vector: NDArray[np.float32], limit: int, passage_numbers: Set[int] | None = None
    ) -> dict[int, float]:
        """Search for the passages whose vectors are nearest to `vector`.

        Args:
            vector: A vector of length 1, shape (dimensions,).
            limit: Maximum number of results.
            passage_numbers: The passages to search; None searches all.

        Returns:
            Passage number → cosine similarity, best first.

        Raises:
            IndexUnusable: The vectors of the index have another number of dimensions.
            IndexDamaged: The FAISS file has to be rebuilt and a stored vector is damaged.
        """
        vector_index = self._open_vector_index()
        if vector_index.count == 0:
            return {}
        if vector.shape[0] != vector_index.dimensions:
            raise IndexUnusable(
                f"The vectors of the index in {self.folder} have {vector_index.dimensions} dimensions,"
                f" those of the encoder have {vector.shape[0]}.",
                remedy="Rebuild the index with `rag index --rebuild`.",
            )
        return vector_index.search(vector, limit, passage_numbers)

    def keyword_search(
        self,
        phrases: Sequence[str],
        limit: int,
        required: Sequence[str] = (),
        article_filter: ArticleFilter = ALL_ARTICLES,
    ) -> dict[int, float]:
        """Search for the passages that contain any of the phrases, ranked by BM25.

        Titles, dates and sources of articles are searched with each of their passages. Words are
        compared by their stems, without accents.

        Args:
            phrases: Words, or several words that must follow each other.
            limit: Maximum number of results.
            required: Phrases that each result must contain as well.
            article_filter: Restricts the articles by source and date.

        Returns:
            Passage number → BM25 score (higher is better), best first.
        """
        if not phrases:
            return {}
        any_phrase = " OR ".join(map(fts5_phrase, phrases))
        query = " AND ".join([f"({any_phrase})", *map(fts5_phrase, required)])
        statement, parameters = "SELECT rowid, -rank FROM words WHERE words MATCH ?", [query]
        if article_filter != ALL_ARTICLES:
            condition, filter_parameters = filter_condition(article_filter)
            statement += f" AND rowid IN ({_select_passages_of_articles(condition)})"
            parameters += filter_parameters
        return dict(self.fetch_all(f"{statement} ORDER BY rank LIMIT ?", *parameters, limit))

    def passages_containing(self, phrases: Sequence[str]) -> set[int]:
        """Return the numbers of the passages that contain all phrases, in their text or heading."""
        query = " AND ".join(map(fts5_phrase, phrases))
        rows = self.fetch_all("SELECT rowid FROM words WHERE words MATCH ?", query)
        return {number for (number,) in rows}

    def document_frequency(self, stems: Iterable[str]) -> dict[str, int]:
        """Count the passages that contain each stem."""
        return {stem: self._cached_document_frequency(stem) for stem in set(stems)}

    def passages_with_prefix(self, prefix: str, limit: int) -> list[Excerpt]:
        """Return some passages that contain a word whose stem begins like that of `prefix`."""
        query = f"{fts5_phrase(prefix)} *"
        rows = self.fetch_all("SELECT rowid FROM words WHERE words MATCH ? LIMIT ?", query, limit)
        return self.passages(number for (number,) in rows)

    def vocabulary(self, first_letter: str) -> dict[str, int]:
        """Return the stems that begin with a letter, and the number of passages that contain each."""
        start = searchable(first_letter)
        rows = self.fetch_all(
            "SELECT term, doc FROM vocabulary WHERE term >= ? AND term < ?", start, f"{start}\uffff"
        )
        return dict(rows)

    def idf(self, stems: Iterable[str]) -> dict[str, float]:
        """Return the inverse document frequency of each stem: log(1 + passages / (1 + frequency))."""
        return {
            stem: log(1 + self.passage_count / (1 + frequency))
            for stem, frequency in self.document_frequency(stems).items()
        }

    # -- queries

    def fetch_all(self, statement: str, *parameters: object) -> list[Row]:
        """Execute a SELECT statement of SQL and return all rows."""
        with translate_sqlite_errors(self.folder), self._lock:
            return self._db.execute(statement, parameters).fetchall()

    def _fetch_one(self, statement: str, *parameters: object) -> Row | None:
        rows = self.fetch_all(statement, *parameters)
        return rows[0] if rows else None

    def _document_frequency(self, stem: str) -> int:
        row = self._fetch_one("SELECT doc FROM vocabulary WHERE term = ?", searchable(stem))
        return int(row[0]) if row else 0

    def _verified_excerpt(self, row: Row) -> Excerpt:
        checksum, *columns = row
        excerpt = excerpt_from_row(columns)
        if excerpt_checksum(excerpt) != checksum:
            raise damaged_error(self.folder, f"a passage of {excerpt.article_id}")
        return excerpt

    # -- the FAISS file

    def _open_vector_index(self) -> VectorIndex:
        with translate_sqlite_errors(self.folder), self._lock:
            if self._vector_index is None:
                self._vector_index = self._open_faiss_file() or self._rebuild_faiss_file()
            return self._vector_index

    def _open_faiss_file(self) -> VectorIndex | None:
        """Open the snapshot's FAISS file, unless it is missing or damaged."""
        if self.snapshot.vectors.problem(self.folder):
            return None
        with suppress(ValueError):
            return VectorIndex.open(self.folder / self.snapshot.vectors.name)
        return None

    def _rebuild_faiss_file(self) -> VectorIndex:
        """Build a temporary FAISS file from the vectors in the database."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
            file = Path(temporary, "vectors.faiss")
            batches = select_vectors(self._db, self.folder)
            build_vector_file(batches, self.passage_count, self.snapshot.dimensions, file)
            return VectorIndex.open(file)


def _select_passages_of_articles(condition: str) -> str:
    return (
        "SELECT number FROM passages"
        f" WHERE article IN (SELECT number FROM articles WHERE {condition})"
    )


def _check_encoder(folder: Path, snapshot: Snapshot, encoder: EncoderId | None) -> None:
    """Raise IndexUnusable if the snapshot was built with another encoder."""
    if encoder is None or encoder == snapshot.encoder:
        return
    index_encoder = snapshot.encoder.name
    same_name = index_encoder == encoder.name
    difference = "whose files have changed since" if same_name else f"not {encoder.name}"
    raise IndexUnusable(
        f"The index in {folder} was built with the encoder {index_encoder}, {difference}.",
        remedy="Run `rag index` to encode it again, or set RAG_ENCODER to the encoder of the index.",
    )


def _connect(folder: Path, snapshot: Snapshot) -> sqlite3.Connection:
    file = folder / snapshot.database.name
    if not file.is_file() or file.stat().st_size != snapshot.database.bytes:
        raise damaged_error(folder, f"{file.name} is missing or has the wrong size")
    with translate_sqlite_errors(folder):
        return connect_read_only(file)
