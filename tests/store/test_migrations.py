"""Migration of indexes of earlier versions: nothing that they have encoded is encoded again."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEncoder, SilentProgress

from rag.errors import IndexUnusable
from rag.indexing.sync import sync
from rag.store import snapshot
from rag.store.reader import IndexReader
from rag.store.snapshot import StoredFile

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
def version_1(tmp_path: Path) -> Path:
    """An index of version 1 over a folder of two articles, one of which has changed since."""
    source, index = tmp_path / "news", tmp_path / "index"
    source.mkdir()
    index.mkdir()
    (source / "ferry.txt").write_text(FERRY)
    (source / "owl.txt").write_text(OWL + " It stayed.")
    db = sqlite3.connect(index / "passages.sqlite")
    db.executescript(VERSION_1)
    db.execute("INSERT INTO sources VALUES (1, ?)", (str(source),))
    for number, (name, text) in enumerate({"ferry.txt": FERRY, "owl.txt": OWL}.items(), start=1):
        columns = (number, name, name, text, text)
        db.execute("INSERT INTO articles VALUES (?, ?, 1, ?, '', ?, ?, NULL, NULL, NULL)", columns)
        vector = FakeEncoder().encode_question(f"{text}\n{text}").astype("<f4").tobytes()
        db.execute(
            "INSERT INTO passages VALUES (?, ?, 0, ?, ?)", (number, number, len(text), vector)
        )
    db.commit()
    db.close()
    (index / "vectors.7.faiss").write_bytes(b"obsolete")
    return index


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    """An index of version 2 over one article with a date, which its full-text index lacks."""
    source, index = tmp_path / "news", tmp_path / "index"
    source.mkdir()
    (source / "ferry.md").write_text(f"---\ntitle: Delayed\ndate: 2021-05-14\n---\n{FERRY}")
    sync(index, FakeEncoder(), [source], rebuild=False, progress=SilentProgress())
    current = snapshot.read(index)
    database = index / current.database.name
    db = sqlite3.connect(database)
    db.executescript(
        "DROP TABLE vocabulary; DROP TABLE words;"
        "CREATE VIRTUAL TABLE words USING fts5 (title, text, tokenize = 'porter');"
        "CREATE VIRTUAL TABLE vocabulary USING fts5vocab (words, 'row');"
        f"INSERT INTO words (rowid, title, text) VALUES (1, 'delayed', '{FERRY}');"
    )
    db.close()
    earlier = {"version": 2, "number": 1, "database": StoredFile.from_path(database)}
    snapshot.publish(index, current.model_copy(update=earlier))
    return index


def test_version_2_gets_a_new_full_text_index_and_is_not_encoded_again(version_2: Path) -> None:
    with pytest.raises(
        IndexUnusable, match=r"has format version 2, not 3\. Run `rag index` to convert"
    ):
        IndexReader.open(version_2)
    encoder = FakeEncoder()
    sync(version_2, encoder, [], rebuild=False, progress=SilentProgress())
    assert encoder.encoded == []
    with IndexReader.open(version_2, encoder=encoder.id) as index:
        assert index.keyword_search(["14 may 2021"], 5), "the date is in the full-text index now"
        assert index.keyword_search(["ferry"], 5)


def test_opening_version_1_says_what_to_do(version_1: Path) -> None:
    with pytest.raises(
        IndexUnusable, match=r"has format version 1, not 3\. Run `rag index` to convert"
    ):
        IndexReader.open(version_1)


def test_sources_and_vectors_of_version_1_are_kept(version_1: Path) -> None:
    encoder = FakeEncoder()
    sync(version_1, encoder, [], rebuild=False, progress=SilentProgress())
    assert [text.splitlines()[-1] for text in encoder.encoded] == [OWL + " It stayed."]
    with IndexReader.open(version_1, encoder=encoder.id) as index:
        assert [path.name for path in index.sources()] == ["news"]
        (number, *_) = index.vector_search(encoder.encode_question(f"{FERRY}\n{FERRY}"), 2)
        assert index.passages([number])[0].text == FERRY
    files = {path.name for path in version_1.iterdir() if path.name != "lock"}
    assert files == {"current.json", *(file.name for file in index.snapshot.files)}


def test_version_1_of_another_encoder_is_not_changed(version_1: Path) -> None:
    before = (version_1 / "passages.sqlite").read_bytes()
    with pytest.raises(IndexUnusable, match="was built with the encoder fake, not another"):
        sync(version_1, FakeEncoder("another"), [], rebuild=False, progress=SilentProgress())
    assert (version_1 / "passages.sqlite").read_bytes() == before


def test_vectors_of_version_1_are_not_changed(version_1: Path) -> None:
    sync(version_1, FakeEncoder(), [], rebuild=False, progress=SilentProgress())
    with IndexReader.open(version_1) as index:
        scores = index.vector_search(FakeEncoder().encode_question(f"{FERRY}\n{FERRY}"), 1)
    assert np.isclose(next(iter(scores.values())), 1.0)
