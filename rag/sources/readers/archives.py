"""Archives (ZIP, gzip): their files are handed to the readers of their formats.

Archives are read in memory or from a private temporary file. No entry is ever unpacked to a path that
it names itself.
"""

import gzip
from collections.abc import Callable
from io import BufferedReader
from pathlib import PurePosixPath
from stat import S_ISLNK
from zipfile import ZipInfo

from rag.sources.content import ArticleIterator, Content, Reader, UnpackedStream, safe_path
from rag.types import Skipped
from rag.wording import Phrase, phrase

_MACOS_METADATA_FOLDER = "__MACOSX"
_ENCRYPTED = 0x1  # bit of an entry's flags


def read_gzip(content: Content, read_content: Reader) -> ArticleIterator:
    """Read a gzip file, whose name says the format of what is packed: `news.jsonl.gz`.

    Args:
        content: The archive.
        read_content: Reads the unpacked content with the reader of its format.
    """
    format = PurePosixPath(content.name).with_suffix("").suffix.lower()
    with gzip.GzipFile(fileobj=content.stream) as unpacked:
        yield from read_content(_packed_content(content, unpacked.read, content.name, format))


def read_zip(
    content: Content,
    read_content: Reader,
    unsupported_reason: Callable[[str], Phrase | None],
) -> ArticleIterator:
    """Read every file of a ZIP archive under a name such as `archive.zip/inner/path.html`.

    Args:
        content: The archive.
        read_content: Reads the unpacked content of a file with the reader of its format.
        unsupported_reason: Takes a suffix, returns why such files are skipped, or None if they are
            supported.
    """
    with content.open_zip() as archive:
        for entry in archive.infolist():
            path = safe_path(entry.filename)
            if not path or entry.is_dir() or _is_ignored(entry, path):
                continue
            name = f"{content.name}/{path}"
            suffix = PurePosixPath(path).suffix
            if reason := unsupported_reason(suffix):
                yield Skipped(name, reason)
                continue
            if entry.flag_bits & _ENCRYPTED:
                yield Skipped(name, phrase("packed_file_encrypted"))
                continue
            try:
                unpacked = archive.open(entry)
            except MemoryError:
                raise
            except Exception as error:  # zipfile raises anything when an entry is damaged
                problem = str(error) or type(error).__name__
                yield Skipped(name, phrase("cannot_be_unpacked", problem=problem))
                continue
            with unpacked:
                packed = _packed_content(content, unpacked.read, name, suffix.lower())
                yield from read_content(packed)


def _is_ignored(entry: ZipInfo, path: str) -> bool:
    """Return whether an entry is hidden, a link, or metadata that macOS adds."""
    parts = path.split("/")
    is_link = S_ISLNK(entry.external_attr >> 16)
    is_hidden = any(part.startswith(".") for part in parts)
    return is_link or is_hidden or parts[0] == _MACOS_METADATA_FOLDER


def _packed_content(
    archive: Content, read: Callable[[int], bytes], name: str, format: str
) -> Content:
    """Return a file in an archive, which shares the archive's limits on unpacking."""
    stream = BufferedReader(UnpackedStream(read, archive.budget))
    return Content(name, format, stream, archive.budget, archive.depth + 1)
