"""The models that can be asked for by name: what they are for, what they take, what they are worth."""

from dataclasses import dataclass
from enum import StrEnum


class Job(StrEnum):
    """What a model does here; also the name of the setting that chooses it."""

    ENCODER = "encoder"
    GENERATOR = "generator"
    RERANKER = "reranker"
    CHECKER = "checker"


@dataclass(frozen=True, slots=True)
class HubFiles:
    """Where a model lies on the hub: a GGUF `file` of a repository, or all of it where that is empty."""

    repo: str
    file: str = ""

    def __str__(self) -> str:
        return f"{self.repo}:{self.file}" if self.file else self.repo


@dataclass(frozen=True, slots=True)
class Model:
    """`hub` is None for a model that comes with the package.

    `download` and `memory` are bytes: what is fetched, and what it takes at work, with its share of
    the conversation.
    """

    name: str
    job: Job
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
        job=Job.ENCODER,
        licence="Apache-2.0",
        languages="English",
        download=0,
        memory=350 * MB,
        hub=None,
        measured="nDCG@10 .659 by vectors alone, .749 with words (SciFact)",
    ),
    Model(
        name="granite-embedding-small-english-r2",
        job=Job.ENCODER,
        licence="Apache-2.0",
        languages="English",
        download=98 * MB,
        memory=400 * MB,
        hub=HubFiles("ibm-granite/granite-embedding-small-english-r2"),
    ),
    Model(
        name="SmolLM2-135M-Instruct",
        job=Job.GENERATOR,
        licence="Apache-2.0; its adapter CC BY-SA 4.0",
        languages="English",
        download=0,
        memory=350 * MB,
        hub=None,
        measured="72 % right, 8 % wrong, 0.5 s an answer (120 questions of SQuAD 2.0)",
    ),
    Model(
        name="Qwen3-4B-Instruct-2507",
        job=Job.GENERATOR,
        licence="Apache-2.0",
        languages="many",
        download=2_497_281_120,
        memory=4_000 * MB,
        hub=HubFiles("unsloth/Qwen3-4B-Instruct-2507-GGUF", "Qwen3-4B-Instruct-2507-Q4_K_M.gguf"),
    ),
    Model(
        name="OCC-RAG-0.6B",
        job=Job.GENERATOR,
        licence="MIT",
        languages="English, Russian",
        download=639_444_096,
        memory=1_900 * MB,
        hub=HubFiles("occ-ai/OCC-RAG-0.6B-GGUF", "OCC-RAG-0.6B-Q8_0.gguf"),
        note="made to answer from sources, after an analysis",
    ),
    Model(
        name="OCC-RAG-1.7B",
        job=Job.GENERATOR,
        licence="MIT",
        languages="English, others not said",
        download=1_834_423_424,
        memory=3_100 * MB,
        hub=HubFiles("occ-ai/OCC-RAG-1.7B-GGUF", "OCC-RAG-1.7B-Q8_0.gguf"),
        note="made to answer from sources, after an analysis",
    ),
    Model(
        name="LFM2-1.2B-RAG",
        job=Job.GENERATOR,
        licence="LFM Open License 1.0: no commercial use from 10 million USD of revenue a year",
        languages="Arabic, Chinese, English, French, German, Japanese, Korean, Spanish",
        download=730_894_048,
        memory=1_200 * MB,
        hub=HubFiles("LiquidAI/LFM2-1.2B-RAG-GGUF", "LFM2-1.2B-RAG-Q4_K_M.gguf"),
        note="made to answer from sources",
    ),
    Model(
        name="ettin-reranker-17m-v1",
        job=Job.RERANKER,
        licence="Apache-2.0",
        languages="English",
        download=70 * MB,
        memory=350 * MB,
        hub=HubFiles("cross-encoder/ettin-reranker-17m-v1"),
    ),
    Model(
        name="ettin-reranker-32m-v1",
        job=Job.RERANKER,
        licence="Apache-2.0",
        languages="English",
        download=130 * MB,
        memory=450 * MB,
        hub=HubFiles("cross-encoder/ettin-reranker-32m-v1"),
    ),
    Model(
        name="nli-deberta-v3-xsmall",
        job=Job.CHECKER,
        licence="Apache-2.0",
        languages="English",
        download=292 * MB,
        memory=800 * MB,
        hub=HubFiles("cross-encoder/nli-deberta-v3-xsmall"),
    ),
)


def find(name: str) -> Model | None:
    """The model of this name, in capitals or not."""
    for model in CATALOGUE:
        if model.name.casefold() == name.casefold():
            return model
    return None


def hub_files(name: str) -> HubFiles | None:
    """Where on the hub a name points: a model's of the catalogue, `owner/repo:file.gguf` or `owner/repo`.

    None for a model that comes with the package, and for what is no such name.
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
    """The catalogue as the Markdown table that stands in docs/models.md."""
    rows = [
        "| model | job | licence | languages | download | memory | measured here |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for model in CATALOGUE:
        download = size(model.download) if model.download else "comes along"
        note = f" ({model.note})" if model.note else ""
        rows.append(
            f"| {model.name}{note} | {model.job} | {model.licence} | {model.languages} | {download}"
            f" | {size(model.memory)} | {model.measured} |"
        )
    return "\n".join(rows)


def size(number: int) -> str:
    """Bytes as people say them."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
