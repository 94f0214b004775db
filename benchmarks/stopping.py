"""Latency of cancellation: `python benchmarks/stopping.py SET [TIMES]`.

Asks a dataset's questions, cancels each at a random moment, and waits until its slot of the generator
is free. Prints the milliseconds in between, alone and while the other slot reads a prompt.
"""

import random
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
from common import SEED, build_dataset_index, rows, sample, table

from rag.answering.chatbot import Chatbot
from rag.models.generation.llama_slot import Slot
from rag.settings import Settings, load
from rag.types import Answer

Companion = Callable[[Slot], AbstractContextManager[None]]

ANY_TOKENS = range(100, 356)
"""Arbitrary tokens to read."""


class RunningQuestion:
    """A question that is answered on a separate thread until it is cancelled."""

    def __init__(self, answers: Generator[Answer]) -> None:
        self._answers = answers
        self._stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        with closing(self._answers):
            for _ in self._answers:
                if self._stopped.is_set():
                    return


def main(data: Path, question_count: int) -> None:
    settings = load(index=build_dataset_index(data))
    questions = [row["question"] for row in sample(rows(data / "questions.jsonl"), question_count)]
    lines = [
        ["answers", *measure(settings, questions, idle)],
        ["answers, another being read", *measure(settings, questions, reading)],
    ]
    print(table(["of", "cancelled", "median ms", "95 %", "maximum"], lines))


def measure(settings: Settings, questions: list[str], companion: Companion) -> list[str]:
    """Return a row of waiting times.

    All slots but one are occupied, so that waiting for a slot means waiting for the question.
    """
    chatbot, rng = Chatbot.open(settings), random.Random(SEED)
    chatbot.load()
    generator: Any = chatbot._generator
    waits_ms = []
    with generator._slot() as other_slot, companion(other_slot):
        for question in questions:
            duration_s = chatbot.answer(question).timings.total_s
            running = RunningQuestion(chatbot.ask(question))
            sleep(rng.uniform(0, duration_s))
            was_running = running.thread.is_alive()
            started_at = perf_counter()
            running.stop()
            with generator._slot():
                if was_running:
                    waits_ms.append(1000 * (perf_counter() - started_at))
            running.thread.join()
    summary = (np.median(waits_ms), np.percentile(waits_ms, 95), max(waits_ms))
    return [f"{len(waits_ms)}", *(f"{ms:.0f}" for ms in summary)]


@contextmanager
def idle(slot: Slot) -> Iterator[None]:
    yield


@contextmanager
def reading(slot: Slot) -> Iterator[None]:
    """Read tokens in the slot while the block runs."""
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            for _ in slot.read(ANY_TOKENS, ()):
                pass

    thread = threading.Thread(target=read)
    thread.start()
    yield
    stop.set()
    thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 60)
