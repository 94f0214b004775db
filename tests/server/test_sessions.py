"""What is remembered of readers, and when it is forgotten."""

from pathlib import Path

import pytest

from rag.models.embedding.encoder import Encoder
from rag.server.sessions import (
    MAX_HISTORY_BYTES,
    MAX_SESSIONS,
    MAX_UPLOADING,
    BrowserHistoryStore,
    Sessions,
)


def test_questions_are_counted_by_session() -> None:
    sessions = Sessions(share_uploads=False)
    for session in ("one", "two", "one"):
        sessions.count_question(session)
    assert [sessions.question_count(session) for session in ("one", "two", "three")] == [2, 1, 0]
    sessions.close("one")
    assert sessions.question_count("one") == 0


def test_the_least_recent_of_too_many_sessions_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert MAX_SESSIONS > 3
    monkeypatch.setattr("rag.server.sessions.MAX_SESSIONS", 3)
    sessions = Sessions(share_uploads=False)
    for session in ("one", "two", "three", "one", "four"):
        sessions.count_question(session)
    counts = {session: sessions.question_count(session) for session in ("one", "two", "four")}
    assert counts == {"one": 2, "two": 0, "four": 1}


# -- uploads


@pytest.mark.parametrize("shared", [True, False])
def test_shared_files_stay_when_a_reader_leaves_and_private_ones_do_not(
    encoder: Encoder, tmp_path: Path, shared: bool
) -> None:
    note = tmp_path / "note.txt"
    note.write_text("The first.", encoding="utf-8")
    sessions = Sessions(share_uploads=shared)
    uploads = sessions.open_uploads("one", encoder)
    uploads.add([str(note)])
    for session in ("shared", " of all readers", "another", "one"):
        sessions.close(session)
    assert (sessions.uploads("one") is uploads) is shared
    assert (sessions.uploads("another") is uploads) is shared
    uploads.close()


def test_files_of_the_oldest_of_too_many_readers_are_deleted(encoder: Encoder) -> None:
    sessions = Sessions(share_uploads=False)
    opened = [sessions.open_uploads(str(n), encoder) for n in range(MAX_UPLOADING + 1)]
    assert sessions.uploads("0") is None
    assert not opened[0].folder.exists()
    assert opened[1].folder.exists()
    for uploads in opened:
        uploads.close()


# -- conversations of a browser


def test_tabs_add_to_each_other_and_what_is_deleted_stays_away() -> None:
    store = BrowserHistoryStore()
    one, two, old = (
        {"id": id, "changed": changed, "turns": [1]}
        for id, changed in (("1", 1.0), ("2", 2.0), ("0", 0.0))
    )
    store.put("reader", "1", one)
    store.put("reader", "2", two)
    assert store.merged("reader", [old], 50) == [two, one, old]
    assert store.merged("reader", [old], 2) == [two, one]
    assert store.merged("another", [old], 50) == [old]
    store.put("reader", "1", None)
    assert store.merged("reader", [old, one], 50) == [two, old]


def test_a_browser_is_given_no_more_than_it_can_store() -> None:
    long = "x" * (MAX_HISTORY_BYTES // 3)
    stored = [{"id": str(n), "changed": float(n), "turns": [long]} for n in range(5)]
    merged = BrowserHistoryStore().merged("reader", stored, 50)
    assert [conversation["id"] for conversation in merged] == ["4", "3"]
