"""Diagnosis and repair of an index (`rag doctor`).

Checks that the files are as they were written, that the rows of the database are consistent, and that
the FAISS file matches the database. Damaged parts are rebuilt from intact ones: the FAISS file from
the vectors in the database, the database from the sources, reusing all intact vectors.
"""

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rag.errors import IndexDamaged, RagError
from rag.indexing.progress import Progress
from rag.indexing.sync import rebuild_reusing_vectors
from rag.models.embedding.encoder import Encoder
from rag.store import snapshot as snapshots
from rag.store import thresholds
from rag.store.integrity import database_problems
from rag.store.publish import publish_database
from rag.store.schema import connect_read_only, select_vectors
from rag.store.snapshot import Snapshot
from rag.store.unfinished import newest_database
from rag.store.vectors import VectorIndex

MIN_COSINE = 0.9
"""Between a passage's vector and its copy in the FAISS file, which may be quantised."""

_REBUILD = "Rebuild the index with `rag index --rebuild SOURCE`."


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """Result of a diagnosis.

    Attributes:
        problems: What was wrong with the index.
        verdict: What was done about it.
        sound: Whether the index is intact now.
    """

    problems: tuple[str, ...]
    verdict: str
    sound: bool

    def as_json(self) -> dict[str, Any]:
        return {"sound": self.sound, "problems": list(self.problems), "verdict": self.verdict}


def diagnose(folder: Path, encoder: Encoder, progress: Progress) -> DoctorReport:
    """Check the index in `folder`, and repair it if necessary.

    Raises:
        NoIndex: There is no index in the folder.
        IndexUnusable: The index has another format version, or the folder cannot be read.
    """
    progress.start("Checking the index", None)
    try:
        snapshot = snapshots.read(folder)
    except IndexDamaged as error:
        return _repair(folder, [error.problem.rstrip(".")], encoder, progress)
    problems = _find_problems(folder, snapshot)
    if problems:
        return _repair(folder, problems, encoder, progress)
    calibration = folder / thresholds.FILE
    if calibration.exists() and not thresholds.read(folder, snapshot.encoder):
        thresholds.forget(folder)
        verdict = "Repaired: it was deleted; the next `rag index` calibrates again."
        return DoctorReport((f"{calibration.name} is damaged",), verdict, sound=True)
    return DoctorReport((), f"No problems found in {folder}.", sound=True)


# -- diagnosis


def _find_problems(folder: Path, snapshot: Snapshot) -> list[str]:
    database_problem, vectors_problem = (file.problem(folder) for file in snapshot.files)
    problems = [problem for problem in (database_problem, vectors_problem) if problem]
    if database_problem:
        return problems
    with closing(connect_read_only(folder / snapshot.database.name)) as db:
        problems += database_problems(db)
        if not problems:
            problems += _vector_file_problems(folder, snapshot, db)
    return problems


def _vector_file_problems(folder: Path, snapshot: Snapshot, db: sqlite3.Connection) -> list[str]:
    """Check that the FAISS file contains the vector of each passage, and no others."""
    try:
        index = VectorIndex.open(folder / snapshot.vectors.name)
    except ValueError as error:
        return [f"{snapshot.vectors.name} cannot be opened ({error})"]
    unmatched = set(index.ids().tolist())
    for numbers, vectors in select_vectors(db, folder)():
        for number, vector in zip(numbers.tolist(), vectors, strict=True):
            if number not in unmatched:
                return [f"the FAISS file has no vector for passage {number}"]
            unmatched.remove(number)
            if float(np.dot(index.vector(number), vector)) < MIN_COSINE:
                return [f"the FAISS file has a wrong vector for passage {number}"]
    return [f"the FAISS file has {len(unmatched)} vectors without a passage"] if unmatched else []


# -- repair


def _repair(
    folder: Path, problems: list[str], encoder: Encoder, progress: Progress
) -> DoctorReport:
    try:
        verdict = _rebuild_damaged_files(folder, encoder, progress)
    except RagError as error:
        verdict = f"The index could not be repaired: {error}"
        return DoctorReport(tuple(problems), verdict, sound=False)
    return DoctorReport(tuple(problems), verdict, sound=True)


def _rebuild_damaged_files(folder: Path, encoder: Encoder, progress: Progress) -> str:
    """Rebuild the FAISS file if the database is intact, or else the whole index; return the verdict."""
    database = newest_database(folder)
    if database is None:
        raise IndexDamaged(f"There is no database in {folder}.", remedy=_REBUILD)
    if _is_intact(folder, database):
        with snapshots.writer_lock(folder):
            publish_database(folder, database)
        return "Repaired: the vector index was rebuilt from the database."
    sources = _read_sources(folder, database)
    if not sources:
        raise IndexDamaged(f"The sources cannot be read from {database.name}.", remedy=_REBUILD)
    report = rebuild_reusing_vectors(folder, encoder, sources, database, progress)
    return (
        f"Repaired: the index was rebuilt from its sources ({report.passages} passages,"
        f" {report.encoded} of them encoded again)."
    )


def _is_intact(folder: Path, database: Path) -> bool:
    """Check a database against the snapshot, if that can be read, and for consistency."""
    with suppress(IndexDamaged):
        stored = snapshots.read(folder).database
        if stored.name == database.name and stored.problem(folder):
            return False
    with suppress(sqlite3.Error), closing(connect_read_only(database)) as db:
        return not next(database_problems(db), "")
    return False


def _read_sources(folder: Path, database: Path) -> list[Path]:
    with suppress(IndexDamaged):
        return [Path(path) for path in snapshots.read(folder).sources]
    with suppress(sqlite3.Error), closing(connect_read_only(database)) as db:
        return [Path(path) for (path,) in db.execute("SELECT path FROM sources ORDER BY id")]
    return []
