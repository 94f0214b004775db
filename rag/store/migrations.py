"""Migration of an index of an earlier format version, without encoding anything again.

Version 1 was a single database. Version 2 had a full-text index of the titles and texts only.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

from rag.errors import IndexUnusable
from rag.models.embedding.encoder import Encoder
from rag.store.schema import translate_sqlite_errors
from rag.store.snapshot import VERSION_1_DATABASE
from rag.store.writer import IndexWriter
from rag.text.chunking import heading_formatter, vector_key


def migrate(writer: IndexWriter, encoder: Encoder) -> None:
    """Take over the index in the writer's folder, if it has an earlier version. It is only read.

    Raises:
        IndexUnusable: An index of version 1 was built with another encoder.
    """
    if writer.base is not None and writer.base.version < 3:
        writer.rebuild_full_text_index()
    database = writer.folder / VERSION_1_DATABASE
    if writer.base is None and database.exists():
        _migrate_version_1(writer, encoder, database)


def _migrate_version_1(writer: IndexWriter, encoder: Encoder, database: Path) -> None:
    """Take over the sources and the vectors; the articles are read again."""
    with (
        translate_sqlite_errors(writer.folder),
        closing(sqlite3.connect(database)) as db,  # not read-only: there may still be a WAL file
    ):
        about = dict(db.execute("SELECT key, value FROM about"))
        if about.get("encoder") != encoder.id.name:
            raise IndexUnusable(
                f"The index in {writer.folder} was built with the encoder {about.get('encoder')},"
                f" not {encoder.id.name}.",
                remedy="Rebuild it with `rag index --rebuild SOURCE`.",
            )
        for (path,) in db.execute("SELECT path FROM sources ORDER BY id"):
            writer.add_source(Path(path))
        short_heading = heading_formatter(encoder.count_tokens, encoder.max_tokens)
        for title, date, text, vector in db.execute(
            'SELECT a.title, a.date, substr(a.text, p."start" + 1, p."end" - p."start"), p.vector'
            " FROM passages p JOIN articles a ON a.number = p.article WHERE p.vector IS NOT NULL"
        ):
            key = vector_key(short_heading(title, date), text)
            writer.add_vectors([key], np.frombuffer(vector, dtype="<f4")[np.newaxis])
