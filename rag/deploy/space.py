"""Hugging Face Spaces: collect the files and settings of a deployment, and upload them.

Nothing leaves the machine except what a `Deployment` lists, and it goes to the hub only (HF_ENDPOINT, or
huggingface.co).
"""

import ipaddress
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml
from pydantic import SecretStr

from rag.errors import IndexDamaged, IndexUnusable, SourceError, SpaceError, UsageError
from rag.models.registry import hub_files
from rag.settings import PREFIX, SEEDS, Settings, variable_name
from rag.sources.registry import READERS
from rag.sources.scan import list_files
from rag.store import snapshot, thresholds
from rag.types import ModelRole

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Content = Path | bytes
"""A file's content: the file to upload, or the bytes themselves."""

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
"""Maximum time without any data from or to the hub. The library's own client has no timeout."""

MANAGED_FOLDERS = ("rag/", "articles/", "index/", "seeds/")
"""Folders of a Space in which files of an earlier deployment are deleted."""

README = Path(__file__).with_name("space-readme.md")
"""The README of a Space; its YAML front matter configures the Space."""

PACKAGE_FOLDER = Path(__file__).parents[1]

PAYMENT_REQUIRED = 402

_MACHINE_SETTINGS = {"host", "memory_mb", "port", "threads"}
"""Settings that describe this machine, and so are not uploaded. Neither are settings that are paths."""

_GENERATOR_SERVER_SETTINGS = {"generator_model", "generator_api_key"}
"""Settings that have a meaning only if the generator is a server."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The intended state of a Space.

    Attributes:
        files: Contents by path within the Space.
        variables: Environment variables, which everybody can read.
        secrets: Environment variables that only the Space's owner and program can read.
        notices: One line for each setting that is not uploaded, with the reason.
    """

    files: Mapping[str, Content]
    variables: Mapping[str, str]
    secrets: Mapping[str, SecretStr]
    notices: tuple[str, ...]


def build_deployment(
    name: str, settings: Settings, articles: Path | None, with_index: bool
) -> Deployment:
    """Collect what a Space is to contain.

    Args:
        name: The Space's name, OWNER/NAME.
        settings: The settings to run it with, as far as they make sense on another machine.
        articles: A folder of articles, which the Space indexes; without it, the sample articles.
        with_index: Whether to upload the index instead of articles.

    Raises:
        UsageError: The name or the folder is invalid.
        SourceError: The folder has no articles.
        IndexUnusable: The index is damaged, or the Space will not have its encoder.
        SpaceError: A file of the program is missing from this installation.
    """
    _, title = _split_name(name)
    portable_settings, notices = _select_portable_settings(settings)
    secrets = {
        key: value for key, value in portable_settings.items() if isinstance(value, SecretStr)
    }
    files = dict(_program_files(title, settings))
    if with_index:
        files |= _index_files(settings, portable_settings)
    elif articles:
        files |= _article_files(articles, "articles", settings)
    else:
        files |= _article_files(_find_project_file("seeds"), str(SEEDS), settings)
    return Deployment(
        files=files,
        variables={
            key: str(value) for key, value in portable_settings.items() if key not in secrets
        },
        secrets=secrets,
        notices=notices,
    )


def content_size(content: Content) -> int:
    """Return a content's size in bytes."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def deploy(name: str, deployment: Deployment, private: bool) -> str:
    """Create or update a Space.

    Args:
        name: The Space's name, OWNER/NAME.
        deployment: What it is to contain.
        private: Whether to make it private. If not, an existing Space keeps its visibility.

    Returns:
        The Space's URL.

    Raises:
        SpaceError: The hub cannot be reached, or refuses the upload.
    """
    api = _connect()
    with _translate_errors(name):
        url = _create_space(api, name, private)
        if private:  # create_repo leaves the visibility of an existing Space unchanged
            api.update_repo_settings(name, visibility="private", repo_type="space")
        # Settings come first: each commit restarts the Space with the settings of that moment.
        for key, value in deployment.variables.items():
            api.add_space_variable(name, key, value)
        for key, secret in deployment.secrets.items():
            api.add_space_secret(name, key, secret.get_secret_value())
        _commit_files(api, name, deployment.files)
    return url


# -- files


def _split_name(name: str) -> tuple[str, str]:
    """Return the owner and the name proper. Raises UsageError."""
    owner, slash, title = name.partition("/")
    part = re.compile(r"[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
    if not slash or not part.fullmatch(owner) or not part.fullmatch(title):
        raise UsageError(
            f"{name!r} is not a valid name of a Space.",
            remedy="Use OWNER/NAME, where OWNER is you or your organisation on the hub.",
        )
    return owner, title


def _program_files(title: str, settings: Settings) -> Iterator[tuple[str, Content]]:
    yield "README.md", _build_readme(title, settings)
    for name in ("app.py", "requirements.txt"):
        yield name, _find_project_file(name)
    for file in list_files(PACKAGE_FOLDER).files:
        if "__pycache__" not in file.name and not file.name.startswith("checkout/"):
            yield f"rag/{file.name}", file.path


def _find_project_file(name: str) -> Path:
    """Return a file or folder of the repository's root; a wheel has copies of some in `checkout`."""
    for folder in (PACKAGE_FOLDER / "checkout", PACKAGE_FOLDER.parent):
        if (folder / name).exists():
            return folder / name
    raise SpaceError(
        f"This installation has no {name}, which the Space needs.",
        remedy="Choose articles with --articles, or run the command in a checkout of the repository.",
    )


def _build_readme(title: str, settings: Settings) -> bytes:
    """Return the Space's README, whose front matter configures the Space.

    It has no licence, because Footnote's does not apply to the articles. Models on the hub are
    downloaded when the Space is built, because a running Space downloads none.
    """
    front_matter = yaml.safe_load(README.read_text(encoding="utf-8").split("---")[1])
    front_matter.pop("license", None)
    front_matter["title"] = title
    models = [hub_files(str(getattr(settings, role))) for role in ModelRole]
    downloads = [f"{model.repo} {model.file}".strip() for model in models if model]
    if downloads:
        front_matter["preload_from_hub"] = downloads
    header = yaml.safe_dump(front_matter, sort_keys=False, allow_unicode=True)
    text = "Answers from the articles of this Space only, with citations that you can check."
    return f"---\n{header}---\n\n# {title}\n\n{text} Made with Footnote.\n".encode()


def _article_files(folder: Path, target: str, settings: Settings) -> dict[str, Content]:
    """Return the articles of a folder by their paths in the Space, below `target`."""
    if not folder.is_dir():
        raise UsageError(
            f"Invalid value for --articles: {folder} is not a folder.",
            remedy="Name a folder of articles.",
        )
    excluded = [path.resolve() for path in (settings.index, settings.cache, settings.feedback)]
    files: dict[str, Content] = {
        f"{target}/{file.name}": file.path
        for file in list_files(folder).files
        if file.path.suffix.lower() in READERS and not _is_within(file.path, excluded)
    }
    if not files:
        raise SourceError(f"There are no articles in {folder}.", remedy="Choose another folder.")
    return files


def _is_within(file: Path, paths: Sequence[Path]) -> bool:
    return any(file.resolve().is_relative_to(path) for path in paths)


def _index_files(
    settings: Settings, portable_settings: Mapping[str, str | SecretStr]
) -> dict[str, Content]:
    """Return the files of the index's current snapshot, after checking that the Space can use them."""
    folder = settings.index
    current = snapshot.read(folder)
    for stored_file in current.files:
        if problem := stored_file.problem(folder):
            raise IndexDamaged(f"{problem} ({folder}).", remedy="Repair it with `rag doctor`.")
    default_encoder = Settings.model_fields["encoder"].default
    if current.encoder.name != portable_settings.get(f"{PREFIX}ENCODER", default_encoder):
        raise IndexUnusable(
            f"The index in {folder} needs the encoder {current.encoder.name}, which the Space does not"
            " have.",
            remedy="Upload the articles with --articles: the Space indexes them with its own encoder.",
        )
    names = [snapshot.CURRENT, *(stored.name for stored in current.files), thresholds.FILE]
    return {f"index/{name}": folder / name for name in names if (folder / name).is_file()}


# -- settings


def _select_portable_settings(
    settings: Settings,
) -> tuple[dict[str, str | SecretStr], tuple[str, ...]]:
    """Return the variables to set on the Space, and notices of models that it cannot have."""
    portable: dict[str, str | SecretStr] = {}
    notices: list[str] = []
    for name in sorted(settings.model_fields_set):
        value = getattr(settings, name)
        if value == "":
            continue
        if name in _GENERATOR_SERVER_SETTINGS and not _uses_public_server(settings):
            continue
        if _is_local(name, value):
            notices.append(
                f"{variable_name(name)} is not uploaded, because {value} exists on this machine only."
            )
        elif name not in _MACHINE_SETTINGS and not isinstance(value, Path):
            portable[f"{PREFIX}{name.upper()}"] = _mask_credentials(value)
    return portable, tuple(notices)


def _mask_credentials(value: Any) -> str | SecretStr:
    """Return a setting's value, as a secret if it is a URL that may contain a password or key."""
    if isinstance(value, SecretStr):
        return value
    text = str(value)
    if _url_host(text):
        url = urlsplit(text)
        if url.query or "@" in url.netloc:
            return SecretStr(text)
    return text


def _uses_public_server(settings: Settings) -> bool:
    """Return whether the generator is a server that the Space can reach."""
    return bool(_url_host(settings.generator)) and not _is_local("generator", settings.generator)


def _is_local(name: str, value: Any) -> bool:
    """Return whether a setting names a file or host that exists on this machine or network only."""
    if Settings.model_fields[name].annotation is not str or not value:
        return False
    host = _url_host(value)
    return _is_local_host(host) if host else Path(value).expanduser().exists()


def _url_host(value: str) -> str:
    """Return the host of an HTTP URL, or an empty string for anything else."""
    if not value.startswith(("http://", "https://")):
        return ""
    return urlsplit(value).hostname or ""


def _is_local_host(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".internal"))


# -- the hub


def _connect() -> "HfApi":
    """Return a client of the hub with the user's token. Raises SpaceError if there is no token."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # must be set before huggingface_hub is imported
    import huggingface_hub as hub
    from httpx2 import Client, Timeout
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not (token := hub.get_token()):
        raise SpaceError(
            "There is no token for the hub.",
            remedy="Log in with `hf auth login`, or set HF_TOKEN to a token with write access.",
        )
    if hub.is_offline_mode():
        raise SpaceError(
            "The hub cannot be used, because HF_HUB_OFFLINE is set.",
            remedy="Unset it for this command.",
        )
    timeout = Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    hub.set_client_factory(lambda: Client(follow_redirects=True, timeout=timeout))
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if not sys.stderr.isatty():
        disable_progress_bars()
    return hub.HfApi(token=token, library_name="footnote")


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    """Raise what goes wrong at the hub as SpaceError."""
    from httpx2 import HTTPError
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.errors import HfHubHTTPError

    try:
        with warnings.catch_warnings():  # the hub recommends a dataset for tables of articles
            warnings.simplefilter("ignore")
            yield
    except HfHubHTTPError as error:
        raise _build_http_error(name, error) from error
    except HTTPError as error:
        raise SpaceError(
            f"The hub at {ENDPOINT} cannot be reached, or closed the connection.",
            remedy="Check the network connection, and deploy again.",
        ) from error
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SpaceError(
            f"The upload to {name} failed: {reason}",
            remedy="Deploy again; files that were uploaded are kept.",
        ) from error


_HTTP_ERRORS = {
    401: ("the token is not valid", "Log in again with `hf auth login`, or set HF_TOKEN."),
    402: ("the hub requires payment", "See https://huggingface.co/pricing."),
    403: (
        "the token has no write access to it",
        "Create one that has at https://huggingface.co/settings/tokens, or choose another owner.",
    ),
    404: ("it does not exist, or the token's owner cannot see it", "Check the name."),
    429: ("there were too many requests", "Deploy again in a few minutes."),
}
"""Reasons and remedies by HTTP status."""


def _build_http_error(name: str, error: Any) -> SpaceError:
    status = error.response.status_code
    reason, remedy = _HTTP_ERRORS.get(
        status, (f"the hub failed (status {status})", "Deploy again later.")
    )
    message = " ".join((error.server_message or "").split())[:200]
    details = f" ({message})" if message else ""
    return SpaceError(f"Could not deploy {name}: {reason}{details}.", remedy=remedy)


def _create_space(api: "HfApi", name: str, private: bool) -> str:
    """Create the Space unless it exists, and return its URL.

    Where the account has to pay for the default hardware, the Space is created on ZeroGPU.
    """
    from huggingface_hub import SpaceHardware
    from huggingface_hub.errors import HfHubHTTPError

    options: dict[str, Any] = {
        "repo_type": "space",
        "space_sdk": "gradio",
        "exist_ok": True,
        "visibility": "private" if private else None,
    }
    try:
        return str(api.create_repo(name, **options))
    except HfHubHTTPError as error:
        if error.response.status_code != PAYMENT_REQUIRED:
            raise
        return str(api.create_repo(name, space_hardware=SpaceHardware.ZERO_A10G, **options))


def _commit_files(api: "HfApi", name: str, files: Mapping[str, Content]) -> None:
    """Upload the files, and delete those of an earlier deployment, in one commit."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    existing = api.list_repo_files(name, repo_type="space")
    obsolete = [path for path in existing if path.startswith(MANAGED_FOLDERS) and path not in files]
    additions = [CommitOperationAdd(path, content) for path, content in files.items()]
    deletions = [CommitOperationDelete(path, is_folder=False) for path in obsolete]
    api.create_commit(
        name,
        [*additions, *deletions],
        commit_message="Deploy Footnote",
        repo_type="space",
    )
