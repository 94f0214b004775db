"""Tables of articles: one reader a format, every row an article, a bad one no harm to the others."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from rag.contents import (
    MAX_ARTICLE_BYTES,
    Bomb,
    Content,
    Reading,
    Unreadable,
    decode,
    not_text,
    row_article,
)
from rag.datatypes import Skipped

_COLUMNS = ("id", "title", "text", "date", "source", "url")


def read_jsonl(content: Content) -> Reading:
    """A JSON Lines file: every line an object, every object an article."""
    for row, line in enumerate(lines(content), start=1):
        place = f"{content.name}#{row}"
        try:
            if isinstance(line, Unreadable):
                raise line
            if line.strip():
                yield row_article(place, parse_json(line))
        except Unreadable as reason:
            yield Skipped(place, str(reason))


def lines(content: Content) -> Iterator[str | Unreadable]:
    """The lines of a file; one too long to be an article is passed over without being held."""
    encoding = content.encoding()
    if encoding == "utf-16":
        # Its line ends cannot be told from its bytes, so these files are read whole, within bounds.
        yield from io.StringIO(content.text(), newline=None)
        return
    file = content.stream
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


def read_csv(content: Content) -> Reading:
    """A CSV file with a heading row, every further row an article."""
    csv.field_size_limit(MAX_ARTICLE_BYTES)
    encoding = content.encoding()
    file = io.TextIOWrapper(content.stream, encoding=encoding, newline="")
    rows = csv.DictReader(bounded(file), strict=True)
    row = 0
    while True:
        row += 1
        try:
            yield row_article(f"{content.name}#{row}", next(rows))
        except StopIteration:
            return
        except UnicodeError:
            raise Unreadable(not_text(encoding)) from None
        except csv.Error as error:
            raise Unreadable(f"not CSV from row {row} on: {error}") from None
        except Bomb:
            raise
        except Unreadable as reason:
            yield Skipped(f"{content.name}#{row}", str(reason))


def bounded(file: TextIO) -> Iterator[str]:
    """The lines of a file. Raises csv.Error at one too long for any article, without holding it."""
    while line := file.readline(MAX_ARTICLE_BYTES):
        if len(line) == MAX_ARTICLE_BYTES:
            raise csv.Error(f"a line is longer than {MAX_ARTICLE_BYTES:,} characters")
        yield line


def read_parquet(content: Content) -> Reading:
    """A Parquet file, every row an article."""
    from pyarrow.parquet import ParquetFile

    with content.random_access() as stream, ParquetFile(stream) as table:
        names = table.schema_arrow.names
        if "text" not in names:
            row_article(content.name, dict.fromkeys(names))  # which says what there is instead
        row = 0
        columns = [name for name in _COLUMNS if name in names]
        for batch in table.iter_batches(64, columns=columns, use_threads=False):
            content.budget.take(batch.nbytes)
            # One row at a time: a column that is packed well can unpack to far more than it holds.
            for at in range(batch.num_rows):
                row += 1
                place = f"{content.name}#{row}"
                try:
                    yield row_article(place, _row(batch, at))
                except Unreadable as reason:
                    yield Skipped(place, str(reason))


def _row(batch: Any, at: int) -> Mapping[str, Any]:
    values = {name: batch.column(name)[at].as_py() for name in batch.schema.names}
    if isinstance(values["text"], str) and len(values["text"]) > MAX_ARTICLE_BYTES:
        raise Unreadable(f"its text is longer than {MAX_ARTICLE_BYTES:,} characters")
    date: Any = values.get("date")
    return values | {"date": date.isoformat() if hasattr(date, "isoformat") else date}
