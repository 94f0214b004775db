"""Bring an index in line with its sources: read, compare, cut, encode, commit."""

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from rag import articles, passages
from rag.datatypes import Article, Skipped
from rag.encoder import Encoder
from rag.errors import NoIndex, SourceError
from rag.index import IndexChange, PassageIndex
from rag.settings import SEEDS

BATCH = 1024
"""Passages encoded between two writes: enough to sort by length, few enough to hold."""


class Progress(Protocol):
    """Who is told how a long job is getting on; `total` is None while it is not known."""

    def start(self, task: str, total: int | None) -> None: ...
    def advance(self, steps: int) -> None: ...


@dataclass(slots=True)
class Summary:
    """What a sync did to the articles of the sources that it looked at."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    left: list[Path] = field(default_factory=list)
    passages: int = 0
    encoded: int = 0
    encoding_s: float = 0.0
    seconds: float = 0.0
    encoder: str = ""

    def as_json(self) -> dict[str, Any]:
        rate = self.encoded / self.encoding_s if self.encoding_s else 0.0
        return {
            "articles": {
                "added": self.added,
                "changed": self.changed,
                "removed": self.removed,
                "unchanged": self.unchanged,
                "skipped": len(self.skipped),
            },
            "passages": self.passages,
            "seconds": round(self.seconds, 3),
            "passages_per_second": round(rate, 2),
            "encoder": self.encoder,
            "skipped": [skipped.as_json() for skipped in self.skipped],
            "sources_left": [str(path) for path in self.left],
        }


def sync(
    folder: Path, encoder: Encoder, named: Sequence[Path], *, rebuild: bool, progress: Progress
) -> Summary:
    """Bring the index in `folder` in line with the sources named, or with all that it remembers.

    A rebuilt index holds these sources and no others.
    Everything happens in one change of the index: when anything fails, or the user interrupts, the
    index is as it was. Raises SourceError, IndexUnusable and ModelError.
    """
    began = time.perf_counter()
    summary = Summary(encoder=encoder.name)
    named = [_found(path) for path in named]
    if rebuild and not named:
        named = _remembered(folder)
    with PassageIndex.change(folder, encoder.name, rebuild=rebuild) as index:
        remembered = index.sources()
        for path in _to_leave(remembered, named):
            summary.removed += index.remove_source(path)
            summary.left.append(path)
        for path in named or remembered or [_seeds()]:
            _compare(index, path, summary, progress)
        _cut(index, encoder, progress)
        _encode(index, encoder, summary, progress)
        summary.passages = index.contents().passages
    summary.seconds = time.perf_counter() - began
    return summary


def _found(path: Path) -> Path:
    """The whole path of a source. Raises SourceError when there is nothing."""
    try:
        whole = path.expanduser().resolve()
        if whole.exists():
            return whole
        problem = f"The source {whole} is not there."
    except OSError as error:  # too long, or forbidden
        problem = f"The source {path} cannot be read: {error.strerror}."
    except RuntimeError:
        problem = f"The source {path} is in the home of nobody here."
    raise SourceError(problem, remedy="Correct the path.")


def _remembered(folder: Path) -> list[Path]:
    with suppress(NoIndex), PassageIndex.open(folder) as index:
        return index.sources()
    return []


def _seeds() -> Path:
    if not SEEDS.is_dir():
        raise SourceError(
            f"No source was named, and there are no sample articles in {SEEDS.resolve()}.",
            remedy="Name a file or folder of articles: `rag index SOURCE`.",
        )
    return SEEDS.resolve()


def _to_leave(remembered: list[Path], named: list[Path]) -> list[Path]:
    """The sample articles, when the first source of the user's own comes in without them."""
    samples = SEEDS.resolve()
    return [samples] if named and samples not in named and remembered == [samples] else []


def _compare(index: IndexChange, path: Path, summary: Summary, progress: Progress) -> None:
    """Bring one source's articles in line, by the hashes of their contents."""
    progress.start(f"Reading {path.name}", None)
    source = index.add_source(path)
    gone = index.known(source)
    seen: set[str] = set()
    skipped: list[Skipped] = []
    for read in articles.read(path):
        progress.advance(1)
        if isinstance(read, Skipped):
            skipped.append(read)
        elif read.id in seen:
            skipped.append(Skipped(read.id, "another article of this source has the same id"))
        else:
            seen.add(read.id)
            before = gone.pop(read.id, None)
            content = _hash(read)
            if before is not None and before.hash == content:
                summary.unchanged += 1
                continue
            if before is not None:
                index.remove(before.number)
                summary.changed += 1
            else:
                summary.added += 1
            index.add(replace(read, id=_free_id(index, path, read.id)), source, read.id, content)
    if not seen:
        first = f" {skipped[0].path} was skipped: {skipped[0].reason}." if skipped else ""
        raise SourceError(
            f"No article could be read from {path}.{first}",
            remedy=f"Name a file or folder with {' '.join(articles.READERS)} files in it.",
        )
    for known in gone.values():
        index.remove(known.number)
    summary.removed += len(gone)
    summary.skipped += skipped


def _hash(article: Article) -> bytes:
    about = [article.title, article.text, article.date, article.source, article.url]
    return hashlib.sha256(json.dumps(about).encode()).digest()


def _free_id(index: PassageIndex, path: Path, id: str) -> str:
    """The id, with its source's name (and its parents', where that is taken too) in front if taken."""
    free = id
    for parent in (path, *path.parents):
        if not index.has_article(free):
            break
        free = f"{parent.name}/{free}"
    return free


def _cut(index: IndexChange, encoder: Encoder, progress: Progress) -> None:
    uncut = index.uncut()
    if not uncut:
        return
    progress.start("Cutting into passages", len(uncut))
    for number in uncut:
        article = index.article_of(number)
        index.add_passages(
            number, article, passages.split(article, encoder.count_tokens, encoder.max_tokens)
        )
        progress.advance(1)


def _encode(index: IndexChange, encoder: Encoder, summary: Summary, progress: Progress) -> None:
    numbers = index.unencoded()
    if not numbers:
        return
    progress.start("Encoding passages", len(numbers))
    began = time.perf_counter()

    @cache
    def heading(title: str, date: str | None) -> str:
        return passages.short_heading(title, date, encoder.count_tokens, encoder.max_tokens)

    for begin in range(0, len(numbers), BATCH):
        batch = numbers[begin : begin + BATCH]
        texts = [
            passages.encoded_text(heading(excerpt.title, excerpt.date), excerpt)
            for excerpt in index.passages(batch)
        ]
        index.set_vectors(batch, encoder.encode_passages(texts, progress.advance))
    summary.encoded = len(numbers)
    summary.encoding_s = time.perf_counter() - began
