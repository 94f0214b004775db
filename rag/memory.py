"""Memory: how much there is for models and whether they fit, asked before anything is loaded; and how a
server's threads share it."""

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rag.catalogue import CATALOGUE, Job, size
from rag.errors import ModelError

SPARE = 0.1
"""Share of what is free that is left to everything else."""

AT_WORK = 150_000_000
"""Bytes that a model takes besides its weights, at most sizes."""

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may take: `memory.max` and `memory.current` of version 2."""


HEAPS = 2
"""That a server's threads share. glibc gives up to eight a core, and keeps in each what is freed there:
memory grew by 5 % in ten minutes, as each question has threads of its own (docs/measurements.md)."""

_M_ARENA_MAX = -8  # of glibc's malloc.h


@dataclass(frozen=True, slots=True)
class Need:
    """What a model that is to be loaded takes; none of it when it is loaded already."""

    job: Job
    name: str
    bytes: int


def share_heaps() -> None:
    """Let threads that begin from now on share HEAPS heaps, where the C library is glibc."""
    with suppress(AttributeError, OSError, TypeError):  # another library, or another system
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, HEAPS)


def budget(megabytes: int) -> int:
    """Bytes that models may take: as many as are given, or most of what is free for 0."""
    return megabytes * 1_000_000 if megabytes else int(free() * (1 - SPARE))


def free() -> int:
    """Bytes that this process can still get: of the machine, and of its container."""
    import psutil

    machine = int(psutil.virtual_memory().available)
    try:
        most = int((CGROUP / "memory.max").read_text())  # "max" where there is no bound
        return max(0, min(machine, most - int((CGROUP / "memory.current").read_text())))
    except (OSError, ValueError):
        return machine


def resident() -> int:
    """Bytes of memory in use by this process and by those that it has started."""
    import psutil

    here = psutil.Process()
    taken = 0
    for process in (here, *here.children(recursive=True)):
        with suppress(psutil.Error):  # it has ended meanwhile
            taken += int(process.memory_info().rss)
    return taken


def check(needs: Sequence[Need], most: int) -> None:
    """Raises ModelError, naming the largest model, when they don't fit into `most` bytes together."""
    total = sum(need.bytes for need in needs)
    if total <= most:
        return
    largest = max(needs, key=lambda need: need.bytes)
    left = most - (total - largest.bytes)
    others = f", and the others {size(total - largest.bytes)}" if total > largest.bytes else ""
    raise ModelError(
        f"The {largest.job} {largest.name} takes {size(largest.bytes)} of memory{others}, and"
        f" {size(most)} are there for models.",
        remedy=_smaller(largest.job, left),
    )


def _smaller(job: Job, left: int) -> str:
    """What to do about a model that is too large for the bytes that are left to it."""
    setting = f"RAG_{job.upper()}"
    if left <= 0:
        return f"Leave {setting} out, or set RAG_MEMORY (megabytes) if you know better."
    fitting = [model for model in CATALOGUE if model.job is job and model.memory <= left]
    known = f", such as {max(fitting, key=lambda m: m.memory).name}" if fitting else ""
    return f"Set {setting} to one of at most {size(left)}{known}, or end other programs."


def of_weights(folder: Path) -> int:
    """Bytes that the model in a folder takes: its weights, twice, since 16 bits become 32."""
    files = [path for path in folder.rglob("*") if path.suffix in {".safetensors", ".bin"}]
    return AT_WORK + 2 * sum(path.stat().st_size for path in files)
