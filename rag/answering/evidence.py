"""Evidence scoring: which sentences of the hits answer a question, and how probably.

Question and sentence are compared by their contextual token vectors (late interaction; Khattab and
Zaharia 2020, "ColBERT"), which the encoder computes anyway, and by a few lexical features. The weights
were fitted on one question set; docs/measurements.md reports what each feature contributes.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp

from rag.answering.answer_type import AnswerType
from rag.answering.temporal import apply_time_constraints
from rag.models.embedding.encoder import Encoder, TokenVectors
from rag.models.embedding.vectors import normalize
from rag.text.chunking import encoded_text, heading_formatter
from rag.text.sentences import sentences
from rag.text.tokens import PRONOUNS, QUESTION_WORDS, Idf, terms, words
from rag.types import ArticleRef, Evidence, Excerpt, Hit, SearchQuery

# Weights of the features of a sentence in the logistic regression.
_TOKEN_SIMILARITY = 21.1
_SENTENCE_SIMILARITY = 4.2
_TERM_OVERLAP = 6.3
_BIGRAM_OVERLAP = 2.5
_ANSWER_TYPE = 0.94
_BIAS = -18.8

_TEMPERATURE = 0.6
"""Scale of the log odds: the weights were fitted for ranking, and are overconfident as probabilities."""

MIN_SECOND_ODDS = 0.4
"""Odds of the second-best sentence, relative to the best one's, from which on it is quoted as well."""

MAX_QUOTED_WORDS = 60
"""Maximum length of two quotations together."""

MIN_REPEATED_WORDS = 4
"""Length of a question from which on a sentence that contains it verbatim is taken to repeat it."""

DISAGREEMENT_MARGIN = 0.3
"""Distance from the best score within which another article's figure or date counts as disagreeing."""


@dataclass(frozen=True, slots=True)
class _CandidateSentence:
    """A sentence of a hit, with the features that need its passage.

    Attributes:
        offset: Where the sentence begins in its passage.
        terms: The terms of the sentence.
        nearby_terms: The terms of the title, the sentence and both of its neighbours.
        preceding: The sentence before it, if it refers back to that one.
    """

    sentence: Excerpt
    offset: int
    terms: list[str]
    nearby_terms: set[str]
    preceding: Excerpt | None


def score_sentences(
    query: SearchQuery, hits: Sequence[Hit], encoder: Encoder, idf: Idf
) -> list[Evidence]:
    """Score the sentences of the hits as answers to a query.

    Args:
        query: The query that the hits were retrieved for.
        hits: The hits whose sentences are scored.
        encoder: The encoder that supplies the token vectors.
        idf: Inverse document frequencies of stems.

    Returns:
        Each sentence once, best first, unless the question's time constraints demand another order
        (see `apply_time_constraints`). Sentences that repeat the question are left out.
    """
    if not hits:
        return []
    query_text = f"{query.question} {query.context_text}".strip()
    heading_of = heading_formatter(encoder.count_tokens, encoder.max_tokens)
    hit_headings = [heading_of(hit.passage.title, hit.passage.date) for hit in hits]
    texts = [
        encoded_text(heading, hit.passage.text)
        for heading, hit in zip(hit_headings, hits, strict=True)
    ]
    query_vectors, *passage_vectors = encoder.encode_tokens([query_text, *texts])
    scorer = _EvidenceScorer(query_text, query_vectors, idf(terms(query_text)))
    best: dict[tuple[ArticleRef, int], Evidence] = {}  # neighbouring passages share sentences
    for hit, heading, vectors in zip(hits, hit_headings, passage_vectors, strict=True):
        heading_length = len(encoded_text(heading, ""))
        for candidate in _candidate_sentences(hit.passage):
            if _repeats_question(candidate.sentence.text, query.question):
                continue
            score = scorer.score(candidate, vectors, heading_length)
            key = (candidate.sentence.article, candidate.sentence.start)
            if key not in best or best[key].score < score:
                best[key] = Evidence(score, candidate.sentence, candidate.preceding)
    ranked = sorted(best.values(), key=lambda evidence: -evidence.score)
    return apply_time_constraints(query.question, ranked)


def select_quotes(query: SearchQuery, evidence: Sequence[Evidence]) -> list[Evidence]:
    """Select the evidence that is worth quoting: the best, and possibly one more.

    If another article disagrees about the date or figure asked for, both are returned, newest first.
    Otherwise the next sentence with a different text is added if it is about as good, and the two are
    short enough.

    Args:
        query: The query.
        evidence: At least one item, best first.
    """
    best, *others = evidence
    opposing = next((other for other in others if disagree(query.question, best, other)), None)
    if opposing:
        return sorted([best, opposing], key=lambda item: item.sentence.date or "", reverse=True)
    best_words = words(best.sentence.text)
    second = next((item for item in others if words(item.sentence.text) != best_words), None)
    if second is None or _odds(second.score) < MIN_SECOND_ODDS * _odds(best.score):
        return [best]
    length = len(best_words) + len(words(second.sentence.text))
    return [best, second] if length <= MAX_QUOTED_WORDS else [best]


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


def _odds(probability: float) -> float:
    return probability / max(1e-9, 1 - probability)


def _repeats_question(sentence: str, question: str) -> bool:
    """Whether a sentence contains the question verbatim, and so does not answer it.

    An article may contain a question next to a false answer in order to have that taken for the answer.
    """
    question_words = words(question)
    if len(question_words) < MIN_REPEATED_WORDS or question_words[0] not in QUESTION_WORDS:
        return False
    return f" {' '.join(question_words)} " in f" {' '.join(words(sentence))} "


class _EvidenceScorer:
    """Logistic regression over features of a sentence and one query."""

    def __init__(self, query_text: str, tokens: TokenVectors, idf: Mapping[str, float]) -> None:
        """Prepare the query's features.

        Args:
            query_text: The question with its context terms.
            tokens: Its token vectors.
            idf: The inverse document frequency of each of its terms.
        """
        self._query_text = query_text
        self._token_vectors = tokens.vectors
        self._mean_vector = normalize(tokens.vectors.sum(axis=0))
        self._idf = idf
        self._bigrams = set(pairwise(terms(query_text)))
        self._answer_type = AnswerType.of(query_text)

    def score(
        self, candidate: _CandidateSentence, passage: TokenVectors, heading_length: int
    ) -> float:
        """Return the probability, 0 to 1, that the sentence answers the query.

        Args:
            candidate: The sentence.
            passage: The token vectors of its passage, heading included.
            heading_length: Characters before the passage's text in what was encoded.
        """
        text = candidate.sentence.text
        start = heading_length + candidate.offset
        vectors = passage.between(start, start + len(text))
        if not len(vectors) or not len(self._token_vectors):
            return 0.0
        log_odds = (
            _TOKEN_SIMILARITY * float((self._token_vectors @ vectors.T).max(axis=1).mean())
            + _SENTENCE_SIMILARITY * float(self._mean_vector @ normalize(vectors.sum(axis=0)))
            + _TERM_OVERLAP * _idf_share(self._idf, candidate.nearby_terms)
            + _BIGRAM_OVERLAP * self._shared_bigrams(candidate.terms) / max(1, len(self._bigrams))
            + _ANSWER_TYPE * self._answer_type_match(text)
            + _BIAS
        )
        return 1 / (1 + exp(-_TEMPERATURE * log_odds))

    def _shared_bigrams(self, sentence_terms: Sequence[str]) -> int:
        return len(self._bigrams & set(pairwise(sentence_terms)))

    def _answer_type_match(self, text: str) -> float:
        if self._answer_type is None:
            return 0.5
        return float(self._answer_type.answered_by(text, self._query_text))


def _idf_share(idf: Mapping[str, float], nearby_terms: Set[str]) -> float:
    """The share, weighted by IDF, of the query's terms that are among `nearby_terms`."""
    total = sum(idf.values())
    return sum(idf[term] for term in idf.keys() & nearby_terms) / total if total else 0.0


def _candidate_sentences(passage: Excerpt) -> Iterator[_CandidateSentence]:
    spans = list(sentences(passage.text))
    # Padded, so that every sentence has two neighbours.
    texts = ["", *(passage.text[start:end] for start, end in spans), ""]
    title_terms = terms(passage.title)
    sentence_terms = [terms(text) for text in texts]
    for number, (start, _) in enumerate(spans, start=1):
        text = texts[number]
        sentence = replace(_part(passage, start, text), duplicates=_duplicates(passage, text))
        preceding = None
        if number > 1 and not PRONOUNS.isdisjoint(words(text)[:2]):
            preceding = _part(passage, spans[number - 2][0], texts[number - 1])
        yield _CandidateSentence(
            sentence=sentence,
            offset=start,
            terms=sentence_terms[number],
            nearby_terms=set().union(title_terms, *sentence_terms[number - 1 : number + 2]),
            preceding=preceding,
        )


def _duplicates(passage: Excerpt, text: str) -> tuple[Excerpt, ...]:
    """The sentence in the passage's duplicates, where these contain it verbatim."""
    offsets = ((duplicate, duplicate.text.find(text)) for duplicate in passage.duplicates)
    return tuple(_part(duplicate, offset, text) for duplicate, offset in offsets if offset >= 0)


def _part(passage: Excerpt, offset: int, text: str) -> Excerpt:
    start = passage.start + offset
    return replace(passage, start=start, end=start + len(text), text=text)
