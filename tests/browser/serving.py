"""Serves the page in a subprocess without access to other machines."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTED = Path(__file__).with_name("scripted_page.py")
OFFLINE = ROOT / "tests" / "offline"
START_S = 120
ANSWER_MS = 180_000
"""Timeouts are long because the machine may be small and busy."""


@dataclass
class Served:
    """A running server of the page."""

    url: str
    written: Path
    """File to which a scripted generator appends each word that it writes."""
    output: Path
    """File with the output of the server."""
    script: Path
    """File that tells a scripted generator what to write."""

    def words(self) -> int:
        """Return the number of words that the scripted generator has written."""
        return len(self.written.read_text().splitlines()) if self.written.exists() else 0

    def with_draft(self, draft: str, pause: float, written: Path) -> "Served":
        """Let the scripted generator write another draft from the next question on.

        Args:
            draft: text to write
            pause: seconds that it takes for each word
            written: new file for the words, which no earlier draft is appended to
        """
        new = self.script.with_suffix(".new")
        new.write_text(json.dumps({"draft": draft, "pause": pause, "written": str(written)}))
        new.replace(self.script)
        return replace(self, written=written)


Script = Callable[[str, float], Served]
"""Gives the scripted generator a draft and seconds for each word, and returns its page."""


@contextmanager
def served(
    index: Path,
    folder: Path,
    draft: str = "",
    pause: float = 0.05,
    program: tuple[str, ...] = ("-m", "rag", "chat"),
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Served]:
    """Serve the page in a subprocess.

    Args:
        index: folder of the index
        folder: folder for the server's output and the feedback file
        draft: text that a scripted generator writes in place of the language model; empty for the model
        pause: seconds that the scripted generator takes for each word
        program: arguments of the Python interpreter that start the server
        settings: more environment variables
    """
    port = free_port()
    environment = os.environ | {
        "RAG_INDEX": str(index),
        "RAG_PORT": str(port),
        "RAG_FEEDBACK": str(folder / "feedback.jsonl"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{OFFLINE}",
        "LEFT": str(folder / "left"),
        "SCRIPT": str(folder / "script.json"),
        **settings,
    }
    url, written = f"http://127.0.0.1:{port}/", folder / "written"
    server = Served(url, written, folder / "output", folder / "script.json")
    if draft:
        server.with_draft(draft, pause, written)
        program = (str(SCRIPTED), str(index), str(port))
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(
            [sys.executable, *program], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
        try:
            await_start(process, folder / "output", START_S)
            yield server
        finally:
            process.kill()
            process.wait()
    assert not (folder / "left").exists(), "the server connected to another host"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def await_start(process: "subprocess.Popen[bytes]", output: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while "Footnote is on" not in output.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"The server did not start:\n{output.read_text()}")
        time.sleep(0.05)
