"""ZIP and gzip archives: names, nesting and damaged entries."""

import gzip
import json
import random
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest
from source_files import (
    NEWS,
    RSS,
    build_docx,
    build_epub,
    build_parquet,
    build_pdf,
    build_zip,
    html_page,
    read_article,
    read_articles,
    read_source,
    skip_reason,
    write_file,
)

from rag.types import Article, Skipped
from rag.wording import phrase


def test_every_file_of_an_archive_is_read_by_the_reader_of_its_format(tmp_path: Path) -> None:
    inner = build_zip({"deep/b.pdf": build_pdf(NEWS), "c.docx": build_docx(NEWS)})
    files: dict[str, str | bytes] = {
        "news/a.txt": NEWS,
        "news/a.html": html_page(f"<p>{NEWS}</p>"),
        "more.zip": inner,
        "rows.jsonl.gz": gzip.compress(json.dumps({"text": NEWS}).encode()),
        "rows.parquet": build_parquet(text=[NEWS]),
        "book.epub": build_epub({"a.xhtml": html_page(NEWS)}),
        "feed.rss": RSS,
    }
    articles = read_articles(write_file(tmp_path, "in/all.zip", build_zip(files)).parent)
    assert [article.id for article in articles] == [
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
    assert {article.text.strip() for article in articles[:-2]} == {NEWS}
    assert articles[2].pages == (0,)


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        ("a.txt.gz", NEWS.encode(), ["a.txt.gz"]),
        ("r.jsonl.gz", f'{{"text": "{NEWS}"}}\n'.encode() * 2, ["r.jsonl.gz#1", "r.jsonl.gz#2"]),
        ("r.csv.gz", f'text\n"{NEWS}"\n'.encode(), ["r.csv.gz#1"]),
        ("a.pdf.gz", build_pdf(NEWS), ["a.pdf.gz"]),
        ("a.zip.gz", build_zip({"b.md": NEWS}), ["a.zip.gz/b.md"]),
        ("a.TXT.GZ", NEWS.encode(), ["a.TXT.GZ"]),
    ],
)
def test_a_gzip_file_is_read_by_its_inner_suffix(
    tmp_path: Path, name: str, content: bytes, ids: list[str]
) -> None:
    articles = read_articles(write_file(tmp_path, name, gzip.compress(content)))
    assert [article.id for article in articles] == ids
    assert {article.text.strip() for article in articles} == {NEWS}


def test_the_title_of_compressed_markdown_is_its_heading(tmp_path: Path) -> None:
    path = write_file(tmp_path, "a.md.gz", gzip.compress(b"# Lost\n" + NEWS.encode()))
    assert read_article(path).title == "Lost"


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
def test_entry_names_are_cleaned_and_never_used_as_paths(
    tmp_path: Path, entry: str, id: str
) -> None:
    path = write_file(tmp_path, "in/a.zip", build_zip({entry: NEWS}))
    before = sorted(tmp_path.rglob("*"))
    assert read_article(path).id == id
    assert sorted(tmp_path.rglob("*")) == before


def test_hidden_entries_links_and_folders_are_ignored(tmp_path: Path) -> None:
    link = ZipInfo("link.txt")
    link.external_attr = 0o120777 << 16
    path = write_file(
        tmp_path, "a.zip", build_zip({".a.txt": "", ".git/a.txt": "", "__MACOSX/a.txt": ""})
    )
    with ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.mkdir("folder.txt")
        archive.writestr("seen.txt", NEWS)
    assert read_article(path).id == "a.zip/seen.txt"


def test_an_unreadable_entry_does_not_affect_the_others(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a.png": b"\x89PNG", "b.txt": b"\xff", "c.zip": b"PK", "d": ""}
    *skipped, readable = read_source(
        write_file(tmp_path, "a.zip", build_zip({**files, "z.txt": NEWS}))
    )
    assert all(isinstance(result, Skipped) for result in skipped)
    assert [result.path for result in skipped if isinstance(result, Skipped)] == [
        "a.zip/a.png",
        "a.zip/b.txt",
        "a.zip/c.zip",
        "a.zip/d",
    ]
    assert isinstance(readable, Article)


@pytest.mark.parametrize("method", [9, 99])  # Deflate64, and AES
@pytest.mark.parametrize("in_local_header", [False, True])
def test_an_entry_of_an_unsupported_compression_does_not_affect_the_others(
    tmp_path: Path, method: int, in_local_header: bool
) -> None:
    content = bytearray(build_zip({"a.txt": "packed", "z.txt": NEWS}))
    content[content.index(b"PK\1\2") + 10] = method
    if in_local_header:
        content[8] = method
    skipped, article = read_source(write_file(tmp_path, "a.zip", bytes(content)))
    assert isinstance(skipped, Skipped)
    assert skipped.path == "a.zip/a.txt"
    assert str(skipped.reason).startswith("it cannot be unpacked: ")
    assert isinstance(article, Article)
    assert article.id == "a.zip/z.txt"


def test_an_entry_without_a_valid_header_does_not_affect_the_others(tmp_path: Path) -> None:
    content = bytearray(build_zip({"a.txt": "packed", "z.txt": NEWS}))
    content[0] = 0
    skipped, article = read_source(write_file(tmp_path, "a.zip", bytes(content)))
    assert isinstance(skipped, Skipped)
    assert skipped.path == "a.zip/a.txt"
    assert str(skipped.reason) == "it cannot be unpacked: Bad magic number for file header"
    assert isinstance(article, Article)


def test_an_encrypted_entry_is_skipped_with_a_reason(tmp_path: Path) -> None:
    content = bytearray(build_zip({"a.txt": NEWS}))
    content[6] |= 1  # the flag is in the local header and in the central directory
    content[content.rindex(b"PK\1\2") + 8] |= 1
    assert "it is encrypted" in skip_reason(write_file(tmp_path, "a.zip", bytes(content)))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        pytest.param(
            "a.txt.gz", NEWS.encode(), "it cannot be parsed: Not a gzipped file", id="no gzip"
        ),
        pytest.param(
            "a.gz",
            gzip.compress(b"a"),
            "a file without a suffix is not supported",
            id="no inner format",
        ),
        pytest.param("a.tar.gz", gzip.compress(b"a"), "format .tar is not supported", id="tar"),
        pytest.param(
            "a.zip", b"PK\3\4", "it cannot be parsed: File is not a zip file", id="no zip"
        ),
    ],
)
def test_an_unreadable_archive_is_skipped_with_a_reason(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    assert expected in skip_reason(write_file(tmp_path, name, content))


def test_a_truncated_gzip_file_gives_the_rows_before_its_end(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": f"{n} {random.random()}"}) + "\n" for n in range(9000))
    packed = gzip.compress(rows.encode())
    *before, last = read_source(write_file(tmp_path, "r.jsonl.gz", packed[: len(packed) // 2]))
    assert len(before) > 1000
    assert all(isinstance(row, Article) for row in before)
    assert last == Skipped(
        "r.jsonl.gz",
        phrase(
            "cannot_be_parsed",
            problem="Compressed file ended before the end-of-stream marker was reached",
        ),
    )
