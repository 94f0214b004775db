"""A page in German is in German throughout, but for the words of articles and questions."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from serving import ANSWER_MS, Served, served

BRIDGE = "How long is the harbour bridge of Lindow?"
FALSE_DRAFT = "The harbour bridge of Lindow is 512 metres long."


@pytest.fixture(scope="module")
def scripted(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page with a generator whose draft is contradicted by an article."""
    folder = tmp_path_factory.mktemp("language")
    settings = {"RAG_UPLOADS": "1"}
    with served(index, folder, draft=FALSE_DRAFT, pause=0, settings=settings) as page:
        yield page


@pytest.fixture
def german(browser: Browser, scripted: Served) -> Iterator[Page]:
    context = browser.new_context(locale="de-DE", viewport={"width": 1280, "height": 800})
    context.set_default_timeout(ANSWER_MS)
    page = context.new_page()
    page.goto(scripted.url, wait_until="domcontentloaded")
    yield page
    context.close()


def answer_to(page: Page, question: str) -> Locator:
    """Ask a question, and return the complete answer."""
    page.get_by_role("textbox", name="Deine Frage").fill(question)
    page.get_by_role("button", name="Senden").click()
    expect(page.get_by_test_id("user").last).to_have_text(question)
    expect(page.get_by_role("button", name="Senden")).to_be_visible()
    return page.get_by_test_id("bot").last


def test_a_quotation_and_the_reason_for_a_rejected_sentence_are_in_german(german: Page) -> None:
    answer = answer_to(german, BRIDGE)
    expect(answer.locator(".text")).to_contain_text("412")
    answer.locator("summary").first.click()
    expect(answer.locator("li")).to_have_text(
        f"{FALSE_DRAFT} nicht belegt: „512“ kommt dort nicht vor"
    )
    quotation = answer_to(german, "How was the missing globe found?").locator(".text")
    expect(quotation).to_contain_text(re.compile(r"„.+“"))
    expect(quotation).not_to_contain_text("says")


def test_a_refusal_and_the_suggested_questions_are_in_german(german: Page) -> None:
    examples = german.locator("#examples button:visible")
    expect(examples.first).to_have_text("„Harbour bridge of Lindow opens to traffic“: Details?")
    question = "Which chess opening does the grandmaster prefer?"
    text = answer_to(german, question).locator(".text")
    expect(text).to_contain_text(f"Die Artikel scheinen „{question}“ nicht zu beantworten.")
    expect(text).not_to_contain_text("Nearest")


def test_a_reply_to_small_talk_is_in_german(german: Page) -> None:
    expect(answer_to(german, "Hallo")).to_contain_text("Hallo! Stell eine Frage zu den Artikeln.")
    expect(answer_to(german, "What can you do?")).to_contain_text("Fragen zu den 4 Artikeln")


def test_the_reason_for_which_a_file_is_skipped_is_in_german(german: Page, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    german.get_by_role("button", name="Eigene Dateien").click()
    german.locator("#uploads input[type=file]").set_input_files(picture)
    uploads = german.locator("#dropped")
    expect(uploads).to_contain_text("Aus diesen Dateien konnte kein Artikel gelesen werden.")
    expect(uploads).to_contain_text(
        "picture.png übersprungen: das Format .png wird nicht unterstützt; unterstützt werden .txt"
    )


def test_an_error_is_in_german(browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page(locale="de-DE")
    with served(tmp_path / "none", tmp_path) as server:
        page.goto(server.url, wait_until="domcontentloaded")
        error = f"In {tmp_path / 'none'} ist kein Index. Erstelle ihn mit `rag index`."
        expect(page.locator("#status")).to_contain_text(error, timeout=ANSWER_MS)
        expect(answer_to(page, BRIDGE)).to_contain_text(error, timeout=ANSWER_MS)
    page.close()
