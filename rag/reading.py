"""Reading in a process of its own: what a broken or hostile file does to its parser, it does there.

One process reads file after file, ahead of whoever takes the articles and as far as its pipe lets it.
When a file hangs it, crashes it or eats its memory, the process is replaced, and that file is all that
it costs. What comes back is JSON: nothing that came out of a file is ever unpickled.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from rag.articles import SourceFile, read_file
from rag.contents import Reading
from rag.datatypes import Article, Skipped
from rag.errors import SourceError
from rag.processes import start_python

SECONDS_A_FILE = 60
"""How long a file may take to be read, or the next piece of a large one."""

MAX_MEMORY = 4_000_000_000
"""Bytes of address space that the process may take."""

WORKER = "from rag.reading import work; work()"
"""What the process runs."""

_PIECE = 256  # articles
_PIECE_TEXT = 4_000_000  # characters
_PIECE_S = 1.0
_AHEAD = 16  # files asked for before it is their turn
_TRIES = 3  # at a file that changes while it is being read
_OUT_OF_MEMORY = 3  # exit status
_PAUSE_S = 0.2
_GRACE_S = 5.0
_STARTING_S = 60.0

_Pipe = Connection  # generic to type checkers only


@dataclass(frozen=True, slots=True)
class FileRead:
    """A piece of what a file holds, in order; each file ends with a `last` one.

    A last one that `failed` was not the file's end: the file hung or crashed its parser, or changed
    all the time. The reason is the last of `articles`, a Skipped.
    """

    file: SourceFile
    articles: tuple[Article | Skipped, ...]
    last: bool
    failed: bool = False


class _Lost(Exception):
    """The process has ended, or has to; the text is the reason, from the file's side."""

    def __init__(self, reason: str, *, slow: bool = False) -> None:
        super().__init__(reason)
        self.slow = slow


class ReaderProcess:
    """Reads files in a process of its own, replaced when it is lost.

    A file may take `seconds` (a large one for each piece) and `memory` bytes. `close` may be called
    from any thread: what is being read then ends where it is.
    """

    def __init__(self, seconds: float = SECONDS_A_FILE, memory: int = MAX_MEMORY) -> None:
        self._seconds = seconds
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def __enter__(self) -> "ReaderProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True
        self._end()

    def read(self, files: Sequence[SourceFile]) -> Iterator[FileRead]:
        """What the files hold, piece by piece, in their order. Raises SourceError."""
        begin = 0
        while begin < len(files) and not self._closed:
            for piece in self._run(files[begin:]):
                begin += piece.last
                yield piece

    def _run(self, files: Sequence[SourceFile]) -> Iterator[FileRead]:
        """As many of the files as one process survives."""
        waiting = iter(files)
        with self._start() as pipe:
            try:
                _order(pipe, islice(waiting, _AHEAD))
                for place, file in enumerate(files):
                    if self._closed:  # while it was starting
                        return
                    _order(pipe, islice(waiting, 1))
                    yield from self._pieces(pipe, file, fresh=place == 0)
            except _Lost:
                return
            finally:
                self._end()

    def _pieces(self, pipe: _Pipe, file: SourceFile, *, fresh: bool) -> Iterator[FileRead]:
        """The pieces of one file. Raises _Lost when it can be no more."""
        begun = last = False
        while not last:
            try:
                piece = self._receive(pipe, file)
            except _Lost as lost:
                # A file with others before it is not blamed before it has ended a fresh process.
                if (fresh or begun or lost.slow) and not self._closed:
                    yield FileRead(file, (Skipped(file.name, str(lost)),), last=True, failed=True)
                raise
            begun, last = True, piece.last
            yield piece

    def _start(self) -> _Pipe:
        """A process that waits for orders. Raises SourceError when there is none to be had."""
        ours, its = Pipe()
        handle = its.fileno()
        with its:  # the process ends when its pipe does
            given = [handle, self._seconds, self._memory]
            self._process = start_python(WORKER, given, handles=[handle])
        with suppress(EOFError, OSError):
            if ours.poll(_STARTING_S):
                ours.recv_bytes()
                return ours
        if not self._closed:
            ours.close()
            self._end()
            raise SourceError(
                "The process that reads files does not start.",
                remedy="Install Footnote again: a package that it needs is not whole.",
            )
        return ours

    def _receive(self, pipe: _Pipe, file: SourceFile) -> FileRead:
        """The next piece. Raises _Lost when there is none, and no process any more."""
        status = None
        with suppress(EOFError, OSError):
            if pipe.poll(self._seconds):
                return _decoded(file, pipe.recv_bytes())
            status = -signal.SIGALRM
        status = status or self._status()
        self._end()
        if status == -signal.SIGALRM:
            raise _Lost(f"reading it takes longer than {self._seconds:g} seconds", slow=True)
        if status == _OUT_OF_MEMORY:
            raise _Lost(f"reading it takes more than {self._memory / 1e9:g} GB of memory")
        raise _Lost("it crashes what reads it")

    def _status(self) -> int | None:
        """How the process ended."""
        process = self._process
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_GRACE_S) if process else None
        return None

    def _end(self) -> None:
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()


def _order(pipe: _Pipe, files: Iterable[SourceFile]) -> None:
    with suppress(OSError):  # a lost process is noticed where its replies are missing
        for file in files:
            pipe.send_bytes(json.dumps([str(file.path), file.name]).encode())


def _encoded(articles: Sequence[Article | Skipped], *, last: bool, failed: bool) -> bytes:
    kinds = [[isinstance(read, Article), asdict(read)] for read in articles]
    # The names of files may hold bytes that are no UTF-8, which Python keeps as surrogates.
    return json.dumps([kinds, last, failed], ensure_ascii=False).encode(errors="surrogatepass")


def _decoded(file: SourceFile, message: bytes) -> FileRead:
    kinds, last, failed = json.loads(message.decode(errors="surrogatepass"))
    articles = (
        Article(**{**about, "pages": tuple(about["pages"])}) if is_article else Skipped(**about)
        for is_article, about in kinds
    )
    return FileRead(file, tuple(articles), last, failed)


# -- in the process


def work() -> None:
    """Read the files that are ordered and send what they hold, until the pipe ends."""
    handle, seconds, memory = json.loads(sys.argv[1])
    pipe: _Pipe = Connection(handle)
    pipe.send_bytes(b"ready")
    _confine(memory)
    orders: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_take_orders, args=(pipe, orders), daemon=True).start()
    try:
        while True:
            path, name = json.loads(orders.get())
            for piece, last, failed in _read_whole(Path(path), name, seconds):
                pipe.send_bytes(_encoded(piece, last=last, failed=failed))
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)
    except OSError:  # the pipe
        os._exit(0)


def _take_orders(pipe: _Pipe, orders: SimpleQueue[bytes]) -> None:
    with suppress(EOFError, OSError):
        while True:
            orders.put(pipe.recv_bytes())
    os._exit(0)  # even in the middle of a file


def _confine(memory: int) -> None:
    """Bound this process's memory, silence what its libraries say, and keep them off the network."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with suppress(OSError, ValueError):  # macOS knows no bound
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # others reserve far more than they use
    sys.addaudithook(_refuse)


def _refuse(event: str, args: object) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system"):
        raise PermissionError(f"{event} is not for those who read files")


Piece = tuple[list[Article | Skipped], bool, bool]
"""What was read, whether it is the last of its file, and whether the file failed."""


def _read_whole(path: Path, name: str, seconds: float) -> Iterator[Piece]:
    """A file's pieces; one that changes meanwhile is read again while nothing of it has been sent."""
    for tries in range(1, _TRIES + 1):
        before = _stamp(path)
        sent = False
        for piece, last in _cut(read_file(path, name), seconds):
            failed = last and _stamp(path) != before
            if failed and not sent and tries < _TRIES:
                time.sleep(_PAUSE_S)
                break
            if failed:
                piece.append(Skipped(name, "it changes while it is being read"))
            sent = True
            yield piece, last, failed
        else:
            return


def _cut(reading: Reading, seconds: float) -> Iterator[tuple[list[Article | Skipped], bool]]:
    """What is read, in pieces neither large nor late, and whether each is the last.

    SIGALRM ends the process where one takes too long, be it deep in a library.
    """
    piece: list[Article | Skipped] = []
    size, began = 0, _set_alarm(seconds)
    for read in reading:
        piece.append(read)
        size += len(read.text) if isinstance(read, Article) else 0
        if len(piece) >= _PIECE or size >= _PIECE_TEXT or time.monotonic() - began >= _PIECE_S:
            _set_alarm(0)
            yield piece, False
            piece = []
            size, began = 0, _set_alarm(seconds)
    _set_alarm(0)
    yield piece, True


def _set_alarm(seconds: float) -> float:
    """Set, or with 0 stop, the alarm; the time now."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    return time.monotonic()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    with suppress(OSError):
        status = path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns
    return None
