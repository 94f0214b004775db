"""Contextualisation of follow-up questions: `python benchmarks/followups.py QUESTIONS`.

QUESTIONS is a JSON Lines file of questions with `history` and a `rewrite` by a person into a standalone
question. A rewriter is scored by the terms that it adds.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from math import log
from pathlib import Path

from common import Row, rows, table

from rag.answering import followup
from rag.text.tokens import Idf, terms
from rag.types import Message

Rewriter = Callable[[str, list[Message]], str]


def main(file: Path) -> None:
    questions = [row for row in rows(file) if row["history"]]
    idf = build_idf(rows(file))
    rewriters: dict[str, Rewriter] = {
        "the last turn, whole": lambda _, history: history[-1]["content"],
        "all turns before": lambda _, history: " ".join(turn["content"] for turn in history),
        "Footnote": lambda question, history: (
            followup.contextualize(question, history, idf).context_text
        ),
    }
    head = ["rewritten by", "recall of terms", "precision of terms", "complete ones unchanged"]
    print(
        f"{len(questions)} follow-ups; {sum(not missing_terms(row) for row in questions)} need no term\n"
    )
    print(
        table(head, [[name, *scores(questions, rewriter)] for name, rewriter in rewriters.items()])
    )


def build_idf(questions: list[Row]) -> Idf:
    """Return the IDF of terms among the questions, since there are no articles here."""
    document_counts = Counter(term for row in questions for term in set(terms(row["question"])))

    def idf(stems: Iterable[str]) -> Mapping[str, float]:
        return {stem: log(1 + len(questions) / (1 + document_counts[stem])) for stem in set(stems)}

    return idf


def missing_terms(row: Row) -> set[str]:
    return set(terms(row["rewrite"])) - set(terms(row["question"]))


def scores(questions: list[Row], rewriter: Rewriter) -> list[str]:
    found_terms = added_terms = unchanged_rightly = complete = 0
    wanted_terms = sum(len(missing_terms(row)) for row in questions)
    for row in questions:
        history = [
            Message(role=turn.get("role", "user"), content=turn["text"]) for turn in row["history"]
        ]
        added = set(terms(rewriter(row["question"], history))) - set(terms(row["question"]))
        found_terms += len(added & missing_terms(row))
        added_terms += len(added)
        if not missing_terms(row):
            complete += 1
            unchanged_rightly += not added
    return [
        f"{found_terms / wanted_terms:.2f}",
        f"{found_terms / max(1, added_terms):.2f}",
        f"{unchanged_rightly / max(1, complete):.2f}",
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
