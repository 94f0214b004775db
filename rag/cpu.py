"""The CPU of this machine, and verdicts about it that are worth keeping between runs."""

import hashlib
import json
import platform
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rag.errors import ModelError
from rag.models import making

CPUINFO = Path("/proc/cpuinfo")
"""Where Linux describes the CPU."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """A kind of CPU: its `name`, and the instruction set extensions that it announces."""

    name: str
    features: frozenset[str]


def this_cpu() -> Cpu:
    """The CPU that this process runs on."""
    described = _cpuinfo()
    name = described.get("model name") or _brand_of_mac() or platform.processor()
    features = described.get("flags") or described.get("Features") or ""
    return Cpu(f"{name or 'unknown'} ({platform.machine()})", frozenset(features.split()))


def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty where there is no such file."""
    with suppress(OSError):
        first = CPUINFO.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
        fields = (line.partition(":") for line in first.splitlines())
        return {key.strip(): value.strip() for key, _, value in fields}
    return {}


def _brand_of_mac() -> str:
    if platform.system() != "Darwin":
        return ""
    command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(  # noqa: S603 (a constant)
            command, capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    return ""


class CpuVerdicts:
    """A small JSON object about one library on this CPU, kept in the cache folder.

    It is found again as long as the CPU and the library (`library` identifies its exact build) are the
    same. An unreadable file counts as empty; a folder that cannot be written only costs the memory of it.
    """

    def __init__(self, cache: Path, subject: str, library: str) -> None:
        self._cache = cache
        self._subject = subject
        self._library = library

    @cached_property
    def _file(self) -> Path:
        cpu = this_cpu()
        told = "\n".join([cpu.name, *sorted(cpu.features), self._library])
        key = hashlib.sha256(told.encode()).hexdigest()[:32]
        return self._cache / "cpu" / f"{self._subject}-{key}.json"

    def read(self) -> dict[str, Any]:
        with suppress(OSError, ValueError, RecursionError):
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            if isinstance(kept, dict):
                return kept
        return {}

    def write(self, verdicts: dict[str, Any]) -> None:
        with suppress(ModelError), making(self._file) as unfinished:
            unfinished.write_text(json.dumps(verdicts, indent=1) + "\n", encoding="utf-8")

    def forget(self) -> None:
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
