"""What the benchmarks share: question sets as JSON Lines, and when an answer counts as right.

A set is a folder with `articles.jsonl` (rows of articles, see the README) and `questions.jsonl`
(`question`, `answers` or `unanswerable`).
"""

import json
import random
import re
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


def holds(text: str, answers: list[str]) -> bool:
    """Whether one of the answers stands in the text, whatever its case, punctuation and articles."""
    padded = f" {_plain(text)} "
    return any(f" {_plain(answer)} " in padded for answer in answers if _plain(answer))


def _plain(text: str) -> str:
    words = re.sub(r"[\W_]+", " ", text.lower()).split()
    return " ".join(word for word in words if word not in {"a", "an", "the"})


def indexed(data: Path) -> Path:
    """An index of the set's articles, kept in the temporary folder between runs."""
    name = f"{data.resolve().name}-{sha256(str(data.resolve()).encode()).hexdigest()[:8]}"
    index = Path(tempfile.gettempdir()) / "footnote-benchmarks" / name
    rag("index", str(data / "articles.jsonl"), "--index", str(index), "--json")
    return index


def rag(*words: str) -> list[Row]:
    """Run a command of `rag` and read what it prints; its progress shows."""
    ran = subprocess.run([sys.executable, "-m", "rag", *words], stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in ran.stdout.decode().splitlines()]


def table(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *lines])
