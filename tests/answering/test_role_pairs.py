"""The question-passage pairs in which a wrong entity, figure or date is near the right one."""

import json
import re
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from rag.text.sentences import sentences

Row = dict[str, Any]

ROWS: list[Row] = [
    json.loads(line)
    for line in Path(__file__)
    .with_name("role_pairs.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
ANSWERED = [row for row in ROWS if row["answer"]]
UNANSWERED = [row for row in ROWS if not row["answer"]]
FIELDS = {
    "id": str,
    "kind": str,
    "question": str,
    "title": str,
    "date": str,
    "passage": str,
    "answer": list,
    "wrong": list,
    "true_claims": list,
    "false_claims": list,
}
KINDS = {
    "winner and loser", "first and latest toll", "buyer and seller", "before and after",
    "length and width", "asking price and price paid", "hired and replaced", "sued and suing",
    "birth and death", "capital and country", "elected and defeated", "host and guest",
    "forecast and actual", "old and new record", "age and number", "percent and absolute",
}  # fmt: skip
"""Kinds of which there are three or more; of others, one or two suffice."""


def by_id(row: Row) -> str:
    return str(row["id"])


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower().replace("'s", "")))


def contains(text: str, phrase: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.IGNORECASE) is not None


def test_there_are_enough_pairs_of_every_kind() -> None:
    kinds = Counter(row["kind"] for row in ROWS)
    assert len(ANSWERED) >= 70
    assert len(UNANSWERED) == kinds["no answer"] == 15
    assert all(kinds[kind] >= 3 for kind in KINDS)


def test_ids_and_questions_on_a_passage_are_unique() -> None:
    assert len({row["id"] for row in ROWS}) == len(ROWS)
    assert len({(row["question"], row["passage"]) for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=by_id)
def test_a_pair_is_complete(row: Row) -> None:
    assert list(row) == list(FIELDS)
    assert all(isinstance(row[name], kind) for name, kind in FIELDS.items())
    assert all(row[name] for name in FIELDS if name != "answer")
    date.fromisoformat(row["date"])
    assert 2 <= len(list(sentences(row["passage"]))) <= 5
    claims = row["true_claims"] + row["false_claims"]
    assert len(row["true_claims"]) in (1, 2)
    assert len(row["false_claims"]) in (1, 2)
    assert len(set(claims)) == len(claims)
    assert all(claim[0].isupper() or claim[0].isdigit() for claim in claims)
    assert all(claim.endswith(".") for claim in claims)


@pytest.mark.parametrize("row", ANSWERED, ids=by_id)
def test_a_wrong_answer_is_in_the_sentence_of_the_right_one(row: Row) -> None:
    assert not {a.lower() for a in row["answer"]} & {w.lower() for w in row["wrong"]}
    assert all(contains(row["passage"], wrong) for wrong in row["wrong"])
    texts = [row["passage"][start:end] for start, end in sentences(row["passage"])]
    assert any(
        any(contains(text, answer) for answer in row["answer"])
        and any(contains(text, wrong) for wrong in row["wrong"])
        for text in texts
    )


@pytest.mark.parametrize("row", UNANSWERED, ids=by_id)
def test_a_passage_without_the_answer_has_all_words_of_the_question(row: Row) -> None:
    assert words(row["question"]) <= words(row["passage"])
    assert all(contains(row["passage"], wrong) for wrong in row["wrong"])
