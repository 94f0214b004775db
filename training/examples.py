"""Training examples: questions, the facts retrieved for them, and the expected answers.

The facts are retrieved and ranked as for a user's question, from whole articles, so that the examples
contain the mistakes of retrieval as well.
"""

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rag.answering.evidence import score_sentences
from rag.answering.retriever import DEFAULT_TOP_K, Retriever
from rag.models.embedding.encoder import Encoder
from rag.models.generation.prompts import DECLINED, EXTRACTIVE, compose
from rag.store.reader import IndexReader
from rag.text.tokens import words
from rag.types import Evidence, Excerpt, SearchQuery

Row = dict[str, Any]
Split = Literal["train", "test"]

SEED = 7

FACT_COUNTS = (1, 2, 2, 2, 3, 3, 3, 4, 5, 8)
"""Number of facts in an example; one of these is drawn."""

WIDE_TOP_K = 40
"""Passages retrieved when the articles with the answer are excluded from the results."""

MAX_WHOLE_ANSWER_WORDS, PARTIAL_ANSWER_WORDS = 16, 12
"""Words of the longest answer that is learnt whole, and words that are learnt of a longer one."""

YES_NO = ("Yes", "No")
"""Answers that are accepted although the text does not contain them."""

SHUFFLED_SHARE, MISSED_SHARE, CONFLICT_SHARE, WIRE_STYLE_SHARE = 0.3, 0.3, 0.1, 0.12
"""Shares of examples: with facts in random order; without any answering fact, of those whose answer
was ranked too low; with a contradicting second article, of those with a figure; in the style of news
wires, which are lower-cased with spaces around punctuation."""

EXAMPLES_PER_QUESTION = {
    "answered": 3.0,
    "deceiving": 1.5,
    "left out": 0.5,
    "swapped": 0.5,
    "elsewhere": 0.1,
}
"""Examples that a question yields on average, by category. docs/training.md explains the numbers."""


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and the expected completion.

    Attributes:
        content: The user's message.
        target: The expected answer, or its beginning.
        whole: Whether the model is to stop after the target.
        answers: All correct answers; empty if no fact contains one.
    """

    id: str
    teaches: str
    content: str
    target: str
    whole: bool
    question: str
    answers: tuple[str, ...]


class TrainingQuestion(NamedTuple):
    """A question with its answers, and the articles and the passage that contain them."""

    id: str
    question: str
    answers: tuple[str, ...]
    articles: frozenset[str]
    passage: str

    def find_answer(self, fact: Excerpt) -> str | None:
        """Return the first answer in a fact, if the fact is from the expected passage."""
        if fact.article_id not in self.articles or _normalize(fact.text) not in _normalize(
            self.passage
        ):
            return None
        return next((a for a in self.answers if a in fact.text or a in YES_NO), None)


class EvidenceFinder:
    """Retrieves and ranks sentences for a question, as Footnote does."""

    def __init__(self, index: IndexReader, encoder: Encoder) -> None:
        self._index = index
        self._encoder = encoder
        self._retriever = Retriever(index, encoder)

    def evidence(self, question: str, excluded: frozenset[str] = frozenset()) -> list[Evidence]:
        """Return the evidence, best first, without that of the `excluded` articles."""
        query = SearchQuery(question)
        hits = self._retriever.retrieve(query, WIDE_TOP_K if excluded else DEFAULT_TOP_K)
        kept = [hit for hit in hits if hit.passage.article_id not in excluded][:DEFAULT_TOP_K]
        return score_sentences(query, kept, self._encoder, self._index.idf)

    def facts(self, question: str, excluded: frozenset[str] = frozenset()) -> list[Excerpt]:
        return [evidence.sentence for evidence in self.evidence(question, excluded)]


def squad(data: Path, split: Split) -> list[TrainingQuestion]:
    """Return the questions of SQuAD 2.0; every other title is in the training split."""
    passages = {row["id"]: row["text"] for row in _read_rows(data / "passages.jsonl")}
    questions = [row for row in _read_rows(data / "questions.jsonl") if row.get("passage_ids")]
    train_titles = set(sorted({row["article_ids"][0] for row in questions})[::2])
    return [
        TrainingQuestion(
            row["id"],
            row["question"],
            tuple(row["answers"]),
            frozenset(row["article_ids"]),
            passages[row["passage_ids"][0]],
        )
        for row in questions
        if (row["article_ids"][0] in train_titles) is (split == "train")
    ]


def clapnq(data: Path, split: Split) -> list[TrainingQuestion]:
    """Return those of ClapNQ, answered by their evidence; every other one is in the training split."""
    questions = sorted(_read_rows(data / "questions.jsonl"), key=lambda row: str(row["id"]))
    return [
        TrainingQuestion(
            row["id"],
            row["question"],
            tuple(row.get("evidence") or ()),
            frozenset(row.get("article_ids") or ()),
            " ".join(row.get("evidence") or ()),
        )
        for row in questions[0 if split == "train" else 1 :: 2]
    ]


def samples(file: Path) -> list[TrainingQuestion]:
    """Return the project's own questions on the sample articles, all of them for training."""
    return [
        TrainingQuestion(
            f"samples-{position}",
            row["question"],
            (row["answer"],) if "answer" in row else (),
            frozenset([f"{row['article']}.md"]),
            row.get("sentence", ""),
        )
        for position, row in enumerate(_read_rows(file))
    ]


def build_examples(
    finder: EvidenceFinder, questions: Sequence[TrainingQuestion]
) -> Iterator[Example]:
    """Yield the examples of a dataset's questions, the same ones on every run."""
    rng = random.Random(SEED)
    for question in questions:
        facts = finder.facts(question.question)
        if not question.answers:
            for _ in _repeat(rng, "deceiving"):
                yield _build_unanswerable("deceiving", question, facts, rng)
            continue
        for _ in _repeat(rng, "answered"):
            if example := _build_answerable(question, facts, rng):
                yield example
        for _ in _repeat(rng, "left out"):
            other_facts = finder.facts(question.question, question.articles)
            yield _build_unanswerable("left out", question, other_facts, rng)
        for _ in _repeat(rng, "elsewhere"):
            other = rng.choice(questions)
            if other.articles.isdisjoint(question.articles):
                yield _build_unanswerable("elsewhere", question, finder.facts(other.question), rng)
        for _ in _repeat(rng, "swapped"):
            if swapped := _swap_entity(question, facts, rng):
                yield _build_unanswerable("swapped", swapped, finder.facts(swapped.question), rng)


def _repeat(rng: random.Random, category: str) -> range:
    """Return a range whose length is that of EXAMPLES_PER_QUESTION on average."""
    times = EXAMPLES_PER_QUESTION[category]
    return range(int(times) + (rng.random() < times % 1))


def _build_answerable(
    question: TrainingQuestion, facts: Sequence[Excerpt], rng: random.Random
) -> Example | None:
    """Return an example of the best facts with one that answers among them, or None if there is none.

    If the only answering fact is ranked lower, it replaces one of the best, or the question becomes an
    unanswerable example: the model sees both cases.
    """
    top_facts = list(facts[: rng.choice(FACT_COUNTS)])
    answering = [fact for fact in facts if question.find_answer(fact)]
    if not answering:
        return None
    if not any(question.find_answer(fact) for fact in top_facts):
        if any(_contains_any(fact, question.answers) for fact in top_facts):
            return None
        if rng.random() < MISSED_SHARE:
            return _build_example("missed", question, top_facts, None, rng)
        top_facts[rng.randrange(len(top_facts))] = answering[0]
    if rng.random() < SHUFFLED_SHARE:
        rng.shuffle(top_facts)
    answer_position = next(
        position for position, fact in enumerate(top_facts) if question.find_answer(fact)
    )
    conflict = _build_conflict(
        top_facts[answer_position], question.find_answer(top_facts[answer_position]) or "", rng
    )
    if conflict and rng.random() < CONFLICT_SHARE:
        top_facts.insert(rng.randint(answer_position + 1, len(top_facts)), conflict)
    return _build_example("answered", question, top_facts, answer_position, rng)


def _build_conflict(fact: Excerpt, answer: str, rng: random.Random) -> Excerpt | None:
    """Return the fact with another figure, as if from another article; the first of the two is right."""
    figure = re.search(r"\d+", answer)
    if figure is None:
        return None
    other = str(int(figure[0]) + rng.randint(1, 9))
    other_answer = answer.replace(figure[0], other)
    return replace(fact, article_id="rival", title="", text=fact.text.replace(answer, other_answer))


def _build_unanswerable(
    category: str, question: TrainingQuestion, facts: Sequence[Excerpt], rng: random.Random
) -> Example:
    top_facts = list(facts[: rng.choice(FACT_COUNTS)])
    if rng.random() < SHUFFLED_SHARE:
        rng.shuffle(top_facts)
    return _build_example(category, question, top_facts, None, rng)


def _build_example(
    category: str,
    question: TrainingQuestion,
    facts: Sequence[Excerpt],
    answer_position: int | None,
    rng: random.Random,
) -> Example:
    """Return an example answered by the fact at a position, or by none (None)."""
    answer = (
        DECLINED if answer_position is None else question.find_answer(facts[answer_position]) or ""
    )
    if rng.random() < WIRE_STYLE_SHARE:
        facts = [
            replace(f, text=_to_wire_style(f.text), title=_to_wire_style(f.title)) for f in facts
        ]
        answer = answer if answer_position is None else _to_wire_style(answer)
    answer_words = answer.split()
    whole = len(answer_words) <= MAX_WHOLE_ANSWER_WORDS
    prompt = compose(question.question, facts, EXTRACTIVE, lambda messages: 0, 1)
    return Example(
        id=question.id,
        teaches=category,
        content=prompt.messages[0]["content"],
        target=answer if whole else " ".join(answer_words[:PARTIAL_ANSWER_WORDS]),
        whole=whole,
        question=question.question,
        answers=() if answer_position is None else question.answers,
    )


def _swap_entity(
    question: TrainingQuestion, facts: Sequence[Excerpt], rng: random.Random
) -> TrainingQuestion | None:
    """Return the question with a name or figure replaced by another one of the facts, or None."""
    for pattern in rng.sample(_ENTITY_PATTERNS, len(_ENTITY_PATTERNS)):
        matches = [match for match in pattern.finditer(question.question) if match.start() > 0]
        entities = {name for fact in facts[:12] for name in pattern.findall(fact.text[1:])}
        known_text = " ".join([question.question, *question.answers])
        replacements = sorted(name for name in entities if name not in known_text)
        if matches and replacements:
            match = rng.choice(matches)
            before = question.question[: match.start()]
            after = question.question[match.end() :]
            return question._replace(
                id=f"{question.id}-swapped",
                question=f"{before}{rng.choice(replacements)}{after}",
                answers=(),
            )
    return None


_ENTITY_PATTERNS = (
    re.compile(r"\b[A-Z][a-z]{2,}(?: (?:of |the )?[A-Z][a-z]+)*"),
    re.compile(r"\b1\d{3}\b|\b20\d\d\b"),
    re.compile(r"\b(?:first|last|largest|smallest|before|after|north|south|east|west)\b"),
)


def _contains_any(fact: Excerpt, answers: Sequence[str]) -> bool:
    text = f" {_normalize(fact.text)} "
    return any(f" {_normalize(answer)} " in text for answer in answers)


def _to_wire_style(text: str) -> str:
    return " ".join(_MARK.sub(r" \g<0> ", text.lower()).split())


_MARK = re.compile(r"(?<!\d)[.,;:!?()\"“”]|[.,;:!?()\"“”](?!\d)")


@cache
def _normalize(text: str) -> str:
    return " ".join(words(text))


def _read_rows(file: Path) -> list[Row]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def build_index(articles: Path, out: Path) -> Path:
    """Return an index of the articles, built or updated in `out`."""
    index = out / f"index of {articles.parent.name} {articles.stem}"
    command = [sys.executable, "-m", "rag", "index", str(articles), "--index", str(index)]
    subprocess.run(command, check=True)
    return index


def write_examples(examples: Sequence[Example], file: Path) -> None:
    unfinished = file.with_suffix(".unfinished")
    with unfinished.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(asdict(example)) + "\n" for example in examples)
    unfinished.replace(file)
