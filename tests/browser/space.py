"""`make space`: the repository as a Space has it, in an environment that the Space's own command built.

Another user with a home that it cannot write to but for caches, the tracked files alone, the variables of
a Space and no others, no way off this machine, a proxy with a path in front. Not among the tests
that are run by themselves: the environment takes minutes to build. Pictures come to be in pictures/.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from actions import answer, ask
from fixture_types import RunRag
from http_server import served
from loopback_hub import OWNER, loopback_hub
from playwright.sync_api import FrameLocator, Page, expect
from proxy import proxied, site
from serving import ANSWER_MS, OFFLINE, ROOT, START_S, await_start, free_port

BUILT = Path(os.environ["FOOTNOTE_SPACE"])
PICTURES = Path(__file__).with_name("pictures")
QUESTION = "How long did the Ever Given block the canal?"
ANSWER = "Six days"
PREFIX = "/spaces/somebody/footnote"
AS_ROOT = os.geteuid() == 0
USER = 1000


@contextmanager
def made(home: Path, files: Mapping[str, bytes]) -> Iterator[Path]:
    """Home of a Space's user: nothing in it can be written but `app`, which has the files, and caches."""
    shutil.rmtree(home, ignore_errors=True)
    for folder in (home / "app", home / ".cache"):
        folder.mkdir(parents=True)
    for name, content in files.items():
        (home / "app" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "app" / name).write_bytes(content)
    shutil.copytree(OFFLINE, home / "offline")
    if AS_ROOT:
        for path in [*(home / "app").rglob("*"), home / "app", home / ".cache"]:
            os.chown(path, USER, USER)
    else:
        home.chmod(0o555)
    yield home
    home.chmod(0o755)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Home of a user whose Space is the repository as it is."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    names = filter(None, tracked.stdout.decode().split("\0"))
    files = {name: (ROOT / name).read_bytes() for name in names}
    with made(BUILT / "home", files) as home:
        yield home


@contextmanager
def running(home: Path, more: Mapping[str, str]) -> Iterator[str]:
    """The address that the proxy gives to what the Space serves."""
    port = free_port()
    environment = {
        "HOME": str(home),
        "PATH": f"{BUILT / 'venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": f"{home / 'app'}:{home / 'offline'}",
        "LEFT": str(home / ".cache" / "left"),
        "PYTHONUNBUFFERED": "1",
        "SYSTEM": "spaces",
        "SPACE_ID": "somebody/footnote",
        "SPACE_HOST": "somebody-footnote.hf.space",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_NUM_PORTS": "1",
        "GRADIO_ALLOW_FLAGGING": "never",
        "GRADIO_THEME": "huggingface",
        "GRADIO_ROOT_PATH": PREFIX,
        "RAG_PORT": str(port),
        **more,
    }
    log = BUILT / "output"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(BUILT / "venv" / "bin" / "python"), "app.py"],
            cwd=home / "app",
            env=environment,
            stdout=output,
            stderr=output,
            user=USER if AS_ROOT else None,
            group=USER if AS_ROOT else None,
            extra_groups=[] if AS_ROOT else None,
        )
        try:
            await_start(process, log, 3 * START_S)
            with proxied(f"http://127.0.0.1:{port}/", PREFIX) as address:
                yield address
        finally:
            process.kill()
            process.wait()
    left = home / ".cache" / "left"
    assert not left.exists(), f"the Space asked for another host: {left.read_text()}"


@pytest.fixture(scope="module")
def space(home: Path) -> Iterator[str]:
    with running(home, {}) as address:
        yield address


def test_the_articles_are_indexed_at_the_first_start(home: Path, space: str) -> None:
    said = (BUILT / "output").read_text()
    assert "24 articles added" in said
    assert (home / "app" / "index" / "current.json").is_file()
    assert not (home / "feedback.jsonl").exists()


def test_a_question_is_answered_in_a_frame_of_another_site(page: Page, space: str) -> None:
    page.set_default_timeout(ANSWER_MS)
    with site(f'<h1>A blog</h1><iframe src="{space}" width="1240" height="680"></iframe>') as blog:
        page.goto(blog, wait_until="domcontentloaded")
        asked_and_answered(page.frame_locator("iframe"))
        PICTURES.mkdir(exist_ok=True)
        page.screenshot(path=PICTURES / "space-in-a-frame.png")


def test_a_question_is_answered_by_gradios_component_on_another_site(
    page: Page, space: str
) -> None:
    page.set_default_timeout(ANSWER_MS)
    component = f'<script type="module" src="{space}gradio.js"></script>'
    with site(f'<h1>A blog</h1>{component}<gradio-app src="{space}"></gradio-app>') as blog:
        page.goto(blog, wait_until="domcontentloaded")
        asked_and_answered(page)
        PICTURES.mkdir(exist_ok=True)
        page.screenshot(path=PICTURES / "space-as-a-component.png", full_page=True)


def asked_and_answered(where: Page | FrameLocator) -> None:
    where.get_by_role("textbox", name="Your question").fill(QUESTION)
    where.get_by_role("button", name="Send").click()
    said = where.get_by_test_id("bot").last
    expect(said).to_contain_text(ANSWER, timeout=ANSWER_MS)
    expect(said.locator("a.marker").first).to_be_visible()


class _Device(BaseHTTPRequestHandler):
    """What lends GPUs on ZeroGPU: it starts an app that has told it of a function that may ask."""

    asked: list[str]

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def device() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    with served(type("Device", (_Device,), {"asked": asked})) as url:
        yield url, asked


def test_it_starts_and_answers_on_zero_gpu_and_never_asks_for_a_gpu(page: Page, home: Path) -> None:
    page.set_default_timeout(ANSWER_MS)
    with device() as (url, asked):
        zero = {"SPACES_ZERO_GPU": "true", "SPACES_ZERO_DEVICE_API_URL": url}
        with running(home, zero) as address:
            assert asked == ["/startup-report"]
            page.goto(address, wait_until="domcontentloaded")
            ask(page, QUESTION)
            expect(answer(page)).to_contain_text(ANSWER)
        assert asked == ["/startup-report"]


def test_what_is_deployed_starts_and_answers_from_its_own_articles(
    page: Page, run_rag: RunRag, articles_folder: Path, tmp_path: Path
) -> None:
    page.set_default_timeout(ANSWER_MS)
    with loopback_hub() as hub:
        user = {"HF_ENDPOINT": hub.url, "HF_TOKEN": OWNER, "HF_HOME": str(tmp_path)}
        words = ("deploy", "space", "somebody/news", "--articles", articles_folder)
        done = run_rag(*words, **user, HF_HUB_DISABLE_XET="1", HF_HUB_OFFLINE="0")
        assert done.returncode == 0, done.stderr
        arrived = hub.spaces["somebody/news"].files
    with made(BUILT / "deployed", arrived) as home, running(home, {}) as address:
        page.goto(address, wait_until="domcontentloaded")
        ask(page, "How high is the lighthouse of Sant Oriol?")
        expect(answer(page)).to_contain_text("37 metres")
        expect(page.locator("#status")).to_contain_text("3 articles")
