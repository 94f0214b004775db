"""Tables (JSON Lines, CSV, Parquet), every row an article.

A row that cannot be read is skipped by itself; the others are not affected.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from rag.sources.articles import build_row_article
from rag.sources.content import (
    MAX_ARTICLE_BYTES,
    ArticleIterator,
    Content,
    DecompressionBomb,
    UnreadableFile,
    decode,
    describe_wrong_encoding,
)
from rag.types import Skipped
from rag.wording import phrase

_COLUMNS = ("id", "title", "text", "date", "source", "url")
_PARQUET_BATCH_ROWS = 64


def read_jsonl(content: Content) -> ArticleIterator:
    """Read a JSON Lines file, of one JSON object per line."""
    for row, line in enumerate(_lines(content), start=1):
        location = f"{content.name}#{row}"
        try:
            if isinstance(line, UnreadableFile):
                raise line
            if line.strip():
                yield build_row_article(location, _parse_object(line))
        except UnreadableFile as error:
            yield Skipped(location, error.reason)


def _lines(content: Content) -> Iterator[str | UnreadableFile]:
    """Yield the lines of a file, and an error for one that is too long, which is never in memory."""
    encoding = content.encoding()
    if encoding == "utf-16":
        # Line ends cannot be found in its bytes: the file is read as a whole, up to the limit.
        yield from io.StringIO(content.read_text(), newline=None)
        return
    file = content.stream
    while line := file.readline(MAX_ARTICLE_BYTES + 1):
        if len(line) > MAX_ARTICLE_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_ARTICLE_BYTES)
            yield UnreadableFile(phrase("line_too_long", limit=MAX_ARTICLE_BYTES))
            continue
        try:
            yield decode(line, encoding)
        except UnreadableFile as error:
            yield error


def _parse_object(line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line.rstrip())  # with the line end, an error would be on the next line
    except json.JSONDecodeError as error:
        raise UnreadableFile(
            phrase("invalid_json", problem=error.msg, column=error.colno)
        ) from None
    except ValueError:  # the only other error that Python's parser raises
        raise UnreadableFile(phrase("number_too_long")) from None
    except RecursionError:
        raise UnreadableFile(phrase("nested_too_deeply")) from None
    if not isinstance(row, dict):
        raise UnreadableFile(phrase("not_an_object", type=type(row).__name__))
    return row


def read_csv(content: Content) -> ArticleIterator:
    """Read a CSV file whose first row names the columns."""
    csv.field_size_limit(MAX_ARTICLE_BYTES)
    encoding = content.encoding()
    file = io.TextIOWrapper(content.stream, encoding=encoding, newline="")
    rows = csv.DictReader(_bounded_lines(file), strict=True)
    row = 0
    while True:
        row += 1
        try:
            yield build_row_article(f"{content.name}#{row}", next(rows))
        except StopIteration:
            return
        except UnicodeError:
            raise UnreadableFile(describe_wrong_encoding(encoding)) from None
        except csv.Error as error:
            raise UnreadableFile(phrase("invalid_csv", row=row, problem=str(error))) from None
        except DecompressionBomb:
            raise
        except UnreadableFile as error:
            yield Skipped(f"{content.name}#{row}", error.reason)


def _bounded_lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of a file. Raises csv.Error at a line too long for an article."""
    while line := file.readline(MAX_ARTICLE_BYTES):
        if len(line) == MAX_ARTICLE_BYTES:
            raise csv.Error(f"a line is longer than {MAX_ARTICLE_BYTES:,} characters")
        yield line


def read_parquet(content: Content) -> ArticleIterator:
    """Read a Parquet file."""
    from pyarrow.parquet import ParquetFile

    with content.seekable() as stream, ParquetFile(stream) as table:
        names = table.schema_arrow.names
        if "text" not in names:
            build_row_article(content.name, dict.fromkeys(names))  # raises with the columns' names
        row = 0
        columns = [name for name in _COLUMNS if name in names]
        for batch in table.iter_batches(_PARQUET_BATCH_ROWS, columns=columns, use_threads=False):
            content.budget.add_bytes(batch.nbytes)
            # Rows are converted one by one: a dictionary-encoded column can expand a thousandfold.
            for index in range(batch.num_rows):
                row += 1
                location = f"{content.name}#{row}"
                try:
                    yield build_row_article(location, _parquet_row(batch, index))
                except UnreadableFile as error:
                    yield Skipped(location, error.reason)


def _parquet_row(batch: Any, index: int) -> Mapping[str, Any]:
    values = {name: batch.column(name)[index].as_py() for name in batch.schema.names}
    if isinstance(values["text"], str) and len(values["text"]) > MAX_ARTICLE_BYTES:
        raise UnreadableFile(phrase("text_too_long", limit=MAX_ARTICLE_BYTES))
    date: Any = values.get("date")
    return values | {"date": date.isoformat() if hasattr(date, "isoformat") else date}
