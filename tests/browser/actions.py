"""Actions of a reader on the page."""

from playwright.sync_api import Locator, Page, expect
from serving import ANSWER_MS


def open_page(page: Page, url: str) -> None:
    page.goto(url, wait_until="domcontentloaded")
    expect(page.get_by_role("textbox", name="Your question")).to_be_visible()


def ask(page: Page, question: str) -> None:
    page.get_by_role("textbox", name="Your question").fill(question)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_test_id("user").last).to_have_text(question)


def answer(page: Page) -> Locator:
    """Wait until the newest answer is complete, and return it."""
    expect(page.get_by_role("button", name="Send")).to_be_visible(timeout=ANSWER_MS)
    return page.get_by_test_id("bot").last


def open_sidebar(page: Page) -> Locator:
    """Open the sidebar and return the list of conversations in it."""
    page.locator("#sidebar .toggle-button").click()
    conversations = page.locator("#conversations")
    expect(conversations).to_be_in_viewport()
    return conversations
