"""RSS and Atom feeds: entries and their metadata."""

from pathlib import Path

import pytest
from source_files import (
    ATOM,
    MORE,
    NEWS,
    RSS,
    html_page,
    read_article,
    read_articles,
    read_source,
    skip_reason,
    write_file,
)

from rag.types import Article, Skipped
from rag.wording import phrase


@pytest.mark.parametrize("name", ["a.rss", "a.xml"])
def test_every_rss_entry_is_an_article(tmp_path: Path, name: str) -> None:
    first, second = read_articles(write_file(tmp_path, name, RSS))
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
def test_an_atom_entry_gives_its_content_instead_of_its_summary(tmp_path: Path, name: str) -> None:
    assert read_article(write_file(tmp_path, name, ATOM)) == Article(
        "urn:courier:1",
        "Ferry lost",
        NEWS,
        "2021-05-03",
        "Coast Courier",
        "https://courier.example/ferry",
    )


def test_an_entry_without_text_does_not_affect_the_others(tmp_path: Path) -> None:
    empty, readable = read_source(
        write_file(tmp_path, "a.rss", RSS.replace(NEWS, " ").replace(MORE, " ", 1))
    )
    assert empty == Skipped("a.rss#1", phrase("no_text"))
    assert isinstance(readable, Article)


@pytest.mark.parametrize(
    "content", ["<a>no feed</a>", "", "no XML", b"\0\1\2", "<rss", html_page(NEWS), "<svg/>"]
)
def test_a_file_that_is_not_a_feed_is_skipped_with_a_reason(
    tmp_path: Path, content: str | bytes
) -> None:
    assert skip_reason(write_file(tmp_path, "a.xml", content)) == (
        "it is not a readable RSS or Atom feed"
    )
