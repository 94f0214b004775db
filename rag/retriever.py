"""Question → Hits: the passages that bear on it."""

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rag.datatypes import EVERYTHING, Among, Excerpt, Hit, StandaloneQuestion
from rag.encoder import Encoder
from rag.index import PassageIndex
from rag.language import dates, phrases, quoted, stem, words
from rag.reranker import Reranker
from rag.stopwatch import Stopwatch, Work

# What was chosen here by measuring stands in docs/measurements.md.

Scores = dict[int, float]
"""Passage numbers → scores; higher is better."""

HITS = 8
"""Passages that an answer is looked for in, and that are shown beside it."""

CANDIDATES = 400
"""Passages that each of the two searches contributes, at the least."""

DENSE = 0.6
"""Weight of the vectors' scores in the fusion; the words' scores get the rest."""

ABOUT = 0.5
"""Weight of what the conversation was about, beside the question's own words and vector."""

CROWDING = 0.9
"""What the score of an article's second passage is multiplied by; of its third, twice; and so on."""

MOST_WORDS = 64
"""Words of a question that are searched for; a longer one is searched for by its first."""

COMMON, COMMON_AT_LEAST = 1 / 8, 2500
"""Share of the passages, and how many, that hold a word too common to search for beside others: it takes
longest to look up and tells least."""

LOOK_FURTHER = 10
"""Candidates beyond twice the passages wanted, among which the same told elsewhere is looked for."""

ALIKE = 0.8
"""Share of a passage's runs of three words from which on it says the same as another."""


class Retriever:
    """Searches one index with one encoder, and a reranker if there is one."""

    def __init__(
        self, index: PassageIndex, encoder: Encoder, reranker: Reranker | None = None
    ) -> None:
        self.index = index
        self.encoder = encoder
        self._reranker = reranker

    def retrieve(
        self,
        question: StandaloneQuestion,
        k: int,
        among: Among = EVERYTHING,
        clock: Stopwatch | None = None,
    ) -> list[Hit]:
        """The `k` passages that bear most on the question, best first, each saying another thing.

        Their scores, 0 to 1, fuse cosine and BM25, and half of them is the reranker's if there is
        one. With words in quotation marks, only passages that hold them. `clock` is told where the time
        goes.
        """
        clock = clock or Stopwatch()
        dense, lexical = self.candidates(question, max(CANDIDATES, 2 * k), among, clock)
        with clock.during(Work.GATHER_HITS):
            found = self._gathered(fuse(dense, lexical), 2 * k + LOOK_FURTHER)
        if self._reranker:
            with clock.during(Work.RERANK):
                found = _reranked(self._reranker, question.text, found)
        best = _spread(found)[:k]
        return [Hit(rank, score, passage) for rank, (passage, score) in enumerate(best, start=1)]

    def _gathered(self, fused: Scores, most: int) -> list[tuple[Excerpt, float]]:
        """The passages of the best `most` scores, each saying another thing."""
        ranked = sorted(fused, key=lambda number: (-fused[number], number))[:most]
        found = zip(self.index.passages(ranked), (fused[number] for number in ranked), strict=True)
        return _joined(found)

    def candidates(
        self,
        question: StandaloneQuestion,
        most: int,
        among: Among = EVERYTHING,
        clock: Stopwatch | None = None,
    ) -> tuple[Scores, Scores]:
        """Passage numbers → cosine, and → BM25, of the `most` best of either search.

        What the conversation was about adds to both, rather than to the question's text: there, its
        three words would weigh as much as three of the question's own.
        """
        clock = clock or Stopwatch()
        required = quoted(question.asked)
        with ThreadPoolExecutor(1) as pool:  # both let go of the interpreter while they work
            encoding = pool.submit(self._vector, question)
            with clock.during(Work.LEXICAL_SEARCH):
                lexical = self._matching(question, most, required, among)
            with clock.during(Work.ENCODE_QUESTION):  # what is left of it
                vector = encoding.result()
            with clock.during(Work.DENSE_SEARCH):
                dense = self.index.nearest(vector, most, self.index.among(among))
        if required:
            with clock.during(Work.LEXICAL_SEARCH):
                holding = self.index.holding(required)
            return _only(dense, holding), _only(lexical, holding)
        return dense, lexical

    def _matching(
        self, question: StandaloneQuestion, most: int, required: Sequence[str], among: Among
    ) -> Scores:
        lexical = self.index.matching(self._sought(question.asked), most, required, among)
        about = self._sought(question.about_text)
        for number, score in self.index.matching(about, most, among=among).items():
            lexical[number] = lexical.get(number, 0.0) + ABOUT * score
        return lexical

    def _sought(self, text: str) -> list[str]:
        """What is searched for: words that tell passages apart, or all when none does, and dates."""
        said = phrases(text)[:MOST_WORDS]
        held_by = self.index.held_by(map(stem, said))
        most = max(COMMON_AT_LEAST, COMMON * self.index.passage_count)
        telling = [phrase for phrase in said if held_by[stem(phrase)] <= most]
        return (telling or said) + dates(text)

    def _vector(self, question: StandaloneQuestion) -> NDArray[np.float32]:
        """The question's vector, leaning towards what the conversation was about; of length 1."""
        vector = self.encoder.encode_question(question.asked)
        if not question.about:
            return vector
        leaning = vector + ABOUT * self.encoder.encode_question(question.about_text)
        whole: NDArray[np.float32] = leaning / np.linalg.norm(leaning)
        return whole


def fuse(dense: Scores, lexical: Scores) -> Scores:
    """Passage numbers → fused scores, 0 to 1.

    Cosines count as they are, so that vectors decide more where some passage is really near; BM25 is
    scaled to the candidates' most (Bruch et al. 2023, "An Analysis of Fusion Functions for Hybrid
    Retrieval", compare such scalings). What the vectors' search did not find is at most as near as the
    last that it did; what the words' search did not find gets nothing for it.
    """
    least = min(dense.values(), default=0.0)
    strongest = max(lexical.values(), default=0.0) or 1.0
    return {
        number: DENSE * max(0.0, dense.get(number, least))
        + (1 - DENSE) * lexical.get(number, 0.0) / strongest
        for number in dense.keys() | lexical.keys()
    }


def _only(scores: Scores, numbers: Set[int]) -> Scores:
    return {number: score for number, score in scores.items() if number in numbers}


def _joined(found: Iterable[tuple[Excerpt, float]]) -> list[tuple[Excerpt, float]]:
    """One passage for each thing said, the best; it names where else it stands."""
    kept: list[tuple[_Told, float]] = []
    for passage, score in found:
        told = _Told.of(passage)
        same = next((place for place, (other, _) in enumerate(kept) if other.tells(told)), None)
        if same is None:
            kept.append((told, score))
        else:
            kept[same] = (kept[same][0].also_in(passage), kept[same][1])
    return [(told.passage, score) for told, score in kept]


def _reranked(
    reranker: Reranker, question: str, found: Sequence[tuple[Excerpt, float]]
) -> list[tuple[Excerpt, float]]:
    """Best first; what the reranker had no time for comes behind what it has read."""
    read = reranker.scores(question, [f"{p.title}\n{p.text}" for p, _ in found])
    scored = [
        (passage, (score + again) / 2) for (passage, score), again in zip(found, read, strict=False)
    ]
    scored.sort(key=lambda found: -found[1])
    least = scored[-1][1] if scored else 0.0
    unread = [(passage, min(score / 2, least)) for passage, score in found[len(read) :]]
    return scored + unread


def _spread(found: Iterable[tuple[Excerpt, float]]) -> list[tuple[Excerpt, float]]:
    """Best first, with an article's further passages a little behind: they crowd out no other's."""
    before: Counter[str] = Counter()
    spread = []
    for passage, score in found:
        spread.append((passage, score * CROWDING ** before[passage.article_id]))
        before[passage.article_id] += 1
    return sorted(spread, key=lambda found: -found[1])


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
