"""The child process that reads files for `rag.sources.process`."""

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from rag.sources.content import ArticleIterator
from rag.sources.protocol import (
    OUT_OF_MEMORY_STATUS,
    READY,
    Batch,
    decode_request,
    encode_batch,
)
from rag.sources.registry import read_file
from rag.types import Article, Skipped
from rag.wording import phrase

_MAX_BATCH_ARTICLES = 256
_MAX_BATCH_CHARACTERS = 4_000_000
_MAX_BATCH_S = 1.0
_MAX_ATTEMPTS = 3  # at a file that changes while it is read
_RETRY_DELAY_S = 0.2
_FORBIDDEN_EVENTS = frozenset(
    ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system")
)

_Pipe = Connection  # generic to type checkers only


def work() -> None:
    """Read the requested files and send what they contain, until the pipe ends.

    The process's argument is a JSON list of the pipe's file descriptor, the timeout in seconds and the
    memory limit in bytes.
    """
    handle, timeout_s, max_memory = json.loads(sys.argv[1])
    pipe: _Pipe = Connection(handle)
    pipe.send_bytes(READY)
    _restrict_process(max_memory)
    requests: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_receive_requests, args=(pipe, requests), daemon=True).start()
    try:
        while True:
            path, name = decode_request(requests.get())
            for articles, last, failed in _read_batches(path, name, timeout_s):
                pipe.send_bytes(encode_batch(articles, last=last, failed=failed))
    except MemoryError:
        os._exit(OUT_OF_MEMORY_STATUS)
    except OSError:  # the pipe is closed
        os._exit(0)


def _receive_requests(pipe: _Pipe, requests: SimpleQueue[bytes]) -> None:
    with suppress(EOFError, OSError):
        while True:
            requests.put(pipe.recv_bytes())
    os._exit(0)  # even in the middle of a file


def _restrict_process(max_memory: int) -> None:
    """Limit this process's memory, silence its libraries, and block network and subprocesses."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with suppress(OSError, ValueError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (max_memory, max_memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # other pools reserve far more than they use
    sys.addaudithook(_block_forbidden_event)


def _block_forbidden_event(event: str, args: object) -> None:
    if event in _FORBIDDEN_EVENTS:
        raise PermissionError(f"{event} is not allowed in the process that reads files")


def _read_batches(path: Path, name: str, timeout_s: float) -> Iterator[Batch]:
    """Yield the batches of a file. If it changes before the first one is sent, it is read again."""
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        state = _file_state(path)
        has_sent = False
        for articles, last in _batched(read_file(path, name), timeout_s):
            failed = last and _file_state(path) != state
            if failed and not has_sent and attempt < _MAX_ATTEMPTS:
                time.sleep(_RETRY_DELAY_S)
                break
            if failed:
                articles.append(Skipped(name, phrase("changes_while_read")))
            has_sent = True
            yield articles, last, failed
        else:
            return


def _batched(
    articles: ArticleIterator, timeout_s: float
) -> Iterator[tuple[list[Article | Skipped], bool]]:
    """Yield what is read in batches limited in size and time, and whether each is the last one.

    A batch that takes longer than `timeout_s` seconds ends the process by SIGALRM, which interrupts
    even C code.
    """
    batch: list[Article | Skipped] = []
    characters = 0
    start = _set_alarm(timeout_s)
    for article in articles:
        batch.append(article)
        characters += len(article.text) if isinstance(article, Article) else 0
        is_late = time.monotonic() - start >= _MAX_BATCH_S
        if len(batch) >= _MAX_BATCH_ARTICLES or characters >= _MAX_BATCH_CHARACTERS or is_late:
            _set_alarm(0)
            yield batch, False
            batch = []
            characters = 0
            start = _set_alarm(timeout_s)
    _set_alarm(0)
    yield batch, True


def _set_alarm(seconds: float) -> float:
    """Set the alarm, or stop it with 0 seconds. Return the current time."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    return time.monotonic()


def _file_state(path: Path) -> tuple[int, int, int] | None:
    """Return inode, size and modification time of a file, or None if it does not exist."""
    with suppress(OSError):
        status = path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns
    return None
