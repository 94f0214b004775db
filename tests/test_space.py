"""A Space is made of what is here, and of nothing else: the real command, and a hub on this machine."""

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
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from loopback_hub import OWNER, READER, Hub, Trouble, loopback_hub
from pydantic import SecretStr

import rag
from rag import space
from rag.encoder import Encoder
from rag.errors import IndexDamaged, IndexUnusable, SpaceError, UsageError
from rag.index import PassageIndex
from rag.settings import Settings, load

if TYPE_CHECKING:
    from conftest import RunRag

ROOT = Path(__file__).parent.parent
NAME = "somebody/my-news"
SECRET = "open-sesame"

Deploy = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with loopback_hub() as hub:
        yield hub


def surroundings(hub: Hub, home: Path, token: str = OWNER) -> dict[str, str]:
    """A user of that hub, whose home is empty."""
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",  # a loaded encoder sets it
        "HF_HOME": str(home),
        "HF_TOKEN": token,
    }


@pytest.fixture
def deploy(hub: Hub, run_rag: "RunRag", tmp_path: Path) -> Deploy:
    """Runs `rag deploy space` for a user of the hub."""

    def run(*words: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        return run_rag("deploy", "space", *words, **surroundings(hub, tmp_path / "hf") | variables)

    return run


@pytest.fixture
def here(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is that user."""
    for name, value in surroundings(hub, tmp_path / "hf").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    for name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def sent(hub: Hub) -> dict[str, bytes]:
    return {p: c for p, c in hub.spaces[NAME].files.items() if p != ".gitattributes"}


def below(folder: Path, prefix: str) -> dict[str, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {f"{prefix}/{f.relative_to(folder).as_posix()}": f.read_bytes() for f in files}


@pytest.fixture
def folder(articles_folder: Path, tmp_path: Path) -> Path:
    """Articles, and beside them everything that must never leave the machine."""
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


# -- what arrives


def test_the_program_and_the_sample_articles_arrive_byte_for_byte(deploy: Deploy, hub: Hub) -> None:
    done = deploy(NAME)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{hub.url}/spaces/{NAME}\n"
    assert "for everybody to see" in done.stderr
    made = hub.spaces[NAME]
    assert (made.sdk, made.private, made.hardware) == ("gradio", False, "cpu-basic")
    arrived = sent(hub)
    readme = arrived.pop("README.md")
    package = {k: v for k, v in below(ROOT / "rag", "rag").items() if "__pycache__" not in k}
    alone = {name: (ROOT / name).read_bytes() for name in ("app.py", "requirements.txt")}
    assert arrived == package | below(ROOT / "seeds", "seeds") | alone
    assert "rag/weights/short-answers.gguf" in made.large, "what is large goes another way"
    matter = yaml.safe_load(readme.decode().split("---")[1])
    own = yaml.safe_load((ROOT / "README.md").read_text().split("---")[1])
    assert matter == {k: v for k, v in own.items() if k != "license"} | {"title": "my-news"}
    assert hub.tokens == {OWNER}
    assert not any("agent" in asked or "telemetry" in asked for asked in hub.asked)


def test_of_a_folder_of_articles_only_the_articles_leave_the_machine(
    deploy: Deploy, hub: Hub, folder: Path
) -> None:
    kept = {
        "RAG_INDEX": str(folder / "index"),
        "RAG_CACHE": str(folder / "kept"),
        "RAG_FEEDBACK": str(folder / "feedback.jsonl"),
    }
    done = deploy(NAME, "--articles", folder, **kept)
    assert done.returncode == 0, done.stderr
    arrived = {path for path in sent(hub) if path.startswith("articles/")}
    names = ["lighthouse.md", "marsh.md", "harbour.txt", "more/bells.txt"]
    assert arrived == {f"articles/{name}" for name in names}
    assert not any(path.startswith(("seeds/", "index/")) for path in sent(hub))
    assert not any(SECRET.encode() in content for content in sent(hub).values())
    for forbidden in (
        ".git/",
        ".venv",
        ".env",
        "__pycache__",
        "feedback.jsonl",
        "tests/",
        ".cache",
    ):
        assert not any(forbidden in path for path in sent(hub)), forbidden


def test_an_index_that_arrives_is_one_that_answers(
    deploy: Deploy, hub: Hub, index_folder: Path, encoder: Encoder, tmp_path: Path
) -> None:
    (index_folder / "lock").touch()
    done = deploy(NAME, "--with-index", "--index", index_folder)
    assert done.returncode == 0, done.stderr
    arrived = {path for path in sent(hub) if path.startswith("index/")}
    assert "index/lock" not in arrived
    assert not any(path.startswith(("seeds/", "articles/")) for path in sent(hub))
    for path in arrived:
        there = tmp_path / "there" / path
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(sent(hub)[path])
    with PassageIndex.open(tmp_path / "there" / "index", encoder=encoder.id) as index:
        assert index.contents().articles == 3


def test_settings_that_make_sense_there_arrive_and_secrets_as_secrets(
    deploy: Deploy, hub: Hub, tmp_path: Path
) -> None:
    (tmp_path / "own-reranker").mkdir()
    done = deploy(
        NAME,
        RAG_STRICTNESS="high",
        RAG_GENERATOR="https://models.example/v1",
        RAG_MODEL="large",
        RAG_API_KEY=SECRET,
        RAG_RERANKER=str(tmp_path / "own-reranker"),
        RAG_THREADS="7",
        RAG_HOST="0.0.0.0",
        RAG_PORT="7000",
        RAG_INDEX=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    made = hub.spaces[NAME]
    assert made.variables == {
        "RAG_STRICTNESS": "high",
        "RAG_GENERATOR": "https://models.example/v1",
        "RAG_MODEL": "large",
    }
    assert made.secrets == {"RAG_API_KEY": SECRET}
    assert "RAG_RERANKER stays here" in done.stderr
    assert not any(SECRET.encode() in content for content in made.files.values())
    assert SECRET not in done.stdout + done.stderr
    asked = [line for line in hub.asked if line.startswith("POST /api/spaces")]
    assert [line.rpartition("/")[2] for line in asked[:4]] == [*["variables"] * 3, "secrets"], (
        "before the files, whose coming starts the Space"
    )


@pytest.mark.parametrize(
    "generator", ["http://127.0.0.1:8080/v1", "http://box:1/v1", "http://192.168.0.9/v1"]
)
def test_a_server_that_the_space_cannot_reach_stays_here_with_its_key(generator: str) -> None:
    settings = load(generator=generator, api_key=SECRET, model="large")
    made = space.deployment(NAME, settings, None, with_index=False)
    assert (made.variables, made.secrets) == ({}, {})
    assert made.left == (
        f"RAG_GENERATOR stays here, since {generator} is known to this machine only.",
    )


@pytest.mark.parametrize(
    "generator", ["https://me:pass@models.example/v1", "https://m.example/v1?k=1"]
)
def test_an_address_with_a_password_in_it_is_a_secret(generator: str) -> None:
    made = space.deployment(NAME, load(generator=generator), None, with_index=False)
    assert made.variables == {}
    assert made.secrets["RAG_GENERATOR"].get_secret_value() == generator


def test_every_setting_that_sounds_like_a_secret_is_one() -> None:
    sounding = re.compile("key$|auth|password|secret|token$")
    named = {name: field for name, field in Settings.model_fields.items() if sounding.search(name)}
    assert "api_key" in named
    plain = [name for name, field in named.items() if field.annotation is str]
    assert plain == [], "these would become variables, which are for all to read"


def test_deployed_again_it_holds_what_is_there_now_and_what_did_not_change_is_not_sent_again(
    deploy: Deploy, hub: Hub, folder: Path
) -> None:
    assert deploy(NAME, "--articles", folder).returncode == 0
    hub.spaces[NAME].files["notes-of-the-owner.txt"] = b"kept"
    (folder / "marsh.md").unlink()
    (folder / "harbour.txt").write_text("The harbour is closed.")
    stored = len(hub.stored)
    done = deploy(NAME, "--articles", folder)
    assert done.returncode == 0, done.stderr
    assert "articles/marsh.md" not in sent(hub)
    assert sent(hub)["articles/harbour.txt"] == b"The harbour is closed."
    assert sent(hub)["notes-of-the-owner.txt"] == b"kept"
    assert hub.spaces[NAME].commits == 2
    assert len(hub.stored) == stored
    unchanged = deploy(NAME, "--articles", folder)
    assert unchanged.returncode == 0, unchanged.stderr
    assert hub.spaces[NAME].commits == 2


def test_private_means_private_even_of_a_space_that_was_not(deploy: Deploy, hub: Hub) -> None:
    assert deploy(NAME).returncode == 0
    assert not hub.spaces[NAME].private
    assert "for only you to see" in deploy(NAME, "--private").stderr
    assert hub.spaces[NAME].private
    other = "somebody/other"
    assert deploy(other, "--private").returncode == 0
    assert hub.spaces[other].private


def test_where_an_account_may_have_no_other_the_space_is_made_on_zero_gpu(
    deploy: Deploy, hub: Hub
) -> None:
    hub.wants_pay = True
    done = deploy(NAME)
    assert done.returncode == 0, done.stderr
    assert hub.spaces[NAME].hardware == "zero-a10g"
    assert "app.py" in sent(hub)


def test_a_dry_run_says_all_and_asks_nobody(deploy: Deploy, hub: Hub, folder: Path) -> None:
    done = deploy(
        NAME,
        "--articles",
        folder,
        "--dry-run",
        RAG_STRICTNESS="low",
        RAG_GENERATOR="https://models.example/v1",
        RAG_API_KEY=SECRET,
        HF_TOKEN="",
    )
    assert done.returncode == 0, done.stderr
    assert hub.asked == []
    told = dict(reversed(line.split(maxsplit=1)) for line in done.stdout.splitlines()[:-1])
    assert told["articles/more/bells.txt"] == "32"
    assert told["RAG_STRICTNESS=low"] == "variable"
    assert told["RAG_API_KEY"] == "secret"
    assert SECRET not in done.stdout
    assert re.fullmatch(r"\d+ files, [\d,]+ bytes would be sent\.", done.stdout.splitlines()[-1])


def test_articles_that_the_owner_puts_there_are_indexed_at_every_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: Encoder
) -> None:
    spec = importlib.util.spec_from_file_location("app", ROOT / "app.py")
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "articles").mkdir()
    for name, text in {"one": "The ferry left at noon.", "two": "The bells ring at six."}.items():
        (tmp_path / "articles" / f"{name}.txt").write_text(text)
        app.bring_in_line(tmp_path / "index")
    with PassageIndex.open(tmp_path / "index", encoder=encoder.id) as index:
        assert index.contents().articles == 2


# -- what goes wrong


def line(done: "subprocess.CompletedProcess[str]", code: int = 1) -> str:
    assert done.returncode == code, done.stderr
    *progress, last = done.stderr.splitlines()
    assert all(said.startswith("Sending ") for said in progress), done.stderr
    return last


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["my-news"], "'my-news' is no name of a Space. Give OWNER/NAME"),
        (["a/b/c"], "'a/b/c' is no name of a Space"),
        (["me/../x"], "is no name of a Space"),
        (["me/mý-news"], "is no name of a Space"),
        ([NAME, "--articles", "nowhere"], "--articles is nowhere, which is no folder"),
        ([NAME, "--articles", "app.py"], "--articles is app.py, which is no folder"),
        ([NAME, "--articles", "seeds", "--with-index"], "Give one of the two"),
    ],
)
def test_wrong_words_are_told_in_one_line(run_rag: "RunRag", words: list[str], told: str) -> None:
    assert told in line(run_rag("deploy", "space", *words), code=2)


def test_no_articles_and_no_index_are_told(run_rag: "RunRag", tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty = run_rag("deploy", "space", NAME, "--articles", tmp_path / "empty")
    assert "holds no articles" in line(empty)
    none = run_rag("deploy", "space", NAME, "--with-index", "--index", tmp_path / "none")
    assert "There is no index in" in line(none)


def test_an_index_that_is_damaged_or_of_another_encoder_is_not_sent(
    index_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "index"
    shutil.copytree(index_folder, folder)
    (tmp_path / "e5").mkdir()
    own = load(index=folder, encoder=str(tmp_path / "e5"))
    assert space.deployment(NAME, own, None, with_index=True).left, "the Space has the usual one"
    other = load(index=folder, encoder="another-encoder")
    with pytest.raises(IndexUnusable, match=r"which the Space will not have\. Send the articles"):
        space.deployment(NAME, other, None, with_index=True)
    file = next(folder.glob("passages.*.sqlite"))
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(IndexDamaged, match="rag doctor"):
        space.deployment(NAME, load(index=folder), None, with_index=True)


def test_without_a_token_nothing_is_asked_for(deploy: Deploy, hub: Hub) -> None:
    told = line(deploy(NAME, HF_TOKEN=""))
    assert told == (
        "rag: There is no token for the hub. Log in with `hf auth login`, or set HF_TOKEN to one"
        " that may write."
    )
    assert hub.asked == []


def test_the_token_of_a_login_is_taken(deploy: Deploy, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(OWNER)
    assert deploy(NAME, HF_TOKEN="").returncode == 0
    assert hub.tokens == {OWNER}


@pytest.mark.parametrize(
    ("token", "told"),
    [("hf_unknown", "the hub does not know the token"), (READER, f"may not write to {NAME}")],
)
def test_a_token_that_may_not_is_told_and_never_shown(
    deploy: Deploy, hub: Hub, token: str, told: str
) -> None:
    said = line(deploy(NAME, HF_TOKEN=token))
    assert told in said
    assert token not in said
    assert hub.spaces == {}


def test_a_model_of_the_hub_is_fetched_when_the_space_is_built(deploy: Deploy, hub: Hub) -> None:
    chosen = {"RAG_GENERATOR": "Qwen3-4B-Instruct-2507", "RAG_RERANKER": "ettin-reranker-17m-v1"}
    done = deploy(NAME, RAG_MEMORY="9000", **chosen)
    assert done.returncode == 0, done.stderr
    about = yaml.safe_load(sent(hub)["README.md"].split(b"---")[1])
    assert about["preload_from_hub"] == [
        "unsloth/Qwen3-4B-Instruct-2507-GGUF Qwen3-4B-Instruct-2507-Q4_K_M.gguf",
        "cross-encoder/ettin-reranker-17m-v1",
    ]
    assert hub.spaces[NAME].variables == chosen


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize(
    ("where", "trouble", "told"),
    [
        ("/repos/create", 500, r"the hub failed \(status 500\)"),
        ("/repos/create", 402, "wants it paid for"),
        ("/repos/create", 429, "too much at a time"),
        ("/repos/create", "cut off", "cannot be reached, or broke off"),
        ("/tree/main", 404, "does not know it"),
        ("/repos/create", "silent", "cannot be reached, or broke off"),
        ("/commit/main", 400, r"the hub failed \(status 400\)"),
        ("/commit/main", 409, r"the hub failed \(status 409\)"),
        ("/commit/main", 500, r"the hub failed \(status 500\)"),
        ("/commit/main", "cut off", "cannot be reached, or broke off"),
        ("/objects/batch", 403, "may not write"),
        ("/lfs/", 403, "may not write|The upload .* failed"),
    ],
)
def test_every_misbehaviour_of_the_hub_is_told_in_one_line(
    hub: Hub,
    where: str,
    trouble: Trouble,
    told: str,
    private: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(space, "SILENT_S", 0.5)
    hub.trouble[where] = trouble
    made = space.deployment(NAME, load(), None, with_index=False)
    with pytest.raises(SpaceError, match=told) as error:
        space.deploy(NAME, made, private)
    assert "\n" not in str(error.value)
    assert OWNER not in str(error.value)


@pytest.mark.usefixtures("here")
def test_an_article_that_went_away_meanwhile_is_named(folder: Path) -> None:
    made = space.deployment(NAME, load(), folder, with_index=False)
    (folder / "marsh.md").unlink()
    with pytest.raises(SpaceError, match=r"marsh\.md"):
        space.deploy(NAME, made, private=False)


def test_nobody_there_is_told(deploy: Deploy, hub: Hub) -> None:
    told = line(deploy(NAME, HF_ENDPOINT="http://127.0.0.1:9"))
    assert told.startswith("rag: The hub cannot be reached, or broke off: http://127.0.0.1:9.")


def test_offline_by_wish_is_told(deploy: Deploy, hub: Hub) -> None:
    assert "HF_HUB_OFFLINE is set" in line(deploy(NAME, HF_HUB_OFFLINE="1"))
    assert hub.asked == []


def test_ctrl_c_is_one_line(hub: Hub, tmp_path: Path) -> None:
    hub.trouble["/repos/create"] = "silent"
    with subprocess.Popen(
        [sys.executable, "-m", "rag", "deploy", "space", NAME],
        env=os.environ | surroundings(hub, tmp_path),
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
    """The package as a wheel installs it, somewhere else than in its checkout."""
    package = tmp_path / "site-packages" / "rag"
    shutil.copytree(
        Path(rag.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(space, "_PACKAGE", package)
    return package


def test_a_wheel_brings_what_a_space_needs(installed: Path, folder: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    brought: dict[str, Any] = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for source, target in brought.items():
        there = installed.parent / target
        there.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / source, there)
    made = space.deployment(NAME, load(), folder, with_index=False)
    assert {"README.md", "app.py", "requirements.txt", "rag/cli.py"} <= set(made.files)
    assert not any("checkout" in path for path in made.files)
    with pytest.raises(SpaceError, match=r"has no seeds, .* --articles"):
        space.deployment(NAME, load(), None, with_index=False)


def test_without_the_files_it_says_what_to_do(installed: Path, folder: Path) -> None:
    with pytest.raises(SpaceError, match=r"has no README\.md, which the Space needs"):
        space.deployment(NAME, load(), folder, with_index=False)


def test_the_name_is_looked_at_before_anything_else() -> None:
    with pytest.raises(UsageError):
        space.deployment("nonsense", load(), Path("nowhere"), with_index=False)


def test_a_secret_is_a_secret_of_its_type() -> None:
    made = space.deployment(
        NAME, load(generator="https://m.example/v1", api_key=SECRET), None, False
    )
    assert made.secrets == {"RAG_API_KEY": SecretStr(SECRET)}
    assert SECRET not in repr(made)
