"""Saved answers (the JSON of `rag ask`) against the index as it is now: do their citations stand?"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rag.errors import QuestionError
from rag.index import PassageIndex


class State(StrEnum):
    """What has become of a citation."""

    STANDS = "stands"
    """Word for word, at its place."""
    MOVED = "moved"
    """Word for word, at another place of its article."""
    CHANGED = "changed"
    """Its article no longer says so."""
    GONE = "gone"
    """Its article is no longer in the index."""


@dataclass(frozen=True, slots=True)
class SavedCitation:
    """A citation of a saved answer, with the question that it was an answer to."""

    question: str
    marker: int
    article_id: str
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A saved citation, what has become of it, and where its quote stands now, if it does."""

    citation: SavedCitation
    state: State
    start: int | None

    def as_json(self) -> dict[str, Any]:
        saved = self.citation
        about = {"question": saved.question, "marker": saved.marker, "article_id": saved.article_id}
        place = {"start": saved.start, "end": saved.end, "quote": saved.quote}
        return about | place | {"state": self.state.value, "start_now": self.start}


def standing(index: PassageIndex, citation: SavedCitation) -> Standing:
    """What has become of a citation. Raises IndexDamaged."""
    article = index.article(citation.article_id)
    if article is None:
        return Standing(citation, State.GONE, None)
    if citation.quote and article.text[citation.start : citation.end] == citation.quote:
        return Standing(citation, State.STANDS, citation.start)
    places = list(_places(article.text, citation.quote))
    if not places:
        return Standing(citation, State.CHANGED, None)
    nearest = min(places, key=lambda start: abs(start - citation.start))
    return Standing(citation, State.MOVED, nearest)


def report(found: Iterable[Standing]) -> dict[str, Any]:
    """How many citations stand, moved, changed and are gone, and each that does not stand."""
    looked = list(found)
    counted = Counter(each.state for each in looked)
    return {
        "citations": len(looked),
        **{state.value: counted[state] for state in State},
        "problems": [each.as_json() for each in looked if each.state is not State.STANDS],
    }


def saved_citations(file: Path) -> list[SavedCitation]:
    """The citations of all answers in a file, one answer a line. Raises QuestionError."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise QuestionError(
            f"The answers in {file} cannot be read: {error.strerror}.", remedy="Correct the path."
        ) from error
    except UnicodeError as error:
        raise QuestionError(
            f"The answers in {file} are not UTF-8 text.", remedy="Save them with `rag ask --json`."
        ) from error
    found = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            found += _citations(line, f"{file}, line {number}")
    return found


def _citations(line: str, place: str) -> list[SavedCitation]:
    try:
        answer = json.loads(line)
        return [_citation(answer["question"], saved) for saved in answer["citations"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise QuestionError(
            f"{place} is not an answer.", remedy="Save answers with `rag ask --json > FILE`."
        ) from None


def _citation(question: str, saved: Mapping[str, Any]) -> SavedCitation:
    return SavedCitation(
        question=str(question),
        marker=int(saved["marker"]),
        article_id=str(saved["article_id"]),
        start=int(saved["start"]),
        end=int(saved["end"]),
        quote=str(saved["quote"]),
    )


def _places(text: str, quote: str) -> Iterator[int]:
    start = text.find(quote) if quote else -1
    while start >= 0:
        yield start
        start = text.find(quote, start + 1)
