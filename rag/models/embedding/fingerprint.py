"""Fingerprint of an encoder: a hash of the files that determine its vectors."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rag.files import atomic_write, sha256_file

HASHED_SUFFIXES = {".json", ".txt", ".model", ".py", ".safetensors", ".bin"}
"""Types of files in an encoder's folder that determine its vectors."""


def compute_fingerprint(folder: Path, cache: Path | None) -> str:
    """Hash the names and contents of an encoder's files.

    Args:
        folder: The encoder's folder. Its location does not influence the fingerprint.
        cache: The cache folder, where the fingerprint is kept for as long as the files' names, sizes
            and modification times stay the same; None to read all files each time.

    Returns:
        The SHA-256, in hexadecimal.

    Raises:
        OSError: A file cannot be read.
    """
    files = sorted(
        path for path in folder.rglob("*") if path.suffix in HASHED_SUFFIXES and path.is_file()
    )
    if cache is None:
        return _hash_files(folder, files)
    stats = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    key = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()
    record = cache / "fingerprints" / f"{key}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):  # missing or damaged
        cached = json.loads(record.read_text(encoding="utf-8"))
        if cached["files"] == stats:
            return str(cached["fingerprint"])
    fingerprint = _hash_files(folder, files)
    with suppress(OSError), atomic_write(record) as temporary:  # else the next run hashes again
        temporary.write_text(json.dumps({"files": stats, "fingerprint": fingerprint}))
    return fingerprint


def _hash_files(folder: Path, files: Sequence[Path]) -> str:
    combined = hashlib.sha256()
    for path in files:
        line = f"{path.relative_to(folder).as_posix()}\n{sha256_file(path)}\n"
        combined.update(line.encode())
    return combined.hexdigest()
