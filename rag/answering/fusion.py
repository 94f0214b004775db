"""Score fusion, reranking and diversification of search results."""

from collections import Counter
from collections.abc import Iterable, Sequence

from rag.models.reranker import Reranker
from rag.types import Excerpt

Scores = dict[int, float]
"""Passage number → score; higher is better."""

ScoredPassage = tuple[Excerpt, float]

DENSE_WEIGHT = 0.6
"""Weight of the dense score in the fusion; the lexical score has the rest."""

SAME_ARTICLE_DECAY = 0.9
"""Factor for the score of an article's second passage; its square for the third; and so on."""


def fuse(dense: Scores, lexical: Scores) -> Scores:
    """Fuse the scores of dense and lexical search.

    Cosines are used unscaled, so that dense search counts for more if some passage is really close.
    BM25 scores are divided by the highest one. Bruch et al. 2023, "An Analysis of Fusion Functions for
    Hybrid Retrieval", compare such scalings. A passage that dense search did not return gets the lowest
    cosine that it did return; one that lexical search did not return gets a lexical score of 0.

    Args:
        dense: Cosine similarities, -1 to 1.
        lexical: BM25 scores, 0 or more.

    Returns:
        Scores from 0 to 1 of all passages that either search returned.
    """
    lowest_dense = min(dense.values(), default=0.0)
    highest_lexical = max(lexical.values(), default=0.0) or 1.0
    return {
        number: DENSE_WEIGHT * max(0.0, dense.get(number, lowest_dense))
        + (1 - DENSE_WEIGHT) * lexical.get(number, 0.0) / highest_lexical
        for number in dense.keys() | lexical.keys()
    }


def rerank(
    reranker: Reranker, question: str, scored_passages: Sequence[ScoredPassage]
) -> list[ScoredPassage]:
    """Average the scores with those of a reranker, and sort by the result.

    The reranker scores the first passages only, as many as its time limit allows; the others keep half
    of their score and are placed after those that it has scored.

    Args:
        reranker: The reranker.
        question: The question.
        scored_passages: Passages with scores from 0 to 1, best first.
    """
    passages = [f"{passage.title}\n{passage.text}" for passage, _ in scored_passages]
    new_scores = reranker.scores(question, passages)
    reranked = [
        (passage, (score + new_score) / 2)
        for (passage, score), new_score in zip(scored_passages, new_scores, strict=False)
    ]
    reranked.sort(key=lambda pair: -pair[1])
    lowest = reranked[-1][1] if reranked else 0.0
    not_scored = [
        (passage, min(score / 2, lowest)) for passage, score in scored_passages[len(new_scores) :]
    ]
    return reranked + not_scored


def diversify(scored_passages: Iterable[ScoredPassage]) -> list[ScoredPassage]:
    """Lower the scores of further passages of the same article, and sort by the result.

    Args:
        scored_passages: The passages, best first.
    """
    passage_counts: Counter[str] = Counter()
    diversified = []
    for passage, score in scored_passages:
        decay = SAME_ARTICLE_DECAY ** passage_counts[passage.article_id]
        diversified.append((passage, score * decay))
        passage_counts[passage.article_id] += 1
    return sorted(diversified, key=lambda pair: -pair[1])
