"""Downloads of models from a Hugging Face hub, and lookups in its local cache.

Only `pull` uses the network, and only at the user's command. Files go into huggingface_hub's own cache,
where other programs find them too. The cache names each file by its hash; a downloaded file gets that
name only once its contents have that hash.
"""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from rag.errors import ModelError
from rag.files import DISK_FULL, sha256_file
from rag.models.registry import HubFiles, size

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

OFFLINE = "HF_HUB_OFFLINE"
"""The environment variable that keeps huggingface_hub from using the network."""

MODEL_SUFFIXES = {".json", ".txt", ".model", ".safetensors", ".jinja"}
"""Types of files that encoders, rerankers and checkers are loaded from. Pickles are not among them."""

SKIPPED_FOLDERS = {"onnx", "openvino"}
"""Folders that hold the same weights for other runtimes."""

SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)")
"""Matches the numbering in the name of one file of a GGUF model that is split into several."""

HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

RESERVED_DISK_BYTES = 100_000_000
"""Bytes that a download leaves free on the disk."""

_MODEL_PATTERNS = [f"*{suffix}" for suffix in sorted(MODEL_SUFFIXES)]


class RemoteFile(NamedTuple):
    """A file of a hub repository, and the hash by which the cache names it."""

    path: str
    size: int
    hash: str
    algorithm: str


def stay_offline() -> None:
    """Keep libraries from checking the hub for newer files, unless the environment says otherwise."""
    os.environ.setdefault(OFFLINE, "1")


def find_cached(wanted: HubFiles) -> Path | None:
    """Find a model in the cache.

    Args:
        wanted: The model's repository, and for a GGUF model its file.

    Returns:
        The GGUF file, or the model's folder; None when the model is missing or incomplete.
    """
    stay_offline()
    from huggingface_hub import snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        if wanted.file:
            file = try_to_load_from_cache(wanted.repo, wanted.file)
            return Path(file) if isinstance(file, str) else None
        folder = Path(
            snapshot_download(wanted.repo, local_files_only=True, allow_patterns=_MODEL_PATTERNS)
        )
    except (LocalEntryNotFoundError, HFValidationError, ValueError):
        return None
    return folder if any(folder.rglob("*.safetensors")) else None


def pull(wanted: HubFiles) -> Path:
    """Download a model into the cache, and show the progress if stderr is a terminal.

    A download that was interrupted is resumed.

    Args:
        wanted: The model's repository, and for a GGUF model its file.

    Returns:
        The GGUF file, or the model's folder.

    Raises:
        ModelError: The model cannot be downloaded, or its contents do not have the announced hash.
    """
    if os.environ.get(OFFLINE, "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise ModelError(
            f"{OFFLINE} is set, so {wanted} cannot be downloaded.",
            remedy="Unset it and pull again.",
        )
    with _translate_hub_errors(wanted):
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.utils.tqdm import disable_progress_bars

        if not sys.stderr.isatty():
            disable_progress_bars()
        info = HfApi().model_info(wanted.repo, files_metadata=True)
        files = _select_files(info.siblings or [], wanted)
        blobs = _blobs_folder(wanted.repo)
        missing = [file for file in files if not (blobs / file.hash).is_file()]
        _check_disk_space(missing, blobs)
        for file in missing:
            _download(wanted.repo, info.sha or "main", file, blobs)
        disable_progress_bars()  # from here on, files are only linked
        folder = snapshot_download(wanted.repo, allow_patterns=[file.path for file in files])
    return Path(folder) / wanted.file


def remove(wanted: HubFiles) -> int:
    """Delete a model from the cache.

    Args:
        wanted: The model's repository, and for a GGUF model its file.

    Returns:
        The number of bytes freed.

    Raises:
        ModelError: The model is not in the cache.
    """
    path = find_cached(wanted)
    if path is None:
        raise ModelError(f"{wanted} is not on this machine.", remedy="See `rag models`.")
    files = _shards(path) if wanted.file else path.rglob("*")
    links = [file for file in files if file.is_file()]
    freed_bytes = 0
    for link in links:
        blob = link.resolve()
        freed_bytes += blob.stat().st_size
        link.unlink()
        blob.unlink(missing_ok=True)
    return freed_bytes


def _shards(file: Path) -> list[Path]:
    """Return all files of a GGUF model, given one of them."""
    return sorted(file.parent.glob(SHARD.sub("-?????-of-?????", file.name)))


def _select_files(siblings: "Sequence[RepoSibling]", wanted: HubFiles) -> list[RemoteFile]:
    """Return the repository's files that the model needs. Raises ModelError if they are missing."""
    files = [_remote_file(sibling) for sibling in siblings]
    gguf_files = [file.path for file in files if file.path.endswith(".gguf")]
    if wanted.file:
        unnumbered = SHARD.sub("", wanted.file)
        selected = [file for file in files if SHARD.sub("", file.path) == unnumbered]
        if not selected:
            raise ModelError(
                f"The repository {wanted.repo} has no file {wanted.file!r}.",
                remedy=f"Its GGUF files: {', '.join(gguf_files) or 'none'}.",
            )
        return selected
    if gguf_files:
        raise ModelError(
            f"The repository {wanted.repo} has {len(gguf_files)} GGUF files.",
            remedy=f"Name one of them: {wanted.repo}:{gguf_files[0]}.",
        )
    selected = [file for file in files if _is_model_file(PurePosixPath(file.path))]
    if not any(file.path.endswith(".safetensors") for file in selected):
        raise ModelError(
            f"The repository {wanted.repo} has no weights in safetensors format.",
            remedy="Choose another model; pickles, which can contain programs, are not loaded.",
        )
    return selected


def _is_model_file(path: PurePosixPath) -> bool:
    return path.suffix in MODEL_SUFFIXES and not SKIPPED_FOLDERS.intersection(path.parts)


def _remote_file(sibling: "RepoSibling") -> RemoteFile:
    if sibling.lfs:
        size, hash, algorithm = sibling.lfs.size, sibling.lfs.sha256, "sha256"
    else:
        size, hash, algorithm = sibling.size or 0, sibling.blob_id or "", "git-sha1"
    if not HASH.fullmatch(hash):  # it becomes a file name
        raise ModelError(
            f"The hub reports no valid hash for {sibling.rfilename}.",
            remedy="Choose another model or hub.",
        )
    return RemoteFile(sibling.rfilename, size, hash, algorithm)


def _blobs_folder(repo: str) -> Path:
    """Return the folder where the cache keeps the contents of a repository's files."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    repo_folder = repo_folder_name(repo_id=repo, repo_type="model")
    return Path(HF_HUB_CACHE).expanduser() / repo_folder / "blobs"


def _check_disk_space(files: Sequence[RemoteFile], blobs: Path) -> None:
    """Raise ModelError if the disk has no room for what is still to be downloaded."""
    blobs.mkdir(parents=True, exist_ok=True)
    partial_files = [_partial_file(blobs, file) for file in files]
    downloaded = sum(partial.stat().st_size for partial in partial_files if partial.is_file())
    needed = sum(file.size for file in files) - downloaded
    free = shutil.disk_usage(blobs).free
    if needed + RESERVED_DISK_BYTES > free:
        raise ModelError(
            f"The download needs {size(needed)}, and {blobs} has {size(free)} free.",
            remedy="Free some disk space, or set HF_HOME to a folder on another disk.",
        )


def _partial_file(blobs: Path, file: RemoteFile) -> Path:
    return blobs / f"{file.hash}.incomplete"


def _download(repo: str, revision: str, file: RemoteFile, blobs: Path) -> None:
    """Download a file into the blobs folder, resuming an interrupted download. Raises ModelError."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    partial = _partial_file(blobs, file)
    url = hf_hub_url(repo, file.path, revision=revision)
    location = get_hf_file_metadata(url).location
    headers = build_hf_headers()
    if urlsplit(location).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)  # the token is for the hub, not for its storage host
    # snapshot_download restarts interrupted downloads from the beginning (since huggingface_hub 2.4,
    # because its file lock does not work on some network disks).
    with partial.open("ab") as output:
        if output.tell() > file.size:
            output.truncate(0)
        http_get(
            location,
            output,
            resume_size=output.tell(),
            headers=headers,
            expected_size=file.size,
            displayed_filename=file.path,
        )
    if _hash(partial, file.algorithm) != file.hash:
        partial.unlink()
        raise ModelError(
            f"The downloaded {file.path} of {repo} does not have the hash that the hub announced.",
            remedy="Pull again; if it happens twice, check your network, proxy or hub.",
        )
    partial.replace(blobs / file.hash)


def _hash(path: Path, algorithm: str) -> str:
    if algorithm == "sha256":
        return sha256_file(path)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


@contextmanager
def _translate_hub_errors(wanted: HubFiles) -> Iterator[None]:
    """Raise ModelError for errors of huggingface_hub, of the network and of the disk."""
    import httpx2
    from huggingface_hub import errors
    from huggingface_hub.constants import ENDPOINT

    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{wanted.repo} is available only to those who have accepted its licence.",
            remedy=f"Accept it on {ENDPOINT}/{wanted.repo}, and set HF_TOKEN to your access token.",
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise ModelError(
            f"There is no model {wanted.repo} at {ENDPOINT}, or it is private.",
            remedy="Check the name, or set HF_TOKEN to a token with read access.",
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise ModelError(
            f"The hub at {ENDPOINT} answered the request for {wanted} with HTTP status {status}.",
            remedy="Pull again later; the download resumes where it stopped.",
        ) from error
    except (httpx2.HTTPError, errors.LocalEntryNotFoundError) as error:
        raise ModelError(
            f"The hub at {ENDPOINT} cannot be reached, or closed the connection.",
            remedy="Pull again; the download resumes where it stopped. HF_ENDPOINT names another hub.",
        ) from error
    except OSError as error:
        if error.errno in DISK_FULL:
            remedy = "Free some disk space."
        else:
            remedy = "Pull again; the download resumes where it stopped."
        reason = error.strerror or str(error).splitlines()[0]
        raise ModelError(f"{wanted} cannot be downloaded: {reason}.", remedy=remedy) from error
