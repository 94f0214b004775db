"""Audit of citations: whether the quotes of saved answers still occur in the current index.

Saved answers are files of the JSON that `rag ask --json` prints, one answer per line.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rag.errors import QuestionError
from rag.store.reader import IndexReader


class CitationStatus(StrEnum):
    """Result of auditing a citation."""

    STANDS = "stands"
    """The quote occurs verbatim at the saved offsets."""
    MOVED = "moved"
    """The quote occurs verbatim at other offsets of its article."""
    CHANGED = "changed"
    """The article no longer contains the quote."""
    GONE = "gone"
    """The article is no longer in the index."""


@dataclass(frozen=True, slots=True)
class SavedCitation:
    """A citation of a saved answer, with the question that was answered."""

    question: str
    marker: int
    article_id: str
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True)
class CitationAudit:
    """The status of a saved citation, and where its quote starts now; None if it does not occur."""

    citation: SavedCitation
    status: CitationStatus
    current_start: int | None

    def as_json(self) -> dict[str, Any]:
        citation = self.citation
        return {
            "question": citation.question,
            "marker": citation.marker,
            "article_id": citation.article_id,
            "start": citation.start,
            "end": citation.end,
            "quote": citation.quote,
            "state": self.status.value,
            "start_now": self.current_start,
        }


def audit_citations(
    index: IndexReader, citations: Iterable[SavedCitation]
) -> Iterator[CitationAudit]:
    """Yield the audit of each citation. Raises IndexDamaged."""
    return (audit_citation(index, citation) for citation in citations)


def audit_citation(index: IndexReader, citation: SavedCitation) -> CitationAudit:
    """Look a quote up in its article, first at its offsets, then anywhere. Raises IndexDamaged."""
    article = index.article(citation.article_id)
    if article is None:
        return CitationAudit(citation, CitationStatus.GONE, None)
    if citation.quote and article.text[citation.start : citation.end] == citation.quote:
        return CitationAudit(citation, CitationStatus.STANDS, citation.start)
    starts = list(_occurrences(article.text, citation.quote))
    if not starts:
        return CitationAudit(citation, CitationStatus.CHANGED, None)
    nearest = min(starts, key=lambda start: abs(start - citation.start))
    return CitationAudit(citation, CitationStatus.MOVED, nearest)


def report(audits: Iterable[CitationAudit]) -> dict[str, Any]:
    """Return the number of citations per status, and every citation that does not stand, as JSON."""
    audits = list(audits)
    counts = Counter(audit.status for audit in audits)
    problems = [audit for audit in audits if audit.status is not CitationStatus.STANDS]
    return {
        "citations": len(audits),
        **{status.value: counts[status] for status in CitationStatus},
        "problems": [audit.as_json() for audit in problems],
    }


def read_saved_citations(file: Path) -> list[SavedCitation]:
    """Read the citations of all answers in a file. Raises QuestionError."""
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
    citations = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            citations += _parse_answer(line, f"{file}, line {number}")
    return citations


def _parse_answer(line: str, location: str) -> list[SavedCitation]:
    try:
        answer = json.loads(line)
        return [_parse_citation(answer["question"], saved) for saved in answer["citations"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise QuestionError(
            f"{location} is not an answer.", remedy="Save answers with `rag ask --json > FILE`."
        ) from None


def _parse_citation(question: str, saved: Mapping[str, Any]) -> SavedCitation:
    return SavedCitation(
        question=str(question),
        marker=int(saved["marker"]),
        article_id=str(saved["article_id"]),
        start=int(saved["start"]),
        end=int(saved["end"]),
        quote=str(saved["quote"]),
    )


def _occurrences(text: str, quote: str) -> Iterator[int]:
    """Yield where a quote starts in a text; an empty one occurs nowhere."""
    start = text.find(quote) if quote else -1
    while start >= 0:
        yield start
        start = text.find(quote, start + 1)
