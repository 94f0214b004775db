"""Listing the files of a source."""

import os
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from rag.errors import SourceError


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a source.

    Attributes:
        name: Path below the source, with forward slashes.
        path: Where the file is.
        size: Size in bytes.
        mtime_ns: Time of the last modification, which with `size` tells whether the file has changed.
    """

    name: str
    path: Path
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Listing:
    """The files of a source; `left_alone` counts what is hidden, a link, or not a regular file."""

    files: list[SourceFile]
    left_alone: int


def list_files(source: Path) -> Listing:
    """List the files of a source in the order of their paths, whatever their format.

    Args:
        source: A file, or a folder that is searched recursively without following links.

    Raises:
        SourceError: The source does not exist or cannot be listed.
    """
    if source.is_file():
        status = source.stat()
        return Listing([SourceFile(source.name, source, status.st_size, status.st_mtime_ns)], 0)
    if source.is_dir():
        return _list_folder(source)
    raise SourceError(
        f"The source {source} does not exist.",
        remedy="Restore it, or remove it from the index with `rag index --remove`.",
    )


def _list_folder(source: Path) -> Listing:
    def refuse(error: OSError) -> None:
        raise SourceError(
            f"The folder {error.filename} cannot be read: {error.strerror}.",
            remedy="Make it readable and run `rag index` again.",
        )

    listing = Listing([], 0)
    for root, folders, names in os.walk(source, onerror=refuse):
        visible = sorted(name for name in folders if not _is_hidden(name))
        links = [name for name in visible if Path(root, name).is_symlink()]
        listing.left_alone += len(folders) - len(visible) + len(links)
        folders[:] = visible  # os.walk does not follow links
        for name in sorted(names):
            file = None if _is_hidden(name) else _stat_file(source, Path(root, name))
            if file:
                listing.files.append(file)
            else:
                listing.left_alone += 1
    return listing


def _stat_file(source: Path, path: Path) -> SourceFile | None:
    """Return the file of a source, or None if it is not a regular file."""
    try:
        status = path.lstat()
    except OSError:  # deleted since the folder was listed
        return None
    if not S_ISREG(status.st_mode):
        return None
    name = path.relative_to(source).as_posix()
    return SourceFile(name, path, status.st_size, status.st_mtime_ns)


def _is_hidden(name: str) -> bool:
    return name.startswith(".")
