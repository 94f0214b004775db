"""Files in every format for the tests of the readers, and ways to read them."""

import io
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import docx
import pyarrow as pa
import pyarrow.parquet as pq

from rag.sources.content import ArticleIterator
from rag.sources.registry import read_file
from rag.sources.scan import list_files
from rag.types import Article, Skipped

NEWS = "The ferry left Port Ellery at noon, its captain said."
MORE = "Nobody has seen it since, and the harbour board will meet on Tuesday."


def write_file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read_source(source: Path) -> ArticleIterator:
    """Read every file of a source in this process."""
    for file in list_files(source).files:
        yield from read_file(file.path, file.name)


def read_articles(path: Path) -> list[Article]:
    """Read a file in which every entry is an article."""
    results = list(read_source(path))
    articles = [result for result in results if isinstance(result, Article)]
    assert articles == results
    return articles


def read_article(path: Path) -> Article:
    """Read a file that is one article."""
    (article,) = read_articles(path)
    return article


def skip_reason(path: Path) -> str:
    """Return why a file that is skipped as a whole is skipped."""
    (skipped,) = read_source(path)
    assert isinstance(skipped, Skipped), skipped
    reason = str(skipped.reason)
    assert "\n" not in reason
    return reason


def html_page(body: str, head: str = "") -> str:
    return f"<!doctype html><html><head>{head}</head><body>{body}</body></html>"


METADATA = """
<title>Ferry lost at sea | Coast Courier</title>
<meta property="og:title" content="Ferry lost at sea">
<meta property="og:site_name" content="Coast Courier">
<meta property="article:published_time" content="2021-05-03T10:00:00+02:00">
<link rel="canonical" href="https://courier.example/2021/ferry">
"""


PAGE_BODY = f"""
<nav><ul><li><a href="/">Home</a></li><li><a href="/sport">Sport</a></li></ul></nav>
<article><h1>Ferry lost at sea</h1><p>{NEWS}</p><p>{MORE}</p>
<script>var stolen = "SCRIPTED";</script><style>.x {{ color: STYLED }}</style><!-- COMMENTED -->
<p>The ferry <b>Ines</b> was built in 1987 &amp; carried 120 passengers on an ordinary day in May.</p>
</article>
<aside><a href="/a">Ten ferries you must see before you die</a></aside>
<footer>© Coast Courier. <a href="/imprint">Imprint</a> <a href="/privacy">Privacy</a></footer>
"""


def build_pdf(*pages: str, info: str = "", trailer: str = "") -> bytes:
    """Write a PDF by hand, every page from lines of text."""
    kids = " ".join(f"{5 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {len(pages)}/Kids[{kids}]>>",
        f"<<{info}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    for text in pages:
        operators = "".join(f"({line}) Tj 0 -20 Td " for line in text.split("\n") if line)
        stream = f"BT /F1 12 Tf 40 700 Td {operators}ET"
        objects += [
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]"
            f"/Resources<</Font<</F1 4 0 R>>>>/Contents {len(objects) + 2} 0 R>>",
            f"<</Length {len(stream)}>>stream\n{stream}\nendstream",
        ]
    out, offsets = "%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    end = (
        f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<</Size {size}/Root 1 0 R/Info 3 0 R"
    )
    return f"{out}{end}{trailer}>>\nstartxref\n{len(out)}\n%%EOF\n".encode("latin-1")


def build_docx(*paragraphs: str, title: str = "") -> bytes:
    document = docx.Document()
    document.core_properties.title = title
    document.core_properties.created = datetime(2021, 5, 3, 10)
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    return save_docx(document)


def save_docx(document: Any) -> bytes:
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def build_zip(files: Mapping[str, str | bytes], compression: int = ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def build_epub(chapters: Mapping[str, str | bytes], **parts: str | bytes) -> bytes:
    """Build an EPUB whose spine is these chapters; `parts` adds or replaces files."""
    items = "".join(
        f'<item id="c{number}" href="text/{name}" media-type="application/xhtml+xml"/>'
        for number, name in enumerate(chapters)
    )
    spine = "".join(f'<itemref idref="c{number}"/>' for number in range(len(chapters)))
    package = f"""<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The Lost Ferry</dc:title>
<dc:date>2021-05-03</dc:date><dc:publisher>Ellery Press</dc:publisher></metadata>
<manifest><item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="art" href="cover.png" media-type="image/png"/>{items}</manifest>
<spine><itemref idref="nav"/>{spine}<itemref idref="art"/></spine></package>"""
    container = """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/>
</rootfiles></container>"""
    files: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": container,
        "OEBPS/book.opf": package,
        "OEBPS/nav.xhtml": html_page("<ol><li>CONTENTS</li></ol>"),
    }
    texts = {f"OEBPS/text/{name}": text for name, text in chapters.items()}
    return build_zip({**files, **texts, **parts})


def build_parquet(**columns: list[Any]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


RSS = f"""<?xml version="1.0"?><rss version="2.0"><channel><title>Coast Courier</title>
<item><guid>https://courier.example/1</guid><link>https://courier.example/ferry</link>
<title>Ferry lost &amp;amp; found</title><pubDate>Mon, 03 May 2021 10:00:00 GMT</pubDate>
<description>&lt;p&gt;{NEWS}&lt;/p&gt;&lt;script&gt;SCRIPTED&lt;/script&gt;&lt;p&gt;{MORE}&lt;/p&gt;</description>
</item><item><title>Second</title><description>{MORE}</description></item></channel></rss>"""


ATOM = f"""<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>Coast Courier</title>
<entry><id>urn:courier:1</id><title>Ferry lost</title><published>2021-05-03T23:30:00Z</published>
<link href="https://courier.example/ferry"/><summary>Short.</summary>
<content type="html">&lt;p&gt;{NEWS}&lt;/p&gt;</content></entry></feed>"""


def replace_part(archive_bytes: bytes, part: str, content: bytes) -> bytes:
    with ZipFile(io.BytesIO(archive_bytes)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return build_zip({**files, part: content})


def docx_document(prologue: str, text: str) -> bytes:
    """Return the main part of a Word document with another XML prologue and one paragraph of text."""
    with ZipFile(io.BytesIO(build_docx("PLACE"))) as archive:
        document = archive.read("word/document.xml").decode()
    return f"{prologue}{document[document.index('<w:document') :].replace('PLACE', text)}".encode()


def write_jsonl(folder: Path, *rows: object, name: str = "rows.jsonl") -> Path:
    return write_file(folder, name, "".join(json.dumps(row) + "\n" for row in rows))
