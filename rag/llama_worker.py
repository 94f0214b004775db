"""What runs in the process of the language model (rag.worker is its other end)."""

import collections.abc as abc
import ctypes
import json
import os
import resource
import signal
import sys
import traceback
from contextlib import closing, suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

from rag import backends, memory
from rag.datatypes import Message
from rag.errors import ModelError
from rag.generator import LlamaGenerator

_Channel = Connection  # generic to type checkers only

BROKEN = 70
"""Exit status after an error that nobody expected; the traceback is on stderr."""


def work() -> None:
    """Answer requests until the other end closes its channels.

    The options (JSON, in `sys.argv[1]`) are: `handles`, the channels' file descriptors; and the arguments
    of LlamaGenerator.
    """
    options = json.loads(sys.argv[1])
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold all the weights
    memory.share_heaps()
    channels = [Connection(handle) for handle in options["handles"]]
    with _ending_with_the_process():
        aborting = _report_aborts()  # kept as long as llama.cpp may call it
        generator = LlamaGenerator(
            options["name"],
            Path(options["file"]),
            Path(options["cache"]),
            options["threads"],
            Path(options["adapter"]) if options["adapter"] else None,
            options["most_bytes"],
        )
    serving = [
        Thread(target=_serve, args=(channel, generator), daemon=True) for channel in channels
    ]
    for thread in serving:
        thread.start()
    for thread in serving:
        thread.join()
    del aborting


def _serve(channel: _Channel, generator: LlamaGenerator) -> None:
    """Answer one channel's requests, one after the other."""
    with _ending_with_the_process():
        while True:
            received = json.loads(channel.recv_bytes())
            if received != "stop":  # what that was to stop has ended
                number, request = received
                _answer(channel, number, request, generator)


def _answer(channel: _Channel, number: int, request: Any, generator: LlamaGenerator) -> None:
    try:
        with closing(_replies(request, generator)) as replies:
            for reply in replies:
                _send(channel, number, "reply", reply)
                if channel.poll():  # whatever is sent meanwhile, no more of this is wanted
                    break
    except ModelError as error:
        _send(channel, number, "error", [error.problem, error.remedy])
    else:
        _send(channel, number, "end", None)


def _send(channel: _Channel, number: int, kind: str, value: Any) -> None:
    channel.send_bytes(json.dumps([number, kind, value]).encode())


def _replies(request: Any, generator: LlamaGenerator) -> abc.Generator[Any]:
    """What answers a request."""
    wanted, value = request
    match wanted:
        case "about":
            yield [generator.context, generator.memory]
        case "variant":
            yield from backends.loading(*value)
        case "load":
            generator.load()
        case "test":
            _test(generator)
        case "count_tokens":
            yield generator.count_tokens(_messages(value))
        case "short_answer":
            with closing(generator.short_answer(_messages(value))) as reading:
                for short in reading:
                    yield short and asdict(short)
        case "stream":
            with closing(generator.stream(_messages(value))) as pieces:
                yield from pieces


def _test(generator: LlamaGenerator) -> None:
    """Where the arithmetic comes to what is not a number, end as a CPU ends what it cannot compute."""
    try:
        generator.test_arithmetic()
    except ArithmeticError:
        signal.raise_signal(signal.SIGFPE)


def _messages(value: Any) -> list[Message]:
    return [Message(role=role, content=content) for role, content in value]


class _ending_with_the_process:  # noqa: N801 (reads as a phrase)
    """What goes wrong within ends the process: the other end is gone, or sees that this one is."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            return
        if issubclass(kind, (EOFError, ConnectionError)):
            os._exit(0)
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(BROKEN)


def _report_aborts() -> Any:
    """Have llama.cpp's last words on stderr even while llama-cpp-python silences that."""
    from llama_cpp import llama_cpp

    stderr = os.dup(2)

    @ctypes.CFUNCTYPE(None, ctypes.c_char_p)  # type: ignore[untyped-decorator]
    def report(message: bytes) -> None:
        os.write(stderr, message + b"\n")

    llama_cpp._lib.ggml_set_abort_callback(report)
    return report
