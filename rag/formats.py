"""One reader a format: what a file holds → articles. Those of rows are in `rows`.

Libraries are imported where they are needed, so that reading text costs none of them. None of them
is ever given a URL, and XML is parsed without entities, DTDs and the network.
"""

import io
import posixpath
import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any
from urllib.parse import unquote
from zipfile import ZipFile

from rag.contents import (
    MAX_ARTICLE_BYTES,
    Bomb,
    Content,
    Reading,
    Unreadable,
    article,
    decode,
    inner_path,
    one_line,
)
from rag.datatypes import Article, Skipped

MAX_PAGES = 20_000
"""Pages of a PDF; one that claims more is no document."""

MAX_SIFTED = 40_000
"""Elements of a page whose main text is sifted out; of a longer one, all is taken: it is most of it."""

_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*\r?$", re.MULTILINE)
_FRONT_MATTER_LENGTH = 10_000  # libyaml nests on the stack: far more of it would end the process
_PDF_DATE = re.compile(r"D:(\d{4})(\d\d)(\d\d)")
_CHARSET = re.compile(rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)=[\"']?([\w-]{1,40})", re.I)


# -- text


def read_text(content: Content) -> Reading:
    """A text file, which may open with YAML front matter."""
    about, text = _front_matter(content.text())
    yield article(content.name, {**about, "text": text})


def read_markdown(content: Content) -> Reading:
    """A text file whose first heading is its title, where the front matter names none."""
    about, text = _front_matter(content.text())
    heading = _HEADING.search(text)
    if heading and not about.get("title"):
        about = {**about, "title": heading.group(1)}
    yield article(content.name, {**about, "text": text})


def _front_matter(text: str) -> tuple[Mapping[str, Any], str]:
    matter = _FRONT_MATTER.match(text)
    if not matter:
        return {}, text
    return parse_front_matter(matter.group(1)), text[matter.end() :]


def parse_front_matter(matter: str) -> Mapping[str, Any]:
    import yaml

    if len(matter) > _FRONT_MATTER_LENGTH:
        raise Unreadable(f"its front matter is longer than {_FRONT_MATTER_LENGTH:,} characters")
    try:
        # Every scalar stays a string: a date is what the author wrote, not what YAML makes of it.
        about = yaml.load(matter, Loader=yaml.CBaseLoader)  # noqa: S506 (BaseLoader makes no objects)
    except (yaml.YAMLError, RecursionError) as error:
        reason = str(getattr(error, "problem", None) or "nested too deeply")
        raise Unreadable(f"its front matter is not YAML: {reason}") from None
    if not isinstance(about, dict):
        raise Unreadable("its front matter does not hold keys and values")
    return about


# -- pages


def read_html(content: Content) -> Reading:
    """A page: its main text, without what is around it."""
    yield article(content.name, html_article(content.whole()))


def html_article(content: bytes) -> Mapping[str, Any]:
    """What a page holds as an article, and what it says about itself."""
    from lxml.etree import strip_elements

    tree = html_tree(content)
    strip_elements(tree, "template", with_tail=False)
    page = _sifted(tree) if tree.xpath("count(//*)") <= MAX_SIFTED else None
    if page is None:
        return {"title": tree.findtext(".//title"), "text": plain_text(tree)}
    about = {"title": page.title, "date": page.date, "source": page.sitename, "url": page.url}
    return {**about, "text": paragraphs(page.text)}


def _sifted(tree: Any) -> Any:
    """The main text of a page and what it says about itself; None when it seems to have none.

    What is around it costs more than a lost sentence, as long as there is something left.
    """
    from trafilatura import bare_extraction

    for precise in (True, False):
        page: Any = bare_extraction(
            tree,
            favor_precision=precise,
            include_comments=False,
            with_metadata=True,
            date_extraction_params={"original_date": True, "extensive_search": False},
        )
        if page and page.text:
            return page
    return None


def html_tree(content: bytes) -> Any:
    """A page, parsed. Raises Unreadable when it is none."""
    from lxml.etree import ParserError
    from lxml.html import HTMLParser, document_fromstring

    parser = HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
    try:
        return document_fromstring(html_text(content).encode(errors="replace"), parser=parser)
    except ParserError:
        raise Unreadable("it holds no text") from None


def html_text(content: bytes) -> str:
    """A page's text in the encoding that it is in, else says, else as the HTML standard has it."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return decode(content, "utf-16")
    if b"\0" in content:
        raise Unreadable("it is not text: it holds zero bytes")
    declared = _CHARSET.search(content[:2048])
    for encoding in ("utf-8-sig", declared.group(1).decode() if declared else "cp1252"):
        try:
            return content.decode(encoding)
        except (UnicodeError, LookupError):
            continue
    return content.decode("cp1252", errors="replace")


_BLOCKS = frozenset(
    """address article aside blockquote body br caption center dd details dialog div dl dt fieldset
    figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr legend li main nav ol option p pre
    section summary table tbody tfoot thead tr ul""".split()
)
_UNSEEN = frozenset(
    "head script style template noscript textarea select iframe object svg math".split()
)


def plain_text(tree: Any) -> str:
    """All text of a piece of HTML, its blocks apart, for where nothing is around the main text."""
    from lxml.etree import iterwalk

    parts: list[str] = []
    walk = iterwalk(tree, events=("start", "end"))
    for event, element in walk:
        tag = element.tag if isinstance(element.tag, str) else ""
        if tag in _UNSEEN and event == "start":
            walk.skip_subtree()
            continue
        if tag in _BLOCKS:
            parts.append("\n")
        elif tag in ("td", "th"):
            parts.append(" ")
        part = element.text if event == "start" else element.tail
        parts.append(re.sub(r"\s+", " ", part or ""))
    return paragraphs("".join(parts))


def paragraphs(text: str) -> str:
    """Text with a line a paragraph → with a blank line between them: no sentence goes beyond one."""
    return "\n\n".join(filter(None, (" ".join(line.split()) for line in text.split("\n"))))


def read_pdf(content: Content) -> Reading:
    """A PDF, with the offsets at which its pages begin."""
    from pypdfium2 import PdfDocument, PdfiumError

    with content.random_access() as stream:
        try:
            document = PdfDocument(stream)
        except PdfiumError as error:
            if "password" in str(error).lower():
                raise Unreadable("it is encrypted; save it without a password") from None
            raise Unreadable("it is not PDF, or broken") from None
        with document:
            if len(document) > MAX_PAGES:
                raise Unreadable(f"it has more than {MAX_PAGES:,} pages")
            text, pages = "", []
            for page in range(len(document)):
                pages.append(len(text))
                text += _page_text(document, page)
                if len(text) > MAX_ARTICLE_BYTES:
                    raise Unreadable(f"it is longer than {MAX_ARTICLE_BYTES:,} characters")
            about = document.get_metadata_dict()
    if not text.strip():
        raise Unreadable(
            "it holds no text, only pictures of it; run text recognition (OCR) over it"
        )
    date = _PDF_DATE.match(about["CreationDate"])
    yield article(
        content.name,
        {
            "title": about["Title"].replace("\0", ""),
            "date": "-".join(date.groups()) if date else None,
            "text": text,
            "pages": tuple(pages),
        },
    )


def _page_text(document: Any, number: int) -> str:
    """A page's text, ending with a blank line if there is any: a footer is no part of a sentence."""
    from pypdfium2 import PdfiumError

    try:
        page = document[number]
        text: str = page.get_textpage().get_text_bounded()
        page.close()
    except PdfiumError:
        return ""  # the other pages are there still
    # PDFium puts \2 where a word was divided at the end of a line.
    text = re.sub(r"[\0-\x08\ufffe\uffff]", "", text).replace("\r\n", "\n").strip()
    return f"{text}\n\n" if text else ""


# -- zipped documents


def read_docx(content: Content) -> Reading:
    """A Word document: all its paragraphs, and cells of a table's row in one line."""
    from docx import Document

    with content.archive() as archive:
        content.budget.take(sum(entry.file_size for entry in archive.infolist()))
        document: Any = Document(archive.fp)
        # Where a document says nothing about itself, the library makes something up.
        described = "docProps/core.xml" in archive.namelist()
    about = document.core_properties if described else None
    body = document.element.body
    heading = body.xpath(".//w:p[w:pPr/w:pStyle[@w:val='Title' or @w:val='Heading1']]")
    yield article(
        content.name,
        {
            "title": (about and about.title) or (heading and heading[0].text),
            "date": about.created.date().isoformat() if about and about.created else None,
            "text": _docx_text(body),
        },
    )


def _docx_text(body: Any) -> str:
    """Every run's text in its paragraph, be it in a table, a text box or a tracked insertion."""
    runs = body.xpath(
        ".//w:r[not(ancestor::*[local-name()='moveFrom' or local-name()='Fallback'])]"
    )
    lines: dict[Any, list[str]] = {}
    for paragraph, group in groupby(runs, lambda run: next(run.iterancestors(_W + "p"), body)):
        place = next(paragraph.iterancestors(_W + "tr"), paragraph)
        lines.setdefault(place, []).append("".join(run.text for run in group))
    return "\n\n".join(filter(str.strip, map("\t".join, lines.values())))


_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_DC = "{http://purl.org/dc/elements/1.1/}"


def read_epub(content: Content) -> Reading:
    """A book, every chapter (a file of its spine that holds text) an article."""
    with content.archive() as archive:
        package = _package(archive, content)
        book = {
            "title": one_line(package.findtext(f".//{_DC}title")),
            "date": package.findtext(f".//{_DC}date"),
            "source": package.findtext(f".//{_DC}publisher"),
        }
        read = 0
        for path in _spine(package):
            place = f"{content.name}/{inner_path(path)}"
            try:
                chapter = _chapter(book, _entry(archive, path, content))
                if chapter["text"]:  # else a cover, a plate
                    read += 1
                    yield article(place, chapter)
            except Bomb:
                raise
            except Unreadable as reason:
                read += 1
                yield Skipped(place, str(reason))
    if not read:
        raise Unreadable("it holds no text")


def _chapter(book: Mapping[str, Any], content: bytes) -> Mapping[str, Any]:
    tree = html_tree(content)
    heading = next((one_line(e.text_content()) for e in tree.iter("h1", "h2", "h3")), "")
    titles = [book["title"], heading if heading != book["title"] else ""]
    return {**book, "title": ": ".join(filter(None, titles)), "text": plain_text(tree)}


def _package(archive: ZipFile, content: Content) -> Any:
    """The list of a book's parts. Raises Unreadable when there is none."""
    container = _xml(_entry(archive, "META-INF/container.xml", content))
    rootfile = container.find(".//{*}rootfile")
    path = "" if rootfile is None else rootfile.get("full-path", "")
    package = _xml(_entry(archive, path, content))
    package.set("path", path)
    return package


def _spine(package: Any) -> Iterator[str]:
    """Where the texts of a book are, in the order in which they are read."""
    items = {item.get("id"): item for item in package.iterfind("{*}manifest/{*}item")}
    for ref in package.iterfind("{*}spine/{*}itemref"):
        item = items.get(ref.get("idref"))
        if item is None or "html" not in item.get("media-type", ""):
            continue
        if "nav" not in item.get("properties", "").split():
            folder = posixpath.dirname(package.get("path"))
            yield posixpath.normpath(posixpath.join(folder, unquote(item.get("href", ""))))


def _entry(archive: ZipFile, path: str, content: Content) -> bytes:
    try:
        entry = archive.getinfo(path)
    except KeyError:
        raise Unreadable(f"it lacks its part {path!r}") from None
    if entry.file_size > MAX_ARTICLE_BYTES:
        raise Unreadable(f"its part {path!r} is larger than {MAX_ARTICLE_BYTES:,} bytes")
    content.budget.take(entry.file_size)
    return archive.read(entry)


def _xml(content: bytes) -> Any:
    from lxml.etree import XMLParser, XMLSyntaxError, fromstring

    parser = XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return fromstring(content, parser)
    except XMLSyntaxError as error:
        raise Unreadable(f"not XML: {error.msg}") from None


# -- feeds


def read_feed(content: Content) -> Reading:
    """An RSS or Atom file: every entry an article, known by the id that its publisher gave it."""
    import feedparser

    whole = content.whole()
    if b"<!ENTITY" in whole.replace(b"\0", b""):  # UTF-16 has zeros between
        raise Unreadable("it declares entities of its own, which are never expanded")
    feed = feedparser.parse(io.BytesIO(whole), sanitize_html=False, resolve_relative_uris=False)
    if not feed.get("version"):
        raise Unreadable("it is XML, but no RSS or Atom feed that can be read")
    for number, entry in enumerate(feed.entries, start=1):
        place = f"{content.name}#{number}"
        try:
            yield _entry_article(place, entry, feed.feed.get("title"))
        except Unreadable as reason:
            yield Skipped(place, str(reason))


def _entry_article(place: str, entry: Any, publisher: str | None) -> Article:
    whole = [part.value for part in entry.get("content", ())] or [entry.get("summary", "")]
    day = entry.get("published_parsed") or entry.get("updated_parsed")
    return article(
        one_line(entry.get("id") or entry.get("link")) or place,
        {
            "title": plain_text(html_tree(entry.get("title", "").encode() or b" <p>")),
            "text": plain_text(html_tree("".join(whole).encode())),
            "date": f"{day[0]:04}-{day[1]:02}-{day[2]:02}" if day else entry.get("published"),
            "source": publisher,
            "url": entry.get("link"),
        },
    )
