"""Output of the readers: articles built from what a format says, by the same rules for all formats.

Text is stored exactly as it was read, without any Unicode normalisation.
"""

from collections.abc import Mapping
from typing import Any

from rag.sources.content import UnreadableFile
from rag.types import Article
from rag.wording import phrase

_MAX_TITLE_LENGTH = 80  # of a title that is made from the text
_OPTIONAL_FIELDS = ("date", "source", "url")


def build_article(id: str, fields: Mapping[str, Any]) -> Article:
    """Build an article.

    Args:
        id: Id of the article within its source.
        fields: "text", and optionally "title", "date", "source", "url" and "pages"; others are
            ignored. Without a title, the article is called by its first words.

    Raises:
        UnreadableFile: There is no text, or SQLite could not store it.
    """
    text = fields.get("text")
    if not isinstance(text, str):
        raise UnreadableFile(phrase("text_not_string", type=type(text).__name__))
    if not text.strip():
        raise UnreadableFile(phrase("no_text"))
    _check_storable("text", text)
    _check_storable("id", id)
    optional = {
        field: one_line(fields[field]) for field in _OPTIONAL_FIELDS if one_line(fields.get(field))
    }
    title = one_line(fields.get("title")) or _first_words(text)
    return Article(id=id, title=title, text=text, pages=fields.get("pages", ()), **optional)


def build_row_article(location: str, row: Mapping[str, Any]) -> Article:
    """Build the article of a table's row, whose id is its column `id`, else its location.

    Raises:
        UnreadableFile: There is no text, or SQLite could not store it.
    """
    if "text" not in row:
        columns = ", ".join(map(str, row))
        raise UnreadableFile(
            phrase("no_text_column", columns=columns) if columns else phrase("no_columns")
        )
    id = row.get("id")
    return build_article(str(id) if id not in (None, "") else location, row)


def one_line(value: object) -> str:
    """Return a scalar as one line of text, and an empty string for any other value."""
    text = " ".join(str(value).split()) if isinstance(value, (str, int, float)) else ""
    return text.encode(errors="replace").decode()


def _check_storable(field: str, value: str) -> None:
    if "\0" in value:  # SQLite would cut it there
        raise UnreadableFile(phrase("null_bytes_in_field", field=field))
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnreadableFile(phrase("surrogate_in_field", field=field)) from None


def _first_words(text: str) -> str:
    """Return the first words of a text, at most _MAX_TITLE_LENGTH characters of them."""
    start = " ".join(text[: 10 * _MAX_TITLE_LENGTH].split())
    if len(start) <= _MAX_TITLE_LENGTH:
        return start
    return start[:_MAX_TITLE_LENGTH].rsplit(" ", 1)[0] + " …"
