"""Question → Hits, and the sentences in them that bear on it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from rag.datatypes import Evidence, Excerpt, Hit
from rag.encoder import Encoder
from rag.index import PassageIndex
from rag.language import sentences, terms, words

CANDIDATES = 100
"""Passages that each of the two searches contributes, at the least."""

MOST_WORDS = 64
"""Words of a question that are searched for; a longer one is searched for by its first."""

# Weights of a sentence's score: likeness in meaning, the question's words in it, and how well its
# passage was found. They come from a first trial on 100 questions and have not been tuned since.
_COSINE, _COVERAGE, _PASSAGE = 0.5, 0.35, 0.25


class Retriever:
    """Searches one index with one encoder."""

    def __init__(self, index: PassageIndex, encoder: Encoder) -> None:
        self._index = index
        self._encoder = encoder
        # Retrieving and weighing evidence both need the vector of the question at hand.
        self._vector = lru_cache(maxsize=1)(encoder.encode_question)

    def retrieve(self, question: str, k: int) -> list[Hit]:
        """The `k` passages that bear most on the question, best first.

        Half of a hit's score is its cosine, scaled between the candidates' least and most, half its
        BM25, scaled to the candidates' most (Bruch et al. 2023, "An Analysis of Fusion Functions
        for Hybrid Retrieval", compare such scalings).
        """
        most = max(CANDIDATES, 2 * k)
        dense = self._index.nearest(self._vector(question), most)
        lexical = self._index.matching(_search_words(question), most)
        fused = _fuse(dense, lexical)
        best = sorted(fused, key=lambda number: (-fused[number], number))[:k]
        passages = self._index.passages(best)
        return [
            Hit(rank, fused[number], passage)
            for rank, (number, passage) in enumerate(zip(best, passages, strict=True), start=1)
        ]

    def evidence(self, question: str, hits: Sequence[Hit]) -> list[Evidence]:
        """The sentences of the hits, those first that bear most on the question."""
        places: dict[tuple[str, int], tuple[Excerpt, Hit]] = {}
        for hit in hits:
            for sentence in _sentences(hit.passage):
                places.setdefault((sentence.article_id, sentence.start), (sentence, hit))
        if not places:
            return []
        found = list(places.values())
        vectors = self._encoder.encode_passages([sentence.text for sentence, _ in found])
        cosines = vectors @ self._vector(question)
        rarity = self._index.rarity(terms(question))
        evidence = []
        for (sentence, hit), cosine in zip(found, cosines.tolist(), strict=True):
            coverage = _share(rarity, terms(sentence.text))
            score = _COSINE * cosine + _COVERAGE * coverage + _PASSAGE * hit.score
            evidence.append(Evidence(score, sentence))
        return sorted(evidence, key=lambda found: -found.score)


def _search_words(question: str) -> list[str]:
    """The question's distinct words that carry meaning, or all of them when none does."""
    said = list(dict.fromkeys(words(question)))
    meant = [word for word in said if terms(word)]
    return (meant or said)[:MOST_WORDS]


def _fuse(dense: Mapping[int, float], lexical: Mapping[int, float]) -> dict[int, float]:
    """Passage numbers → half and half of both searches' scores, 0 to 1; not found counts 0."""
    least, most = min(dense.values(), default=0.0), max(dense.values(), default=0.0)
    spread = (most - least) or 1.0
    strongest = max(lexical.values(), default=0.0) or 1.0
    return {
        number: 0.5 * ((dense[number] - least) / spread if number in dense else 0.0)
        + 0.5 * lexical.get(number, 0.0) / strongest
        for number in dense.keys() | lexical.keys()
    }


def _sentences(passage: Excerpt) -> Iterable[Excerpt]:
    for start, end in sentences(passage.text):
        yield replace(
            passage,
            start=passage.start + start,
            end=passage.start + end,
            text=passage.text[start:end],
        )


def _share(rarity: Mapping[str, float], held: Iterable[str]) -> float:
    """The share of the question's words, weighted by their rarity, that stand among `held`."""
    total = sum(rarity.values())
    return sum(rarity[term] for term in rarity.keys() & set(held)) / total if total else 0.0
