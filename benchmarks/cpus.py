"""Whether Footnote runs on other kinds of CPU: `python benchmarks/cpus.py [CPU …]`.

Needs QEMU (Debian: `apt-get install qemu-user`), whose names of CPUs these are. Indexes two short
articles and asks a question on each CPU: QEMU runs every process, the children too, announces that CPU's
instructions, and lets a process die of others. It takes about twenty minutes for each. The first row is
this machine's own CPU, which prepares the generator's weights for all.

QEMU 7.2 does not imitate AVX-512 and VNNI: a Skylake-Server, say, is one without them.
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

from rag.arithmetic import Measured, Way

CPUS = ["Nehalem", "Westmere", "Haswell", "Skylake-Server", "EPYC", "max"]
"""Without AVX and AES; without AVX; with AVX2, of Intel and of AMD; and all that QEMU imitates."""

OWN = "this machine's"

ARTICLES = {
    "lighthouse.md": "The lighthouse at Cape Ardent is 41 metres high. It was built in 1871.",
    "ferry.md": "The ferry to Holm Island leaves at noon. The crossing takes 25 minutes.",
}
QUESTION = "How high is the lighthouse?"

MOST_S = 3600.0
"""For each command, after which it counts as hanging."""

QEMU = "qemu-x86_64"

HEAD = ["CPU", "llama.cpp", "encoder", "indexed", "answer, or what was said instead", "seconds"]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command printed, and what it said to be wrong, in one line."""

    output: str
    wrong: str


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
        for cpu in [OWN, *cpus]:
            lines.append(tried(cpu, folder))
            print(table(HEAD, lines[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(HEAD, lines))


def tried(cpu: str, folder: Path) -> list[str]:
    """A line of the table. QEMU shows this machine's /proc/cpuinfo: each CPU needs a cache of its own."""
    python = sys.executable if cpu == OWN else imitated(cpu, folder / cpu)
    cache, index = folder / cpu / "cache", folder / cpu / "index"
    if cpu != OWN:
        shutil.copytree(folder / OWN / "cache", cache, ignore=shutil.ignore_patterns("cpu"))
    began = perf_counter()
    indexing = rag(python, cache, "index", str(folder / "articles"), "--index", str(index))
    asking = rag(python, cache, "ask", QUESTION, "--json", "--index", str(index))
    seconds = perf_counter() - began
    indexed = indexing.wrong or "yes"
    return [cpu, variant(cache), arithmetic(cache), indexed, answer(asking), f"{seconds:.0f}"]


def imitated(cpu: str, folder: Path) -> str:
    """A Python that runs on this CPU, and so do all processes that it starts, by `sys.executable`.

    It is a virtual environment with this one's packages, whose Python is a script.
    """
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", folder)
    (folder / "lib").symlink_to(Path(sys.prefix) / "lib")
    real = Path(sys.executable).resolve()
    python.write_text(f'#!/bin/sh\nexec {QEMU} -cpu {cpu} -0 "$0" "{real}" "$@"\n')
    python.chmod(0o755)
    return str(python)


def rag(python: str, cache: Path, *words: str) -> Ran:
    """Run a command of `rag`."""
    try:
        ran = subprocess.run(
            [python, "-m", "rag", *words],
            capture_output=True,
            text=True,
            env=os.environ | {"RAG_CACHE": str(cache)},
            timeout=MOST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ran("", f"HANGS for {MOST_S:.0f} s")
    said = [line for line in ran.stderr.splitlines() if not line.startswith(QEMU)]
    if any(line.startswith("Traceback") for line in said):
        return Ran("", f"TRACEBACK: {said[-1]}")
    told = " ".join(line for line in said if line.startswith("rag: "))
    if ran.returncode:
        return Ran("", told or f"DIED, status {ran.returncode}: {' '.join(said[-1:])}")
    return Ran(ran.stdout, told)


def answer(asking: Ran) -> str:
    """The text and how it came about; before it, what was said besides, as that there is no model."""
    if not asking.output:
        return asking.wrong
    found = json.loads(asking.output)
    text = " ".join(found["answer"].split())
    return " ".join(filter(None, [asking.wrong, f"{text} ({found['mode']}, {found['model']})"]))


def variant(cache: Path) -> str:
    """The variant of llama.cpp that has passed its test, as the cache folder keeps it."""
    kept = verdict(cache, "llama.cpp")
    return ", ".join(kept.get("passed", [])) or "none"


def arithmetic(cache: Path) -> str:
    """That of the encoder, as the cache folder keeps it."""
    kept = verdict(cache, "torch")
    if not kept.get("seconds"):
        return "none"
    seconds = {Way(way): took for way, took in kept["seconds"].items()}
    chosen = Measured(seconds, {}).fastest("auto").value
    ruled_out = ", ".join(f"not {way}: {why}" for way, why in kept["ruled_out"].items())
    oldest = "without newer instructions" if kept["default_capability"] else ""
    return "; ".join(filter(None, [chosen, oldest, ruled_out]))


def verdict(cache: Path, subject: str) -> dict:
    files = sorted((cache / "cpu").glob(f"{subject}-*.json"))
    return json.loads(files[0].read_text(encoding="utf-8")) if files else {}


if __name__ == "__main__":
    main(sys.argv[1:] or CPUS)
