"""Fixtures for tests of the commands."""

import subprocess
import sys
from pathlib import Path

import pytest
from fixture_types import Rag, RunRag

from rag.cli.main import main
from rag.models.embedding.encoder import Encoder
from rag.settings import Settings


@pytest.fixture(autouse=True)
def _loaded_encoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets commands in this process use the encoder that it has loaded, if their settings name it."""
    if not request.node.get_closest_marker("models"):
        return
    loaded: Encoder = request.getfixturevalue("encoder")
    build = Encoder.from_settings

    def from_settings(settings: Settings) -> Encoder:
        built = build(settings)
        is_loaded = built.id == loaded.id and settings.encoder_dtype == "auto"
        return loaded if is_loaded and not settings.memory_mb else built

    monkeypatch.setattr(Encoder, "from_settings", from_settings)


@pytest.fixture
def run_in_process(capsys: pytest.CaptureFixture[str]) -> RunRag:
    """Runs a command in this process, which has loaded the libraries: as `run_rag`, but faster."""

    def run(*words: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["rag", *map(str, words)])
            with pytest.raises(SystemExit) as exit_info:
                main()
            command = sys.argv
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(command, int(exit_info.value.code or 0), out, err)

    return run


@pytest.fixture
def rag(run_in_process: RunRag) -> Rag:
    """Runs a command in this process and returns its exit code, stdout and stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        done = run_in_process(*arguments)
        return done.returncode, done.stdout, done.stderr

    return run
