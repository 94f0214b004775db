"""Memory accounting: how much memory is available, and whether models fit before they are loaded."""

import ctypes
import re
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from errno import ENOMEM
from pathlib import Path

from rag.errors import ModelError
from rag.models.registry import CATALOGUE, size
from rag.settings import variable_name
from rag.types import ModelRole

RESERVED_SHARE = 0.1
"""Share of the free memory that models leave to everything else."""

WORKING_BYTES = 150_000_000
"""Upper estimate of the memory that a model takes in addition to its weights."""

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux reports a container's limits: `memory.max` and `memory.current` of cgroups version 2."""

MALLOC_ARENAS = 2
"""Number of malloc arenas that a server's threads share. By default, glibc creates up to eight per core
and each keeps the memory that is freed in it: since each question has threads of its own, memory grew by
5 % in ten minutes (docs/measurements.md)."""

MORE_MEMORY = "Close other programs, or raise the limit that `ulimit -v` shows."
"""What a user can do after an allocation was refused."""

_REFUSALS = re.compile(
    r"MemoryError|can(?:not|'t) allocate memory|failed to map segment|not enough memory|bad_alloc"
    r"|can't start new thread|resource temporarily unavailable",
    re.IGNORECASE,
)

_M_ARENA_MAX = -8  # from glibc's malloc.h


@dataclass(frozen=True, slots=True)
class MemoryRequirement:
    """Bytes of memory that loading a model will take; 0 if it is already loaded."""

    role: ModelRole
    name: str
    bytes: int


def limit_malloc_arenas() -> None:
    """Let threads that start from now on share MALLOC_ARENAS arenas, if the C library is glibc."""
    with suppress(AttributeError, OSError, TypeError):  # another C library or operating system
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, MALLOC_ARENAS)


def budget(megabytes: int) -> int:
    """Return the number of bytes that models may take.

    Args:
        megabytes: The limit that the user set; 0 for most of the memory that is free now.
    """
    return megabytes * 1_000_000 if megabytes else int(free() * (1 - RESERVED_SHARE))


def free() -> int:
    """Return the bytes that this process can still allocate, on its machine and in its container."""
    import psutil

    machine_bytes = int(psutil.virtual_memory().available)
    try:
        limit = int((CGROUP / "memory.max").read_text())  # "max" if there is no limit
        used = int((CGROUP / "memory.current").read_text())
        machine_bytes = min(machine_bytes, limit - used)
    except (OSError, ValueError):
        pass
    return max(0, min(machine_bytes, _address_space_left()))


def _address_space_left() -> int:
    """Return the bytes that `ulimit -v` lets this process allocate still; very many without a limit."""
    import psutil

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(0, limit - int(psutil.Process().memory_info().vms))


def is_refused_allocation(error: BaseException) -> bool:
    """Return whether an error says that memory could not be allocated.

    Python and FAISS raise MemoryError; PyTorch, the dynamic linker and the start of a thread do not.
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == ENOMEM):
        return True
    is_candidate = isinstance(error, ImportError | OSError | RuntimeError)
    return is_candidate and describes_refusal(str(error))


def describes_refusal(message: str) -> bool:
    """Return whether the message of an error says that memory could not be allocated."""
    return bool(_REFUSALS.search(message))


def resident() -> int:
    """Return the resident memory, in bytes, of this process and of all processes that it started."""
    import psutil

    this_process = psutil.Process()
    total = 0
    for process in (this_process, *this_process.children(recursive=True)):
        with suppress(psutil.Error):  # the process may have ended since
            total += int(process.memory_info().rss)
    return total


def check(requirements: Sequence[MemoryRequirement], max_bytes: int) -> None:
    """Check that models fit into memory together.

    Args:
        requirements: What each model takes.
        max_bytes: What is available to all of them.

    Raises:
        ModelError: They do not fit; the message names the largest one.
    """
    total = sum(requirement.bytes for requirement in requirements)
    if total <= max_bytes:
        return
    largest = max(requirements, key=lambda requirement: requirement.bytes)
    other_bytes = total - largest.bytes
    others = f", the other models {size(other_bytes)}" if other_bytes > 0 else ""
    raise ModelError(
        f"The {largest.role} {largest.name} takes {size(largest.bytes)} of memory{others}, but only"
        f" {size(max_bytes)} are available to models.",
        remedy=_suggest_smaller(largest.role, max_bytes - other_bytes),
    )


def _suggest_smaller(role: ModelRole, available: int) -> str:
    """Return a remedy for a model that does not fit into the `available` bytes."""
    setting = f"RAG_{role.upper()}"
    if available <= 0:
        variable = variable_name("memory_mb")
        return f"Unset {setting}, or set {variable} (in megabytes) to override this limit."
    fitting = [model for model in CATALOGUE if model.job is role and model.memory <= available]
    example = f", such as {max(fitting, key=lambda m: m.memory).name}" if fitting else ""
    return (
        f"Set {setting} to a model of at most {size(available)}{example}, or close other programs."
    )


def estimate_memory(folder: Path) -> int:
    """Estimate the bytes of memory of the model in a folder.

    Weights count twice, since 16-bit weights are converted to 32 bits.
    """
    files = [path for path in folder.rglob("*") if path.suffix in {".safetensors", ".bin"}]
    return WORKING_BYTES + 2 * sum(path.stat().st_size for path in files)
