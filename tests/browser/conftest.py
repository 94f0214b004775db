"""Fixtures: Chromium, and the page served over a small index."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, Route, sync_playwright
from serving import ROOT, Script, Served, served

ARTICLES = {
    "bridge.md": """---
title: Harbour bridge of Lindow opens to traffic
date: 2031-05-04
source: Lindow Courier
url: https://courier.example/bridge
---

The new bridge opened to traffic on Sunday. The harbour bridge of Lindow is 412 metres long and
cost 96 million crowns. Its architect, Mira Solberg, cut the ribbon together with the mayor.

Ferries will keep running until the end of the summer, because the tram line over the bridge is
not finished.
""",
    "orchard.md": """---
title: Frost spoils the pear harvest
date: 2031-04-12
source: Lindow Courier
---

A night of frost has spoiled most of the pear harvest in the Arden valley. Growers expect to pick
300 tonnes of pears this year, after 2,100 tonnes in the year before.
""",
    "museum.md": """---
title: Museum finds a lost globe
date: 2031-03-30
---

The maritime museum has found a globe that had been missing since 1954. A cleaner discovered the
globe behind a wall in the cellar. The lost globe was made in Antwerp in 1622.
""",
    "hostile.md": """---
title: '<img src="http://evil.example/title.png" onerror="document.title=1"> Zebulon lighthouse'
date: 2031-02-01
source: '<script src="http://evil.example/source.js"></script>'
url: 'javascript:alert(1)'
---

The Zebulon lighthouse is 37 metres tall
<img src="http://evil.example/text.png" onerror="document.title=2">
![picture](http://evil.example/markdown.png) and <b>white</b>, ${document.title=3} {{value}} $$x^2$$. The
keeper of the Zebulon lighthouse is called <script>document.title=4</script> Anselm Quist.
""",
}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.fail("The browser tests need Chromium. Install it with: apt-get install chromium")
    flags = (
        "--no-sandbox --disable-gpu --disable-dev-shm-usage --disable-background-networking"
        " --disable-component-update --no-first-run"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=flags.split())
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A browser page that fails its test when it requests anything from another machine."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(30_000)
    external_urls: list[str] = []

    def block_external(route: Route, request: Request) -> None:
        if urlsplit(request.url).hostname in {"127.0.0.1", "localhost"}:
            route.continue_()
        else:
            external_urls.append(request.url)
            route.abort()

    context.route("**/*", block_external)
    yield context.new_page()
    context.close()
    assert external_urls == []


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of ARTICLES, built by `rag index` with the default encoder."""
    folder = tmp_path_factory.mktemp("articles")
    for name, text in ARTICLES.items():
        (folder / name).write_text(text, encoding="utf-8")
    index = tmp_path_factory.mktemp("index")
    command = [sys.executable, "-m", "rag", "index", str(folder), "--index", str(index)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    return index


@pytest.fixture(scope="session")
def real(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page over `index`, started by app.py, with the MCP endpoint."""
    folder = tmp_path_factory.mktemp("real")
    with served(index, folder, program=("app.py",), settings={"RAG_MCP": "1"}) as page:
        yield page


@pytest.fixture(scope="session")
def without_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page where no index is."""
    folder = tmp_path_factory.mktemp("without-index")
    with served(folder / "nothing", folder) as page:
        yield page


@pytest.fixture(scope="session")
def _scripted_server(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page over `index`, with a scripted generator and the MCP endpoint."""
    folder = tmp_path_factory.mktemp("scripted")
    with served(index, folder, draft="Nothing yet.", settings={"RAG_MCP": "1"}) as page:
        yield page


@pytest.fixture
def script(_scripted_server: Served, tmp_path: Path) -> Script:
    """Gives the scripted generator a draft and seconds for each word, and returns its page."""
    return lambda draft, pause: _scripted_server.with_draft(draft, pause, tmp_path / "written")
