"""Startup time of the chat page: `python benchmarks/page.py INDEX [--starts N]`. Needs Chromium.

Starts the server and opens the page in a browser with an empty cache, several times. Prints the seconds
until the server is up, and from then on until the first paint, until the question can be typed, and
until the models are loaded.
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
        measurements = [measure_start(browser, index) for _ in range(starts)]
    rows = [row("median", [median(column) for column in zip(*measurements, strict=True)])]
    print(
        table(
            ["start", *COLUMNS],
            [*(row(str(n), measurement) for n, measurement in enumerate(measurements, 1)), *rows],
        )
    )


def measure_start(browser: Browser, index: Path) -> list[float]:
    """Start the server once, and return the seconds of COLUMNS."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [sys.executable, "-m", "rag", "chat", "--index", str(index), "--port", str(port)]
    started_at = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        up_at = time.perf_counter()
        page = browser.new_context().new_page()
        page.goto(f"http://127.0.0.1:{port}/", wait_until="commit")
        navigated_at = time.perf_counter()
        page.get_by_role("textbox", name="Your question").wait_for(timeout=60_000)
        typeable_at = time.perf_counter()
        paint_s = navigated_at - up_at + page.evaluate(FIRST_PAINT) / 1000
        page.locator("#status .ready").wait_for(timeout=120_000)
        loaded_at = time.perf_counter()
        page.context.close()
        process.kill()
    return [up_at - started_at, paint_s, typeable_at - up_at, loaded_at - up_at]


def row(name: str, seconds: Sequence[float]) -> list[str]:
    return [name, *(f"{value:.2f} s" for value in seconds)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("--starts", type=int, default=5)
    arguments = parser.parse_args()
    main(arguments.index, arguments.starts)
