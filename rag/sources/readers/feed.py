"""RSS and Atom feeds, every entry an article."""

import io
from typing import Any

from rag.sources.articles import build_article, one_line
from rag.sources.content import ArticleIterator, Content, UnreadableFile
from rag.sources.markup import parse_html, visible_text
from rag.types import Article, Skipped
from rag.wording import phrase


def read_feed(content: Content) -> ArticleIterator:
    """Read a feed; an entry's id is the one that its publisher gave it, else its link."""
    import feedparser

    document = content.read_bytes()
    if b"<!ENTITY" in document.replace(b"\0", b""):  # UTF-16 has null bytes in between
        raise UnreadableFile(phrase("declares_entities"))
    feed = feedparser.parse(io.BytesIO(document), sanitize_html=False, resolve_relative_uris=False)
    if not feed.get("version"):
        raise UnreadableFile(phrase("not_a_feed"))
    for number, entry in enumerate(feed.entries, start=1):
        location = f"{content.name}#{number}"
        try:
            yield _build_entry(location, entry, feed.feed.get("title"))
        except UnreadableFile as error:
            yield Skipped(location, error.reason)


def _build_entry(location: str, entry: Any, publisher: str | None) -> Article:
    parts = [part.value for part in entry.get("content", ())] or [entry.get("summary", "")]
    date = entry.get("published_parsed") or entry.get("updated_parsed")
    return build_article(
        one_line(entry.get("id") or entry.get("link")) or location,
        {
            "title": visible_text(parse_html(entry.get("title", "").encode() or b" <p>")),
            "text": visible_text(parse_html("".join(parts).encode())),
            "date": f"{date[0]:04}-{date[1]:02}-{date[2]:02}" if date else entry.get("published"),
            "source": publisher,
            "url": entry.get("link"),
        },
    )
