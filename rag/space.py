"""A Hugging Face Space out of what is here: the program, and the user's articles or their index.

Only what is named here leaves the machine, and only for the hub (HF_ENDPOINT, or huggingface.co).
"""

import ipaddress
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml
from pydantic import SecretStr

from rag import commits, threshold
from rag.articles import READERS, list_files
from rag.catalogue import Job, hub_files
from rag.errors import IndexDamaged, IndexUnusable, SourceError, SpaceError, UsageError
from rag.settings import SEEDS, Settings

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Content = Path | bytes

CONNECT_S, SILENT_S = 10.0, 60.0
"""Seconds to reach the hub, and until it says or takes something more."""

OWN_FOLDERS = ("rag/", "articles/", "index/", "seeds/")
"""Of a Space: what is in them and not sent is from an earlier time."""

_AT_HOME = {"host", "memory", "port", "threads"}
"""Settings that say something about this machine; those that are paths do as well."""

_OF_SERVER = {"model", "api_key"}
"""Settings that mean nothing without a server that generates."""

_PACKAGE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a Space is to hold: its files, by their paths there, its variables and its secrets.

    `left` names the settings that stay here, each with the reason.
    """

    files: Mapping[str, Content]
    variables: Mapping[str, str]
    secrets: Mapping[str, SecretStr]
    left: tuple[str, ...]


def deployment(
    name: str, settings: Settings, articles: Path | None, with_index: bool
) -> Deployment:
    """The Space OWNER/NAME with `articles`, or else with the index, or else with the sample articles.

    Raises UsageError, SourceError, IndexUnusable, and SpaceError when the program's files are missing.
    """
    _, title = _owner_and_name(name)
    travels, left = _travelling(settings)
    secrets = {key: value for key, value in travels.items() if isinstance(value, SecretStr)}
    files = dict(_program(title, settings))
    if with_index:
        files |= _index(settings, travels)
    else:
        folder, where = (articles, "articles") if articles else (_beside("seeds"), str(SEEDS))
        files |= _articles(folder, where, settings)
    return Deployment(
        files=files,
        variables={key: str(value) for key, value in travels.items() if key not in secrets},
        secrets=secrets,
        left=left,
    )


def size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def deploy(name: str, made: Deployment, private: bool) -> str:
    """Create the Space, or bring it up to date; its address. Raises SpaceError.

    Settings come before files: each commit starts it anew, with the settings that it then has.
    """
    hub = _connected()
    with _told(name):
        address = _created(hub, name, private)
        if private:  # what is there already stays as public as it is, unless this is said
            hub.update_repo_settings(name, visibility="private", repo_type="space")
        for key, value in made.variables.items():
            hub.add_space_variable(name, key, value)
        for key, secret in made.secrets.items():
            hub.add_space_secret(name, key, secret.get_secret_value())
        _commit(hub, name, made.files)
    return address


# -- what it holds


def _owner_and_name(name: str) -> tuple[str, str]:
    owner, slash, rest = name.partition("/")
    part = r"[A-Za-z0-9][\w.-]{0,95}"
    if not slash or not re.fullmatch(part, owner, re.A) or not re.fullmatch(part, rest, re.A):
        raise UsageError(
            f"{name!r} is no name of a Space.",
            remedy="Give OWNER/NAME: your name on the hub or an organisation's, and one of your choice.",
        )
    return owner, rest


def _program(title: str, settings: Settings) -> Iterator[tuple[str, Content]]:
    yield "README.md", _readme(title, settings)
    for name in ("app.py", "requirements.txt"):
        yield name, _beside(name)
    for file in list_files(_PACKAGE).files:
        if "__pycache__" not in file.name and not file.name.startswith("checkout/"):
            yield f"rag/{file.name}", file.path


def _beside(name: str) -> Path:
    """A file or folder that stands beside the package; a wheel carries copies in `checkout`."""
    for folder in (_PACKAGE / "checkout", _PACKAGE.parent):
        if (folder / name).exists():
            return folder / name
    raise SpaceError(
        f"This installation has no {name}, which the Space needs.",
        remedy="Name articles of your own with --articles, or run it in the project's own folder.",
    )


def _readme(title: str, settings: Settings) -> bytes:
    """What the hub is told about the Space. The articles' licence is not the program's.

    Models of the hub are fetched when the Space is built; it asks for none itself.
    """
    matter = yaml.safe_load(_beside("README.md").read_text(encoding="utf-8").split("---")[1])
    about = {key: value for key, value in matter.items() if key != "license"} | {"title": title}
    named = (hub_files(str(getattr(settings, job))) for job in Job)
    if fetched := [f"{wanted.repo} {wanted.file}".strip() for wanted in named if wanted]:
        about["preload_from_hub"] = fetched
    told = yaml.safe_dump(about, sort_keys=False, allow_unicode=True)
    text = "Answers from the articles of this Space alone, with citations that can be checked."
    return f"---\n{told}---\n\n# {title}\n\n{text} Made with Footnote.\n".encode()


def _articles(folder: Path, where: str, settings: Settings) -> dict[str, Content]:
    if not folder.is_dir():
        raise UsageError(f"--articles is {folder}, which is no folder.", remedy="Name a folder.")
    kept_back = [path.resolve() for path in (settings.index, settings.cache, settings.feedback)]
    files = {
        f"{where}/{file.name}": file.path
        for file in list_files(folder).files
        if file.path.suffix.lower() in READERS and not _within(file.path, kept_back)
    }
    if not files:
        raise SourceError(f"The folder {folder} holds no articles.", remedy="Name another one.")
    return dict(files)


def _within(file: Path, places: list[Path]) -> bool:
    return any(file.resolve().is_relative_to(place) for place in places)


def _index(settings: Settings, travels: Mapping[str, object]) -> dict[str, Content]:
    """The index's last commit, if it is whole and the Space will have its encoder."""
    folder = settings.index
    commit = commits.read(folder)
    for stored in commit.files:
        if problem := stored.problem(folder):
            raise IndexDamaged(f"{problem} ({folder}).", remedy="Mend it with `rag doctor`.")
    usual = Settings.model_fields["encoder"].default
    if commit.encoder.name != travels.get("RAG_ENCODER", usual):
        raise IndexUnusable(
            f"The index in {folder} is one of {commit.encoder.name}, which the Space will not have.",
            remedy="Send the articles with --articles: the Space indexes them with its own encoder.",
        )
    names = [commits.CURRENT, *(stored.name for stored in commit.files), threshold.FILE]
    return {f"index/{name}": folder / name for name in names if (folder / name).is_file()}


# -- settings that go along


def _travelling(settings: Settings) -> tuple[dict[str, str | SecretStr], tuple[str, ...]]:
    """The variables that are set and make sense elsewhere; and what is told of models left here."""
    travels: dict[str, str | SecretStr] = {}
    left: list[str] = []
    for name in sorted(settings.model_fields_set):
        key, value = f"RAG_{name.upper()}", getattr(settings, name)
        if value == "" or (name in _OF_SERVER and not _on_server(settings)):
            continue
        if _names_local(name, value):
            left.append(f"{key} stays here, since {value} is known to this machine only.")
        elif name not in _AT_HOME and not isinstance(value, Path):
            travels[key] = _guarded(value)
    return travels, tuple(left)


def _guarded(value: Any) -> str | SecretStr:
    """A setting as it may be shown: variables are for all to read, and an address may hold a password."""
    if isinstance(value, SecretStr):
        return value
    address = urlsplit(str(value)) if _host(str(value)) else None
    return (
        SecretStr(str(value))
        if address and (address.query or "@" in address.netloc)
        else str(value)
    )


def _on_server(settings: Settings) -> bool:
    """Whether the generator is one that the Space can reach as well."""
    return bool(_host(settings.generator)) and not _names_local("generator", settings.generator)


def _names_local(name: str, value: Any) -> bool:
    """Whether it is a setting's free text, and names a file or a host that only this machine knows."""
    if Settings.model_fields[name].annotation is not str or not value:
        return False
    host = _host(value)
    return _is_near(host) if host else Path(value).expanduser().exists()


def _host(value: str) -> str:
    return (urlsplit(value).hostname or "") if value.startswith(("http://", "https://")) else ""


def _is_near(host: str) -> bool:
    """Whether only this machine's own network knows the host."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".internal"))


# -- the hub


def _connected() -> "HfApi":
    """The hub with this user's token. Raises SpaceError when there is none."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # else it tells the hub what this machine runs
    import huggingface_hub as hub
    from httpx2 import Client, Timeout
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not (token := hub.get_token()):
        raise SpaceError(
            "There is no token for the hub.",
            remedy="Log in with `hf auth login`, or set HF_TOKEN to one that may write.",
        )
    if hub.is_offline_mode():
        raise SpaceError(
            "HF_HUB_OFFLINE is set, so the hub is not asked.", remedy="Unset it for this command."
        )
    patience = Timeout(SILENT_S, connect=CONNECT_S)  # the library's own has no end
    hub.set_client_factory(lambda: Client(follow_redirects=True, timeout=patience))
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if not sys.stderr.isatty():
        disable_progress_bars()
    return hub.HfApi(token=token, library_name="footnote")


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What goes wrong on the way to the hub, as SpaceError."""
    from httpx2 import HTTPError
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.errors import HfHubHTTPError

    try:
        with warnings.catch_warnings():  # that a table of articles had better be a data set
            warnings.simplefilter("ignore")
            yield
    except HfHubHTTPError as error:
        raise _refused(name, error) from error
    except HTTPError as error:
        raise SpaceError(
            f"The hub cannot be reached, or broke off: {ENDPOINT}.",
            remedy="See whether this machine is online, and deploy again.",
        ) from error
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SpaceError(
            f"The upload to {name} failed: {said}", remedy="Deploy again; what is there is kept."
        ) from error


def _refused(name: str, error: Any) -> SpaceError:
    status = error.response.status_code
    said = " ".join((error.server_message or "").split())[:200]
    reasons = {
        401: (
            "the hub does not know the token",
            "Log in anew with `hf auth login`, or set HF_TOKEN.",
        ),
        402: ("the hub wants it paid for", "See https://huggingface.co/pricing."),
        403: (
            f"the token may not write to {name}",
            "Make one that may at https://huggingface.co/settings/tokens, or choose another owner.",
        ),
        404: (
            "the hub does not know it, or not this token's owner",
            "See whether the name is right.",
        ),
        429: ("it was too much at a time", "Deploy again in some minutes."),
    }
    reason, remedy = reasons.get(
        status, (f"the hub failed (status {status})", "Deploy again later.")
    )
    return SpaceError(
        f"The Space {name} was not brought up to date: {reason}{f' ({said})' if said else ''}.",
        remedy=remedy,
    )


def _created(hub: "HfApi", name: str, private: bool) -> str:
    """The address of the Space, made if it is not there: where that costs something, on ZeroGPU."""
    from huggingface_hub import SpaceHardware
    from huggingface_hub.errors import HfHubHTTPError

    about: dict[str, Any] = {"repo_type": "space", "space_sdk": "gradio", "exist_ok": True}
    about |= {"visibility": "private" if private else None}
    try:
        return str(hub.create_repo(name, **about))
    except HfHubHTTPError as error:
        if error.response.status_code != 402:
            raise
        return str(hub.create_repo(name, space_hardware=SpaceHardware.ZERO_A10G, **about))


def _commit(hub: "HfApi", name: str, files: Mapping[str, Content]) -> None:
    """Have the Space hold these files, and none of an earlier deployment's that are not among them."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    held = hub.list_repo_files(name, repo_type="space")
    gone = [path for path in held if path.startswith(OWN_FOLDERS) and path not in files]
    hub.create_commit(
        name,
        [
            *(CommitOperationAdd(path, content) for path, content in files.items()),
            *(CommitOperationDelete(path, is_folder=False) for path in gone),
        ],
        commit_message="Deploy Footnote",
        repo_type="space",
    )
