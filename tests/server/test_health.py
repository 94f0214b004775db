"""The probes' answers in each state of the service."""

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from rag.answering.chatbot import Chatbot
from rag.errors import IndexUnusable
from rag.server import health
from rag.server.errors import INTERNAL_ERROR
from rag.server.service import ChatService, Failed, Loading, Ready, ServiceState
from rag.settings import load

DAMAGED = IndexUnusable("It is damaged.", remedy="Rebuild it.")


class FakeChatbot(Chatbot):
    def __init__(self, problem: str) -> None:
        self._problem = problem

    @property
    def problem(self) -> str:
        return self._problem


@pytest.mark.parametrize(
    ("state", "status", "text"),
    [
        (Loading(FakeChatbot("")), 503, "loading\n"),
        (Ready(FakeChatbot("")), 200, "ok\n"),
        (Ready(FakeChatbot("It is off.")), 200, "ok\nIt is off.\n"),
        (
            Failed(IndexUnusable("It is damaged.", remedy="Rebuild it.")),
            503,
            "It is damaged. Rebuild it.\n",
        ),
        (Failed(INTERNAL_ERROR, chatbot=FakeChatbot("")), 503, f"{INTERNAL_ERROR}\n"),
    ],
)
def test_the_probe_reports_the_state(
    tmp_path: Path, state: ServiceState, status: int, text: str
) -> None:
    service = ChatService(load(index=tmp_path / "none"))
    service.state = state
    client = TestClient(Starlette(routes=health.routes(service)))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.text) == (status, text)
    assert client.get("/healthz").text == "ok\n"
