"""Files of questions → Questions, with what is expected of them where the file says so."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rag.datatypes import Message, Question
from rag.errors import QuestionError

MOST_CHARACTERS = 4000
"""Of a question."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A question, and what should come of it.

    `answers` are strings of which an answer should hold one, `gains` the articles that bear on it,
    each with how much (1, or more).
    """

    question: Question
    answers: tuple[str, ...] = ()
    gains: Mapping[str, int] = field(default_factory=dict)
    unanswerable: bool = False

    def as_json(self) -> dict[str, Any]:
        """As a line of a file of questions."""
        if self.unanswerable:
            return {"question": self.question.text, "unanswerable": True}
        about = {"answers": list(self.answers), "article_ids": list(self.gains)}
        return {"question": self.question.text, **about}


def sound(question: str) -> str:
    """The question without white space around it. Raises QuestionError when it cannot be asked."""
    if not question.strip():
        raise QuestionError("The question is empty.", remedy="Ask something.")
    try:
        question.encode()
    except UnicodeEncodeError as error:
        raise QuestionError(
            f"The question's character {error.start + 1} is half of one.", remedy="Type it anew."
        ) from None
    if len(question) > MOST_CHARACTERS:
        raise QuestionError(
            f"The question is {len(question):,} characters long; {MOST_CHARACTERS:,} are read at most.",
            remedy="Shorten it.",
        )
    return question.strip()


def questions_of(file: Path) -> Iterator[Question]:
    """The questions of a JSON Lines file, as they are asked for. Raises QuestionError."""
    for row, place in _rows(file):
        yield _question(row, place)


def expectations_of(path: Path) -> list[Expected]:
    """All questions of a JSON Lines file or of a folder in BEIR's format. Raises QuestionError."""
    found = _of_beir(path) if path.is_dir() else [_expected(*row) for row in _rows(path)]
    if not found:
        raise QuestionError(f"There is no question in {path}.", remedy="Correct the path.")
    return found


def _rows(file: Path) -> Iterator[tuple[Any, str]]:
    """The JSON values of a file's lines, each with its place in words."""
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    place = f"{file}, line {number}"
                    yield _parsed(line, place), place
    except FileNotFoundError:
        raise QuestionError(
            f"There is no file {file} of questions.", remedy="Correct the path."
        ) from None
    except OSError as error:
        raise QuestionError(
            f"The questions in {file} cannot be read: {error.strerror}.", remedy="Correct the path."
        ) from error
    except UnicodeError as error:
        raise QuestionError(
            f"The questions in {file} are not UTF-8 text.", remedy="Save the file as UTF-8."
        ) from error


def _parsed(line: str, place: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise _no_question(place) from None


def _no_question(place: str) -> QuestionError:
    return QuestionError(
        f"{place} is not a question.",
        remedy='Write {"id": …, "question": "…"}, with "history" as role and content, on one line.',
    )


def _question(row: Any, place: str) -> Question:
    try:
        history = tuple(
            Message(role=turn["role"], content=turn["content"]) for turn in row.get("history") or []
        )
        texts = [row["question"], *(text for turn in history for text in turn.values())]
    except (KeyError, TypeError, AttributeError):
        raise _no_question(place) from None
    if not all(isinstance(text, str) for text in texts):
        raise _no_question(place)
    try:
        return Question(sound(row["question"]), history, row.get("id"))
    except QuestionError as error:
        raise QuestionError(f"{place}: {error.problem}", remedy=error.remedy) from None


def _expected(row: Any, place: str) -> Expected:
    question = _question(row, place)
    answers, articles = row.get("answers") or [], row.get("article_ids") or []
    for name, values in (("answers", answers), ("article_ids", articles)):
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise QuestionError(
                f"{place}: its {name} are no list of strings.", remedy='Write ["…", "…"].'
            )
    unanswerable = bool(row.get("unanswerable"))
    return Expected(question, tuple(answers), dict.fromkeys(articles, 1), unanswerable)


def _of_beir(folder: Path) -> list[Expected]:
    """The judged questions of a BEIR folder: queries.jsonl, and qrels/test.tsv or its only other."""
    judged = sorted((folder / "qrels").glob("*.tsv"))
    qrels = next((file for file in judged if file.stem == "test"), judged[0] if judged else None)
    if qrels is None:
        raise QuestionError(
            f"There is no qrels/test.tsv in {folder}.",
            remedy="Name a file of questions, or a folder in BEIR's format.",
        )
    gains: dict[str, dict[str, int]] = {}
    try:
        with qrels.open(encoding="utf-8", newline="") as file:
            for id, article, gain in list(csv.reader(file, delimiter="\t"))[1:]:
                if int(gain) > 0:
                    gains.setdefault(id, {})[article] = int(gain)
    except (OSError, ValueError):
        raise QuestionError(
            f"{qrels} does not hold a question, an article and a whole number a line.",
            remedy="Separate them by tabs, under a line of headings.",
        ) from None
    found = []
    for row, place in _rows(folder / "queries.jsonl"):
        if not isinstance(row, dict) or not {"_id", "text"} <= row.keys():
            raise _no_question(place)
        if row["_id"] in gains:
            question = _question({"id": row["_id"], "question": row["text"]}, place)
            found.append(Expected(question, gains=gains[row["_id"]]))
    return found
