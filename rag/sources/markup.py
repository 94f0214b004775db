"""HTML parsing that several readers share: of pages, of a book's chapters and of a feed's entries."""

import re
from typing import Any

from rag.sources.content import UnreadableFile, decode
from rag.wording import phrase

_DECLARED_ENCODING = re.compile(
    rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)=[\"']?([\w-]{1,40})", re.I
)
_DECLARATION_BYTES = 2048  # from the start, in which an encoding may be declared

_BLOCK_TAGS = frozenset(
    """address article aside blockquote body br caption center dd details dialog div dl dt fieldset
    figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr legend li main nav ol option p pre
    section summary table tbody tfoot thead tr ul""".split()
)
_CELL_TAGS = frozenset({"td", "th"})
_HIDDEN_TAGS = frozenset(
    "head script style template noscript textarea select iframe object svg math".split()
)


def parse_html(content: bytes) -> Any:
    """Parse a page or a fragment of HTML into an lxml tree.

    Raises:
        UnreadableFile: There is nothing in it, or it is not text.
    """
    from lxml.etree import ParserError
    from lxml.html import HTMLParser, document_fromstring

    parser = HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
    try:
        return document_fromstring(decode_html(content).encode(errors="replace"), parser=parser)
    except ParserError:
        raise UnreadableFile(phrase("no_text")) from None


def decode_html(content: bytes) -> str:
    """Decode a page: UTF-8 or UTF-16 if it is valid, else as declared, else as Windows-1252.

    The fallback is that of the HTML standard.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return decode(content, "utf-16")
    if b"\0" in content:
        raise UnreadableFile(phrase("null_bytes"))
    declared = _DECLARED_ENCODING.search(content[:_DECLARATION_BYTES])
    for encoding in ("utf-8-sig", declared.group(1).decode() if declared else "cp1252"):
        try:
            return content.decode(encoding)
        except (UnicodeError, LookupError):
            continue
    return content.decode("cp1252", errors="replace")


def visible_text(tree: Any) -> str:
    """Return all visible text of an lxml tree, with a blank line between its blocks.

    Navigation and advertising are not removed: `rag.sources.readers.html` does that for pages.
    """
    from lxml.etree import iterwalk

    parts: list[str] = []
    walk = iterwalk(tree, events=("start", "end"))
    for event, element in walk:
        tag = element.tag if isinstance(element.tag, str) else ""
        if tag in _HIDDEN_TAGS and event == "start":
            walk.skip_subtree()
            continue
        if tag in _BLOCK_TAGS:
            parts.append("\n")
        elif tag in _CELL_TAGS:
            parts.append(" ")
        part = element.text if event == "start" else element.tail
        parts.append(re.sub(r"\s+", " ", part or ""))
    return separate_paragraphs("".join(parts))


def separate_paragraphs(text: str) -> str:
    """Put a blank line between paragraphs that are one line each, so that no sentence crosses one."""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n\n".join(line for line in lines if line)
