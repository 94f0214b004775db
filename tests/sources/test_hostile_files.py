"""Malicious and damaged files of every format."""

import gzip
import io
import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import pytest
from source_files import (
    ATOM,
    METADATA,
    MORE,
    NEWS,
    PAGE_BODY,
    RSS,
    build_docx,
    build_epub,
    build_parquet,
    build_pdf,
    build_zip,
    docx_document,
    html_page,
    read_articles,
    read_source,
    replace_part,
    skip_reason,
    write_file,
)

from rag.sources.process import ReaderProcess
from rag.sources.registry import known_formats
from rag.sources.scan import list_files
from rag.types import Article, Skipped

BILLION_LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    + "]>"
)


EXTERNAL_ENTITY = '<!DOCTYPE x [<!ENTITY a11 SYSTEM "file:///SECRET">]>'


@pytest.mark.parametrize(
    "doctype", [BILLION_LAUGHS, EXTERNAL_ENTITY], ids=["a billion laughs", "another file"]
)
@pytest.mark.parametrize("name", ["a.rss", "a.html", "a.docx", "a.epub"])
def test_entities_are_never_expanded(tmp_path: Path, name: str, doctype: str) -> None:
    secret = write_file(tmp_path, "secret", "SECRET PLANS")
    doctype = doctype.replace("/SECRET", str(secret))
    prologue = f'<?xml version="1.0"?>{doctype}'
    builders: dict[str, Callable[[], str | bytes]] = {
        "a.rss": lambda: RSS.replace('<?xml version="1.0"?>', prologue).replace(
            NEWS, f"{NEWS} &a11;"
        ),
        "a.html": lambda: f"{prologue}<html><body><p>{NEWS} &a11;</p></body></html>",
        "a.docx": lambda: replace_part(
            build_docx(NEWS), "word/document.xml", docx_document(prologue, "&a11;")
        ),
        "a.epub": lambda: build_epub(
            {"a.xhtml": f"{prologue}<html><body><p>{NEWS} &a11;</p></body></html>"}
        ),
    }
    path = write_file(tmp_path, name, builders[name]())
    tracemalloc.start()
    results = list(read_source(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert results
    texts = [result.text for result in results if isinstance(result, Article)]
    assert not any("SECRET PLANS" in text or "hahaha" in text for text in texts)
    assert peak < 20_000_000


def test_an_entity_in_the_container_of_a_book_is_not_expanded(tmp_path: Path) -> None:
    secret = write_file(tmp_path, "secret", "OEBPS/book.opf")
    container = (
        f'<!DOCTYPE x [<!ENTITY a SYSTEM "file://{secret}">]>'
        '<container><rootfile full-path="x"/><b>&a;</b></container>'
    )
    content = replace_part(
        build_epub({"a.xhtml": html_page(NEWS)}), "META-INF/container.xml", container.encode()
    )
    assert "its part 'x' is missing" in skip_reason(write_file(tmp_path, "a.epub", content))


def test_no_reader_uses_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a parser used the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    url = "http://127.0.0.1:9/x"
    links = f'<link rel="stylesheet" href="{url}"><base href="{url}"><iframe src="{url}"></iframe>'
    xml = f'<?xml version="1.0"?><!DOCTYPE x SYSTEM "{url}"><?xml-stylesheet href="{url}"?>'
    write_file(tmp_path, "a.html", html_page(f"{links}<img src='{url}'>{PAGE_BODY}", METADATA))
    write_file(tmp_path, "b.rss", RSS.replace('<?xml version="1.0"?>', xml))
    write_file(tmp_path, "c.epub", build_epub({"a.xhtml": f"{xml}{html_page(f'{links}{NEWS}')}"}))
    write_file(tmp_path, "d.xml", url)
    texts = [result.text for result in read_source(tmp_path) if isinstance(result, Article)]
    assert len(texts) == 4


VALID_FILES: dict[str, Callable[[], bytes]] = {
    "txt": lambda: f"---\ntitle: Lost\n---\n{NEWS}\n{MORE}".encode(),
    "md": lambda: f"# Lost\n\n{NEWS}\n{MORE}".encode(),
    "jsonl": lambda: b"".join(
        json.dumps({"id": f"r{n}", "title": "Fähre", "text": f"{n} {NEWS}"}).encode() + b"\n"
        for n in range(4)
    ),
    "csv": lambda: f'id,text\nr1,"{NEWS}"\nr2,"{MORE}"\n'.encode(),
    "html": lambda: html_page(PAGE_BODY, METADATA).encode(),
    "pdf": lambda: build_pdf(NEWS, MORE, info="/Title(Lost)"),
    "docx": lambda: build_docx(NEWS, MORE, title="Lost"),
    "epub": lambda: build_epub({"a.xhtml": html_page(PAGE_BODY), "b.xhtml": html_page(MORE)}),
    "parquet": lambda: build_parquet(id=["r1", "r2"], text=[NEWS, MORE]),
    "rss": lambda: RSS.encode(),
    "atom": lambda: ATOM.encode(),
    "zip": lambda: build_zip({"a.txt": NEWS, "b.zip": build_zip({"c.html": html_page(PAGE_BODY)})}),
    "jsonl.gz": lambda: gzip.compress(json.dumps({"text": NEWS}).encode()),
}


def corrupt(content: bytes, rng: random.Random) -> bytes:
    """Corrupt bytes the way a bad disk, an interrupted transfer or an attacker would."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 20))):
        start = rng.randrange(len(changed) + 1)
        length = rng.choice((1, 1, 4, 64, 1000))
        match rng.randrange(5):
            case 0:
                changed[start : start + length] = rng.randbytes(length)
            case 1:
                del changed[start : start + length]
            case 2:
                changed[start:start] = changed[max(0, start - length) : start] * rng.choice(
                    (1, 2, 50)
                )
            case 3:
                changed[start:start] = rng.choice(
                    (b"\0", b"\xff\xfe", b"<", b"]]>", b"&#0;", b'"', b"%")
                )
            case _:
                del changed[start:]
    return bytes(changed)


def corrupt_entry(content: bytes, rng: random.Random) -> bytes:
    """Corrupt one file of an archive and leave the archive itself valid."""
    with ZipFile(io.BytesIO(content)) as archive:
        files: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(files))
    return build_zip({**files, name: corrupt(as_bytes(files[name]), rng)}, ZIP_STORED)


def as_bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def test_the_files_to_corrupt_are_valid_and_cover_every_format(tmp_path: Path) -> None:
    for suffix, build in VALID_FILES.items():
        assert read_articles(write_file(tmp_path, f"valid.{suffix}", build()))
    tested_suffixes = {f".{part}" for suffix in VALID_FILES for part in suffix.split(".")}
    assert set(known_formats().split()) - tested_suffixes == {".htm", ".xhtml", ".xml"}


@pytest.mark.slow
def test_corrupt_files_give_articles_or_reasons_and_never_fail(tmp_path: Path) -> None:
    rng = random.Random(7)
    for suffix, build in VALID_FILES.items():
        content = build()
        for number in range(40):
            is_inside = number % 2 and suffix in ("docx", "epub", "zip")
            change = corrupt_entry if is_inside else corrupt
            write_file(tmp_path, f"{suffix}-{number}.{suffix}", change(content, rng))
    files = list_files(tmp_path).files
    assert len(files) == 40 * len(VALID_FILES) >= 500
    with ReaderProcess(timeout_s=20) as reader:
        batches = list(reader.read(files))
    assert [batch.articles for batch in batches if batch.failed] == []
    assert [batch.file for batch in batches if batch.last] == files
    results = [result for batch in batches for result in batch.articles]
    for result in results:
        check_result(result)
    assert sum(isinstance(result, Article) for result in results) > 200
    assert sum(isinstance(result, Skipped) for result in results) > 200


def check_result(result: Article | Skipped) -> None:
    """Check what must hold for everything that is read, whatever is in the file."""
    if isinstance(result, Skipped):
        assert result.path
        assert str(result.reason)
        assert str(result.reason).isprintable(), result
        return
    assert result.text.strip()
    for value in (result.id, result.title, result.text):
        assert value
        assert "\0" not in value
        value.encode()
    assert "\n" not in result.title
    assert sorted(result.pages) == list(result.pages)
    assert all(0 <= page <= len(result.text) for page in result.pages)
