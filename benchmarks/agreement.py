"""Agreement of the hits between arithmetics: `python benchmarks/agreement.py SET [QUESTIONS]`.

Retrieves the first ten hits for each of 300 questions, with the index encoded in float32 and in int8,
and the questions in float32, int8 and bfloat16. Each combination is compared with float32 for both: the
share of its hits that is found, and how often the first hit is the same.
"""

import argparse
import tempfile
from pathlib import Path

from common import rows, sample, table

from rag.answering.chatbot import Chatbot
from rag.cli.output import ProgressBar, progress_bar
from rag.indexing.sync import sync
from rag.models.embedding.encoder import Encoder
from rag.settings import Settings, load

INDEX_DTYPES = ("float32", "int8")
QUESTION_DTYPES = ("float32", "int8", "bfloat16")
TOP_K = 10

Hits = list[tuple[str, int]]
"""Article id and start offset of each passage retrieved."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", type=Path)
    parser.add_argument("questions", type=int, nargs="?", default=300)
    arguments = parser.parse_args()
    question_rows = sample(rows(arguments.set / "questions.jsonl"), arguments.questions)
    questions = [row["question"] for row in question_rows]
    with tempfile.TemporaryDirectory() as folder:
        settings_by_dtype = {
            dtype: build_settings(dtype, arguments.set / "articles.jsonl", Path(folder))
            for dtype in INDEX_DTYPES
        }
        results = {
            (index_dtype, question_dtype): search_all(
                question_dtype, settings_by_dtype[index_dtype], questions
            )
            for index_dtype in INDEX_DTYPES
            for question_dtype in QUESTION_DTYPES
        }
    expected = results["float32", "float32"][1]
    print(f"{len(questions)} questions")
    head = [
        "index made in",
        "questions in",
        "arithmetic",
        f"of the first {TOP_K} hits",
        "first hit",
    ]
    print(
        table(
            head,
            [
                [index_dtype, question_dtype, arithmetic, *agreement(hits, expected)]
                for (index_dtype, question_dtype), (arithmetic, hits) in results.items()
            ],
        )
    )


def build_settings(dtype: str, articles: Path, folder: Path) -> Settings:
    """Index the articles with embeddings of a dtype, and return settings with that index."""
    settings = load(index=folder / dtype, encoder_dtype=dtype)
    with progress_bar() as bar:
        sync(
            settings.index,
            Encoder.from_settings(settings),
            [articles],
            rebuild=False,
            progress=ProgressBar(bar),
        )
    return settings


def search_all(dtype: str, settings: Settings, questions: list[str]) -> tuple[str, list[Hits]]:
    """Return the arithmetic used for the questions, and the hits of each question."""
    chatbot = Chatbot.open(load(index=settings.index, encoder_dtype=dtype))
    results = [chatbot.search(question, limit=TOP_K)[1] for question in questions]
    hits_by_question = [
        [(hit.passage.article_id, hit.passage.start) for hit in hits] for hits in results
    ]
    return chatbot.encoder.arithmetic, hits_by_question


def agreement(results: list[Hits], expected: list[Hits]) -> list[str]:
    """Return the mean share of expected hits found, and the share of equal first hits."""
    pairs = [(set(f), set(e), f[:1] == e[:1]) for f, e in zip(results, expected, strict=True) if e]
    share = sum(len(f & e) / len(e) for f, e, _ in pairs) / len(pairs)
    return [f"{share:.3f}", f"{sum(same for *_, same in pairs) / len(pairs):.3f}"]


if __name__ == "__main__":
    main()
