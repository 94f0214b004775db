"""PDF documents: text, metadata and pages."""

from pathlib import Path

import pytest
from source_files import MORE, NEWS, build_pdf, read_article, read_articles, skip_reason, write_file

from rag.sources.readers import pdf


def test_a_pdf_gives_its_metadata_and_page_starts(tmp_path: Path) -> None:
    info = "/Title(Lost ferry)/CreationDate(D:20210503100000Z)"
    article = read_article(
        write_file(tmp_path, "a.pdf", build_pdf(f"{NEWS}\nSo it was.", "", MORE, info=info))
    )
    assert (article.title, article.date) == ("Lost ferry", "2021-05-03")
    assert len(article.pages) == 3
    first, empty, third = article.pages
    assert first == 0
    assert article.text[first:empty].strip() == f"{NEWS}\nSo it was."
    assert article.text[empty:third] == ""
    assert article.text[third:].strip() == MORE


def test_pages_are_separated_by_a_blank_line(tmp_path: Path) -> None:
    path = write_file(tmp_path, "a.pdf", build_pdf("a page without a stop", "and the next"))
    assert "stop\n\nand" in read_article(path).text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(build_pdf("", ""), "only images", id="scanned"),
        pytest.param(b"%PDF-1.4\nnothing", "it is not a valid PDF", id="broken"),
        pytest.param(b"", "it is not a valid PDF", id="empty"),
        pytest.param(
            build_pdf(
                NEWS,
                trailer=f"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<{'41' * 32}>/U<{'42' * 32}>>>"
                f"/ID[<{'43' * 16}><{'43' * 16}>]",
            ),
            "it is encrypted; save it without a password",
            id="encrypted",
        ),
    ],
)
def test_an_unreadable_pdf_is_skipped_with_a_reason(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    assert expected in skip_reason(write_file(tmp_path, "a.pdf", content))


def test_a_pdf_with_too_many_pages_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "MAX_PAGES", 2)
    assert read_articles(write_file(tmp_path, "a.pdf", build_pdf(NEWS, MORE)))
    path = write_file(tmp_path, "a.pdf", build_pdf(NEWS, MORE, NEWS))
    assert skip_reason(path) == "it has more than 2 pages"
