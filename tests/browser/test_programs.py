"""Programs that ask the page what people ask: Gradio's client, plain HTTP, the command line."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from serving import ROOT, Served, served

BRIDGE = "How long is the harbour bridge of Lindow?"


@pytest.fixture(scope="module")
def client(real: Served) -> Client:
    return Client(real.url, verbose=False, analytics_enabled=False)


def told(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "timings"}


def test_an_answer_is_the_same_as_on_the_command_line(client: Client, index: Path) -> None:
    command = [sys.executable, "-m", "rag", "ask", BRIDGE, "--index", str(index), "--json"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    there = client.predict(BRIDGE, api_name="/ask")
    assert there["answered"]
    assert without_times(there) == without_times(json.loads(ran.stdout))


def test_a_question_goes_on_with_its_history_and_among_some_articles(client: Client) -> None:
    history = [
        {"role": "user", "content": BRIDGE},
        {"role": "assistant", "content": "The harbour bridge of Lindow is 412 metres long."},
    ]
    answer = client.predict("Who was its architect?", history=history, api_name="/ask")
    assert "Mira Solberg" in answer["answer"]
    assert answer["standalone_question"] != answer["question"]
    refused = client.predict(BRIDGE, until="2031-04", api_name="/ask")
    assert not refused["answered"]


def test_plain_http_does_as_well(real: Served) -> None:
    body = json.dumps({"data": [BRIDGE, [], [], "", ""]}).encode()
    head = {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"{real.url}gradio_api/call/ask", body, head)
    with urllib.request.urlopen(asked, timeout=60) as begun:
        event = json.loads(begun.read())["event_id"]
    status, stream = told(f"{real.url}gradio_api/call/ask/{event}")
    assert status == 200
    last = stream.strip().rpartition("data: ")[2]
    assert "412 metres" in json.loads(last)[0]["answer"]


def test_passages_and_articles_are_found_and_read(client: Client) -> None:
    found = client.predict("the lost globe", k=2, api_name="/search")
    assert len(found["hits"]) == 2
    best = found["hits"][0]
    assert best["article_id"] == "museum.md"
    article = client.predict("museum.md", api_name="/article")
    assert article["text"][best["start"] : best["end"]] == best["text"]
    assert client.predict(api_name="/info")["articles"] == 4


@pytest.mark.parametrize(
    ("arguments", "name", "problem"),
    [
        (("",), "/ask", "The question is empty."),
        (("x" * 5000,), "/ask", "5,000 characters"),
        ((BRIDGE, [{"said": "x"}]), "/ask", "no list of turns"),
        ((BRIDGE, [], [], "last May"), "/ask", "'last May' is no day, month or year"),
        (("nowhere.md",), "/article", "no article 'nowhere.md'"),
    ],
)
def test_what_goes_wrong_is_told_in_words(
    client: Client, arguments: tuple[Any, ...], name: str, problem: str
) -> None:
    with pytest.raises(AppError, match=problem):
        client.predict(*arguments, api_name=name)


def test_only_these_functions_are_offered_and_each_is_described(client: Client) -> None:
    offered = client.view_api(return_format="dict", print_info=False)
    assert isinstance(offered, dict)
    assert set(offered["named_endpoints"]) == {"/ask", "/search", "/article", "/info"}
    for endpoint in offered["named_endpoints"].values():
        assert endpoint["description"]


def test_it_can_be_seen_whether_it_lives_and_whether_it_is_ready(
    real: Served, client: Client, tmp_path: Path
) -> None:
    client.predict(BRIDGE, api_name="/ask")
    assert told(f"{real.url}healthz") == (200, "ok\n")
    assert told(f"{real.url}readyz") == (200, "ok\n")
    with served(tmp_path / "nothing", tmp_path) as empty:
        assert told(f"{empty.url}healthz") == (200, "ok\n")
        status, text = told(f"{empty.url}readyz")
        assert status == 503
        assert "rag index" in text
