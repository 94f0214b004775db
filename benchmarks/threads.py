"""How many threads the generator should have: `python benchmarks/threads.py`.

Seconds to read 128 tokens and write 25, with 1 thread and with one a core, while 0, 1 and 2 other
processes want a core. Median and worst of seven.
"""

import multiprocessing
import os
import time
from statistics import median

import llama_cpp
from common import table

from rag import backends
from rag.generator import fast_copy
from rag.models import SMOLLM2, generator_file
from rag.settings import load

READ, WRITE, ROUNDS = 128, 25, 7


def main() -> None:
    settings = load()
    shipped = generator_file(SMOLLM2.name, settings.cache)
    file = fast_copy(SMOLLM2.name, shipped, settings.cache)
    lines = []
    for busy in range(3):
        others = [multiprocessing.Process(target=spin, daemon=True) for _ in range(busy)]
        for other in others:
            other.start()
        for threads in sorted({1, os.cpu_count() or 1}):
            seconds = timed(str(file), threads)
            lines.append([str(busy), str(threads), f"{median(seconds):.2f}", f"{max(seconds):.2f}"])
        for other in others:
            other.terminate()
    print(table(["other processes", "threads", "median s", "worst s"], lines))


def spin() -> None:
    while True:
        pass


def timed(file: str, threads: int) -> list[float]:
    backends.load_best()
    model = llama_cpp.Llama(
        file, n_ctx=512, n_threads=threads, n_threads_batch=threads, verbose=False
    )
    tokens = model.tokenize(b"The committee met on Tuesday about the bridge. " * 20)[:READ]
    seconds = []
    for _ in range(ROUNDS + 1):
        model.reset()
        began = time.perf_counter()
        model.eval(tokens)
        for token in tokens[:WRITE]:
            model.eval([token])
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


if __name__ == "__main__":
    main()
