"""Nothing leaves the machine: every host but this one is refused, and all still works.

The page is tested for the same in tests/browser.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

GUARD = Path(__file__).with_name("offline")


def guarded(left: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(GUARD), "LEFT": str(left)}
    return subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=300
    )


def test_the_guard_itself_refuses(tmp_path: Path) -> None:
    for call in ("create_connection(('192.0.2.1', 9))", "getaddrinfo('example.org', 80)"):
        tried = guarded(tmp_path / "left", "-c", f"import socket; socket.{call}")
        assert tried.returncode != 0
        assert "is not this machine" in tried.stderr
    assert len((tmp_path / "left").read_text().splitlines()) == 2


@pytest.mark.models
@pytest.mark.slow
def test_indexing_and_asking_need_no_network(articles_folder: Path, tmp_path: Path) -> None:
    left, index = tmp_path / "left", str(tmp_path / "index")
    rag = ("-m", "rag")
    made = guarded(left, *rag, "index", str(articles_folder), "--index", index, "--json")
    assert made.returncode == 0, made.stderr
    asked = guarded(left, *rag, "ask", "How high is the lighthouse?", "--index", index, "--json")
    assert asked.returncode == 0, asked.stderr
    assert not left.exists(), left.read_text()
