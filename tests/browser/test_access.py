"""Authentication: every route is tried without valid credentials."""

import hmac
import os
import pty
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import openai
import pytest
from gradio_client import Client
from playwright.sync_api import Browser, Error, expect
from serving import ROOT, Served, served
from starlette.testclient import TestClient

from rag.errors import SettingError
from rag.server.auth import (
    MAX_FAILED_LOGINS_PER_MINUTE,
    MAX_REQUESTS_PER_MINUTE,
    AuthMiddleware,
    hash_credentials,
    load_access,
)
from rag.settings import load

LISTED_PAGE = (str(Path(__file__).with_name("listed_page.py")),)
PASSWORD, OTHER_PASSWORD = "correct horse", "battery staple"
KEY, SECOND_KEY = "k3y-for-programs-0001", "k3y-for-programs-0002"
USERS = f"{hash_credentials('anna', PASSWORD)}, {hash_credentials('bela', OTHER_PASSWORD)}"
RunRag = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guarded")


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[Served]:
    """A page without articles that the whole network can reach, and that requires authentication."""
    keys = folder / "keys"
    keys.write_text(f"{KEY}\n\n{SECOND_KEY}\n")
    settings = {
        "RAG_HOST": "0.0.0.0",
        "RAG_SERVER_USERS": USERS,
        "RAG_SERVER_API_KEYS": str(keys),
        "ROUTES": str(folder / "routes"),
    }
    with served(folder / "none", folder, program=LISTED_PAGE, settings=settings) as page:
        yield page


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page behind a proxy that names the user in a header."""
    folder = tmp_path_factory.mktemp("proxied")
    settings = {"RAG_SERVER_USERS": "header:X-Forwarded-User"}
    with served(folder / "none", folder, settings=settings) as page:
        yield page


def basic(name: str, password: str) -> dict[str, str]:
    credentials = b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {credentials}"}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def status(page: Served, path: str = "config", method: str = "GET", **options: Any) -> int:
    return httpx.request(method, f"{page.url}{path}", timeout=60, **options).status_code


# -- without valid credentials


def test_only_the_liveness_probe_answers_strangers(guarded: Served, folder: Path) -> None:
    routes = {tuple(line.split()) for line in (folder / "routes").read_text().splitlines()}
    assert len(routes) > 80
    assert {
        ("GET", "/"),
        ("GET", "/readyz"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/metrics"),
        ("HEAD", "/metrics"),
        ("GET", "/v1/openapi.json"),
        ("POST", "/gradio_api/queue/join"),
        ("GET", "/gradio_api/file={path_or_url:path}"),
        ("POST", "/gradio_api/upload"),
        ("GET", "/gradio_api/startup-events"),
        ("GET", "/theme.css"),
        ("POST", "/login"),
    } <= routes
    with httpx.Client(timeout=60) as stranger:
        statuses = {
            (method, path): stranger.request(
                method, guarded.url.rstrip("/") + re.sub(r"\{.*?\}", "x", path)
            ).status_code
            for method, path in routes
        }
    unprotected = {route for route, code in statuses.items() if code != 401}
    assert unprotected == {("GET", "/healthz"), ("HEAD", "/healthz")}


def test_metrics_require_a_key(guarded: Served) -> None:
    url = f"{guarded.url}metrics"
    stranger = httpx.get(url, timeout=60)
    assert stranger.status_code == 401
    assert "footnote_" not in stranger.text
    assert httpx.get(url, headers=bearer(KEY[:-1]), timeout=60).status_code == 401
    metrics = httpx.get(url, headers=bearer(KEY), timeout=60)
    assert metrics.status_code == 200
    assert "footnote_models_loaded 0.0\nfootnote_articles 0.0" in re.sub(
        "(?m)^#.*\n", "", metrics.text
    )


@pytest.mark.parametrize(
    "path", ["nowhere", "healthz/", "healthz/x", "/healthz", "healthz/../config", "HEALTHZ", "%2e/"]
)
def test_no_path_avoids_authentication(guarded: Served, path: str) -> None:
    assert status(guarded, path) == 401
    assert status(guarded, path, "OPTIONS") == 401


def test_strangers_cannot_open_a_websocket(guarded: Served) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert status(guarded, headers=headers) in {401, 403}


@pytest.mark.parametrize(
    "headers",
    [
        bearer("k3y-for-programs-0003"),
        bearer(KEY[:-1]),
        bearer(KEY + "x"),
        bearer(KEY.upper()),
        {"Authorization": "Bearer"},
        bearer(f"{KEY},{SECOND_KEY}"),
        bearer(PASSWORD),
        {"Authorization": KEY},
        {"X-API-Key": KEY},
        {"X-Forwarded-User": "anna"},
        basic("anna", PASSWORD[:-1]),
        basic("anna", OTHER_PASSWORD),
        basic("nobody", PASSWORD),
        basic("anna", USERS.split(":")[1].split(",")[0]),
        basic("", ""),
        {"Authorization": "Basic ***"},
        {"Authorization": "Basic"},
    ],
    ids=str,
)
def test_wrong_credentials_are_rejected(guarded: Served, headers: dict[str, str]) -> None:
    assert status(guarded, headers=headers) == 401


def test_credentials_that_a_browser_adds_do_not_count_for_other_sites(guarded: Served) -> None:
    anna, elsewhere = basic("anna", PASSWORD), {"Origin": "http://evil.example"}
    assert status(guarded, headers=anna | elsewhere) == 403
    assert status(guarded, headers=anna | {"Origin": "null"}) == 403
    own = {"Origin": guarded.url.rstrip("/")}
    assert status(guarded, headers=anna | own) == 200
    assert status(guarded, headers=anna | own | {"Sec-Fetch-Site": "cross-site"}) == 403
    followed = anna | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert status(guarded, "", headers=followed) == 200, "a link leads here"
    assert status(guarded, headers=bearer(KEY) | elsewhere) == 200, "no browser adds a key"


def test_all_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return one == other

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    monkeypatch.setattr(hmac, "compare_digest", compare)
    middleware = AuthMiddleware(
        app, load_access(load(server_api_keys=f"{KEY},{SECOND_KEY}")), Event()
    )
    client = TestClient(middleware)
    for key, code in {KEY: 200, SECOND_KEY: 200, "x": 401}.items():
        compared.clear()
        assert client.get("/", headers=bearer(key)).status_code == code
        assert len(compared) == 2
        assert KEY.encode() not in compared, "only their hashes are kept"


# -- with valid credentials


def test_passwords_and_keys_give_access_to_everything(guarded: Served) -> None:
    for headers in (
        basic("anna", PASSWORD),
        basic("bela", OTHER_PASSWORD),
        bearer(KEY),
        bearer(SECOND_KEY),
    ):
        for path in ("", "config", "gradio_api/info", "v1/models"):
            assert status(guarded, path, headers=headers) == 200


def test_programs_send_their_key(guarded: Served) -> None:
    client = Client(guarded.url, headers=bearer(KEY), verbose=False, analytics_enabled=False)
    with pytest.raises(Exception, match="rag index"):  # there is no index here
        client.predict(api_name="/info")
    openai_client = openai_client_with(guarded, KEY)
    assert [model.id for model in openai_client.models.list()] == ["footnote"]
    request: Any = {"model": "footnote", "messages": [{"role": "user", "content": "Why?"}]}
    with pytest.raises(openai.InternalServerError, match="rag index") as error:
        openai_client.chat.completions.create(**request)
    assert (error.value.status_code, error.value.code) == (503, "not_ready")
    stranger = openai_client_with(guarded, "k3y-for-programs-0003")
    with pytest.raises(openai.AuthenticationError, match="Unknown API key"):
        stranger.chat.completions.create(**request)


def openai_client_with(page: Served, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{page.url}v1", api_key=key, max_retries=0)


def test_a_reader_logs_in_and_the_page_works(guarded: Served, browser: Browser) -> None:
    # Playwright reports a request for a password as this error.
    refused = pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS")
    with browser.new_context() as stranger, refused:
        stranger.new_page().goto(guarded.url)
    credentials: Any = {"username": "anna", "password": PASSWORD}
    with browser.new_context(http_credentials=credentials) as context:
        page = context.new_page()
        page.goto(guarded.url, wait_until="domcontentloaded")
        page.get_by_role("textbox", name="Your question").fill("Why?")
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_test_id("bot").last).to_contain_text("rag index", timeout=30_000)


def test_a_proxy_names_the_user_in_its_one_header(proxied: Served) -> None:
    assert status(proxied, headers={"X-Forwarded-User": "anna"}) == 200
    others = ("X-Forwarded-Email", "X_Forwarded_User", "Remote-User", "X-Forwarded-User2")
    for name in others:
        assert status(proxied, headers={name: "anna"}) == 401
    assert status(proxied, headers={"X-Forwarded-User": ""}) == 401
    twice = [("X-Forwarded-User", "anna"), ("x-forwarded-user", "root")]
    assert status(proxied, headers=twice) == 401, "one of them is from the client itself"
    assert status(proxied, headers=basic("anna", PASSWORD)) == 401
    foreign = {"X-Forwarded-User": "anna", "Origin": "http://evil.example"}
    assert status(proxied, headers=foreign) == 403
    assert status(proxied, "healthz") == 200


# -- rate limits


def test_requests_are_limited_for_each_key(guarded: Served) -> None:
    with httpx.Client(headers=bearer(SECOND_KEY), timeout=60) as busy:
        answers = [busy.get(f"{guarded.url}v1/models") for _ in range(MAX_REQUESTS_PER_MINUTE + 60)]
    last = answers[-1]
    assert answers[0].status_code == 200
    assert last.status_code == 429
    assert 1 <= int(last.headers["retry-after"]) <= 60
    assert last.json()["error"]["code"] == "rate_limit_exceeded"
    assert status(guarded, headers=bearer(KEY)) == 200


def test_failed_logins_are_limited_for_each_address(guarded: Served) -> None:
    from_elsewhere = httpx.HTTPTransport(local_address="127.0.0.9")
    with httpx.Client(transport=from_elsewhere, timeout=60) as guessing:
        codes = [
            guessing.get(f"{guarded.url}config", headers=basic("anna", f"guess {n}")).status_code
            for n in range(MAX_FAILED_LOGINS_PER_MINUTE + 3)
        ]
        assert codes[:MAX_FAILED_LOGINS_PER_MINUTE] == [401] * MAX_FAILED_LOGINS_PER_MINUTE
        assert codes[-1] == 429
        known = guessing.get(f"{guarded.url}config", headers=basic("anna", PASSWORD))
        assert known.status_code == 200, "verified credentials stay valid"
    assert status(guarded, headers=basic("nobody", PASSWORD)) == 401, "another address may try"


# -- serving everybody


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "rag.example"])
def test_nobody_serves_strangers_by_mistake(run_rag: RunRag, tmp_path: Path, host: str) -> None:
    ran = run_rag("chat", "--host", host, "--index", tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"rag: Anybody who can reach {host} could use the page")
    assert "RAG_ALLOW_ANONYMOUS=1" in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "settings",
    [{"RAG_HOST": "0.0.0.0", "RAG_ALLOW_ANONYMOUS": "1"}, {"SYSTEM": "spaces"}],
    ids=["public", "a Space"],
)
def test_a_page_is_served_to_everybody_if_the_owner_says_so(
    settings: dict[str, str], tmp_path: Path
) -> None:
    with served(tmp_path / "none", tmp_path, settings=settings) as page:
        assert status(page) == 200


# -- secrets


def test_secrets_are_never_shown(guarded: Served, folder: Path, run_rag: RunRag) -> None:
    status(guarded, headers=basic("anna", PASSWORD))
    variables = {"RAG_SERVER_USERS": USERS, "RAG_SERVER_API_KEYS": f"{KEY},{SECOND_KEY}"}
    ran = run_rag("info", "--index", folder / "none", **variables)
    shown = ran.stdout + ran.stderr + (folder / "output").read_text()
    settings = load(server_users=USERS, server_api_keys=f"{KEY},{SECOND_KEY}")
    shown += f"{settings} {settings!r} {settings.model_dump()}"
    secrets = [PASSWORD, OTHER_PASSWORD, KEY, SECOND_KEY]
    secrets += re.findall(r"scrypt-[-0-9a-f]+", USERS)
    assert len(secrets) == 6
    assert not [secret for secret in secrets if secret in shown]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"server_users": "hunter2"}, "RAG_SERVER_USERS has no password hash"),
        ({"server_users": "anna:hunter2"}, "for 'anna'. Create it with `rag password`"),
        ({"server_users": "anna:scrypt-hunter2"}, "for 'anna'"),
        ({"server_users": f"{USERS}:hunter2"}, "for 'bela'"),
        ({"server_users": "header:X User"}, "the header 'X User'"),
        ({"server_api_keys": "hunter2"}, "Key 1 of RAG_SERVER_API_KEYS"),
        ({"server_api_keys": f"{KEY},hunter2"}, "Key 2 of RAG_SERVER_API_KEYS"),
        ({"server_api_keys": f"{KEY} hunter2"}, "Key 1 of RAG_SERVER_API_KEYS"),
        ({"server_api_keys": " , "}, "contains no key"),
        ({"server_api_keys": "/nowhere/hunter2"}, "cannot be read (No such file"),
    ],
)
def test_errors_of_invalid_secrets_do_not_show_them(settings: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingError) as error:
        load_access(load(**settings))
    assert problem in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_typed_password_is_not_shown_and_gives_an_entry(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rag", "password", "anna"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown = type_at(ours, "Password: ", PASSWORD) + type_at(ours, "Repeat the password: ", PASSWORD)
    shown += read_until(ours, "\r\n\r\n", "anna:scrypt-")
    assert process.wait(60) == 0
    assert PASSWORD not in shown
    (entry,) = re.findall(r"anna:scrypt-[-0-9a-f]+", shown)
    assert load_access(load(server_users=entry)).users.keys() == {"anna"}


def type_at(terminal: int, prompt: str, answer: str) -> str:
    shown = read_until(terminal, prompt)
    os.write(terminal, f"{answer}\n".encode())
    return shown


def read_until(terminal: int, *expected: str) -> str:
    """Return what a terminal shows until it shows one of these, or the program ends."""
    shown = ""
    while not any(each in shown for each in expected):
        try:
            shown += os.read(terminal, 1000).decode()
        except OSError:  # the program has ended
            break
    return shown


def test_entries_of_a_password_differ_and_a_short_password_is_rejected(
    run_rag: RunRag,
) -> None:
    assert hash_credentials("anna", PASSWORD) != hash_credentials("anna", PASSWORD)
    for user, problem in {
        "an:na": "cannot be used",
        "header": "cannot be used",
        "anna": "0 characters",
    }.items():
        ran = run_rag("password", user)
        assert ran.returncode == 2
        assert problem in ran.stderr
        assert ran.stdout == ""
