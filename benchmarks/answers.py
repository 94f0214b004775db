"""How many answers are right: `python benchmarks/answers.py SET [QUESTIONS]`.

Asks a fixed sample of a set's questions (200) through `rag ask --questions` and prints the shares.
"""

import json
import sys
import tempfile
from pathlib import Path
from statistics import median

from common import Row, holds, indexed, rag, rows, sample, table


def main(data: Path, most: int) -> None:
    index = indexed(data)
    asked = sample([q for q in rows(data / "questions.jsonl") if "question" in q], most)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        for number, row in enumerate(asked):
            file.write(json.dumps({"id": number, "question": row["question"]}) + "\n")
        file.flush()
        answers = rag("ask", "--questions", file.name, "--index", str(index), "--json")
    texts = {row["id"]: row["text"] for row in rows(data / "articles.jsonl")}
    print(report(asked, answers, texts))


def report(asked: list[Row], answers: list[Row], texts: dict[str, str]) -> str:
    pairs = list(zip(asked, answers, strict=True))
    answerable = [(q, a) for q, a in pairs if not q.get("unanswerable")]
    unanswerable = [a for q, a in pairs if q.get("unanswerable")]
    right = [a for q, a in answerable if a["answered"] and holds(a["answer"], q["answers"])]
    refused = [a for _, a in answerable if not a["answered"]]
    rightly = [a for a in unanswerable if not a["answered"]]
    quotes = [c for a in answers for c in a["citations"]]
    exact = [c for c in quotes if texts[c["article_id"]][c["start"] : c["end"]] == c["quote"]]
    written = [a for a in answers if a["mode"] == "written"]
    first = [t for a in answers if (t := a["timings"]["first_token_s"]) is not None]
    total = [a["timings"]["total_s"] for a in answers]
    lines = [
        ["answerable: answer string in the answer", share(len(right), len(answerable))],
        [
            "answerable: answered without it",
            share(len(answerable) - len(right) - len(refused), len(answerable)),
        ],
        ["answerable: wrongly refused", share(len(refused), len(answerable))],
        ["unanswerable: rightly refused", share(len(rightly), len(unanswerable))],
        ["answers written (the others: quoted or refused)", share(len(written), len(answers))],
        ["quotes exact", share(len(exact), len(quotes))],
        ["median seconds to the first token of the draft", f"{median(first or [0]):.2f}"],
        ["median seconds an answer", f"{median(total):.2f}"],
    ]
    return table(["measure", f"{len(asked)} questions"], lines)


def share(part: int, whole: int) -> str:
    return f"{part / whole:.1%} ({part} of {whole})" if whole else "none"


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200)
