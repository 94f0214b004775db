"""What the benchmarks share: question sets as JSON Lines, their indexes, tables.

A set is a folder with `articles.jsonl` (rows of articles, see the README) and `questions.jsonl`
(`question`, `answers` or `unanswerable`).
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


def rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def sample(questions: list[Row], most: int) -> list[Row]:
    """The same questions on every run."""
    return random.Random(SEED).sample(questions, min(most, len(questions)))


def indexed(data: Path) -> Path:
    """An index of the set's articles, kept in the temporary folder between runs."""
    return index_of(data / "articles.jsonl")


def index_of(articles: Path) -> Path:
    """An index of a file of articles, kept in the temporary folder between runs."""
    whole = articles.resolve()
    name = f"{whole.parent.name}-{sha256(str(whole).encode()).hexdigest()[:8]}"
    index = Path(tempfile.gettempdir()) / "footnote-benchmarks" / name
    rag("index", str(articles), "--index", str(index), "--json")
    return index


def rag(*words: str) -> list[Row]:
    """Run a command of `rag` and read what it prints; its progress shows."""
    ran = subprocess.run([sys.executable, "-m", "rag", *words], stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in ran.stdout.decode().splitlines()]


def table(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *lines])
