"""Gradio's API, with Gradio's own client and with plain HTTP; and the probes."""

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
from serving import ROOT, Served

BRIDGE = "How long is the harbour bridge of Lindow?"


@pytest.fixture(scope="module")
def client(real: Served) -> Client:
    return Client(real.url, verbose=False, analytics_enabled=False)


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=120) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def without_timings(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "timings"}


def test_an_answer_is_the_same_as_on_the_command_line(client: Client, index: Path) -> None:
    command = [sys.executable, "-m", "rag", "ask", BRIDGE, "--index", str(index), "--json"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    answer = client.predict(BRIDGE, api_name="/ask")
    assert answer["answered"]
    assert without_timings(answer) == without_timings(json.loads(ran.stdout))


def test_a_question_may_have_a_history_and_a_filter_of_articles(client: Client) -> None:
    history = [
        {"role": "user", "content": BRIDGE},
        {"role": "assistant", "content": "The harbour bridge of Lindow is 412 metres long."},
    ]
    answer = client.predict("Who was its architect?", history=history, api_name="/ask")
    assert "Mira Solberg" in answer["answer"]
    assert answer["standalone_question"] != answer["question"]
    refused = client.predict(BRIDGE, until="2031-04", api_name="/ask")
    assert not refused["answered"]


def test_plain_http_is_enough(real: Served) -> None:
    body = json.dumps({"data": [BRIDGE, [], [], "", ""]}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{real.url}gradio_api/call/ask", body, headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        event = json.loads(response.read())["event_id"]
    status, stream = get(f"{real.url}gradio_api/call/ask/{event}")
    assert status == 200
    last = stream.strip().rpartition("data: ")[2]
    assert "412 metres" in json.loads(last)[0]["answer"]


def test_passages_and_articles_are_found_and_read(client: Client) -> None:
    results = client.predict("the lost globe", k=2, api_name="/search")
    assert len(results["hits"]) == 2
    best = results["hits"][0]
    assert best["article_id"] == "museum.md"
    article = client.predict("museum.md", api_name="/article")
    assert article["text"][best["start"] : best["end"]] == best["text"]
    assert client.predict(api_name="/info")["articles"] == 4


@pytest.mark.parametrize(
    ("arguments", "name", "problem"),
    [
        (("",), "/ask", "The question is empty."),
        (("x" * 5000,), "/ask", "5,000 characters"),
        ((BRIDGE, [{"said": "x"}]), "/ask", "Invalid history"),
        ((BRIDGE, [], [], "last May"), "/ask", "Invalid date: 'last May'"),
        (("nowhere.md",), "/article", "no article 'nowhere.md'"),
    ],
)
def test_the_client_is_given_the_reason_of_an_error(
    client: Client, arguments: tuple[Any, ...], name: str, problem: str
) -> None:
    with pytest.raises(AppError, match=problem):
        client.predict(*arguments, api_name=name)


def test_only_these_functions_are_published_and_each_is_described(client: Client) -> None:
    api = client.view_api(return_format="dict", print_info=False)
    assert isinstance(api, dict)
    assert set(api["named_endpoints"]) == {"/ask", "/search", "/article", "/info"}
    for endpoint in api["named_endpoints"].values():
        assert endpoint["description"]


def test_the_probes_report_whether_the_server_runs_and_is_ready(
    real: Served, client: Client, without_index: Served
) -> None:
    client.predict(BRIDGE, api_name="/ask")
    assert get(f"{real.url}healthz") == (200, "ok\n")
    assert get(f"{real.url}readyz") == (200, "ok\n")
    assert get(f"{without_index.url}healthz") == (200, "ok\n")
    status, text = get(f"{without_index.url}readyz")
    assert status == 503
    assert "rag index" in text
    assert "rag index" in without_index.output.read_text(), "the server logs it too"
