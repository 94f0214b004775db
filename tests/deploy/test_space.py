"""`rag deploy space`, as the real command against a hub on this machine."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fixture_types import RunRag
from loopback_hub import OWNER, READER, Hub, Trouble, loopback_hub
from pydantic import SecretStr

import rag
from rag.deploy import space
from rag.errors import IndexDamaged, IndexUnusable, SpaceError, UsageError
from rag.models.embedding.encoder import Encoder
from rag.settings import Settings, load
from rag.store.reader import IndexReader

ROOT = Path(__file__).parents[2]
NAME = "somebody/my-news"
SECRET = "open-sesame"

Deploy = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with loopback_hub() as hub:
        yield hub


def hub_environment(hub: Hub, home: Path, token: str = OWNER) -> dict[str, str]:
    """Variables of a user of the hub with an empty cache."""
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",  # set by a loaded encoder
        "HF_HOME": str(home),
        "HF_TOKEN": token,
    }


@pytest.fixture
def deploy(hub: Hub, run_rag: RunRag, tmp_path: Path) -> Deploy:
    """Runs `rag deploy space` for a user of the hub."""

    def run(*arguments: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        return run_rag(
            "deploy", "space", *arguments, **hub_environment(hub, tmp_path / "hf") | variables
        )

    return run


@pytest.fixture
def use_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process a user of the hub."""
    for name, value in hub_environment(hub, tmp_path / "hf").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    for name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def uploaded_files(hub: Hub) -> dict[str, bytes]:
    files = hub.spaces[NAME].files
    return {path: content for path, content in files.items() if path != ".gitattributes"}


def files_below(folder: Path, prefix: str) -> dict[str, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {f"{prefix}/{f.relative_to(folder).as_posix()}": f.read_bytes() for f in files}


@pytest.fixture
def folder(articles_folder: Path, tmp_path: Path) -> Path:
    """Articles, together with everything that must never be uploaded."""
    folder = tmp_path / "news"
    shutil.copytree(articles_folder, folder)
    (folder / "more").mkdir()
    (folder / "more" / "bells.txt").write_text("The bells of Ellery ring at six.")
    for name in (".env", ".git/config", ".venv/pyvenv.cfg", ".cache/x.txt", ".hidden.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(SECRET)
    for name in ("index/README.md", "__pycache__/x.pyc", "kept/verified.txt", "key.pem"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(SECRET)
    (folder / "feedback.jsonl").write_text(f'{{"text": "{SECRET}"}}\n')
    (folder / "link.txt").symlink_to(folder / ".env")
    return folder


# -- what is uploaded


def test_the_program_and_the_sample_articles_are_uploaded_byte_for_byte(
    deploy: Deploy, hub: Hub
) -> None:
    completed = deploy(NAME)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout == f"{hub.url}/spaces/{NAME}\n"
    assert "visible to everybody" in completed.stderr
    uploaded_space = hub.spaces[NAME]
    assert (uploaded_space.sdk, uploaded_space.private, uploaded_space.hardware) == (
        "gradio",
        False,
        "cpu-basic",
    )
    uploaded = uploaded_files(hub)
    readme = uploaded.pop("README.md")
    package = {k: v for k, v in files_below(ROOT / "rag", "rag").items() if "__pycache__" not in k}
    alone = {name: (ROOT / name).read_bytes() for name in ("app.py", "requirements.txt")}
    assert uploaded == package | files_below(ROOT / "seeds", "seeds") | alone
    assert "rag/models/weights/reader.safetensors" in uploaded_space.large, (
        "large files are uploaded through LFS"
    )
    front_matter = yaml.safe_load(readme.decode().split("---")[1])
    readme_matter = yaml.safe_load(space.README.read_text(encoding="utf-8").split("---")[1])
    assert front_matter == {k: v for k, v in readme_matter.items() if k != "license"} | {
        "title": "my-news"
    }
    assert hub.tokens == {OWNER}
    assert not any("agent" in request or "telemetry" in request for request in hub.asked)


def test_only_the_articles_of_a_folder_are_uploaded(deploy: Deploy, hub: Hub, folder: Path) -> None:
    excluded = {
        "RAG_INDEX": str(folder / "index"),
        "RAG_CACHE": str(folder / "kept"),
        "RAG_FEEDBACK": str(folder / "feedback.jsonl"),
    }
    completed = deploy(NAME, "--articles", folder, **excluded)
    assert completed.returncode == 0, completed.stderr
    uploaded = {path for path in uploaded_files(hub) if path.startswith("articles/")}
    names = ["lighthouse.md", "marsh.md", "harbour.txt", "more/bells.txt"]
    assert uploaded == {f"articles/{name}" for name in names}
    assert not any(path.startswith(("seeds/", "index/")) for path in uploaded_files(hub))
    assert not any(SECRET.encode() in content for content in uploaded_files(hub).values())
    for forbidden in (
        ".git/",
        ".venv",
        ".env",
        "__pycache__",
        "feedback.jsonl",
        "tests/",
        ".cache",
    ):
        assert not any(forbidden in path for path in uploaded_files(hub)), forbidden


def test_an_uploaded_index_can_be_opened(
    deploy: Deploy, hub: Hub, index_folder: Path, encoder: Encoder, tmp_path: Path
) -> None:
    (index_folder / "lock").touch()
    completed = deploy(NAME, "--with-index", "--index", index_folder)
    assert completed.returncode == 0, completed.stderr
    uploaded = {path for path in uploaded_files(hub) if path.startswith("index/")}
    assert "index/lock" not in uploaded
    assert not any(path.startswith(("seeds/", "articles/")) for path in uploaded_files(hub))
    for path in uploaded:
        file = tmp_path / "space" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(uploaded_files(hub)[path])
    with IndexReader.open(tmp_path / "space" / "index", encoder=encoder.id) as index:
        assert index.stats().articles == 3


def test_portable_settings_become_variables_and_secrets(
    deploy: Deploy, hub: Hub, tmp_path: Path
) -> None:
    (tmp_path / "own-reranker").mkdir()
    completed = deploy(
        NAME,
        RAG_STRICTNESS="high",
        RAG_GENERATOR="https://models.example/v1",
        RAG_GENERATOR_MODEL="large",
        RAG_GENERATOR_API_KEY=SECRET,
        RAG_RERANKER=str(tmp_path / "own-reranker"),
        RAG_THREADS="7",
        RAG_HOST="0.0.0.0",
        RAG_PORT="7000",
        RAG_INDEX=str(tmp_path),
    )
    assert completed.returncode == 0, completed.stderr
    uploaded_space = hub.spaces[NAME]
    assert uploaded_space.variables == {
        "RAG_STRICTNESS": "high",
        "RAG_GENERATOR": "https://models.example/v1",
        "RAG_GENERATOR_MODEL": "large",
    }
    assert uploaded_space.secrets == {"RAG_GENERATOR_API_KEY": SECRET}
    assert "RAG_RERANKER is not uploaded" in completed.stderr
    assert not any(SECRET.encode() in content for content in uploaded_space.files.values())
    assert SECRET not in completed.stdout + completed.stderr
    requests = [line for line in hub.asked if line.startswith("POST /api/spaces")]
    assert [line.rpartition("/")[2] for line in requests[:4]] == [*["variables"] * 3, "secrets"], (
        "before the files, because a commit restarts the Space"
    )


@pytest.mark.parametrize(
    "generator", ["http://127.0.0.1:8080/v1", "http://box:1/v1", "http://192.168.0.9/v1"]
)
def test_neither_a_local_server_nor_its_key_is_uploaded(generator: str) -> None:
    settings = load(generator=generator, generator_api_key=SECRET, generator_model="large")
    deployment = space.build_deployment(NAME, settings, None, with_index=False)
    assert (deployment.variables, deployment.secrets) == ({}, {})
    assert deployment.notices == (
        f"RAG_GENERATOR is not uploaded, because {generator} exists on this machine only.",
    )


@pytest.mark.parametrize(
    "generator", ["https://me:pass@models.example/v1", "https://m.example/v1?k=1"]
)
def test_a_url_with_a_password_is_a_secret(generator: str) -> None:
    deployment = space.build_deployment(NAME, load(generator=generator), None, with_index=False)
    assert deployment.variables == {}
    assert deployment.secrets["RAG_GENERATOR"].get_secret_value() == generator


def test_every_setting_named_like_a_secret_is_one() -> None:
    secret_name = re.compile("keys?$|users$|auth|password|secret|token$")
    fields = {
        name: field for name, field in Settings.model_fields.items() if secret_name.search(name)
    }
    assert {"generator_api_key", "server_api_keys", "server_users"} <= set(fields)
    plain = [name for name, field in fields.items() if field.annotation is str]
    assert plain == [], "these would become variables, which everybody can read"


def test_a_second_deployment_replaces_the_first_and_uploads_only_what_has_changed(
    deploy: Deploy, hub: Hub, folder: Path
) -> None:
    assert deploy(NAME, "--articles", folder).returncode == 0
    hub.spaces[NAME].files["notes-of-the-owner.txt"] = b"kept"
    (folder / "marsh.md").unlink()
    (folder / "harbour.txt").write_text("The harbour is closed.")
    stored = len(hub.stored)
    completed = deploy(NAME, "--articles", folder)
    assert completed.returncode == 0, completed.stderr
    assert "articles/marsh.md" not in uploaded_files(hub)
    assert uploaded_files(hub)["articles/harbour.txt"] == b"The harbour is closed."
    assert uploaded_files(hub)["notes-of-the-owner.txt"] == b"kept"
    assert hub.spaces[NAME].commits == 2
    assert len(hub.stored) == stored
    unchanged = deploy(NAME, "--articles", folder)
    assert unchanged.returncode == 0, unchanged.stderr
    assert hub.spaces[NAME].commits == 2


def test_private_makes_new_and_existing_spaces_private(deploy: Deploy, hub: Hub) -> None:
    assert deploy(NAME).returncode == 0
    assert not hub.spaces[NAME].private
    assert "visible to you only" in deploy(NAME, "--private").stderr
    assert hub.spaces[NAME].private
    other = "somebody/other"
    assert deploy(other, "--private").returncode == 0
    assert hub.spaces[other].private


def test_the_space_is_created_on_zero_gpu_if_other_hardware_must_be_paid_for(
    deploy: Deploy, hub: Hub
) -> None:
    hub.wants_pay = True
    completed = deploy(NAME)
    assert completed.returncode == 0, completed.stderr
    assert hub.spaces[NAME].hardware == "zero-a10g"
    assert "app.py" in uploaded_files(hub)


def test_a_dry_run_prints_everything_and_sends_no_request(
    deploy: Deploy, hub: Hub, folder: Path
) -> None:
    completed = deploy(
        NAME,
        "--articles",
        folder,
        "--dry-run",
        RAG_STRICTNESS="low",
        RAG_GENERATOR="https://models.example/v1",
        RAG_GENERATOR_API_KEY=SECRET,
        HF_TOKEN="",
    )
    assert completed.returncode == 0, completed.stderr
    assert hub.asked == []
    *listed, total, audience = completed.stdout.splitlines()
    lines = [line.split(maxsplit=1) for line in listed]
    printed = {name: kind for kind, name in lines}
    assert printed["articles/more/bells.txt"] == "32"
    assert printed["RAG_STRICTNESS=low"] == "variable"
    assert printed["RAG_GENERATOR_API_KEY"] == "secret"
    assert SECRET not in completed.stdout
    assert re.fullmatch(r"\d+ files, [\d,]+ bytes would be uploaded\.", total)
    assert "anybody could read the articles" in audience
    private = deploy(NAME, "--articles", folder, "--dry-run", "--private", HF_TOKEN="")
    assert "only its owner could read the articles" in private.stdout.splitlines()[-1]


def test_the_app_indexes_the_articles_folder_at_every_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: Encoder
) -> None:
    spec = importlib.util.spec_from_file_location("app", ROOT / "app.py")
    assert spec
    assert spec.loader
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "articles").mkdir()
    for name, text in {"one": "The ferry left at noon.", "two": "The bells ring at six."}.items():
        (tmp_path / "articles" / f"{name}.txt").write_text(text)
        app.sync_index(tmp_path / "index")
    with IndexReader.open(tmp_path / "index", encoder=encoder.id) as index:
        assert index.stats().articles == 2


# -- errors


def error_line(completed: "subprocess.CompletedProcess[str]", code: int = 1) -> str:
    assert completed.returncode == code, completed.stderr
    *progress, last = completed.stderr.splitlines()
    assert all(line.startswith("Uploading ") for line in progress), completed.stderr
    return last


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["my-news"], "'my-news' is not a valid name of a Space. Use OWNER/NAME"),
        (["a/b/c"], "'a/b/c' is not a valid name of a Space"),
        (["me/../x"], "is not a valid name of a Space"),
        (["me/mý-news"], "is not a valid name of a Space"),
        ([NAME, "--articles", "nowhere"], "Invalid value for --articles: nowhere is not a folder"),
        ([NAME, "--articles", "app.py"], "Invalid value for --articles: app.py is not a folder"),
        ([NAME, "--articles", "seeds", "--with-index"], "cannot be combined"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(
    run_rag: RunRag, arguments: list[str], message: str
) -> None:
    assert message in error_line(run_rag("deploy", "space", *arguments), code=2)


def test_missing_articles_and_a_missing_index_are_reported(run_rag: RunRag, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty = run_rag("deploy", "space", NAME, "--articles", tmp_path / "empty")
    assert "There are no articles in" in error_line(empty)
    none = run_rag("deploy", "space", NAME, "--with-index", "--index", tmp_path / "none")
    assert "There is no index in" in error_line(none)


def test_an_index_that_is_damaged_or_has_another_encoder_is_not_uploaded(
    index_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "index"
    shutil.copytree(index_folder, folder)
    (tmp_path / "e5").mkdir()
    local = load(index=folder, encoder=str(tmp_path / "e5"))
    assert space.build_deployment(NAME, local, None, with_index=True).notices, (
        "the Space has the default encoder"
    )
    other = load(index=folder, encoder="another-encoder")
    with pytest.raises(IndexUnusable, match=r"which the Space does not have\. Upload the articles"):
        space.build_deployment(NAME, other, None, with_index=True)
    file = next(folder.glob("passages.*.sqlite"))
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(IndexDamaged, match="rag doctor"):
        space.build_deployment(NAME, load(index=folder), None, with_index=True)


def test_without_a_token_no_request_is_sent(deploy: Deploy, hub: Hub) -> None:
    assert error_line(deploy(NAME, HF_TOKEN="")) == (
        "rag: There is no token for the hub. Log in with `hf auth login`, or set HF_TOKEN to a"
        " token with write access."
    )
    assert hub.asked == []


def test_the_token_of_a_login_is_used(deploy: Deploy, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(OWNER)
    assert deploy(NAME, HF_TOKEN="").returncode == 0
    assert hub.tokens == {OWNER}


@pytest.mark.parametrize(
    ("token", "message"),
    [("hf_unknown", "the token is not valid"), (READER, "has no write access")],
)
def test_an_insufficient_token_is_reported_and_never_printed(
    deploy: Deploy, hub: Hub, token: str, message: str
) -> None:
    error = error_line(deploy(NAME, HF_TOKEN=token))
    assert message in error
    assert token not in error
    assert hub.spaces == {}


def test_a_model_on_the_hub_is_downloaded_when_the_space_is_built(deploy: Deploy, hub: Hub) -> None:
    chosen = {"RAG_GENERATOR": "Qwen3-4B-Instruct-2507", "RAG_RERANKER": "ettin-reranker-17m-v1"}
    completed = deploy(NAME, RAG_MEMORY_MB="9000", **chosen)
    assert completed.returncode == 0, completed.stderr
    about = yaml.safe_load(uploaded_files(hub)["README.md"].split(b"---")[1])
    assert about["preload_from_hub"] == [
        "unsloth/Qwen3-4B-Instruct-2507-GGUF Qwen3-4B-Instruct-2507-Q4_K_M.gguf",
        "cross-encoder/ettin-reranker-17m-v1",
    ]
    assert hub.spaces[NAME].variables == chosen


@pytest.mark.usefixtures("use_hub")
@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize(
    ("path", "trouble", "message"),
    [
        ("/repos/create", 500, r"the hub failed \(status 500\)"),
        ("/repos/create", 402, "requires payment"),
        ("/repos/create", 429, "too many requests"),
        ("/repos/create", "cut off", "cannot be reached, or closed the connection"),
        ("/tree/main", 404, "it does not exist"),
        ("/repos/create", "silent", "cannot be reached, or closed the connection"),
        ("/commit/main", 400, r"the hub failed \(status 400\)"),
        ("/commit/main", 409, r"the hub failed \(status 409\)"),
        ("/commit/main", 500, r"the hub failed \(status 500\)"),
        ("/commit/main", "cut off", "cannot be reached, or closed the connection"),
        ("/objects/batch", 403, "no write access"),
        ("/lfs/", 403, "no write access|The upload .* failed"),
    ],
)
def test_every_failure_of_the_hub_is_reported_in_one_line(
    hub: Hub,
    path: str,
    trouble: Trouble,
    message: str,
    private: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(space, "READ_TIMEOUT_S", 0.5)
    hub.trouble[path] = trouble
    deployment = space.build_deployment(NAME, load(), None, with_index=False)
    with pytest.raises(SpaceError, match=message) as error:
        space.deploy(NAME, deployment, private)
    assert "\n" not in str(error.value)
    assert OWNER not in str(error.value)


@pytest.mark.usefixtures("use_hub")
def test_an_article_that_disappears_during_the_upload_is_named(folder: Path) -> None:
    deployment = space.build_deployment(NAME, load(), folder, with_index=False)
    (folder / "marsh.md").unlink()
    with pytest.raises(SpaceError, match=r"marsh\.md"):
        space.deploy(NAME, deployment, private=False)


def test_an_unreachable_hub_is_reported(deploy: Deploy, hub: Hub) -> None:
    error = error_line(deploy(NAME, HF_ENDPOINT="http://127.0.0.1:9"))
    assert error.startswith(
        "rag: The hub at http://127.0.0.1:9 cannot be reached, or closed the connection."
    )


def test_offline_mode_is_reported(deploy: Deploy, hub: Hub) -> None:
    assert "HF_HUB_OFFLINE is set" in error_line(deploy(NAME, HF_HUB_OFFLINE="1"))
    assert hub.asked == []


@pytest.mark.slow
def test_an_interrupt_ends_with_one_line(hub: Hub, tmp_path: Path) -> None:
    hub.trouble["/repos/create"] = "silent"
    with subprocess.Popen(
        [sys.executable, "-m", "rag", "deploy", "space", NAME],
        env=os.environ | hub_environment(hub, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        until = time.monotonic() + 60
        while not hub.asked and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "rag: Interrupted."
    assert "Traceback" not in err


# -- from an installed package


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as installed from a wheel, outside of a checkout."""
    package = tmp_path / "site-packages" / "rag"
    shutil.copytree(
        Path(rag.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(space, "PACKAGE_FOLDER", package)
    return package


def test_a_wheel_contains_what_a_space_needs(installed: Path, folder: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included: dict[str, Any] = project["tool"]["hatch"]["build"]["targets"]["wheel"][
        "force-include"
    ]
    for source, target in included.items():
        copy = installed.parent / target
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / source, copy)
    deployment = space.build_deployment(NAME, load(), folder, with_index=False)
    assert {"README.md", "app.py", "requirements.txt", "rag/cli/main.py"} <= set(deployment.files)
    assert not any("checkout" in path for path in deployment.files)
    with pytest.raises(SpaceError, match=r"has no seeds, .* --articles"):
        space.build_deployment(NAME, load(), None, with_index=False)


def test_a_missing_file_of_the_program_is_reported(installed: Path, folder: Path) -> None:
    with pytest.raises(SpaceError, match=r"has no app\.py, which the Space needs"):
        space.build_deployment(NAME, load(), folder, with_index=False)


def test_the_name_is_validated_first() -> None:
    with pytest.raises(UsageError):
        space.build_deployment("nonsense", load(), Path("nowhere"), with_index=False)


def test_a_secret_is_not_in_the_repr() -> None:
    deployment = space.build_deployment(
        NAME, load(generator="https://m.example/v1", generator_api_key=SECRET), None, False
    )
    assert deployment.secrets == {"RAG_GENERATOR_API_KEY": SecretStr(SECRET)}
    assert SECRET not in repr(deployment)
