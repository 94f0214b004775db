"""Word documents (DOCX)."""

from itertools import groupby
from typing import Any

from rag.sources.articles import build_article
from rag.sources.content import ArticleIterator, Content

_WORD_NAMESPACE = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_PARAGRAPH = _WORD_NAMESPACE + "p"
_TABLE_ROW = _WORD_NAMESPACE + "tr"

# Text that was moved away, or is the fallback of a drawing, occurs a second time elsewhere.
_RUNS = ".//w:r[not(ancestor::*[local-name()='moveFrom' or local-name()='Fallback'])]"
_TITLE_PARAGRAPHS = ".//w:p[w:pPr/w:pStyle[@w:val='Title' or @w:val='Heading1']]"


def read_docx(content: Content) -> ArticleIterator:
    """Read a Word document as one article; the default title is its first heading."""
    from docx import Document

    with content.open_zip() as archive:
        content.budget.add_bytes(sum(entry.file_size for entry in archive.infolist()))
        document: Any = Document(archive.fp)
        # For a document without properties, the library makes some up.
        has_properties = "docProps/core.xml" in archive.namelist()
    properties = document.core_properties if has_properties else None
    body = document.element.body
    headings = body.xpath(_TITLE_PARAGRAPHS)
    created = properties.created if properties else None
    yield build_article(
        content.name,
        {
            "title": (properties and properties.title) or (headings and headings[0].text),
            "date": created.date().isoformat() if created else None,
            "text": _extract_text(body),
        },
    )


def _extract_text(body: Any) -> str:
    """Return the paragraphs, and the rows of tables with a tab between their cells.

    Runs are collected instead of paragraphs, since they may be in a text box or a tracked insertion.
    """
    runs = body.xpath(_RUNS)
    blocks: dict[Any, list[str]] = {}
    for paragraph, group in groupby(runs, lambda run: next(run.iterancestors(_PARAGRAPH), body)):
        block = next(paragraph.iterancestors(_TABLE_ROW), paragraph)
        blocks.setdefault(block, []).append("".join(run.text for run in group))
    texts = ("\t".join(parts) for parts in blocks.values())
    return "\n\n".join(text for text in texts if text.strip())
