"""How soon a stopped question leaves the generator free: `python benchmarks/stopping.py SET [TIMES]`.

Asks a set's questions, stops each at a random moment of the time that it takes, and waits until another
could have the generator. Prints the milliseconds between: of answers as they are, and of drafts, which
the generator writes without its adapter.
"""

import random
import sys
import threading
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
from common import SEED, indexed, rows, sample, table

from rag.chatbot import Chatbot
from rag.datatypes import Answer, Message
from rag.settings import Settings, load

ANYTHING = [Message(role="user", content="Who?")]


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
    index = indexed(data)
    questions = [row["question"] for row in sample(rows(data / "questions.jsonl"), times)]
    ways = {"answers": load(index=index), "drafts": load(index=index, adapter="off")}
    lines = [[way, *measured(settings, questions)] for way, settings in ways.items()]
    print(table(["of", "stopped", "median ms", "95 %", "most"], lines))


def measured(settings: Settings, questions: list[str]) -> list[str]:
    chatbot, drawn = Chatbot.open(settings), random.Random(SEED)
    chatbot.load()
    waited = []
    for question in questions:
        took = chatbot.answer(question).timings.total_s
        asked = Asked(chatbot.ask(question))
        sleep(drawn.uniform(0, took))
        going = asked.thread.is_alive()
        began = perf_counter()
        asked.stop()
        chatbot._generator.count_tokens(ANYTHING)  # waits for the generator
        if going:
            waited.append(1000 * (perf_counter() - began))
        asked.thread.join()
    shown = (np.median(waited), np.percentile(waited, 95), max(waited))
    return [f"{len(waited)}", *(f"{ms:.0f}" for ms in shown)]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 60)
