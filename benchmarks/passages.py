"""What the cutting of passages gives: `python benchmarks/passages.py SET…`.

Indexes each set with passages cut and encoded in several ways, and prints nDCG@10 over the articles
of one half of the questions. It encodes everything several times over.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from common import rows, table
from retrieval import FOOTNOTE, of_half, ranked, score

from rag import indexing, passages
from rag.encoder import Encoder
from rag.index import PassageIndex
from rag.models import MINILM, encoder_folder
from rag.retriever import Retriever
from rag.settings import Settings


class Quiet:
    def start(self, task: str, total: int | None) -> None: ...
    def expect(self, total: int) -> None: ...
    def advance(self, steps: int) -> None: ...


def shorter(part: int) -> Callable[[], object]:
    """Passages of a part of what the encoder takes in."""

    def patch() -> object:
        whole = Encoder.max_tokens.fget
        assert whole is not None
        return mock.patch.object(Encoder, "max_tokens", property(lambda e: whole(e) // part))

    return patch


def without_overlap() -> object:
    return mock.patch.object(passages, "sharing", return_value=False)


def without_heading() -> object:
    return mock.patch.object(passages, "heading", return_value="")


@contextmanager
def as_it_is() -> Iterator[None]:
    yield


WAYS: dict[str, Callable[[], object]] = {
    "as they are": as_it_is,
    "half as long": shorter(2),
    "a quarter as long": shorter(4),
    "no sentence shared by neighbours": without_overlap,
    "title and date not encoded": without_heading,
}


def main(sets: Sequence[Path]) -> None:
    lines = []
    for way, patch in WAYS.items():
        with patch():  # type: ignore[attr-defined]
            lines.append([way, *(measured(data) for data in sets)])
            print(lines[-1], file=sys.stderr, flush=True)
    print(table(["passages", *(data.name for data in sets)], lines))


def measured(data: Path) -> str:
    asked = [row for row in rows(data / "questions.jsonl") if of_half(row, "other")]
    encoder = Encoder(MINILM.name, encoder_folder(MINILM.name, Settings().cache))
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder)
        source = [data / "articles.jsonl"]
        summary = indexing.sync(index, encoder, source, rebuild=False, progress=Quiet())
        with PassageIndex.open(index, encoder=encoder.id) as opened:
            runs = ranked(Retriever(opened, encoder), asked, [FOOTNOTE])
    return f"{score(asked, runs[FOOTNOTE])} ({summary.passages:,} passages)"


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
