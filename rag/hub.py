"""Models of a hub: fetched when the user says so, and never otherwise.

They go through huggingface_hub into its own cache, where other programs find them too. It names a file by
its hash; what is fetched is put there under that name once it has that hash.
"""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from rag.catalogue import HubFiles, size
from rag.errors import ModelError

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

OFFLINE = "HF_HUB_OFFLINE"

KEPT = {".json", ".txt", ".model", ".safetensors", ".jinja"}
"""The kinds of files that an encoder, a reranker or a checker is read from. A pickle is none of them."""

LEFT = {"onnx", "openvino"}
"""Folders with the same weights once more, for programs that are not used here."""

PART = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)")
"""Marks a part of a GGUF model in several files."""

HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

SPARE = 100_000_000
"""Bytes of a disk that are left free."""


class Remote(NamedTuple):
    """A file of a repository, and the hash by which the cache names it."""

    path: str
    size: int
    hash: str
    algorithm: str


def stay_offline() -> None:
    """Keep the libraries from asking the hub about what is here; what the environment says goes."""
    os.environ.setdefault(OFFLINE, "1")


def located(wanted: HubFiles) -> Path | None:
    """Where the cache holds it: a GGUF file, or a model's folder. None when it is not (all) there."""
    stay_offline()
    from huggingface_hub import snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        if wanted.file:
            found = try_to_load_from_cache(wanted.repo, wanted.file)
            return Path(found) if isinstance(found, str) else None
        folder = Path(snapshot_download(wanted.repo, local_files_only=True, allow_patterns=_KEPT))
    except (LocalEntryNotFoundError, HFValidationError, ValueError):
        return None
    return folder if any(folder.rglob("*.safetensors")) else None


def pull(wanted: HubFiles) -> Path:
    """Fetch it, with progress on a terminal's stderr; what an earlier try has fetched is kept.

    Raises ModelError when it cannot be had, or is not what the hub says that it is.
    """
    if os.environ.get(OFFLINE, "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise ModelError(
            f"{OFFLINE} is set, so {wanted} is not fetched.", remedy="Unset it and pull again."
        )
    with _told(wanted):
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.utils.tqdm import disable_progress_bars

        if not sys.stderr.isatty():
            disable_progress_bars()
        about = HfApi().model_info(wanted.repo, files_metadata=True)
        files = _chosen(about.siblings or [], wanted)
        blobs = _blobs(wanted.repo)
        missing = [file for file in files if not (blobs / file.hash).is_file()]
        _make_room(missing, blobs)
        for file in missing:
            _fetch(wanted.repo, about.sha or "main", file, blobs)
        disable_progress_bars()  # nothing is left to be fetched, only to be linked
        folder = snapshot_download(wanted.repo, allow_patterns=[file.path for file in files])
    return Path(folder) / wanted.file


def remove(wanted: HubFiles) -> int:
    """Take it out of the cache; the bytes that this frees. Raises ModelError when it is not there."""
    place = located(wanted)
    if place is None:
        raise ModelError(f"{wanted} is not on this machine.", remedy="See `rag models`.")
    links = _parts(place) if wanted.file else [path for path in place.rglob("*") if path.is_file()]
    freed = 0
    for link in links:
        content = link.resolve()
        freed += content.stat().st_size
        link.unlink()
        content.unlink(missing_ok=True)
    return freed


def _parts(file: Path) -> list[Path]:
    """All files of a GGUF model."""
    return sorted(file.parent.glob(PART.sub("-?????-of-?????", file.name)))


_KEPT = [f"*{suffix}" for suffix in sorted(KEPT)]


def _chosen(siblings: "Sequence[RepoSibling]", wanted: HubFiles) -> list[Remote]:
    """The files that it takes. Raises ModelError when the repository does not hold them."""
    files = [_remote(sibling) for sibling in siblings]
    if wanted.file:
        alike = PART.sub("", wanted.file)
        chosen = [file for file in files if PART.sub("", file.path) == alike]
        if not chosen:
            offered = [file.path for file in files if file.path.endswith(".gguf")]
            raise ModelError(
                f"{wanted.repo} holds no file {wanted.file!r}.",
                remedy=f"It holds {', '.join(offered)}." if offered else "It holds no GGUF file.",
            )
        return chosen
    if any(file.path.endswith(".gguf") for file in files):
        offered = [file.path for file in files if file.path.endswith(".gguf")]
        raise ModelError(
            f"{wanted.repo} holds {len(offered)} GGUF files.",
            remedy=f"Name one of them: {wanted.repo}:{offered[0]}.",
        )
    chosen = [file for file in files if _is_kept(PurePosixPath(file.path))]
    if not any(file.path.endswith(".safetensors") for file in chosen):
        raise ModelError(
            f"{wanted.repo} holds no weights as safetensors.",
            remedy="Choose another; pickles, which can hold programs, are not read.",
        )
    return chosen


def _is_kept(path: PurePosixPath) -> bool:
    return path.suffix in KEPT and not LEFT.intersection(path.parts)


def _remote(sibling: "RepoSibling") -> Remote:
    if sibling.lfs:
        size, hash, algorithm = sibling.lfs.size, sibling.lfs.sha256, "sha256"
    else:
        size, hash, algorithm = sibling.size or 0, sibling.blob_id or "", "git-sha1"
    if not HASH.fullmatch(hash):  # it becomes a file's name
        raise ModelError(
            f"The hub gives no hash of {sibling.rfilename}.", remedy="Choose another model or hub."
        )
    return Remote(sibling.rfilename, size, hash, algorithm)


def _blobs(repo: str) -> Path:
    """Where the cache keeps the contents of a repository's files."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    return (
        Path(HF_HUB_CACHE).expanduser()
        / repo_folder_name(repo_id=repo, repo_type="model")
        / "blobs"
    )


def _make_room(files: Sequence[Remote], blobs: Path) -> None:
    """Raises ModelError when the disk has no room for what is still to be fetched."""
    blobs.mkdir(parents=True, exist_ok=True)
    there = sum(part.stat().st_size for file in files if (part := _part(blobs, file)).is_file())
    needed = sum(file.size for file in files) - there
    free = shutil.disk_usage(blobs).free
    if needed + SPARE > free:
        raise ModelError(
            f"{size(needed)} are to be fetched, and {blobs} has {size(free)} free.",
            remedy="Make room there, or set HF_HOME to a folder on another disk.",
        )


def _part(blobs: Path, file: Remote) -> Path:
    return blobs / f"{file.hash}.incomplete"


def _fetch(repo: str, revision: str, file: Remote, blobs: Path) -> None:
    """Fetch a file's content, going on where an earlier try has stopped. Raises ModelError."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    part = _part(blobs, file)
    url = hf_hub_url(repo, file.path, revision=revision)
    place = get_hf_file_metadata(url).location
    headers = build_hf_headers()
    if urlsplit(place).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)  # the token is the hub's, not for where its files lie
    # snapshot_download would begin anew each time (since huggingface_hub 2.4, as the lock is no help
    # on some network disks).
    with part.open("ab") as opened:
        if opened.tell() > file.size:
            opened.truncate(0)
        http_get(
            place,
            opened,
            resume_size=opened.tell(),
            headers=headers,
            expected_size=file.size,
            displayed_filename=file.path,
        )
    if _hash(part, file) != file.hash:
        part.unlink()
        raise ModelError(
            f"{file.path} of {repo} has come with another content than the hub announced.",
            remedy="Pull again; if that happens twice, the hub or the line to it cannot be trusted.",
        )
    part.replace(blobs / file.hash)


def _hash(part: Path, file: Remote) -> str:
    if file.algorithm == "sha256":
        with part.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    content = part.read_bytes()
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


@contextmanager
def _told(wanted: HubFiles) -> Iterator[None]:
    """What goes wrong on the way, as ModelError."""
    import httpx2
    from huggingface_hub import errors
    from huggingface_hub.constants import ENDPOINT

    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{wanted.repo} is given only to those who have accepted its licence.",
            remedy=f"Accept it on {ENDPOINT}/{wanted.repo}, and set HF_TOKEN to a token of yours.",
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise ModelError(
            f"There is no model {wanted.repo} at {ENDPOINT}, or it is private.",
            remedy="Check the name, or set HF_TOKEN to a token that may read it.",
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise ModelError(
            f"The hub at {ENDPOINT} failed (status {status}) when asked for {wanted}.",
            remedy="Pull again later: it goes on where it stopped.",
        ) from error
    except (httpx2.HTTPError, errors.LocalEntryNotFoundError) as error:
        raise ModelError(
            f"The hub at {ENDPOINT} cannot be reached, or broke off.",
            remedy="Pull again: it goes on where it stopped. HF_ENDPOINT names another hub.",
        ) from error
    except OSError as error:
        full = error.errno == ENOSPC
        raise ModelError(
            f"{wanted} could not be fetched: {error.strerror or str(error).splitlines()[0]}.",
            remedy="Make room on the disk." if full else "Pull again: it goes on where it stopped.",
        ) from error
