"""What whoever runs the page learns of it: the log on stderr, and the numbers at /metrics."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from gradio_client import Client
from playwright.sync_api import Page, expect
from serving import ANSWER_MS, START_S, Served

WORD = "quuxwocket"
BRIDGE = f"How long is the harbour bridge of Lindow, {WORD}?"
ELSEWHERE = f"Who won the chess world cup in Baku, {WORD}?"
HELD = ("412 metres", "Mira Solberg", "Antwerp", "bridge.md", "Lindow Courier")


def until(true: Callable[[], Any], most_s: float = 60) -> None:
    ended = time.monotonic() + most_s
    while not true():
        assert time.monotonic() < ended
        time.sleep(0.1)


def is_ready(page: Served) -> bool:
    return httpx.get(f"{page.url}readyz").status_code == 200


def asked_v1(page: Served, question: str) -> dict[str, Any]:
    body = {"model": "footnote", "messages": [{"role": "user", "content": question}]}
    answer = httpx.post(f"{page.url}v1/chat/completions", json=body, timeout=120)
    return answer.json()["footnote"]


def lines(page: Served, before: int) -> list[dict[str, Any]]:
    """What the log holds from that character on."""
    written = page.output.read_text()[before:]
    return [json.loads(line) for line in written.splitlines() if line.startswith("{")]


@pytest.fixture
def ready(real: Served) -> Served:
    until(lambda: is_ready(real), START_S)
    return real


# -- the log


def test_every_face_leaves_a_line_a_question_and_none_of_them_says_what_was_asked(
    ready: Served, page: Page
) -> None:
    before = len(ready.output.read_text())
    answer = Client(ready.url, verbose=False, analytics_enabled=False).predict(
        BRIDGE, api_name="/ask"
    )
    assert answer["answered"]
    assert not asked_v1(ready, ELSEWHERE)["answered"]
    page.goto(ready.url)
    page.get_by_test_id("textbox").first.fill(BRIDGE)
    page.get_by_test_id("textbox").first.press("Enter")
    expect(page.get_by_test_id("bot").first).to_contain_text("412 metres", timeout=ANSWER_MS)
    until(lambda: len(lines(ready, before)) == 3)
    told = lines(ready, before)
    assert [line["face"] for line in told] == ["api", "v1", "page"]
    assert [line["mode"] for line in told] == [answer["mode"], "refused", answer["mode"]]
    assert told[0]["stages"] == answer["timings"]["stages"]
    for line in told:
        assert sum(line["stages"].values()) <= line["seconds"] - line["waited_s"] + 0.01
    whole = ready.output.read_text()
    for secret in (WORD, *HELD):
        assert secret not in whole
