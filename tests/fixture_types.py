"""The types of the fixtures that are functions."""

import subprocess
from collections.abc import Callable
from pathlib import Path

RunRag = Callable[..., "subprocess.CompletedProcess[str]"]
"""Runs the `rag` command with these arguments, and with these environment variables."""

Rag = Callable[..., tuple[int, str, str]]
"""Runs a command in this process and returns its exit code, stdout and stderr."""

WriteProtect = Callable[[Path], None]
"""Makes a disk read-only."""

Attacks = Callable[[int], int]
"""How many attacks to make, given their full number."""

IndexBytes = Callable[[Path], dict[str, bytes]]
"""The bytes of every file of an index that a reader may open, by name."""
