"""Takes the README's screenshot of the page: `python tests/browser/screenshot.py`. Needs Chromium."""

import shutil
import tempfile
from pathlib import Path

from actions import answer, ask, open_page
from playwright.sync_api import expect, sync_playwright
from serving import ANSWER_MS, ROOT, served

SCREENSHOT = ROOT / "docs" / "screenshot.png"


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        served(ROOT / "index", Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        executable = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 760}, device_scale_factor=1.5)
        page.set_default_timeout(ANSWER_MS)
        open_page(page, f"{server.url}?__theme=light")
        expect(page.locator("#status")).to_contain_text("indexed", timeout=ANSWER_MS)
        ask(page, "How long did the Ever Given block the canal?")
        marker = answer(page).locator("a.marker").first
        expect(marker).to_be_visible()
        expect(page.locator("#examples button").first).to_be_visible()
        marker.hover()
        page.screenshot(path=SCREENSHOT)
        browser.close()


if __name__ == "__main__":
    main()
