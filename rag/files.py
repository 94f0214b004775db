"""File helpers: checksums and atomic writes."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path

DISK_FULL = frozenset({ENOSPC, EDQUOT})
"""Numbers of the errors that say that a disk, or the user's share of it, is full."""


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's contents, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_write(path: Path, *, durable: bool = False, shared: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the same folder, and rename it to `path` when the block succeeds.

    Readers see either the old file or the complete new one. If the block raises, the temporary file
    is deleted and `path` is unchanged. Missing parent folders are created.

    Args:
        path: The file to create or replace.
        durable: Flush the file and its folder to the disk before and after the rename, so that the
            new file survives a power failure.
        shared: Several processes may write `path` at the same time, so each uses a temporary file of
            its own. Without it, a temporary file left behind by a killed process is overwritten by
            the next write.

    Yields:
        The temporary path, which the block must create.

    Raises:
        OSError: The file cannot be written or renamed.
    """
    suffix = f"{os.getpid()}.unfinished" if shared else "unfinished"
    temporary = path.with_name(f"{path.name}.{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
            sync_folder(path.parent)
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)
    finally:
        with suppress(OSError):  # even a missing file cannot be unlinked on a read-only disk
            temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Flush a folder's directory entries to the disk; unnecessary, and not done, on Windows."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
