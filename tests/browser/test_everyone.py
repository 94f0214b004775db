"""Accessibility, languages, text directions, and small or dark screens."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from actions import answer, ask, open_page, open_sidebar
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from serving import ANSWER_MS, ROOT, Script, Served, served

BRIDGE = "How long is the harbour bridge of Lindow?"
PICTURES = Path(__file__).with_name("pictures")


def violations(page: Page) -> list[str]:
    """Return the serious and critical violations that axe-core finds, with their elements."""
    results = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in results
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_view_has_serious_accessibility_violations(page: Page, real: Served, theme: str) -> None:
    open_page(page, f"{real.url}?__theme={theme}")
    expect(page.locator("#status")).to_contain_text("4 articles indexed", timeout=ANSWER_MS)
    assert violations(page) == [], "on the empty page"
    ask(page, BRIDGE)
    expect(answer(page)).to_contain_text("412")
    ask(page, "Which chess opening does the grandmaster prefer?")
    expect(answer(page)).to_contain_text("Not answered")
    assert violations(page) == [], "with answers"
    page.get_by_role("button", name="Read the full article").last.click()
    expect(page.locator("#reader article")).to_be_visible()
    page.get_by_role("tab", name="Articles").click()
    expect(page.locator("#found tbody tr")).to_have_count(4)
    open_sidebar(page)
    assert violations(page) == [], "with an article, the articles and the conversations"


def test_the_page_is_in_the_language_that_the_browser_asks_for(
    browser: Browser, real: Served
) -> None:
    page = browser.new_page(locale="de-DE")
    page.goto(real.url)
    question = page.get_by_role("textbox", name="Deine Frage")
    expect(page.locator("#heading")).to_contain_text("Antworten nur auf Grundlage der Artikel")
    question.fill("Which chess opening does the grandmaster prefer?")
    page.get_by_role("button", name="Senden").click()
    expect(page.get_by_test_id("bot")).to_contain_text("Nicht beantwortet", timeout=ANSWER_MS)
    expect(page.locator("#sources")).to_contain_text("Ähnlichste Textstellen")
    expect(page.get_by_test_id("user")).to_have_attribute("aria-label", "Du")
    page.get_by_role("button", name="Feedback").hover()
    page.get_by_role("button", name="Die Artikel enthalten die Antwort doch").click()
    expect(page.get_by_text("Feedback gespeichert in")).to_be_visible()
    page.get_by_role("tab", name="Artikel").click()
    expect(page.get_by_label("Sortieren nach")).to_have_value("Neueste zuerst")
    expect(page.locator("#found tbody tr")).to_have_count(4)
    page.close()


def test_each_script_is_shown_in_its_own_direction(page: Page, tmp_path: Path) -> None:
    news, index = tmp_path / "news", tmp_path / "index"
    news.mkdir()
    (news / "arabic.txt").write_text("يبلغ طول جسر الميناء الجديد 412 مترا. افتتح الجسر يوم الأحد.")
    (news / "chinese.txt").write_text("新港大桥全长412米。大桥于周日通车。")
    command = [sys.executable, "-m", "rag", "index", str(news), "--index", str(index)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    with served(index, tmp_path) as server:
        open_page(page, server.url)
        page.get_by_role("tab", name="Articles").click()
        page.get_by_role("button", name="يبلغ").click()
        passage = page.locator("#reader .passage")
        expect(passage).to_contain_text("افتتح الجسر")
        assert passage.evaluate("p => getComputedStyle(p).direction") == "rtl"
        page.get_by_role("button", name="新港大桥").click()
        expect(passage).to_contain_text("通车")
        assert passage.evaluate("p => getComputedStyle(p).direction") == "ltr"


def test_nothing_is_animated_for_readers_who_prefer_reduced_motion(
    browser: Browser, real: Served
) -> None:
    page = browser.new_page(reduced_motion="reduce")
    open_page(page, real.url)
    ask(page, BRIDGE)
    answer(page).locator("a.marker").first.click()
    source = page.locator("#sources .source").first
    expect(source).to_be_focused()
    assert source.evaluate("s => getComputedStyle(s).animationName") == "none"
    page.close()


def test_the_page_fits_a_narrow_screen_in_light_and_dark_themes(page: Page, real: Served) -> None:
    PICTURES.mkdir(exist_ok=True)
    page.set_viewport_size({"width": 390, "height": 844})
    for theme in ("light", "dark"):
        open_page(page, f"{real.url}?__theme={theme}")
        if theme == "light":
            ask(page, BRIDGE)
        expect(answer(page)).to_contain_text("412")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.screenshot(path=PICTURES / f"phone-{theme}.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 800})
    page.wait_for_timeout(500)  # Gradio's buttons grow with an animation
    page.screenshot(path=PICTURES / "wide-dark.png")
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_text_typed_while_an_answer_streams_is_kept(page: Page, script: Script) -> None:
    draft = "The bridge is 412 metres long, " + ", ".join(f"and {n} more" for n in range(60)) + "."
    scripted = script(draft, 0.05)
    open_page(page, scripted.url)
    ask(page, BRIDGE)
    expect(page.get_by_test_id("bot")).to_contain_text("412 metres", timeout=ANSWER_MS)
    box = page.get_by_role("textbox", name="Your question")
    box.focus()
    start = time.monotonic()
    page.keyboard.type("Who was its architect, and what did it cost?")
    seconds = time.monotonic() - start
    expect(box).to_have_value("Who was its architect, and what did it cost?")
    assert seconds < 44 * 0.25, "a letter took more than a quarter of a second"
    expect(answer(page)).to_be_visible()
    expect(box).to_have_value("Who was its architect, and what did it cost?")
