"""Accuracy of answers: `python benchmarks/answers.py SET [QUESTIONS] [--leave-out N]`.

Asks a fixed sample of a dataset's questions (200), a third of them unanswerable. With --leave-out, every
Nth article that is asked about is left out of the index, and its questions are the unanswerable ones.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from common import Row, build_index, rows, sample, table

from rag.answering.chatbot import Chatbot
from rag.evaluation.runner import contains_answer, f1
from rag.settings import load
from rag.types import Answer, Mode


@dataclass(frozen=True)
class QuestionResult:
    """A question and its answer."""

    row: Row
    answer: Answer

    @property
    def text(self) -> str | None:
        """The answer's text; None for a refusal."""
        return None if self.answer.mode is Mode.REFUSED else self.answer.text


def main(data: Path, sample_size: int, leave_out: int) -> None:
    questions = [q for q in rows(data / "questions.jsonl") if "question" in q]
    articles = data / "articles.jsonl"
    if leave_out:
        articles, questions = leave_out_articles(data, questions, leave_out)
    chatbot = Chatbot.open(load(index=build_index(articles)))
    chatbot.load()
    answerable = sample(
        [q for q in questions if not q.get("unanswerable")], sample_size - sample_size // 3
    )
    unanswerable = sample([q for q in questions if q.get("unanswerable")], sample_size // 3)
    results = [
        QuestionResult(row, chatbot.answer(row["question"])) for row in [*answerable, *unanswerable]
    ]
    print(table(SCORE_COLUMNS, [score_row(results)]))
    print()
    print(table(["measure", "value"], summary_rows(chatbot, results)))


def leave_out_articles(data: Path, questions: list[Row], step: int) -> tuple[Path, list[Row]]:
    """Leave out every Nth article that is asked about.

    Returns:
        The file of the remaining articles, and the questions, unanswerable if theirs is left out.
    """
    excluded = set(sorted({q["article_ids"][0] for q in questions if q.get("article_ids")})[::step])
    remaining = [row for row in rows(data / "articles.jsonl") if row["id"] not in excluded]
    folder = Path(tempfile.gettempdir()) / "footnote-benchmarks" / f"{data.name}-without-{step}"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "articles.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in remaining), encoding="utf-8")
    answerable = [q for q in questions if not q.get("unanswerable")]
    is_excluded = [q["article_ids"][0] in excluded for q in answerable]
    return file, [
        {**q, "unanswerable": left_out} for q, left_out in zip(answerable, is_excluded, strict=True)
    ]


SCORE_COLUMNS = [
    "right",
    "wrong",
    "refused",
    "F1",
    "unanswerable refused",
    "words, median",
    "words, 95 %",
]


def score_row(results: Sequence[QuestionResult]) -> list[str]:
    answerable = [
        (result.row["answers"], result.text)
        for result in results
        if not result.row.get("unanswerable")
    ]
    unanswerable = [result.text for result in results if result.row.get("unanswerable")]
    answered = [(answers, text) for answers, text in answerable if text is not None]
    right = sum(contains_answer(text, answers) for answers, text in answered)
    best_f1 = [max(f1(text, answer) for answer in answers) for answers, text in answered]
    words = sorted(len(text.split()) for _, text in answered) or [0]
    return [
        share(right, len(answerable)),
        share(len(answered) - right, len(answerable)),
        share(len(answerable) - len(answered), len(answerable)),
        f"{sum(best_f1) / len(answerable):.2f}",
        share(sum(text is None for text in unanswerable), len(unanswerable)),
        str(median(words)),
        str(words[int(0.95 * (len(words) - 1))]),
    ]


def summary_rows(chatbot: Chatbot, results: Sequence[QuestionResult]) -> list[list[str]]:
    answers = [result.answer for result in results]
    quotes = [citation.quote for answer in answers for citation in answer.citations]
    exact_quotes = 0
    for excerpt in quotes:
        article = chatbot.index.article(excerpt.article_id)
        exact_quotes += (
            article is not None and article.text[excerpt.start : excerpt.end] == excerpt.text
        )
    right = [
        result
        for result in results
        if not result.row.get("unanswerable")
        and result.text
        and contains_answer(result.text, result.row["answers"])
    ]
    cited_right = sum(
        any(
            contains_answer(citation.quote.text, result.row["answers"])
            for citation in result.answer.citations
        )
        for result in right
    )
    first_token_s = [t for answer in answers if (t := answer.timings.first_token_s) is not None]
    written = sum(answer.mode is Mode.WRITTEN for answer in answers)
    return [
        ["right answers whose quote contains the answer", share(cited_right, len(right))],
        ["quotes exact", share(exact_quotes, len(quotes))],
        ["answers written (the others: quoted or refused)", share(written, len(answers))],
        ["median seconds to the first token of the draft", f"{median(first_token_s or [0]):.2f}"],
        ["median seconds an answer", f"{median(result.timings.total_s for result in answers):.2f}"],
    ]


def share(variant: int, whole: int) -> str:
    return f"{variant / whole:.1%} ({variant} of {whole})" if whole else "none"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("questions", type=int, nargs="?", default=200)
    parser.add_argument("--leave-out", type=int, default=0)
    arguments = parser.parse_args()
    main(arguments.data, arguments.questions, arguments.leave_out)
