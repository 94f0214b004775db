"""Catalogue of known models: role, licence, size, memory and measured quality."""

from dataclasses import dataclass

from rag.types import ModelRole


@dataclass(frozen=True, slots=True)
class HubFiles:
    """The location of a model on the hub.

    Attributes:
        repo: The repository, as `owner/name`.
        file: The GGUF file in it; empty for a model that consists of the whole repository.
    """

    repo: str
    file: str = ""

    def __str__(self) -> str:
        return f"{self.repo}:{self.file}" if self.file else self.repo


@dataclass(frozen=True, slots=True)
class Model:
    """A known model.

    Attributes:
        name: The name by which the user chooses it.
        job: What it is used for.
        licence: Its licence.
        languages: The languages that it handles.
        download: Bytes to download; 0 for a bundled model.
        memory: Bytes of memory that it takes in use, context included.
        hub: Where it is downloaded from; None for a bundled model.
        measured: How good and fast it was in this project's own measurements.
        note: Anything else worth knowing when choosing it.
    """

    name: str
    job: ModelRole
    licence: str
    languages: str
    download: int
    memory: int
    hub: HubFiles | None
    measured: str = "not measured"
    note: str = ""


MB = 1_000_000

CATALOGUE = (
    Model(
        name="all-MiniLM-L6-v2",
        job=ModelRole.ENCODER,
        licence="Apache-2.0",
        languages="English",
        download=0,
        memory=350 * MB,
        hub=None,
        measured="nDCG@10 .659 by vectors alone, .749 with words (SciFact)",
    ),
    Model(
        name="granite-embedding-small-english-r2",
        job=ModelRole.ENCODER,
        licence="Apache-2.0",
        languages="English",
        download=98 * MB,
        memory=400 * MB,
        hub=HubFiles("ibm-granite/granite-embedding-small-english-r2"),
    ),
    Model(
        name="SmolLM2-135M-Instruct",
        job=ModelRole.GENERATOR,
        licence="Apache-2.0",
        languages="English",
        download=0,
        memory=350 * MB,
        hub=None,
        measured="72 % right, 8 % wrong, 0.5 s an answer (120 questions of SQuAD 2.0)",
    ),
    Model(
        name="Qwen3-4B-Instruct-2507",
        job=ModelRole.GENERATOR,
        licence="Apache-2.0",
        languages="many",
        download=2_497_281_120,
        memory=4_000 * MB,
        hub=HubFiles("unsloth/Qwen3-4B-Instruct-2507-GGUF", "Qwen3-4B-Instruct-2507-Q4_K_M.gguf"),
    ),
    Model(
        name="OCC-RAG-0.6B",
        job=ModelRole.GENERATOR,
        licence="MIT",
        languages="English, Russian",
        download=639_444_096,
        memory=1_900 * MB,
        hub=HubFiles("occ-ai/OCC-RAG-0.6B-GGUF", "OCC-RAG-0.6B-Q8_0.gguf"),
        note="made to answer from sources, after an analysis",
    ),
    Model(
        name="OCC-RAG-1.7B",
        job=ModelRole.GENERATOR,
        licence="MIT",
        languages="English, others not said",
        download=1_834_423_424,
        memory=3_100 * MB,
        hub=HubFiles("occ-ai/OCC-RAG-1.7B-GGUF", "OCC-RAG-1.7B-Q8_0.gguf"),
        note="made to answer from sources, after an analysis",
    ),
    Model(
        name="LFM2-1.2B-RAG",
        job=ModelRole.GENERATOR,
        licence="LFM Open License 1.0: no commercial use from 10 million USD of revenue a year",
        languages="Arabic, Chinese, English, French, German, Japanese, Korean, Spanish",
        download=730_894_048,
        memory=1_200 * MB,
        hub=HubFiles("LiquidAI/LFM2-1.2B-RAG-GGUF", "LFM2-1.2B-RAG-Q4_K_M.gguf"),
        note="made to answer from sources",
    ),
    Model(
        name="ettin-reranker-17m-v1",
        job=ModelRole.RERANKER,
        licence="Apache-2.0",
        languages="English",
        download=70 * MB,
        memory=350 * MB,
        hub=HubFiles("cross-encoder/ettin-reranker-17m-v1"),
    ),
    Model(
        name="ettin-reranker-32m-v1",
        job=ModelRole.RERANKER,
        licence="Apache-2.0",
        languages="English",
        download=130 * MB,
        memory=450 * MB,
        hub=HubFiles("cross-encoder/ettin-reranker-32m-v1"),
    ),
    Model(
        name="nli-deberta-v3-xsmall",
        job=ModelRole.CHECKER,
        licence="Apache-2.0",
        languages="English",
        download=292 * MB,
        memory=800 * MB,
        hub=HubFiles("cross-encoder/nli-deberta-v3-xsmall"),
    ),
)


def find(name: str) -> Model | None:
    """Return the model of this name, ignoring case; None if there is none."""
    for model in CATALOGUE:
        if model.name.casefold() == name.casefold():
            return model
    return None


def hub_files(name: str) -> HubFiles | None:
    """Resolve a model name to its location on the hub.

    Args:
        name: The name of a model in the catalogue, `owner/repo:file.gguf` or `owner/repo`.

    Returns:
        The location; None for a bundled model and for anything that is not such a name.
    """
    known = find(name)
    if known is not None:
        return known.hub
    repo, _, file = name.partition(":")
    parts = repo.split("/")
    if len(parts) != 2 or not all(parts) or parts[0] in {".", "..", "~"}:
        return None
    return HubFiles(repo, file)


def as_table() -> str:
    """Return the catalogue as a Markdown table, for docs/models.md."""
    rows = [
        "| model | job | licence | languages | download | memory | measured here |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for model in CATALOGUE:
        download = size(model.download) if model.download else "bundled"
        note = f" ({model.note})" if model.note else ""
        rows.append(
            f"| {model.name}{note} | {model.job} | {model.licence} | {model.languages} | {download}"
            f" | {size(model.memory)} | {model.measured} |"
        )
    return "\n".join(rows)


def size(number: int) -> str:
    """Format a number of bytes in megabytes or gigabytes."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
