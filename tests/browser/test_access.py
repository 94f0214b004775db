"""Who may use what is served: every way in is tried without the right to it."""

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
from rag.settings import load
from rag.web.access import REQUESTS, TRIES, Gate, access_of, line_for

LISTED = (str(Path(__file__).with_name("listed_page.py")),)
PASSWORD, OTHERS = "correct horse", "battery staple"
KEY, SECOND = "k3y-for-programs-0001", "k3y-for-programs-0002"
LINES = f"{line_for('anna', PASSWORD)}, {line_for('bela', OTHERS)}"
RunRag = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guarded")


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[Served]:
    """A page without articles that everybody in the network can reach, and that asks who they are."""
    keys = folder / "keys"
    keys.write_text(f"{KEY}\n\n{SECOND}\n")
    given = {"RAG_HOST": "0.0.0.0", "RAG_AUTH": LINES, "RAG_API_KEYS": str(keys)}
    settings = given | {"ROUTES": str(folder / "routes")}
    with served(folder / "none", folder, program=LISTED, settings=settings) as page:
        yield page


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page that a proxy stands before, which names the user in a header."""
    folder = tmp_path_factory.mktemp("proxied")
    settings = {"RAG_AUTH": "header:X-Forwarded-User"}
    with served(folder / "none", folder, settings=settings) as page:
        yield page


def basic(name: str, password: str) -> dict[str, str]:
    given = b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {given}"}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def status(page: Served, path: str = "config", method: str = "GET", **sent: Any) -> int:
    return httpx.request(method, f"{page.url}{path}", timeout=60, **sent).status_code


# -- without the right to it


def test_nothing_but_whether_it_lives_is_told_to_strangers(guarded: Served, folder: Path) -> None:
    routes = {tuple(line.split()) for line in (folder / "routes").read_text().splitlines()}
    assert len(routes) > 80
    assert {
        *(("GET", "/"), ("GET", "/readyz"), ("POST", "/v1/chat/completions")),
        *(("GET", "/metrics"), ("HEAD", "/metrics")),
        *(("GET", "/v1/openapi.json"), ("POST", "/gradio_api/queue/join")),
        *(("GET", "/gradio_api/file={path_or_url:path}"), ("POST", "/gradio_api/upload")),
        *(("GET", "/gradio_api/startup-events"), ("GET", "/theme.css"), ("POST", "/login")),
    } <= routes
    with httpx.Client(timeout=60) as stranger:
        told = {
            (method, path): stranger.request(
                method, guarded.url.rstrip("/") + re.sub(r"\{.*?\}", "x", path)
            ).status_code
            for method, path in routes
        }
    let_in = {route for route, code in told.items() if code != 401}
    assert let_in == {("GET", "/healthz"), ("HEAD", "/healthz")}


def test_numbers_are_told_to_who_shows_a_key_and_not_to_strangers(guarded: Served) -> None:
    asked = f"{guarded.url}metrics"
    stranger = httpx.get(asked, timeout=60)
    assert stranger.status_code == 401
    assert "footnote_" not in stranger.text
    assert httpx.get(asked, headers=bearer(KEY[:-1]), timeout=60).status_code == 401
    told = httpx.get(asked, headers=bearer(KEY), timeout=60)
    assert told.status_code == 200
    assert "footnote_models_loaded 0.0\nfootnote_articles 0.0" in re.sub(
        "(?m)^#.*\n", "", told.text
    )


@pytest.mark.parametrize(
    "path", ["nowhere", "healthz/", "healthz/x", "/healthz", "healthz/../config", "HEALTHZ", "%2e/"]
)
def test_no_path_slips_by(guarded: Served, path: str) -> None:
    assert status(guarded, path) == 401
    assert status(guarded, path, "OPTIONS") == 401


def test_a_socket_is_not_opened_to_strangers(guarded: Served) -> None:
    asked = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    sent = asked | {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    assert status(guarded, headers=sent) in {401, 403}


@pytest.mark.parametrize(
    "headers",
    [
        bearer("k3y-for-programs-0003"),
        bearer(KEY[:-1]),
        bearer(KEY + "x"),
        bearer(KEY.upper()),
        {"Authorization": "Bearer"},
        bearer(f"{KEY},{SECOND}"),
        bearer(PASSWORD),
        {"Authorization": KEY},
        {"X-API-Key": KEY},
        {"X-Forwarded-User": "anna"},
        basic("anna", PASSWORD[:-1]),
        basic("anna", OTHERS),
        basic("nobody", PASSWORD),
        basic("anna", LINES.split(":")[1].split(",")[0]),
        basic("", ""),
        {"Authorization": "Basic ***"},
        {"Authorization": "Basic"},
    ],
    ids=str,
)
def test_whoever_gives_the_wrong_thing_is_not_let_in(
    guarded: Served, headers: dict[str, str]
) -> None:
    assert status(guarded, headers=headers) == 401


def test_what_a_browser_sends_by_itself_does_not_count_for_other_sites(guarded: Served) -> None:
    anna, elsewhere = basic("anna", PASSWORD), {"Origin": "http://evil.example"}
    assert status(guarded, headers=anna | elsewhere) == 403
    assert status(guarded, headers=anna | {"Origin": "null"}) == 403
    own = {"Origin": guarded.url.rstrip("/")}
    assert status(guarded, headers=anna | own) == 200
    assert status(guarded, headers=anna | own | {"Sec-Fetch-Site": "cross-site"}) == 403
    followed = anna | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert status(guarded, "", headers=followed) == 200, "a link leads here"
    assert status(guarded, headers=bearer(KEY) | elsewhere) == 200, "a key is given on purpose"


def test_keys_are_compared_all_and_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def noted(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return one == other

    async def served_app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    monkeypatch.setattr(hmac, "compare_digest", noted)
    gate = Gate(served_app, access_of(load(api_keys=f"{KEY},{SECOND}")), Event())
    client = TestClient(gate)
    for key, code in {KEY: 200, SECOND: 200, "x": 401}.items():
        compared.clear()
        assert client.get("/", headers=bearer(key)).status_code == code
        assert len(compared) == 2
        assert KEY.encode() not in compared, "keys are not kept"


# -- with the right to it


def test_names_and_keys_open_everything(guarded: Served) -> None:
    for headers in (basic("anna", PASSWORD), basic("bela", OTHERS), bearer(KEY), bearer(SECOND)):
        for path in ("", "config", "gradio_api/info", "v1/models"):
            assert status(guarded, path, headers=headers) == 200


def test_programs_give_their_key(guarded: Served) -> None:
    client = Client(guarded.url, headers=bearer(KEY), verbose=False, analytics_enabled=False)
    with pytest.raises(Exception, match="rag index"):  # there is none here
        client.predict(api_name="/info")
    speaks = client_of(guarded, KEY)
    assert [model.id for model in speaks.models.list()] == ["footnote"]
    asked: Any = {"model": "footnote", "messages": [{"role": "user", "content": "Why?"}]}
    with pytest.raises(openai.InternalServerError, match="rag index") as told:
        speaks.chat.completions.create(**asked)
    assert (told.value.status_code, told.value.code) == (503, "not_ready")
    with pytest.raises(openai.AuthenticationError, match="not one of those known"):
        client_of(guarded, "k3y-for-programs-0003").chat.completions.create(**asked)


def client_of(page: Served, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{page.url}v1", api_key=key, max_retries=0)


def test_a_reader_logs_in_and_the_page_works(guarded: Served, browser: Browser) -> None:
    # What Playwright makes of being asked for a password.
    refused = pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS")
    with browser.new_context() as stranger, refused:
        stranger.new_page().goto(guarded.url)
    known: Any = {"username": "anna", "password": PASSWORD}
    with browser.new_context(http_credentials=known) as context:
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
    assert status(proxied, headers=twice) == 401, "one of them is the client's own"
    assert status(proxied, headers=basic("anna", PASSWORD)) == 401
    foreign = {"X-Forwarded-User": "anna", "Origin": "http://evil.example"}
    assert status(proxied, headers=foreign) == 403
    assert status(proxied, "healthz") == 200


# -- how often


def test_a_key_may_ask_only_so_often_and_others_go_on(guarded: Served) -> None:
    with httpx.Client(headers=bearer(SECOND), timeout=60) as busy:
        answers = [busy.get(f"{guarded.url}v1/models") for _ in range(REQUESTS + 60)]
    last = answers[-1]
    assert answers[0].status_code == 200
    assert last.status_code == 429
    assert 1 <= int(last.headers["retry-after"]) <= 60
    assert last.json()["error"]["code"] == "rate_limit_exceeded"
    assert status(guarded, headers=bearer(KEY)) == 200


def test_passwords_cannot_be_tried_for_long_and_readers_go_on(guarded: Served) -> None:
    from_elsewhere = httpx.HTTPTransport(local_address="127.0.0.9")
    with httpx.Client(transport=from_elsewhere, timeout=60) as guessing:
        codes = [
            guessing.get(f"{guarded.url}config", headers=basic("anna", f"guess {n}")).status_code
            for n in range(TRIES + 3)
        ]
        assert codes[:TRIES] == [401] * TRIES
        assert codes[-1] == 429
        known = guessing.get(f"{guarded.url}config", headers=basic("anna", PASSWORD))
        assert known.status_code == 200, "who was let in before stays in"
    assert status(guarded, headers=basic("nobody", PASSWORD)) == 401, "another address may try"


# -- being open to strangers


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "rag.example"])
def test_nothing_is_served_to_strangers_by_mistake(
    run_rag: RunRag, tmp_path: Path, host: str
) -> None:
    ran = run_rag("chat", "--host", host, "--index", tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"rag: Whoever reaches {host} could use the page")
    assert "RAG_PUBLIC=1" in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "settings",
    [{"RAG_HOST": "0.0.0.0", "RAG_PUBLIC": "1"}, {"SYSTEM": "spaces"}],
    ids=["who says so", "a Space"],
)
def test_whoever_means_it_serves_everybody(settings: dict[str, str], tmp_path: Path) -> None:
    with served(tmp_path / "none", tmp_path, settings=settings) as page:
        assert status(page) == 200


# -- what is kept secret


def test_secrets_show_nowhere(guarded: Served, folder: Path, run_rag: RunRag) -> None:
    status(guarded, headers=basic("anna", PASSWORD))
    given = {"RAG_AUTH": LINES, "RAG_API_KEYS": f"{KEY},{SECOND}"}
    ran = run_rag("info", "--index", folder / "none", **given)
    shown = ran.stdout + ran.stderr + (folder / "output").read_text()
    settings = load(auth=LINES, api_keys=f"{KEY},{SECOND}")
    shown += f"{settings} {settings!r} {settings.model_dump()}"
    secret = [PASSWORD, OTHERS, KEY, SECOND, *re.findall(r"scrypt-[-0-9a-f]+", LINES)]
    assert len(secret) == 6
    assert not [each for each in secret if each in shown]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"auth": "hunter2"}, "RAG_AUTH holds no hash"),
        ({"auth": "anna:hunter2"}, "for 'anna'. Make it with `rag password`"),
        ({"auth": "anna:scrypt-hunter2"}, "for 'anna'"),
        ({"auth": f"{LINES}:hunter2"}, "for 'bela'"),
        ({"auth": "header:X User"}, "the header 'X User'"),
        ({"api_keys": "hunter2"}, "Key 1 of RAG_API_KEYS"),
        ({"api_keys": f"{KEY},hunter2"}, "Key 2 of RAG_API_KEYS"),
        ({"api_keys": f"{KEY} hunter2"}, "Key 1 of RAG_API_KEYS"),
        ({"api_keys": " , "}, "holds no key"),
        ({"api_keys": "/nowhere/hunter2"}, "cannot be read (No such file"),
    ],
)
def test_what_is_wrong_with_a_secret_is_told_without_it(
    given: dict[str, str], problem: str
) -> None:
    with pytest.raises(SettingError) as told:
        access_of(load(**given))
    assert problem in str(told.value)
    assert "hunter2" not in str(told.value)


def test_a_typed_password_is_not_shown_and_makes_a_line(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rag", "password", "anna"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown = typed(ours, "Password: ", PASSWORD) + typed(ours, "The same again: ", PASSWORD)
    shown += until(ours, "\r\n\r\n", "anna:scrypt-")
    assert process.wait(60) == 0
    assert PASSWORD not in shown
    (line,) = re.findall(r"anna:scrypt-[-0-9a-f]+", shown)
    assert access_of(load(auth=line)).users.keys() == {"anna"}


def typed(terminal: int, prompt: str, answer: str) -> str:
    shown = until(terminal, prompt)
    os.write(terminal, f"{answer}\n".encode())
    return shown


def until(terminal: int, *expected: str) -> str:
    """What a terminal shows until one of these is there, or nothing more comes."""
    shown = ""
    while not any(each in shown for each in expected):
        try:
            shown += os.read(terminal, 1000).decode()
        except OSError:  # the program has ended
            break
    return shown


def test_the_same_password_never_makes_the_same_line_and_a_short_one_none(
    run_rag: RunRag,
) -> None:
    assert line_for("anna", PASSWORD) != line_for("anna", PASSWORD)
    for user, why in {
        "an:na": "cannot be used",
        "header": "cannot be used",
        "anna": "0 characters",
    }.items():
        ran = run_rag("password", user)
        assert ran.returncode == 2
        assert why in ran.stderr
        assert ran.stdout == ""
