"""How soon a stopped question leaves the generator free: `python benchmarks/stopping.py SET [TIMES]`.

Asks a set's questions, stops each at a random moment of the time that it takes, and waits until another
could have its slot of the generator. Prints the milliseconds between: of answers as they are, alone and
while the other slot reads, and of drafts, which the generator writes without its adapter.
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
from common import SEED, indexed, rows, sample, table

from rag.chatbot import Chatbot
from rag.datatypes import Answer
from rag.settings import Settings, load
from rag.slot import Slot

Beside = Callable[[Slot], AbstractContextManager[None]]

ANYTHING = range(100, 356)
"""Tokens."""


class Asked:
    """A question that is answered on a thread of its own, until it is stopped."""

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


def main(data: Path, times: int) -> None:
    settings = load(index=indexed(data))
    questions = [row["question"] for row in sample(rows(data / "questions.jsonl"), times)]
    lines = [
        ["answers", *measured(settings, questions, idle)],
        ["answers, another being read", *measured(settings, questions, reading)],
        ["drafts", *measured(settings.model_copy(update={"adapter": "off"}), questions, idle)],
    ]
    print(table(["of", "stopped", "median ms", "95 %", "most"], lines))


def measured(settings: Settings, questions: list[str], beside: Beside) -> list[str]:
    """All slots but one are held, so that whoever waits for another waits for the question."""
    chatbot, drawn = Chatbot.open(settings), random.Random(SEED)
    chatbot.load()
    generator: Any = chatbot._generator
    waited = []
    with generator._slot() as held, beside(held):
        for question in questions:
            took = chatbot.answer(question).timings.total_s
            asked = Asked(chatbot.ask(question))
            sleep(drawn.uniform(0, took))
            going = asked.thread.is_alive()
            began = perf_counter()
            asked.stop()
            with generator._slot():
                if going:
                    waited.append(1000 * (perf_counter() - began))
            asked.thread.join()
    shown = (np.median(waited), np.percentile(waited, 95), max(waited))
    return [f"{len(waited)}", *(f"{ms:.0f}" for ms in shown)]


@contextmanager
def idle(slot: Slot) -> Iterator[None]:
    yield


@contextmanager
def reading(slot: Slot) -> Iterator[None]:
    """Meanwhile the slot reads."""
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            for _ in slot.read(ANYTHING, ()):
                pass

    thread = threading.Thread(target=read)
    thread.start()
    yield
    over.set()
    thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 60)
