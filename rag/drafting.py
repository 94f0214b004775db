"""Questions drafted from the articles themselves, to begin an evaluation with.

A sentence is asked for one of its figures, dates or names ("The tower cost how many million
euros?"). Exchanged for another article's name, what the question is about is told nowhere.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np

from rag.datatypes import Article, Question
from rag.index import PassageIndex
from rag.language import LEANING, STOP_WORDS, sentences, terms, words
from rag.questions import Expected

SEED = 7
"""The same articles give the same questions."""

LONGEST, LEAST_TERMS = 200, 5
"""Characters, and words that carry meaning, of a sentence that makes a question."""

_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_DATE = (
    rf"\d{{1,2}} {_MONTH}(?: \d{{4}})?|{_MONTH} \d{{1,2}}(?:, \d{{4}})?|{_MONTH} \d{{4}}|\d{{4}}"
)
_NAME = r"[A-Z]\w+(?: (?:of |the )?[A-Z]\w+)+"
# What is asked for, how it is found, and what stands in its place.
_KINDS = (
    (re.compile(rf"\b(?:on|in|since|until|by) (?P<answer>{_DATE})\b", re.IGNORECASE), "when"),
    (re.compile(r"(?P<answer>\d+(?:[.,]\d+)*) ?(?:%|per ?cent\b)"), "what percentage"),
    (
        re.compile(r"(?<![\w.,$€£])(?P<answer>\d+(?:[.,]\d+)*)(?= [a-z]{3,})(?! to\b)"),
        "how many",
    ),
    (re.compile(rf"(?<=[a-z] )(?:the )?(?P<answer>{_NAME})\b"), "who or what"),
)


@dataclass(frozen=True, slots=True)
class Drafted:
    """A question that a sentence answers."""

    question: str
    answer: str
    asks: str


def asking(sentence: str) -> Drafted | None:
    """What asks for a figure, a date or a name of the sentence; None when it holds none to ask for."""
    said = words(sentence)
    if len(sentence) > LONGEST or len(set(terms(sentence))) < LEAST_TERMS or said[0] in LEANING:
        return None
    for kind, asked in _KINDS:
        found = kind.search(sentence)
        if found:
            question = f"{sentence[: found.start()]}{asked}{sentence[found.end() :]}"
            return Drafted(f"{question.rstrip(' .!;:')}?", found["answer"], asked)
    return None


def draft(index: PassageIndex, most: int) -> Iterator[Expected]:
    """Up to `most` questions on the index's articles: by turns one answered and one told nowhere."""
    left = most
    drafted = _drafted(index, most)
    for (article, sentence), (other, _) in pairwise(drafted):
        question = asking(sentence)
        if question is None or left < 1:
            break
        yield Expected(Question(question.question), (question.answer,), {article.id: 1})
        left -= 1
        elsewhere = _told_of_another(index, question.question, other)
        if elsewhere is not None and left:
            yield Expected(Question(elsewhere), unanswerable=True)
            left -= 1


def recalled(index: PassageIndex, most: int) -> Iterator[Expected]:
    """Up to `most` questions in half of a sentence's words, as they come to who recalls only those.

    A user's questions are about as near to the sentences that answer them.
    """
    drawn = np.random.default_rng(SEED)
    for article, sentence in islice(_drafted(index, most), most):
        found = asking(sentence)
        if found:
            told = [word for word in words(found.question) if word not in STOP_WORDS]
            places = sorted(drawn.choice(len(told), (len(told) + 1) // 2, replace=False))
            question = f"{found.asks} {' '.join(told[place] for place in places)}?"
            yield Expected(Question(question), (found.answer,), {article.id: 1})


def _drafted(index: PassageIndex, most: int) -> Iterator[tuple[Article, str]]:
    """Articles, each with its first sentence that makes a question."""
    for article in index.sample(2 * most):
        told = (article.text[start:end] for start, end in sentences(article.text))
        sentence = next((text for text in told if asking(text)), None)
        if sentence:
            yield article, sentence


def _told_of_another(index: PassageIndex, question: str, other: Article) -> str | None:
    """The question with its name exchanged for one of `other`, if no passage holds the two."""
    here = re.search(_NAME, question)
    there = re.search(_NAME, other.text)
    if here is None or there is None or index.holding([here[0], there[0]]):
        return None
    return question.replace(here[0], there[0])
