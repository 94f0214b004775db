"""Duration and memory of whole commands: `python benchmarks/starting.py INDEX [TIMES]`.

Runs each command TIMES times (5), alternating, and prints the medians of the seconds from start to end
and of the peak memory of the main process.
"""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from common import table

QUESTION = "How high is the lighthouse?"


def main(index: Path, repetitions: int) -> None:
    arguments = [QUESTION, "--index", str(index), "--json"]
    commands = {
        "rag --help": ["--help"],
        "rag search": ["search", *arguments],
        "rag ask": ["ask", *arguments],
    }
    runs: dict[str, list[tuple[float, int]]] = {name: [] for name in commands}
    for _ in range(repetitions):
        for name, command_arguments in commands.items():
            runs[name].append(measure(command_arguments))
    lines = [
        [
            name,
            f"{median(seconds for seconds, _ in measurements):.2f} s",
            f"{median(peak_bytes for _, peak_bytes in measurements) / 1e6:,.0f} MB",
        ]
        for name, measurements in runs.items()
    ]
    print(table(["command", "start to end", "peak memory of the main process"], lines))


def measure(command_arguments: list[str]) -> tuple[float, int]:
    """Run a command, and return its seconds and the peak memory in bytes."""
    started_at = perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "rag", *command_arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command_arguments
    return perf_counter() - started_at, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5)
