"""HTML pages, reduced to their main text."""

from collections.abc import Mapping
from typing import Any

from rag.sources.articles import build_article
from rag.sources.content import ArticleIterator, Content
from rag.sources.markup import parse_html, separate_paragraphs, visible_text

MAX_EXTRACTED_ELEMENTS = 40_000
"""Most elements of a page whose main text is extracted.

Extraction from a longer page would take minutes. All of its text is taken, which is mostly main text.
"""


def read_html(content: Content) -> ArticleIterator:
    """Read a page as one article, without navigation, advertising and footers."""
    yield build_article(content.name, extract_fields(content.read_bytes()))


def extract_fields(page: bytes) -> Mapping[str, Any]:
    """Return the main text of a page with its metadata, as `build_article` takes them.

    Raises:
        UnreadableFile: There is nothing in the page, or it is not text.
    """
    from lxml.etree import strip_elements

    tree = parse_html(page)
    strip_elements(tree, "template", with_tail=False)
    is_short = tree.xpath("count(//*)") <= MAX_EXTRACTED_ELEMENTS
    extracted = _extract_main_text(tree) if is_short else None
    if extracted is None:
        return {"title": tree.findtext(".//title"), "text": visible_text(tree)}
    return {
        "title": extracted.title,
        "date": extracted.date,
        "source": extracted.sitename,
        "url": extracted.url,
        "text": separate_paragraphs(extracted.text),
    }


def _extract_main_text(tree: Any) -> Any:
    """Return trafilatura's result for a page, or None if it finds no main text.

    Precision is tried first: text from around the article does more harm than a lost sentence.
    """
    from trafilatura import bare_extraction

    for favor_precision in (True, False):
        extracted: Any = bare_extraction(
            tree,
            favor_precision=favor_precision,
            include_comments=False,
            with_metadata=True,
            date_extraction_params={"original_date": True, "extensive_search": False},
        )
        if extracted and extracted.text:
            return extracted
    return None
