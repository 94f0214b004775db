"""Files that a reader adds on the page: an index of their own, gone when the reader has left."""

import shutil
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from rag.datatypes import Article, Skipped
from rag.encoder import Encoder
from rag.errors import RagError, SourceError
from rag.index import PassageIndex
from rag.indexing import sync

MOST_FILES = 100
MOST_BYTES = 200_000_000
"""That a reader may have added, in all."""

MOST_BYTES_A_FILE = "50mb"
"""As Gradio reads it."""


class Uploads:
    """Some files and the index of them. One change at a time."""

    def __init__(self, encoder: Encoder) -> None:
        self.index: PassageIndex | None = None
        self.skipped: list[Skipped] = []
        self.problem = ""
        self._encoder = encoder
        self._folder = tempfile.TemporaryDirectory(prefix="footnote-", ignore_cleanup_errors=True)
        self._files = Path(self._folder.name, "files")
        self._files.mkdir()
        self._steps = _Steps()
        self._closed = False
        self._lock = threading.Lock()

    @property
    def share_done(self) -> float:
        """Of the present task, 0 to 1."""
        return self._steps.share

    @property
    def names(self) -> list[str]:
        return sorted(file.name for file in self._files.iterdir()) if not self._closed else []

    def article(self, id: str) -> Article | None:
        return self.index.article(id) if self.index else None

    def add(self, files: Iterable[str]) -> None:
        """Take files in; `skipped` and `problem` say what could not be taken, and why."""
        with self._lock:
            if self._closed:
                return
            self.problem, self.skipped = "", []
            self._bring_in_line([self._taken(Path(file)) for file in files])

    def remove(self, name: str) -> None:
        with self._lock:
            self.problem, self.skipped = "", []
            if name in self.names:
                (self._files / name).unlink()
                self._bring_in_line([])
                self._encoder.forget()

    def close(self) -> None:
        """Forget the files; what is being added now is forgotten as soon as it is there."""
        with self._lock:
            self._closed, self.index = True, None
            self._encoder.forget()
            self._folder.cleanup()

    def _taken(self, file: Path) -> Path | None:
        """Where the file is now; None when there is no more room for it."""
        held = [path.stat().st_size for path in self._files.iterdir()]
        if len(held) >= MOST_FILES or sum(held) + file.stat().st_size > MOST_BYTES:
            most = f"{MOST_FILES} files and {MOST_BYTES:,} bytes are taken at most"
            self.skipped.append(Skipped(file.name, most))
            return None
        place, number = self._files / file.name.lstrip("."), 1
        while place.exists():
            number += 1
            place = place.with_stem(f"{file.stem.lstrip('.')} ({number})")
        shutil.move(file, place)
        return place

    def _bring_in_line(self, added: Iterable[Path | None]) -> None:
        """The index with the files as they are now. When that fails, what was `added` is not kept."""
        if not self.names:
            self.index = None
            return
        folder = Path(self._folder.name, "index")
        try:
            summary = sync(folder, self._encoder, [self._files], rebuild=True, progress=self._steps)
            newest = PassageIndex.open(folder, encoder=self._encoder.id)
            newest.load()
        except SourceError as error:  # nothing in any of the files
            self.index, self.problem = None, error.problem.replace(f" from {self._files}", "")
        except RagError as error:
            self.problem = error.problem
        else:
            self.index = newest
            self.skipped += summary.skipped
            self._drop({skipped.path for skipped in summary.skipped})
            return
        self._drop({path.name for path in added if path})

    def _drop(self, names: Iterable[str]) -> None:
        """What cannot be taken is not kept, so that it is not tried again.

        A path of what was skipped may be an id that an article claims for itself: only a file's own
        name counts.
        """
        for name in set(self.names).intersection(names):
            (self._files / name).unlink()


class _Steps:
    """A Progress that is looked at now and then: the share of the present task that is done."""

    def __init__(self) -> None:
        self._done, self._total = 0, 0

    @property
    def share(self) -> float:
        return min(1.0, self._done / self._total) if self._total else 0.0

    def start(self, task: str, total: int | None) -> None:
        self._done, self._total = 0, total or 0

    def expect(self, total: int) -> None:
        self._total = total

    def advance(self, steps: int) -> None:
        self._done += steps
