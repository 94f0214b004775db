"""Chunking variants compared: `python benchmarks/passages.py SET…`.

Indexes each dataset with several variants of splitting and encoding passages, and prints nDCG@10 over
the articles for the questions of one split. Everything is encoded once per variant.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from common import rows, table
from retrieval import FOOTNOTE, in_split, rank_all, score

from rag.answering.retriever import Retriever
from rag.indexing.sync import sync
from rag.models.embedding.encoder import Encoder
from rag.models.resolve import MINILM, encoder_folder
from rag.settings import Settings
from rag.store.reader import IndexReader
from rag.text import chunking


class SilentProgress:
    def start(self, task: str, total: int | None) -> None: ...
    def expect(self, total: int) -> None: ...
    def advance(self, steps: int) -> None: ...


def shorten_passages(divisor: int) -> Callable[[], object]:
    """Return a patch that divides the maximum length of a passage."""

    def patch() -> object:
        max_tokens = Encoder.max_tokens.fget
        assert max_tokens is not None
        return mock.patch.object(
            Encoder, "max_tokens", property(lambda e: max_tokens(e) // divisor)
        )

    return patch


def without_overlap() -> object:
    return mock.patch.object(chunking, "overlaps", return_value=False)


def without_heading() -> object:
    return mock.patch.object(chunking, "full_heading", return_value="")


@contextmanager
def unchanged() -> Iterator[None]:
    yield


VARIANTS: dict[str, Callable[[], object]] = {
    "as they are": unchanged,
    "half as long": shorten_passages(2),
    "a quarter as long": shorten_passages(4),
    "no sentence shared by neighbours": without_overlap,
    "title and date not encoded": without_heading,
}


def main(sets: Sequence[Path]) -> None:
    lines = []
    for variant, patch in VARIANTS.items():
        with patch():  # type: ignore[attr-defined]
            lines.append([variant, *(measure(data) for data in sets)])
            print(lines[-1], file=sys.stderr, flush=True)
    print(table(["passages", *(data.name for data in sets)], lines))


def measure(data: Path) -> str:
    questions = [row for row in rows(data / "questions.jsonl") if in_split(row, "other")]
    encoder = Encoder(MINILM.name, encoder_folder(MINILM.name, Settings().cache))
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder)
        source = [data / "articles.jsonl"]
        report = sync(index, encoder, source, rebuild=False, progress=SilentProgress())
        with IndexReader.open(index, encoder=encoder.id) as reader:
            runs = rank_all(Retriever(reader, encoder), questions, [FOOTNOTE])
    return f"{score(questions, runs[FOOTNOTE])} ({report.passages:,} passages)"


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
