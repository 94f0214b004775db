"""Text with numbered citation markers, assembled from sentences and the excerpts that support them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from rag.types import Citation, Excerpt, Sentence

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
        text: The supported sentences, each followed by its markers; empty if there are none.
        citations: The citations of `text`. Markers count from 1 in the order of the text.
    """

    sentences: tuple[Sentence, ...]
    text: str
    citations: tuple[Citation, ...]


def number_citations(cited_sentences: Sequence[CitedSentence]) -> CitedText:
    """Number the sources in order of first use, and append the markers to each supported sentence."""
    markers: dict[Excerpt, int] = {}
    numbered = []
    for sentence, sources in cited_sentences:
        # A "[4]" in the article's own text would look like a marker of the answer.
        text = _LIKE_MARKER.sub(r"(\1)", sentence.text)
        numbers = tuple(markers.setdefault(source, len(markers) + 1) for source in sources)
        numbered.append(replace(sentence, text=text, citations=numbers))
    text = " ".join(_with_markers(sentence) for sentence in numbered if sentence.supported)
    citations = tuple(Citation(number, source) for source, number in markers.items())
    return CitedText(tuple(numbered), text, citations)


def _with_markers(sentence: Sentence) -> str:
    return " ".join([sentence.text, *(f"[{number}]" for number in sentence.citations)])
