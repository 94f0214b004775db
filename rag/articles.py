"""A source of articles → Articles: one reader a format.

A reader yields an Article, or a Skipped that says why something could not be taken; it never guesses.
Text is stored exactly as read, Unicode as is.
"""

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import yaml

from rag.datatypes import Article, Skipped
from rag.errors import SourceError

MAX_ARTICLE_BYTES = 20_000_000
"""A file or row larger than this is skipped: no article is, and memory is bounded by it."""

Reading = Iterator[Article | Skipped]

_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*\r?$", re.MULTILINE)
_FRONT_MATTER_LENGTH = 10_000  # libyaml nests on the stack: far more of it would end the process
_TITLE_LENGTH = 80
_ABOUT = ("date", "source", "url")


class Unreadable(Exception):
    """A file or row that cannot be taken; its text is the reason."""


def read(source: Path) -> Reading:
    """Every article of a file or folder, in the order of their paths.

    Hidden files, symbolic links and pipes in a folder are left alone. Raises SourceError when `source` is
    not there or cannot be listed.
    """
    if source.is_file():
        yield from read_file(source, source.name)
    elif source.is_dir():
        for path in files_of(source):
            yield from read_file(path, path.relative_to(source).as_posix())
    else:
        raise SourceError(
            f"The source {source} is not there.",
            remedy="Put it back, or name those that remain: `rag index --rebuild SOURCE`.",
        )


def files_of(folder: Path) -> Iterator[Path]:
    """The files below `folder`, sorted, without hidden ones, links and what is no plain file."""

    def refuse(error: OSError) -> None:
        raise SourceError(
            f"The folder {error.filename} cannot be read: {error.strerror}.",
            remedy="Make it readable and run `rag index` again.",
        )

    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if not name.startswith(".") and not path.is_symlink() and path.is_file():
                yield path


def read_file(path: Path, name: str) -> Reading:
    """The articles of one file, which `name` calls in ids and reasons."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = " ".join(READERS)
        yield Skipped(
            name, f"the format {path.suffix or 'without a suffix'} is not read; {known} are"
        )
        return
    try:
        yield from reader(path, name)
    except Unreadable as reason:
        yield Skipped(name, str(reason))
    except OSError as error:
        yield Skipped(name, f"it cannot be read: {error.strerror}")


def read_text(path: Path, name: str) -> Reading:
    """A text file, which may open with YAML front matter."""
    content = decoded(path)
    about: Mapping[str, Any] = {}
    matter = _FRONT_MATTER.match(content)
    if matter:
        about = parse_front_matter(matter.group(1))
        content = content[matter.end() :]
    heading = _HEADING.search(content) if path.suffix.lower() == ".md" else None
    if heading and not about.get("title"):
        about = {**about, "title": heading.group(1)}
    yield article(name, {**about, "text": content})


def parse_front_matter(matter: str) -> Mapping[str, Any]:
    if len(matter) > _FRONT_MATTER_LENGTH:
        raise Unreadable(f"its front matter is longer than {_FRONT_MATTER_LENGTH:,} characters")
    try:
        # Every scalar stays a string: a date is what the author wrote, not what YAML makes of it.
        about = yaml.load(matter, Loader=yaml.CBaseLoader)  # noqa: S506 (BaseLoader makes no objects)
    except (yaml.YAMLError, RecursionError) as error:
        reason = str(getattr(error, "problem", None) or "nested too deeply")
        raise Unreadable(f"its front matter is not YAML: {reason}") from None
    if not isinstance(about, dict):
        raise Unreadable("its front matter does not hold keys and values")
    return about


def read_jsonl(path: Path, name: str) -> Reading:
    """A JSON Lines file: every line an object, every object an article."""
    for row, line in enumerate(lines(path), start=1):
        place = f"{name}#{row}"
        try:
            if isinstance(line, Unreadable):
                raise line
            if line.strip():
                yield row_article(place, parse_json(line))
        except Unreadable as reason:
            yield Skipped(place, str(reason))


def lines(path: Path) -> Iterator[str | Unreadable]:
    """The lines of a file; one too long to be an article is passed over without being held."""
    encoding = encoding_of(path)
    if encoding == "utf-16":
        # Its line ends cannot be told from its bytes, so these files are read whole, within bounds.
        yield from io.StringIO(decoded(path), newline=None)
        return
    with path.open("rb") as file:
        while line := file.readline(MAX_ARTICLE_BYTES + 1):
            if len(line) > MAX_ARTICLE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_ARTICLE_BYTES)
                yield Unreadable(f"the line is longer than {MAX_ARTICLE_BYTES:,} bytes")
                continue
            try:
                yield decode(line, encoding)
            except Unreadable as reason:
                yield reason


def parse_json(line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line.rstrip())  # else what is missing is told to be on the next line
    except json.JSONDecodeError as error:
        raise Unreadable(f"not JSON: {error.msg} at column {error.colno}") from None
    except ValueError:  # the one other thing that Python's reader refuses
        raise Unreadable("not an article: it holds a number of thousands of digits") from None
    except RecursionError:
        raise Unreadable("not an article: JSON nested too deeply") from None
    if not isinstance(row, dict):
        raise Unreadable(f"not an object but {type(row).__name__}")
    return row


def read_csv(path: Path, name: str) -> Reading:
    """A CSV file with a heading row, every further row an article."""
    csv.field_size_limit(MAX_ARTICLE_BYTES)
    encoding = encoding_of(path)
    with path.open(encoding=encoding, newline="") as file:
        rows = csv.DictReader(bounded(file), strict=True)
        row = 0
        while True:
            row += 1
            try:
                yield row_article(f"{name}#{row}", next(rows))
            except StopIteration:
                return
            except Unreadable as reason:
                yield Skipped(f"{name}#{row}", str(reason))
            except UnicodeError:
                raise Unreadable(not_text(encoding)) from None
            except csv.Error as error:
                raise Unreadable(f"not CSV from row {row} on: {error}") from None


def bounded(file: TextIO) -> Iterator[str]:
    """The lines of a file. Raises csv.Error at one too long for any article, without holding it."""
    while line := file.readline(MAX_ARTICLE_BYTES):
        if len(line) == MAX_ARTICLE_BYTES:
            raise csv.Error(f"a line is longer than {MAX_ARTICLE_BYTES:,} characters")
        yield line


READERS: Mapping[str, Callable[[Path, str], Reading]] = {
    ".txt": read_text,
    ".md": read_text,
    ".jsonl": read_jsonl,
    ".csv": read_csv,
}


def row_article(place: str, row: Mapping[str, Any]) -> Article:
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
    return Article(id=id, title=one_line(about.get("title")) or opening(text), text=text, **known)


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


def encoding_of(path: Path) -> str:
    """UTF-16 when its byte order mark says so, else UTF-8; nothing is guessed."""
    with path.open("rb") as file:
        mark = file.read(2)
    return "utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def decoded(path: Path) -> str:
    """A whole file's text. Raises Unreadable when it is too large or not text."""
    if path.stat().st_size > MAX_ARTICLE_BYTES:
        raise Unreadable(f"it is larger than {MAX_ARTICLE_BYTES:,} bytes")
    return decode(path.read_bytes(), encoding_of(path))


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
