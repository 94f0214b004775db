"""Hybrid retrieval: lexical (BM25) and dense search, fused, deduplicated and optionally reranked."""

from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from rag.answering.deduplication import merge_near_duplicates
from rag.answering.fusion import ScoredPassage, Scores, diversify, fuse, rerank
from rag.models.embedding.encoder import Encoder
from rag.models.embedding.vectors import normalize
from rag.models.reranker import Reranker
from rag.store.reader import IndexReader
from rag.text.dates import dates
from rag.text.tokens import phrases, quoted_phrases, stem
from rag.timing import Phase, PhaseTimer
from rag.types import ALL_ARTICLES, ArticleFilter, Hit, SearchQuery

# How these values were chosen is described in docs/measurements.md.

DEFAULT_TOP_K = 8
"""Number of passages in which an answer is looked for, and that are displayed beside it."""

MIN_CANDIDATES = 400
"""Minimum number of passages that each of the two searches contributes."""

CONTEXT_WEIGHT = 0.5
"""Weight of the conversation's context terms, relative to the question's own words and vector."""

MAX_QUERY_WORDS = 64
"""Number of words of a question that are searched for; further words are ignored."""

COMMON_SHARE = 1 / 8
"""Share of the passages that contain a word from which on it is too common to be searched for."""

MIN_COMMON_PASSAGES = 2500
"""Number of passages that contain a word up to which it is never too common: only in large indexes do
common words take long to search for, and they say little."""

EXTRA_CANDIDATES = 10
"""Candidates, beyond twice the number of hits wanted, among which near-duplicates are looked for."""


class Retriever:
    """Searches one index with one encoder, and a reranker if there is one."""

    def __init__(
        self, index: IndexReader, encoder: Encoder, reranker: Reranker | None = None
    ) -> None:
        self.index = index
        self.encoder = encoder
        self._reranker = reranker

    def retrieve(
        self,
        query: SearchQuery,
        limit: int,
        article_filter: ArticleFilter = ALL_ARTICLES,
        timer: PhaseTimer | None = None,
    ) -> list[Hit]:
        """Return the most relevant passages, without near-duplicates.

        Args:
            query: What to search for. Only passages that contain its quoted phrases are returned.
            limit: The maximum number of hits.
            article_filter: Restricts the search to some articles.
            timer: Measures the phases of the search.

        Returns:
            Hits with scores from 0 to 1, best first. The scores fuse cosine similarity and BM25; with a
            reranker, they are the mean of that and the reranker's score.
        """
        timer = timer or PhaseTimer()
        candidate_count = max(MIN_CANDIDATES, 2 * limit)
        dense, lexical = self.candidates(query, candidate_count, article_filter, timer)
        with timer.measure(Phase.GATHER_HITS):
            passages = self._fetch_top(fuse(dense, lexical), 2 * limit + EXTRA_CANDIDATES)
        if self._reranker:
            with timer.measure(Phase.RERANK):
                passages = rerank(self._reranker, query.text, passages)
        best = diversify(passages)[:limit]
        return [Hit(rank, score, passage) for rank, (passage, score) in enumerate(best, start=1)]

    def candidates(
        self,
        query: SearchQuery,
        limit: int,
        article_filter: ArticleFilter = ALL_ARTICLES,
        timer: PhaseTimer | None = None,
    ) -> tuple[Scores, Scores]:
        """Return the best passages of dense search (cosines) and of lexical search (BM25 scores).

        The context terms are searched for separately, and their scores are added with a lower weight:
        within the question's text, each of them would count as much as one of the question's words.

        Args:
            query: What to search for.
            limit: The maximum number of passages of either search.
            article_filter: Restricts the search to some articles.
            timer: Measures the phases of the search.
        """
        timer = timer or PhaseTimer()
        required_phrases = quoted_phrases(query.question)
        with ThreadPoolExecutor(1) as pool:  # both release the GIL while they work
            encoding = pool.submit(self._query_vector, query)
            with timer.measure(Phase.LEXICAL_SEARCH):
                lexical = self._search_words(query, limit, required_phrases, article_filter)
            with timer.measure(Phase.ENCODE_QUESTION):  # as far as it took longer
                vector = encoding.result()
            with timer.measure(Phase.DENSE_SEARCH):
                numbers = self.index.passage_numbers(article_filter)
                dense = self.index.vector_search(vector, limit, numbers)
        if required_phrases:
            with timer.measure(Phase.LEXICAL_SEARCH):
                containing = self.index.passages_containing(required_phrases)
            return _restricted(dense, containing), _restricted(lexical, containing)
        return dense, lexical

    def _search_words(
        self,
        query: SearchQuery,
        limit: int,
        required_phrases: Sequence[str],
        article_filter: ArticleFilter,
    ) -> Scores:
        question_terms = self._query_terms(query.question)
        scores = self.index.keyword_search(question_terms, limit, required_phrases, article_filter)
        context_terms = self._query_terms(query.context_text)
        context_scores = self.index.keyword_search(context_terms, limit, (), article_filter)
        for number, score in context_scores.items():
            scores[number] = scores.get(number, 0.0) + CONTEXT_WEIGHT * score
        return scores

    def _query_terms(self, text: str) -> list[str]:
        """Return the words to search for, without common ones unless all are common, and the dates."""
        query_words = phrases(text)[:MAX_QUERY_WORDS]
        document_frequency = self.index.document_frequency(map(stem, query_words))
        max_frequency = max(MIN_COMMON_PASSAGES, COMMON_SHARE * self.index.passage_count)
        distinctive = [
            word for word in query_words if document_frequency[stem(word)] <= max_frequency
        ]
        return (distinctive or query_words) + dates(text)

    def _query_vector(self, query: SearchQuery) -> NDArray[np.float32]:
        """Return the question's vector, moved towards that of the context terms, of length 1."""
        question_vector = self.encoder.encode_question(query.question)
        if not query.context_terms:
            return question_vector
        context_vector = self.encoder.encode_question(query.context_text)
        return normalize(question_vector + CONTEXT_WEIGHT * context_vector)

    def _fetch_top(self, scores: Scores, limit: int) -> list[ScoredPassage]:
        """Read the passages with the best scores, and merge near-duplicates."""
        best = sorted(scores, key=lambda number: (-scores[number], number))[:limit]
        passages = self.index.passages(best)
        best_scores = [scores[number] for number in best]
        return merge_near_duplicates(zip(passages, best_scores, strict=True))


def _restricted(scores: Scores, numbers: Set[int]) -> Scores:
    return {number: score for number, score in scores.items() if number in numbers}
