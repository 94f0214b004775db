"""Plan of a sync: which sources to look at, and which of their files are new, changed or removed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.errors import SourceError
from rag.extras import missing_packages
from rag.files import sha256_file
from rag.settings import SEEDS
from rag.sources import scan
from rag.sources.scan import SourceFile
from rag.store.schema import IndexedFile, IndexedFiles


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What a sync does with one source.

    Attributes:
        source: Path of the file or folder.
        files: All files of the source.
        new: Files that are not in the index.
        changed: Files that are in the index with another content.
        removed: Files that are only in the index: name → number.
        ignored: Number of hidden files, links and so on.
    """

    source: Path
    files: tuple[SourceFile, ...]
    new: tuple[SourceFile, ...]
    changed: tuple[SourceFile, ...]
    removed: dict[str, int]
    ignored: int

    @property
    def files_to_read(self) -> list[SourceFile]:
        return sorted([*self.new, *self.changed], key=lambda file: file.name)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sync does: with which sources, and which it adds to the index or removes from it."""

    sources: tuple[SourcePlan, ...]
    added_sources: tuple[Path, ...]
    removed_sources: tuple[Path, ...]

    @property
    def is_empty(self) -> bool:
        files_differ = any(plan.new or plan.changed or plan.removed for plan in self.sources)
        return not (files_differ or self.added_sources or self.removed_sources)

    def as_json(self) -> dict[str, Any]:
        return {
            "sources": [
                {
                    "path": str(plan.source),
                    "new": [file.name for file in plan.new],
                    "changed": [file.name for file in plan.changed],
                    "gone": sorted(plan.removed),
                }
                for plan in self.sources
            ],
            "sources_left": [str(path) for path in self.removed_sources],
        }


def make_plan(
    folder: Path,
    indexed_sources: Sequence[Path],
    indexed_files: IndexedFiles,
    given_sources: Sequence[Path],
) -> Plan:
    """Compare sources with an index.

    Args:
        folder: The folder of the index.
        indexed_sources: The sources in the index.
        indexed_files: The files in the index.
        given_sources: The sources to look at; if empty, all that are in the index, or else the sample
            articles.

    Raises:
        SourceError: A source cannot be listed.
    """
    sources = list(dict.fromkeys(given_sources or indexed_sources or [_sample_articles()]))
    return Plan(
        sources=tuple(
            _plan_source(folder, source, indexed_files.get(source, {})) for source in sources
        ),
        added_sources=tuple(source for source in sources if source not in indexed_sources),
        removed_sources=tuple(_sources_to_remove(indexed_sources, given_sources)),
    )


def sources_to_keep(indexed_sources: Sequence[Path], given_sources: Sequence[Path]) -> list[Path]:
    """Return all sources that are in the index after a sync with the given ones."""
    to_remove = _sources_to_remove(indexed_sources, given_sources)
    remaining = [source for source in indexed_sources if source not in to_remove]
    return list(dict.fromkeys([*remaining, *given_sources]))


def _sources_to_remove(
    indexed_sources: Sequence[Path], given_sources: Sequence[Path]
) -> list[Path]:
    """Return the sample articles if they are the only source, and others are given instead."""
    samples = SEEDS.resolve()
    only_samples = list(indexed_sources) == [samples]
    return [samples] if only_samples and given_sources and samples not in given_sources else []


def _sample_articles() -> Path:
    if not SEEDS.is_dir():
        raise SourceError(
            f"No source was given, and there are no sample articles in {SEEDS.resolve()}.",
            remedy="Give a file or folder of articles: `rag index SOURCE`.",
        )
    return SEEDS.resolve()


def _plan_source(folder: Path, source: Path, indexed: Mapping[str, IndexedFile]) -> SourcePlan:
    listing = scan.list_files(source)
    index_folder = folder.resolve()  # may be inside of the source
    files = tuple(file for file in listing.files if not file.path.is_relative_to(index_folder))
    names = {file.name for file in files}
    return SourcePlan(
        source=source,
        files=files,
        new=tuple(file for file in files if file.name not in indexed),
        changed=tuple(
            file
            for file in files
            if file.name in indexed and not _is_unchanged(file, indexed[file.name])
        ),
        removed={name: file.number for name, file in indexed.items() if name not in names},
        ignored=listing.left_alone,
    )


def _is_unchanged(file: SourceFile, indexed: IndexedFile) -> bool:
    """Compare size and time stamp; if only the time stamps differ, compare the contents.

    A file that a missing package could not read has changed once the packages are installed.
    """
    if indexed.hash is None or file.size != indexed.size:
        return False
    if indexed.lacked_package and not missing_packages("formats"):
        return False
    return file.mtime_ns == indexed.mtime_ns or hash_file(file.path) == indexed.hash


def hash_file(path: Path) -> bytes | None:
    """Return the SHA-256 of a file; None if it cannot be read."""
    try:
        return bytes.fromhex(sha256_file(path))
    except OSError:
        return None


# -- paths of sources


def resolve_source(path: Path) -> Path:
    """Return the absolute path of a source.

    Raises:
        SourceError: It does not exist or cannot be accessed.
    """
    resolved = _resolve(path)
    try:
        if resolved.exists():
            return resolved
        problem = f"The source {resolved} does not exist."
    except OSError as error:  # the path is too long, or access is denied
        problem = f"The source {path} cannot be read: {error.strerror}."
    raise SourceError(problem, remedy="Correct the path.")


def find_indexed_source(indexed_sources: Sequence[Path], path: Path) -> Path:
    """Return the absolute path of a source that is in the index; it need not exist any more.

    Raises:
        SourceError: There is no such source in the index.
    """
    resolved = _resolve(path)
    if resolved in indexed_sources:
        return resolved
    sources = ", ".join(map(str, indexed_sources)) or "none"
    raise SourceError(
        f"{resolved} is not a source of this index; its sources: {sources}.",
        remedy="Correct the path.",
    )


def _resolve(path: Path) -> Path:
    try:
        return path.expanduser().resolve()
    except OSError as error:
        problem = f"The source {path} cannot be read: {error.strerror}."
    except RuntimeError:
        problem = f"The source {path} cannot be found: there is no such user."
    raise SourceError(problem, remedy="Correct the path.")
