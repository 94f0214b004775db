"""Whether an index can be queried in any arithmetic: `python benchmarks/agreement.py SET [QUESTIONS]`.

The first ten hits of the product for each of 300 questions of the set, with the index made in float32
and in int8 and the questions encoded in float32, int8 and bfloat16. Each is compared with float32
throughout: the share of its hits that is found, and how often the first hit is the same.
"""

import argparse
import tempfile
from pathlib import Path

from common import rows, sample, table

from rag.chatbot import Chatbot
from rag.encoder import Encoder
from rag.indexing import sync
from rag.settings import Settings, load
from rag.terminal import Bar, progress_bar

MAKING = ("float32", "int8")
ASKING = ("float32", "int8", "bfloat16")
TOP = 10

Hits = list[tuple[str, int]]
"""The article and the offset of each passage that was found."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", type=Path)
    parser.add_argument("questions", type=int, nargs="?", default=300)
    asked = parser.parse_args()
    drawn = sample(rows(asked.set / "questions.jsonl"), asked.questions)
    questions = [row["question"] for row in drawn]
    with tempfile.TemporaryDirectory() as folder:
        made = {
            dtype: index_in(dtype, asked.set / "articles.jsonl", Path(folder)) for dtype in MAKING
        }
        found = {(m, a): hits_in(a, made[m], questions) for m in MAKING for a in ASKING}
    expected = found["float32", "float32"][1]
    print(f"{len(questions)} questions")
    head = ["index made in", "questions in", "arithmetic", f"of the first {TOP} hits", "first hit"]
    print(table(head, [[m, a, way, *agreement(h, expected)] for (m, a), (way, h) in found.items()]))


def index_in(dtype: str, articles: Path, folder: Path) -> Settings:
    """Settings that name an index of the articles, whose vectors were made in this arithmetic."""
    settings = load(index=folder / dtype, encoder_dtype=dtype)
    with progress_bar() as bar:
        sync(settings.index, Encoder.chosen(settings), [articles], rebuild=False, progress=Bar(bar))
    return settings


def hits_in(dtype: str, settings: Settings, questions: list[str]) -> tuple[str, list[Hits]]:
    """What is found with questions in this arithmetic, and which way of computing that was."""
    chatbot = Chatbot.open(load(index=settings.index, encoder_dtype=dtype))
    found = [chatbot.search(question, [], TOP)[1] for question in questions]
    places = [[(hit.passage.article_id, hit.passage.start) for hit in hits] for hits in found]
    return chatbot.encoder.way, places


def agreement(found: list[Hits], expected: list[Hits]) -> list[str]:
    """The mean share of the expected hits that is found, and of questions with the same first hit."""
    pairs = [(set(f), set(e), f[:1] == e[:1]) for f, e in zip(found, expected, strict=True) if e]
    share = sum(len(f & e) / len(e) for f, e, _ in pairs) / len(pairs)
    return [f"{share:.3f}", f"{sum(same for *_, same in pairs) / len(pairs):.3f}"]


if __name__ == "__main__":
    main()
