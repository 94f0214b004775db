"""What the server's owner sees: the request log on stderr, and the metrics."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from gradio_client import Client
from playwright.sync_api import Page, expect
from prometheus_client.parser import text_string_to_metric_families
from serving import ANSWER_MS, START_S, Served, served

from rag.server.queue import MAX_CONCURRENT

WORD = "quuxwocket"
BRIDGE = f"How long is the harbour bridge of Lindow, {WORD}?"
ELSEWHERE = f"Who won the chess world cup in Baku, {WORD}?"
DRAFT = "The harbour bridge is 412 metres long. It is " + " ".join(["purple"] * 40)
ARTICLE_TEXT = ("412 metres", "Mira Solberg", "Antwerp", "bridge.md", "Lindow Courier")


def wait_until(condition: Callable[[], Any], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_ready(page: Served) -> bool:
    return httpx.get(f"{page.url}readyz").status_code == 200


def ask_v1(page: Served, question: str) -> dict[str, Any]:
    body = {"model": "footnote", "messages": [{"role": "user", "content": question}]}
    answer = httpx.post(f"{page.url}v1/chat/completions", json=body, timeout=120)
    footnote: dict[str, Any] = answer.json()["footnote"]
    return footnote


def log_lines(page: Served, start: int) -> list[dict[str, Any]]:
    """Return the lines of the request log from that character on."""
    logged = page.output.read_text()[start:]
    return [json.loads(line) for line in logged.splitlines() if line.startswith("{")]


@pytest.fixture
def ready(real: Served) -> Served:
    wait_until(lambda: is_ready(real), START_S)
    return real


@pytest.fixture(scope="module")
def scripted(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page whose generator is slow, and whose log contains the questions."""
    folder = tmp_path_factory.mktemp("scripted")
    with served(index, folder, DRAFT, settings={"RAG_REQUEST_LOG": "questions"}) as page:
        wait_until(lambda: is_ready(page), START_S)
        yield page


# -- the log


def test_every_channel_logs_a_line_for_each_question_without_its_text(
    ready: Served, page: Page
) -> None:
    start = len(ready.output.read_text())
    answer = Client(ready.url, verbose=False, analytics_enabled=False).predict(
        BRIDGE, api_name="/ask"
    )
    assert answer["answered"]
    assert not ask_v1(ready, ELSEWHERE)["answered"]
    page.goto(ready.url)
    page.get_by_test_id("textbox").first.fill(BRIDGE)
    page.get_by_test_id("textbox").first.press("Enter")
    expect(page.get_by_test_id("bot").first).to_contain_text("412 metres", timeout=ANSWER_MS)
    wait_until(lambda: len(log_lines(ready, start)) == 3)
    logged = log_lines(ready, start)
    assert [line["face"] for line in logged] == ["api", "v1", "page"]
    assert [line["mode"] for line in logged] == [answer["mode"], "refused", answer["mode"]]
    assert logged[0]["stages"] == answer["timings"]["stages"]
    for line in logged:
        assert sum(line["stages"].values()) <= line["seconds"] - line["waited_s"] + 0.01
    output = ready.output.read_text()
    for secret in (WORD, *ARTICLE_TEXT):
        assert secret not in output


def test_the_question_is_logged_if_the_settings_ask_for_it(scripted: Served) -> None:
    start = len(scripted.output.read_text())
    forged = f'{ELSEWHERE}\n{{"mode": "written"}}'
    ask_v1(scripted, forged)
    wait_until(lambda: log_lines(scripted, start))
    (line,) = log_lines(scripted, start)
    assert line["question"] == forged
    assert line["mode"] == "refused"


def test_a_question_stopped_on_the_page_is_logged_as_stopped(scripted: Served, page: Page) -> None:
    start = len(scripted.output.read_text())
    page.goto(scripted.url)
    page.get_by_test_id("textbox").first.fill(BRIDGE)
    page.get_by_test_id("textbox").first.press("Enter")
    expect(page.get_by_test_id("bot")).to_contain_text("harbour bridge is", timeout=ANSWER_MS)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_test_id("bot")).to_contain_text("Stopped")
    wait_until(lambda: log_lines(scripted, start))
    (line,) = log_lines(scripted, start)
    assert (line["face"], line["mode"]) == ("page", "stopped")
    assert line["answer_tokens"] < len(DRAFT.split())
    assert "check" not in line["stages"]


# -- the metrics


def read_metrics(page: Served) -> Mapping[str, float]:
    """Return the value of each series, named with the values of its labels."""
    response = httpx.get(f"{page.url}metrics", timeout=60)
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert WORD not in response.text
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_gauges_show_the_state_of_the_service(ready: Served) -> None:
    metrics = read_metrics(ready)
    assert metrics["footnote_models_loaded"] == 1
    assert metrics["footnote_articles"] == 4
    assert metrics["footnote_passages"] >= 4
    assert metrics["footnote_questions_in_line"] == 0
    (process,) = (
        process
        for process in psutil.Process().children(recursive=True)
        if process.is_running() and "app.py" in process.cmdline()
    )
    resident = sum(p.memory_info().rss for p in (process, *process.children(recursive=True)))
    assert metrics["footnote_resident_memory_bytes"] == pytest.approx(resident, rel=0.1)


def test_answers_refusals_and_stopped_questions_are_counted(scripted: Served) -> None:
    before = read_metrics(scripted)
    answer, refusal = ask_v1(scripted, BRIDGE), ask_v1(scripted, ELSEWHERE)
    body = {"model": "footnote", "messages": [{"role": "user", "content": BRIDGE}], "stream": True}
    words = scripted.words()
    with httpx.stream("POST", f"{scripted.url}v1/chat/completions", json=body, timeout=60):
        wait_until(lambda: scripted.words() > words)
        assert read_metrics(scripted)["footnote_questions_in_line"] == 1
    stopped = "footnote_questions_total v1 stopped"
    wait_until(lambda: read_metrics(scripted)[stopped] > before[stopped])
    after = read_metrics(scripted)
    counted = {series: after[series] - before.get(series, 0.0) for series in after}
    questions = {
        series.split()[2]: n
        for series, n in counted.items()
        if series.startswith("footnote_questions_total v1") and n
    }
    assert questions == {answer["mode"]: 1, "refused": 1, "stopped": 1}
    assert after["footnote_questions_in_line"] == 0
    assert counted["footnote_question_seconds_count v1"] == 3
    assert counted["footnote_stage_seconds_count wait_in_line"] == 3
    assert counted["footnote_stage_seconds_count weigh_evidence"] == 3
    assert counted["footnote_stage_seconds_count check"] == 1
    written = answer["timings"]["stages"]["write"]
    assert counted["footnote_stage_seconds_sum write"] == pytest.approx(written, abs=0.001)
    assert refusal["timings"]["prompt_tokens"] == 0
    assert counted["footnote_tokens_total read"] == 2 * answer["timings"]["prompt_tokens"] > 0
    least = answer["timings"]["answer_tokens"]
    assert least < counted["footnote_tokens_total written"] < 2 * least


def test_the_highest_position_in_the_queue_is_remembered(scripted: Served) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda question: ask_v1(scripted, question), [BRIDGE] * 4))
    metrics = read_metrics(scripted)
    assert metrics["footnote_longest_place"] == 4 - MAX_CONCURRENT
    assert metrics["footnote_questions_in_line"] == 0
