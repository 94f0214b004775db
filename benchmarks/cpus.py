"""Compatibility with other kinds of CPU: `python benchmarks/cpus.py [CPU …]`.

Needs QEMU (Debian: `apt-get install qemu-user`), which defines the names of the CPUs. Indexes two short
articles and asks a question on each CPU. QEMU runs every process and its children, announces that CPU's
instructions, and kills a process that uses others. Each CPU takes about twenty minutes. The first row is
this machine's own CPU, which prepares the generator's weights for all.

QEMU 7.2 does not emulate AVX-512 and VNNI, not even for Skylake-Server.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from common import table

from rag.models.embedding.arithmetic import Arithmetic, ArithmeticTimings

CPUS = ["Nehalem", "Westmere", "Haswell", "Skylake-Server", "EPYC", "max"]
"""Without AVX and AES; without AVX; with AVX2, of Intel and of AMD; and all that QEMU emulates."""

THIS_MACHINE = "this machine's"

ARTICLES = {
    "lighthouse.md": "The lighthouse at Cape Ardent is 41 metres high. It was built in 1871.",
    "ferry.md": "The ferry to Holm Island leaves at noon. The crossing takes 25 minutes.",
}
QUESTION = "How high is the lighthouse?"

TIMEOUT_S = 3600.0
"""Timeout of each command."""

QEMU = "qemu-x86_64"

COLUMNS = ["CPU", "llama.cpp", "encoder", "indexed", "answer, or the error", "seconds"]


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The stdout of a command, and its error in one line."""

    output: str
    error: str


def main(cpus: list[str]) -> None:
    if shutil.which(QEMU) is None:
        sys.exit(f"{QEMU} is not installed: sudo apt-get install qemu-user")
    with tempfile.TemporaryDirectory(prefix="footnote-cpus-") as temporary:
        folder = Path(temporary)
        for name, text in ARTICLES.items():
            file = folder / "articles" / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text + "\n", encoding="utf-8")
        lines = []
        for cpu in [THIS_MACHINE, *cpus]:
            lines.append(run_on_cpu(cpu, folder))
            print(table(COLUMNS, lines[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(COLUMNS, lines))


def run_on_cpu(cpu: str, folder: Path) -> list[str]:
    """Return a row of the table.

    QEMU shows this machine's /proc/cpuinfo, so that each CPU needs a separate cache.
    """
    python = sys.executable if cpu == THIS_MACHINE else emulated_python(cpu, folder / cpu)
    cache, index = folder / cpu / "cache", folder / cpu / "index"
    if cpu != THIS_MACHINE:
        shutil.copytree(
            folder / THIS_MACHINE / "cache", cache, ignore=shutil.ignore_patterns("cpu")
        )
    started_at = perf_counter()
    indexing_result = rag(python, cache, "index", str(folder / "articles"), "--index", str(index))
    asking_result = rag(python, cache, "ask", QUESTION, "--json", "--index", str(index))
    seconds = perf_counter() - started_at
    indexed = indexing_result.error or "yes"
    return [
        cpu,
        read_variant(cache),
        read_arithmetic(cache),
        indexed,
        format_answer(asking_result),
        f"{seconds:.0f}",
    ]


def emulated_python(cpu: str, folder: Path) -> str:
    """Return a Python that runs on an emulated CPU, as do the processes that it starts.

    It is a virtual environment with this one's packages, whose Python (`sys.executable`) is a script.
    """
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", folder)
    (folder / "lib").symlink_to(Path(sys.prefix) / "lib")
    real = Path(sys.executable).resolve()
    python.write_text(f'#!/bin/sh\nexec {QEMU} -cpu {cpu} -0 "$0" "{real}" "$@"\n')
    python.chmod(0o755)
    return str(python)


def rag(python: str, cache: Path, *arguments: str) -> CommandResult:
    """Run a `rag` command."""
    try:
        completed = subprocess.run(
            [python, "-m", "rag", *arguments],
            capture_output=True,
            text=True,
            env=os.environ | {"RAG_CACHE": str(cache)},
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return CommandResult("", f"HANGS for {TIMEOUT_S:.0f} s")
    stderr_lines = [line for line in completed.stderr.splitlines() if not line.startswith(QEMU)]
    if any(line.startswith("Traceback") for line in stderr_lines):
        return CommandResult("", f"TRACEBACK: {stderr_lines[-1]}")
    message = " ".join(line for line in stderr_lines if line.startswith("rag: "))
    if completed.returncode:
        return CommandResult(
            "", message or f"DIED, status {completed.returncode}: {' '.join(stderr_lines[-1:])}"
        )
    return CommandResult(completed.stdout, message)


def format_answer(asking_result: CommandResult) -> str:
    """Return the answer with its mode and model, after any error or warning."""
    if not asking_result.output:
        return asking_result.error
    answer_json = json.loads(asking_result.output)
    text = " ".join(answer_json["answer"].split())
    return " ".join(
        filter(
            None, [asking_result.error, f"{text} ({answer_json['mode']}, {answer_json['model']})"]
        )
    )


def read_variant(cache: Path) -> str:
    """Return the variant of llama.cpp that has passed its test, from the cache directory."""
    record = read_record(cache, "llama.cpp")
    return ", ".join(record.get("passed", [])) or "none"


def read_arithmetic(cache: Path) -> str:
    """Return the arithmetic of the encoder, from the cache directory."""
    record = read_record(cache, "torch")
    if not record.get("seconds"):
        return "none"
    seconds = {Arithmetic(name): duration for name, duration in record["seconds"].items()}
    fastest = ArithmeticTimings(seconds, {}).fastest("auto").value
    ruled_out = ", ".join(f"not {name}: {why}" for name, why in record["ruled_out"].items())
    fallback = "without newer instructions" if record["default_capability"] else ""
    return "; ".join(filter(None, [fastest, fallback, ruled_out]))


def read_record(cache: Path, subject: str) -> dict:
    files = sorted((cache / "cpu").glob(f"{subject}-*.json"))
    return json.loads(files[0].read_text(encoding="utf-8")) if files else {}


if __name__ == "__main__":
    main(sys.argv[1:] or CPUS)
