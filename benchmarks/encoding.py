"""Ways to encode, side by side: `python benchmarks/encoding.py SET [MORE_ARTICLES …]`.

First, what was measured of each arithmetic when the encoder chose its own (rag.arithmetic); one that
is hopelessly slow on this machine is left out. Then passages a second (300 from the articles of the
set and of each further JSON Lines file, cut as the product cuts them; every way in turn, median of
the rounds), the least cosine with float32, and nDCG@10 over the whole set: its articles by title and
text, its questions by their `qrels`. `--no-ndcg` leaves the last out, which takes much longer than
the rest.
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

from rag import arithmetic
from rag.arithmetic import HOPELESS, Measured
from rag.cpu import this_cpu
from rag.datatypes import Article
from rag.encoder import Encoder
from rag.models import MINILM, encoder_folder
from rag.passages import short_heading, split
from rag.settings import load

FROM_EACH, ROUNDS = 300, 3

Vectors = NDArray[np.float32]
Encode = Callable[[list[str]], Vectors]


@dataclass(frozen=True)
class Way:
    name: str
    passages: Encode
    questions: Encode
    computes: arithmetic.Way = arithmetic.Way.FLOAT32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", type=Path)
    parser.add_argument("more", type=Path, nargs="*")
    parser.add_argument("--no-ndcg", action="store_true")
    asked = parser.parse_args()
    cache = load().cache
    folder = encoder_folder(MINILM.name, cache)
    found = arithmetic.measured(cache, folder)
    encoder = Encoder(MINILM.name, folder, cache)
    print(f"{this_cpu().name}, PyTorch {torch.__version__}: {encoder.way} is chosen.")
    print(table(["arithmetic", "ms for 300 tokens, one core"], measured(found)))
    files = [asked.set / "articles.jsonl", *asked.more]
    texts = [text for file in files for text in cut(file, encoder)]
    random.Random(SEED).shuffle(texts)
    print(
        f"{len(texts)} passages of {round(np.mean(encoder.count_tokens(texts)))} tokens on average"
    )
    tried = [way for way in ways(folder, encoder) if not left_out(way.computes, found)]
    for line in report(tried, texts, None if asked.no_ndcg else asked.set):
        print(line, flush=True)


def measured(found: Measured) -> list[list[str]]:
    lines = []
    for way in arithmetic.Way:
        took = f"{1000 * found.seconds[way]:.0f}" if way in found.seconds else ""
        why = left_out(way, found)
        lines.append([way, ", ".join(filter(None, [took, f"left out: {why}" if why else ""]))])
    return lines


def left_out(way: arithmetic.Way, found: Measured) -> str:
    """Why an arithmetic is left out; empty if it is not."""
    if way not in found.seconds:
        return found.ruled_out.get(way, "other vectors than float32")
    times = found.seconds[way] / found.seconds[arithmetic.Way.FLOAT32]
    return f"{times:.1f} times as slow as float32" if times > HOPELESS else ""


def ways(folder: Path, encoder: Encoder) -> list[Way]:
    """The first is what the others are compared with, the last what Footnote does."""
    float32 = SentenceTransformer(str(folder), device="cpu").eval()
    halved = copy.deepcopy(float32).bfloat16()
    return [
        library("sentence-transformers' defaults", float32, 32),
        library("the same, 8 texts a batch", float32, 8),
        library("bfloat16", halved, 32, arithmetic.Way.BFLOAT16),
        library("int8 by torch's quantize_dynamic, 8 texts a batch", quantised(float32), 8),
        *(
            footnote(f"{way}, a small batch to a core", computing(folder, way))
            for way in arithmetic.Way
            if way is not encoder.way
        ),
        footnote(f"`Encoder`: {encoder.way}, a small batch to a core", encoder),
    ]


def computing(folder: Path, way: arithmetic.Way) -> Encoder:
    """An encoder in this arithmetic, whichever is the fastest."""
    encoder = Encoder(MINILM.name, folder)
    encoder.way = way
    return encoder


def quantised(model: SentenceTransformer) -> SentenceTransformer:
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole: SentenceTransformer = quantize_dynamic(
            copy.deepcopy(model), {torch.nn.Linear: per_channel_dynamic_qconfig}
        )
    return whole


def library(
    name: str,
    model: SentenceTransformer,
    batch: int,
    way: arithmetic.Way = arithmetic.Way.FLOAT32,
) -> Way:
    def encode(texts: list[str]) -> Vectors:
        tensor = model.encode(
            texts, batch_size=batch, convert_to_tensor=True, show_progress_bar=False
        )
        return of_length_one(tensor.float().numpy())

    return Way(name, encode, encode, way)


def footnote(name: str, encoder: Encoder) -> Way:
    def questions(texts: list[str]) -> Vectors:
        return of_length_one(np.stack([encoder.encode_question(text) for text in texts]))

    def passages(texts: list[str]) -> Vectors:
        return of_length_one(encoder.encode_passages(texts))

    return Way(name, passages, questions, encoder.way)


def of_length_one(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def report(ways: Sequence[Way], texts: list[str], folder: Path | None) -> list[str]:
    seconds, cosines = timed(ways, texts)
    quality = ["not measured"] * len(ways)
    if folder is not None:
        articles, questions = rows(folder / "articles.jsonl"), rows(folder / "questions.jsonl")
        quality = [f"{ndcg(way, articles, questions):.4f}" for way in ways]
    lines = []
    for way, took, cosine, score in zip(ways, seconds, cosines, quality, strict=True):
        # Of each round its own ratio: what else the machine does comes and goes.
        faster = median(first / own for first, own in zip(seconds[0], took, strict=True))
        speed = len(texts) / median(took)
        lines.append([way.name, f"{speed:.1f}", f"{faster:.2f}", f"{cosine:.4f}", score])
    return [table(["way", "passages/s", "times as fast", "least cosine", "nDCG@10"], lines)]


def timed(ways: Sequence[Way], texts: list[str]) -> tuple[list[list[float]], list[float]]:
    """Seconds of each way in each round, and its least cosine with the first."""
    expected = ways[0].passages(texts)
    cosines = [float(np.sum(way.passages(texts) * expected, axis=1).min()) for way in ways]
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS):
        for way, took in zip(ways, seconds, strict=True):
            began = time.perf_counter()
            way.passages(texts)
            took.append(time.perf_counter() - began)
    return seconds, cosines


def cut(file: Path, encoder: Encoder) -> list[str]:
    """What the encoder sees of the first passages of a file's articles, these in a fixed random order."""
    articles = read(file)
    random.Random(SEED).shuffle(articles)
    count, longest = encoder.count_tokens, encoder.max_tokens
    texts: list[str] = []
    for row in articles:
        article = Article(str(row["id"]), row["title"], row["text"], row.get("date"))
        heading = short_heading(article.title, article.date, count, longest)
        for passage in split(article, count, longest):
            texts.append(f"{heading}\n{article.text[passage.start : passage.end]}")
        if len(texts) >= FROM_EACH:
            break
    return texts[:FROM_EACH]


def read(file: Path) -> list[Row]:
    if file.suffix != ".gz":
        return rows(file)
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def ndcg(way: Way, articles: list[Row], questions: list[Row]) -> float:
    """nDCG@10 by exact cosine; an article's gain is its relevance."""
    vectors = way.passages([f"{row['title']}\n{row['text']}" for row in articles])
    cosines = way.questions([row["question"] for row in questions]) @ vectors.T
    weights = 1 / np.log2(np.arange(2, 12))
    scores = []
    for row, row_cosines in zip(questions, cosines, strict=True):
        relevance = {str(key): float(value) for key, value in row["qrels"].items()}
        best = np.argsort(-row_cosines)[:10]
        gains = [relevance.get(str(articles[place]["id"]), 0.0) for place in best]
        ideal = sorted(relevance.values(), reverse=True)[:10]
        scores.append(np.dot(gains, weights) / np.dot(ideal, weights[: len(ideal)]))
    return float(np.mean(scores))


if __name__ == "__main__":
    main()
