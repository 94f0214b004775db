"""Scalability of the vector index: `python benchmarks/million.py DATA [VECTORS]` (default: 1,000,000).

DATA is a dataset (see common.py). The vectors are drawn around the embeddings of up to 6,000 real
passages, at a cosine of 0.8 to 0.95 to them; the queries are 500 real questions, which are not used for
building. Prints two tables: the size from which an inverted file is faster than exact search, and the
cost of building, opening and searching at full size.
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

from rag.models.embedding.encoder import Encoder
from rag.models.resolve import MINILM, encoder_folder
from rag.settings import load
from rag.store.vectors import Ids, VectorBatches, VectorIndex, Vectors
from rag.store.vectors import build as vector_build
from rag.text.chunking import short_heading, split
from rag.types import Article

MAX_PASSAGES, QUESTION_COUNT, BATCH_SIZE = 6_000, 500, 4096
SIZES = (20_000, 50_000, 100_000, 200_000)


HEAD = "vectors,type,reported recall,build s,build MB,open s,median ms,95 % ms,MB,recall".split(",")


def main() -> None:
    passages, questions = load_vectors(Path(sys.argv[1]))
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    configurations = [(size, exact_up_to) for size in SIZES for exact_up_to in (size, 0)]
    for runs in (configurations, [(count, vector_build.MAX_FLAT_VECTORS)]):
        lines = [measure(passages, size, questions, limit) for size, limit in runs]
        print(table(HEAD, lines), flush=True)


# -- vectors


def load_vectors(data: Path) -> tuple[Vectors, Vectors]:
    """Return embeddings of real passages and questions, cached in the temporary folder."""
    folder = Path(tempfile.gettempdir()) / "footnote-benchmarks"
    folder.mkdir(exist_ok=True)
    cache_file = folder / f"vectors-{sha256(str(data.resolve()).encode()).hexdigest()[:8]}.npz"
    if not cache_file.exists():
        encoder = Encoder(MINILM.name, encoder_folder(MINILM.name, load().cache))
        texts = list(read_passage_texts(data / "articles.jsonl", encoder))
        texts = random.Random(SEED).sample(texts, min(MAX_PASSAGES, len(texts)))
        question_texts = [
            row["question"] for row in sample(rows(data / "questions.jsonl"), QUESTION_COUNT)
        ]
        questions = np.stack([encoder.encode_question(question) for question in question_texts])
        np.savez(cache_file, passages=encoder.encode_passages(texts), questions=questions)
    arrays = np.load(cache_file)
    return arrays["passages"], arrays["questions"]


def read_passage_texts(articles: Path, encoder: Encoder) -> Iterator[str]:
    for row in rows(articles):
        article = Article(row["id"], row["title"], row["text"])
        heading = short_heading(row["title"], None, encoder.count_tokens, encoder.max_tokens)
        for passage in split(article, encoder.count_tokens, encoder.max_tokens):
            yield f"{heading}\n{article.text[passage.start : passage.end]}"


def draw_vectors(passages: Vectors, count: int) -> VectorBatches:
    """Return batches of `count` vectors at a cosine of 0.8 to 0.95 to a passage's, repeatably."""

    def batches() -> Iterator[tuple[Ids, Vectors]]:
        for begin in range(0, count, BATCH_SIZE):
            rng = np.random.default_rng([SEED, begin])
            size = min(BATCH_SIZE, count - begin)
            centres = passages[rng.integers(0, len(passages), size)]
            noise = rng.standard_normal(centres.shape, dtype=np.float32)
            noise -= (noise * centres).sum(axis=1, keepdims=True) * centres
            noise /= np.linalg.norm(noise, axis=1, keepdims=True)
            cosine = rng.uniform(0.8, 0.95, (size, 1)).astype(np.float32)
            numbers = 3 * np.arange(begin, begin + size, dtype=np.int64) + 1
            yield numbers, cosine * centres + np.sqrt(1 - cosine**2) * noise

    return batches


def exact(batches: VectorBatches, questions: Vectors, k: int = 10) -> Ids:
    """Return the ids of the `k` vectors nearest to each question, shape (questions, k)."""
    scores = np.full((len(questions), k), -np.inf, dtype=np.float32)
    nearest = np.zeros((len(questions), k), dtype=np.int64)
    for numbers, vectors in batches():
        scores = np.concatenate([scores, questions @ vectors.T], axis=1)
        nearest = np.concatenate(
            [nearest, np.broadcast_to(numbers, (len(questions), len(numbers)))], 1
        )
        top_k = np.argpartition(-scores, k, axis=1)[:, :k]
        scores = np.take_along_axis(scores, top_k, axis=1)
        nearest = np.take_along_axis(nearest, top_k, axis=1)
    return nearest


# -- measurements, each in a separate process


def measure(passages: Vectors, count: int, questions: Vectors, exact_up_to: int) -> list[str]:
    expected = exact(draw_vectors(passages, count), questions).tolist()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vectors"
        build_row = run_in_process(build, passages, count, file, exact_up_to)
        search_row = run_in_process(search, file, questions)
    nearest = search_row.pop("found")
    recalls = [
        len(set(returned) & set(exact_ids)) / 10
        for returned, exact_ids in zip(nearest, expected, strict=True)
    ]
    return [f"{count:,}", *build_row.values(), *search_row.values(), f"{np.mean(recalls):.3f}"]


def run_in_process(task: Callable[..., dict[str, Any]], *arguments: object) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(task, arguments)


def build(passages: Vectors, count: int, file: Path, exact_up_to: int) -> dict[str, Any]:
    vector_build.MAX_FLAT_VECTORS = exact_up_to
    started_at = time.perf_counter()
    index_type = vector_build.build_vector_file(
        draw_vectors(passages, count), count, passages.shape[1], file
    )
    seconds = time.perf_counter() - started_at
    return {
        "type": index_type.family,
        "reported recall": f"{index_type.recall:.3f}",
        "build s": f"{seconds:.0f}",
        "build MB": peak_memory(),
    }


def search(file: Path, questions: Vectors) -> dict[str, Any]:
    started_at = time.perf_counter()
    index = VectorIndex.open(file)
    open_s = time.perf_counter() - started_at
    seconds, nearest = [], []
    for question in questions:
        started_at = time.perf_counter()
        nearest.append(list(index.search(question, 10)))
        seconds.append(time.perf_counter() - started_at)
    median, slow = np.percentile(seconds, [50, 95]) * 1000
    return {
        "open s": f"{open_s:.3f}",
        "median ms": f"{median:.2f}",
        "95 % ms": f"{slow:.2f}",
        "MB": peak_memory(),
        "found": nearest,
    }


def peak_memory() -> str:
    """Return the peak resident memory of this process in MB, including mapped files."""
    status = Path("/proc/self/status").read_text()
    return f"{int(status.partition('VmHWM:')[2].split()[0]) / 1024:.0f}"


if __name__ == "__main__":
    main()
