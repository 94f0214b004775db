"""The program of the language model's process; `worker` is the other end of its channels."""

import ctypes
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

from rag.errors import ModelError
from rag.models import memory
from rag.models.generation import backends
from rag.models.generation.llama import LlamaGenerator
from rag.types import Message

_Channel = Connection  # an alias, since only type checkers treat Connection as generic

UNEXPECTED_ERROR = 70
"""Exit status after an unexpected exception, whose traceback is on stderr."""


def work() -> None:
    """Serve requests until the other end closes its channels.

    `sys.argv[1]` holds the options as JSON: `handles`, the file descriptors of the channels, and the
    arguments of `LlamaGenerator`.
    """
    options = json.loads(sys.argv[1])
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would contain all weights
    memory.limit_malloc_arenas()
    channels = [Connection(handle) for handle in options["handles"]]
    with _exit_on_error():
        callback = _print_aborts()  # referenced as long as llama.cpp may call it
        generator = LlamaGenerator(
            options["name"],
            Path(options["file"]),
            Path(options["cache"]),
            options["threads"],
            options["most_bytes"],
        )
    threads = [
        Thread(target=_serve, args=(channel, generator), daemon=True) for channel in channels
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    del callback


def _serve(channel: _Channel, generator: LlamaGenerator) -> None:
    """Serve one channel's requests, one after the other."""
    with _exit_on_error():
        while True:
            message = json.loads(channel.recv_bytes())
            if message != "stop":  # a late "stop": its request has already ended
                number, request = message
                _answer(channel, number, request, generator)


def _answer(channel: _Channel, number: int, request: Any, generator: LlamaGenerator) -> None:
    """Send the replies to one request, until there are no more or a message arrives."""
    try:
        with closing(_replies(request, generator)) as replies:
            for reply in replies:
                _send(channel, number, "reply", reply)
                if channel.poll():  # any message means that the rest is not wanted
                    break
    except ModelError as error:
        _send(channel, number, "error", [error.problem, error.remedy])
    else:
        _send(channel, number, "end", None)


def _send(channel: _Channel, number: int, kind: str, value: Any) -> None:
    channel.send_bytes(json.dumps([number, kind, value]).encode())


def _replies(request: Any, generator: LlamaGenerator) -> Generator[Any]:
    """Execute a request and yield its replies."""
    command, value = request
    match command:
        case "about":
            yield [generator.context, generator.memory]
        case "variant":
            yield from backends.try_variants(*value)
        case "load":
            generator.load()
        case "test":
            _test(generator)
        case "count_tokens":
            yield generator.count_tokens(_parse_messages(value))
        case "stream":
            with closing(generator.stream(_parse_messages(value))) as pieces:
                yield from pieces


def _test(generator: LlamaGenerator) -> None:
    """Test the arithmetic; if it computes NaN, die as if by a CPU exception."""
    try:
        generator.test_arithmetic()
    except ArithmeticError:
        signal.raise_signal(signal.SIGFPE)


def _parse_messages(pairs: Any) -> list[Message]:
    return [Message(role=role, content=content) for role, content in pairs]


@contextmanager
def _exit_on_error() -> Iterator[None]:
    """End the process on any exception, so that the other end notices; quietly if that end is gone."""
    try:
        yield
    except (EOFError, ConnectionError):
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(UNEXPECTED_ERROR)


def _print_aborts() -> Any:
    """Print llama.cpp's message on stderr when it aborts, although llama-cpp-python redirects stderr.

    Returns the callback, which must be kept alive.
    """
    from llama_cpp import llama_cpp

    stderr = os.dup(2)

    @ctypes.CFUNCTYPE(None, ctypes.c_char_p)  # type: ignore[untyped-decorator]
    def report(message: bytes) -> None:
        os.write(stderr, message + b"\n")

    llama_cpp._lib.ggml_set_abort_callback(report)
    return report
