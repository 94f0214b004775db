"""Snapshots of an index: which files it consists of, and the lock of the process that writes it.

A snapshot is one published state of an index. It consists of two files that never change again,
`passages.N.sqlite` and `vectors.N.faiss`. The pointer file `current.json` names them with their sizes
and hashes. It is replaced atomically after the files have reached the disk, so at any moment, even
after a crash, it describes a complete snapshot. The next snapshot is built in `building.sqlite`,
which survives an interruption.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EPERM, EROFS
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from rag.errors import IndexDamaged, IndexUnusable, NoIndex
from rag.files import DISK_FULL, atomic_write, sha256_file
from rag.types import EncoderId
from rag.wording import phrase

VERSION = 3
"""Of the format: the next `rag index` migrates an earlier one; a later one is refused."""

VERSION_1_DATABASE = "passages.sqlite"
"""The only file of an index of version 1; it contains the vectors."""

CURRENT = "current.json"
"""The pointer file."""

_CURRENT_KEY = "commit"
_LOCK = "lock"
_LOCK_HOLDER = "holder"
_MAX_HOLDER_LENGTH = 80


class StoredFile(BaseModel):
    """Name, size and hash of a file of a snapshot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bytes: int
    sha256: str

    @classmethod
    def from_path(cls, file: Path) -> "StoredFile":
        """Describe the file as it is now, after writing it through to the disk."""
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())
        return cls(name=file.name, bytes=file.stat().st_size, sha256=sha256_file(file))

    def problem(self, folder: Path) -> str:
        """Return what is wrong with the file in `folder`, or an empty string."""
        file = folder / self.name
        try:
            size = file.stat().st_size
            if size != self.bytes:
                return f"{self.name} has {size:,} bytes instead of {self.bytes:,}"
            if sha256_file(file) != self.sha256:
                return f"{self.name} does not match its hash"
        except OSError as error:
            return f"{self.name} cannot be read: {error.strerror}"
        return ""


class Snapshot(BaseModel):
    """A published state of an index, as `current.json` describes it.

    Attributes:
        version: Version of the format.
        number: Greater than the numbers of all earlier snapshots.
        encoder: The encoder of the vectors.
        dimensions: Number of dimensions of the vectors.
        sources: Paths of the files and folders that were indexed, oldest first.
        family: FAISS's name for the kind of vector index.
        recall: Estimated recall@10 of the vector index; 1.0 if it is exact.
        database: The SQLite database.
        vectors: The FAISS file.
    """

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


# -- reading


def read(folder: Path) -> Snapshot:
    """Return the current snapshot.

    Raises:
        NoIndex: There is no index in the folder.
        IndexUnusable: The index has another format version, or the folder cannot be read.
        IndexDamaged: The pointer file is damaged.
    """
    snapshot = read_any_version(folder)
    if snapshot.version < VERSION:
        raise _old_version_error(folder, snapshot.version)
    return snapshot


def read_any_version(folder: Path) -> Snapshot:
    """Return the current snapshot, also one of version 2. Raises what `read` raises."""
    file = folder / CURRENT
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        if (folder / VERSION_1_DATABASE).exists():
            raise _old_version_error(folder, 1) from None
        raise NoIndex(
            phrase("no_index", folder=str(folder)), remedy=phrase("build_index")
        ) from None
    except OSError as error:
        raise IndexUnusable(
            f"The folder {folder} cannot be read: {error.strerror}.",
            remedy="Choose another one with --index or RAG_INDEX.",
        ) from error
    snapshot = _parse(folder, content)
    if with_checksum(_CURRENT_KEY, snapshot) != content:
        raise _damaged_pointer_error(folder)
    return snapshot


def _parse(folder: Path, content: bytes) -> Snapshot:
    try:
        fields = json.loads(content)[_CURRENT_KEY]
        if isinstance(fields["version"], int) and fields["version"] > VERSION:
            raise IndexUnusable(
                f"The index in {folder} has format version {fields['version']}, not {VERSION}.",
                remedy="Install a newer Footnote, or rebuild it with `rag index --rebuild SOURCE`.",
            )
        return Snapshot.model_validate(fields)
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError):
        raise _damaged_pointer_error(folder) from None


def _old_version_error(folder: Path, version: int) -> IndexUnusable:
    return IndexUnusable(
        f"The index in {folder} has format version {version}, not {VERSION}.",
        remedy="Run `rag index` to convert it; nothing is encoded again.",
    )


def _damaged_pointer_error(folder: Path) -> IndexDamaged:
    return IndexDamaged(f"{folder / CURRENT} is damaged.", remedy="Run `rag doctor` to repair it.")


# -- publishing


def publish(folder: Path, snapshot: Snapshot) -> None:
    """Make `snapshot`, whose files are complete, the current one; then remove obsolete files."""
    write_durably(folder / CURRENT, with_checksum(_CURRENT_KEY, snapshot))
    remove_obsolete_files(folder)


def remove_obsolete_files(folder: Path) -> None:
    """Remove the files of earlier snapshots, and of those that were never published."""
    with suppress(NoIndex, IndexUnusable):
        current_names = {file.name for file in read(folder).files}
        for pattern in ("passages.*.sqlite", "vectors.*.faiss", f"{VERSION_1_DATABASE}*"):
            for file in folder.glob(pattern):
                if file.name not in current_names:
                    with suppress(OSError):  # open on Windows: removed after the next snapshot
                        file.unlink()


def next_number() -> int:
    """Return a number for a snapshot or a file: increasing, and unique across indexes."""
    return time.time_ns()


def with_checksum(name: str, model: BaseModel) -> bytes:
    """Serialize a record as JSON under `name`, beside its SHA-256.

    A reader that serializes what it parsed, and compares, detects any changed byte.
    """
    record = model.model_dump(mode="json")
    checksum = hashlib.sha256(json.dumps(record).encode()).hexdigest()
    return json.dumps({"sha256": checksum, name: record}, indent=1).encode() + b"\n"


def write_durably(file: Path, content: bytes) -> None:
    """Replace the content of a file atomically and durably: a crash leaves the old or the new one."""
    with atomic_write(file, durable=True, shared=False) as unfinished:
        unfinished.write_bytes(content)


# -- locking


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Hold the lock that lets one process at a time write the index in `folder`.

    Raises:
        IndexUnusable: Another process holds the lock, or the folder is not writable.
    """
    lock = FileLock(folder / _LOCK, timeout=0)
    holder = folder / _LOCK_HOLDER
    try:
        lock.acquire()
    except Timeout:
        raise IndexUnusable(
            f"Another `rag index`{_describe_holder(holder)} is running on {folder}."
            " The index was not changed.",
            remedy="Wait for it to end, or stop it.",
        ) from None
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        with suppress(OSError):  # the description is optional
            started = time.strftime("%H:%M:%S")
            holder.write_text(f"process {os.getpid()}, since {started}", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            holder.unlink()
        lock.release()


def _describe_holder(holder: Path) -> str:
    try:
        description = holder.read_text(encoding="utf-8")[:_MAX_HOLDER_LENGTH]
    except (OSError, UnicodeError):
        return ""
    return f" ({description})" if description and description.isprintable() else ""


# -- errors of the disk


def write_error(folder: Path, error: OSError) -> IndexUnusable:
    """Return the error to raise when a file in the folder of an index cannot be written."""
    if error.errno in DISK_FULL:
        return disk_full_error(folder)
    if error.errno in (EACCES, EPERM, EROFS):
        return read_only_error(folder)
    return IndexUnusable(
        f"Writing to the folder {folder} failed: {error.strerror or error}."
        " The index was not changed.",
        remedy="Check its disk, or choose another one with --index or RAG_INDEX.",
    )


def disk_full_error(folder: Path) -> IndexUnusable:
    return IndexUnusable(
        f"The disk is full: {folder}. The index was not changed.",
        remedy="Free some space and run `rag index` again.",
    )


def read_only_error(folder: Path) -> IndexUnusable:
    return IndexUnusable(
        f"The folder cannot be written to: {folder}. The index was not changed.",
        remedy="Make it writable, or choose another one with --index or RAG_INDEX.",
    )
