"""How well a follow-up is completed: `python benchmarks/followups.py QUESTIONS`.

QUESTIONS is a JSON Lines file of conversations' questions with `history` and a person's `rewrite` of each
into one that stands alone. What matters of a rewrite is the words that it adds.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from math import log
from pathlib import Path

from common import Row, rows, table

from rag import conversation
from rag.datatypes import Message
from rag.language import Rarity, terms

Completing = Callable[[str, list[Message]], str]


def main(file: Path) -> None:
    asked = [row for row in rows(file) if row["history"]]
    rarity = rarity_in(rows(file))
    ways: dict[str, Completing] = {
        "the last turn, whole": lambda _, history: history[-1]["content"],
        "all turns before": lambda _, history: " ".join(turn["content"] for turn in history),
        "Footnote": lambda question, history: (
            conversation.standalone(question, history, rarity).about_text
        ),
    }
    head = ["completed by", "words wanted, found", "words added, wanted", "left alone, rightly"]
    print(f"{len(asked)} follow-ups; {sum(not wanted(row) for row in asked)} need no word\n")
    print(table(head, [[way, *scores(asked, completing)] for way, completing in ways.items()]))


def rarity_in(questions: list[Row]) -> Rarity:
    """How rare words are among the questions: there are no articles here."""
    held = Counter(term for row in questions for term in set(terms(row["question"])))

    def rarity(stems: Iterable[str]) -> Mapping[str, float]:
        return {stem: log(1 + len(questions) / (1 + held[stem])) for stem in set(stems)}

    return rarity


def wanted(row: Row) -> set[str]:
    return set(terms(row["rewrite"])) - set(terms(row["question"]))


def scores(asked: list[Row], completing: Completing) -> list[str]:
    found = added = right = alone = 0
    sought = sum(len(wanted(row)) for row in asked)
    for row in asked:
        history = [Message(role=t.get("role", "user"), content=t["text"]) for t in row["history"]]
        more = set(terms(completing(row["question"], history))) - set(terms(row["question"]))
        found += len(more & wanted(row))
        added += len(more)
        if not wanted(row):
            alone += 1
            right += not more
    return [f"{found / sought:.2f}", f"{found / max(1, added):.2f}", f"{right / max(1, alone):.2f}"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
