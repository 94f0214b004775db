"""Evaluation data sets: files of questions, optionally with expected answers and relevant articles."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rag.answering.question import validate_question
from rag.errors import QuestionError
from rag.types import Message, Question


@dataclass(frozen=True, slots=True)
class EvalQuestion:
    """A question with what is expected.

    Attributes:
        answers: Correct answers; an answer must contain one of them.
        relevance: Relevant article ids with their grades, 1 or more (TREC's qrels).
        unanswerable: Whether the question should be refused.
    """

    question: Question
    answers: tuple[str, ...] = ()
    relevance: Mapping[str, int] = field(default_factory=dict)
    unanswerable: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return a line of a question file."""
        if self.unanswerable:
            return {"question": self.question.text, "unanswerable": True}
        return {
            "question": self.question.text,
            "answers": list(self.answers),
            "article_ids": list(self.relevance),
        }


def read_questions(file: Path) -> Iterator[Question]:
    """Yield the questions of a JSON Lines file as it is read. Raises QuestionError."""
    for row, location in _read_rows(file):
        yield _parse_question(row, location)


def read_eval_questions(path: Path) -> list[EvalQuestion]:
    """Read a JSON Lines file, or a folder in BEIR's format, of at least one question.

    Raises:
        QuestionError: It cannot be read, or contains no question.
    """
    if path.is_dir():
        questions = _read_beir(path)
    else:
        questions = [_parse_eval_question(row, location) for row, location in _read_rows(path)]
    if not questions:
        raise QuestionError(f"There is no question in {path}.", remedy="Correct the path.")
    return questions


def _read_rows(file: Path) -> Iterator[tuple[Any, str]]:
    """Yield the JSON value of each line, with its location for error messages."""
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    location = f"{file}, line {number}"
                    yield _parse_json(line, location), location
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


def _parse_json(line: str, location: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise _not_a_question(location) from None


def _not_a_question(location: str) -> QuestionError:
    return QuestionError(
        f"{location} is not a question.",
        remedy='Write {"id": …, "question": "…"}, with "history" as role and content, on one line.',
    )


def _parse_question(row: Any, location: str) -> Question:
    try:
        history = tuple(
            Message(role=message["role"], content=message["content"])
            for message in row.get("history") or []
        )
        texts = [row["question"], *(text for message in history for text in message.values())]
    except (KeyError, TypeError, AttributeError):
        raise _not_a_question(location) from None
    if not all(isinstance(text, str) for text in texts):
        raise _not_a_question(location)
    try:
        return Question(validate_question(row["question"]), history, row.get("id"))
    except QuestionError as error:
        raise QuestionError(f"{location}: {error.problem}", remedy=error.remedy) from None


def _parse_eval_question(row: Any, location: str) -> EvalQuestion:
    question = _parse_question(row, location)
    answers = _parse_strings(row, "answers", location)
    article_ids = _parse_strings(row, "article_ids", location)
    unanswerable = bool(row.get("unanswerable"))
    return EvalQuestion(question, tuple(answers), dict.fromkeys(article_ids, 1), unanswerable)


def _parse_strings(row: Mapping[str, Any], key: str, location: str) -> list[str]:
    values = row.get(key) or []
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return values
    raise QuestionError(
        f'{location}: "{key}" is not a list of strings.', remedy='Write ["…", "…"].'
    )


def _read_beir(folder: Path) -> list[EvalQuestion]:
    """Read the judged questions of a BEIR folder: queries.jsonl, and the judgements in qrels/."""
    qrels = _read_qrels(folder)
    questions = []
    for row, location in _read_rows(folder / "queries.jsonl"):
        if not isinstance(row, dict) or not {"_id", "text"} <= row.keys():
            raise _not_a_question(location)
        if row["_id"] in qrels:
            question = _parse_question({"id": row["_id"], "question": row["text"]}, location)
            questions.append(EvalQuestion(question, relevance=qrels[row["_id"]]))
    return questions


def _read_qrels(folder: Path) -> dict[str, dict[str, int]]:
    """Read the positive judgements: question id → article id → grade.

    They are in qrels/test.tsv, or else in the first file of qrels/.
    """
    files = sorted((folder / "qrels").glob("*.tsv"))
    file = next((file for file in files if file.stem == "test"), files[0] if files else None)
    if file is None:
        raise QuestionError(
            f"There is no qrels/test.tsv in {folder}.",
            remedy="Name a file of questions, or a folder in BEIR's format.",
        )
    qrels: dict[str, dict[str, int]] = {}
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines, delimiter="\t"))
            for question_id, article_id, grade in rows[1:]:
                if int(grade) > 0:
                    qrels.setdefault(question_id, {})[article_id] = int(grade)
    except (OSError, ValueError, csv.Error):
        raise QuestionError(
            f"{file} does not contain a question id, an article id and an integer on each line.",
            remedy="Separate them by tabs, below a header line.",
        ) from None
    return qrels
