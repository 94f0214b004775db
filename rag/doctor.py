"""Look an index over: are its files what was written, do its rows fit together, is FAISS in line?

What is damaged is made again from what is not: FAISS's file from the vectors of the database, the
database from the sources, with every vector that is still sound.
"""

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rag import commits, threshold
from rag.change import newest_database, publish, reader
from rag.checks import row_problems
from rag.commits import Commit
from rag.encoder import Encoder
from rag.errors import IndexDamaged, RagError
from rag.index import vector_batches
from rag.indexing import Progress, remake
from rag.nearest import Nearest

CLOSE = 0.9
"""Least cosine between a passage's vector and what FAISS holds of it, which may be quantised."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was wrong with an index, and what was done about it."""

    problems: tuple[str, ...]
    verdict: str
    sound: bool

    def as_json(self) -> dict[str, Any]:
        return {"sound": self.sound, "problems": list(self.problems), "verdict": self.verdict}


def examine(folder: Path, encoder: Encoder, progress: Progress) -> Findings:
    """Look the index in `folder` over, and mend it. Raises NoIndex and IndexUnusable."""
    progress.start("Looking the index over", None)
    try:
        commit = commits.read(folder)
    except IndexDamaged as error:
        return _mended(folder, [error.problem.rstrip(".")], encoder, progress)
    problems = [problem for file in commit.files if (problem := file.problem(folder))]
    database = folder / commit.database.name
    if commit.database.problem(folder):
        return _mended(folder, problems, encoder, progress)
    problems += _problems(folder, commit)
    if problems:
        return _mended(folder, problems, encoder, progress)
    calibration = folder / threshold.FILE
    if calibration.exists() and not threshold.read(folder, commit.encoder):
        threshold.forget(folder)
        verdict = "Mended: it was taken away; the next `rag index` makes it again."
        return Findings((f"{calibration.name} is damaged",), verdict, sound=True)
    return Findings((), f"All is well with {database.parent}.", sound=True)


def _problems(folder: Path, commit: Commit) -> list[str]:
    """What is wrong inside files that are what was written."""
    with closing(reader(folder / commit.database.name)) as db:
        problems = list(row_problems(db))
        if not problems and not commit.vectors.problem(folder):
            problems += _faiss_problems(folder, commit, db)
    return problems


def _faiss_problems(folder: Path, commit: Commit, db: sqlite3.Connection) -> list[str]:
    """Whether FAISS holds every passage's vector, and no other."""
    try:
        nearest = Nearest.open(folder / commit.vectors.name)
    except ValueError as error:
        return [f"{commit.vectors.name} cannot be opened ({error})"]
    held = set(nearest.numbers().tolist())
    for numbers, vectors in vector_batches(db, folder)():
        for number, vector in zip(numbers.tolist(), vectors, strict=True):
            if number not in held:
                return [f"FAISS holds no vector of passage {number}"]
            held.remove(number)
            if float(np.dot(nearest.vector(number), vector)) < CLOSE:
                return [f"FAISS holds another vector of passage {number}"]
    return [f"FAISS holds {len(held)} vectors of no passage"] if held else []


# -- mending


def _mended(folder: Path, problems: list[str], encoder: Encoder, progress: Progress) -> Findings:
    try:
        done = _mend(folder, encoder, progress)
    except RagError as error:
        return Findings(tuple(problems), f"It could not be mended: {error}", sound=False)
    return Findings(tuple(problems), done, sound=True)


def _mend(folder: Path, encoder: Encoder, progress: Progress) -> str:
    database = newest_database(folder)
    if database is None:
        raise IndexDamaged(
            f"There is no database in {folder}.",
            remedy="Build the index anew with `rag index --rebuild SOURCE`.",
        )
    if _is_sound(folder, database):
        with commits.sole_builder(folder):
            publish(folder, database)
        return "Mended: what is searched was made again from the database."
    sources = _sources(folder, database)
    if not sources:
        raise IndexDamaged(
            f"{database.name} no longer tells its sources.",
            remedy="Build the index anew with `rag index --rebuild SOURCE`.",
        )
    summary = remake(folder, encoder, sources, database, progress)
    return (
        f"Mended: the index was built anew from its sources ({summary.passages} passages,"
        f" {summary.encoded} of them encoded again)."
    )


def _is_sound(folder: Path, database: Path) -> bool:
    """Whether a database is what was written, or, when that is no longer told, fits together."""
    with suppress(IndexDamaged):
        stored = commits.read(folder).database
        if stored.name == database.name and stored.problem(folder):
            return False
    with suppress(sqlite3.Error), closing(reader(database)) as db:
        return not next(row_problems(db), "")
    return False


def _sources(folder: Path, database: Path) -> list[Path]:
    with suppress(IndexDamaged):
        return [Path(path) for path in commits.read(folder).sources]
    with suppress(sqlite3.Error), closing(reader(database)) as db:
        return [Path(path) for (path,) in db.execute("SELECT path FROM sources ORDER BY id")]
    return []
