"""EPUB books: chapters in reading order."""

from pathlib import Path

import pytest
from source_files import (
    MORE,
    NEWS,
    build_epub,
    build_zip,
    html_page,
    read_articles,
    read_source,
    skip_reason,
    write_file,
)

from rag.types import Article, Skipped


def test_every_chapter_is_an_article_in_the_order_of_the_spine(tmp_path: Path) -> None:
    chapters = {
        "z.xhtml": html_page(f"<h1>The <i>harbour</i></h1><p>{NEWS}</p>"),
        "cover.xhtml": html_page('<img src="cover.png"/>'),
        "a.xhtml": html_page(
            f"<p>{MORE}<br/>Then</p><script>SCRIPTED</script><ul><li>ropes</li></ul>"
        ),
    }
    first, second = read_articles(write_file(tmp_path, "b.epub", build_epub(chapters)))
    assert first == Article(
        "b.epub/OEBPS/text/z.xhtml",
        "The Lost Ferry: The harbour",
        f"The harbour\n\n{NEWS}",
        "2021-05-03",
        "Ellery Press",
    )
    assert second.title == "The Lost Ferry"
    assert second.text == f"{MORE}\n\nThen\n\nropes"


def test_a_missing_or_damaged_chapter_does_not_affect_the_others(tmp_path: Path) -> None:
    chapters = {"a.xhtml": html_page(NEWS), "b.xhtml": "\0\0", "c.xhtml": html_page(MORE)}
    content = build_epub(chapters).replace(b"text/a.xhtml", b"text/_.xhtml")
    missing, damaged, readable = read_source(write_file(tmp_path, "b.epub", content))
    assert isinstance(missing, Skipped)
    assert isinstance(damaged, Skipped)
    assert isinstance(readable, Article)
    assert str(missing.reason) == "its part 'OEBPS/text/a.xhtml' is missing"
    assert "null bytes" in str(damaged.reason)
    assert readable.text == MORE


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"PK", "not a zip file", id="no archive"),
        pytest.param(
            build_zip({"a.txt": NEWS}),
            "its part 'META-INF/container.xml' is missing",
            id="no container",
        ),
        pytest.param(build_epub({}), "it contains no text", id="empty"),
        pytest.param(
            build_zip({"META-INF/container.xml": "<container"}),
            "it contains invalid XML",
            id="broken container",
        ),
        pytest.param(
            build_epub(
                {}, **{"META-INF/container.xml": '<a><rootfile full-path="../../etc/passwd"/></a>'}
            ),
            "its part '../../etc/passwd' is missing",
            id="a path that leads out",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_unreadable_book_is_skipped_with_a_reason(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    assert expected in skip_reason(write_file(tmp_path, "b.epub", content))
