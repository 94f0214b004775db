"""Authentication without a server: the shape of refusals, and rate limits."""

from threading import Event
from typing import Any

import pytest
from starlette.testclient import TestClient

from rag.server.auth import AuthMiddleware, load_access
from rag.server.rate_limit import RateLimiter, RateLimitExceeded
from rag.settings import load

KEY = "k3y-for-programs-0001"


@pytest.fixture
def client() -> TestClient:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    return TestClient(AuthMiddleware(app, load_access(load(server_api_keys=KEY)), Event()))


@pytest.mark.parametrize("path", ["/", "/config", "/readyz", "/v10", "/x/v1/models", "/mcp"])
def test_a_refusal_is_plain_text(client: TestClient, path: str) -> None:
    refusal = client.get(path)
    assert refusal.status_code == 401
    assert refusal.headers["content-type"] == "text/plain; charset=utf-8"
    assert refusal.headers["www-authenticate"] == "Bearer"
    assert refusal.text.startswith("Authentication required.")


@pytest.mark.parametrize("path", ["/v1", "/v1/models", "/v1/chat/completions"])
def test_a_refusal_has_openais_shape_for_its_clients(client: TestClient, path: str) -> None:
    refusal = client.get(path, headers={"Authorization": "Bearer x"})
    assert refusal.status_code == 401
    assert refusal.json() == {
        "error": {
            "message": "Unknown API key.",
            "type": "invalid_request_error",
            "param": None,
            "code": "not_authenticated",
        }
    }


def test_a_limit_refills_within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    limiter = RateLimiter(10, "requests")
    for _ in range(10):
        limiter.check("one")
        limiter.count("one")
    with pytest.raises(RateLimitExceeded, match=r"More than 10 requests in a minute\.") as exceeded:
        limiter.check("one")
    assert exceeded.value.retry_after_s == 6
    limiter.check("another")
    now += 6
    limiter.check("one")
    limiter.count("one")
    with pytest.raises(RateLimitExceeded):
        limiter.check("one")


def test_the_least_recent_of_too_many_clients_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rag.server.rate_limit.MAX_CLIENTS", 2)
    limiter = RateLimiter(1, "requests")
    for client in ("one", "two", "three"):
        limiter.count(client)
    limiter.check("one")
    with pytest.raises(RateLimitExceeded):
        limiter.check("three")
