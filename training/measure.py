"""Evaluation of the generator with and without the adapter, on the test splits."""

import json
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from rich.progress import track

from rag.answering.chatbot import Chatbot
from rag.answering.evidence import score_sentences
from rag.answering.strategies import compose_prompt
from rag.evaluation.runner import contains_answer, f1
from rag.models.embedding.encoder import Encoder
from rag.models.generation import prompts
from rag.models.generation.llama import LlamaGenerator
from rag.models.resolve import generator_file
from rag.settings import Settings
from rag.store.reader import IndexReader
from rag.types import Answer, Mode, SearchQuery
from training import examples
from training.examples import TrainingQuestion

SEED = 11

QUESTION_KINDS = {
    "date": r"\b(?:when|what year|which year|what date|what century|what day)\b",
    "how many": r"\bhow (?:many|much|long|old|far|tall|high|large|big|often)\b|\bpercent",
    "name": r"\b(?:who|whom|whose|where)\b|\b(?:what|which) (?:country|city|place|person)\b",
    "why or how": r"\b(?:why|how)\b",
    "yes or no": r"^(?:is|are|was|were|do|does|did|can|could|has|have|had|will)\b",
}


@dataclass(frozen=True)
class PairedResult:
    """A question with its answers and drafts, first without and then with the adapter.

    There is a draft even where the answer is a refusal.
    """

    question: TrainingQuestion
    answers: tuple[Answer, Answer]
    drafts: tuple[str, str]


def measure(data: Path, out: Path, adapter: Path, settings: Settings, sample_size: int) -> None:
    """Print a table that compares the generator without and with the adapter.

    Args:
        data: Folder of the datasets `squad2` and `clapnq`.
        out: Folder for the indexes.
        adapter: The adapter's GGUF file.
        settings: Settings of the generator and the encoder.
        sample_size: Number of questions of each kind.
    """
    squad = data / "squad2"
    questions = examples.squad(squad, "test")
    answerable = _sample([q for q in questions if q.answers], sample_size)
    unanswerable = _sample([q for q in questions if not q.answers], sample_size)
    excluded = set(sorted({next(iter(q.articles)) for q in answerable})[::2])
    left_out = [q for q in answerable if not excluded.isdisjoint(q.articles)]
    remaining = _write_remaining(squad / "articles.jsonl", excluded, out / "left-out.jsonl")
    clapnq_questions = _sample(examples.clapnq(data / "clapnq", "test"), sample_size)

    run = _PairedRun(out, adapter, settings)
    answerable_results = run.ask(squad / "articles.jsonl", answerable)
    unanswerable_results = run.ask(squad / "articles.jsonl", unanswerable)
    left_out_results = run.ask(remaining, left_out)
    clapnq_results = run.ask(data / "clapnq" / "articles.jsonl", clapnq_questions)
    clapnq_answerable = [result for result in clapnq_results if result.question.answers]
    clapnq_unanswerable = [result for result in clapnq_results if not result.question.answers]

    rows = [
        *_answer_rows("squad2", answerable_results),
        *_kind_rows(answerable_results),
        ("squad2, left out: refused", *_means(left_out_results, _is_refused)),
        ("squad2, unanswerable: refused", *_means(unanswerable_results, _is_refused)),
        (
            "squad2, balanced accuracy with these",
            *_balanced_accuracy(answerable_results, unanswerable_results),
        ),
        *_answer_rows("clapnq", clapnq_answerable),
        (
            "clapnq, balanced accuracy",
            *_balanced_accuracy(clapnq_answerable, clapnq_unanswerable),
        ),
    ]
    print(
        f"{len(answerable_results)} answerable, {len(unanswerable_results)} unanswerable,"
        f" {len(left_out_results)} left out, {len(clapnq_results)} of clapnq\n"
    )
    print("| measure | adapter off | on |\n| --- | --- | --- |")
    for name, off, on in rows:
        print(f"| {name} | {off:.3f} | {on:.3f} |")


class _PairedRun:
    """Asks each question twice: without and with the adapter."""

    def __init__(self, out: Path, adapter: Path, settings: Settings) -> None:
        self._out = out
        self._encoder = Encoder.from_settings(settings)
        name = settings.generator
        file = generator_file(name, settings.cache)
        self._generators = [
            LlamaGenerator(name, file, settings.cache, settings.threads, adapter_file)
            for adapter_file in (None, adapter)
        ]

    def ask(self, articles: Path, questions: Sequence[TrainingQuestion]) -> list[PairedResult]:
        """Return the results of the questions; the two generators take turns in being first."""
        index = examples.build_index(articles, self._out)
        results = []
        with IndexReader.open(index, encoder=self._encoder.id) as reader:
            chatbots = [Chatbot(reader, self._encoder, generator) for generator in self._generators]
            for chatbot in chatbots:
                chatbot.load()
                list(chatbot.ask("What is read before anything is timed?"))
            progress = track(questions, f"Asking {articles.parent.name}")
            for number, question in enumerate(progress):
                order = (0, 1) if number % 2 else (1, 0)
                answers = {i: list(chatbots[i].ask(question.question))[-1] for i in order}
                drafts = {i: self._draft(chatbots[i], question, answers[i]) for i in order}
                results.append(
                    PairedResult(question, (answers[0], answers[1]), (drafts[0], drafts[1]))
                )
        return results

    def _draft(self, chatbot: Chatbot, question: TrainingQuestion, answer: Answer) -> str:
        query = SearchQuery(question.question)
        evidence = score_sentences(query, answer.hits, self._encoder, chatbot.index.idf)
        generator = chatbot._generator
        prompt = compose_prompt(query, evidence, generator, self._encoder)
        *_, extractive_answer = (None, *generator.short_answer(prompt.messages))
        if extractive_answer is not None:
            return extractive_answer.text
        return prompts.split_reasoning("".join(generator.stream(prompt.messages)))[1]


def _sample(questions: list[TrainingQuestion], size: int) -> list[TrainingQuestion]:
    return random.Random(SEED).sample(questions, min(size, len(questions)))


def _write_remaining(articles: Path, excluded: Iterable[str], file: Path) -> Path:
    """Write the articles without the excluded ones to a file, and return it."""
    rows = map(json.loads, articles.read_text(encoding="utf-8").splitlines())
    remaining = [row for row in rows if row["id"] not in excluded]
    file.write_text("".join(json.dumps(row) + "\n" for row in remaining), encoding="utf-8")
    return file


# -- measures: functions of a result and of 0 (without the adapter) or 1 (with it)

Measure = Callable[[PairedResult, int], float]


def _is_refused(result: PairedResult, i: int) -> bool:
    return result.answers[i].mode is Mode.REFUSED


def _is_right(result: PairedResult, i: int) -> bool:
    text = result.answers[i].text
    return not _is_refused(result, i) and contains_answer(text, result.question.answers)


def _is_wrong(result: PairedResult, i: int) -> bool:
    return not _is_refused(result, i) and not _is_right(result, i)


def _is_draft_right(result: PairedResult, i: int) -> bool:
    return contains_answer(result.drafts[i], result.question.answers)


def _best_f1(result: PairedResult, i: int) -> float:
    text = "" if _is_refused(result, i) else result.answers[i].text
    return max(f1(text, answer) for answer in result.question.answers)


def _means(results: Sequence[PairedResult], measure: Measure) -> tuple[float, float]:
    """Return the mean of a measure, without and with the adapter."""
    off, on = (mean(float(measure(r, i)) for r in results) if results else 0.0 for i in (0, 1))
    return off, on


def _answer_rows(name: str, results: Sequence[PairedResult]) -> list[tuple[str, float, float]]:
    seconds = [median(r.answers[i].timings.total_s for r in results) for i in (0, 1)]
    return [
        (f"{name}, draft right", *_means(results, _is_draft_right)),
        (f"{name}, right", *_means(results, _is_right)),
        (f"{name}, wrong", *_means(results, _is_wrong)),
        (f"{name}, F1", *_means(results, _best_f1)),
        (f"{name}, median seconds", *seconds),
    ]


def _kind_rows(results: Sequence[PairedResult]) -> list[tuple[str, float, float]]:
    by_kind: dict[str, list[PairedResult]] = {}
    for result in results:
        by_kind.setdefault(_question_kind(result.question.question), []).append(result)
    return [
        (f"squad2, draft right, {kind} ({len(group)})", *_means(group, _is_draft_right))
        for kind, group in sorted(by_kind.items())
    ]


def _question_kind(question: str) -> str:
    for kind, pattern in QUESTION_KINDS.items():
        if re.search(pattern, question, re.I):
            return kind
    return "other"


def _balanced_accuracy(
    answerable: Sequence[PairedResult], unanswerable: Sequence[PairedResult]
) -> tuple[float, float]:
    """Return the mean of the shares of answerable questions answered and of others refused."""
    wrongly_refused = _means(answerable, _is_refused)
    rightly_refused = _means(unanswerable, _is_refused)
    off, on = (
        (1 - wrong + right) / 2
        for wrong, right in zip(wrongly_refused, rightly_refused, strict=True)
    )
    return off, on
