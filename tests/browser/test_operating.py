"""What whoever runs the page learns of it: the log on stderr, and the numbers at /metrics."""

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

from rag.web.desk import TOGETHER

WORD = "quuxwocket"
BRIDGE = f"How long is the harbour bridge of Lindow, {WORD}?"
ELSEWHERE = f"Who won the chess world cup in Baku, {WORD}?"
DRAFT = "The harbour bridge is 412 metres long. It is " + " ".join(["purple"] * 40)
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


@pytest.fixture(scope="module")
def scripted(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page whose generator takes its time, and whose log tells what was asked."""
    folder = tmp_path_factory.mktemp("scripted")
    with served(index, folder, DRAFT, settings={"RAG_LOG": "questions"}) as page:
        until(lambda: is_ready(page), START_S)
        yield page


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


def test_what_was_asked_is_told_where_that_was_asked_for(scripted: Served) -> None:
    before = len(scripted.output.read_text())
    forged = f'{ELSEWHERE}\n{{"mode": "written"}}'
    asked_v1(scripted, forged)
    until(lambda: lines(scripted, before))
    (told,) = lines(scripted, before)
    assert told["question"] == forged
    assert told["mode"] == "refused"


def test_a_question_stopped_on_the_page_is_noted_as_stopped(scripted: Served, page: Page) -> None:
    before = len(scripted.output.read_text())
    page.goto(scripted.url)
    page.get_by_test_id("textbox").first.fill(BRIDGE)
    page.get_by_test_id("textbox").first.press("Enter")
    expect(page.get_by_test_id("bot")).to_contain_text("harbour bridge is", timeout=ANSWER_MS)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_test_id("bot")).to_contain_text("Stopped")
    until(lambda: lines(scripted, before))
    (told,) = lines(scripted, before)
    assert (told["face"], told["mode"]) == ("page", "stopped")
    assert told["answer_tokens"] < len(DRAFT.split())
    assert "check" not in told["stages"]


# -- the numbers


def numbers(page: Served) -> Mapping[str, float]:
    """Each series, as Prometheus reads it, with the values of its labels."""
    told = httpx.get(f"{page.url}metrics", timeout=60)
    assert told.headers["content-type"].startswith("text/plain; version=")
    assert WORD not in told.text
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(told.text)
        for sample in family.samples
    }


def test_it_is_told_how_things_stand(ready: Served) -> None:
    told = numbers(ready)
    assert told["footnote_models_loaded"] == 1
    assert told["footnote_articles"] == 4
    assert told["footnote_passages"] >= 4
    assert told["footnote_questions_in_line"] == 0
    (process,) = (
        process
        for process in psutil.Process().children(recursive=True)
        if process.is_running() and "app.py" in process.cmdline()
    )
    held = sum(p.memory_info().rss for p in (process, *process.children(recursive=True)))
    assert told["footnote_resident_memory_bytes"] == pytest.approx(held, rel=0.1)


def test_what_was_answered_refused_and_stopped_is_counted(scripted: Served) -> None:
    before = numbers(scripted)
    answer, refusal = asked_v1(scripted, BRIDGE), asked_v1(scripted, ELSEWHERE)
    body = {"model": "footnote", "messages": [{"role": "user", "content": BRIDGE}], "stream": True}
    words = scripted.words()
    with httpx.stream("POST", f"{scripted.url}v1/chat/completions", json=body, timeout=60):
        until(lambda: scripted.words() > words)
        assert numbers(scripted)["footnote_questions_in_line"] == 1
    stopped = "footnote_questions_total v1 stopped"
    until(lambda: numbers(scripted)[stopped] > before[stopped])
    after = numbers(scripted)
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


def test_the_longest_place_in_line_stays_known(scripted: Served) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda question: asked_v1(scripted, question), [BRIDGE] * 4))
    told = numbers(scripted)
    assert told["footnote_longest_place"] == 4 - TOGETHER
    assert told["footnote_questions_in_line"] == 0
