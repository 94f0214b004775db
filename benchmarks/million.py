"""How far the index reaches: `python benchmarks/million.py DATA [VECTORS]` (1,000,000 unless told).

DATA is a folder with `articles.jsonl` and `questions.jsonl` (see common.py). The vectors are drawn around
those of up to 6,000 real passages, at a cosine of 0.8 to 0.95 to them; the questions are 500 real
ones, which building does not see. Prints two tables: from what size on lists are faster than comparing
one by one, and what building, opening and searching take at full size.
"""

import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from common import SEED, rows, sample, table

from rag import nearest
from rag.datatypes import Article
from rag.encoder import Encoder
from rag.models import MINILM, encoder_folder
from rag.nearest import Batches, Numbers, Vectors
from rag.passages import short_heading, split
from rag.settings import load

PASSAGES, QUESTIONS, BATCH = 6_000, 500, 4096
SIZES = (20_000, 50_000, 100_000, 200_000)


HEAD = "vectors,family,recall told,build s,build MB,open s,median ms,95 % ms,MB,recall".split(",")


def main() -> None:
    passages, questions = encoded(Path(sys.argv[1]))
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    both = [(size, exact_up_to) for size in SIZES for exact_up_to in (size, 0)]
    for runs in (both, [(count, nearest.EXACT_UP_TO)]):
        lines = [measured(passages, size, questions, limit) for size, limit in runs]
        print(table(HEAD, lines), flush=True)


# -- vectors


def encoded(data: Path) -> tuple[Vectors, Vectors]:
    """Vectors of real passages and questions, kept in the temporary folder between runs."""
    folder = Path(tempfile.gettempdir()) / "footnote-benchmarks"
    folder.mkdir(exist_ok=True)
    kept = folder / f"vectors-{sha256(str(data.resolve()).encode()).hexdigest()[:8]}.npz"
    if not kept.exists():
        encoder = Encoder(MINILM.name, encoder_folder(MINILM.name, load().cache))
        texts = list(passages_of(data / "articles.jsonl", encoder))
        texts = random.Random(SEED).sample(texts, min(PASSAGES, len(texts)))
        asked = [row["question"] for row in sample(rows(data / "questions.jsonl"), QUESTIONS)]
        questions = np.stack([encoder.encode_question(question) for question in asked])
        np.savez(kept, passages=encoder.encode_passages(texts), questions=questions)
    held = np.load(kept)
    return held["passages"], held["questions"]


def passages_of(articles: Path, encoder: Encoder) -> Iterator[str]:
    for row in rows(articles):
        article = Article(row["id"], row["title"], row["text"])
        above = short_heading(row["title"], None, encoder.count_tokens, encoder.max_tokens)
        for passage in split(article, encoder.count_tokens, encoder.max_tokens):
            yield f"{above}\n{article.text[passage.start : passage.end]}"


def around(passages: Vectors, count: int) -> Batches:
    """`count` vectors at a cosine of 0.8 to 0.95 to a passage's, made again on every call."""

    def batches() -> Iterator[tuple[Numbers, Vectors]]:
        for begin in range(0, count, BATCH):
            chance = np.random.default_rng([SEED, begin])
            many = min(BATCH, count - begin)
            real = passages[chance.integers(0, len(passages), many)]
            noise = chance.standard_normal(real.shape, dtype=np.float32)
            noise -= (noise * real).sum(axis=1, keepdims=True) * real
            noise /= np.linalg.norm(noise, axis=1, keepdims=True)
            cosine = chance.uniform(0.8, 0.95, (many, 1)).astype(np.float32)
            numbers = 3 * np.arange(begin, begin + many, dtype=np.int64) + 1
            yield numbers, cosine * real + np.sqrt(1 - cosine**2) * noise

    return batches


def exact(batches: Batches, questions: Vectors, most: int = 10) -> Numbers:
    """The numbers of the `most` nearest to each question, shape (questions, most)."""
    scores = np.full((len(questions), most), -np.inf, dtype=np.float32)
    found = np.zeros((len(questions), most), dtype=np.int64)
    for numbers, vectors in batches():
        scores = np.concatenate([scores, questions @ vectors.T], axis=1)
        found = np.concatenate([found, np.broadcast_to(numbers, (len(questions), len(numbers)))], 1)
        best = np.argpartition(-scores, most, axis=1)[:, :most]
        scores = np.take_along_axis(scores, best, axis=1)
        found = np.take_along_axis(found, best, axis=1)
    return found


# -- measuring, each in a process of its own


def measured(passages: Vectors, count: int, questions: Vectors, exact_up_to: int) -> list[str]:
    right = exact(around(passages, count), questions).tolist()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vectors"
        built = apart(build, passages, count, file, exact_up_to)
        searched = apart(search, file, questions)
    found = searched.pop("found")
    shares = [len(set(some) & set(best)) / 10 for some, best in zip(found, right, strict=True)]
    return [f"{count:,}", *built.values(), *searched.values(), f"{np.mean(shares):.3f}"]


def apart(task: Callable[..., dict[str, Any]], *given: object) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(task, given)


def build(passages: Vectors, count: int, file: Path, exact_up_to: int) -> dict[str, Any]:
    nearest.EXACT_UP_TO = exact_up_to
    began = time.perf_counter()
    family = nearest.build(around(passages, count), count, passages.shape[1], file)
    seconds = time.perf_counter() - began
    return {
        "family": family.name,
        "recall told": f"{family.recall:.3f}",
        "build s": f"{seconds:.0f}",
        "build MB": peak(),
    }


def search(file: Path, questions: Vectors) -> dict[str, Any]:
    began = time.perf_counter()
    opened = nearest.Nearest.open(file)
    opening = time.perf_counter() - began
    seconds, found = [], []
    for question in questions:
        began = time.perf_counter()
        found.append(list(opened.search(question, 10)))
        seconds.append(time.perf_counter() - began)
    median, slow = np.percentile(seconds, [50, 95]) * 1000
    return {
        "open s": f"{opening:.3f}",
        "median ms": f"{median:.2f}",
        "95 % ms": f"{slow:.2f}",
        "MB": peak(),
        "found": found,
    }


def peak() -> str:
    """The most memory that this process has had resident, what it maps included."""
    status = Path("/proc/self/status").read_text()
    return f"{int(status.partition('VmHWM:')[2].split()[0]) / 1024:.0f}"


if __name__ == "__main__":
    main()
