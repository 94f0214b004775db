"""Every format that is read: what comes out of it, and what becomes of broken and hostile files."""

import gzip
import io
import json
import random
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import docx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from docx.oxml import parse_xml

from rag import contents, formats
from rag.articles import known_formats, list_files, read
from rag.datatypes import Article, Skipped
from rag.reading import ReaderProcess

NEWS = "The ferry left Port Ellery at noon, its captain said."
MORE = "Nobody has seen it since, and the harbour board will meet on Tuesday."


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def found(path: Path) -> list[Article]:
    """The articles in a file in which nothing is wrong."""
    got = list(read(path))
    articles = [one for one in got if isinstance(one, Article)]
    assert articles == got
    return articles


def one(path: Path) -> Article:
    (article,) = found(path)
    return article


def reason(path: Path) -> str:
    (skipped,) = read(path)
    assert isinstance(skipped, Skipped), skipped
    assert "\n" not in skipped.reason
    return skipped.reason


# -- files made by hand, or by the formats' own libraries


def page(body: str, head: str = "") -> str:
    return f"<!doctype html><html><head>{head}</head><body>{body}</body></html>"


ABOUT = """
<title>Ferry lost at sea | Coast Courier</title>
<meta property="og:title" content="Ferry lost at sea">
<meta property="og:site_name" content="Coast Courier">
<meta property="article:published_time" content="2021-05-03T10:00:00+02:00">
<link rel="canonical" href="https://courier.example/2021/ferry">
"""
AROUND = f"""
<nav><ul><li><a href="/">Home</a></li><li><a href="/sport">Sport</a></li></ul></nav>
<article><h1>Ferry lost at sea</h1><p>{NEWS}</p><p>{MORE}</p>
<script>var stolen = "SCRIPTED";</script><style>.x {{ color: STYLED }}</style><!-- COMMENTED -->
<p>The ferry <b>Ines</b> was built in 1987 &amp; carried 120 passengers on an ordinary day in May.</p>
</article>
<aside><a href="/a">Ten ferries you must see before you die</a></aside>
<footer>© Coast Courier. <a href="/imprint">Imprint</a> <a href="/privacy">Privacy</a></footer>
"""


def pdf(*pages: str, info: str = "", trailer: str = "") -> bytes:
    """A PDF with these lines of text on its pages, as its specification has it."""
    kids = " ".join(f"{5 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {len(pages)}/Kids[{kids}]>>",
        f"<<{info}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    for text in pages:
        shown = "".join(f"({line}) Tj 0 -20 Td " for line in text.split("\n") if line)
        stream = f"BT /F1 12 Tf 40 700 Td {shown}ET"
        objects += [
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]"
            f"/Resources<</Font<</F1 4 0 R>>>>/Contents {len(objects) + 2} 0 R>>",
            f"<</Length {len(stream)}>>stream\n{stream}\nendstream",
        ]
    out, places = "%PDF-1.4\n", []
    for number, thing in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n{thing}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    end = (
        f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<</Size {size}/Root 1 0 R/Info 3 0 R"
    )
    return f"{out}{end}{trailer}>>\nstartxref\n{len(out)}\n%%EOF\n".encode("latin-1")


def word(*paragraphs: str, title: str = "") -> bytes:
    document = docx.Document()
    document.core_properties.title = title
    document.core_properties.created = datetime(2021, 5, 3, 10)
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    return saved(document)


def saved(document: Any) -> bytes:
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def zipped(files: Mapping[str, str | bytes], packed: int = ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w", packed) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def book(chapters: Mapping[str, str | bytes], **parts: str | bytes) -> bytes:
    """An EPUB whose spine is these chapters, in this order."""
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
        "OEBPS/nav.xhtml": page("<ol><li>CONTENTS</li></ol>"),
    }
    texts = {f"OEBPS/text/{name}": text for name, text in chapters.items()}
    return zipped({**files, **texts, **parts})


def parquet(**columns: list[Any]) -> bytes:
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


# -- HTML


@pytest.mark.parametrize("name", ["a.html", "a.htm", "A.XHTML"])
def test_a_page_is_its_main_text_and_what_it_says_about_itself(tmp_path: Path, name: str) -> None:
    article = one(write(tmp_path, name, page(AROUND, ABOUT)))
    assert article.title == "Ferry lost at sea"
    assert article.date == "2021-05-03"
    assert article.source == "Coast Courier"
    assert article.url == "https://courier.example/2021/ferry"
    assert f"{NEWS}\n\n{MORE}\n\nThe ferry Ines was built in 1987 & carried" in article.text
    for around in ("Sport", "Imprint", "Ten ferries", "SCRIPTED", "STYLED", "COMMENTED", "<"):
        assert around not in article.text


def test_links_to_other_stories_below_a_story_are_no_part_of_it(tmp_path: Path) -> None:
    links = (
        '<p><a href="/1">Ten ships to see before you die</a></p><p><a href="/2">Fees rise</a></p>'
    )
    story = f"<div><h1>Ferry</h1><p>{NEWS}</p><p>{MORE}</p><p>{NEWS} {MORE}</p>{links}</div>"
    text = one(write(tmp_path, "a.html", page(story))).text
    assert text.endswith(f"{NEWS} {MORE}")


def test_a_page_of_nothing_but_links_is_its_links(tmp_path: Path) -> None:
    links = "".join(f'<li><a href="/{n}">Ship number {n}</a></li>' for n in range(3))
    text = one(write(tmp_path, "a.html", page(f"<ul>{links}</ul>"))).text
    assert text.replace("- ", "").split("\n\n") == [f"Ship number {n}" for n in range(3)]


def test_a_page_of_countless_elements_is_taken_whole(tmp_path: Path) -> None:
    rows = "".join(f"<p>{NEWS} {n}</p>" for n in range(formats.MAX_SIFTED))
    article = one(write(tmp_path, "a.html", page(f"<nav>Menu</nav>{rows}", "<title>Log</title>")))
    assert article.title == "Log"
    assert article.text.startswith("Menu"), "sifting it would take minutes"
    assert article.text.count(NEWS) == formats.MAX_SIFTED


def test_a_page_of_a_few_words_is_all_of_them(tmp_path: Path) -> None:
    assert one(write(tmp_path, "a.html", f"<p>{NEWS}</p>")).text == NEWS
    assert one(write(tmp_path, "b.html", NEWS)).text == NEWS


def test_text_that_a_page_hides_from_its_readers_is_not_read(tmp_path: Path) -> None:
    hidden = '<p style="display:none">HIDDEN</p><template><p>TEMPLATE</p></template>'
    text = one(write(tmp_path, "a.html", page(f"{AROUND}{hidden}", ABOUT))).text
    assert "HIDDEN" not in text
    assert "TEMPLATE" not in text


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        pytest.param("", "utf-8", id="UTF-8 that is not declared"),
        pytest.param('<meta charset="iso-8859-1">', "utf-8", id="UTF-8 declared as Latin-1"),
        pytest.param('<meta charset="iso-8859-2">', "iso-8859-2", id="Latin-2"),
        pytest.param("", "cp1252", id="not declared: Windows, as browsers have it"),
        pytest.param('<meta charset="nonsense">', "cp1252", id="nonsense declared"),
        pytest.param("", "utf-16", id="UTF-16 with a mark"),
        pytest.param('<meta charset="shift_jis">', "utf-8-sig", id="UTF-8 with a mark"),
    ],
)
def test_a_page_is_read_in_its_encoding(tmp_path: Path, head: str, encoding: str) -> None:
    text = "Der Fährmann aus Zürich weiß nichts von einem größeren Unglück."
    content = page(f"<article><p>{text}</p></article>", head).encode(encoding)
    assert one(write(tmp_path, "a.html", content)).text == text


def test_xhtml_that_declares_its_encoding_is_read(tmp_path: Path) -> None:
    content = f'<?xml version="1.0" encoding="UTF-8"?>{page(f"<p>{NEWS} Zürich</p>")}'
    assert one(write(tmp_path, "a.xhtml", content)).text == f"{NEWS} Zürich"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param("", "it holds no text", id="empty"),
        pytest.param(page("<img src=a.png>"), "it holds no text", id="a picture"),
        pytest.param("<!-- nothing -->", "it holds no text", id="a comment"),
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0", "it is not text: it holds zero bytes", id="PNG"),
        pytest.param(b"<p>" + b"a" * 20_000_000, "larger than 20,000,000 bytes", id="large"),
    ],
)
def test_a_page_without_text_is_a_reason(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert said in reason(write(tmp_path, "a.html", content))


def test_a_page_nested_100_000_deep_is_read_or_refused(tmp_path: Path) -> None:
    for tag in ("div", "b", "table><tr><td", "ul><li", "blockquote"):
        path = write(tmp_path, "a.html", page(f"<{tag}>" * 100_000 + NEWS))
        (got,) = read(path)
        assert isinstance(got, (Article, Skipped))


# -- PDF


def test_a_pdf_keeps_where_its_pages_begin(tmp_path: Path) -> None:
    info = "/Title(Lost ferry)/CreationDate(D:20210503100000Z)"
    article = one(write(tmp_path, "a.pdf", pdf(f"{NEWS}\nSo it was.", "", MORE, info=info)))
    assert (article.title, article.date) == ("Lost ferry", "2021-05-03")
    assert len(article.pages) == 3
    first, empty, third = article.pages
    assert first == 0
    assert article.text[first:empty].strip() == f"{NEWS}\nSo it was."
    assert article.text[empty:third] == ""
    assert article.text[third:].strip() == MORE


def test_a_sentence_does_not_go_beyond_its_page(tmp_path: Path) -> None:
    text = one(write(tmp_path, "a.pdf", pdf("a page without a stop", "and the next"))).text
    assert "stop\n\nand" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(pdf("", ""), "only pictures of it", id="scanned"),
        pytest.param(b"%PDF-1.4\nnothing", "not PDF, or broken", id="broken"),
        pytest.param(b"", "not PDF, or broken", id="empty"),
        pytest.param(
            pdf(
                NEWS,
                trailer=f"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<{'41' * 32}>/U<{'42' * 32}>>>"
                f"/ID[<{'43' * 16}><{'43' * 16}>]",
            ),
            "it is encrypted; save it without a password",
            id="encrypted",
        ),
    ],
)
def test_a_pdf_without_text_is_a_reason(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in reason(write(tmp_path, "a.pdf", content))


def test_a_pdf_of_countless_pages_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "MAX_PAGES", 2)
    assert found(write(tmp_path, "a.pdf", pdf(NEWS, MORE)))
    assert reason(write(tmp_path, "a.pdf", pdf(NEWS, MORE, NEWS))) == "it has more than 2 pages"


# -- DOCX


def test_a_word_document_is_its_paragraphs(tmp_path: Path) -> None:
    article = one(write(tmp_path, "a.docx", word(NEWS, "", MORE, title="Lost ferry")))
    assert article == Article("a.docx", "Lost ferry", f"{NEWS}\n\n{MORE}", "2021-05-03")


def test_a_word_document_without_a_title_is_called_by_its_first_heading(tmp_path: Path) -> None:
    document = docx.Document()
    document.add_paragraph(NEWS)
    document.add_heading("Lost ferry", 1)
    assert one(write(tmp_path, "a.docx", saved(document))).title == "Lost ferry"


def test_a_word_document_keeps_tables_links_and_insertions_but_not_what_was_deleted(
    tmp_path: Path,
) -> None:
    document = docx.Document()
    table = document.add_table(2, 2)
    for cell, text in zip(table._cells, ("Ship", "Year", "Ines", "1987"), strict=True):
        cell.text = text
    paragraph = document.add_paragraph("It was ")
    w = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    for change in (
        f'<w:ins {w} w:id="1"><w:r><w:t>never </w:t></w:r></w:ins>',
        f'<w:del {w} w:id="2"><w:r><w:delText>always </w:delText></w:r></w:del>',
        f"<w:hyperlink {w}><w:r><w:t>found</w:t></w:r></w:hyperlink>",
        f"<w:sdt {w}><w:sdtContent><w:r><w:t> again</w:t></w:r></w:sdtContent></w:sdt>",
    ):
        paragraph._p.append(parse_xml(change))
    text = one(write(tmp_path, "a.docx", saved(document))).text
    assert text == "Ship\tYear\n\nInes\t1987\n\nIt was never found again"


def test_a_word_document_that_says_nothing_about_itself_is_given_no_title(tmp_path: Path) -> None:
    path = write(tmp_path, "a.docx", without(word(NEWS), "docProps/core.xml", "_rels/.rels"))
    assert (one(path).title, one(path).date) == (NEWS, None)


def without(packed: bytes, part: str, relations: str) -> bytes:
    """An Office document without one of its parts."""
    with ZipFile(io.BytesIO(packed)) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name != part}
    told = files[relations].decode()
    begin = told.rindex("<Relationship ", 0, told.index(part))
    end = told.index("/>", begin) + 2
    return zipped({**files, relations: told[:begin] + told[end:]})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"PK", "it is broken: File is not a zip file", id="no archive"),
        pytest.param(zipped({"a.txt": NEWS}), "it is broken", id="no document"),
        pytest.param(word(), "it holds no text", id="empty"),
    ],
)
def test_a_bad_word_document_is_a_reason(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in reason(write(tmp_path, "a.docx", content))


# -- EPUB


def test_a_book_is_its_chapters_in_the_order_of_its_spine(tmp_path: Path) -> None:
    chapters = {
        "z.xhtml": page(f"<h1>The <i>harbour</i></h1><p>{NEWS}</p>"),
        "cover.xhtml": page('<img src="cover.png"/>'),
        "a.xhtml": page(f"<p>{MORE}<br/>Then</p><script>SCRIPTED</script><ul><li>ropes</li></ul>"),
    }
    first, second = found(write(tmp_path, "b.epub", book(chapters)))
    assert first == Article(
        "b.epub/OEBPS/text/z.xhtml",
        "The Lost Ferry: The harbour",
        f"The harbour\n\n{NEWS}",
        "2021-05-03",
        "Ellery Press",
    )
    assert second.title == "The Lost Ferry"
    assert second.text == f"{MORE}\n\nThen\n\nropes"


def test_a_chapter_that_is_missing_or_broken_costs_only_itself(tmp_path: Path) -> None:
    chapters = {"a.xhtml": page(NEWS), "b.xhtml": "\0\0", "c.xhtml": page(MORE)}
    content = book(chapters).replace(b"text/a.xhtml", b"text/_.xhtml")
    missing, broken, whole = read(write(tmp_path, "b.epub", content))
    assert isinstance(missing, Skipped)
    assert isinstance(broken, Skipped)
    assert isinstance(whole, Article)
    assert missing.reason == "it lacks its part 'OEBPS/text/a.xhtml'"
    assert "zero bytes" in broken.reason
    assert whole.text == MORE


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"PK", "not a zip file", id="no archive"),
        pytest.param(zipped({"a.txt": NEWS}), "it lacks its part", id="no container"),
        pytest.param(book({}), "it holds no text", id="empty"),
        pytest.param(
            zipped({"META-INF/container.xml": "<container"}), "not XML", id="broken container"
        ),
        pytest.param(
            book(
                {}, **{"META-INF/container.xml": '<a><rootfile full-path="../../etc/passwd"/></a>'}
            ),
            "it lacks its part '../../etc/passwd'",
            id="a path that leads out",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_bad_book_is_a_reason(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in reason(write(tmp_path, "b.epub", content))


# -- Parquet


def test_a_row_of_parquet_is_an_article(tmp_path: Path) -> None:
    content = parquet(
        id=["r1", None],
        title=["Lost", ""],
        text=[NEWS, MORE],
        date=[date(2021, 5, 3), None],
        source=["Courier", None],
        url=["u", None],
        more=[1, 2],
    )
    first, second = found(write(tmp_path, "rows.parquet", content))
    assert first == Article("r1", "Lost", NEWS, "2021-05-03", "Courier", "u")
    assert second == Article("rows.parquet#2", MORE, MORE)


def test_bad_rows_of_parquet_cost_only_themselves(tmp_path: Path) -> None:
    texts = [NEWS, None, "", "a\0b", "x" * 20_000_001, MORE]
    got = list(read(write(tmp_path, "r.parquet", parquet(text=texts))))
    assert [one.text if isinstance(one, Article) else one.reason for one in got] == [
        NEWS,
        "its text is not a string but NoneType",
        "it holds no text",
        "its text holds zero bytes",
        "its text is longer than 20,000,000 characters",
        MORE,
    ]


def test_a_bad_table_of_parquet_is_a_reason(tmp_path: Path) -> None:
    assert "only title, body" in reason(
        write(tmp_path, "a.parquet", parquet(title=[""], body=[""]))
    )
    assert "it is broken" in reason(write(tmp_path, "a.parquet", b"PAR1 nothing PAR1"))


def test_many_rows_of_parquet_are_never_held(tmp_path: Path) -> None:
    path = write(tmp_path, "a.parquet", parquet(text=["the same line again " * 5000] * 2000))
    assert path.stat().st_size < 1_000_000, "200 MB in a few bytes"
    tracemalloc.start()
    rows = sum(isinstance(row, Article) for row in read(path))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows <= 2000
    assert most < 20_000_000


# -- feeds


@pytest.mark.parametrize("name", ["a.rss", "a.xml"])
def test_an_entry_of_rss_is_an_article(tmp_path: Path, name: str) -> None:
    first, second = found(write(tmp_path, name, RSS))
    assert first == Article(
        "https://courier.example/1",
        "Ferry lost & found",
        f"{NEWS}\n\n{MORE}",
        "2021-05-03",
        "Coast Courier",
        "https://courier.example/ferry",
    )
    assert (second.id, second.title, second.text) == (f"{name}#2", "Second", MORE)


@pytest.mark.parametrize("name", ["a.atom", "a.xml"])
def test_an_entry_of_atom_is_an_article_with_its_whole_content(tmp_path: Path, name: str) -> None:
    assert one(write(tmp_path, name, ATOM)) == Article(
        "urn:courier:1",
        "Ferry lost",
        NEWS,
        "2021-05-03",
        "Coast Courier",
        "https://courier.example/ferry",
    )


def test_an_entry_without_text_costs_only_itself(tmp_path: Path) -> None:
    empty, whole = read(write(tmp_path, "a.rss", RSS.replace(NEWS, " ").replace(MORE, " ", 1)))
    assert empty == Skipped("a.rss#1", "it holds no text")
    assert isinstance(whole, Article)


@pytest.mark.parametrize(
    "content", ["<a>no feed</a>", "", "no XML", b"\0\1\2", "<rss", page(NEWS), "<svg/>"]
)
def test_xml_that_is_no_feed_is_a_reason(tmp_path: Path, content: str | bytes) -> None:
    assert reason(write(tmp_path, "a.xml", content)) == (
        "it is XML, but no RSS or Atom feed that can be read"
    )


# -- archives


def test_every_file_of_an_archive_is_read_by_its_format(tmp_path: Path) -> None:
    inner = zipped({"deep/b.pdf": pdf(NEWS), "c.docx": word(NEWS)})
    files: dict[str, str | bytes] = {
        "news/a.txt": NEWS,
        "news/a.html": page(f"<p>{NEWS}</p>"),
        "more.zip": inner,
        "rows.jsonl.gz": gzip.compress(json.dumps({"text": NEWS}).encode()),
        "rows.parquet": parquet(text=[NEWS]),
        "book.epub": book({"a.xhtml": page(NEWS)}),
        "feed.rss": RSS,
    }
    got = found(write(tmp_path, "in/all.zip", zipped(files)).parent)
    assert [article.id for article in got] == [
        "all.zip/news/a.txt",
        "all.zip/news/a.html",
        "all.zip/more.zip/deep/b.pdf",
        "all.zip/more.zip/c.docx",
        "all.zip/rows.jsonl.gz#1",
        "all.zip/rows.parquet#1",
        "all.zip/book.epub/OEBPS/text/a.xhtml",
        "https://courier.example/1",
        "all.zip/feed.rss#2",
    ]
    assert {article.text.strip() for article in got[:-2]} == {NEWS}
    assert got[2].pages == (0,)


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        ("a.txt.gz", NEWS.encode(), ["a.txt.gz"]),
        ("r.jsonl.gz", f'{{"text": "{NEWS}"}}\n'.encode() * 2, ["r.jsonl.gz#1", "r.jsonl.gz#2"]),
        ("r.csv.gz", f'text\n"{NEWS}"\n'.encode(), ["r.csv.gz#1"]),
        ("a.pdf.gz", pdf(NEWS), ["a.pdf.gz"]),
        ("a.zip.gz", zipped({"b.md": NEWS}), ["a.zip.gz/b.md"]),
        ("a.TXT.GZ", NEWS.encode(), ["a.TXT.GZ"]),
    ],
)
def test_gzip_is_read_by_what_is_in_it(
    tmp_path: Path, name: str, content: bytes, ids: list[str]
) -> None:
    got = found(write(tmp_path, name, gzip.compress(content)))
    assert [article.id for article in got] == ids
    assert {article.text.strip() for article in got} == {NEWS}


def test_the_heading_of_packed_markdown_is_its_title(tmp_path: Path) -> None:
    assert (
        one(write(tmp_path, "a.md.gz", gzip.compress(b"# Lost\n" + NEWS.encode()))).title == "Lost"
    )


@pytest.mark.parametrize(
    ("entry", "id"),
    [
        pytest.param("../../etc/a.txt", "a.zip/etc/a.txt", id="up"),
        pytest.param("/etc/a.txt", "a.zip/etc/a.txt", id="from the root"),
        pytest.param("..\\..\\a.txt", "a.zip/a.txt", id="up, as on Windows"),
        pytest.param("a//./b.txt", "a.zip/a/b.txt", id="nowhere"),
        pytest.param("a\nb\t\x07c.txt", "a.zip/a b c.txt", id="control characters"),
        pytest.param("Fähre 港.txt", "a.zip/Fähre 港.txt", id="Unicode"),
    ],
)
def test_what_an_archive_calls_a_file_is_only_text(tmp_path: Path, entry: str, id: str) -> None:
    path = write(tmp_path, "in/a.zip", zipped({entry: NEWS}))
    before = sorted(tmp_path.rglob("*"))
    assert one(path).id == id
    assert sorted(tmp_path.rglob("*")) == before


def test_hidden_files_links_and_folders_of_an_archive_are_left_alone(tmp_path: Path) -> None:
    link = ZipInfo("link.txt")
    link.external_attr = 0o120777 << 16
    path = write(tmp_path, "a.zip", zipped({".a.txt": "", ".git/a.txt": "", "__MACOSX/a.txt": ""}))
    with ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.mkdir("folder.txt")
        archive.writestr("seen.txt", NEWS)
    assert one(path).id == "a.zip/seen.txt"


def test_what_is_wrong_in_an_archive_costs_only_itself(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a.png": b"\x89PNG", "b.txt": b"\xff", "c.zip": b"PK", "d": ""}
    *wrong, whole = read(write(tmp_path, "a.zip", zipped({**files, "z.txt": NEWS})))
    assert all(isinstance(one, Skipped) for one in wrong)
    assert [one.path for one in wrong if isinstance(one, Skipped)] == [
        "a.zip/a.png",
        "a.zip/b.txt",
        "a.zip/c.zip",
        "a.zip/d",
    ]
    assert isinstance(whole, Article)


def test_an_encrypted_entry_is_a_reason(tmp_path: Path) -> None:
    content = bytearray(zipped({"a.txt": NEWS}))
    content[6] |= 1  # the flag, beside the file and in the list of files
    content[content.rindex(b"PK\1\2") + 8] |= 1
    assert "it is encrypted" in reason(write(tmp_path, "a.zip", bytes(content)))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        pytest.param("a.txt.gz", NEWS.encode(), "it is broken: Not a gzipped file", id="no gzip"),
        pytest.param("a.gz", gzip.compress(b"a"), "format without a suffix", id="no inner format"),
        pytest.param("a.tar.gz", gzip.compress(b"a"), "format .tar is not read", id="tar"),
        pytest.param("a.zip", b"PK\3\4", "it is broken: File is not a zip file", id="no zip"),
    ],
)
def test_a_bad_archive_is_a_reason(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    assert said in reason(write(tmp_path, name, content))


def test_gzip_that_is_cut_off_gives_the_rows_before(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": f"{n} {random.random()}"}) + "\n" for n in range(9000))
    packed = gzip.compress(rows.encode())
    *before, last = read(write(tmp_path, "r.jsonl.gz", packed[: len(packed) // 2]))
    assert len(before) > 1000
    assert all(isinstance(row, Article) for row in before)
    assert last == Skipped(
        "r.jsonl.gz",
        "it is broken: Compressed file ended before the end-of-stream marker was reached",
    )


# -- attacks


def zeros(size: int) -> bytes:
    """So many zeros, packed a thousandfold, without being held."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb") as packed:
        for _ in range(size // 1_000_000):
            packed.write(b" " * 1_000_000)
    return file.getvalue()


def test_a_gzip_bomb_is_refused(tmp_path: Path) -> None:
    rows = gzip.compress((json.dumps({"text": "again and again " * 1000}) + "\n").encode() * 5000)
    *before, last = read(write(tmp_path, "r.jsonl.gz", rows))
    assert isinstance(last, Skipped)
    assert last.reason == "it unpacks to more than 200 times its size"
    assert all(isinstance(row, Article) for row in before)


@pytest.mark.parametrize("name", ["a.txt.gz", "a.html.gz", "a.rss.gz", "a.csv.gz", "a.jsonl.gz"])
def test_no_bomb_is_ever_held(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, zeros(300_000_000))
    tracemalloc.start()
    (got,) = read(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(got, Skipped)
    assert most < 130_000_000


LARGE = b" " * 300_000_000
BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a.docx": (lambda: repacked(word(NEWS), "word/document.xml", LARGE), "200 times its size"),
    "a.epub": (lambda: book({"a.xhtml": LARGE}), "a.xhtml' is larger than 20,000,000 bytes"),
    "a.zip": (lambda: zipped({"a.jsonl": LARGE}), "200 times its size"),
    "a.pdf.gz": (lambda: gzip.compress(LARGE), "200 times its size"),
    "a.parquet.gz": (lambda: gzip.compress(LARGE), "200 times its size"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_in_an_archive_is_refused(tmp_path: Path, name: str) -> None:
    content, said = BOMBS[name]
    assert said in reason(write(tmp_path, name, content()))


def repacked(packed: bytes, part: str, content: bytes) -> bytes:
    with ZipFile(io.BytesIO(packed)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return zipped({**files, part: content})


def test_archives_in_archives_are_read_three_deep(tmp_path: Path) -> None:
    content: bytes = zipped({"a.txt": NEWS})
    for depth in range(1, 6):
        got = list(read(write(tmp_path, "a.zip", content)))
        assert len(got) == 1
        if depth <= 3:
            assert isinstance(got[0], Article)
        else:
            assert isinstance(got[0], Skipped)
            assert got[0].reason == "archives are nested in it more than 3 deep"
        content = zipped({"a.zip": content})


def test_archives_that_multiply_are_refused_as_one(tmp_path: Path) -> None:
    content = zipped({"a.txt": b"a" * 10_000_000})
    for _ in range(2):
        content = zipped({f"{number}.zip": content for number in range(40)})
    got = list(read(write(tmp_path, "a.zip", content)))
    assert got[-1] == Skipped("a.zip", "it unpacks to more than 200 times its size")
    assert len(got) < 20


def test_an_archive_of_countless_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "MAX_ENTRIES", 100)
    inner = zipped({f"{number}.txt": NEWS for number in range(60)})
    assert len(found(write(tmp_path, "a.zip", inner))) == 60
    got = list(read(write(tmp_path, "a.zip", zipped({"a.zip": inner, "b.zip": inner}))))
    assert got[-1] == Skipped("a.zip", "it holds more than 100 files")


LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    + "]>"
)
SECRET = '<!DOCTYPE x [<!ENTITY a11 SYSTEM "file:///SECRET">]>'


@pytest.mark.parametrize("doctype", [LAUGHS, SECRET], ids=["a billion laughs", "another file"])
@pytest.mark.parametrize("name", ["a.rss", "a.html", "a.docx", "a.epub"])
def test_entities_are_never_expanded(tmp_path: Path, name: str, doctype: str) -> None:
    secret = write(tmp_path, "secret", "SECRET PLANS")
    doctype = doctype.replace("/SECRET", str(secret))
    body = f'<?xml version="1.0"?>{doctype}'
    made: dict[str, Callable[[], str | bytes]] = {
        "a.rss": lambda: RSS.replace('<?xml version="1.0"?>', body).replace(NEWS, f"{NEWS} &a11;"),
        "a.html": lambda: f"{body}<html><body><p>{NEWS} &a11;</p></body></html>",
        "a.docx": lambda: repacked(word(NEWS), "word/document.xml", docx_with(body, "&a11;")),
        "a.epub": lambda: book({"a.xhtml": f"{body}<html><body><p>{NEWS} &a11;</p></body></html>"}),
    }
    path = write(tmp_path, name, made[name]())
    tracemalloc.start()
    got = list(read(path))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert got
    texts = [one.text for one in got if isinstance(one, Article)]
    assert not any("SECRET PLANS" in text or "hahaha" in text for text in texts)
    assert most < 20_000_000


def docx_with(prologue: str, text: str) -> bytes:
    with ZipFile(io.BytesIO(word("PLACE"))) as archive:
        document = archive.read("word/document.xml").decode()
    return f"{prologue}{document[document.index('<w:document') :].replace('PLACE', text)}".encode()


def test_an_entity_in_a_books_list_of_parts_is_not_expanded(tmp_path: Path) -> None:
    secret = write(tmp_path, "secret", "OEBPS/book.opf")
    container = (
        f'<!DOCTYPE x [<!ENTITY a SYSTEM "file://{secret}">]>'
        '<container><rootfile full-path="x"/><b>&a;</b></container>'
    )
    content = repacked(book({"a.xhtml": page(NEWS)}), "META-INF/container.xml", container.encode())
    assert "it lacks its part 'x'" in reason(write(tmp_path, "a.epub", content))


def test_no_format_reaches_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a parser reached for the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    far = "http://127.0.0.1:9/x"
    links = f'<link rel="stylesheet" href="{far}"><base href="{far}"><iframe src="{far}"></iframe>'
    xml = f'<?xml version="1.0"?><!DOCTYPE x SYSTEM "{far}"><?xml-stylesheet href="{far}"?>'
    write(tmp_path, "a.html", page(f"{links}<img src='{far}'>{AROUND}", ABOUT))
    write(tmp_path, "b.rss", RSS.replace('<?xml version="1.0"?>', xml))
    write(tmp_path, "c.epub", book({"a.xhtml": f"{xml}{page(f'{links}{NEWS}')}"}))
    write(tmp_path, "d.xml", far)
    texts = [one.text for one in read(tmp_path) if isinstance(one, Article)]
    assert len(texts) == 4


# -- broken files


WHOLE: dict[str, Callable[[], bytes]] = {
    "txt": lambda: f"---\ntitle: Lost\n---\n{NEWS}\n{MORE}".encode(),
    "md": lambda: f"# Lost\n\n{NEWS}\n{MORE}".encode(),
    "jsonl": lambda: b"".join(
        json.dumps({"id": f"r{n}", "title": "Fähre", "text": f"{n} {NEWS}"}).encode() + b"\n"
        for n in range(4)
    ),
    "csv": lambda: f'id,text\nr1,"{NEWS}"\nr2,"{MORE}"\n'.encode(),
    "html": lambda: page(AROUND, ABOUT).encode(),
    "pdf": lambda: pdf(NEWS, MORE, info="/Title(Lost)"),
    "docx": lambda: word(NEWS, MORE, title="Lost"),
    "epub": lambda: book({"a.xhtml": page(AROUND), "b.xhtml": page(MORE)}),
    "parquet": lambda: parquet(id=["r1", "r2"], text=[NEWS, MORE]),
    "rss": lambda: RSS.encode(),
    "atom": lambda: ATOM.encode(),
    "zip": lambda: zipped({"a.txt": NEWS, "b.zip": zipped({"c.html": page(AROUND)})}),
    "jsonl.gz": lambda: gzip.compress(json.dumps({"text": NEWS}).encode()),
}


def broken(content: bytes, chance: random.Random) -> bytes:
    """A file as it comes off a bad disk, a broken line, or the desk of someone who means harm."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 3, 20))):
        at = chance.randrange(len(changed) + 1)
        length = chance.choice((1, 1, 4, 64, 1000))
        match chance.randrange(5):
            case 0:
                changed[at : at + length] = chance.randbytes(length)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = changed[max(0, at - length) : at] * chance.choice((1, 2, 50))
            case 3:
                changed[at:at] = chance.choice(
                    (b"\0", b"\xff\xfe", b"<", b"]]>", b"&#0;", b'"', b"%")
                )
            case _:
                del changed[at:]
    return bytes(changed)


def broken_inside(content: bytes, chance: random.Random) -> bytes:
    """An archive that is whole, with one of its files broken."""
    with ZipFile(io.BytesIO(content)) as archive:
        files: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice(sorted(files))
    return zipped({**files, name: broken(archive_part(files[name]), chance)}, ZIP_STORED)


def archive_part(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def test_the_files_to_break_are_whole(tmp_path: Path) -> None:
    for suffix, whole in WHOLE.items():
        assert found(write(tmp_path, f"whole.{suffix}", whole()))
    read_somewhere = {f".{part}" for suffix in WHOLE for part in suffix.split(".")}
    assert set(known_formats().split()) - read_somewhere == {".htm", ".xhtml", ".xml"}


def test_broken_files_are_articles_or_reasons_and_nothing_else(tmp_path: Path) -> None:
    chance = random.Random(7)
    for suffix, whole in WHOLE.items():
        content = whole()
        for number in range(40):
            inside = number % 2 and suffix in ("docx", "epub", "zip")
            change = broken_inside if inside else broken
            write(tmp_path, f"{suffix}-{number}.{suffix}", change(content, chance))
    files = list_files(tmp_path).files
    assert len(files) == 40 * len(WHOLE) >= 500
    with ReaderProcess(seconds=20) as reader:
        pieces = list(reader.read(files))
    assert [piece.articles for piece in pieces if piece.failed] == []
    assert [piece.file for piece in pieces if piece.last] == files
    told = [one for piece in pieces for one in piece.articles]
    for one_read in told:
        check(one_read)
    assert sum(isinstance(one, Article) for one in told) > 200
    assert sum(isinstance(one, Skipped) for one in told) > 200


def check(one: Article | Skipped) -> None:
    if isinstance(one, Skipped):
        assert one.path
        assert one.reason
        assert one.reason.isprintable(), one
        return
    assert one.text.strip()
    for value in (one.id, one.title, one.text):
        assert value
        assert "\0" not in value
        value.encode()
    assert "\n" not in one.title
    assert sorted(one.pages) == list(one.pages)
    assert all(0 <= page <= len(one.text) for page in one.pages)


@pytest.fixture(autouse=True)
def _nothing_said(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No library prints anything."""
    yield
    assert capfd.readouterr().out == ""
