"""Files that a reader adds on the page: an index of their own, gone when the reader has left."""

import shutil
import tempfile
import threading
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

from rag.datatypes import Article, Skipped
from rag.encoder import Encoder
from rag.errors import RagError
from rag.index import PassageIndex
from rag.indexing import sync

MOST_FILES = 100
"""That a reader may have added at once."""

MOST_BYTES = "50mb"
"""Of one file, as Gradio reads it."""

FOLDER = "uploaded"
"""What the ids of these articles begin with."""


class Uploads:
    """Some files and the index of them. One change at a time."""

    def __init__(self, encoder: Encoder) -> None:
        self.index: PassageIndex | None = None
        self.skipped: list[Skipped] = []
        self.problem = ""
        self._encoder = encoder
        self._folder = tempfile.TemporaryDirectory(prefix="footnote-", ignore_cleanup_errors=True)
        self._files = Path(self._folder.name, "files", FOLDER)
        self._files.mkdir(parents=True)
        self._steps = _Steps()
        self._lock = threading.Lock()

    @property
    def share_done(self) -> float:
        """Of the present task, 0 to 1."""
        return self._steps.share

    @property
    def names(self) -> list[str]:
        return sorted(file.name for file in self._files.iterdir())

    def article(self, id: str) -> Article | None:
        return self.index.article(id) if self.index else None

    def add(self, files: Iterable[str]) -> None:
        """Take files in; `skipped` and `problem` say what could not be taken, and why."""
        with self._lock:
            for file in map(Path, files):
                if len(self.names) < MOST_FILES:
                    shutil.copyfile(file, self._files / file.name.lstrip("."))
            self._sync()

    def remove(self, name: str) -> None:
        with self._lock:
            if name in self.names:
                (self._files / name).unlink()
            self._sync()

    def close(self) -> None:
        self._folder.cleanup()

    def _sync(self) -> None:
        self.problem, self.skipped = "", []
        if not self.names:
            self.index = None
            return
        folder = Path(self._folder.name, "index")
        # A source in which nothing can be read is an error elsewhere; here it is simply rebuilt.
        try:
            summary = sync(
                folder, self._encoder, [self._files.parent], rebuild=True, progress=self._steps
            )
            self.skipped = summary.skipped
            self.index = PassageIndex.open(folder, encoder=self._encoder.id)
            self.index.load()
        except RagError as error:
            self.index, self.problem = None, error.problem
        except Exception:
            traceback.print_exc()
            self.index, self.problem = None, "?"
        self._drop(self.skipped)

    def _drop(self, skipped: Sequence[Skipped]) -> None:
        """What cannot be taken is not kept, so that it is not tried again."""
        for path in {self._files.parent / file.path for file in skipped}:
            if path.is_file():
                path.unlink()


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
