"""Reading-comprehension corpora: questions with the passage that answers them, or does not.

Rows are JSON objects with `id`, `title`, `passage`, `question`, `answers`, `answer_start` and
`unanswerable`. The questions of a title are either all for training or all for measuring.
"""

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

CORPORA = {
    "squad_train_merged": 25_000,
    "squadshifts_wiki": 4_000,
    "qamr12": 4_000,
    "tydiqa_en": 5_000,
    "qed_nq": 2_000,
    "tweetqa": 2_000,
    "fairytaleqa": 1_000,
    "onestopqa": 1_000,
}
"""The corpora whose licences allow weights trained on them to be distributed, and the most questions
taken from each: the texts of some are far from news."""

HELD_OUT_SHARE = 1 / 40
"""Share of the titles whose questions are kept for measuring."""


@dataclass(frozen=True, slots=True)
class ReadingQuestion:
    """A question about one passage.

    Attributes:
        answers: All accepted answers; empty if the passage holds none.
        span: Start and end of the answer in the passage; None if there is none.
    """

    id: str
    corpus: str
    title: str
    passage: str
    question: str
    answers: tuple[str, ...]
    span: tuple[int, int] | None

    @property
    def held_out(self) -> bool:
        """Whether the question is kept for measuring."""
        digest = sha256(f"{self.corpus} {self.title or self.id}".encode()).digest()
        return digest[0] / 256 < HELD_OUT_SHARE


def read_corpora(folder: Path, seed: int, *, held_out: bool) -> Iterator[ReadingQuestion]:
    """Yield random questions of all corpora in a folder of gzipped JSON Lines files.

    Args:
        folder: The folder with a file for each corpus.
        seed: Seed of the choice of questions.
        held_out: Whether to yield all questions of the held-out titles, or some of the others.
    """
    for corpus, most in CORPORA.items():
        with gzip.open(folder / f"{corpus}.jsonl.gz", "rt", encoding="utf-8") as lines:
            parsed = [_parse(corpus, json.loads(line)) for line in lines]
        questions = [q for q in parsed if q is not None and q.held_out == held_out]
        if not held_out and len(questions) > most:
            questions = random.Random(seed).sample(questions, most)
        yield from questions


def read_squad_development(folder: Path, *, held_out: bool) -> Iterator[ReadingQuestion]:
    """Yield questions of SQuAD 2.0's development set, every other title of which is held out.

    Args:
        folder: The folder with `passages.jsonl` and `questions.jsonl`.
        held_out: Whether to yield the held-out titles or the others.
    """
    passages = {row["id"]: row for row in _read_rows(folder / "passages.jsonl")}
    rows = [row for row in _read_rows(folder / "questions.jsonl") if row.get("passage_ids")]
    training_titles = set(sorted({row["article_ids"][0] for row in rows})[::2])
    for row in rows:
        if (row["article_ids"][0] not in training_titles) == held_out:
            passage = passages[row["passage_ids"][0]]
            question = _parse(
                "squad2", {**row, "title": passage["title"], "passage": passage["text"]}
            )
            if question is not None:
                yield question


def _read_rows(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _parse(corpus: str, row: dict[str, Any]) -> ReadingQuestion | None:
    """Return the question of a row; None if its answer is not a span of the passage."""
    answers = () if row["unanswerable"] else tuple(row["answers"])
    span = _find_span(row["passage"], answers, row.get("answer_start"))
    if answers and span is None:
        return None
    title = "" if corpus == "qamr12" else row.get("title") or ""
    return ReadingQuestion(
        str(row["id"]),
        corpus,
        title.replace("_", " "),
        row["passage"],
        row["question"],
        answers,
        span,
    )


def _find_span(passage: str, answers: tuple[str, ...], start: int | None) -> tuple[int, int] | None:
    """Return the span of the shortest answer at `start`, or of the first answer that occurs once."""
    if start is not None:
        first_end = start + len(answers[0])
        for answer in sorted(answers, key=len):
            offset = passage.find(answer, start, first_end)
            if offset >= 0 and answer.strip():
                return offset, offset + len(answer)
    for answer in answers:
        if len(answer) > 1 and passage.count(answer) == 1:
            offset = passage.index(answer)
            return offset, offset + len(answer)
    return None
