"""Files that a reader uploads: what is taken in, and that nothing remains."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from fakes import SilentProgress

from rag.answering.chatbot import Chatbot
from rag.indexing.sync import sync
from rag.models.embedding.encoder import Encoder
from rag.server.service import ChatService
from rag.server.uploads import Uploads
from rag.settings import load
from rag.types import ArticleRef, Origin

QUESTION = "How high is the lighthouse of Sant Oriol?"


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


@pytest.fixture
def uploads(encoder: Encoder) -> Iterator[Uploads]:
    uploads = Uploads(encoder)
    yield uploads
    uploads.close()


def test_rows_whose_ids_are_paths_of_other_files_delete_nothing(
    uploads: Uploads, tmp_path: Path
) -> None:
    other = Path(write(tmp_path, "thesis.txt", "Years of work."))
    relative = "../" * 20 + str(other).lstrip("/")
    rows = [
        json.dumps({"id": id, "text": "x y z"}) for id in (str(other), relative) for _ in range(2)
    ]
    uploads.add([write(tmp_path, "rows.jsonl", "\n".join(rows))])
    assert uploads.names == ["rows.jsonl"]
    assert len(uploads.skipped) == 2
    assert other.read_text() == "Years of work."


def test_an_uploaded_article_does_not_replace_one_of_the_index(
    chatbot: Chatbot, uploads: Uploads, tmp_path: Path
) -> None:
    row = {"id": "lighthouse.md", "text": "The lighthouse of Sant Oriol is 99 metres high."}
    uploads.add([write(tmp_path, "rows.jsonl", json.dumps(row))])
    *_, answer = chatbot.ask(QUESTION, extra_index=uploads.index)
    texts = {hit.passage.article: hit.passage.text for hit in answer.hits}
    assert "37 metres" in texts[ArticleRef(Origin.INDEX, "lighthouse.md")]
    assert "99 metres" in texts[ArticleRef(Origin.UPLOADS, "lighthouse.md")]
    ids = [hit["article_id"] for hit in answer.as_json()["hits"]]
    assert {"lighthouse.md", "also:lighthouse.md"} <= set(ids)


def test_an_article_whose_id_begins_like_that_of_an_upload_can_be_opened(
    encoder: Encoder, tmp_path: Path
) -> None:
    rows = write(tmp_path, "rows.jsonl", '{"id": "also:note.txt", "text": "Of the index."}')
    index = tmp_path / "index"
    sync(index, encoder, [Path(rows)], rebuild=False, progress=SilentProgress())
    service = ChatService(load(index=index, uploads="shared"))
    uploads = service.sessions.open_uploads("", encoder)
    uploads.add([write(tmp_path, "note.txt", "Of a reader.")])
    texts = {
        origin: service.find_article(ArticleRef(origin, id), "")
        for origin, id in ((Origin.INDEX, "also:note.txt"), (Origin.UPLOADS, "note.txt"))
    }
    assert {origin: article and article.text for origin, article in texts.items()} == {
        Origin.INDEX: "Of the index.",
        Origin.UPLOADS: "Of a reader.",
    }
    with start_blocking_portal() as portal:
        assert portal.call(service.article, "also:note.txt").text == "Of the index."
    uploads.close()


def test_a_file_that_cannot_be_read_leaves_the_others_as_they_were(
    uploads: Uploads, tmp_path: Path
) -> None:
    uploads.add([write(tmp_path, "broken.pdf", "%PDF-1.7 no more")])
    assert "No article" in str(uploads.problem)
    assert str(tmp_path) not in str(uploads.problem)
    assert [skipped.path for skipped in uploads.skipped] == ["broken.pdf"]
    assert (uploads.names, uploads.index) == ([], None)
    uploads.add([write(tmp_path, "a.txt", "The first."), write(tmp_path, "b.pdf", "%")])
    assert uploads.names == ["a.txt"]
    assert [skipped.path for skipped in uploads.skipped] == ["b.pdf"]
    assert uploads.index is not None
    assert uploads.index.article_count == 1


def test_files_of_the_same_name_are_both_kept(uploads: Uploads, tmp_path: Path) -> None:
    for text in ("The first.", "The second."):
        uploads.add([write(tmp_path, "note.txt", text)])
    assert uploads.names == ["note (2).txt", "note.txt"]


def test_files_beyond_the_limit_are_named_as_skipped(
    uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.server.uploads.MAX_BYTES", 15)
    uploads.add([write(tmp_path, f"{n}.txt", "Ten bytes.") for n in (1, 2)])
    assert uploads.names == ["1.txt"]
    assert [skipped.path for skipped in uploads.skipped] == ["2.txt"]
    assert "15 bytes" in str(uploads.skipped[0].reason)


def test_nothing_remains_of_a_reader_who_has_left(uploads: Uploads, tmp_path: Path) -> None:
    uploads.add([write(tmp_path, "note.txt", "The first.")])
    assert uploads.folder.exists()
    uploads.close()
    uploads.add([write(tmp_path, "late.txt", "Too late.")])
    assert not uploads.folder.exists()
    assert (uploads.names, uploads.index) == ([], None)
