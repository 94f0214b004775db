"""`rag models`: list the models, and pull, use, reset or remove one."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.cli.options import JsonOption
from rag.cli.output import print_json, status
from rag.errors import ModelError, NoIndex, UsageError
from rag.models import registry
from rag.models.registry import CATALOGUE, Model, size
from rag.settings import (
    Settings,
    load,
    load_flags,
    load_model_choices,
    save_model_choices,
    variable_name,
)
from rag.types import ModelRole

if TYPE_CHECKING:
    from rag.models.embedding.encoder import Encoder
    from rag.store.reader import IndexReader

SAMPLE_SIZE = 32
"""Passages that are encoded to estimate how long a whole index takes."""

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A name from the list, or owner/repo:file.gguf or owner/repo on the hub.",
        show_default=False,
    ),
]
ForIndexOption = Annotated[
    Path | None, typer.Option("--index", metavar="DIR", help="For this index only.")
]


@app.callback()
def list_models(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the models; pull, use, reset or remove one."""
    if context.invoked_subcommand is not None:
        return
    settings = load()
    rows = [_describe(model, settings) for model in CATALOGUE] + _describe_unlisted(settings)
    if as_json:
        for row in rows:
            print_json(row)
    else:
        _print_models(rows)


@app.command()
def pull(name: NameArgument) -> None:
    """Download a model from the hub into the hub's cache; an interrupted download is resumed."""
    from rag.models import hub

    hub_files = registry.hub_files(name)
    model = registry.find(name)
    if hub_files is None:
        if model is not None:
            print(f"{model.name} is bundled; there is nothing to download.")
            return
        raise UsageError(
            f"{name!r} is not a model on the hub.",
            remedy="Use a name from `rag models`, owner/repo:file.gguf or owner/repo.",
        )
    if model is not None:
        print(f"{model.name}: {size(model.download)}, licence {model.licence}.")
    path = hub.pull(hub_files)
    print(f"Downloaded {name} to {path}. Run `rag models use {name}` to use it.")


@app.command()
def use(name: NameArgument, index: ForIndexOption = None) -> None:
    """Use a model everywhere, or for one index: a name, a file, a folder or the URL of a server."""
    model = registry.find(name)
    name = model.name if model else name
    settings = load_flags(index=index)
    role = model.job if model else _detect_role(name)
    with status(f"Checking {name} …"):
        notice = _check_model(role, name, settings.model_copy(update={role.value: name}))
    index_folder = settings.index if index else None
    choices = load_model_choices(index_folder) | {role: name}
    file = save_model_choices(index_folder, choices)
    scope = f"for the index in {index}" if index else "for every index"
    print(f"Using {name} as the {role} {scope} (saved in {file}).")
    for line in (notice, _find_override(role, name, index)):
        if line:
            print(line)


@app.command()
def reset(index: ForIndexOption = None) -> None:
    """Undo what `use` chose, for everything or for one index."""
    index_folder = load_flags(index=index).index if index else None
    choices = load_model_choices(index_folder)
    save_model_choices(index_folder, {})
    if not choices:
        print("No model was chosen, so nothing has changed.")
        return
    print(f"No longer chosen: {', '.join(f'{role} {name}' for role, name in choices.items())}.")


@app.command()
def remove(name: NameArgument) -> None:
    """Delete a model from the hub's cache."""
    from rag.models import hub

    hub_files = registry.hub_files(name)
    if hub_files is None:
        raise UsageError(
            f"{name!r} is not a model on the hub.", remedy="Run `rag models` for a list."
        )
    settings = load()
    roles = [role for role in ModelRole if registry.hub_files(getattr(settings, role)) == hub_files]
    freed_bytes = hub.remove(hub_files)
    print(f"Removed {name}, which frees {size(freed_bytes)}.")
    if roles:
        print(f"It was in use as the {roles[0]}: choose another with `rag models use`.")


# -- the list


def _describe(model: Model, settings: Settings) -> dict[str, Any]:
    details = {key: value for key, value in asdict(model).items() if key not in {"hub", "job"}}
    return {
        "name": model.name,
        "job": model.job.value,
        **details,
        "hub": str(model.hub) if model.hub else None,
        "here": _is_available(model),
        "in_use": getattr(settings, model.job).casefold() == model.name.casefold(),
    }


def _is_available(model: Model) -> bool:
    """Return whether a model is on this machine: bundled, or in the hub's cache."""
    from rag.models import hub

    return model.hub is None or hub.find_cached(model.hub) is not None


def _describe_unlisted(settings: Settings) -> list[dict[str, Any]]:
    """Return the models in use that are not in the catalogue."""
    names = {role: str(getattr(settings, role)) for role in ModelRole}
    return [
        {"name": name, "job": role.value, "in_use": True}
        for role, name in names.items()
        if name and registry.find(name) is None
    ]


def _print_models(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        state = "  (in use)" if row["in_use"] else "  (installed)" if row.get("here") else ""
        print(f"{row['job']:<10} {row['name']}{state}")
        if "licence" not in row:
            continue
        download = f"{size(row['download'])} download" if row["download"] else "bundled"
        memory = f"{size(row['memory'])} of memory"
        print(f"           {download}, {memory}; {row['languages']}; {row['licence']}")
        print(f"           {row['measured']}{'; ' + row['note'] if row['note'] else ''}")


# -- choosing a model


def _detect_role(name: str) -> ModelRole:
    """Return the role of a model outside the catalogue, from its name and files.

    Raises:
        ModelError: There is no such model on this machine.
    """
    from rag.models import hub

    hub_files = registry.hub_files(name)
    if name.startswith(("http://", "https://")) or (hub_files and hub_files.file):
        return ModelRole.GENERATOR
    path = Path(name).expanduser()
    if not path.exists() and hub_files:
        path = hub.find_cached(hub_files) or path
    if path.is_file():
        return ModelRole.GENERATOR
    scores = _count_cross_encoder_scores(path)
    if scores:
        return ModelRole.RERANKER if scores == 1 else ModelRole.CHECKER
    if (path / "modules.json").is_file():
        return ModelRole.ENCODER
    download = f"Run `rag models pull {name}` first. " if hub_files else ""
    raise ModelError(
        f"There is no model {name!r} on this machine.",
        remedy=f"{download}See `rag models`, or name a GGUF file or a model's folder.",
    )


def _count_cross_encoder_scores(folder: Path) -> int:
    """Return how many scores the CrossEncoder in a folder outputs, or 0 if there is none."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0
    is_cross_encoder = "sentence_transformers" in config or any(
        "SequenceClassification" in name for name in config.get("architectures") or []
    )
    return len(config.get("id2label") or {0: ""}) if is_cross_encoder else 0


def _check_model(role: ModelRole, name: str, settings: Settings) -> str:
    """Check that a model can be used, and return what the user should know about it.

    Raises:
        ModelError: It cannot be loaded, or does not fit into memory.
    """
    from rag.answering.loading import build_generator
    from rag.models import memory
    from rag.models.resolve import cross_encoder_folder

    budget = memory.budget(settings.memory_mb)
    if role is ModelRole.GENERATOR:
        generator = build_generator(settings, budget)
        if not generator.memory:  # it runs on a server
            generator.load()
            return f"The server answers as {generator.name}; context: {generator.context:,} tokens."
        memory.check([memory.MemoryRequirement(role, name, generator.memory)], budget)
        return f"Memory: {size(generator.memory)}; context: {generator.context:,} tokens."
    if role is ModelRole.ENCODER:
        return _check_encoder(settings, budget)
    folder = cross_encoder_folder(name, role)
    memory.check([memory.MemoryRequirement(role, name, memory.estimate_memory(folder))], budget)
    return ""


def _check_encoder(settings: Settings, budget: int) -> str:
    """Check that an encoder fits into memory, and return how long re-encoding the index takes."""
    from rag.models import memory
    from rag.models.embedding.encoder import Encoder
    from rag.store.reader import IndexReader

    encoder = Encoder.from_settings(settings)
    requirement = memory.MemoryRequirement(ModelRole.ENCODER, encoder.name, encoder.memory)
    memory.check([requirement], budget)
    try:
        with IndexReader.open(settings.index) as reader:
            if reader.snapshot.encoder == encoder.id:
                return f"The index in {settings.index} was built with it."
            passages = reader.stats().passages
            seconds = _estimate_encoding_s(encoder, reader)
    except NoIndex:
        return ""
    return (
        f"The index in {settings.index} was built with {reader.snapshot.encoder.name}: `rag index` will"
        f" re-encode its {passages:,} passages, in about {seconds:,.0f} s."
    )


def _estimate_encoding_s(encoder: "Encoder", reader: "IndexReader") -> float:
    """Return the seconds that encoding all passages of an index will take, judging by a sample.

    The time for loading the encoder is not included.
    """
    from rag.text.chunking import split

    encoder.load()
    passages = [
        article.text[passage.start : passage.end]
        for article in reader.sample(SAMPLE_SIZE)
        for passage in split(article, encoder.count_tokens, encoder.max_tokens)
    ][:SAMPLE_SIZE]
    started_at = time.perf_counter()
    encoder.encode_passages(passages)
    seconds_per_passage = (time.perf_counter() - started_at) / max(1, len(passages))
    return seconds_per_passage * reader.stats().passages


def _find_override(role: ModelRole, name: str, index: Path | None) -> str:
    """Return a notice if a variable, or the index's own choice, takes precedence over a new choice."""
    effective = getattr(load_flags(index=index), role)
    if effective == name:
        return ""
    variable = variable_name(role)
    return f"{effective} takes precedence: it is set by {variable}, or chosen for the index."
