"""Listing of a source's files."""

import os
from pathlib import Path

import pytest
from source_files import NEWS, read_source, write_file

from rag.errors import SourceError
from rag.sources.scan import list_files
from rag.types import Article


def test_hidden_files_links_and_pipes_are_ignored(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    outside = write_file(tmp_path, "outside/secret.txt", NEWS)
    write_file(folder, "seen.txt", NEWS)
    write_file(folder, ".hidden.txt", NEWS)
    write_file(folder, ".git/config.txt", NEWS)
    (folder / "link.txt").symlink_to(outside)
    (folder / "linked").symlink_to(outside.parent)
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.txt")
    assert [result.id for result in read_source(folder) if isinstance(result, Article)] == [
        "seen.txt"
    ]
    assert len(list(read_source(folder))) == 1


def test_ignored_files_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    write_file(folder, "in/seen.txt", NEWS)
    write_file(folder, "in/photo.png", NEWS)
    assert list_files(folder).left_alone == 0
    write_file(folder, ".hidden.txt", NEWS)
    write_file(folder, ".git/a.txt", NEWS)
    write_file(folder, ".git/b.txt", NEWS)
    (folder / "link.txt").symlink_to(folder / "in" / "seen.txt")
    (folder / "linked").symlink_to(folder / "in")
    (folder / "nowhere").symlink_to(tmp_path / "gone")
    os.mkfifo(folder / "in" / "pipe.txt")
    listing = list_files(folder)
    assert [file.name for file in listing.files] == ["in/photo.png", "in/seen.txt"]
    assert listing.left_alone == 6, "a hidden folder counts once"


def test_a_changed_file_differs_from_the_one_listed_before(tmp_path: Path) -> None:
    path = write_file(tmp_path, "a/b.txt", NEWS)
    (before,) = list_files(tmp_path).files
    assert (before.name, before.path, before.size) == ("a/b.txt", path, len(NEWS))
    assert list_files(tmp_path).files == [before]
    os.utime(path, ns=(0, before.mtime_ns + 1))
    assert list_files(tmp_path).files != [before]


def test_a_folder_that_cannot_be_listed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(SourceError, match=f"{tmp_path} cannot be read: Permission denied"):
        list_files(tmp_path)


def test_a_missing_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"{tmp_path}/nowhere does not exist"):
        list(read_source(tmp_path / "nowhere"))
