"""An index of an earlier version is taken over: nothing that it has encoded is encoded again."""

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rag import commits, indexing
from rag.commits import StoredFile
from rag.errors import IndexUnusable
from rag.index import PassageIndex

if TYPE_CHECKING:
    from conftest import FakeEncoder, Quiet

FERRY = "The ferry left Port Ellery at noon."
OWL = "An owl moved into the town hall."

VERSION_1 = """
CREATE TABLE about (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE sources (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE articles (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, source INTEGER NOT NULL, name TEXT NOT NULL,
    hash BLOB NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL, date TEXT, publisher TEXT, url TEXT
);
CREATE TABLE passages (
    number INTEGER PRIMARY KEY, article INTEGER NOT NULL,
    "start" INTEGER NOT NULL, "end" INTEGER NOT NULL, vector BLOB
);
INSERT INTO about VALUES ('version', 1), ('encoder', 'fake'), ('commit', 7);
"""


@pytest.fixture
def old(tmp_path: Path, fake_encoder: "type[FakeEncoder]") -> Path:
    """An index of version 1 over a folder of two articles, of which one has changed since."""
    source, index = tmp_path / "news", tmp_path / "index"
    source.mkdir()
    index.mkdir()
    (source / "ferry.txt").write_text(FERRY)
    (source / "owl.txt").write_text(OWL + " It stayed.")
    db = sqlite3.connect(index / "passages.sqlite")
    db.executescript(VERSION_1)
    db.execute("INSERT INTO sources VALUES (1, ?)", (str(source),))
    for number, (name, text) in enumerate({"ferry.txt": FERRY, "owl.txt": OWL}.items(), start=1):
        about = (number, name, name, text, text)
        db.execute("INSERT INTO articles VALUES (?, ?, 1, ?, '', ?, ?, NULL, NULL, NULL)", about)
        vector = fake_encoder().encode_question(f"{text}\n{text}").astype("<f4").tobytes()
        db.execute(
            "INSERT INTO passages VALUES (?, ?, 0, ?, ?)", (number, number, len(text), vector)
        )
    db.commit()
    db.close()
    (index / "vectors.7.faiss").write_bytes(b"of no use any more")
    return index


@pytest.fixture
def second(tmp_path: Path, fake_encoder: "type[FakeEncoder]", quiet: "Quiet") -> Path:
    """An index of version 2 over one dated article: words are searched for in title and text."""
    source, index = tmp_path / "news", tmp_path / "index"
    source.mkdir()
    (source / "ferry.md").write_text(f"---\ntitle: Delayed\ndate: 2021-05-14\n---\n{FERRY}")
    indexing.sync(index, fake_encoder(), [source], rebuild=False, progress=quiet)
    commit = commits.read(index)
    database = index / commit.database.name
    db = sqlite3.connect(database)
    db.executescript(
        "DROP TABLE vocabulary; DROP TABLE words;"
        "CREATE VIRTUAL TABLE words USING fts5 (title, text, tokenize = 'porter');"
        "CREATE VIRTUAL TABLE vocabulary USING fts5vocab (words, 'row');"
        f"INSERT INTO words (rowid, title, text) VALUES (1, 'delayed', '{FERRY}');"
    )
    db.close()
    earlier = {"version": 2, "number": 1, "database": StoredFile.of(database)}
    commits.publish(index, commit.model_copy(update=earlier))
    return index


def test_version_2_is_searched_anew_and_encoded_never(
    second: Path, fake_encoder: "type[FakeEncoder]", quiet: "Quiet"
) -> None:
    with pytest.raises(IndexUnusable, match=r"is of version 2, not 3\. Run `rag index`: it takes"):
        PassageIndex.open(second)
    encoder = fake_encoder()
    indexing.sync(second, encoder, [], rebuild=False, progress=quiet)
    assert encoder.encoded == []
    with PassageIndex.open(second, encoder=encoder.id) as index:
        assert index.matching(["14 may 2021"], 5), "its date is searched for in words now"
        assert index.matching(["ferry"], 5)


def test_it_is_said_what_to_do(old: Path) -> None:
    with pytest.raises(IndexUnusable, match=r"is of version 1, not 3\. Run `rag index`: it takes"):
        PassageIndex.open(old)


def test_its_sources_and_vectors_are_taken_over(
    old: Path, fake_encoder: "type[FakeEncoder]", quiet: "Quiet"
) -> None:
    encoder = fake_encoder()
    indexing.sync(old, encoder, [], rebuild=False, progress=quiet)
    assert [text.splitlines()[-1] for text in encoder.encoded] == [OWL + " It stayed."]
    with PassageIndex.open(old, encoder=encoder.id) as index:
        assert [path.name for path in index.sources()] == ["news"]
        (number, *_) = index.nearest(encoder.encode_question(f"{FERRY}\n{FERRY}"), 2)
        assert index.passages([number])[0].text == FERRY
    left = {path.name for path in old.iterdir() if path.name != "lock"}
    assert left == {"current.json", index.commit.database.name, index.commit.vectors.name}


def test_one_of_another_encoder_is_left_as_it_is(
    old: Path, fake_encoder: "type[FakeEncoder]", quiet: "Quiet"
) -> None:
    before = (old / "passages.sqlite").read_bytes()
    with pytest.raises(IndexUnusable, match="was made by the encoder fake, not another"):
        indexing.sync(old, fake_encoder("another"), [], rebuild=False, progress=quiet)
    assert (old / "passages.sqlite").read_bytes() == before


def test_vectors_taken_over_are_what_they_were(
    old: Path, fake_encoder: "type[FakeEncoder]", quiet: "Quiet"
) -> None:
    indexing.sync(old, fake_encoder(), [], rebuild=False, progress=quiet)
    with PassageIndex.open(old) as index:
        scores = index.nearest(fake_encoder().encode_question(f"{FERRY}\n{FERRY}"), 1)
    assert np.isclose(next(iter(scores.values())), 1.0)
