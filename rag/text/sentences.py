"""Sentence segmentation."""

import re
from collections.abc import Iterator
from itertools import pairwise

import punkt

_BLANK_LINE = re.compile(r"\n\s*\n|\Z")
_DETACHED_STOP = re.compile(r" \.(?=\s|$)")
_CLOSING_QUOTE = re.compile(r"[?!,]\s?[\"'”’»]\s*\Z")
# The full stops of Chinese, Japanese, Arabic and Urdu, which Punkt does not know.
_FULL_STOP = re.compile(r"[。！？｡؟۔]+[」』”’）]*")
_CLOSING_QUOTE_LENGTH = 8
_SEGMENTER = punkt.tokenizer_for("english", prefixes=True)


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of every sentence, in order, without the white space around it.

    Boundaries are found by Punkt (Kiss and Strunk 2006), and no sentence crosses a blank line.
    Tokenised text ("the u.s . senate") is handled by moving detached full stops to the word before
    them for the segmenter alone; the length stays the same, so the offsets are valid.

    Args:
        text: Any text.

    Yields:
        Start and end offset of each sentence in `text`.
    """
    paragraph_start = 0
    for blank in _BLANK_LINE.finditer(text):
        paragraph = text[paragraph_start : blank.start()]
        for start, end in pairwise([*_sentence_starts(paragraph), len(paragraph)]):
            trimmed_start, trimmed_end = trim(text, paragraph_start + start, paragraph_start + end)
            if trimmed_start < trimmed_end:
                yield trimmed_start, trimmed_end
        paragraph_start = blank.end()


def _sentence_starts(paragraph: str) -> list[int]:
    """Return the offsets at which the sentences of a paragraph start."""
    attached = _DETACHED_STOP.sub(". ", paragraph)
    candidates = [start for start, _ in _SEGMENTER.span_tokenize(attached)]
    starts = {start for start in candidates[1:] if not _continues_quotation(paragraph, start)}
    starts |= {stop.end() for stop in _FULL_STOP.finditer(paragraph)} - {len(paragraph)}
    return [0, *sorted(starts)]


def _continues_quotation(paragraph: str, start: int) -> bool:
    """Return whether the text at `start` names the speaker of a quotation: “Is it over?” she asked."""
    quote = _CLOSING_QUOTE.search(paragraph, max(0, start - _CLOSING_QUOTE_LENGTH), start)
    return quote is not None and paragraph[start].islower()


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Shrink a span so that it neither starts nor ends with white space.

    Returns:
        The span of `text[start:end].strip()`. Its end is not after its start when nothing is left.
    """
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
