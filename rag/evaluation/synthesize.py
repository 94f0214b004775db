"""Synthetic questions: questions generated from the articles themselves, to start an evaluation with.

A sentence becomes a question by replacing a figure, date or name in it with what asks for that ("The
tower cost how many million euros?"). A question becomes unanswerable by replacing the name in it with
another article's.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np

from rag.evaluation.dataset import EvalQuestion
from rag.store.reader import IndexReader
from rag.text.dates import MONTH_PATTERN
from rag.text.sentences import sentences
from rag.text.tokens import PRONOUNS, STOP_WORDS, terms, words
from rag.types import Article, Question

SEED = 7
"""Seed of the random choices: the same articles give the same questions."""

MAX_SENTENCE_CHARACTERS = 200
"""Maximum length of a sentence that is made into a question."""

MIN_SENTENCE_TERMS = 5
"""Minimum number of different terms in such a sentence."""

_MONTH = rf"(?:{MONTH_PATTERN})"
# "3 May", "3 May 2019", "May 3, 2019", "May 2019", "2019"
_DATE = (
    rf"\d{{1,2}} {_MONTH}(?: \d{{4}})?|{_MONTH} \d{{1,2}}(?:, \d{{4}})?|{_MONTH} \d{{4}}|\d{{4}}"
)
# A name of two or more capitalised words: "Ines Valls", "Bank of England"
_NAME = r"[A-Z]\w+(?: (?:of |the )?[A-Z]\w+)+"
# What can be asked for, and the words that replace it; the first that matches is asked for.
_PATTERNS = (
    # A date after a preposition, which is replaced as well: "in May 2019"
    (re.compile(rf"\b(?:on|in|since|until|by) (?P<answer>{_DATE})\b", re.IGNORECASE), "when"),
    # A percentage: "12.5 %"
    (re.compile(r"(?P<answer>\d+(?:[.,]\d+)*) ?(?:%|per ?cent\b)"), "what percentage"),
    # A figure before a word in lower case, but no amount of money and no range: "37 metres"
    (
        re.compile(r"(?<![\w.,$€£])(?P<answer>\d+(?:[.,]\d+)*)(?= [a-z]{3,})(?! to\b)"),
        "how many",
    ),
    # A name within the sentence
    (re.compile(rf"(?<=[a-z] )(?:the )?(?P<answer>{_NAME})\b"), "who or what"),
)


@dataclass(frozen=True, slots=True)
class SyntheticQuestion:
    """A question generated from a sentence.

    Attributes:
        answer: What the sentence says instead of `question_words`.
        question_words: What the question asks with: "when", "how many", …
    """

    question: str
    answer: str
    question_words: str


def generate_question(sentence: str) -> SyntheticQuestion | None:
    """Generate a question from a sentence.

    Returns:
        The question, or None if the sentence contains no date, figure or name to ask for, is too long
        or too short, or begins with a pronoun.
    """
    if len(sentence) > MAX_SENTENCE_CHARACTERS or len(set(terms(sentence))) < MIN_SENTENCE_TERMS:
        return None
    if words(sentence)[0] in PRONOUNS:
        return None
    for pattern, question_words in _PATTERNS:
        match = pattern.search(sentence)
        if match:
            question = f"{sentence[: match.start()]}{question_words}{sentence[match.end() :]}"
            return SyntheticQuestion(
                f"{question.rstrip(' .!;:')}?", match["answer"], question_words
            )
    return None


def draft(index: IndexReader, limit: int) -> Iterator[EvalQuestion]:
    """Yield at most `limit` questions, alternately answerable and unanswerable by the index."""
    remaining = limit
    sampled = _sample_sentences(index, limit)
    for (article, sentence), (other_article, _) in pairwise(sampled):
        synthetic = generate_question(sentence)
        if synthetic is None or remaining < 1:
            break
        question = Question(synthetic.question)
        yield EvalQuestion(question, (synthetic.answer,), {article.id: 1})
        remaining -= 1
        unanswerable = _with_name_of(other_article, synthetic.question, index)
        if unanswerable is not None and remaining:
            yield EvalQuestion(Question(unanswerable), unanswerable=True)
            remaining -= 1


def partial_recall_questions(index: IndexReader, limit: int) -> Iterator[EvalQuestion]:
    """Yield at most `limit` questions that contain only half of a sentence's words, chosen at random.

    They resemble what users ask: these questions are about as similar to the sentences that answer them.
    """
    rng = np.random.default_rng(SEED)
    for article, sentence in islice(_sample_sentences(index, limit), limit):
        synthetic = generate_question(sentence)
        if synthetic:
            content = [word for word in words(synthetic.question) if word not in STOP_WORDS]
            kept = sorted(rng.choice(len(content), (len(content) + 1) // 2, replace=False))
            question = f"{synthetic.question_words} {' '.join(content[i] for i in kept)}?"
            yield EvalQuestion(Question(question), (synthetic.answer,), {article.id: 1})


def _sample_sentences(index: IndexReader, limit: int) -> Iterator[tuple[Article, str]]:
    """Yield articles of a sample, each with its first sentence that makes a question."""
    for article in index.sample(2 * limit):
        texts = (article.text[start:end] for start, end in sentences(article.text))
        sentence = next((text for text in texts if generate_question(text)), None)
        if sentence:
            yield article, sentence


def _with_name_of(other: Article, question: str, index: IndexReader) -> str | None:
    """Replace the question's first name by that of another article.

    Returns:
        The question, or None if there are no names, or some passage contains both.
    """
    name = re.search(_NAME, question)
    other_name = re.search(_NAME, other.text)
    if name is None or other_name is None:
        return None
    if index.passages_containing([name[0], other_name[0]]):
        return None
    return question.replace(name[0], other_name[0])
