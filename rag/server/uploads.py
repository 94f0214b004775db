"""Files that a reader uploads: a temporary index of their own, deleted when the reader leaves."""

import logging
import shutil
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from rag.errors import NoArticles, RagError
from rag.indexing.sync import sync
from rag.models.embedding.encoder import Encoder
from rag.store.reader import IndexReader
from rag.types import Article, Skipped
from rag.wording import Localizable, phrase

logger = logging.getLogger(__name__)

MAX_FILES = 100
MAX_BYTES = 200_000_000
"""Total size of a reader's files."""

MAX_FILE_SIZE = "50mb"
"""Size of one file, in Gradio's notation."""


class Uploads:
    """Uploaded files and their index. Changes are made one at a time.

    Args:
        encoder: The encoder of the main index.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.index: IndexReader | None = None
        """The index of the files; None while there is none."""
        self.skipped: list[Skipped] = []
        """What the last change could not take in."""
        self.problem: Localizable | None = None
        """Why the last change failed."""
        self._encoder = encoder
        self._temporary = tempfile.TemporaryDirectory(
            prefix="footnote-", ignore_cleanup_errors=True
        )
        self.folder = Path(self._temporary.name)
        """The temporary folder of the files and their index."""
        self._files = self.folder / "files"
        self._files.mkdir()
        self._progress = _TaskProgress()
        self._closed = False
        self._lock = threading.Lock()

    @property
    def share_done(self) -> float:
        """The fraction of the present task that is done, from 0 to 1."""
        return self._progress.fraction

    @property
    def names(self) -> list[str]:
        """The names of the files, sorted."""
        return sorted(file.name for file in self._files.iterdir()) if not self._closed else []

    def article(self, id: str) -> Article | None:
        """Return the article of that id."""
        return self.index.article(id) if self.index else None

    def add(self, files: Iterable[str]) -> None:
        """Move files in and index them; `skipped` and `problem` report what could not be taken."""
        with self._lock:
            if self._closed:
                return
            self.problem, self.skipped = None, []
            self._sync([self._move_in(Path(file)) for file in files])

    def remove(self, name: str) -> None:
        """Delete a file."""
        with self._lock:
            self.problem, self.skipped = None, []
            if name in self.names:
                (self._files / name).unlink()
                self._sync([])

    def close(self) -> None:
        """Delete all files, once a change that is being made has ended."""
        with self._lock:
            self._closed, self.index = True, None
            self._temporary.cleanup()

    def _move_in(self, file: Path) -> Path | None:
        """Move a file in under a name of its own. Return its path, or None if there is no room."""
        sizes = [path.stat().st_size for path in self._files.iterdir()]
        if len(sizes) >= MAX_FILES or sum(sizes) + file.stat().st_size > MAX_BYTES:
            limit = phrase("uploads_full", files=MAX_FILES, bytes=MAX_BYTES)
            self.skipped.append(Skipped(file.name, limit))
            return None
        path, number = self._files / file.name.lstrip("."), 1
        while path.exists():
            number += 1
            path = path.with_stem(f"{file.stem.lstrip('.')} ({number})")
        shutil.move(file, path)
        return path

    def _sync(self, added: Iterable[Path | None]) -> None:
        """Index the files as they are now. If that fails, delete those that were `added`."""
        if not self.names:
            self.index = None
            return
        folder = self.folder / "index"
        try:
            report = sync(
                folder, self._encoder, [self._files], rebuild=True, progress=self._progress
            )
            index = IndexReader.open(folder, encoder=self._encoder.id)
            index.load()
        except NoArticles as error:
            self.index, self.problem = None, phrase("no_article_in_files")
            self.skipped += [Skipped(path, reason) for path, reason in error.skipped]
        except RagError as error:
            logger.error("Uploaded files cannot be indexed. %s", error)
            self.problem = error
        else:
            self.index = index
            self.skipped += report.skipped
            self._delete({skipped.path for skipped in report.skipped})
            return
        self._delete({path.name for path in added if path})

    def _delete(self, names: Iterable[str]) -> None:
        """Delete files that cannot be indexed, so that they are not tried again.

        What was skipped may be an article, under an id that its file has chosen: only names of files
        count.
        """
        for name in set(self.names).intersection(names):
            (self._files / name).unlink()


class _TaskProgress:
    """Progress of indexing, as the fraction of the present task."""

    def __init__(self) -> None:
        self._done, self._total = 0, 0

    @property
    def fraction(self) -> float:
        return min(1.0, self._done / self._total) if self._total else 0.0

    def start(self, task: str, total: int | None) -> None:
        self._done, self._total = 0, total or 0

    def expect(self, total: int) -> None:
        self._total = total

    def advance(self, steps: int) -> None:
        self._done += steps
