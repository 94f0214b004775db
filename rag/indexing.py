"""Bring an index in line with its sources: look, read what changed, cut, encode, commit.

Reading (a process of its own), cutting (a thread) and encoding (the caller's thread) go on side by
side. Nothing is read that has not changed, and nothing encoded whose text has been encoded before.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from threading import Event
from typing import Any, Protocol

from rag import articles, commits, passages
from rag.articles import SourceFile
from rag.change import TAKEN, IndexChange, discard, is_unfinished
from rag.datatypes import Article, Passage, Skipped
from rag.encoder import Encoder
from rag.errors import IndexUnusable, NoIndex, SourceError
from rag.index import KnownFile, KnownFiles, PassageIndex, content_hash
from rag.migration import take_over
from rag.reading import ReaderProcess
from rag.settings import SEEDS

WINDOW = 512
"""Passages encoded between two writes: enough to sort by length, few enough to lose or hold."""

FRESH_NS = 2_000_000_000
"""A file changed so shortly before it was read could change again without its time stamp telling."""


class Progress(Protocol):
    """Who is told how a long job is getting on; `total` is None while it is not known."""

    def start(self, task: str, total: int | None) -> None: ...
    def expect(self, total: int) -> None: ...
    def advance(self, steps: int) -> None: ...


@dataclass(slots=True)
class Summary:
    """What a sync did to the articles of the sources that it looked at."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    left_alone: int = 0
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
            "left_alone": self.left_alone,
            "sources_left": [str(path) for path in self.left],
        }


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What is to be done about one source. `read` holds new and changed files."""

    source: Path
    files: tuple[SourceFile, ...]
    new: tuple[SourceFile, ...]
    changed: tuple[SourceFile, ...]
    gone: dict[str, int]
    left_alone: int

    @property
    def read(self) -> list[SourceFile]:
        return sorted([*self.new, *self.changed], key=lambda file: file.name)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to bring an index in line."""

    sources: tuple[SourcePlan, ...]
    leave: tuple[Path, ...]
    add: tuple[Path, ...]

    @property
    def nothing(self) -> bool:
        files = any(plan.new or plan.changed or plan.gone for plan in self.sources)
        return not (files or self.leave or self.add)

    def as_json(self) -> dict[str, Any]:
        return {
            "sources": [
                {
                    "path": str(plan.source),
                    "new": [file.name for file in plan.new],
                    "changed": [file.name for file in plan.changed],
                    "gone": sorted(plan.gone),
                }
                for plan in self.sources
            ],
            "sources_left": [str(path) for path in self.leave],
        }


# -- the three things to be done with an index


def sync(
    folder: Path, encoder: Encoder, named: Sequence[Path], *, rebuild: bool, progress: Progress
) -> Summary:
    """Bring the index in `folder` in line with the sources named, or with all that it remembers.

    A rebuilt index holds these sources and no others. When anything fails, the index is as it was;
    after an interruption or a crash, the next sync goes on with what was done. Raises SourceError,
    IndexUnusable and ModelError.
    """
    began = time.perf_counter()
    paths = [_found(path) for path in named]
    with _building(folder):
        if rebuild and not paths:
            paths = _remembered(folder)
        elif not rebuild and _encoded_otherwise(folder, encoder):
            progress.start(f"Every passage is encoded anew, with {encoder.name}", None)
            paths = _all_to_stay(folder, paths)
        summary = None if rebuild else _unchanged(folder, encoder, paths)
        if summary is None:
            with IndexChange.begin(folder, encoder.id, rebuild=rebuild) as change:
                if not rebuild:
                    take_over(change, encoder)
                summary = _bring_in_line(change, encoder, paths, progress)
    summary.seconds = time.perf_counter() - began
    return summary


def remove(folder: Path, encoder: Encoder, named: Sequence[Path]) -> Summary:
    """Take sources out of the index, with all their articles; an interrupted sync is given up.

    Raises SourceError, when one of them is none, and IndexUnusable.
    """
    began = time.perf_counter()
    with _building(folder):
        with PassageIndex.open(folder, encoder=encoder.id) as index:
            paths = [_one_of(index.sources(), path) for path in named]
        discard(folder)
        summary = Summary(encoder=encoder.id.name)
        with IndexChange.begin(folder, encoder.id, rebuild=False) as change:
            for path in paths:
                change.remove_source(path)
            counted = change.counts(paths)
            summary.removed, summary.left = counted.removed, paths
            summary.passages = change.passage_count()
            change.publish()
    summary.seconds = time.perf_counter() - began
    return summary


def remake(
    folder: Path, encoder: Encoder, sources: Sequence[Path], damaged: Path, progress: Progress
) -> Summary:
    """Build the index anew from its sources, with the vectors that are still sound in `damaged`."""
    paths = [_found(path) for path in sources]
    with (
        _building(folder),
        IndexChange.begin(folder, encoder.id, rebuild=True) as change,
    ):
        change.salvage(damaged)
        return _bring_in_line(change, encoder, paths, progress)


def preview(folder: Path, named: Sequence[Path]) -> Plan:
    """What `sync` would do, by files; the index is only looked at."""
    paths = [_found(path) for path in named]
    try:
        with PassageIndex.open(folder) as index:
            return _plan(folder, index.sources(), index.files(), paths)
    except NoIndex:
        return _plan(folder, [], {}, paths)


# -- what there is to do


@contextmanager
def _building(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IndexUnusable(
            f"The folder {folder} cannot be made: {error.strerror}.",
            remedy="Name another one with --index or RAG_INDEX.",
        ) from error
    with commits.sole_builder(folder):
        yield


def _found(path: Path) -> Path:
    """The whole path of a source. Raises SourceError when there is nothing."""
    whole = _whole(path)
    try:
        if whole.exists():
            return whole
        problem = f"The source {whole} is not there."
    except OSError as error:  # too long, or forbidden
        problem = f"The source {path} cannot be read: {error.strerror}."
    raise SourceError(problem, remedy="Correct the path.")


def _whole(path: Path) -> Path:
    try:
        return path.expanduser().resolve()
    except OSError as error:
        problem = f"The source {path} cannot be read: {error.strerror}."
    except RuntimeError:
        problem = f"The source {path} is in the home of nobody here."
    raise SourceError(problem, remedy="Correct the path.")


def _one_of(remembered: Sequence[Path], path: Path) -> Path:
    whole = _whole(path)
    if whole in remembered:
        return whole
    known = ", ".join(map(str, remembered)) or "none"
    raise SourceError(
        f"{whole} is no source of this index; its sources: {known}.", remedy="Correct the path."
    )


def _remembered(folder: Path) -> list[Path]:
    with suppress(NoIndex), PassageIndex.open(folder) as index:
        return index.sources()
    return []


def _encoded_otherwise(folder: Path, encoder: Encoder) -> bool:
    """Whether the index was made by another encoder."""
    with suppress(IndexUnusable):
        return commits.last(folder).encoder != encoder.id
    return False


def _all_to_stay(folder: Path, named: Sequence[Path]) -> list[Path]:
    """The sources that a sync with those named leaves in the index, whether it looks at them or not."""
    remembered = [Path(path) for path in commits.last(folder).sources]
    leave = _to_leave(remembered, named)
    return list(dict.fromkeys([*(path for path in remembered if path not in leave), *named]))


def _seeds() -> Path:
    if not SEEDS.is_dir():
        raise SourceError(
            f"No source was named, and there are no sample articles in {SEEDS.resolve()}.",
            remedy="Name a file or folder of articles: `rag index SOURCE`.",
        )
    return SEEDS.resolve()


def _plan(
    folder: Path, remembered: Sequence[Path], known: KnownFiles, named: Sequence[Path]
) -> Plan:
    """What is to be done about the sources named, or else all that are remembered."""
    look = list(dict.fromkeys(named or remembered or [_seeds()]))
    return Plan(
        sources=tuple(_plan_source(folder, path, known.get(path, {})) for path in look),
        leave=tuple(_to_leave(remembered, named)),
        add=tuple(path for path in look if path not in remembered),
    )


def _to_leave(remembered: Sequence[Path], named: Sequence[Path]) -> list[Path]:
    """The sample articles, when the first source of the user's own comes in without them."""
    samples = SEEDS.resolve()
    return [samples] if named and samples not in named and list(remembered) == [samples] else []


def _plan_source(folder: Path, path: Path, known: Mapping[str, KnownFile]) -> SourcePlan:
    listing = articles.list_files(path)
    own = folder.resolve()  # an index that stands among its articles is none of them
    files = tuple(file for file in listing.files if not file.path.is_relative_to(own))
    names = {file.name for file in files}
    return SourcePlan(
        source=path,
        files=files,
        new=tuple(file for file in files if file.name not in known),
        changed=tuple(
            file for file in files if file.name in known and not _is_same(file, known[file.name])
        ),
        gone={name: file.number for name, file in known.items() if name not in names},
        left_alone=listing.left_alone,
    )


def _is_same(file: SourceFile, known: KnownFile) -> bool:
    """Whether a file is what it was, by its size and time stamp, or else by its bytes."""
    if known.hash is None or file.size != known.size:
        return False
    return file.mtime_ns == known.mtime_ns or _file_hash(file.path) == known.hash


def _is_current(folder: Path, encoder: Encoder) -> bool:
    """Whether the index is of this version and by this encoder. Raises NoIndex and IndexDamaged."""
    if (folder / commits.FIRST_DATABASE).exists():
        return False
    commit = commits.last(folder)
    return commit.version == commits.VERSION and commit.encoder == encoder.id


def _file_hash(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None


def _unchanged(folder: Path, encoder: Encoder, named: Sequence[Path]) -> Summary | None:
    """The summary of a sync that has nothing to do; None when there is something."""
    try:
        if is_unfinished(folder) or not _is_current(folder, encoder):
            return None
        with PassageIndex.open(folder, encoder=encoder.id) as index:
            plan = _plan(folder, index.sources(), index.files(), named)
            if not plan.nothing or index.commit.vectors.problem(folder):
                return None
            paths = [source.source for source in plan.sources]
            return Summary(
                unchanged=sum(
                    s.articles for s in index.contents().sources if Path(s.path) in paths
                ),
                skipped=index.skipped(paths),
                left_alone=sum(source.left_alone for source in plan.sources),
                passages=index.contents().passages,
                encoder=encoder.id.name,
            )
    except NoIndex:
        return None


# -- doing it


def _bring_in_line(
    change: IndexChange, encoder: Encoder, named: Sequence[Path], progress: Progress
) -> Summary:
    before = [Path(path) for path in change.base.sources] if change.base else []
    if named:  # an interrupted sync may have begun to take in others, which nobody wants now
        for path in change.sources():
            if path not in before and path not in named:
                change.remove_source(path)
    plan = _plan(change.folder, change.sources() or before, change.files(), named)
    for path in plan.leave:
        change.remove_source(path)
    for source in plan.sources:
        change.add_source(source.source)
    change.keep_now()
    encoded, encoding_s = _read_and_encode(change, encoder, plan, progress)
    looked = [source.source for source in plan.sources]
    left = [path for path in before if path not in change.sources()]
    counted = change.counts([*looked, *left])
    skipped, passage_count = change.skipped(looked), change.passage_count()
    change.publish()
    return Summary(
        added=counted.added,
        changed=counted.changed,
        removed=counted.removed,
        unchanged=counted.unchanged,
        skipped=skipped,
        left_alone=sum(source.left_alone for source in plan.sources),
        left=left,
        passages=passage_count,
        encoded=encoded,
        encoding_s=encoding_s,
        encoder=encoder.id.name,
    )


def _read_and_encode(
    change: IndexChange, encoder: Encoder, plan: Plan, progress: Progress
) -> tuple[int, float]:
    """Passages encoded, and the seconds that took. What is read is encoded while more is read."""
    with ReaderProcess() as reader, ThreadPoolExecutor(1, "reading") as pool:
        taking = Taking(change, encoder, reader, progress)
        reading = pool.submit(taking.take_in, plan)
        try:
            return _encode(change, encoder, reading, progress)
        except BaseException:
            taking.stop()
            raise


class Taking:
    """Reads what a plan says and takes it in, cut into passages; on a thread of its own."""

    def __init__(
        self, change: IndexChange, encoder: Encoder, reader: ReaderProcess, progress: Progress
    ) -> None:
        self._change = change
        self._encoder = encoder
        self._reader = reader
        self._progress = progress
        self._stopped = Event()

    @cached_property
    def _heading(self) -> Callable[[str, str | None], str]:
        """Made when it is first needed, since it takes the model: often, nothing is new."""
        return passages.headings(self._encoder.count_tokens, self._encoder.max_tokens)

    def stop(self) -> None:
        """Have it end soon, with what was taken in so far whole."""
        self._stopped.set()
        self._reader.close()

    def take_in(self, plan: Plan) -> None:
        for source in plan.sources:
            self._progress.start(f"Reading {source.source.name}", None)
            self._bring_in_line(source)

    def _bring_in_line(self, plan: SourcePlan) -> None:
        source = self._change.add_source(plan.source)
        for number in plan.gone.values():
            self._change.remove_file(number)
        self._read(plan.source, source, plan.read)
        while (freed := set(self._change.freed(source))) and not self._stopped.is_set():
            self._read(plan.source, source, [file for file in plan.files if file.name in freed])
        if not self._stopped.is_set() and not self._change.article_count(source):
            raise self._nothing_in(plan.source)

    def _read(self, path: Path, source: int, files: Sequence[SourceFile]) -> None:
        pieces = self._reader.read(files)
        for file, of_file in groupby(pieces, key=lambda piece: piece.file):
            number = self._change.begin_file(source, file)
            before, seen = self._change.articles_of(number), set[str]()
            for piece in of_file:
                for read in piece.articles:
                    if self._stopped.is_set():
                        return
                    self._take(read, path, source, number, seen)
                self._change.keep()
            if not piece.last:  # stopped: the next sync reads it from its beginning
                return
            if not piece.failed:  # else what was read of it before stays
                for name in before.keys() - seen:
                    self._change.remove(before[name])
            self._change.end_file(number, _as_read(file, number))

    def _take(
        self, read: Article | Skipped, path: Path, source: int, file: int, seen: set[str]
    ) -> None:
        self._progress.advance(1)
        if isinstance(read, Skipped):
            self._change.skip(file, read)
            return
        held = self._change.held(source, read.id)
        if read.id in seen or (held and held.file != file):
            self._change.skip(file, Skipped(read.id, TAKEN))
            return
        seen.add(read.id)
        if held and held.hash == content_hash(read):
            return
        if held:
            self._change.remove(held.number)
        article = replace(read, id=held.id if held else self._free_id(path, read.id))
        self._change.add(article, read.id, source, file, self._cut(article))

    def _free_id(self, path: Path, id: str) -> str:
        """The id, with its source's name (and its parents', if need be) in front if taken."""
        free = id
        for parent in (path, *path.parents):
            if not self._change.has_article(free):
                break
            free = f"{parent.name}/{free}"
        return free

    def _cut(self, article: Article) -> list[tuple[Passage, bytes]]:
        """The article's passages, each with the key of its vector."""
        heading = self._heading(article.title, article.date)
        cut = passages.split(article, self._encoder.count_tokens, self._encoder.max_tokens)
        return [
            (passage, passages.vector_key(heading, article.text[passage.start : passage.end]))
            for passage in cut
        ]

    def _nothing_in(self, path: Path) -> SourceError:
        """Also of a source that held articles before: its disk may only be missing."""
        skipped = self._change.skipped([path])
        first = f" {skipped[0].path} was skipped: {skipped[0].reason}." if skipped else ""
        return SourceError(
            f"No article could be read from {path}.{first}",
            remedy=f"Name a file or folder with {articles.known_formats()} files in it, or take"
            " it out with `rag index --remove`.",
        )


def _as_read(file: SourceFile, number: int) -> KnownFile:
    """What to remember of a file that was read; nothing when it has changed meanwhile."""
    try:
        now = file.path.stat()
    except OSError:
        now = None
    if now is None or (now.st_size, now.st_mtime_ns) != (file.size, file.mtime_ns):
        return KnownFile(number, None, None, None)
    fresh = time.time_ns() - file.mtime_ns < FRESH_NS
    return KnownFile(number, file.size, None if fresh else file.mtime_ns, _file_hash(file.path))


def _encode(
    change: IndexChange, encoder: Encoder, reading: "Future[None]", progress: Progress
) -> tuple[int, float]:
    """Encode what has no vector yet, until nothing more comes."""
    encoded, seconds, after, counted = 0, 0.0, 0, False
    while True:
        ended = reading.done()  # looked at before the passages are: nothing comes after it
        if ended:
            reading.result()
        waiting = change.unencoded(after, WINDOW)
        if len(waiting) < WINDOW and not ended:
            wait([reading], timeout=0.2)
            continue
        if not waiting:
            return encoded, seconds
        if not encoded:
            progress.start("Encoding passages", None)
            heading = passages.headings(encoder.count_tokens, encoder.max_tokens)
        if not counted:
            progress.expect(encoded + change.count_unencoded())
            counted = ended
        began = time.perf_counter()
        texts = {
            key: passages.encoded_text(heading(excerpt.title, excerpt.date), excerpt.text)
            for _, key, excerpt in waiting
        }
        vectors = encoder.encode_passages(list(texts.values()), progress.advance)
        seconds += time.perf_counter() - began
        change.add_vectors(list(texts), vectors)
        change.keep()
        encoded += len(texts)
        after = waiting[-1][0]
