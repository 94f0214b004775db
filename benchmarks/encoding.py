"""Encoding methods compared: `python benchmarks/encoding.py SET [MORE_ARTICLES …]`.

Prints first the timings by which the encoder chose its arithmetic (rag.models.embedding.arithmetic);
one that is far too slow on this machine is left out. Then, for each method: passages per second (300
from the articles of the dataset and of each further JSON Lines file, split as Footnote splits them; the
methods take turns, median of the rounds), the lowest cosine similarity with float32, and nDCG@10 over
the whole dataset, with articles encoded by title and text and relevance from the questions' `qrels`.
`--no-ndcg` leaves out the last, which takes much longer than the rest.
"""

import argparse
import copy
import gzip
import json
import random
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from common import SEED, Row, rows, table
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from rag.models.cpu import this_cpu
from rag.models.embedding import arithmetic
from rag.models.embedding.arithmetic import MAX_SLOWDOWN, Arithmetic, ArithmeticTimings
from rag.models.embedding.encoder import Encoder
from rag.models.resolve import MINILM, encoder_folder
from rag.settings import load
from rag.text.chunking import short_heading, split
from rag.types import Article

PASSAGES_PER_FILE, ROUNDS = 300, 3

Vectors = NDArray[np.float32]
Encode = Callable[[list[str]], Vectors]


@dataclass(frozen=True)
class EncodingMethod:
    name: str
    passages: Encode
    questions: Encode
    arithmetic: Arithmetic = Arithmetic.FLOAT32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", type=Path)
    parser.add_argument("more", type=Path, nargs="*")
    parser.add_argument("--no-ndcg", action="store_true")
    arguments = parser.parse_args()
    cache = load().cache
    folder = encoder_folder(MINILM.name, cache)
    timings = arithmetic.get_timings(cache, folder)
    encoder = Encoder(MINILM.name, folder, cache)
    print(f"{this_cpu().name}, PyTorch {torch.__version__}: {encoder.arithmetic} is chosen.")
    print(table(["arithmetic", "ms for 300 tokens, one core"], arithmetic_rows(timings)))
    files = [arguments.set / "articles.jsonl", *arguments.more]
    texts = [text for file in files for text in sample_passages(file, encoder)]
    random.Random(SEED).shuffle(texts)
    print(
        f"{len(texts)} passages of {round(np.mean(encoder.count_tokens(texts)))} tokens on average"
    )
    methods = [
        method
        for method in build_methods(folder, encoder)
        if not exclusion_reason(method.arithmetic, timings)
    ]
    for line in report(methods, texts, None if arguments.no_ndcg else arguments.set):
        print(line, flush=True)


def arithmetic_rows(timings: ArithmeticTimings) -> list[list[str]]:
    lines = []
    for method in Arithmetic:
        milliseconds = f"{1000 * timings.seconds[method]:.0f}" if method in timings.seconds else ""
        why = exclusion_reason(method, timings)
        lines.append(
            [method, ", ".join(filter(None, [milliseconds, f"left out: {why}" if why else ""]))]
        )
    return lines


def exclusion_reason(method: Arithmetic, timings: ArithmeticTimings) -> str:
    """Return why an arithmetic is left out, or an empty string if it is not."""
    if method not in timings.seconds:
        return timings.ruled_out.get(method, "other vectors than float32")
    slowdown = timings.seconds[method] / timings.seconds[Arithmetic.FLOAT32]
    return f"{slowdown:.1f} times as slow as float32" if slowdown > MAX_SLOWDOWN else ""


def build_methods(folder: Path, encoder: Encoder) -> list[EncodingMethod]:
    """Return the methods: the baseline first, what Footnote does last."""
    float32_model = SentenceTransformer(str(folder), device="cpu").eval()
    bfloat16_model = copy.deepcopy(float32_model).bfloat16()
    return [
        library_method("sentence-transformers' defaults", float32_model, 32),
        library_method("the same, 8 texts a batch", float32_model, 8),
        library_method("bfloat16", bfloat16_model, 32, Arithmetic.BFLOAT16),
        library_method(
            "int8 by torch's quantize_dynamic, 8 texts a batch",
            quantize_dynamically(float32_model),
            8,
        ),
        *(
            footnote_method(f"{method}, a small batch to a core", build_encoder(folder, method))
            for method in Arithmetic
            if method is not encoder.arithmetic
        ),
        footnote_method(f"`Encoder`: {encoder.arithmetic}, a small batch to a core", encoder),
    ]


def build_encoder(folder: Path, method: Arithmetic) -> Encoder:
    """Return an encoder with this arithmetic, even if it is not the fastest."""
    encoder = Encoder(MINILM.name, folder)
    encoder.arithmetic = method
    return encoder


def quantize_dynamically(model: SentenceTransformer) -> SentenceTransformer:
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized: SentenceTransformer = quantize_dynamic(
            copy.deepcopy(model), {torch.nn.Linear: per_channel_dynamic_qconfig}
        )
    return quantized


def library_method(
    name: str,
    model: SentenceTransformer,
    batch: int,
    method: Arithmetic = Arithmetic.FLOAT32,
) -> EncodingMethod:
    def encode(texts: list[str]) -> Vectors:
        tensor = model.encode(
            texts, batch_size=batch, convert_to_tensor=True, show_progress_bar=False
        )
        return normalize(tensor.float().numpy())

    return EncodingMethod(name, encode, encode, method)


def footnote_method(name: str, encoder: Encoder) -> EncodingMethod:
    def questions(texts: list[str]) -> Vectors:
        return normalize(np.stack([encoder.encode_question(text) for text in texts]))

    def passages(texts: list[str]) -> Vectors:
        return normalize(encoder.encode_passages(texts))

    return EncodingMethod(name, passages, questions, encoder.arithmetic)


def normalize(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def report(methods: Sequence[EncodingMethod], texts: list[str], folder: Path | None) -> list[str]:
    seconds, cosines = time_methods(methods, texts)
    quality = ["not measured"] * len(methods)
    if folder is not None:
        articles, questions = rows(folder / "articles.jsonl"), rows(folder / "questions.jsonl")
        quality = [f"{ndcg(method, articles, questions):.4f}" for method in methods]
    lines = []
    for method, durations, cosine, score in zip(methods, seconds, cosines, quality, strict=True):
        # Ratios are taken per round, since the load of the machine varies.
        speedup = median(
            baseline / duration for baseline, duration in zip(seconds[0], durations, strict=True)
        )
        speed = len(texts) / median(durations)
        lines.append([method.name, f"{speed:.1f}", f"{speedup:.2f}", f"{cosine:.4f}", score])
    return [table(["way", "passages/s", "times as fast", "least cosine", "nDCG@10"], lines)]


def time_methods(
    methods: Sequence[EncodingMethod], texts: list[str]
) -> tuple[list[list[float]], list[float]]:
    """Return the seconds of each method in each round, and its lowest cosine with the baseline."""
    expected = methods[0].passages(texts)
    cosines = [float(np.sum(method.passages(texts) * expected, axis=1).min()) for method in methods]
    seconds: list[list[float]] = [[] for _ in methods]
    for _ in range(ROUNDS):
        for method, durations in zip(methods, seconds, strict=True):
            started_at = time.perf_counter()
            method.passages(texts)
            durations.append(time.perf_counter() - started_at)
    return seconds, cosines


def sample_passages(file: Path, encoder: Encoder) -> list[str]:
    """Return the texts encoded for the first passages of a file, its articles in a fixed random order."""
    articles = read(file)
    random.Random(SEED).shuffle(articles)
    count_tokens, max_tokens = encoder.count_tokens, encoder.max_tokens
    texts: list[str] = []
    for row in articles:
        article = Article(str(row["id"]), row["title"], row["text"], row.get("date"))
        heading = short_heading(article.title, article.date, count_tokens, max_tokens)
        for passage in split(article, count_tokens, max_tokens):
            texts.append(f"{heading}\n{article.text[passage.start : passage.end]}")
        if len(texts) >= PASSAGES_PER_FILE:
            break
    return texts[:PASSAGES_PER_FILE]


def read(file: Path) -> list[Row]:
    if file.suffix != ".gz":
        return rows(file)
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def ndcg(method: EncodingMethod, articles: list[Row], questions: list[Row]) -> float:
    """Return nDCG@10 of the ranking by cosine; an article's gain is its relevance."""
    vectors = method.passages([f"{row['title']}\n{row['text']}" for row in articles])
    cosines = method.questions([row["question"] for row in questions]) @ vectors.T
    weights = 1 / np.log2(np.arange(2, 12))
    scores = []
    for row, row_cosines in zip(questions, cosines, strict=True):
        relevance = {str(key): float(value) for key, value in row["qrels"].items()}
        top = np.argsort(-row_cosines)[:10]
        gains = [relevance.get(str(articles[position]["id"]), 0.0) for position in top]
        ideal = sorted(relevance.values(), reverse=True)[:10]
        scores.append(np.dot(gains, weights) / np.dot(ideal, weights[: len(ideal)]))
    return float(np.mean(scores))


if __name__ == "__main__":
    main()
