"""Conversations: editing, retrying, storing in the browser, and downloading."""

import json
from urllib.parse import unquote

from actions import answer, ask, open_page, open_sidebar
from playwright.sync_api import Browser, Page, expect
from serving import Served

BRIDGE = "How long is the harbour bridge of Lindow?"
GLOBE = "Where was the lost globe made?"


def test_editing_an_earlier_question_drops_the_turns_after_it(page: Page, real: Served) -> None:
    open_page(page, real.url)
    ask(page, "How long is the harbour bridge of Atlantis & Lindow?")
    expect(answer(page)).to_be_visible()
    ask(page, GLOBE)
    expect(answer(page)).to_contain_text("Antwerp")
    page.get_by_role("button", name="Edit").first.click()
    page.locator("#chat textarea").fill(BRIDGE)
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_test_id("user")).to_have_count(1)
    expect(page.get_by_test_id("user")).to_have_text(BRIDGE)
    expect(answer(page)).to_contain_text("412")


def test_retry_asks_the_last_question_again(page: Page, real: Served) -> None:
    open_page(page, real.url)
    ask(page, BRIDGE)
    expect(answer(page)).to_contain_text("412")
    page.get_by_role("button", name="Retry").click()
    expect(answer(page)).to_contain_text("412")
    expect(page.get_by_test_id("user")).to_have_count(1)


def test_a_conversation_is_restored_after_a_reload_and_can_be_continued(
    page: Page, real: Served
) -> None:
    open_page(page, real.url)
    ask(page, BRIDGE)
    expect(answer(page)).to_contain_text("412")
    wait_until_stored(page)
    page.reload()
    expect(page.get_by_test_id("user")).to_have_text(BRIDGE)
    expect(page.get_by_test_id("bot")).to_contain_text("412 metres")
    expect(page.locator("#sources .source mark").first).to_contain_text("412 metres")
    ask(page, "Who was its architect?")
    expect(answer(page)).to_contain_text("Mira Solberg")
    expect(answer(page)).to_contain_text("Interpreted as:")


def test_conversations_are_stored_opened_and_deleted(page: Page, real: Served) -> None:
    open_page(page, real.url)
    ask(page, BRIDGE)
    expect(answer(page)).to_contain_text("412")
    page.get_by_role("button", name="New chat").click()
    expect(page.get_by_test_id("user")).to_have_count(0)
    ask(page, GLOBE)
    expect(answer(page)).to_contain_text("Antwerp")
    conversations = open_sidebar(page)
    expect(conversations.locator("li")).to_have_count(2)
    conversations.get_by_role("button", name=BRIDGE, exact=True).click()
    expect(page.get_by_test_id("user")).to_have_text(BRIDGE)
    conversations.get_by_role("button", name=f"Delete “{BRIDGE}”").click()
    expect(conversations.locator("li")).to_have_count(1)
    expect(page.get_by_test_id("user")).to_have_count(0)
    page.reload()
    expect(page.get_by_test_id("user")).to_have_text(GLOBE)


def test_two_tabs_keep_each_others_conversations(page: Page, real: Served) -> None:
    other = page.context.new_page()
    open_page(page, real.url)
    ask(page, "Thanks!")
    wait_until_stored(page)
    open_page(other, real.url)
    other.get_by_role("button", name="New chat").click()
    ask(other, GLOBE)
    expect(answer(other)).to_contain_text("Antwerp")
    wait_until_stored(other)
    page.get_by_role("button", name="New chat").click()
    ask(page, BRIDGE)
    expect(answer(page)).to_contain_text("412")
    wait_until_stored(page)
    page.reload()
    conversations = open_sidebar(page)
    for question in (GLOBE, BRIDGE, "Thanks!"):
        expect(conversations.get_by_role("button", name=question, exact=True)).to_be_visible()
    other.close()


def test_a_conversation_is_downloaded_as_markdown_and_as_json(page: Page, real: Served) -> None:
    open_page(page, real.url)
    ask(page, BRIDGE)
    expect(answer(page)).to_contain_text("412")
    conversations = open_sidebar(page)
    markdown = conversations.get_by_role("link", name="Markdown").get_attribute("href")
    assert "[^1-1]: “The harbour bridge of Lindow is 412 metres long" in unquote(markdown or "")
    with page.expect_download() as download:
        conversations.get_by_role("link", name="JSON").click()
    assert download.value.suggested_filename == "conversation.json"
    (turn,) = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert turn["question"] == BRIDGE
    assert turn["citations"][0]["article_id"] == "bridge.md"


def test_suggested_follow_up_questions_can_be_answered_from_the_articles(
    page: Page, real: Served
) -> None:
    open_page(page, real.url)
    ask(page, "How tall is the Zebulon lighthouse?")
    expect(answer(page)).to_contain_text("37")
    page.get_by_role("button", name="What is known about Anselm Quist?").click()
    expect(page.get_by_test_id("user")).to_have_count(2)
    expect(answer(page)).to_contain_text("Anselm Quist")
    expect(answer(page).locator(".refused")).to_have_count(0)


def test_readers_do_not_see_each_others_conversations(
    page: Page, browser: Browser, real: Served
) -> None:
    open_page(page, real.url)
    ask(page, GLOBE)
    expect(answer(page)).to_contain_text("Antwerp")
    stranger = browser.new_page()
    open_page(stranger, real.url)
    expect(stranger.get_by_test_id("user")).to_have_count(0)
    expect(open_sidebar(stranger)).to_contain_text("stored here, in this browser.")
    stranger.close()


def wait_until_stored(page: Page) -> None:
    """Wait until the browser has stored the last question."""
    question = page.get_by_test_id("user").last.inner_text()
    expect(page.locator("#conversations")).to_contain_text(question)
    page.wait_for_function("localStorage.getItem('footnote') !== null")
    page.wait_for_timeout(500)


def test_markup_edited_into_a_question_is_shown_as_text_and_loads_nothing(
    page: Page, real: Served
) -> None:
    open_page(page, real.url)
    ask(page, "Thanks!")
    expect(answer(page)).to_contain_text("You are welcome")
    markup = "<img src=http://evil.example/edited.png> & <b>bold</b>?"
    page.get_by_role("button", name="Edit").first.click()
    page.locator("#chat textarea").fill(markup)
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_test_id("user")).to_have_text(markup)
    expect(page.locator("#chat img, #chat b")).to_have_count(0)
    expect(answer(page)).to_be_visible()
    page.get_by_role("button", name="Edit").first.click()
    page.locator("#chat textarea").press("End")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_test_id("user")).to_have_text(markup)
