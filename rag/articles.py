"""A source of articles → Articles: its files listed, unpacked, and given to their formats' readers.

Text is stored exactly as it comes out of its format, Unicode as is. Archives are read from memory or
a private temporary file: nothing in them is ever unpacked to a name of their own choosing.
"""

import gzip
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from stat import S_ISLNK, S_ISREG
from zipfile import ZipInfo

from rag import formats, rows
from rag.contents import (
    Bomb,
    Budget,
    Content,
    Reading,
    Unpacked,
    Unreadable,
    inner_path,
    shown,
)
from rag.datatypes import Skipped
from rag.errors import SourceError

MAX_DEPTH = 3
"""Archives inside one another."""

_MAC_LEFTOVERS = "__MACOSX"
_ENCRYPTED = 0x1  # a flag of an entry


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a source: its path below it, where it is, and what tells that it has changed."""

    name: str
    path: Path
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Listing:
    """The files of a source; `left_alone` counts what is hidden, a link, or no plain file."""

    files: list[SourceFile]
    left_alone: int


def list_files(source: Path) -> Listing:
    """The files of a file or folder, in the order of their paths.

    Raises SourceError when `source` is not there or cannot be listed.
    """
    if source.is_file():
        status = source.stat()
        return Listing([SourceFile(source.name, source, status.st_size, status.st_mtime_ns)], 0)
    if source.is_dir():
        return _list_folder(source)
    raise SourceError(
        f"The source {source} is not there.",
        remedy="Put it back, or take it out with `rag index --remove`.",
    )


def _list_folder(source: Path) -> Listing:
    def refuse(error: OSError) -> None:
        raise SourceError(
            f"The folder {error.filename} cannot be read: {error.strerror}.",
            remedy="Make it readable and run `rag index` again.",
        )

    listing = Listing([], 0)
    for root, folders, names in os.walk(source, onerror=refuse):
        seen = sorted(name for name in folders if not hidden(name))
        links = [name for name in seen if Path(root, name).is_symlink()]
        listing.left_alone += len(folders) - len(seen) + len(links)
        folders[:] = seen  # links are not followed
        for name in sorted(names):
            file = None if hidden(name) else _plain_file(source, Path(root, name))
            if file:
                listing.files.append(file)
            else:
                listing.left_alone += 1
    return listing


def _plain_file(source: Path, path: Path) -> SourceFile | None:
    try:
        status = path.lstat()
    except OSError:  # gone since it was listed
        return None
    if not S_ISREG(status.st_mode):
        return None
    name = path.relative_to(source).as_posix()
    return SourceFile(name, path, status.st_size, status.st_mtime_ns)


def hidden(name: str) -> bool:
    return name.startswith(".")


def read(source: Path) -> Reading:
    """Every article of a file or folder, in the order of their paths. Raises SourceError."""
    for file in list_files(source).files:
        yield from read_file(file.path, file.name)


def read_file(path: Path, name: str) -> Reading:
    """The articles of one file, which `name` calls in ids and reasons.

    Whatever is in the file, nothing is raised but MemoryError.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        yield Skipped(name, _unknown(path.suffix))
        return
    try:
        with path.open("rb") as stream:
            budget = Budget(os.fstat(stream.fileno()).st_size)
            yield from _read(Content(name, suffix, stream, budget))
    except OSError as error:
        yield Skipped(name, _reason(error))


def _read(content: Content) -> Reading:
    reader = READERS.get(content.format)
    try:
        if reader is None:
            raise Unreadable(_unknown(content.format))
        if content.depth > MAX_DEPTH:
            raise Unreadable(f"archives are nested in it more than {MAX_DEPTH} deep")
        yield from reader(content)
    except Bomb as reason:
        if content.depth:
            raise  # the whole file is spent, not this entry
        yield Skipped(content.name, str(reason))
    except Unreadable as reason:
        yield Skipped(content.name, str(reason))
    except MemoryError:
        raise
    except Exception as error:  # whatever a parser makes of a broken file
        yield Skipped(content.name, _reason(error))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be read: {error.strerror}"
    return f"it is broken: {shown(str(error)) or type(error).__name__}"


def _unknown(suffix: str) -> str:
    return f"the format {shown(suffix) or 'without a suffix'} is not read; {known_formats()} are"


def known_formats() -> str:
    """The suffixes of all formats that are read, for messages."""
    return " ".join(READERS)


def read_gzip(content: Content) -> Reading:
    """A gzip file, named for what is in it: `news.jsonl.gz`."""
    inner = PurePosixPath(content.name).with_suffix("").suffix.lower()
    with gzip.GzipFile(fileobj=content.stream) as unpacked:
        yield from _read(_inside(content, unpacked.read, content.name, inner))


def read_zip(content: Content) -> Reading:
    """A ZIP archive: every file in it, `archive.zip/inner/path.html`."""
    with content.archive() as archive:
        for entry in archive.infolist():
            path = inner_path(entry.filename)
            if not path or entry.is_dir() or _is_left_alone(entry, path):
                continue
            name = f"{content.name}/{path}"
            suffix = PurePosixPath(path).suffix
            if suffix.lower() not in READERS:
                yield Skipped(name, _unknown(suffix))
            elif entry.flag_bits & _ENCRYPTED:
                yield Skipped(name, "it is encrypted; pack it again without a password")
            else:
                with archive.open(entry) as unpacked:
                    yield from _read(_inside(content, unpacked.read, name, suffix.lower()))


def _is_left_alone(entry: ZipInfo, path: str) -> bool:
    """Whether an entry is hidden, a link, or what macOS packs along."""
    parts = path.split("/")
    link = S_ISLNK(entry.external_attr >> 16)
    return link or parts[0] == _MAC_LEFTOVERS or any(map(hidden, parts))


def _inside(content: Content, read: Callable[[int], bytes], name: str, format: str) -> Content:
    """What is packed in a content, within the same bounds."""
    stream = BufferedReader(Unpacked(read, content.budget))
    return Content(name, format, stream, content.budget, content.depth + 1)


READERS: Mapping[str, Callable[[Content], Reading]] = {
    ".txt": formats.read_text,
    ".md": formats.read_markdown,
    ".html": formats.read_html,
    ".htm": formats.read_html,
    ".xhtml": formats.read_html,
    ".pdf": formats.read_pdf,
    ".docx": formats.read_docx,
    ".epub": formats.read_epub,
    ".rss": formats.read_feed,
    ".atom": formats.read_feed,
    ".xml": formats.read_feed,
    ".jsonl": rows.read_jsonl,
    ".csv": rows.read_csv,
    ".parquet": rows.read_parquet,
    ".zip": read_zip,
    ".gz": read_gzip,
}
"""Who reads files with which suffix."""
