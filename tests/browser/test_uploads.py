"""The reader's own files, where the owner allows uploads."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from actions import answer, ask, open_page
from playwright.sync_api import Browser, Page, expect
from serving import ANSWER_MS, Served, served

QUESTION = "Who is the captain of the Albatross?"
NOTE = "The Albatross left the harbour of Lindow at noon. Its captain is Runa Holm, aged 41."


@pytest.fixture(scope="module")
def with_uploads(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("uploads")
    with served(index, folder, settings={"RAG_UPLOADS": "1"}) as page:
        yield page


def add(page: Page, *files: Path) -> None:
    uploads = page.get_by_role("button", name="Your own files")
    if (
        uploads.get_attribute("aria-expanded") != "true"
        and not page.locator("#uploads input").count()
    ):
        uploads.click()
    page.locator("#uploads input[type=file]").set_input_files(files)


def test_an_uploaded_file_is_searched_until_it_is_removed(
    page: Page, with_uploads: Served, tmp_path: Path
) -> None:
    note, picture = tmp_path / "note.txt", tmp_path / "picture.png"
    note.write_text(NOTE)
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    open_page(page, with_uploads.url)
    expect(page.locator("#status")).to_contain_text("indexed", timeout=ANSWER_MS)
    ask(page, QUESTION)
    expect(answer(page)).to_contain_text("Not answered")
    add(page, note, picture)
    expect(page.locator("#dropped")).to_contain_text("1 article added from your files")
    ask(page, QUESTION)
    expect(answer(page)).to_contain_text("Runa Holm")
    page.get_by_role("button", name="Read the full article").first.click()
    expect(page.locator("#reader")).to_contain_text("left the harbour of Lindow")
    page.get_by_role("button", name="Remove note.txt").click()
    expect(page.get_by_role("button", name="Remove note.txt")).to_have_count(0)
    ask(page, QUESTION)
    expect(answer(page)).to_contain_text("Not answered")


def test_uploaded_files_are_not_visible_to_other_readers(
    page: Page, browser: Browser, with_uploads: Served, tmp_path: Path
) -> None:
    note = tmp_path / "note.txt"
    note.write_text(NOTE)
    open_page(page, with_uploads.url)
    expect(page.locator("#status")).to_contain_text("indexed", timeout=ANSWER_MS)
    add(page, note)
    expect(page.locator("#dropped")).to_contain_text("added from your files")
    stranger = browser.new_page()
    open_page(stranger, with_uploads.url)
    ask(stranger, QUESTION)
    expect(answer(stranger)).to_contain_text("Not answered")
    expect(stranger.locator("#aside")).not_to_contain_text("Runa Holm")
    stranger.close()


def test_a_file_that_cannot_be_read_is_listed(
    page: Page, with_uploads: Served, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7 nothing of the kind")
    open_page(page, with_uploads.url)
    expect(page.locator("#status")).to_contain_text("indexed", timeout=ANSWER_MS)
    add(page, broken)
    expect(page.locator("#dropped")).to_contain_text("broken.pdf")


def test_uploads_are_refused_unless_the_owner_allows_them(page: Page, real: Served) -> None:
    open_page(page, real.url)
    expect(page.get_by_role("button", name="Your own files")).to_have_count(0)
    response = page.request.post(
        f"{real.url}gradio_api/upload",
        multipart={"files": {"name": "a.txt", "mimeType": "text/plain", "buffer": b"x" * 4000}},
    )
    assert response.status == 413


def test_urls_sent_by_a_client_are_not_fetched(page: Page, real: Served) -> None:
    for path in (
        "file=http://evil.example/x",
        "file=https:/evil.example/x",
        "proxy=http://evil.example",
    ):
        assert page.request.get(f"{real.url}gradio_api/{path}").status == 403
    remote_file = {"path": "http://evil.example/x", "meta": {"_type": "gradio.FileData"}}
    for number in range(3):
        body = {"data": [remote_file] * 3, "fn_index": number, "session_hash": "abc"}
        page.request.post(f"{real.url}gradio_api/run/predict", data=body)
    assert not real.written.with_name("left").exists()
