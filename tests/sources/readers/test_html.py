"""HTML pages: main text, metadata and encodings."""

from pathlib import Path

import pytest
from source_files import (
    METADATA,
    MORE,
    NEWS,
    PAGE_BODY,
    html_page,
    read_article,
    read_source,
    skip_reason,
    write_file,
)

from rag.sources.readers import html
from rag.types import Article, Skipped


@pytest.mark.parametrize("name", ["a.html", "a.htm", "A.XHTML"])
def test_a_page_gives_its_main_text_and_metadata(tmp_path: Path, name: str) -> None:
    article = read_article(write_file(tmp_path, name, html_page(PAGE_BODY, METADATA)))
    assert article.title == "Ferry lost at sea"
    assert article.date == "2021-05-03"
    assert article.source == "Coast Courier"
    assert article.url == "https://courier.example/2021/ferry"
    assert f"{NEWS}\n\n{MORE}\n\nThe ferry Ines was built in 1987 & carried" in article.text
    for removed in ("Sport", "Imprint", "Ten ferries", "SCRIPTED", "STYLED", "COMMENTED", "<"):
        assert removed not in article.text


def test_links_to_other_stories_below_a_story_are_removed(tmp_path: Path) -> None:
    links = (
        '<p><a href="/1">Ten ships to see before you die</a></p><p><a href="/2">Fees rise</a></p>'
    )
    story = f"<div><h1>Ferry</h1><p>{NEWS}</p><p>{MORE}</p><p>{NEWS} {MORE}</p>{links}</div>"
    text = read_article(write_file(tmp_path, "a.html", html_page(story))).text
    assert text.endswith(f"{NEWS} {MORE}")


def test_a_page_of_links_alone_gives_the_links(tmp_path: Path) -> None:
    links = "".join(f'<li><a href="/{n}">Ship number {n}</a></li>' for n in range(3))
    text = read_article(write_file(tmp_path, "a.html", html_page(f"<ul>{links}</ul>"))).text
    assert text.replace("- ", "").split("\n\n") == [f"Ship number {n}" for n in range(3)]


def test_all_text_of_a_very_long_page_is_taken(tmp_path: Path) -> None:
    rows = "".join(f"<p>{NEWS} {n}</p>" for n in range(html.MAX_EXTRACTED_ELEMENTS))
    article = read_article(
        write_file(tmp_path, "a.html", html_page(f"<nav>Menu</nav>{rows}", "<title>Log</title>"))
    )
    assert article.title == "Log"
    assert article.text.startswith("Menu"), "extracting its main text would take minutes"
    assert article.text.count(NEWS) == html.MAX_EXTRACTED_ELEMENTS


def test_all_text_of_a_very_short_page_is_taken(tmp_path: Path) -> None:
    assert read_article(write_file(tmp_path, "a.html", f"<p>{NEWS}</p>")).text == NEWS
    assert read_article(write_file(tmp_path, "b.html", NEWS)).text == NEWS


def test_hidden_text_of_a_page_is_not_read(tmp_path: Path) -> None:
    hidden = '<p style="display:none">HIDDEN</p><template><p>TEMPLATE</p></template>'
    path = write_file(tmp_path, "a.html", html_page(f"{PAGE_BODY}{hidden}", METADATA))
    text = read_article(path).text
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
        pytest.param("", "utf-16", id="UTF-16 with a byte order mark"),
        pytest.param('<meta charset="shift_jis">', "utf-8-sig", id="UTF-8 with a byte order mark"),
    ],
)
def test_the_encoding_of_a_page_is_detected(tmp_path: Path, head: str, encoding: str) -> None:
    text = "Der Fährmann aus Zürich weiß nichts von einem größeren Unglück."
    content = html_page(f"<article><p>{text}</p></article>", head).encode(encoding)
    assert read_article(write_file(tmp_path, "a.html", content)).text == text


def test_xhtml_with_an_encoding_declaration_is_read(tmp_path: Path) -> None:
    content = f'<?xml version="1.0" encoding="UTF-8"?>{html_page(f"<p>{NEWS} Zürich</p>")}'
    assert read_article(write_file(tmp_path, "a.xhtml", content)).text == f"{NEWS} Zürich"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("", "it contains no text", id="empty"),
        pytest.param(html_page("<img src=a.png>"), "it contains no text", id="a picture"),
        pytest.param("<!-- nothing -->", "it contains no text", id="a comment"),
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0", "it is not text: it contains null bytes", id="PNG"),
        pytest.param(b"<p>" + b"a" * 20_000_000, "larger than 20,000,000 bytes", id="large"),
    ],
)
def test_a_page_without_text_is_skipped_with_a_reason(
    tmp_path: Path, content: str | bytes, expected: str
) -> None:
    assert expected in skip_reason(write_file(tmp_path, "a.html", content))


def test_a_page_nested_100_000_levels_deep_is_read_or_skipped(tmp_path: Path) -> None:
    for tag in ("div", "b", "table><tr><td", "ul><li", "blockquote"):
        path = write_file(tmp_path, "a.html", html_page(f"<{tag}>" * 100_000 + NEWS))
        (result,) = read_source(path)
        assert isinstance(result, (Article, Skipped))
