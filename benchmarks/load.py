"""Load test: `python benchmarks/load.py SET [--questions N] [--users U …] [--minutes M]`.

Concurrent users ask a dataset's questions through the server's service, each the next one as soon as
the last is answered. Prints for each number of users, twice: answers per minute, seconds per answer,
busy cores, and how many answers differ from those to a single user. Then, for M minutes, 20 users ask
who pause for a second between questions, and who abandon a fifth of their questions.
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
from common import SEED, build_dataset_index, rows, sample, table

from rag.models.memory import resident
from rag.server.answer_task import AnswerStatus
from rag.server.request_log import Channel
from rag.server.service import ChatService
from rag.settings import load

CROWD_SIZE, ABANDON_RATE, MEAN_PAUSE_S = 20, 0.2, 1.0

AnswerText = tuple[str, str]


@dataclass
class LoadResult:
    """The outcome of a load test.

    Attributes:
        answers: Each question with its answer.
        seconds: Seconds from question to answer.
        waits: Initial position in the queue, and seconds until the first place, of queued questions.
        abandoned: Number of questions abandoned.
    """

    answers: list[tuple[str, AnswerText]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    waits: list[tuple[int, float]] = field(default_factory=list)
    abandoned: int = 0

    def different(self, sequential: dict[str, AnswerText]) -> int:
        """Return how many answers differ from those to a single user."""
        return sum(sequential[question] != answer for question, answer in self.answers)

    def longest_wait(self) -> float:
        """Return the longest wait as a multiple of the median at the same position in the queue."""
        by_position: dict[int, list[float]] = {}
        for position, seconds in self.waits:
            by_position.setdefault(position, []).append(seconds)
        groups = [waits for waits in by_position.values() if len(waits) > 4]
        return max((max(waits) / median(waits) for waits in groups), default=0.0)


async def ask_one(
    service: ChatService, question: str, patience: float, result: LoadResult, session: str
) -> None:
    """Ask, and wait for the answer or abandon the question after `patience` seconds."""
    started_at, first_position, turn_at, status = perf_counter(), None, None, AnswerStatus()
    progress = service.answer(question, session=session, channel=Channel.API)
    async for status in progress:
        elapsed = perf_counter() - started_at
        first_position = status.position if first_position is None else first_position
        turn_at = elapsed if turn_at is None and not status.position else turn_at
        if elapsed > patience:
            await progress.aclose()
            result.abandoned += 1
            return
    result.seconds.append(perf_counter() - started_at)
    result.answers.append((question, (status.answer.text, status.answer.mode)))
    if first_position:
        result.waits.append((first_position, turn_at))


async def ask_all(service: ChatService, questions: list[str], users: int) -> LoadResult:
    """Ask all questions, by users who do not pause."""
    result, remaining = LoadResult(), iter(questions)

    async def user(session: str) -> None:
        for question in remaining:
            await ask_one(service, question, float("inf"), result, session)

    await asyncio.gather(*(user(f"{number}") for number in range(users)))
    return result


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its descendants."""
    this_process = psutil.Process()
    times = [
        process.cpu_times() for process in (this_process, *this_process.children(recursive=True))
    ]
    return sum(cpu_time.user + cpu_time.system for cpu_time in times)


async def crowd(
    service: ChatService, questions: list[str], minutes: float
) -> tuple[LoadResult, list[int]]:
    """Run the crowd, and return its result and the resident memory in bytes, every 15 seconds."""
    result, rng, ends_at = LoadResult(), random.Random(SEED), perf_counter() + 60 * minutes
    memory: list[int] = []

    async def user(session: str) -> None:
        while perf_counter() < ends_at:
            patience = rng.uniform(0, 10) if rng.random() < ABANDON_RATE else float("inf")
            await ask_one(service, rng.choice(questions), patience, result, session)
            await asyncio.sleep(rng.expovariate(1 / MEAN_PAUSE_S))

    async def sample_memory() -> None:
        while perf_counter() < ends_at:
            memory.append(resident())
            await asyncio.sleep(15)

    await asyncio.gather(sample_memory(), *(user(f"{number}") for number in range(CROWD_SIZE)))
    return result, memory


async def main(data: Path, sample_size: int, users: list[int], minutes: float) -> None:
    service = ChatService(load(index=build_dataset_index(data)))
    service.load()
    while not service.settled:
        await asyncio.sleep(0.1)
    questions = [row["question"] for row in sample(rows(data / "questions.jsonl"), sample_size)]
    sequential = dict((await ask_all(service, questions, 1)).answers)
    lines = []
    for _ in range(2):
        for number in users:
            started_at, cpu_before = perf_counter(), cpu_seconds()
            result = await ask_all(service, questions, number)
            elapsed = perf_counter() - started_at
            rate, busy = 60 * len(result.answers) / elapsed, (cpu_seconds() - cpu_before) / elapsed
            p95 = np.percentile(result.seconds, 95)
            counts = [f"{number}", f"{rate:.0f}", f"{median(result.seconds):.2f}", f"{p95:.2f}"]
            lines.append([*counts, f"{busy:.2f}", f"{result.different(sequential)}"])
    heads = ["users", "answers/minute", "median s", "95 % s", "cores busy", "different"]
    print(table(heads, lines))
    if minutes:
        result, memory = await crowd(service, questions, minutes)
        steady = memory[min(4, len(memory) - 1) :]
        growth = 100 * (max(steady) / steady[0] - 1)
        print(
            f"{CROWD_SIZE} users, {minutes:g} minutes: {len(result.answers)} answers,"
            f" {result.abandoned} abandoned, {result.different(sequential)} different;"
            f" median {median(result.seconds):.1f} s,"
            f" longest {max(result.seconds):.1f} s; longest wait {result.longest_wait():.1f} times the"
            f" median at its position; memory after a minute {steady[0] / 1e6:.0f} MB,"
            f" at most {growth:+.1f} %"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("set", type=Path)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--users", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--minutes", type=float, default=0)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.set, arguments.questions, arguments.users, arguments.minutes))
