"""Number of threads for the generator: `python benchmarks/threads.py`.

Prints the seconds to read 128 tokens and write 25, with one thread and with one per core, while 0, 1
and 2 other processes each keep a core busy. Median and maximum of seven rounds.
"""

import multiprocessing
import os
import time
from statistics import median

import llama_cpp
from common import table

from rag.models.generation import backends
from rag.models.generation.llama import requantised_weights
from rag.models.resolve import SMOLLM2, generator_file
from rag.settings import load

PROMPT_TOKENS, ANSWER_TOKENS, ROUNDS = 128, 25, 7


def main() -> None:
    settings = load()
    bundled = generator_file(SMOLLM2.name, settings.cache)
    file = requantised_weights(SMOLLM2.name, bundled, settings.cache)
    lines = []
    for busy_processes in range(3):
        others = [multiprocessing.Process(target=spin, daemon=True) for _ in range(busy_processes)]
        for other in others:
            other.start()
        for threads in sorted({1, os.cpu_count() or 1}):
            seconds = measure(str(file), threads)
            lines.append(
                [str(busy_processes), str(threads), f"{median(seconds):.2f}", f"{max(seconds):.2f}"]
            )
        for other in others:
            other.terminate()
    print(table(["other processes", "threads", "median s", "worst s"], lines))


def spin() -> None:
    while True:
        pass


def measure(file: str, threads: int) -> list[float]:
    backends.load_best()
    model = llama_cpp.Llama(
        file, n_ctx=512, n_threads=threads, n_threads_batch=threads, verbose=False
    )
    tokens = model.tokenize(b"The committee met on Tuesday about the bridge. " * 20)[:PROMPT_TOKENS]
    seconds = []
    for _ in range(ROUNDS + 1):
        model.reset()
        started_at = time.perf_counter()
        model.eval(tokens)
        for token in tokens[:ANSWER_TOKENS]:
            model.eval([token])
        seconds.append(time.perf_counter() - started_at)
    return seconds[1:]


if __name__ == "__main__":
    main()
