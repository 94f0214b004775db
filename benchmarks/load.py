"""Many asking at once: `python benchmarks/load.py SET [--questions N] [--users U …] [--minutes M]`.

Users ask a set's questions through the page's own desk, each the next one as soon as the last is
answered. Prints, for each number of users in turn, twice over, answers a minute, the seconds that they
took, how many cores that kept busy, and how many differ from those got alone. Then, for M minutes, 20
users who think for a second between questions, a fifth of whose questions are left in the middle.
"""

import argparse
import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import psutil
from common import SEED, indexed, rows, sample, table

from rag.datatypes import EVERYTHING
from rag.memory import resident
from rag.settings import load
from rag.web.desk import Desk, Progress
from rag.web.journal import Face

CROWD, LEAVING, THINKING_S = 20, 0.2, 1.0

Told = tuple[str, str]


@dataclass
class Load:
    """What users came to. `waited` are places in line and the seconds until it was their turn."""

    told: list[tuple[str, Told]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    waited: list[tuple[int, float]] = field(default_factory=list)
    left: int = 0

    def different(self, alone: dict[str, Told]) -> int:
        return sum(alone[question] != told for question, told in self.told)

    def longest_wait(self) -> float:
        """The most that anybody waited, as a multiple of the median of the place."""
        places: dict[int, list[float]] = {}
        for place, seconds in self.waited:
            places.setdefault(place, []).append(seconds)
        return max((max(of) / median(of) for of in places.values() if len(of) > 4), default=0.0)


async def asked(desk: Desk, question: str, patience: float, load: Load, session: str) -> None:
    """Ask and wait for the answer, or leave after `patience` seconds."""
    began, first, turn, last = perf_counter(), None, None, Progress()
    progress = desk.answering(desk.chatbot, question, [], EVERYTHING, session, Face.API)
    async for last in progress:
        passed = perf_counter() - began
        first = last.place if first is None else first
        turn = passed if turn is None and not last.place else turn
        if passed > patience:
            await progress.aclose()
            load.left += 1
            return
    load.seconds.append(perf_counter() - began)
    load.told.append((question, (last.answer.text, last.answer.mode)))
    if first:
        load.waited.append((first, turn))


async def all_asked(desk: Desk, questions: list[str], users: int) -> Load:
    """All the questions, by users who never rest."""
    load, todo = Load(), iter(questions)

    async def user(session: str) -> None:
        for question in todo:
            await asked(desk, question, float("inf"), load, session)

    await asyncio.gather(*(user(f"{number}") for number in range(users)))
    return load


def cpu_seconds() -> float:
    """Seconds of cores that this process and those that it has started have used."""
    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children(recursive=True))]
    return sum(of_one.user + of_one.system for of_one in times)


async def crowd(desk: Desk, questions: list[str], minutes: float) -> tuple[Load, list[int]]:
    """What a crowd came to, and the resident bytes every 15 seconds."""
    load, drawn, until = Load(), random.Random(SEED), perf_counter() + 60 * minutes
    memory: list[int] = []

    async def user(session: str) -> None:
        while perf_counter() < until:
            patience = drawn.uniform(0, 10) if drawn.random() < LEAVING else float("inf")
            await asked(desk, drawn.choice(questions), patience, load, session)
            await asyncio.sleep(drawn.expovariate(1 / THINKING_S))

    async def watch() -> None:
        while perf_counter() < until:
            memory.append(resident())
            await asyncio.sleep(15)

    await asyncio.gather(watch(), *(user(f"{number}") for number in range(CROWD)))
    return load, memory


async def main(data: Path, most: int, users: list[int], minutes: float) -> None:
    desk = Desk(load(index=indexed(data)))
    desk.load()
    while not desk.settled:
        await asyncio.sleep(0.1)
    questions = [row["question"] for row in sample(rows(data / "questions.jsonl"), most)]
    alone = dict((await all_asked(desk, questions, 1)).told)
    lines = []
    for _ in range(2):
        for number in users:
            began, worked = perf_counter(), cpu_seconds()
            found = await all_asked(desk, questions, number)
            took = perf_counter() - began
            rate, busy = 60 * len(found.told) / took, (cpu_seconds() - worked) / took
            worst = np.percentile(found.seconds, 95)
            counts = [f"{number}", f"{rate:.0f}", f"{median(found.seconds):.2f}", f"{worst:.2f}"]
            lines.append([*counts, f"{busy:.2f}", f"{found.different(alone)}"])
    heads = ["users", "answers a minute", "median s", "95 % s", "cores busy", "unlike alone"]
    print(table(heads, lines))
    if minutes:
        found, memory = await crowd(desk, questions, minutes)
        settled = memory[min(4, len(memory) - 1) :]
        grown = 100 * (max(settled) / settled[0] - 1)
        print(
            f"{CROWD} users, {minutes:g} minutes: {len(found.told)} answers, {found.left} left in"
            f" the middle, {found.different(alone)} unlike alone; median {median(found.seconds):.1f} s,"
            f" longest {max(found.seconds):.1f} s; longest wait {found.longest_wait():.1f} times the"
            f" median of its place; memory after a minute {settled[0] / 1e6:.0f} MB,"
            f" at most {grown:+.1f} %"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("set", type=Path)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--users", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--minutes", type=float, default=0)
    asked_for = parser.parse_args()
    asyncio.run(main(asked_for.set, asked_for.questions, asked_for.users, asked_for.minutes))
