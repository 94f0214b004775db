"""Near-duplicate detection: passages of different articles with nearly the same text become one hit."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from rag.text.tokens import words
from rag.types import Excerpt

SHINGLE_WORDS = 3
"""Number of words per shingle."""

MIN_SHARED_SHINGLES = 0.8
"""Share of a passage's shingles in another passage from which on it is a duplicate of that one."""


def merge_near_duplicates(
    scored_passages: Iterable[tuple[Excerpt, float]],
) -> list[tuple[Excerpt, float]]:
    """Merge each near-duplicate into the first passage that contains it, as one of its `duplicates`.

    Args:
        scored_passages: Passages and their scores, best first.
    """
    unique: list[tuple[_Shingles, float]] = []
    for passage, score in scored_passages:
        shingles = _Shingles.of(passage)
        position = next((i for i, (other, _) in enumerate(unique) if other.covers(shingles)), None)
        if position is None:
            unique.append((shingles, score))
        else:
            first, first_score = unique[position]
            unique[position] = (first.with_duplicate(passage), first_score)
    return [(shingles.passage, score) for shingles, score in unique]


@dataclass(frozen=True, slots=True)
class _Shingles:
    """A passage with its word shingles and its figures."""

    passage: Excerpt
    shingles: frozenset[tuple[str, ...]]
    figures: frozenset[str]

    @classmethod
    def of(cls, passage: Excerpt) -> "_Shingles":
        passage_words = words(passage.text)
        # A passage of fewer words is one shingle.
        starts = range(max(1, len(passage_words) - SHINGLE_WORDS + 1))
        shingles = frozenset(tuple(passage_words[i : i + SHINGLE_WORDS]) for i in starts)
        figures = frozenset(word for word in passage_words if word[0].isdigit())
        return cls(passage, shingles, figures)

    def covers(self, other: "_Shingles") -> bool:
        """Whether this passage contains nearly all shingles, and all figures, of another article's.

        Passages that differ in a figure are never duplicates.
        """
        if self.passage.article == other.passage.article:
            return False
        shared = len(self.shingles & other.shingles)
        return self.figures >= other.figures and shared >= MIN_SHARED_SHINGLES * len(other.shingles)

    def with_duplicate(self, passage: Excerpt) -> "_Shingles":
        duplicates = (*self.passage.duplicates, passage)
        return replace(self, passage=replace(self.passage, duplicates=duplicates))
