"""Input of the readers: the bytes of a file, with limits on what is read and unpacked.

A reader yields an Article, or a Skipped with the reason why something could not be read; it never
guesses.
"""

import codecs
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile
from typing import IO, Any
from zipfile import ZipFile

from rag.types import Article, Skipped
from rag.wording import Phrase, phrase

MAX_ARTICLE_BYTES = 20_000_000
"""Largest text or row that is read. No real article is larger, and memory use is bounded by it."""

MAX_UNPACKED_BYTES = 10_000_000_000
"""Most bytes that a compressed file may unpack to, with all archives inside it."""

MAX_UNPACK_RATIO = 200
"""Most bytes that a file may unpack to, as a multiple of its size.

Text compresses to a tenth and logs to a fiftieth. Deflate can reach a thousandth: a bomb.
"""

MIN_UNPACK_LIMIT = 50_000_000
"""Bytes that any file may unpack to, however small it is."""

MAX_ENTRIES = 200_000
"""Most files in an archive, with all archives inside it."""

ArticleIterator = Iterator[Article | Skipped]

Reader = Callable[["Content"], ArticleIterator]
"""Reads the articles of a file. May raise UnreadableFile, or any error of a parser."""

_MAX_REASON_LENGTH = 300
_CHUNK_BYTES = 1 << 16
_SPOOL_BYTES = 10_000_000  # unpacked content beyond this goes to a temporary file


class UnreadableFile(Exception):
    """A file or row cannot be read.

    Args:
        reason: The reason. Its values are shortened, and lose their control characters.
    """

    def __init__(self, reason: Phrase) -> None:
        values = {
            name: printable(value) if isinstance(value, str) else value
            for name, value in reason.values.items()
        }
        self.reason = Phrase(reason.code, values)
        super().__init__(str(self.reason))


class DecompressionBomb(UnreadableFile):
    """A compressed file exceeds the limits on unpacking. Nothing more of it is read."""


@dataclass
class UnpackBudget:
    """Counts what has been unpacked from a file of `size` bytes, at every level of nesting."""

    size: int
    unpacked: int = 0
    entries: int = 0

    def add_bytes(self, count: int) -> None:
        """Count unpacked bytes.

        Raises:
            DecompressionBomb: The file exceeds MAX_UNPACKED_BYTES or MAX_UNPACK_RATIO.
        """
        self.unpacked += count
        if self.unpacked > MAX_UNPACKED_BYTES:
            raise DecompressionBomb(phrase("unpacks_to_bytes", limit=MAX_UNPACKED_BYTES))
        if self.unpacked > max(MIN_UNPACK_LIMIT, MAX_UNPACK_RATIO * self.size):
            raise DecompressionBomb(phrase("unpacks_to_times", limit=MAX_UNPACK_RATIO))

    def add_entries(self, count: int) -> None:
        """Count the files of an archive.

        Raises:
            DecompressionBomb: The file exceeds MAX_ENTRIES.
        """
        self.entries += count
        if self.entries > MAX_ENTRIES:
            raise DecompressionBomb(phrase("too_many_files_packed", limit=MAX_ENTRIES))


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of one file, either on disk or packed inside other files.

    Attributes:
        name: Name of the file in article ids and reasons.
        format: Lower-case suffix that selects the reader, such as ".html".
        stream: The bytes, read once from start to end.
        budget: Limits on unpacking, shared by everything packed in the same file.
        depth: Number of archives that the file is packed in.
    """

    name: str
    format: str
    stream: "BufferedReader[Any]"
    budget: UnpackBudget
    depth: int = 0

    def read_bytes(self) -> bytes:
        """Return all bytes.

        Raises:
            UnreadableFile: There are more than MAX_ARTICLE_BYTES.
        """
        content = bytearray()
        while chunk := self.stream.read(_CHUNK_BYTES):
            content += chunk
            if len(content) > MAX_ARTICLE_BYTES:
                raise UnreadableFile(phrase("too_many_bytes", limit=MAX_ARTICLE_BYTES))
        return bytes(content)

    def read_text(self) -> str:
        """Return all bytes as text.

        Raises:
            UnreadableFile: The content is larger than MAX_ARTICLE_BYTES, or not text.
        """
        encoding = self.encoding()
        return decode(self.read_bytes(), encoding)

    def encoding(self) -> str:
        """Return the encoding: UTF-16 if there is a byte order mark for it, else UTF-8."""
        mark = self.stream.peek(2)[:2]
        return "utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"

    @contextmanager
    def seekable(self) -> Iterator[IO[bytes]]:
        """Provide the content as a seekable file, unpacked to a temporary one if it is packed."""
        if not self.depth:
            yield self.stream
            return
        with SpooledTemporaryFile(_SPOOL_BYTES) as file:
            copyfileobj(self.stream, file)
            file.seek(0)
            yield file

    @contextmanager
    def open_zip(self) -> Iterator[ZipFile]:
        """Provide the content as a ZIP archive.

        ZipFile never reads more from an entry than the size that the entry declares.

        Raises:
            BadZipFile: It is not a ZIP archive.
            DecompressionBomb: It contains too many files.
        """
        with self.seekable() as stream, ZipFile(stream) as archive:
            self.budget.add_entries(len(archive.infolist()))
            yield archive


class UnpackedStream(RawIOBase):
    """What `read` unpacks, counted against a budget; reading raises DecompressionBomb beyond it."""

    def __init__(self, read: Callable[[int], bytes], budget: UnpackBudget) -> None:
        self._read = read
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._read(len(buffer))
        self._budget.add_bytes(len(content))
        buffer[: len(content)] = content
        return len(content)


def decode(content: bytes, encoding: str) -> str:
    """Decode text. Raises UnreadableFile if it is not text in this encoding."""
    try:
        text = content.decode(encoding)
    except UnicodeError:
        raise UnreadableFile(describe_wrong_encoding(encoding)) from None
    if "\0" in text:
        raise UnreadableFile(phrase("null_bytes"))
    return text


def describe_wrong_encoding(encoding: str) -> Phrase:
    """Return the reason why content that is not text in this encoding is skipped."""
    name = "UTF-16" if encoding == "utf-16" else "UTF-8"
    return phrase("wrong_encoding", encoding=name)


def safe_path(name: str) -> str:
    """Return the name of an archive's entry without "..", root, backslashes and control characters.

    The result is only ever a name: entries are not unpacked to paths.
    """
    plain = "".join(char if char.isprintable() else " " for char in name.replace("\\", "/"))
    parts = (" ".join(part.split()) for part in plain.split("/"))
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def printable(text: str) -> str:
    """Return any text as one short line without control characters."""
    start = "".join(char if char.isprintable() else " " for char in text[:_MAX_REASON_LENGTH])
    return " ".join(start.split()) + ("…" if len(text) > _MAX_REASON_LENGTH else "")
