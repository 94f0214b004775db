"""Shared by the benchmarks: reading datasets, building their indexes, and printing tables.

A dataset is a folder with `articles.jsonl` (rows of articles, see the README) and `questions.jsonl`
(rows with `question`, and `answers` or `unanswerable`).
"""

import json
import random
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

Row = dict[str, Any]

SEED = 7
"""Seed of every random choice, so that runs can be compared."""


def rows(path: Path) -> list[Row]:
    """Return the rows of a JSON Lines file."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def sample(questions: list[Row], size: int) -> list[Row]:
    """Return at most `size` questions, the same ones on every run."""
    return random.Random(SEED).sample(questions, min(size, len(questions)))


def build_dataset_index(data: Path) -> Path:
    """Return an index of a dataset's articles, kept in the temporary folder between runs."""
    return build_index(data / "articles.jsonl")


def build_index(articles: Path) -> Path:
    """Return an index of a file of articles, kept in the temporary folder between runs."""
    path = articles.resolve()
    name = f"{path.parent.name}-{sha256(str(path).encode()).hexdigest()[:8]}"
    index = Path(tempfile.gettempdir()) / "footnote-benchmarks" / name
    rag("index", str(articles), "--index", str(index), "--json")
    return index


def rag(*arguments: str) -> list[Row]:
    """Run a `rag` command and return the JSON objects on its stdout; stderr is passed through."""
    command = [sys.executable, "-m", "rag", *arguments]
    completed = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in completed.stdout.decode().splitlines()]


def table(head: list[str], lines: list[list[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *lines])
