"""Question → Hits, and the sentences in them that bear on it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from rag.datatypes import Evidence, Excerpt, Hit
from rag.encoder import Encoder
from rag.index import PassageIndex
from rag.language import phrases, sentences, terms, words

CANDIDATES = 100
"""Passages that each of the two searches contributes, at the least."""

MOST_WORDS = 64
"""Words of a question that are searched for; a longer one is searched for by its first."""

LOOK_FURTHER = 10
"""Candidates beyond twice the passages wanted, among which the same told elsewhere is looked for."""

ALIKE = 0.8
"""Share of a passage's runs of three words from which on it says the same as another."""

# Weights of a sentence's score: likeness in meaning, the question's words in it, and how well its
# passage was found. They come from a first trial on 100 questions and have not been tuned since.
_COSINE, _COVERAGE, _PASSAGE = 0.5, 0.35, 0.25


class Retriever:
    """Searches one index with one encoder."""

    def __init__(self, index: PassageIndex, encoder: Encoder) -> None:
        self.index = index
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
        dense = self.index.nearest(self._vector(question), most)
        lexical = self.index.matching(phrases(question)[:MOST_WORDS], most)
        fused = _fuse(dense, lexical)
        ranked = sorted(fused, key=lambda number: (-fused[number], number))
        best = self._distinct(ranked, k)
        return [
            Hit(rank, fused[number], passage)
            for rank, (number, passage) in enumerate(best.items(), start=1)
        ]

    def _distinct(self, ranked: Sequence[int], k: int) -> dict[int, Excerpt]:
        """The first `k` numbers' passages, one for each thing said; it names where else it stands."""
        found = self.index.passages(ranked[: 2 * k + LOOK_FURTHER])
        kept: dict[int, _Told] = {}
        for number, passage in zip(ranked, found, strict=False):
            told = _Told.of(passage)
            same = next((n for n, other in kept.items() if other.tells(told)), None)
            if same is not None:
                kept[same] = kept[same].also_in(passage)
            elif len(kept) < k:
                kept[number] = told
        return {number: told.passage for number, told in kept.items()}

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
        rarity = self.index.rarity(terms(question))
        evidence = []
        for (sentence, hit), cosine in zip(found, cosines.tolist(), strict=True):
            coverage = _share(rarity, terms(sentence.text))
            score = _COSINE * cosine + _COVERAGE * coverage + _PASSAGE * hit.score
            evidence.append(Evidence(score, sentence))
        return sorted(evidence, key=lambda found: -found.score)


@dataclass(frozen=True, slots=True)
class _Told:
    """What a passage tells: runs of three words, and its figures."""

    passage: Excerpt
    runs: frozenset[tuple[str, ...]]
    figures: frozenset[str]

    @classmethod
    def of(cls, passage: Excerpt) -> "_Told":
        said = words(passage.text)
        runs = frozenset(tuple(said[i : i + 3]) for i in range(max(1, len(said) - 2)))
        return cls(passage, runs, frozenset(word for word in said if word[0].isdigit()))

    def tells(self, other: "_Told") -> bool:
        """Whether this says what another article's passage says: nearly its words, all its figures.

        Nearly the same words are no reason to pass over another figure.
        """
        if self.passage.article_id == other.passage.article_id:
            return False
        shared = len(self.runs & other.runs)
        return self.figures >= other.figures and shared >= ALIKE * len(other.runs)

    def also_in(self, passage: Excerpt) -> "_Told":
        return replace(self, passage=replace(self.passage, also=(*self.passage.also, passage)))


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
        text = passage.text[start:end]
        also = tuple(
            _part(twin, at, text) for twin in passage.also if (at := twin.text.find(text)) >= 0
        )
        yield replace(_part(passage, start, text), also=also)


def _part(passage: Excerpt, start: int, text: str) -> Excerpt:
    start += passage.start
    return replace(passage, start=start, end=start + len(text), text=text)


def _share(rarity: Mapping[str, float], held: Iterable[str]) -> float:
    """The share of the question's words, weighted by their rarity, that stand among `held`."""
    total = sum(rarity.values())
    return sum(rarity[term] for term in rarity.keys() & set(held)) / total if total else 0.0
