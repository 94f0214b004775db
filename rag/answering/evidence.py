"""Evidence: the sentences of the hits that answer a question, and the answer within each.

The reader reads the question with each hit (see `rag.models.reading`). The probability that a sentence
answers the question follows from what the reader finds in the passage and in the sentence, from the
score of retrieval, and from the words that question and sentence share. The weights were fitted on one
set of questions; docs/training.md reports how, and what each feature contributes.
"""

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, log
from typing import NamedTuple

from rag.answering.answer_type import AnswerType
from rag.answering.temporal import apply_time_constraints
from rag.models.reading.reader import AnswerSpan, PassageReading, ReadablePassage, Reader
from rag.text.chunking import full_heading
from rag.text.sentences import sentences
from rag.text.tokens import PRONOUNS, QUESTION_WORDS, Idf, terms, words
from rag.types import ArticleRef, Evidence, Excerpt, Hit, SearchQuery, excerpt_part


class Features(NamedTuple):
    """What the probability that a sentence answers a question follows from.

    Attributes:
        reader_log_odds: The reader's log odds that the passage answers.
        log_share: Natural logarithm of the share of the reader's spans that begin in the sentence.
        retrieval: The passage's score, 0 to 1.
        term_overlap: Share of the question's terms near the sentence, weighted by IDF.
        bigram_overlap: Share of the question's pairs of terms in the sentence.
    """

    reader_log_odds: float
    log_share: float
    retrieval: float
    term_overlap: float
    bigram_overlap: float


WEIGHTS = Features(
    reader_log_odds=0.19,
    log_share=0.5,
    retrieval=2.25,
    term_overlap=1.72,
    bigram_overlap=1.88,
)
"""Weights of the logistic regression."""

BIAS = -4.2

MAX_LOG_ODDS = 12.0
"""Bound on the absolute value of the reader's log odds."""

MIN_LOG_SHARE = -6.0
"""Logarithm of the share of the reader's spans of a sentence in which none begins."""

MIN_REPEATED_WORDS = 4
"""Length of a question from which on a sentence that contains it verbatim is taken to repeat it."""

DISAGREEMENT_MARGIN = 0.3
"""Distance from the best score within which another article's figure or date counts as disagreeing."""

# Words before a figure that belong to the answer: "160" for "more than 160" would be wrong.
_QUALIFIER = re.compile(
    r"(?:\b(?:(?:more|less|fewer|greater|higher|lower|better) than|at (?:least|most)|up to"
    r"|no (?:more|fewer) than|about|around|approximately|roughly|nearly|almost|over|under|some"
    r"|as many as|an? estimated|estimated at|just (?:over|under)|well over|only)\s+"
    r"|[$€£¥]\s?|\b(?:US|A|C|HK)\$\s?)+\Z",
    re.IGNORECASE,
)
# What a figure counts or measures, where the span ends before it.
_UNIT = re.compile(
    r"\A(?:\s?(?:%|°C|°F|km|kg|mph)\b|\s?%"
    r"|\s(?:per ?cent|percent|hundred|thousand|million|billion|trillion|mln|bln"
    r"|metres?|meters?|kilometres?|kilometers?|miles?|feet|foot|inches|centimetres?"
    r"|degrees|tonnes?|tons|kilograms?"
    r"|years?|months?|weeks?|days?|hours?|minutes?|seconds?"
    r"|dollars?|euros?|pounds?|dlrs|cts|yen)\b)+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence of a passage.

    Attributes:
        start: Offset of its first character in the passage's text.
        nearby_terms: The terms of the heading, the sentence and both of its neighbours.
        preceding: The sentence before it, if it refers back to that one.
    """

    start: int
    excerpt: Excerpt
    nearby_terms: Set[str]
    preceding: Excerpt | None

    @property
    def end(self) -> int:
        return self.start + len(self.excerpt.text)


class Question:
    """The features of a question that are compared with those of every sentence.

    Args:
        text: The question with its context terms.
        idf: Inverse document frequencies of stems.
    """

    def __init__(self, text: str, idf: Idf) -> None:
        self._idf = idf(terms(text))
        self._bigrams = set(pairwise(terms(text)))

    def term_overlap(self, nearby_terms: Set[str]) -> float:
        """Return the share, weighted by IDF, of the question's terms that are among others."""
        total = sum(self._idf.values())
        shared = self._idf.keys() & nearby_terms
        return sum(self._idf[term] for term in shared) / total if total else 0.0

    def bigram_overlap(self, sentence: str) -> float:
        """Return the share of the question's pairs of neighbouring terms that a sentence has, too."""
        shared = self._bigrams & set(pairwise(terms(sentence)))
        return len(shared) / max(1, len(self._bigrams))


def find_evidence(
    query: SearchQuery, hits: Sequence[Hit], reader: Reader, idf: Idf
) -> list[Evidence]:
    """Read the hits, and score their sentences as answers to a query.

    Args:
        query: The query that the hits were retrieved for.
        hits: The hits to read.
        reader: Finds the answers.
        idf: Inverse document frequencies of stems.

    Returns:
        Each sentence once, best first, unless the question's time constraints demand another order
        (see `apply_time_constraints`). Sentences that repeat the question are left out.
    """
    text = f"{query.question} {query.context_text}".strip()
    readings = read_hits(text, hits, reader)
    question = Question(text, idf)
    best: dict[tuple[ArticleRef, int], Evidence] = {}  # neighbouring passages share sentences
    for hit, reading in zip(hits, readings, strict=True):
        for evidence in _score_sentences(question, hit, reading):
            sentence = evidence.sentence
            key = (sentence.article, sentence.start)
            if _repeats_question(sentence.text, query.question):
                continue
            if key not in best or best[key].score < evidence.score:
                best[key] = evidence
    ranked = sorted(best.values(), key=lambda evidence: -evidence.score)
    return apply_time_constraints(query.question, ranked)


def read_hits(question: str, hits: Sequence[Hit], reader: Reader) -> list[PassageReading]:
    """Return what the reader finds in each hit."""
    return reader.read(question, [readable_passage(hit.passage) for hit in hits])


def readable_passage(passage: Excerpt) -> ReadablePassage:
    """Return a passage with the heading of its article, as the reader reads it."""
    return ReadablePassage(full_heading(passage.title, passage.date), passage.text)


def _score_sentences(question: Question, hit: Hit, reading: PassageReading) -> Iterator[Evidence]:
    """Yield every sentence of a hit with its score and the best answer that begins in it."""
    for sentence, spans, features in sentence_features(question, hit, reading):
        log_odds = BIAS + sum(w * f for w, f in zip(WEIGHTS, features, strict=True))
        answer = _answer(hit.passage, sentence, spans[0]) if spans else None
        yield Evidence(1 / (1 + exp(-log_odds)), sentence.excerpt, sentence.preceding, answer)


def sentence_features(
    question: Question, hit: Hit, reading: PassageReading
) -> Iterator[tuple[_Sentence, list[AnswerSpan], Features]]:
    """Yield every sentence of a hit, the reader's spans that begin in it, and its features."""
    total = sum(span.probability for span in reading.spans) or 1.0
    for sentence in _sentences(hit.passage):
        spans = [span for span in reading.spans if sentence.start <= span.start < sentence.end]
        share = sum(span.probability for span in spans) / total
        text = sentence.excerpt.text
        yield (
            sentence,
            spans,
            Features(
                reader_log_odds=max(-MAX_LOG_ODDS, min(MAX_LOG_ODDS, reading.log_odds)),
                log_share=max(MIN_LOG_SHARE, log(share)) if share > 0 else MIN_LOG_SHARE,
                retrieval=hit.score,
                term_overlap=question.term_overlap(sentence.nearby_terms),
                bigram_overlap=question.bigram_overlap(text),
            ),
        )


def _answer(passage: Excerpt, sentence: _Sentence, span: AnswerSpan) -> Excerpt:
    """Return the answer, with the words before a figure that qualify it, and with its unit."""
    text = passage.text
    start, end = span.start, min(span.end, sentence.end)
    if any(character.isdigit() for character in text[start:end]):
        qualifier = _QUALIFIER.search(text, sentence.start, start)
        start = qualifier.start() if qualifier else start
        unit = _UNIT.match(text[end : sentence.end]) if text[end - 1].isdigit() else None
        end += unit.end() if unit else 0
    return excerpt_part(passage, start, end)


def disagree(question: str, best: Evidence, other: Evidence) -> bool:
    """Whether two articles give different answers to a question that asks for a date or a number."""
    answer_type = AnswerType.of(question)
    if answer_type not in (AnswerType.DATE, AnswerType.NUMBER):
        return False
    if other.score < best.score - DISAGREEMENT_MARGIN:
        return False
    if best.sentence.article == other.sentence.article:
        return False
    question_words = set(words(question))
    best_answers = answer_type.words_in(best.sentence.text) - question_words
    other_answers = answer_type.words_in(other.sentence.text) - question_words
    if not best_answers or not other_answers or not best_answers.isdisjoint(other_answers):
        return False
    return _same_subject(best.sentence.text, other.sentence.text)


def _same_subject(first: str, second: str) -> bool:
    """Whether two sentences share at least half of the terms of the shorter one."""
    first_terms, second_terms = set(terms(first)), set(terms(second))
    shared = len(first_terms & second_terms)
    return 2 * shared >= min(len(first_terms), len(second_terms))


def _repeats_question(sentence: str, question: str) -> bool:
    """Whether a sentence contains the question verbatim, and so does not answer it.

    An article may contain a question next to a false answer in order to have that taken for the answer.
    """
    question_words = words(question)
    if len(question_words) < MIN_REPEATED_WORDS or question_words[0] not in QUESTION_WORDS:
        return False
    return f" {' '.join(question_words)} " in f" {' '.join(words(sentence))} "


def _sentences(passage: Excerpt) -> Iterator[_Sentence]:
    spans = list(sentences(passage.text))
    texts = ["", *(passage.text[start:end] for start, end in spans), ""]  # each has two neighbours
    sentence_terms = [terms(text) for text in texts]
    heading_terms = terms(full_heading(passage.title, passage.date))
    for number, (start, end) in enumerate(spans, start=1):
        text = texts[number]
        preceding = None
        if number > 1 and not PRONOUNS.isdisjoint(words(text)[:2]):
            preceding = excerpt_part(passage, *spans[number - 2])
        yield _Sentence(
            start=start,
            excerpt=replace(
                excerpt_part(passage, start, end), duplicates=_duplicates(passage, text)
            ),
            nearby_terms=set().union(heading_terms, *sentence_terms[number - 1 : number + 2]),
            preceding=preceding,
        )


def _duplicates(passage: Excerpt, text: str) -> tuple[Excerpt, ...]:
    """The sentence in the passage's duplicates, where these contain it verbatim."""
    offsets = ((duplicate, duplicate.text.find(text)) for duplicate in passage.duplicates)
    return tuple(
        excerpt_part(duplicate, offset, offset + len(text))
        for duplicate, offset in offsets
        if offset >= 0
    )
