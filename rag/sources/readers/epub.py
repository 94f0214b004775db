"""EPUB books, every chapter an article."""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote
from zipfile import ZipFile

from rag.sources.articles import build_article, one_line
from rag.sources.content import (
    MAX_ARTICLE_BYTES,
    ArticleIterator,
    Content,
    DecompressionBomb,
    UnreadableFile,
    safe_path,
)
from rag.sources.markup import parse_html, visible_text
from rag.types import Skipped
from rag.wording import phrase

_DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"


def read_epub(content: Content) -> ArticleIterator:
    """Read a book; every file of its spine that contains text is an article."""
    with content.open_zip() as archive:
        package = _read_package(archive, content)
        book = {
            "title": one_line(package.findtext(f".//{_DUBLIN_CORE}title")),
            "date": package.findtext(f".//{_DUBLIN_CORE}date"),
            "source": package.findtext(f".//{_DUBLIN_CORE}publisher"),
        }
        is_empty = True
        for path in _spine_paths(package):
            location = f"{content.name}/{safe_path(path)}"
            try:
                chapter = _chapter_fields(book, _read_part(archive, path, content))
                if chapter["text"]:  # otherwise it is a cover or an illustration
                    is_empty = False
                    yield build_article(location, chapter)
            except DecompressionBomb:
                raise
            except UnreadableFile as error:
                is_empty = False
                yield Skipped(location, error.reason)
    if is_empty:
        raise UnreadableFile(phrase("no_text"))


def _chapter_fields(book: Mapping[str, Any], page: bytes) -> Mapping[str, Any]:
    """Return the fields of a chapter's article, which is called "book: chapter"."""
    tree = parse_html(page)
    headings = (one_line(element.text_content()) for element in tree.iter("h1", "h2", "h3"))
    heading = next(headings, "")
    titles = [book["title"], heading if heading != book["title"] else ""]
    title = ": ".join(part for part in titles if part)
    return {**book, "title": title, "text": visible_text(tree)}


def _read_package(archive: ZipFile, content: Content) -> Any:
    """Return the parsed package document, with its path in the archive as attribute `path`."""
    container = _parse_xml(_read_part(archive, "META-INF/container.xml", content))
    rootfile = container.find(".//{*}rootfile")
    path = "" if rootfile is None else rootfile.get("full-path", "")
    package = _parse_xml(_read_part(archive, path, content))
    package.set("path", path)
    return package


def _spine_paths(package: Any) -> Iterator[str]:
    """Yield the paths of the chapters in reading order, without the table of contents."""
    items = {item.get("id"): item for item in package.iterfind("{*}manifest/{*}item")}
    for reference in package.iterfind("{*}spine/{*}itemref"):
        item = items.get(reference.get("idref"))
        if item is None or "html" not in item.get("media-type", ""):
            continue
        if "nav" not in item.get("properties", "").split():
            folder = posixpath.dirname(package.get("path"))
            yield posixpath.normpath(posixpath.join(folder, unquote(item.get("href", ""))))


def _read_part(archive: ZipFile, path: str, content: Content) -> bytes:
    try:
        entry = archive.getinfo(path)
    except KeyError:
        raise UnreadableFile(phrase("part_missing", path=repr(path))) from None
    if entry.file_size > MAX_ARTICLE_BYTES:
        raise UnreadableFile(phrase("part_too_large", path=repr(path), limit=MAX_ARTICLE_BYTES))
    content.budget.add_bytes(entry.file_size)
    return archive.read(entry)


def _parse_xml(content: bytes) -> Any:
    from lxml.etree import XMLParser, XMLSyntaxError, fromstring

    parser = XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return fromstring(content, parser)
    except XMLSyntaxError as error:
        raise UnreadableFile(phrase("invalid_xml", problem=str(error.msg))) from None
