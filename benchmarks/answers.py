"""How many answers are right: `python benchmarks/answers.py SET [QUESTIONS] [--leave-out N]`.

Asks a fixed sample of a set's questions (200), a third of them unanswerable, and prints what the
generator's draft alone, the quotation alone, and the whole come to. With --leave-out, every Nth article
that questions are about is left out of the index, and those questions are the unanswerable ones.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from common import Row, index_of, rows, sample, table

from rag.chatbot import Chatbot
from rag.citations import quote
from rag.datatypes import Answer, Mode, StandaloneQuestion
from rag.evaluation import f1, holds
from rag.evidence import weigh, worth_quoting
from rag.settings import load


@dataclass(frozen=True)
class Asked:
    """A question, its answer, and what its parts would have answered alone; None is a refusal."""

    row: Row
    answer: Answer
    draft: str | None
    quotation: str | None

    @property
    def whole(self) -> str | None:
        return None if self.answer.mode is Mode.REFUSED else self.answer.text


def main(data: Path, most: int, leave_out: int) -> None:
    questions = [q for q in rows(data / "questions.jsonl") if "question" in q]
    articles = data / "articles.jsonl"
    if leave_out:
        articles, questions = without(data, questions, leave_out)
    chatbot = Chatbot.open(load(index=index_of(articles)))
    chatbot.load()
    yes = sample([q for q in questions if not q.get("unanswerable")], most - most // 3)
    no = sample([q for q in questions if q.get("unanswerable")], most // 3)
    asked = [ask(chatbot, row) for row in [*yes, *no]]
    parts: dict[str, Callable[[Asked], str | None]] = {
        "draft alone": lambda a: a.draft,
        "quotation alone": lambda a: a.quotation,
        "the whole": lambda a: a.whole,
    }
    lines = [[name, *scores(asked, part)] for name, part in parts.items()]
    print(table(["answered by", *HEAD], lines))
    print()
    print(table(["measure", "value"], about(chatbot, asked)))


def without(data: Path, questions: list[Row], every: int) -> tuple[Path, list[Row]]:
    """The articles less every Nth that is asked about, and the questions as they then are."""
    titles = set(sorted({q["article_ids"][0] for q in questions if q.get("article_ids")})[::every])
    kept = [row for row in rows(data / "articles.jsonl") if row["id"] not in titles]
    folder = Path(tempfile.gettempdir()) / "footnote-benchmarks" / f"{data.name}-without-{every}"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "articles.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    answerable = [q for q in questions if not q.get("unanswerable")]
    gone = [q["article_ids"][0] in titles for q in answerable]
    return file, [
        {**q, "unanswerable": left_out} for q, left_out in zip(answerable, gone, strict=True)
    ]


def ask(chatbot: Chatbot, row: Row) -> Asked:
    *_, answer = chatbot.ask(row["question"])
    question = StandaloneQuestion(row["question"])
    evidence = weigh(question, answer.hits, chatbot.encoder, chatbot.index.rarity)
    refused = answer.mode is Mode.REFUSED
    drafted = " ".join(s.text for s in answer.sentences if not s.quoted)
    quotation = None if refused else quote(worth_quoting(question, evidence)).text
    return Asked(row, answer, None if refused else drafted, quotation)


HEAD = ["right", "wrong", "refused", "F1", "unanswerable refused", "words, median", "words, 95 %"]


def scores(asked: Sequence[Asked], part: Callable[[Asked], str | None]) -> list[str]:
    yes = [(a.row["answers"], part(a)) for a in asked if not a.row.get("unanswerable")]
    no = [part(a) for a in asked if a.row.get("unanswerable")]
    given = [(answers, text) for answers, text in yes if text is not None]
    right = sum(holds(text, answers) for answers, text in given)
    words = sorted(len(text.split()) for _, text in given) or [0]
    return [
        share(right, len(yes)),
        share(len(given) - right, len(yes)),
        share(len(yes) - len(given), len(yes)),
        f"{sum(max(f1(text, answer) for answer in answers) for answers, text in given) / len(yes):.2f}",
        share(sum(text is None for text in no), len(no)),
        str(median(words)),
        str(words[int(0.95 * (len(words) - 1))]),
    ]


def about(chatbot: Chatbot, asked: Sequence[Asked]) -> list[list[str]]:
    answers = [a.answer for a in asked]
    quotes = [citation.quote for answer in answers for citation in answer.citations]
    exact = 0
    for excerpt in quotes:
        article = chatbot.index.article(excerpt.article_id)
        exact += article is not None and article.text[excerpt.start : excerpt.end] == excerpt.text
    right = [
        a for a in asked
        if not a.row.get("unanswerable") and a.whole and holds(a.whole, a.row["answers"])
    ]  # fmt: skip
    cited = sum(
        any(holds(citation.quote.text, a.row["answers"]) for citation in a.answer.citations)
        for a in right
    )
    first = [t for answer in answers if (t := answer.timings.first_token_s) is not None]
    written = sum(answer.mode is Mode.WRITTEN for answer in answers)
    return [
        ["right answers whose quote holds the answer", share(cited, len(right))],
        ["quotes exact", share(exact, len(quotes))],
        ["answers written (the others: quoted or refused)", share(written, len(answers))],
        ["median seconds to the first token of the draft", f"{median(first or [0]):.2f}"],
        ["median seconds an answer", f"{median(a.timings.total_s for a in answers):.2f}"],
    ]


def share(part: int, whole: int) -> str:
    return f"{part / whole:.1%} ({part} of {whole})" if whole else "none"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("questions", type=int, nargs="?", default=200)
    parser.add_argument("--leave-out", type=int, default=0)
    arguments = parser.parse_args()
    main(arguments.data, arguments.questions, arguments.leave_out)
