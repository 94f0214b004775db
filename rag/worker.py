"""The process in which llama.cpp runs: started, spoken to, and looked at when it has died.

Each channel is a socket that carries JSON. A request is answered by any number of replies and an end, all
under its number; a request may be stopped in between. Channels do not wait for each other.
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

SILENT_S = 300.0
"""Longest wait for the next reply; a slice of a prompt or a token takes far less on any machine."""

LOADING_S = 3600.0
"""Longest wait for a model to be loaded, which may take being prepared, on a slow disk."""

ENDING_S = 5.0
"""Longest wait for the exit status of a process whose channels are closed."""

CONTROL = 0
"""The channel for short requests; each of the others reads and writes one text at a time."""

_Channel = Connection  # generic to type checkers only


class WorkerDied(Exception):
    """The process is gone, or does not answer any more."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a process ended: the signal (0 for none), and its last words, or other cause, if any."""

    signal: int
    message: str

    @property
    def name(self) -> str:
        """The signal's name; empty without one."""
        named = {known.value: known.name for known in signal.Signals}
        return named.get(self.signal, f"signal {self.signal}") if self.signal else ""

    def __str__(self) -> str:
        if not self.signal:
            return self.message or "it ended unexpectedly"
        if self.name not in _SIGNALS:
            return self.name
        cause = f"{_SIGNALS[self.name]} ({self.name})"
        return f"{cause}: {self.message}" if self.name == "SIGABRT" and self.message else cause


_SIGNALS = {
    "SIGILL": "illegal instruction",
    "SIGSEGV": "segmentation fault",
    "SIGBUS": "bus error",
    "SIGFPE": "arithmetic error",
    "SIGABRT": "aborted",
    "SIGKILL": "killed, perhaps for want of memory",
}


class Worker:
    """One process of `rag.llama_worker`. Its channels may be used by one thread each at a time.

    It is ended by `end`, or with this object, or with this program.
    """

    def __init__(self, options: dict[str, Any], slots: int) -> None:
        """`options` are those of rag.llama_worker.work; there is a channel for each of the `slots`.

        Raises OSError where no process can be started.
        """
        pairs = [Pipe() for _ in range(1 + slots)]
        self._channels: list[_Channel] = [ours for ours, _ in pairs]
        handles = [its.fileno() for _, its in pairs]
        self._stderr = TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._numbers = count()
        self._silent = False
        self.loaded = False
        environment = os.environ | {"GGML_NO_BACKTRACE": "1"}  # else it starts a debugger
        self._process = start_python(
            "from rag.llama_worker import work; work()",
            options | {"handles": handles},
            handles=handles,
            stderr=self._stderr,
            environment=environment,
        )
        for _, its in pairs:
            its.close()
        self._ending = weakref.finalize(self, _end, self._process, self._stderr)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def exchange(self, channel: int, request: Any, most_s: float | None = None) -> Iterator[Any]:
        """The replies to a request; closing the iterator stops what it asked for.

        Raises ModelError when the process says so, WorkerDied when it says nothing any more, be it for
        `most_s` seconds (SILENT_S).
        """
        pipe, number = self._channels[channel], next(self._numbers)
        under_way = True
        try:
            pipe.send_bytes(json.dumps([number, request]).encode())
            while True:
                kind, value = self._received(pipe, number, most_s)
                under_way = kind == "reply"
                if kind == "error":
                    raise ModelError(value[0], remedy=value[1])
                if kind == "end":
                    return
                yield value
        except (EOFError, OSError) as error:
            under_way = False
            raise WorkerDied from error
        finally:
            if under_way:
                self._stop(pipe, number)

    def _stop(self, pipe: _Channel, number: int) -> None:
        """Stop what was asked for last, and wait until it has stopped."""
        with suppress(EOFError, OSError):
            pipe.send_bytes(b'"stop"')
            while self._received(pipe, number)[0] == "reply":
                pass

    def _received(
        self, pipe: _Channel, number: int, most_s: float | None = None
    ) -> tuple[str, Any]:
        """What comes next in answer to that request, rather than to one given up before."""
        while True:
            if not pipe.poll(most_s or SILENT_S):
                self._silent = True
                self._process.kill()
                raise EOFError
            answered, kind, value = json.loads(pipe.recv_bytes())
            if answered == number:
                return kind, value

    def death(self) -> Death:
        """How the process ended; one that only hangs is ended first."""
        try:
            status = self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        if self._silent:
            return Death(0, "it did not answer any more")
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return Death(max(0, -status), said[-1] if said else "")

    def end(self) -> None:
        """End the process. Whoever waits for it learns that; once nobody does, its channels close."""
        self._ending()


def _end(process: "subprocess.Popen[bytes]", stderr: IO[bytes]) -> None:
    process.kill()
    process.wait()
    stderr.close()
