"""Isolation of the parsers: files are read in a child process.

A damaged or malicious file can make its parser hang, crash or exhaust memory. The child process is then
replaced, and only that file is lost. One process reads many files, ahead of the consumer by as much as
the pipe holds. What runs in it is `rag.sources.worker`.
"""

import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from rag.errors import SourceError
from rag.processes import start_python
from rag.sources.protocol import OUT_OF_MEMORY_STATUS, decode_batch, encode_request
from rag.sources.scan import SourceFile
from rag.types import Article, Skipped
from rag.wording import Phrase, phrase

TIMEOUT_S = 60
"""Seconds that reading a file may take, or reading the next batch of a large one."""

MAX_MEMORY = 4_000_000_000
"""Bytes of address space that the process may take."""

WORKER_CODE = "from rag.sources.worker import work; work()"
"""Code that the process runs."""

_REQUESTS_AHEAD = 16  # files requested before it is their turn
_EXIT_TIMEOUT_S = 5.0
_START_TIMEOUT_S = 60.0

_Pipe = Connection  # generic to type checkers only


@dataclass(frozen=True, slots=True)
class ReadResult:
    """A batch of what a file contains. Batches come in order, and every file ends with a `last` one.

    Attributes:
        file: The file.
        articles: What was read.
        last: Whether it is the last batch of the file.
        failed: Whether the file was not read to its end because it hung or crashed its parser, ran out
            of memory or kept changing. The last of `articles` is then a Skipped with the reason.
    """

    file: SourceFile
    articles: tuple[Article | Skipped, ...]
    last: bool
    failed: bool = False


class _WorkerDied(Exception):
    """The process has ended or was killed; `reason` is the reason to give for the file."""

    def __init__(self, reason: Phrase, *, timed_out: bool = False) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.timed_out = timed_out


class ReaderProcess:
    """Reads files in a child process, which is replaced when it dies.

    Args:
        timeout_s: Seconds that a file may take, or the next batch of a large one.
        max_memory: Bytes of address space that the process may take.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S, max_memory: int = MAX_MEMORY) -> None:
        self._timeout_s = timeout_s
        self._max_memory = max_memory
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def __enter__(self) -> "ReaderProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Id of the child process; None while there is none."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """Kill the process. Any thread may call this while another one is in `read`, which then ends."""
        self._closed = True
        self._kill()

    def read(self, files: Sequence[SourceFile]) -> Iterator[ReadResult]:
        """Yield what the files contain, in their order.

        Raises:
            SourceError: The process cannot be started.
        """
        completed = 0
        while completed < len(files) and not self._closed:
            for result in self._read_until_death(files[completed:]):
                completed += result.last
                yield result

    def _read_until_death(self, files: Sequence[SourceFile]) -> Iterator[ReadResult]:
        """Read files with one process, until it dies or all are read."""
        unrequested = iter(files)
        with self._start() as pipe:
            try:
                _request(pipe, islice(unrequested, _REQUESTS_AHEAD))
                for number, file in enumerate(files):
                    if self._closed:  # while the process was starting
                        return
                    _request(pipe, islice(unrequested, 1))
                    yield from self._receive_file(pipe, file, is_first=number == 0)
            except _WorkerDied:
                return
            finally:
                self._kill()

    def _receive_file(
        self, pipe: _Pipe, file: SourceFile, *, is_first: bool
    ) -> Iterator[ReadResult]:
        """Yield the batches of one file. Raises _WorkerDied when the process dies meanwhile."""
        started = last = False
        while not last:
            try:
                result = self._receive_batch(pipe, file)
            except _WorkerDied as death:
                # Files read before may be the cause: this one is read again by a new process, and
                # blamed if it is the first file there.
                is_to_blame = is_first or started or death.timed_out
                if is_to_blame and not self._closed:
                    skipped = Skipped(file.name, death.reason)
                    yield ReadResult(file, (skipped,), last=True, failed=True)
                raise
            started, last = True, result.last
            yield result

    def _start(self) -> _Pipe:
        """Start a process that waits for requests. Raises SourceError when it does not start."""
        parent_end, child_end = Pipe()
        handle = child_end.fileno()
        with child_end:  # closed in this process, so that the pipe ends when the child does
            argument = [handle, self._timeout_s, self._max_memory]
            self._process = start_python(WORKER_CODE, argument, handles=[handle])
        with suppress(EOFError, OSError):
            if parent_end.poll(_START_TIMEOUT_S):
                parent_end.recv_bytes()
                return parent_end
        if not self._closed:
            parent_end.close()
            self._kill()
            raise SourceError(
                "The process that reads files failed to start.",
                remedy="Reinstall Footnote: a package that it needs may be damaged.",
            )
        return parent_end

    def _receive_batch(self, pipe: _Pipe, file: SourceFile) -> ReadResult:
        """Return the next batch of a file. Raises _WorkerDied when there is none."""
        status = None
        with suppress(EOFError, OSError):
            if pipe.poll(self._timeout_s):
                articles, last, failed = decode_batch(pipe.recv_bytes())
                return ReadResult(file, tuple(articles), last, failed)
            status = -signal.SIGALRM
        status = status or self._exit_status()
        self._kill()
        if status == -signal.SIGALRM:
            reason = phrase("reading_takes_too_long", seconds=f"{self._timeout_s:g}")
            raise _WorkerDied(reason, timed_out=True)
        if status == OUT_OF_MEMORY_STATUS:
            raise _WorkerDied(
                phrase("reading_takes_too_much_memory", gigabytes=f"{self._max_memory / 1e9:g}")
            )
        raise _WorkerDied(phrase("reading_crashes"))

    def _exit_status(self) -> int | None:
        """Return the exit status of the process, negative for a signal, or None if it does not exit."""
        process = self._process
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_EXIT_TIMEOUT_S) if process else None
        return None

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()


def _request(pipe: _Pipe, files: Iterable[SourceFile]) -> None:
    with suppress(OSError):  # a dead process is noticed when its results are missing
        for file in files:
            pipe.send_bytes(encode_request(file.path, file.name))
