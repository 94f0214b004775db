"""Downloads from a local hub, with the real command and the real huggingface_hub."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from model_hub import ModelHub, hash_of, serving

from rag.models.resolve import MINILM, SMOLLM2, encoder_folder, generator_file

GGUF = "loop/tiny-GGUF"
GGUF_FILE = "tiny.gguf"
GRANITE = "granite-embedding-small-english-r2"
Rag = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def files(cache: Path) -> dict[str, dict[str, Path]]:
    folder = encoder_folder(MINILM.name, cache)
    encoder = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    gguf = generator_file(SMOLLM2.name, cache)
    return {
        GGUF: {GGUF_FILE: gguf, "README.md": folder / "modules.json"},
        "ibm-granite/granite-embedding-small-english-r2": encoder,
        "loop/pickled": {"config.json": folder / "config.json", "pytorch_model.bin": gguf},
    }


@pytest.fixture
def hub(files: dict[str, dict[str, Path]]) -> Iterator[ModelHub]:
    with serving(files) as hub:
        yield hub


@pytest.fixture
def variables(hub: ModelHub, tmp_path: Path) -> dict[str, str]:
    """Environment variables of a user with an empty cache who can reach the hub."""
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "",
    }


@pytest.fixture
def rag(run_rag: Rag, variables: dict[str, str]) -> Rag:
    return lambda *words, **more: run_rag(*words, **(variables | more))


def error_line(ran: "subprocess.CompletedProcess[str]") -> str:
    """The one line of the error message."""
    assert ran.returncode == 1, ran.stdout + ran.stderr
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("rag: ")
    assert "Traceback" not in ran.stderr
    return last


def test_a_pulled_file_is_complete_and_not_downloaded_again(
    rag: Rag, hub: ModelHub, tmp_path: Path
) -> None:
    ran = rag("models", "pull", f"{GGUF}:{GGUF_FILE}")
    assert ran.returncode == 0, ran.stderr
    (pulled,) = (tmp_path / "hf").rglob(GGUF_FILE)
    assert hash_of(pulled) == hash_of(hub.repositories[GGUF][GGUF_FILE])
    assert not list((tmp_path / "hf").rglob("*.incomplete"))
    assert not list((tmp_path / "hf").rglob("README.md")), "more was downloaded than needed"
    requests = len(hub.seen)
    assert rag("models", "pull", f"{GGUF}:{GGUF_FILE}").returncode == 0
    downloads = [
        path for method, path, _ in hub.seen[requests:] if method == "GET" and "resolve" in path
    ]
    assert not downloads


def test_a_lost_connection_is_resumed_where_it_broke(
    rag: Rag, hub: ModelHub, tmp_path: Path
) -> None:
    hub.cut_after = [30_000_000]
    ran = rag("models", "pull", f"{GGUF}:{GGUF_FILE}")
    assert ran.returncode == 0, ran.stderr
    (resumed,) = hub.ranges()
    assert int(resumed.removeprefix("bytes=").split("-")[0]) > 10_000_000
    (pulled,) = (tmp_path / "hf").rglob(GGUF_FILE)
    assert hash_of(pulled) == hash_of(hub.repositories[GGUF][GGUF_FILE])


def test_after_ctrl_c_the_next_pull_resumes_where_it_stopped(
    rag: Rag, hub: ModelHub, variables: dict[str, str], tmp_path: Path
) -> None:
    hub.pause = 0.02
    process = subprocess.Popen(
        [sys.executable, "-m", "rag", "models", "pull", f"{GGUF}:{GGUF_FILE}"],
        env=os.environ | variables,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not any(
        part.stat().st_size > MIN_BYTES for part in (tmp_path / "hf").rglob("*.incomplete")
    ):
        assert time.monotonic() < deadline, "nothing was downloaded"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    hub.pause = 0.0
    assert rag("models", "pull", f"{GGUF}:{GGUF_FILE}").returncode == 0
    (resumed,) = hub.ranges()
    assert int(resumed.removeprefix("bytes=").split("-")[0]) >= MIN_BYTES
    (pulled,) = (tmp_path / "hf").rglob(GGUF_FILE)
    assert hash_of(pulled) == hash_of(hub.repositories[GGUF][GGUF_FILE])


MIN_BYTES = 2_000_000


def test_a_download_with_the_wrong_hash_is_deleted(rag: Rag, hub: ModelHub, tmp_path: Path) -> None:
    hub.false_hash = True
    error = error_line(rag("models", "pull", f"{GGUF}:{GGUF_FILE}"))
    assert "does not have the hash that the hub announced" in error
    assert not list((tmp_path / "hf").rglob(GGUF_FILE))
    assert not list((tmp_path / "hf").rglob("*.incomplete"))
    assert "not on this machine" in error_line(rag("models", "use", f"{GGUF}:{GGUF_FILE}"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{GGUF}:other.gguf", "Its GGUF files: tiny.gguf."),
        (GGUF, f"Name one of them: {GGUF}:tiny.gguf."),
        ("loop/nowhere:x.gguf", "There is no model loop/nowhere"),
        ("loop/pickled", "has no weights in safetensors format"),
    ],
)
def test_a_missing_model_is_a_one_line_error(rag: Rag, name: str, message: str) -> None:
    assert message in error_line(rag("models", "pull", name))


def test_an_unreachable_or_failing_hub_is_a_one_line_error(rag: Rag, hub: ModelHub) -> None:
    hub.status = 400
    assert "HTTP status 400" in error_line(rag("models", "pull", f"{GGUF}:{GGUF_FILE}"))
    error = error_line(
        rag("models", "pull", f"{GGUF}:{GGUF_FILE}", HF_ENDPOINT="http://127.0.0.1:9")
    )
    assert "http://127.0.0.1:9 cannot be reached" in error


def test_the_token_is_sent_to_the_hub_and_a_gated_model_names_its_licence(
    rag: Rag, hub: ModelHub
) -> None:
    hub.token = "hf_right"
    assert "private" in error_line(rag("models", "pull", f"{GGUF}:{GGUF_FILE}"))
    ran = rag("models", "pull", f"{GGUF}:{GGUF_FILE}", HF_TOKEN="hf_right")
    assert ran.returncode == 0, ran.stderr
    hub.token, hub.gated = "", True
    error = error_line(rag("models", "pull", GRANITE))
    assert "accepted its licence" in error
    assert "HF_TOKEN" in error


def test_nothing_is_requested_in_offline_mode(rag: Rag, hub: ModelHub) -> None:
    error = error_line(rag("models", "pull", f"{GGUF}:{GGUF_FILE}", HF_HUB_OFFLINE="1"))
    assert "HF_HUB_OFFLINE is set" in error
    rag("models")
    error_line(rag("models", "use", GRANITE))
    error_line(rag("ask", "Who?", RAG_GENERATOR=f"{GGUF}:{GGUF_FILE}"))
    assert hub.seen == [], "the hub was contacted without a pull"


def test_a_full_disk_is_reported_before_anything_is_downloaded(
    rag: Rag, hub: ModelHub, small_disk: Path
) -> None:
    error = error_line(rag("models", "pull", f"{GGUF}:{GGUF_FILE}", HF_HOME=str(small_disk)))
    assert "The download needs 98 MB" in error
    assert not [path for method, path, _ in hub.seen if "resolve" in path]


def test_a_catalogue_model_can_be_pulled_used_and_removed(
    rag: Rag, hub: ModelHub, articles_folder: Path, index_folder: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index"
    shutil.copytree(index_folder, index)
    assert "rag models pull" in error_line(rag("models", "use", GRANITE, "--index", index))
    pulled = rag("models", "pull", GRANITE)
    assert pulled.returncode == 0, pulled.stderr
    assert "Apache-2.0" in pulled.stdout
    assert not list((tmp_path / "hf").rglob("onnx")), "the weights were downloaded twice"
    used = rag("models", "use", GRANITE, "--index", index)
    assert used.returncode == 0, used.stderr
    assert "passages, in about" in used.stdout
    assert f"{GRANITE}  (in use)" in rag("models", RAG_INDEX=str(index)).stdout
    searched = rag("search", "lighthouse", "--index", index)
    assert "Run `rag index`" in error_line(searched)
    hub.seen.clear()
    assert rag("index", articles_folder, "--index", index).returncode == 0
    assert "Sant Oriol" in rag("search", "How high is the lighthouse?", "--index", index).stdout
    assert hub.seen == []
    removed = rag("models", "remove", GRANITE)
    assert removed.returncode == 0
    assert "which frees 92 MB" in removed.stdout
    assert "not on this machine" in error_line(rag("search", "x", "--index", index))
