"""The folder of an index: which files are its last commit, and who may make the next one.

A commit is two files that never change again, `passages.N.sqlite` and `vectors.N.faiss`, and
`current.json`, which names them with their sizes and hashes. It is replaced in one step, after
everything that it names is safely on the disk: whatever happens, it names a whole commit. The next
one is made in `building.sqlite`, which outlives an interruption.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from rag.datatypes import EncoderId
from rag.errors import IndexDamaged, IndexUnusable, NoIndex

VERSION = 3
"""Of the files; an earlier one is taken over by the next `rag index`, a later one refused."""

FIRST_DATABASE = "passages.sqlite"
"""All that an index of version 1 was kept in, vectors among it."""

CURRENT = "current.json"
_LOCK = "lock"
_HOLDER = "holder"


class StoredFile(BaseModel):
    """A file of a commit, and what it must be to the byte."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, file: Path) -> "StoredFile":
        """The file as it is now, once it is safely on the disk."""
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())
        return cls(name=file.name, bytes=file.stat().st_size, sha256=_sha256(file))

    def problem(self, folder: Path) -> str:
        """What is wrong with the file in `folder`; empty when it is what it was."""
        file = folder / self.name
        try:
            if file.stat().st_size != self.bytes:
                return f"{self.name} is {file.stat().st_size:,} bytes long, not {self.bytes:,}"
            return "" if _sha256(file) == self.sha256 else f"{self.name} is not as it was written"
        except OSError as error:
            return f"{self.name} cannot be read: {error.strerror}"


class Commit(BaseModel):
    """What an index is since its last change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = VERSION
    number: int
    encoder: EncoderId
    dimensions: int
    sources: tuple[str, ...]
    family: str
    recall: float | None
    database: StoredFile
    vectors: StoredFile

    @property
    def files(self) -> tuple[StoredFile, StoredFile]:
        return self.database, self.vectors


def read(folder: Path) -> Commit:
    """The last commit. Raises NoIndex, and IndexUnusable when it cannot be told or used."""
    commit = last(folder)
    if commit.version < VERSION:
        raise _older(folder, commit.version)
    return commit


def last(folder: Path) -> Commit:
    """The last commit, of this version or of an earlier one. Raises NoIndex and IndexUnusable."""
    file = folder / CURRENT
    try:
        written = file.read_bytes()
    except FileNotFoundError:
        if (folder / FIRST_DATABASE).exists():
            raise _older(folder, 1) from None
        raise NoIndex(
            f"There is no index in {folder}.", remedy="Run `rag index` to build it."
        ) from None
    except OSError as error:
        raise IndexUnusable(
            f"The folder {folder} cannot be read: {error.strerror}.",
            remedy="Name another one with --index or RAG_INDEX.",
        ) from error
    commit = _parsed(folder, written)
    if sealed("commit", commit) != written:
        raise _damaged(folder)
    return commit


def _older(folder: Path, version: int) -> IndexUnusable:
    return IndexUnusable(
        f"The index in {folder} is of version {version}, not {VERSION}.",
        remedy="Run `rag index`: it takes it over without encoding anything again.",
    )


def _parsed(folder: Path, written: bytes) -> Commit:
    try:
        held = json.loads(written)["commit"]
        if isinstance(held["version"], int) and held["version"] > VERSION:
            raise IndexUnusable(
                f"The index in {folder} is of version {held['version']}, not {VERSION}.",
                remedy="Install a newer Footnote, or build it anew with `rag index --rebuild SOURCE`.",
            )
        return Commit.model_validate(held)
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError):
        raise _damaged(folder) from None


def _damaged(folder: Path) -> IndexDamaged:
    return IndexDamaged(
        f"{folder / CURRENT} is damaged.",
        remedy="Build the index anew with `rag index --rebuild SOURCE`.",
    )


def sealed(name: str, model: BaseModel) -> bytes:
    """A record as it is written: with its own hash, so that no byte of it can change unseen."""
    held = model.model_dump(mode="json")
    check = hashlib.sha256(json.dumps(held).encode()).hexdigest()
    return json.dumps({"sha256": check, name: held}, indent=1).encode() + b"\n"


def replace_file(file: Path, content: bytes) -> None:
    """Have `file` hold `content` in one step: whatever happens, it holds all of it or is as it was."""
    unfinished = file.with_name(f"{file.name}.unfinished")
    with unfinished.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    sync_folder(file.parent)
    unfinished.replace(file)
    sync_folder(file.parent)


def publish(folder: Path, commit: Commit) -> None:
    """Make `commit`, whose files are in place, the last one; then drop what no commit needs."""
    replace_file(folder / CURRENT, sealed("commit", commit))
    clear(folder)


def clear(folder: Path) -> None:
    """Drop the files of earlier commits, and of those that were never finished."""
    with suppress(NoIndex, IndexUnusable):
        kept = {file.name for file in read(folder).files}
        patterns = ("passages.*.sqlite", "vectors.*.faiss", f"{FIRST_DATABASE}*")
        for file in (file for pattern in patterns for file in folder.glob(pattern)):
            if file.name not in kept:
                with suppress(OSError):  # still open, on Windows: the next commit takes it along
                    file.unlink()


def next_number() -> int:
    """Of the next commit: always rising, and never the same for two indexes."""
    return time.time_ns()


def sync_folder(folder: Path) -> None:
    """See to it that the folder's own list of files is on the disk; Windows does so by itself."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def sole_builder(folder: Path) -> Iterator[None]:
    """Hold the right to build in `folder`. Raises IndexUnusable when somebody else holds it."""
    lock = FileLock(folder / _LOCK, timeout=0)
    holder = folder / _HOLDER
    try:
        lock.acquire()
    except Timeout:
        said = _said_by(holder)
        raise IndexUnusable(
            f"Another `rag index`{said} is at work: {folder}. The index is as it was.",
            remedy="Wait for it to end, or stop it.",
        ) from None
    except OSError as error:
        raise (full_disk if error.errno == ENOSPC else read_only)(folder) from error
    try:
        with suppress(OSError):  # nobody can be told, then
            since = time.strftime("%H:%M:%S")
            holder.write_text(f"process {os.getpid()}, since {since}", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            holder.unlink()
        lock.release()


def full_disk(folder: Path) -> IndexUnusable:
    return IndexUnusable(
        f"The disk is full: {folder}. The index is as it was.",
        remedy="Make room there and run `rag index` again.",
    )


def read_only(folder: Path) -> IndexUnusable:
    return IndexUnusable(
        f"The folder cannot be written to: {folder}. The index is as it was.",
        remedy="Make it writable, or name another one with --index or RAG_INDEX.",
    )


def _said_by(holder: Path) -> str:
    try:
        said = holder.read_text(encoding="utf-8")[:80]
    except (OSError, UnicodeError):
        return ""
    return f" ({said})" if said.isprintable() and said else ""


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
