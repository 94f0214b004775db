"""Identification of this machine's CPU, and a cache of test results that are valid for one CPU."""

import hashlib
import json
import platform
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rag.files import atomic_write

CPUINFO = Path("/proc/cpuinfo")
"""Where Linux describes the CPU."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """A CPU model and the instruction set extensions that it announces."""

    name: str
    features: frozenset[str]


def this_cpu() -> Cpu:
    """Return the CPU that this process runs on."""
    fields = _read_cpuinfo()
    name = fields.get("model name") or _mac_cpu_name() or platform.processor()
    features = fields.get("flags") or fields.get("Features") or ""
    return Cpu(f"{name or 'unknown'} ({platform.machine()})", frozenset(features.split()))


def _read_cpuinfo() -> dict[str, str]:
    """Return the fields of the first processor in /proc/cpuinfo; empty without such a file."""
    with suppress(OSError):
        processor = CPUINFO.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
        fields = (line.partition(":") for line in processor.splitlines())
        return {key.strip(): value.strip() for key, _, value in fields}
    return {}


def _mac_cpu_name() -> str:
    if platform.system() != "Darwin":
        return ""
    command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(  # noqa: S603 (a constant)
            command, capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    return ""


class CpuVerdicts:
    """Test results for one library on this CPU, kept as a JSON object in the cache folder.

    Results are found again while the CPU and the library stay the same. An unreadable file counts as
    empty; if the folder cannot be written, results are not kept.

    Args:
        cache: The cache folder.
        subject: The library's name, which becomes part of the file name.
        library: Identifies the exact build of the library.
    """

    def __init__(self, cache: Path, subject: str, library: str) -> None:
        self._cache = cache
        self._subject = subject
        self._library = library

    @cached_property
    def file(self) -> Path:
        """The file for this CPU and library."""
        cpu = this_cpu()
        identity = "\n".join([cpu.name, *sorted(cpu.features), self._library])
        key = hashlib.sha256(identity.encode()).hexdigest()[:32]
        return self._cache / "cpu" / f"{self._subject}-{key}.json"

    def read(self) -> dict[str, Any]:
        """Return the results; empty where there are none."""
        with suppress(OSError, ValueError, RecursionError):
            verdicts = json.loads(self.file.read_text(encoding="utf-8"))
            if isinstance(verdicts, dict):
                return verdicts
        return {}

    def write(self, verdicts: dict[str, Any]) -> None:
        """Replace the results."""
        with suppress(OSError), atomic_write(self.file) as temporary:
            temporary.write_text(json.dumps(verdicts, indent=1) + "\n", encoding="utf-8")

    def clear(self) -> None:
        """Delete the results."""
        with suppress(OSError):
            self.file.unlink(missing_ok=True)
