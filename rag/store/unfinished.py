"""The database of the next snapshot while it is being built: start, resume, discard.

It is a copy of the current snapshot's database, or empty. It survives an interruption, and the next
build resumes it if it is based on the same snapshot and encoder, and undamaged.
"""

import json
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from rag.errors import IndexUnusable, NoIndex
from rag.store import integrity
from rag.store import snapshot as snapshots
from rag.store.schema import damaged_error
from rag.store.snapshot import Snapshot, write_error
from rag.types import EncoderId

BUILDING = "building.sqlite"


def connect(folder: Path) -> sqlite3.Connection:
    """Open the database, creating an empty one if there is none."""
    db = sqlite3.connect(folder / BUILDING, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA secure_delete = ON")  # overwrites removed articles
    db.execute("PRAGMA cache_size = -65536")
    return db


def exists(folder: Path) -> bool:
    return (folder / BUILDING).exists()


def discard(folder: Path) -> None:
    """Delete the database, if there is one."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        (folder / f"{BUILDING}{suffix}").unlink(missing_ok=True)


def start(folder: Path, base: Snapshot | None, encoder: EncoderId) -> bool:
    """Replace the database by a copy of the base's, or by none if `base` has another encoder.

    Returns:
        Whether the database is a copy.

    Raises:
        IndexDamaged: The base's database is damaged.
        IndexUnusable: The folder cannot be written to.
    """
    discard(folder)
    if base is None or base.encoder != encoder:
        return False
    problem = base.database.problem(folder)
    if problem:
        raise damaged_error(folder, problem)
    try:
        shutil.copyfile(folder / base.database.name, folder / BUILDING)
    except OSError as error:
        discard(folder)
        raise write_error(folder, error) from error
    return True


def resume(folder: Path, base: Snapshot | None, encoder: EncoderId) -> bool:
    """Return whether there is an undamaged database, based on this snapshot and encoder.

    A database that was finished but not published becomes the unfinished one again.
    """
    newest = newest_database(folder)
    if newest and not exists(folder) and (base is None or newest.name > base.database.name):
        newest.replace(folder / BUILDING)
    if not exists(folder):
        return False
    with suppress(sqlite3.Error, ValueError), closing(connect(folder)) as db:
        about = dict(db.execute("SELECT key, value FROM about"))
        if not about.items() >= build_parameters(base, encoder).items():
            return False
        if next(integrity.database_problems(db), ""):
            return False
        # Raises DatabaseError if the full-text index does not match the passages.
        db.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        db.commit()
        return True
    return False


def build_parameters(base: Snapshot | None, encoder: EncoderId) -> dict[str, object]:
    """Return the rows of the table `about` that must be equal for a build to be resumed."""
    return {
        "version": snapshots.VERSION,
        "base": base.number if base else 0,
        "encoder": json.dumps(encoder),
    }


def newest_database(folder: Path) -> Path | None:
    """Return the newest finished database, whether it was published or not."""
    return max(folder.glob("passages.*.sqlite"), default=None)  # all numbers have the same length


def base_snapshot(folder: Path, *, rebuild: bool) -> Snapshot | None:
    """Return the current snapshot, from which the next one starts; None if there is none.

    Raises:
        IndexUnusable: The current snapshot is unusable, and this is not a rebuild.
    """
    try:
        return snapshots.read_any_version(folder)
    except NoIndex:
        return None
    except IndexUnusable:
        if rebuild or (folder / snapshots.VERSION_1_DATABASE).exists():
            return None
        raise
