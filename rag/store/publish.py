"""Publishing a finished database: writes its FAISS file, and makes the two the current snapshot."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

from rag.store import snapshot as snapshots
from rag.store import unfinished
from rag.store.schema import connect_read_only, select_vectors, translate_sqlite_errors
from rag.store.snapshot import Snapshot, StoredFile, write_error
from rag.store.vectors import VectorIndex, VectorIndexInfo, build_vector_file, update_vector_file
from rag.types import EncoderId


def publish_database(folder: Path, database: Path) -> Snapshot:
    """Write the FAISS file of a finished database, and make the two the current snapshot.

    Raises:
        IndexDamaged: A vector is missing or damaged.
        IndexUnusable: A file cannot be written.
    """
    vector_file = folder / f"vectors.{snapshots.next_number()}.faiss"
    with translate_sqlite_errors(folder), closing(connect_read_only(database)) as db:
        first_vector = db.execute("SELECT length(vector) / 4 FROM vectors LIMIT 1").fetchone()
        dimensions = first_vector[0] if first_vector else 1
        sources = db.execute("SELECT path FROM sources ORDER BY id").fetchall()
        (encoder,) = db.execute("SELECT value FROM about WHERE key = 'encoder'").fetchone()
        try:
            info = _write_vector_file(folder, db, dimensions, vector_file)
            snapshot = Snapshot(
                number=snapshots.next_number(),
                encoder=EncoderId(*json.loads(encoder)),
                dimensions=dimensions,
                sources=tuple(path for (path,) in sources),
                family=info.family,
                recall=info.recall,
                database=StoredFile.from_path(database),
                vectors=StoredFile.from_path(vector_file),
            )
            snapshots.publish(folder, snapshot)
        except OSError as error:
            vector_file.unlink(missing_ok=True)
            raise write_error(folder, error) from error
    return snapshot


def _write_vector_file(
    folder: Path, db: sqlite3.Connection, dimensions: int, file: Path
) -> VectorIndexInfo:
    """Update the current snapshot's FAISS file if possible; otherwise build a new one."""
    info = _update_vector_file(folder, db, file)
    if info:
        return info
    (count,) = db.execute("SELECT count(*) FROM passages").fetchone()
    return build_vector_file(select_vectors(db, folder), count, dimensions, file)


def _update_vector_file(folder: Path, db: sqlite3.Connection, file: Path) -> VectorIndexInfo | None:
    about = dict(db.execute("SELECT key, value FROM about"))
    base = unfinished.base_snapshot(folder, rebuild=True)
    if base is None or not about["copied"] or about["base"] != base.number:
        return None  # the passages have other numbers than in the current snapshot
    if base.vectors.problem(folder):
        return None
    old_file = folder / base.vectors.name
    old_ids = VectorIndex.open(old_file).ids()
    new_ids = np.array([n for (n,) in db.execute("SELECT number FROM passages")], dtype=np.int64)
    return update_vector_file(
        old_file,
        np.setdiff1d(old_ids, new_ids).tolist(),
        select_vectors(db, folder, after=int(old_ids.max(initial=0))),
        select_vectors(db, folder),
        len(new_ids),
        file,
    )
