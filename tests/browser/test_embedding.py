"""The page on a Space: behind a proxy, embedded in another site, without a writable home folder."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from actions import answer, ask
from fixture_types import WriteProtect
from playwright.sync_api import Page, expect
from proxy import proxied, site
from serving import ANSWER_MS, Served, served

BRIDGE = "How long is the harbour bridge of Lindow?"
PREFIX = "/spaces/lindow/news"
SPACE = {
    "SYSTEM": "spaces",
    "SPACE_ID": "lindow/news",
    "SPACE_HOST": "lindow-news.hf.space",
    "GRADIO_ROOT_PATH": PREFIX,
}


@pytest.fixture(scope="module")
def space(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the page on a Space, behind a proxy that adds a path."""
    folder = tmp_path_factory.mktemp("space")
    with (
        served(index, folder, program=("app.py",), settings=SPACE) as page,
        proxied(page.url, PREFIX) as address,
    ):
        yield address


def test_a_question_is_answered_behind_a_proxy_with_a_path(page: Page, space: str) -> None:
    page.goto(space, wait_until="domcontentloaded")
    ask(page, BRIDGE)
    expect(answer(page)).to_contain_text("412 metres")


def test_a_question_is_answered_in_a_frame_of_another_site(page: Page, space: str) -> None:
    with site(f'<iframe src="{space}" width="1000" height="700"></iframe>') as blog:
        page.goto(blog, wait_until="domcontentloaded")
        frame = page.frame_locator("iframe")
        frame.get_by_role("textbox", name="Your question").fill(BRIDGE)
        frame.get_by_role("button", name="Send").click()
        reply = frame.get_by_test_id("bot").last
        expect(reply).to_contain_text("412 metres", timeout=ANSWER_MS)
        reply.locator("a.marker").first.click()
        expect(frame.locator("#sources mark").first).to_be_in_viewport()


def test_a_question_is_answered_by_gradios_component_on_another_site(
    page: Page, space: str
) -> None:
    component = f'<script type="module" src="{space}gradio.js"></script>'
    with site(f'{component}<p>News</p><gradio-app src="{space}"></gradio-app>') as blog:
        page.goto(blog, wait_until="domcontentloaded")
        ask(page, BRIDGE)
        expect(answer(page)).to_contain_text("412 metres", timeout=ANSWER_MS)
        expect(page.get_by_text("News", exact=True)).to_be_attached()


def test_any_site_may_embed_the_page_and_the_page_loads_nothing_from_other_sites(
    space: str,
) -> None:
    with urllib.request.urlopen(space) as response:
        headers = {name.lower(): value for name, value in response.getheaders()}
    assert "x-frame-options" not in headers
    policy = headers["content-security-policy"]
    assert "default-src 'self' data: blob:" in policy
    assert "frame-ancestors" not in policy
    assert "http-equiv" not in urllib.request.urlopen(space).read().decode()


def test_the_openai_api_is_found_behind_a_proxy_with_a_path(space: str) -> None:
    with urllib.request.urlopen(f"{space}v1/models") as response:
        assert json.load(response)["data"][0]["id"] == "footnote"


def test_the_prefix_can_be_set(index: Path, tmp_path: Path) -> None:
    with (
        served(index, tmp_path, settings={"RAG_ROOT_PATH": PREFIX}) as page,
        proxied(page.url, PREFIX) as address,
    ):
        with urllib.request.urlopen(f"{address}config") as response:
            assert json.load(response)["root"] == address.rstrip("/")
        with urllib.request.urlopen(f"{address}v1/models") as response:
            assert json.load(response)["data"][0]["id"] == "footnote"


def test_the_browser_blocks_requests_to_other_hosts(page: Page, real: Served) -> None:
    page.goto(real.url, wait_until="domcontentloaded")
    blocked = page.evaluate(
        """() => new Promise((done) => {
          addEventListener("securitypolicyviolation", (event) => done(event.blockedURI));
          const image = new Image();
          image.src = "http://evil.example/pixel.png";
          document.body.append(image);
          setTimeout(() => done("nothing"), 5000);
        })"""
    )
    assert blocked == "http://evil.example/pixel.png"


def test_a_home_folder_that_cannot_be_written_to_does_not_matter(
    page: Page, index: Path, small_disk: Path, write_protect: WriteProtect, tmp_path: Path
) -> None:
    write_protect(small_disk)
    settings = SPACE | {"HOME": str(small_disk), "GRADIO_ROOT_PATH": ""}
    with served(index, tmp_path, program=("app.py",), settings=settings) as server:
        page.goto(server.url, wait_until="domcontentloaded")
        ask(page, BRIDGE)
        expect(answer(page)).to_contain_text("412 metres")
