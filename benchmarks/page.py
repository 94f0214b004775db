"""How soon the page is there: `python benchmarks/page.py INDEX [--starts N]`. Needs Chromium.

Starts the page anew each time, opens it in a browser that has nothing of it yet, and prints the seconds
until the server is up, and from then on until something is painted, the question can be typed and the
models are loaded.
"""

import argparse
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from common import table
from playwright.sync_api import Browser, sync_playwright

COLUMNS = ("server up", "first contentful paint", "question can be typed", "models loaded")
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def main(index: Path, starts: int) -> None:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        measured = [started(browser, index) for _ in range(starts)]
    rows = [row("median", [median(column) for column in zip(*measured, strict=True)])]
    print(table(["start", *COLUMNS], [*(row(str(n), m) for n, m in enumerate(measured, 1)), *rows]))


def started(browser: Browser, index: Path) -> list[float]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "rag", "chat", "--index", str(index), "--port", str(port)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        up = time.perf_counter()
        page = browser.new_context().new_page()
        page.goto(f"http://127.0.0.1:{port}/", wait_until="commit")
        begun = time.perf_counter()
        page.get_by_role("textbox", name="Your question").wait_for(timeout=60_000)
        typed = time.perf_counter()
        painted = begun - up + page.evaluate(FIRST_PAINT) / 1000
        page.locator("#status .ready").wait_for(timeout=120_000)
        loaded = time.perf_counter()
        page.context.close()
        process.kill()
    return [up - began, painted, typed - up, loaded - up]


def row(name: str, seconds: Sequence[float]) -> list[str]:
    return [name, *(f"{value:.2f} s" for value in seconds)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("--starts", type=int, default=5)
    arguments = parser.parse_args()
    main(arguments.index, arguments.starts)
