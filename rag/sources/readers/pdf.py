"""PDF documents, with the offsets at which their pages start."""

import re
from typing import IO, Any

from rag.sources.articles import build_article
from rag.sources.content import MAX_ARTICLE_BYTES, ArticleIterator, Content, UnreadableFile
from rag.wording import phrase

MAX_PAGES = 20_000
"""Most pages of a PDF; a file that claims more is not a real document."""

_DATE = re.compile(r"D:(\d{4})(\d\d)(\d\d)")


def read_pdf(content: Content) -> ArticleIterator:
    """Read a PDF as one article."""
    with content.seekable() as stream, _open(stream) as document:
        text, page_starts = _extract_text(document)
        metadata = document.get_metadata_dict()
    if not text.strip():
        raise UnreadableFile(phrase("only_images"))
    date = _DATE.match(metadata["CreationDate"])
    yield build_article(
        content.name,
        {
            "title": metadata["Title"].replace("\0", ""),
            "date": "-".join(date.groups()) if date else None,
            "text": text,
            "pages": page_starts,
        },
    )


def _open(stream: IO[bytes]) -> Any:
    from pypdfium2 import PdfDocument, PdfiumError

    try:
        return PdfDocument(stream)
    except PdfiumError as error:
        if "password" in str(error).lower():
            raise UnreadableFile(phrase("encrypted")) from None
        raise UnreadableFile(phrase("not_a_pdf")) from None


def _extract_text(document: Any) -> tuple[str, tuple[int, ...]]:
    """Return the text of all pages, and the offsets at which they start."""
    if len(document) > MAX_PAGES:
        raise UnreadableFile(phrase("too_many_pages", limit=MAX_PAGES))
    text, page_starts = "", []
    for number in range(len(document)):
        page_starts.append(len(text))
        text += _page_text(document, number)
        if len(text) > MAX_ARTICLE_BYTES:
            raise UnreadableFile(phrase("too_many_characters", limit=MAX_ARTICLE_BYTES))
    return text, tuple(page_starts)


def _page_text(document: Any, number: int) -> str:
    """Return the text of a page, ended by a blank line so that no sentence crosses the page."""
    from pypdfium2 import PdfiumError

    try:
        page = document[number]
        text: str = page.get_textpage().get_text_bounded()
        page.close()
    except PdfiumError:
        return ""  # a damaged page does not affect the others
    # PDFium writes \2 where a word is hyphenated at the end of a line.
    text = re.sub(r"[\0-\x08\ufffe\uffff]", "", text).replace("\r\n", "\n").strip()
    return f"{text}\n\n" if text else ""
