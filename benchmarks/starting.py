"""Commands from a cold start: `python benchmarks/starting.py INDEX [TIMES]`.

Runs each command TIMES times (5), in turn, as a user would, and prints the medians of the seconds from
its start to its end and of the most memory that its main process took.
"""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from common import table

QUESTION = "How high is the lighthouse?"


def main(index: Path, times: int) -> None:
    asked = [QUESTION, "--index", str(index), "--json"]
    commands = {
        "rag --help": ["--help"],
        "rag search": ["search", *asked],
        "rag ask": ["ask", *asked],
    }
    runs: dict[str, list[tuple[float, int]]] = {name: [] for name in commands}
    for _ in range(times):
        for name, words in commands.items():
            runs[name].append(run(words))
    lines = [
        [name, f"{median(s for s, _ in of):.2f} s", f"{median(b for _, b in of) / 1e6:,.0f} MB"]
        for name, of in runs.items()
    ]
    print(table(["command", "start to end", "most memory of its main process"], lines))


def run(words: list[str]) -> tuple[float, int]:
    """Seconds, and bytes."""
    began = perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "rag", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, words
    return perf_counter() - began, used.ru_maxrss * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5)
