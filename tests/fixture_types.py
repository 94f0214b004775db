"""The types of the fixtures that are functions."""

import subprocess
from collections.abc import Callable
from pathlib import Path

RunRag = Callable[..., "subprocess.CompletedProcess[str]"]
"""Runs the `rag` command with these arguments, and with these environment variables."""

WriteProtect = Callable[[Path], None]
"""Makes a disk read-only."""

IndexBytes = Callable[[Path], dict[str, bytes]]
"""The bytes of every file of an index that a reader may open, by name."""
