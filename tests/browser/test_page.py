"""The chat page: asking, answers, sources, stopping, and what it shows without an index."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from actions import answer, ask, open_page
from playwright.sync_api import Browser, Page, expect
from serving import ANSWER_MS, ROOT, Script, Served, free_port, served

LONG_DRAFT = (
    "The bridge is 412 metres long, " + ", ".join(f"and {n} more" for n in range(100)) + "."
)


def test_the_page_is_served_while_the_models_are_still_loading(
    page: Page, index: Path, tmp_path: Path
) -> None:
    with served(index, tmp_path) as loading:
        open_page(page, loading.url)
        expect(page.locator("#status")).to_contain_text("Loading the models")
        ask(page, "How long is the harbour bridge of Lindow?")
        expect(page.get_by_test_id("bot")).to_contain_text("still loading")
        expect(answer(page)).to_contain_text("412")
        expect(page.locator("#status")).to_contain_text("4 articles indexed")


def test_an_answer_cites_a_source_with_the_quote_marked_in_its_passage(
    page: Page, real: Served
) -> None:
    open_page(page, real.url)
    ask(page, "How long is the harbour bridge of Lindow?")
    expect(answer(page)).to_contain_text("412")
    expect(answer(page).locator("a.marker").first).to_have_text("[1]")
    source = page.locator("#sources .source").first
    expect(source).to_contain_text("Harbour bridge of Lindow opens to traffic")
    expect(source).to_contain_text("2031-05-04 · Lindow Courier")
    expect(source.locator("mark")).to_contain_text("412 metres")
    expect(source.locator(".passage")).to_contain_text("Ferries will keep running")
    link = source.get_by_role("link", name="Open the original")
    expect(link).to_have_attribute("href", "https://courier.example/bridge")
    expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_clicking_a_marker_scrolls_to_its_source_without_leaving_the_page(
    page: Page, real: Served
) -> None:
    page.set_viewport_size({"width": 390, "height": 500})
    open_page(page, f"{real.url}?__theme=light")
    ask(page, "How long is the harbour bridge of Lindow?")
    marker = answer(page).locator("a.marker").first
    marker.scroll_into_view_if_needed()
    page.evaluate("scrollTo(0, 0)")
    quote = page.locator("#sources .source mark").first
    expect(quote).not_to_be_in_viewport()
    marker.click()
    expect(quote).to_be_in_viewport()
    expect(page.locator("#sources .source").first).to_be_focused()
    expect(page.get_by_test_id("user")).to_have_count(1)


def test_a_marker_of_an_earlier_answer_shows_the_sources_of_that_answer(
    page: Page, real: Served
) -> None:
    open_page(page, real.url)
    ask(page, "How long is the harbour bridge of Lindow?")
    first = answer(page).locator("a.marker").first
    expect(first).to_be_visible()
    ask(page, "Where was the lost globe made?")
    expect(answer(page)).to_contain_text("Antwerp")
    sources = page.locator("#sources section:visible")
    expect(sources).to_contain_text("Museum finds a lost globe")
    page.get_by_test_id("bot").first.locator("a.marker").first.click()
    expect(sources.locator(".source").first).to_contain_text("Harbour bridge")


def test_a_question_that_the_articles_do_not_answer_is_refused_with_the_closest_passages(
    page: Page, real: Served
) -> None:
    open_page(page, real.url)
    ask(page, "Which chess opening does the grandmaster prefer?")
    expect(answer(page)).to_contain_text("Not answered")
    expect(answer(page)).to_contain_text("do not seem to answer")
    sources = page.locator("#sources section:visible")
    expect(sources.get_by_role("heading", level=2)).to_have_text("Closest passages")
    expect(sources.locator("details[open] .passage")).to_be_visible()


def test_small_talk_is_answered_without_a_search(page: Page, real: Served) -> None:
    open_page(page, real.url)
    ask(page, "Thanks!")
    expect(answer(page)).to_contain_text("You are welcome")
    expect(answer(page)).not_to_contain_text("written sentences")
    expect(page.locator("#sources .none")).to_be_visible()


def test_a_draft_is_shown_as_unchecked_and_unsupported_sentences_are_struck_out(
    page: Page, script: Script
) -> None:
    draft = "The bridge is 412 metres long. It was painted by Rembrandt."
    scripted = script(draft, 0.4)
    open_page(page, scripted.url)
    ask(page, "How long is the harbour bridge of Lindow?")
    expect(page.get_by_test_id("bot")).to_contain_text(
        "Each sentence is checked", timeout=ANSWER_MS
    )
    expect(answer(page).locator(".text")).to_contain_text("The bridge is 412 metres long. [1]")
    expect(answer(page).locator("blockquote")).to_contain_text(
        "“The harbour bridge of Lindow is 412 metres"
    )
    expect(answer(page)).to_contain_text("1 of 2 written sentences supported")
    rejected = answer(page).locator("details.struck")
    expect(rejected.locator("s")).to_be_hidden()
    rejected.locator("summary").click()
    expect(rejected.locator("s")).to_have_text("It was painted by Rembrandt.")
    expect(rejected.locator("li")).to_contain_text("“Rembrandt” does not stand there")


def test_the_readers_answer_that_replaces_a_draft_is_labelled_and_quoted(
    page: Page, script: Script
) -> None:
    scripted = script("It was painted by Rembrandt.", 0.05)
    open_page(page, scripted.url)
    ask(page, "How long is the harbour bridge of Lindow?")
    expect(answer(page)).to_contain_text("Checked: the articles say this")
    expect(answer(page).locator(".text")).to_contain_text("412 metres")
    expect(answer(page).locator("blockquote")).to_contain_text(
        "“The harbour bridge of Lindow is 412"
    )


def test_stop_stops_the_generator_and_the_next_question_is_answered(
    page: Page, script: Script
) -> None:
    scripted = script(LONG_DRAFT, 0.1)
    open_page(page, scripted.url)
    ask(page, "How long is the harbour bridge of Lindow?")
    expect(page.get_by_test_id("bot")).to_contain_text("The bridge is 412", timeout=ANSWER_MS)
    page.get_by_role("button", name="Stop").click()
    expect(answer(page)).to_contain_text("Stopped.")
    time.sleep(1)
    text, words = answer(page).inner_text(), scripted.words()
    time.sleep(2)
    assert (answer(page).inner_text(), scripted.words()) == (text, words)
    ask(page, "Which chess opening does the grandmaster prefer?")
    expect(answer(page)).to_contain_text("Not answered")


def test_after_stopping_during_the_search_the_next_question_is_answered(
    page: Page, real: Served
) -> None:
    open_page(page, real.url)
    ask(page, "Where was the lost globe made?")
    expect(answer(page)).to_contain_text("Antwerp")
    ask(page, "How long is the harbour bridge of Lindow?")
    page.get_by_role("button", name="Stop").click()
    expect(answer(page)).to_contain_text(re.compile("Stopped|No answer:"))
    start = time.monotonic()
    ask(page, "Where was the lost globe made?")
    expect(answer(page)).to_contain_text("Antwerp")
    assert time.monotonic() - start < 20


def test_closing_the_tab_stops_the_generator(page: Page, script: Script) -> None:
    scripted = script(LONG_DRAFT, 0.1)
    open_page(page, scripted.url)
    ask(page, "How long is the harbour bridge of Lindow?")
    expect(page.get_by_test_id("bot")).to_contain_text("The bridge is 412", timeout=ANSWER_MS)
    page.goto("about:blank")
    time.sleep(1)
    words = scripted.words()
    time.sleep(2)
    assert scripted.words() == words


def test_an_example_question_can_be_asked_and_a_new_chat_shows_the_examples_again(
    page: Page, script: Script
) -> None:
    scripted = script("The bridge is 412 metres long.", 0.05)
    open_page(page, scripted.url)
    example = page.get_by_role("button", name="Frost spoils the pear harvest")
    example.click()
    expect(answer(page)).to_be_visible()
    expect(page.get_by_test_id("user")).to_contain_text("Frost spoils the pear harvest")
    expect(example).to_have_count(0)
    page.get_by_role("button", name="New chat").click()
    expect(example).to_be_visible()
    expect(page.get_by_test_id("user")).to_have_count(0)
    expect(page.locator("#sources")).to_contain_text("appear here")


def test_markup_in_an_article_a_draft_or_a_question_is_shown_as_text(
    page: Page, script: Script
) -> None:
    draft = "<img src=http://evil.example/d.png> ![x](http://evil.example/d2.png) <b>bold</b> " * 3
    scripted = script(draft, 0.3)
    open_page(page, scripted.url)
    question = "How tall is the Zebulon lighthouse <img src=http://evil.example/q.png>?"
    ask(page, question)
    reply = page.get_by_test_id("bot")
    expect(reply).to_contain_text("<b>bold</b>", timeout=ANSWER_MS)
    expect(answer(page)).to_contain_text("“The Zebulon lighthouse is 37 metres tall")
    source = page.locator("#sources .source").first
    expect(source).to_contain_text('<img src="http://evil.example/title.png"')
    expect(source).to_contain_text('<script src="http://evil.example/source.js">')
    expect(source).to_contain_text("![picture](http://evil.example/markdown.png)")
    expect(source).to_contain_text("${document.title=3} {{value}} $$x^2$$")
    expect(source.get_by_role("link")).to_have_count(0)
    expect(page.locator("#chat img, #sources img, #chat b, #sources b")).to_have_count(0)
    expect(page).to_have_title("Footnote")


def test_without_an_index_the_page_says_how_to_build_one(page: Page, without_index: Served) -> None:
    open_page(page, without_index.url)
    expect(page.locator("#status")).to_contain_text("There is no index in")
    expect(page.locator("#status")).to_contain_text("rag index")
    ask(page, "How long is the harbour bridge of Lindow?")
    expect(answer(page)).to_contain_text("rag index")


def test_an_open_page_picks_up_a_new_index_and_its_updates_without_a_restart(
    page: Page, tmp_path: Path
) -> None:
    news, index = tmp_path / "news", tmp_path / "index"
    news.mkdir()
    with served(index, tmp_path) as without_index:
        open_page(page, without_index.url)
        expect(page.locator("#status")).to_contain_text("There is no index in")
        (news / "globe.txt").write_text("The lost globe was made in Antwerp in 1622.")
        rag_index(news, index)
        ask(page, "Where was the lost globe made?")
        expect(answer(page)).to_contain_text("Antwerp")
        expect(page.locator("#status")).to_contain_text("1 article indexed")
        (news / "bridge.txt").write_text("The harbour bridge of Lindow is 412 metres long.")
        (news / "globe.txt").unlink()
        rag_index(news, index)
        ask(page, "How long is the harbour bridge of Lindow?")
        expect(answer(page)).to_contain_text("412")
        page.get_by_role("button", name="New chat").click()
        ask(page, "Where was the lost globe made?")
        expect(answer(page)).to_contain_text("Not answered")
        expect(page.locator("#sources section:visible")).not_to_contain_text("Antwerp")
        page.get_by_role("button", name="New chat").click()
        expect(page.get_by_role("button", name="412 metres long")).to_be_visible()
        expect(page.get_by_role("button", name="lost globe")).to_have_count(0)


def rag_index(source: Path, index: Path) -> None:
    command = [sys.executable, "-m", "rag", "index", str(source), "--index", str(index)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)


def test_a_queued_question_can_be_cancelled(page: Page, browser: Browser, script: Script) -> None:
    scripted = script(LONG_DRAFT, 0.1)
    open_page(page, scripted.url)
    other = browser.new_page()
    open_page(other, scripted.url)
    ask(page, "How long is the harbour bridge of Lindow?")
    expect(page.get_by_test_id("bot")).to_contain_text("The bridge is 412", timeout=ANSWER_MS)
    ask(other, "Where was the lost globe made?")
    other.get_by_role("button", name="Stop").click()
    expect(answer(other)).to_contain_text("No answer: the question was stopped")
    ask(other, "Which chess opening does the grandmaster prefer?")
    page.get_by_role("button", name="Stop").click()
    expect(answer(page)).to_contain_text("Stopped.")
    expect(answer(other)).to_contain_text("Not answered")


def test_a_port_in_use_is_reported_in_one_line(real: Served) -> None:
    port = re.findall(r":(\d+)/", real.url)[0]
    command = [sys.executable, "-m", "rag", "chat", "--port", port]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr == f"rag: Port {port} is in use. Choose another with --port or RAG_PORT.\n"


def test_ctrl_c_stops_the_server_without_a_message(index: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "rag", "chat", "--index", str(index), "--port", str(port)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background may ignore Ctrl-C, and the server would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        line = f"Footnote is on http://127.0.0.1:{port} (Ctrl-C stops it).\n"
        assert process.stdout.readline() == line
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == 0
