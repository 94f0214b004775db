"""Client of the language model's process: starts it, exchanges messages with it, and diagnoses its death.

Each channel is a socket that carries JSON messages. A request is answered by any number of replies and an
end (or an error), all with the request's number. A request may be stopped in between. Channels are
independent of each other. `llama_worker` is the process's program.
"""

import json
import os
import signal
import subprocess
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from tempfile import TemporaryFile
from typing import IO, Any

from rag.errors import ModelError
from rag.processes import start_python

REPLY_TIMEOUT_S = 300.0
"""Seconds to wait for the next reply; a slice of a prompt or a token takes far less on any machine."""

LOAD_TIMEOUT_S = 3600.0
"""Seconds to wait for a model to load, which may include converting it on a slow disk."""

EXIT_TIMEOUT_S = 5.0
"""Seconds to wait for the exit status of a process whose channels are closed."""

CONTROL = 0
"""The channel for short requests. Each of the others serves one text at a time."""

_Channel = Connection  # an alias, since only type checkers treat Connection as generic


class WorkerDied(Exception):
    """The process has died, or does not reply any more."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a process ended.

    Attributes:
        signal: The signal that ended it; 0 for none.
        message: The last line of its error output, or another cause; empty if unknown.
    """

    signal: int
    message: str

    @property
    def name(self) -> str:
        """The signal's name; empty without a signal."""
        if not self.signal:
            return ""
        names = {known.value: known.name for known in signal.Signals}
        return names.get(self.signal, f"signal {self.signal}")

    def __str__(self) -> str:
        if not self.signal:
            return self.message or "it ended unexpectedly"
        if self.name not in _SIGNAL_MEANINGS:
            return self.name
        cause = f"{_SIGNAL_MEANINGS[self.name]} ({self.name})"
        return f"{cause}: {self.message}" if self.name == "SIGABRT" and self.message else cause


_SIGNAL_MEANINGS = {
    "SIGILL": "illegal instruction",
    "SIGSEGV": "segmentation fault",
    "SIGBUS": "bus error",
    "SIGFPE": "arithmetic error",
    "SIGABRT": "aborted",
    "SIGKILL": "killed, perhaps for lack of memory",
}


class Worker:
    """One process that runs `llama_worker`. Each of its channels may be used by one thread at a time.

    The process ends when `end` is called, when this object is deleted, and when this program ends.

    Args:
        options: The options of `llama_worker.work` apart from `handles`.
        slots: The number of channels in addition to CONTROL.

    Raises:
        OSError: No process can be started.
    """

    def __init__(self, options: dict[str, Any], slots: int) -> None:
        pairs = [Pipe() for _ in range(1 + slots)]
        self._channels: list[_Channel] = [parent_end for parent_end, _ in pairs]
        handles = [child_end.fileno() for _, child_end in pairs]
        self._stderr = TemporaryFile()  # noqa: SIM115 (closed when the process ends)
        self._request_numbers = count()
        self._timed_out = False
        self.loaded = False
        # Without this variable, ggml starts a debugger when it aborts.
        environment = os.environ | {"GGML_NO_BACKTRACE": "1"}
        self._process = start_python(
            "from rag.models.generation.llama_worker import work; work()",
            options | {"handles": handles},
            handles=handles,
            stderr=self._stderr,
            environment=environment,
        )
        for _, child_end in pairs:
            child_end.close()
        self._finalizer = weakref.finalize(self, _end, self._process, self._stderr)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def exchange(self, channel: int, request: Any, timeout_s: float | None = None) -> Iterator[Any]:
        """Send a request and yield its replies; closing the iterator stops the request.

        Args:
            channel: The channel's number.
            request: The command and its argument, see `llama_worker`.
            timeout_s: Seconds to wait for each reply; None for REPLY_TIMEOUT_S.

        Yields:
            The value of each reply.

        Raises:
            ModelError: The process reports an error.
            WorkerDied: The process has died, or has not replied in time and was killed.
        """
        pipe, number = self._channels[channel], next(self._request_numbers)
        running = True
        try:
            pipe.send_bytes(json.dumps([number, request]).encode())
            while True:
                kind, value = self._receive(pipe, number, timeout_s)
                running = kind == "reply"
                if kind == "error":
                    raise ModelError(value[0], remedy=value[1])
                if kind == "end":
                    return
                yield value
        except (EOFError, OSError) as error:
            running = False
            raise WorkerDied from error
        finally:
            if running:
                self._stop(pipe, number)

    def _stop(self, pipe: _Channel, number: int) -> None:
        """Stop the running request, and wait until it has ended."""
        with suppress(EOFError, OSError):
            pipe.send_bytes(b'"stop"')
            while self._receive(pipe, number)[0] == "reply":
                pass

    def _receive(
        self, pipe: _Channel, number: int, timeout_s: float | None = None
    ) -> tuple[str, Any]:
        """Return the next message about a request; those about abandoned requests are skipped."""
        while True:
            if not pipe.poll(timeout_s or REPLY_TIMEOUT_S):
                self._timed_out = True
                self._process.kill()
                raise EOFError
            message_number, kind, value = json.loads(pipe.recv_bytes())
            if message_number == number:
                return kind, value

    def death(self) -> Death:
        """Return how the process ended; a process that is still running is killed first."""
        try:
            status = self._process.wait(EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        if self._timed_out:
            return Death(0, "it stopped responding")
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").split("\n")
        messages = [line.strip() for line in lines if line.strip()]
        return Death(max(0, -status), messages[-1] if messages else "")

    def end(self) -> None:
        """End the process.

        Threads that wait for a reply get WorkerDied. The channels close once no thread uses them.
        """
        self._finalizer()


def _end(process: "subprocess.Popen[bytes]", stderr: IO[bytes]) -> None:
    process.kill()
    process.wait()
    stderr.close()
