"""`rag models`: what can be used and what is in use; pulling, choosing and removing models."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag import catalogue
from rag.catalogue import CATALOGUE, Job, Model, size
from rag.errors import ModelError, NoIndex, UsageError
from rag.settings import Settings, choose, chosen, load
from rag.terminal import print_json, waiting

if TYPE_CHECKING:
    from rag.encoder import Encoder
    from rag.index import PassageIndex

SAMPLE = 32
"""Passages that a new encoder is timed on."""

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A name of the list, owner/repo:file.gguf or owner/repo of the hub.",
        show_default=False,
    ),
]
ForIndex = Annotated[
    Path | None, typer.Option("--index", metavar="DIR", help="For this index alone.")
]


@app.callback()
def list_models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """List the models; pull, use, reset or remove one."""
    if context.invoked_subcommand is not None:
        return
    settings = load()
    rows = [_row(model, settings) for model in CATALOGUE] + _own(settings)
    if as_json:
        for row in rows:
            print_json(row)
    else:
        _show(rows)


@app.command()
def pull(name: Name) -> None:
    """Fetch a model from the hub, into the hub's own cache; stopped, it goes on where it was."""
    from rag import hub

    wanted = catalogue.hub_files(name)
    if wanted is None:
        known = catalogue.find(name)
        if known is not None:
            print(f"{known.name} comes along; there is nothing to pull.")
            return
        raise UsageError(
            f"{name!r} is no model of the hub.",
            remedy="Give a name of `rag models`, owner/repo:file.gguf or owner/repo.",
        )
    known = catalogue.find(name)
    if known is not None:
        print(f"{known.name}: {size(known.download)}, licence {known.licence}.")
    place = hub.pull(wanted)
    print(f"{name} is in {place}. `rag models use {name}` has it used.")


@app.command()
def use(name: Name, index: ForIndex = None) -> None:
    """Use a model for everything, or for one index: a name, a file, a folder or a server's address."""
    known = catalogue.find(name)
    name = known.name if known else name
    settings = load(index=index)
    job = known.job if known else _job(name)
    with waiting(f"Looking at {name} …"):
        told = _looked_at(job, name, settings.model_copy(update={job.value: name}))
    place = settings.index if index else None
    file = choose(place, chosen(place) | {job: name})
    print(
        f"The {job} is now {name}, for {f'the index in {index}' if index else 'everything'} ({file})."
    )
    for line in (told, _overridden(job, name, index)):
        if line:
            print(line)


@app.command()
def reset(index: ForIndex = None) -> None:
    """Forget what was chosen with `use`: for everything, or for one index."""
    place = load(index=index).index if index else None
    before = chosen(place)
    choose(place, {})
    what = ", ".join(f"{job} {name}" for job, name in before.items()) or "nothing was chosen"
    print(f"Forgotten: {what}.")


@app.command()
def remove(name: Name) -> None:
    """Take a model out of the hub's cache."""
    from rag import hub

    wanted = catalogue.hub_files(name)
    if wanted is None:
        raise UsageError(
            f"{name!r} is no model of the hub.", remedy="See `rag models` for those that are here."
        )
    settings = load()
    used = [job for job in Job if catalogue.hub_files(getattr(settings, job)) == wanted]
    freed = hub.remove(wanted)
    print(f"{name} is gone; {size(freed)} are free again.")
    if used:
        print(f"It was the {used[0]} in use: choose another with `rag models use`.")


# -- what is there


def _row(model: Model, settings: Settings) -> dict[str, Any]:
    about = {key: value for key, value in asdict(model).items() if key not in {"hub", "job"}}
    return {
        "name": model.name,
        "job": model.job.value,
        **about,
        "hub": str(model.hub) if model.hub else None,
        "here": _here(model),
        "in_use": getattr(settings, model.job).casefold() == model.name.casefold(),
    }


def _here(model: Model) -> bool:
    from rag import hub

    return model.hub is None or hub.located(model.hub) is not None


def _own(settings: Settings) -> list[dict[str, Any]]:
    """What is in use and not of the catalogue."""
    named = [(job, str(getattr(settings, job))) for job in Job]
    return [
        {"name": name, "job": job.value, "in_use": True}
        for job, name in named
        if name and catalogue.find(name) is None
    ]


def _show(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        state = "  (in use)" if row["in_use"] else "  (here)" if row.get("here") else ""
        print(f"{row['job']:<10} {row['name']}{state}")
        if "licence" not in row:
            continue
        fetched = f"{size(row['download'])} to fetch" if row["download"] else "comes along"
        print(
            f"           {fetched}, {size(row['memory'])} of memory; {row['languages']}; {row['licence']}"
        )
        print(f"           {row['measured']}{'; ' + row['note'] if row['note'] else ''}")


# -- choosing


def _job(name: str) -> Job:
    """What a model that is not of the catalogue is for, as its files tell. Raises ModelError."""
    from rag import hub

    wanted = catalogue.hub_files(name)
    if name.startswith(("http://", "https://")) or (wanted and wanted.file):
        return Job.GENERATOR
    place = Path(name).expanduser()
    if not place.exists() and wanted:
        place = hub.located(wanted) or place
    if place.is_file():
        return Job.GENERATOR
    if (place / "modules.json").is_file() and not _scores(place):
        return Job.ENCODER
    scores = _scores(place)
    if scores:
        return Job.RERANKER if scores == 1 else Job.CHECKER
    pull_it = f"Run `rag models pull {name}` first. " if wanted else ""
    raise ModelError(
        f"There is no model {name!r} on this machine.",
        remedy=f"{pull_it}See `rag models`, or name a GGUF file or a model's folder.",
    )


def _scores(folder: Path) -> int:
    """How many scores the CrossEncoder in a folder gives; 0 where there is none."""
    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0
    reads_pairs = "sentence_transformers" in about or any(
        "SequenceClassification" in name for name in about.get("architectures") or []
    )
    return len(about.get("id2label") or {0: ""}) if reads_pairs else 0


def _looked_at(job: Job, name: str, settings: Settings) -> str:
    """What is to be said of a model before it is chosen. Raises ModelError when it cannot be used."""
    from rag import memory
    from rag.chatbot import generator_of
    from rag.models import cross_encoder_folder

    most = memory.budget(settings.memory)
    if job is Job.GENERATOR:
        generator = generator_of(settings, most)
        if not generator.memory:  # a server's
            generator.load()
            return f"It answers, as {generator.name}; {generator.context:,} tokens are its context."
        memory.check([memory.Need(job, name, generator.memory)], most)
        takes = f"It takes {size(generator.memory)} of memory"
        return f"{takes}; {generator.context:,} tokens are its context."
    if job is Job.ENCODER:
        return _encoder_looked_at(settings, most)
    folder = cross_encoder_folder(name, job)
    memory.check([memory.Need(job, name, memory.of_weights(folder))], most)
    return ""


def _encoder_looked_at(settings: Settings, most: int) -> str:
    """What is to be done again with another encoder, and how long that will take."""
    from rag import memory
    from rag.encoder import Encoder
    from rag.index import PassageIndex

    encoder = Encoder.chosen(settings)
    memory.check([memory.Need(Job.ENCODER, encoder.name, encoder.memory)], most)
    try:
        with PassageIndex.open(settings.index) as index:
            if index.commit.encoder == encoder.id:
                return f"The index in {settings.index} was made by it."
            passages, seconds = index.contents().passages, _estimate(encoder, index)
    except NoIndex:
        return ""
    return (
        f"The index in {settings.index} was made by {index.commit.encoder.name}: `rag index` will encode"
        f" its {passages:,} passages anew, in about {seconds:,.0f} s."
    )


def _estimate(encoder: "Encoder", index: "PassageIndex") -> float:
    """Seconds that encoding the index's passages will take, loading left out; by a sample of them."""
    from rag.passages import split

    encoder.load()
    texts = [
        article.text[passage.start : passage.end]
        for article in index.sample(SAMPLE)
        for passage in split(article, encoder.count_tokens, encoder.max_tokens)
    ][:SAMPLE]
    began = time.perf_counter()
    encoder.encode_passages(texts)
    each = (time.perf_counter() - began) / max(1, len(texts))
    return each * index.contents().passages


def _overridden(job: Job, name: str, index: Path | None) -> str:
    """What keeps the choice from being followed, if anything does."""
    effective = getattr(load(index=index), job)
    if effective == name:
        return ""
    return f"RAG_{job.upper()}, or what was chosen for the index, says {effective}, and goes first."
