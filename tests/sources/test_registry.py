"""Choice of a reader by a file's suffix."""

import os
from pathlib import Path

import pytest
from source_files import NEWS, read_article, read_source, skip_reason, write_file

from rag.types import Article, Skipped


def test_ids_are_paths_below_the_source_in_order(tmp_path: Path) -> None:
    for name in ["b.txt", "a/z.md", "a/b/c.txt", "ä.txt"]:
        write_file(tmp_path, name, NEWS)
    ids = [result.id for result in read_source(tmp_path) if isinstance(result, Article)]
    assert sorted(ids) == ["a/b/c.txt", "a/z.md", "b.txt", "ä.txt"]
    assert ids == [result.id for result in read_source(tmp_path) if isinstance(result, Article)]


def test_the_id_of_a_single_file_is_its_name(tmp_path: Path) -> None:
    assert read_article(write_file(tmp_path, "a/b.txt", NEWS)).id == "b.txt"


@pytest.mark.parametrize("name", ["photo.png", "notes.doc", "README"])
def test_an_unsupported_format_is_skipped_and_the_reason_lists_the_supported_ones(
    tmp_path: Path, name: str
) -> None:
    (result,) = read_source(write_file(tmp_path, name, NEWS).parent)
    assert isinstance(result, Skipped)
    assert result.path == name
    assert (Path(name).suffix or "without a suffix") in str(result.reason)
    assert all(suffix in str(result.reason) for suffix in (".txt", ".html", ".pdf", ".gz"))


def test_the_case_of_a_suffix_does_not_matter(tmp_path: Path) -> None:
    assert read_article(write_file(tmp_path, "A.TXT", NEWS)).text == NEWS


def test_a_file_whose_name_is_not_utf_8_is_skipped(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt")).write_text(NEWS)
    assert "its id contains an unpaired surrogate" in skip_reason(folder)
