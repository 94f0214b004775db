"""OpenAI's API in this process: tasks of chat programs, and proxies that remove a path prefix."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from rag.server.openai.client_tasks import MAX_TITLE_LENGTH, reply_to_task
from rag.server.openai.routes import routes
from rag.server.service import ChatService
from rag.settings import load

QUESTION = "How long is the harbour bridge of Lindow?"
CHAT = f"<chat_history>\nUSER: {QUESTION}\nASSISTANT: 412 metres. [1]\n</chat_history>"

# The beginnings and forms of Open WebUI's own prompts.
TITLE = f"""### Task:
Generate a concise, 3-5 word title with an emoji summarizing the chat history.
### Guidelines:
- Your entire response must consist solely of the JSON object, without any introductory text.
### Output:
JSON format: {{ "title": "your concise title here" }}
### Examples:
- {{ "title": "📉 Stock Market Trends" }},
### Chat History:
{CHAT}"""
TAGS = f"""### Task:
Generate 1-3 broad tags categorizing the main themes of the chat history.
### Output:
JSON format: {{ "tags": ["tag1", "tag2", "tag3"] }}
### Chat History:
{CHAT}"""
FOLLOW_UPS = f"""### Task:
Suggest 3-5 relevant follow-up questions or prompts that the user might naturally ask next.
### Output:
JSON format: {{ "follow_ups": ["Question 1?", "Question 2?", "Question 3?"] }}
### Chat History:
{CHAT}"""
QUERIES = f"""### Task:
Analyze the chat history to determine the necessity of generating search queries.
### Output:
Strictly return in JSON format:
{{
  "queries": ["query1", "query2"]
}}
### Chat History:
{CHAT}"""


@pytest.fixture
def service(tmp_path: Path) -> ChatService:
    """A service without an index: every question gets status 503."""
    return ChatService(load(index=tmp_path / "none"))


@pytest.fixture
def client(service: ChatService) -> Iterator[TestClient]:
    with TestClient(FastAPI(routes=routes(service))) as client:
        yield client


def complete(client: TestClient, message: str, **options: Any) -> Any:
    body = {"model": "footnote", "messages": [{"role": "user", "content": message}], **options}
    return client.post("/v1/chat/completions", json=body)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        pytest.param(TITLE, {"title": QUESTION}, id="title"),
        pytest.param(TAGS, {"tags": ["General"]}, id="tags"),
        pytest.param(FOLLOW_UPS, {"follow_ups": []}, id="follow-ups"),
        pytest.param(QUERIES, {"queries": []}, id="queries"),
    ],
)
def test_a_task_of_a_chat_program_gets_the_json_that_it_asks_for(
    client: TestClient, task: str, expected: dict[str, Any]
) -> None:
    response = complete(client, task)
    assert response.status_code == 200, response.text
    message = response.json()["choices"][0]["message"]
    assert json.loads(message["content"]) == expected
    assert message["annotations"] == []
    assert response.json()["footnote"]["hits"] == []


def test_a_task_is_streamed_if_that_is_asked_for(client: TestClient) -> None:
    lines = complete(client, TITLE, stream=True).text.splitlines()
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"].get("content", "") for event in events]
    assert json.loads("".join(deltas)) == {"title": QUESTION}


def test_the_title_of_a_long_question_is_short_and_of_a_long_chat_is_made() -> None:
    long = TITLE.replace(QUESTION, f"{QUESTION}\n" * 5000)
    title = json.loads(reply_to_task(long) or "")["title"]
    assert title.startswith(QUESTION)
    assert len(title) <= MAX_TITLE_LENGTH


@pytest.mark.parametrize(
    "message",
    [
        QUESTION,
        "### Task:\nAnswer: how long is the bridge?",
        'Which file says { "title": "…" } in <chat_history>USER: x</chat_history>?',
        f"### Task:\nRespond to the query.\n<context>…</context>\n<user_query>{QUESTION}</user_query>",
    ],
)
def test_a_question_is_not_taken_for_a_task(client: TestClient, message: str) -> None:
    assert complete(client, message).status_code == 503, "there is no index to search"


@pytest.mark.parametrize("prefix", ["/news", "/spaces/lindow/v1"])
@pytest.mark.parametrize("removed", [True, False])
def test_the_routes_are_found_behind_a_proxy_with_a_path_prefix(
    service: ChatService, prefix: str, removed: bool
) -> None:
    with TestClient(FastAPI(routes=routes(service)), root_path=prefix) as client:
        path = "/v1" if removed else f"{prefix}/v1"
        assert client.get(f"{path}/models").json()["data"][0]["id"] == "footnote"
        assert client.get(f"{path}/openapi.json").json()["servers"] == [{"url": f"{prefix}/v1"}]
        assert client.get(f"{path}/nothing").status_code == 404
