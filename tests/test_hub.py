"""Models pulled from a hub on loopback, by the real command and the real huggingface_hub."""

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

from rag.models import MINILM, SMOLLM2, encoder_folder, generator_file

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
    """A user's own home, who reaches the hub."""
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


def refused(ran: "subprocess.CompletedProcess[str]") -> str:
    """The one line that it says of what is wrong."""
    assert ran.returncode == 1, ran.stdout + ran.stderr
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("rag: ")
    assert "Traceback" not in ran.stderr
    return last


def test_a_file_is_pulled_whole_and_is_there_afterwards(
    rag: Rag, hub: ModelHub, tmp_path: Path
) -> None:
    ran = rag("models", "pull", f"{GGUF}:{GGUF_FILE}")
    assert ran.returncode == 0, ran.stderr
    (pulled,) = (tmp_path / "hf").rglob(GGUF_FILE)
    assert hash_of(pulled) == hash_of(hub.repositories[GGUF][GGUF_FILE])
    assert not list((tmp_path / "hf").rglob("*.incomplete"))
    assert not list((tmp_path / "hf").rglob("README.md")), "more was fetched than it takes"
    asked = len(hub.seen)
    assert rag("models", "pull", f"{GGUF}:{GGUF_FILE}").returncode == 0
    fetched = [
        path for method, path, _ in hub.seen[asked:] if method == "GET" and "resolve" in path
    ]
    assert not fetched


def test_a_line_that_breaks_is_taken_up_again_where_it_broke(
    rag: Rag, hub: ModelHub, tmp_path: Path
) -> None:
    hub.cut_after = [30_000_000]
    ran = rag("models", "pull", f"{GGUF}:{GGUF_FILE}")
    assert ran.returncode == 0, ran.stderr
    (begun,) = hub.ranges()
    assert int(begun.removeprefix("bytes=").split("-")[0]) > 10_000_000
    (pulled,) = (tmp_path / "hf").rglob(GGUF_FILE)
    assert hash_of(pulled) == hash_of(hub.repositories[GGUF][GGUF_FILE])


def test_after_ctrl_c_the_next_pull_goes_on_where_it_stopped(
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
    until = time.monotonic() + 60
    while not any(part.stat().st_size > LEAST for part in (tmp_path / "hf").rglob("*.incomplete")):
        assert time.monotonic() < until, "nothing has come"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in told
    hub.pause = 0.0
    assert rag("models", "pull", f"{GGUF}:{GGUF_FILE}").returncode == 0
    (begun,) = hub.ranges()
    assert int(begun.removeprefix("bytes=").split("-")[0]) >= LEAST
    (pulled,) = (tmp_path / "hf").rglob(GGUF_FILE)
    assert hash_of(pulled) == hash_of(hub.repositories[GGUF][GGUF_FILE])


LEAST = 2_000_000


def test_another_content_than_announced_is_thrown_away(
    rag: Rag, hub: ModelHub, tmp_path: Path
) -> None:
    hub.false_hash = True
    told = refused(rag("models", "pull", f"{GGUF}:{GGUF_FILE}"))
    assert "another content than the hub announced" in told
    assert not list((tmp_path / "hf").rglob(GGUF_FILE))
    assert not list((tmp_path / "hf").rglob("*.incomplete"))
    assert "not on this machine" in refused(rag("models", "use", f"{GGUF}:{GGUF_FILE}"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (f"{GGUF}:other.gguf", "It holds tiny.gguf."),
        (GGUF, f"Name one of them: {GGUF}:tiny.gguf."),
        ("loop/nowhere:x.gguf", "There is no model loop/nowhere"),
        ("loop/pickled", "holds no weights as safetensors"),
    ],
)
def test_what_the_hub_does_not_hold_is_told_in_one_line(rag: Rag, name: str, told: str) -> None:
    assert told in refused(rag("models", "pull", name))


def test_a_hub_that_fails_or_is_not_there_is_told_in_one_line(rag: Rag, hub: ModelHub) -> None:
    hub.status = 400
    assert "failed (status 400)" in refused(rag("models", "pull", f"{GGUF}:{GGUF_FILE}"))
    told = refused(rag("models", "pull", f"{GGUF}:{GGUF_FILE}", HF_ENDPOINT="http://127.0.0.1:9"))
    assert "http://127.0.0.1:9 cannot be reached" in told


def test_a_token_goes_to_the_hub_and_a_licence_is_asked_for(rag: Rag, hub: ModelHub) -> None:
    hub.token = "hf_right"
    assert "private" in refused(rag("models", "pull", f"{GGUF}:{GGUF_FILE}"))
    ran = rag("models", "pull", f"{GGUF}:{GGUF_FILE}", HF_TOKEN="hf_right")
    assert ran.returncode == 0, ran.stderr
    hub.token, hub.gated = "", True
    told = refused(rag("models", "pull", GRANITE))
    assert "accepted its licence" in told
    assert "HF_TOKEN" in told


def test_offline_means_offline(rag: Rag, hub: ModelHub) -> None:
    told = refused(rag("models", "pull", f"{GGUF}:{GGUF_FILE}", HF_HUB_OFFLINE="1"))
    assert "HF_HUB_OFFLINE is set" in told
    rag("models")
    refused(rag("models", "use", GRANITE))
    refused(rag("ask", "Who?", RAG_GENERATOR=f"{GGUF}:{GGUF_FILE}"))
    assert hub.seen == [], "something was asked of the hub that nobody had asked for"


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    rag: Rag, hub: ModelHub, small_disk: Path
) -> None:
    told = refused(rag("models", "pull", f"{GGUF}:{GGUF_FILE}", HF_HOME=str(small_disk)))
    assert "98 MB are to be fetched" in told
    assert not [path for method, path, _ in hub.seen if "resolve" in path]


def test_a_model_of_the_list_is_pulled_by_name_used_and_removed(
    rag: Rag, hub: ModelHub, articles_folder: Path, index_folder: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index"
    shutil.copytree(index_folder, index)
    assert "rag models pull" in refused(rag("models", "use", GRANITE, "--index", index))
    pulled = rag("models", "pull", GRANITE)
    assert pulled.returncode == 0, pulled.stderr
    assert "Apache-2.0" in pulled.stdout
    assert not list((tmp_path / "hf").rglob("onnx")), "weights came twice"
    used = rag("models", "use", GRANITE, "--index", index)
    assert used.returncode == 0, used.stderr
    assert "passages anew, in about" in used.stdout
    assert f"{GRANITE}  (in use)" in rag("models", RAG_INDEX=str(index)).stdout
    asked = rag("search", "lighthouse", "--index", index)
    assert "Run `rag index`" in refused(asked)
    hub.seen.clear()
    assert rag("index", articles_folder, "--index", index).returncode == 0
    assert "Sant Oriol" in rag("search", "How high is the lighthouse?", "--index", index).stdout
    assert hub.seen == []
    removed = rag("models", "remove", GRANITE)
    assert removed.returncode == 0
    assert "MB are free again" in removed.stdout
    assert "not on this machine" in refused(rag("search", "x", "--index", index))
