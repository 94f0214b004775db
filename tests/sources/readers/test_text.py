"""Plain text and Markdown: titles, front matter and encodings."""

import codecs
import tracemalloc
from pathlib import Path

import pytest
from source_files import (
    NEWS,
    read_article,
    read_source,
    skip_reason,
    write_file,
)

from rag.types import Article


def test_the_first_heading_of_a_markdown_file_is_its_title(tmp_path: Path) -> None:
    path = write_file(tmp_path, "a.md", f"an opening line\r\n\r\n## Ferry *sinks* ##\r\n{NEWS}")
    assert read_article(path).title == "Ferry *sinks*"
    assert read_article(path).text.startswith("an opening line\r\n\r\n## Ferry")


def test_a_hash_in_a_text_file_is_not_a_heading(tmp_path: Path) -> None:
    assert read_article(write_file(tmp_path, "a.txt", "# 1 in sales")).title == "# 1 in sales"


def test_front_matter_is_parsed_and_removed_from_the_text(tmp_path: Path) -> None:
    front_matter = (
        "title: Ferry sinks\ndate: 2021-05-03\nsource: Coast Courier\nurl: http://example.org/1"
    )
    path = write_file(tmp_path, "a.txt", f"---\n{front_matter}\n---\n  {NEWS}\n")
    assert read_article(path) == Article(
        "a.txt", "Ferry sinks", f"  {NEWS}\n", "2021-05-03", "Coast Courier", "http://example.org/1"
    )


def test_front_matter_may_have_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    content = f"\ufeff---\r\ntitle: Ferry sinks\r\n---\r\n{NEWS}\r\n"
    article = read_article(write_file(tmp_path, "a.md", content))
    assert (article.title, article.text) == ("Ferry sinks", f"{NEWS}\r\n")


@pytest.mark.parametrize(
    "date",
    ["2021-05-03", "2021-5-3", "03.05.2021", "May 2021", "2021", "2021-05-03T10:00:00+02:00"],
)
def test_a_date_is_kept_as_written(tmp_path: Path, date: str) -> None:
    path = write_file(tmp_path, "a.txt", f"---\ndate: {date}\n---\n{NEWS}")
    assert read_article(path).date == date


@pytest.mark.parametrize(
    ("front_matter", "expected"),
    [
        pytest.param("title: [Ferry", "is not valid YAML", id="unclosed bracket"),
        pytest.param("title: a\n\tdate: b", "is not valid YAML", id="tab"),
        pytest.param("- a\n- b", "is not a mapping of keys to values", id="list"),
        pytest.param("only words", "is not a mapping of keys to values", id="words"),
        pytest.param("a: &a [*a]", "is not valid YAML", id="alias of itself"),
        pytest.param("a: " + "[" * 3000, "is not valid YAML", id="nested deeply"),
        pytest.param("a: " + "[" * 200_000, "longer than", id="nested beyond the stack"),
    ],
)
def test_invalid_front_matter_is_skipped_with_a_reason(
    tmp_path: Path, front_matter: str, expected: str
) -> None:
    reason = skip_reason(write_file(tmp_path, "a.txt", f"---\n{front_matter}\n---\n{NEWS}"))
    assert expected in reason
    assert "\n" not in reason


def test_exponential_yaml_aliases_are_harmless(tmp_path: Path) -> None:
    bomb = ["a0: &a0 [boom, boom, boom, boom, boom, boom, boom, boom, boom]"]
    bomb += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    path = write_file(tmp_path, "a.txt", "\n".join(["---", *bomb, "title: *a29", "---", NEWS]))
    tracemalloc.start()
    article = read_article(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert article.text == NEWS
    assert article.title == NEWS, "a list is not a title"
    assert peak < 5_000_000


def test_lines_that_resemble_front_matter_are_text(tmp_path: Path) -> None:
    for text in (f"---\n{NEWS}", f"{NEWS}\n---\ntitle: x\n---\n", f"--- a\n{NEWS}\n---\n"):
        assert read_article(write_file(tmp_path, "a.txt", text)).text == text


def test_yaml_tags_create_no_objects(tmp_path: Path) -> None:
    created = tmp_path / "created"
    front_matter = f"title: !!python/object/apply:os.mkdir ['{created}']"
    list(read_source(write_file(tmp_path, "a.txt", f"---\n{front_matter}\n---\n{NEWS}")))
    assert not created.exists()


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        pytest.param(b"", "utf-8", id="UTF-8"),
        pytest.param(codecs.BOM_UTF8, "utf-8", id="UTF-8 with mark"),
        pytest.param(codecs.BOM_UTF16_LE, "utf-16-le", id="UTF-16 LE with mark"),
        pytest.param(codecs.BOM_UTF16_BE, "utf-16-be", id="UTF-16 BE with mark"),
    ],
)
def test_text_is_read_in_every_recognisable_encoding(
    tmp_path: Path, mark: bytes, encoding: str, name: str
) -> None:
    text = "Zürich \U0001f6a2\r\n港口\n"
    assert read_article(write_file(tmp_path, name, mark + text.encode(encoding))).text == text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("plain words".encode("utf-16-le"), "null bytes", id="UTF-16 LE without mark"),
        pytest.param("plain words".encode("utf-16-be"), "null bytes", id="UTF-16 BE without mark"),
        pytest.param("Zürich".encode("latin-1"), "not UTF-8", id="latin-1"),
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0", "not UTF-8", id="PNG"),
        pytest.param(b"\x7fELF\2\1\1\0\0\0", "null bytes", id="ELF"),
        pytest.param(codecs.BOM_UTF16_LE + b"a\0b", "not UTF-16", id="UTF-16 cut off"),
        pytest.param(codecs.BOM_UTF32_LE + "a".encode("utf-32-le"), "null bytes", id="UTF-32"),
        pytest.param(b"\xed\xa0\x80", "not UTF-8", id="surrogate in UTF-8"),
        pytest.param(b"", "no text", id="empty"),
        pytest.param(b"\xef\xbb\xbf \n\t\xc2\xa0", "no text", id="white space"),
        pytest.param(b"---\ntitle: a\n---\n", "no text", id="front matter only"),
    ],
)
def test_a_file_that_is_not_text_is_skipped_with_a_reason(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    assert expected in skip_reason(write_file(tmp_path, "a.txt", content))
