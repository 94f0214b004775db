"""JSON Lines, CSV and Parquet: rows and their columns."""

import csv
import tracemalloc
from datetime import date
from pathlib import Path

import pytest
from source_files import (
    MORE,
    NEWS,
    build_parquet,
    read_articles,
    read_source,
    skip_reason,
    write_file,
    write_jsonl,
)

from rag.types import Article, Skipped


def test_every_json_object_is_an_article(tmp_path: Path) -> None:
    row = {
        "id": "r-1",
        "title": "Ferry\nsinks",
        "text": NEWS,
        "date": "2021",
        "source": "C",
        "url": "u",
    }
    path = write_jsonl(
        tmp_path, row, {"id": 7, "text": NEWS, "more": [1]}, {"text": NEWS, "id": ""}
    )
    first, second, third = read_source(path)
    assert first == Article("r-1", "Ferry sinks", NEWS, "2021", "C", "u")
    assert isinstance(second, Article)
    assert isinstance(third, Article)
    assert (second.id, third.id) == ("7", "rows.jsonl#3")


def test_every_csv_row_is_an_article(tmp_path: Path) -> None:
    path = tmp_path / "in" / "rows.csv"
    path.parent.mkdir()
    text = ' a "quoted" line,\r\nand\nanother\r\n'
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file)
        table.writerows([["id", "title", "text"], ["r1", "T", text], ["", "", NEWS]])
    first, second = read_source(path.parent)
    assert first == Article("r1", "T", text)
    assert isinstance(second, Article)
    assert second.id == "rows.csv#2"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param('{"text": "a"', "not JSON", id="cut off"),
        pytest.param("[1, 2]", "not an object but list", id="list"),
        pytest.param('"text"', "not an object but str", id="string"),
        pytest.param('{"title": "a", "body": "b"}', "only title, body", id="no text"),
        pytest.param("{}", "only nothing", id="nothing"),
        pytest.param('{"text": 5}', "not a string but int", id="number"),
        pytest.param('{"text": null}', "not a string but NoneType", id="null"),
        pytest.param('{"text": " \\n "}', "contains no text", id="white space"),
        pytest.param(
            '{"text": "a\\ud83d"}', "its text contains an unpaired surrogate", id="surrogate"
        ),
        pytest.param(
            '{"id": "\\udc00", "text": "a"}',
            "its id contains an unpaired surrogate",
            id="id surrogate",
        ),
        pytest.param('{"text": "a\\u0000b"}', "its text contains null bytes", id="null byte"),
        pytest.param("[" * 100_000, "nested too deeply", id="nested"),
        pytest.param(
            f'{{"text": "a", "n": {"9" * 5000}}}', "thousands of digits", id="huge number"
        ),
    ],
)
def test_an_invalid_row_is_skipped_by_its_number_and_the_others_are_read(
    tmp_path: Path, line: str, expected: str
) -> None:
    path = write_file(tmp_path, "r.jsonl", f'{{"text": "before"}}\n{line}\n\n{{"text": "after"}}\n')
    before, invalid, after = read_source(path)
    assert isinstance(invalid, Skipped)
    assert invalid.path == "r.jsonl#2"
    assert expected in str(invalid.reason)
    assert isinstance(before, Article)
    assert isinstance(after, Article)
    assert (before.text, after.id, after.text) == ("before", "r.jsonl#4", "after")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        pytest.param("title,body\na,b\n", "only title, body", id="no text column"),
        pytest.param("title,text\na\n", "not a string but NoneType", id="short row"),
        pytest.param('text\n"a" b\n', "it is not valid CSV from row 1 on", id="text after a quote"),
        pytest.param('text\n"a\n', "it is not valid CSV from row 1 on", id="open quote"),
        pytest.param(b"text\nna\xefve\n", "not UTF-8", id="latin-1"),
        pytest.param(b"text\na\0b\n", "null bytes", id="null byte"),
    ],
)
def test_an_invalid_csv_file_is_skipped_with_a_reason(
    tmp_path: Path, table: str | bytes, expected: str
) -> None:
    assert expected in skip_reason(write_file(tmp_path, "t.csv", table))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["r.jsonl", "r.csv"])
def test_tables_are_read_in_utf_16_with_a_byte_order_mark(
    tmp_path: Path, encoding: str, name: str
) -> None:
    lines = "text\nZürich\n港口\n" if name == "r.csv" else '{"text":"Zürich"}\n{"text":"港口"}\n'
    rows = list(read_source(write_file(tmp_path, name, ("\ufeff" + lines).encode(encoding))))
    assert [row.text for row in rows if isinstance(row, Article)] == ["Zürich", "港口"]
    assert len(rows) == 2


def test_every_parquet_row_is_an_article(tmp_path: Path) -> None:
    content = build_parquet(
        id=["r1", None],
        title=["Lost", ""],
        text=[NEWS, MORE],
        date=[date(2021, 5, 3), None],
        source=["Courier", None],
        url=["u", None],
        more=[1, 2],
    )
    first, second = read_articles(write_file(tmp_path, "rows.parquet", content))
    assert first == Article("r1", "Lost", NEWS, "2021-05-03", "Courier", "u")
    assert second == Article("rows.parquet#2", MORE, MORE)


def test_invalid_parquet_rows_do_not_affect_the_others(tmp_path: Path) -> None:
    texts = [NEWS, None, "", "a\0b", "x" * 20_000_001, MORE]
    rows = list(read_source(write_file(tmp_path, "r.parquet", build_parquet(text=texts))))
    assert [row.text if isinstance(row, Article) else str(row.reason) for row in rows] == [
        NEWS,
        "its text is not a string but NoneType",
        "it contains no text",
        "its text contains null bytes",
        "its text is longer than 20,000,000 characters",
        MORE,
    ]


def test_an_invalid_parquet_file_is_skipped_with_a_reason(tmp_path: Path) -> None:
    assert "only title, body" in skip_reason(
        write_file(tmp_path, "a.parquet", build_parquet(title=[""], body=[""]))
    )
    assert "it cannot be parsed" in skip_reason(
        write_file(tmp_path, "a.parquet", b"PAR1 nothing PAR1")
    )


def test_parquet_rows_are_read_one_at_a_time(tmp_path: Path) -> None:
    path = write_file(
        tmp_path, "a.parquet", build_parquet(text=["the same line again " * 5000] * 2000)
    )
    assert path.stat().st_size < 1_000_000, "200 MB in a few bytes"
    tracemalloc.start()
    rows = sum(isinstance(row, Article) for row in read_source(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows <= 2000
    assert peak < 20_000_000
