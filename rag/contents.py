"""What a reader is given, and what it makes of it: the rules that hold for every article.

A reader yields an Article, or a Skipped that says why something could not be taken; it never guesses.
"""

import codecs
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile
from typing import IO, Any
from zipfile import ZipFile

from rag.datatypes import Article, Skipped

MAX_ARTICLE_BYTES = 20_000_000
"""A text or row larger than this is skipped: no article is, and memory is bounded by it."""

MAX_UNPACKED = 10_000_000_000
MAX_RATIO = 200
"""What a packed file may unpack to, with all that is packed inside it: in bytes, and in times its size.

Text packs to a tenth, logs to a fiftieth; deflate can do a thousandth, and that is a bomb.
"""
HARMLESS = 50_000_000
"""Bytes that may come out of any file, however small."""
MAX_ENTRIES = 200_000
"""Files in an archive, with the archives inside it."""

Reading = Iterator[Article | Skipped]

_TITLE_LENGTH = 80
_SHOWN_LENGTH = 300
_AT_ONCE = 1 << 16
_IN_MEMORY = 10_000_000  # bytes of what is unpacked; more goes to a temporary file
_ABOUT = ("date", "source", "url")


class Unreadable(Exception):
    """A file or row that cannot be taken; its text is the reason, in one line that can be shown."""

    def __init__(self, reason: str) -> None:
        super().__init__(shown(reason))


class Bomb(Unreadable):
    """A packed file that unpacks to more than it may: nothing more of it is read."""


@dataclass
class Budget:
    """How much has come out of a file of `size` bytes, whatever the depth."""

    size: int
    unpacked: int = 0
    entries: int = 0

    def take(self, size: int) -> None:
        """Raises Bomb when too much has been taken."""
        self.unpacked += size
        if self.unpacked > MAX_UNPACKED:
            raise Bomb(f"it unpacks to more than {MAX_UNPACKED:,} bytes")
        if self.unpacked > max(HARMLESS, MAX_RATIO * self.size):
            raise Bomb(f"it unpacks to more than {MAX_RATIO} times its size")

    def enter(self, entries: int) -> None:
        """Raises Bomb when an archive holds more entries than may still come."""
        self.entries += entries
        if self.entries > MAX_ENTRIES:
            raise Bomb(f"it holds more than {MAX_ENTRIES:,} files")


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of one file, be it a plain one or one packed in `depth` others.

    `name` is what ids and reasons call it; `format` is the suffix that says which reader takes it.
    """

    name: str
    format: str
    stream: "BufferedReader[Any]"
    budget: Budget
    depth: int = 0

    def whole(self) -> bytes:
        """All of it. Raises Unreadable when that is more than an article can be."""
        content = bytearray()
        while part := self.stream.read(_AT_ONCE):
            content += part
            if len(content) > MAX_ARTICLE_BYTES:
                raise Unreadable(f"it is larger than {MAX_ARTICLE_BYTES:,} bytes")
        return bytes(content)

    def encoding(self) -> str:
        """UTF-16 when its byte order mark says so, else UTF-8; nothing is guessed."""
        mark = self.stream.peek(2)[:2]
        return "utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"

    def text(self) -> str:
        """All of it as text. Raises Unreadable when it is too large or no text."""
        encoding = self.encoding()
        return decode(self.whole(), encoding)

    @contextmanager
    def random_access(self) -> Iterator[IO[bytes]]:
        """It as a file in which one can jump: what is packed is unpacked for it, within bounds."""
        if not self.depth:
            yield self.stream
            return
        with SpooledTemporaryFile(_IN_MEMORY) as file:
            copyfileobj(self.stream, file)
            file.seek(0)
            yield file

    @contextmanager
    def archive(self) -> Iterator[ZipFile]:
        """It as a ZIP archive, when it is one and holds no more files than it may.

        ZipFile never lets more come out of an entry than the size that it declares.
        """
        with self.random_access() as stream, ZipFile(stream) as archive:
            self.budget.enter(len(archive.infolist()))
            yield archive


class Unpacked(RawIOBase):
    """What comes out of a packed file, counted. Reading raises Bomb when it is too much."""

    def __init__(self, read: Callable[[int], bytes], budget: Budget) -> None:
        self._read = read
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._read(len(buffer))
        self._budget.take(len(content))
        buffer[: len(content)] = content
        return len(content)


def decode(content: bytes, encoding: str) -> str:
    try:
        text = content.decode(encoding)
    except UnicodeError:
        raise Unreadable(not_text(encoding)) from None
    if "\0" in text:
        raise Unreadable("it is not text: it holds zero bytes")
    return text


def not_text(encoding: str) -> str:
    name = "UTF-16" if encoding == "utf-16" else "UTF-8"
    return f"it is not {name} text; save it as UTF-8, or as UTF-16 with a byte order mark"


def row_article(place: str, row: Mapping[str, Any]) -> Article:
    """The Article of a row, which is known by its `id`, else by its place."""
    if "text" not in row:
        raise Unreadable(f"there is no column `text`, only {', '.join(map(str, row)) or 'nothing'}")
    id = row.get("id")
    return article(str(id) if id not in (None, "") else place, row)


def article(id: str, about: Mapping[str, Any]) -> Article:
    """An Article of what was read. Raises Unreadable when there is no text."""
    text = about.get("text")
    if not isinstance(text, str):
        raise Unreadable(f"its text is not a string but {type(text).__name__}")
    if not text.strip():
        raise Unreadable("it holds no text")
    for what, value in (("text", text), ("id", id)):
        if "\0" in value:  # SQLite would end it there
            raise Unreadable(f"its {what} holds zero bytes")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unreadable(
                f"its {what} holds half a surrogate pair, which is no character"
            ) from None
    known = {key: one_line(about[key]) for key in _ABOUT if one_line(about.get(key))}
    title = one_line(about.get("title")) or opening(text)
    return Article(id=id, title=title, text=text, pages=about.get("pages", ()), **known)


def shown(text: str) -> str:
    """A text that may hold anything, as one short line for a person."""
    start = "".join(char if char.isprintable() else " " for char in text[:_SHOWN_LENGTH])
    return " ".join(start.split()) + ("…" if len(text) > _SHOWN_LENGTH else "")


def inner_path(name: str) -> str:
    """What an archive calls a file in it, as a path that leads nowhere: it is only ever a name."""
    plain = "".join(char if char.isprintable() else " " for char in name.replace("\\", "/"))
    parts = (" ".join(part.split()) for part in plain.split("/"))
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def one_line(value: object) -> str:
    """A scalar as one line of text; anything else is nothing."""
    text = " ".join(str(value).split()) if isinstance(value, (str, int, float)) else ""
    return text.encode(errors="replace").decode()


def opening(text: str) -> str:
    """The first words of a text that has no title, at most 80 characters of them."""
    start = " ".join(text[: 10 * _TITLE_LENGTH].split())
    if len(start) <= _TITLE_LENGTH:
        return start
    return start[:_TITLE_LENGTH].rsplit(" ", 1)[0] + " …"
