"""From an answer to its sources, the article list, copying an answer, and feedback."""

from pathlib import Path

from actions import answer, ask, open_page
from playwright.sync_api import Page, expect
from serving import Served

BRIDGE = "How long is the harbour bridge of Lindow?"


def test_a_marker_shows_its_quote_on_hover_and_on_focus(page: Page, real: Served) -> None:
    open_page(page, real.url)
    ask(page, BRIDGE)
    marker = answer(page).locator("a.marker").first
    tooltip = page.get_by_role("tooltip")
    expect(tooltip).to_be_hidden()
    marker.hover()
    expect(tooltip).to_contain_text("The harbour bridge of Lindow is 412 metres long")
    expect(tooltip).to_contain_text("Harbour bridge of Lindow opens to traffic")
    page.keyboard.press("Escape")
    expect(tooltip).to_be_hidden()
    page.mouse.move(0, 0)
    marker.focus()
    expect(tooltip).to_be_visible()
    expect(marker).to_have_attribute("aria-describedby", "peek")


def test_a_citation_leads_to_the_full_article_and_back(page: Page, real: Served) -> None:
    open_page(page, real.url)
    ask(page, BRIDGE)
    answer(page).locator("a.marker").first.click()
    source = page.locator("#sources .source").first
    expect(source).to_be_focused()
    quote = source.locator("mark").inner_text()
    source.get_by_role("button", name="Read the full article").click()
    reader = page.locator("#reader")
    expect(reader.get_by_role("heading")).to_have_text("Harbour bridge of Lindow opens to traffic")
    expect(reader).to_contain_text("Ferries will keep running")
    expect(reader.locator("mark")).to_have_text(quote)
    expect(reader.locator("mark")).to_be_in_viewport()
    expect(page.locator("#sources")).to_be_hidden()
    reader.get_by_role("button", name="Back").click()
    expect(page.locator("#sources .source").first).to_be_visible()
    expect(reader).to_be_hidden()


def test_clicking_a_marker_while_an_article_is_open_shows_its_source(
    page: Page, real: Served
) -> None:
    open_page(page, real.url)
    ask(page, BRIDGE)
    expect(answer(page).locator("a.marker").first).to_be_visible()
    page.get_by_role("button", name="Read the full article").first.click()
    expect(page.locator("#reader mark")).to_be_visible()
    answer(page).locator("a.marker").first.click()
    expect(page.locator("#sources .source").first).to_be_focused()


def test_asking_and_following_a_citation_need_only_the_keyboard(page: Page, real: Served) -> None:
    open_page(page, real.url)
    expect(page.get_by_role("textbox", name="Your question")).to_be_focused()
    page.keyboard.type(BRIDGE)
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("user")).to_have_count(1)
    marker = answer(page).locator("a.marker").first
    expect(marker).to_be_visible()
    for _ in range(40):
        page.keyboard.press("Shift+Tab")
        if marker.evaluate("marker => marker === document.activeElement"):
            break
    expect(marker).to_be_focused()
    page.keyboard.press("Enter")
    source = page.locator("#sources .source").first
    expect(source).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#reader article")).to_be_focused()


def test_an_answer_is_copied_as_markdown_with_footnotes(page: Page, real: Served) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_page(page, real.url)
    ask(page, BRIDGE)
    answer(page).get_by_role("link", name="Copy").click()
    expect(answer(page).get_by_role("link", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"**{BRIDGE}**")
    assert "412 metres" in copied.split("[^1]:")[0]
    assert "[^1]: “The harbour bridge of Lindow is 412 metres long" in copied
    assert "2031-05-04, Lindow Courier, <https://courier.example/bridge>" in copied


def test_the_articles_are_listed_sorted_searched_and_read(page: Page, real: Served) -> None:
    open_page(page, real.url)
    page.get_by_role("tab", name="Articles").click()
    rows = page.locator("#found tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.first).to_contain_text("Harbour bridge of Lindow opens to traffic")
    page.get_by_label("Sort by").click()
    page.get_by_role("option", name="Oldest first").click()
    expect(rows.first).to_contain_text("Zebulon lighthouse")
    page.get_by_label("Search the articles").fill("pears")
    expect(rows).to_have_count(1)
    rows.first.get_by_role("button", name="Frost spoils the pear harvest").click()
    expect(page.locator("#reader")).to_contain_text("A night of frost has spoiled")
    page.get_by_label("Search the articles").fill("no such words")
    expect(page.locator("#found")).to_contain_text("No articles found.")


def test_a_question_can_be_restricted_by_source_and_date(page: Page, real: Served) -> None:
    open_page(page, real.url)
    page.get_by_role("button", name="Filter by source or date").click()
    filter_fields = page.locator("#scope")
    filter_fields.get_by_label("To").fill("2031-04")
    ask(page, BRIDGE)
    expect(answer(page)).to_contain_text("Not answered")
    filter_fields.get_by_label("To").fill("")
    filter_fields.get_by_label("Sources").click()
    page.get_by_role("option", name="Lindow Courier").click()
    ask(page, "Where was the lost globe made?")
    expect(answer(page)).to_contain_text("Not answered")
    ask(page, BRIDGE)
    expect(answer(page)).to_contain_text("412")


def test_feedback_is_saved_as_a_question_that_eval_reads(page: Page, real: Served) -> None:
    from rag.evaluation.dataset import read_eval_questions

    open_page(page, real.url)
    ask(page, BRIDGE)
    expect(answer(page)).to_contain_text("412")
    page.get_by_role("button", name="Like", exact=True).click()
    expect(page.get_by_text("Feedback saved to")).to_be_visible()
    ask(page, "Where was the lost globe made?")
    expect(answer(page)).to_contain_text("Antwerp")
    page.get_by_role("button", name="Feedback").last.hover()
    page.get_by_role("button", name="The articles do not say this").last.click()
    expect(page.get_by_text("Feedback saved to")).to_have_count(2)
    *_, liked, refused = read_eval_questions(Path(real.written).with_name("feedback.jsonl"))
    assert liked.question.text == BRIDGE
    assert list(liked.relevance) == ["bridge.md"]
    assert refused.unanswerable
    assert refused.question.history[0]["content"] == BRIDGE
