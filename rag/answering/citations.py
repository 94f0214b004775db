"""Text with numbered citation markers, assembled from sentences and the excerpts that support them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from rag.types import Citation, Excerpt, Sentence, cited_text
from rag.wording import english

# What a reader could take for a citation marker, such as "[4]", "[2, 3]" or "［5–7］".
_LIKE_MARKER = re.compile(r"[\[［【〔](\s*\d+(?:\s*[,;–-]\s*\d+)*\s*)[\]］】〕]")


class CitedSentence(NamedTuple):
    """A sentence whose citations are not numbered yet, and the excerpts that support it."""

    sentence: Sentence
    sources: tuple[Excerpt, ...] = ()


@dataclass(frozen=True, slots=True)
class CitedText:
    """Sentences with numbered citations.

    Attributes:
        sentences: All sentences, including those that are not supported.
        citations: Their citations. Markers count from 1 in the order of the sentences.
    """

    sentences: tuple[Sentence, ...]
    citations: tuple[Citation, ...]

    @property
    def text(self) -> str:
        """The supported sentences in English, each followed by its markers."""
        return cited_text(self.sentences, english())


def number_citations(cited_sentences: Sequence[CitedSentence]) -> CitedText:
    """Number the sources in order of first use, and give each sentence its markers."""
    markers: dict[Excerpt, int] = {}
    numbered = []
    for sentence, sources in cited_sentences:
        numbers = tuple(markers.setdefault(source, len(markers) + 1) for source in sources)
        numbered.append(replace(_without_markers(sentence), citations=numbers))
    citations = tuple(Citation(number, source) for source, number in markers.items())
    return CitedText(tuple(numbered), citations)


def _without_markers(sentence: Sentence) -> Sentence:
    """Change what looks like a marker of the answer, such as a "[4]" in the article's own text."""
    date = sentence.date and _LIKE_MARKER.sub(r"(\1)", sentence.date)
    return replace(sentence, text=_LIKE_MARKER.sub(r"(\1)", sentence.text), date=date)
