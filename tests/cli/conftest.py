"""Fixtures for tests of the commands."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rag.cli.main import main

Rag = Callable[..., tuple[int, str, str]]
"""Runs a command in this process and returns its exit code, stdout and stderr."""


@pytest.fixture
def rag(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cache: Path) -> Rag:
    monkeypatch.setenv("RAG_CACHE", str(cache))

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["rag", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            main()
        out, err = capsys.readouterr()
        return int(exit_info.value.code or 0), out, err

    return run
