"""Limits on the size of articles and on what archives unpack to."""

import gzip
import io
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from source_files import (
    NEWS,
    build_docx,
    build_epub,
    build_zip,
    read_articles,
    read_source,
    replace_part,
    skip_reason,
    write_file,
)

from rag.sources import content
from rag.sources.content import MAX_ARTICLE_BYTES
from rag.types import Article, Skipped
from rag.wording import phrase


def write_huge_line(path: Path, before: bytes, after: bytes) -> Path:
    """Write a file with a line of 200 MB (a hole on the disk) between `before` and `after`."""
    with path.open("wb") as file:
        file.write(before)
        file.seek(200_000_000, os.SEEK_CUR)
        file.write(after)
    return path


@pytest.mark.parametrize(
    ("name", "before", "after", "expected_types"),
    [
        pytest.param("a.txt", b"a", b"b", [Skipped], id="text"),
        pytest.param(
            "a.jsonl",
            b'{"text": "one"}\n{"text": "',
            b'"}\n{"text": "three"}\n',
            [Article, Skipped, Article],
            id="JSON Lines",
        ),
        pytest.param("a.csv", b"text\none\n", b"\nthree\n", [Article, Skipped], id="CSV"),
    ],
)
def test_a_line_larger_than_any_article_is_skipped_without_being_loaded(
    tmp_path: Path, name: str, before: bytes, after: bytes, expected_types: list[type]
) -> None:
    path = write_huge_line(tmp_path / name, before, after)
    tracemalloc.start()
    results = list(read_source(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [type(result) for result in results] == expected_types
    (skipped,) = (result for result in results if isinstance(result, Skipped))
    assert f"{MAX_ARTICLE_BYTES:,}" in str(skipped.reason)
    assert peak < 6 * MAX_ARTICLE_BYTES, "only a few chunks are in memory at a time"


def gzip_of_spaces(size: int) -> bytes:
    """Compress `size` spaces to a thousandth, without having them in memory."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb") as packed:
        for _ in range(size // 1_000_000):
            packed.write(b" " * 1_000_000)
    return file.getvalue()


def test_a_gzip_bomb_is_skipped(tmp_path: Path) -> None:
    compressed = gzip.compress(
        (json.dumps({"text": "again and again " * 1000}) + "\n").encode() * 5000
    )
    *rows, last = read_source(write_file(tmp_path, "r.jsonl.gz", compressed))
    assert isinstance(last, Skipped)
    assert str(last.reason) == "it unpacks to more than 200 times its size"
    assert all(isinstance(row, Article) for row in rows)


@pytest.mark.parametrize("name", ["a.txt.gz", "a.html.gz", "a.rss.gz", "a.csv.gz", "a.jsonl.gz"])
def test_a_bomb_is_never_loaded(tmp_path: Path, name: str) -> None:
    path = write_file(tmp_path, name, gzip_of_spaces(300_000_000))
    tracemalloc.start()
    (result,) = read_source(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(result, Skipped)
    assert peak < 130_000_000


LARGE_TEXT = b" " * 300_000_000


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a.docx": (
        lambda: replace_part(build_docx(NEWS), "word/document.xml", LARGE_TEXT),
        "200 times its size",
    ),
    "a.epub": (
        lambda: build_epub({"a.xhtml": LARGE_TEXT}),
        "a.xhtml' is larger than 20,000,000 bytes",
    ),
    "a.zip": (lambda: build_zip({"a.jsonl": LARGE_TEXT}), "200 times its size"),
    "a.pdf.gz": (lambda: gzip.compress(LARGE_TEXT), "200 times its size"),
    "a.parquet.gz": (lambda: gzip.compress(LARGE_TEXT), "200 times its size"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_every_packed_format_is_skipped(tmp_path: Path, name: str) -> None:
    build, expected = BOMBS[name]
    assert expected in skip_reason(write_file(tmp_path, name, build()))


def test_nested_archives_are_read_three_levels_deep(tmp_path: Path) -> None:
    content: bytes = build_zip({"a.txt": NEWS})
    for depth in range(1, 6):
        results = list(read_source(write_file(tmp_path, "a.zip", content)))
        assert len(results) == 1
        if depth <= 3:
            assert isinstance(results[0], Article)
        else:
            assert isinstance(results[0], Skipped)
            assert str(results[0].reason) == "it contains archives nested more than 3 levels deep"
        content = build_zip({"a.zip": content})


def test_the_unpacking_limit_is_shared_by_nested_archives(tmp_path: Path) -> None:
    content = build_zip({"a.txt": b"a" * 10_000_000})
    for _ in range(2):
        content = build_zip({f"{number}.zip": content for number in range(40)})
    results = list(read_source(write_file(tmp_path, "a.zip", content)))
    assert results[-1] == Skipped("a.zip", phrase("unpacks_to_times", limit=200))
    assert len(results) < 20


def test_an_archive_with_too_many_files_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "MAX_ENTRIES", 100)
    inner = build_zip({f"{number}.txt": NEWS for number in range(60)})
    assert len(read_articles(write_file(tmp_path, "a.zip", inner))) == 60
    results = list(
        read_source(write_file(tmp_path, "a.zip", build_zip({"a.zip": inner, "b.zip": inner})))
    )
    assert results[-1] == Skipped("a.zip", phrase("too_many_files_packed", limit=100))
