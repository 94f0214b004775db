"""Registry of the supported file formats.

To add a format, write a reader in `rag/sources/readers/` (a function from Content to an iterator of
Article and Skipped) and give it a line in `READERS`.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from rag.extras import EXTRAS, install_command
from rag.sources.content import (
    ArticleIterator,
    Content,
    DecompressionBomb,
    Reader,
    UnpackBudget,
    UnreadableFile,
    printable,
)
from rag.sources.readers import archives, docx, epub, feed, html, pdf, tables, text
from rag.types import SkipCause, Skipped
from rag.wording import Phrase, phrase

MAX_ARCHIVE_DEPTH = 3
"""How deep archives may be nested in each other."""


def read_file(path: Path, name: str) -> ArticleIterator:
    """Yield the articles of one file.

    Whatever the file contains, nothing but MemoryError is raised: every other problem is a Skipped.

    Args:
        path: The file.
        name: Its name in article ids and reasons.
    """
    if reason := _unsupported_reason(path.suffix):
        yield Skipped(name, reason)
        return
    try:
        with path.open("rb") as stream:
            budget = UnpackBudget(os.fstat(stream.fileno()).st_size)
            yield from _read_content(Content(name, path.suffix.lower(), stream, budget))
    except OSError as error:
        yield Skipped(name, _describe_error(error))


def known_formats() -> str:
    """Return the suffixes of all supported formats, separated by spaces, for messages."""
    return " ".join(READERS)


def _read_content(content: Content) -> ArticleIterator:
    """Read content with the reader of its format, and turn every error into a Skipped."""
    try:
        if reason := _unsupported_reason(content.format):
            raise UnreadableFile(reason)
        if content.depth > MAX_ARCHIVE_DEPTH:
            raise UnreadableFile(phrase("archives_nested_too_deeply", limit=MAX_ARCHIVE_DEPTH))
        yield from READERS[content.format](content)
    except DecompressionBomb as error:
        if content.depth:
            raise  # the limit is that of the outermost file, which is given up as a whole
        yield Skipped(content.name, error.reason)
    except UnreadableFile as error:
        yield Skipped(content.name, error.reason)
    except MemoryError:
        raise
    except ModuleNotFoundError as error:
        yield _skip_for_missing_package(content, error)
    except Exception as error:  # parsers raise anything when a file is damaged
        yield Skipped(content.name, _describe_error(error))


def _skip_for_missing_package(content: Content, error: ModuleNotFoundError) -> Skipped:
    module = (error.name or "").partition(".")[0]
    reason = phrase(
        "package_missing",
        format=content.format,
        package=EXTRAS["formats"].get(module, module),
        command=install_command("formats"),
    )
    return Skipped(content.name, reason, SkipCause.MISSING_PACKAGE)


def _describe_error(error: Exception) -> Phrase:
    if isinstance(error, OSError) and error.strerror:
        return phrase("cannot_be_read", problem=error.strerror)
    return phrase("cannot_be_parsed", problem=printable(str(error)) or type(error).__name__)


def _unsupported_reason(suffix: str) -> Phrase | None:
    """Return why files with this suffix are skipped, or None if there is a reader for them."""
    if suffix.lower() in READERS:
        return None
    if not suffix:
        return phrase("no_suffix", formats=known_formats())
    return phrase("unsupported_format", format=printable(suffix), formats=known_formats())


def _read_zip(content: Content) -> ArticleIterator:
    return archives.read_zip(content, _read_content, _unsupported_reason)


def _read_gzip(content: Content) -> ArticleIterator:
    return archives.read_gzip(content, _read_content)


READERS: Mapping[str, Reader] = {
    ".txt": text.read_text,
    ".md": text.read_markdown,
    ".html": html.read_html,
    ".htm": html.read_html,
    ".xhtml": html.read_html,
    ".pdf": pdf.read_pdf,
    ".docx": docx.read_docx,
    ".epub": epub.read_epub,
    ".rss": feed.read_feed,
    ".atom": feed.read_feed,
    ".xml": feed.read_feed,
    ".jsonl": tables.read_jsonl,
    ".csv": tables.read_csv,
    ".parquet": tables.read_parquet,
    ".zip": _read_zip,
    ".gz": _read_gzip,
}
"""The reader of every supported format, by the suffix of its files."""
