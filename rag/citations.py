"""Draft + sources → sentences with verdicts, and the citations of those that stand.

The check is of words, made to be strict: what it turns down is replaced by a quotation, which is
cheap, while a wrong sentence let through is what this program exists to prevent.
"""

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

from rag.datatypes import Citation, Evidence, Excerpt, Sentence
from rag.language import sentences, stem, terms, words

LEAST_COVERAGE = 0.6
"""Share of a claim's and the question's words together that its source must hold."""

LEAST_HELD = 0.8
"""Share of a claim's own words that its source must hold; its names and figures all must be."""

LEAST_IN_ORDER = 0.7
"""Share of a claim's words that its source must hold in the claim's order."""

MOST_TITLE = 60
"""Characters of a title in an answer."""

_NEGATIONS = frozenset(
    """no not never none nobody nothing neither nor without cannot denied denies deny refused
    refuses refuse failed fails fail isn aren wasn weren doesn didn wouldn couldn shouldn
    hasn haven hadn""".split()
)
_NEGATED = re.compile(
    r"\b(?:can|could|would|should|must|did|does|do|is|are|was|were|won|has|have|had)"
    r" ?n?['’ ]t\b"
)
# What may not be added to what a source says: it turns who did what to whom, when, how much and how
# surely, or begins another clause.
_DECISIVE = frozenset(
    """, ; : $ € £ ¥ % about above after all although and any as because before below between both
    but by could down during each either every few from if least less many may might more most must
    only or over should since some than though to under unless until up when whether which while who
    whom whose will with would""".split()
)
# What may not be passed over between the first and the last word that are taken from it.
_TURNING = frozenset(
    """$ € £ % after and before between both but by could few least less might more most only or over
    under may""".split()
)
_PERSONAL = frozenset("i me my mine we us our you your".split())
_CLAUSE = re.compile(
    r"[,;:]|\b(?:after|although|and|as|because|before|but|if|or|since|though|unless|until|when"
    r"|whether|which|while|who|whom|whose)\b",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[,;:$€£¥%]")
_FIXED = re.compile(r"\b[A-Z][^\W\d_]*|\d+(?:[.,]\d+)*")
_MARKER = re.compile(r"\[(\d+)\]")
_ANNOUNCEMENT = re.compile(
    r"\A(?:the )?answer(?: to (?:this|the|your) question)? is(?: that\b|:)?\s*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check leaves: all sentences of the draft, the text that stands, and its citations."""

    sentences: tuple[Sentence, ...]
    text: str
    citations: tuple[Citation, ...]


def check(draft: str, question: str, sources: Sequence[Excerpt]) -> Checked:
    """Attribute each sentence of `draft` to one of the `sources`, or strike it out.

    Markers count from 1 in the order of the text; `text` holds the sentences that are supported,
    each with its marker behind it, and is empty when none is.
    """
    verdicts: dict[str, Excerpt | None] = {}
    for start, end in sentences(draft):
        claim = _unframed(draft[start:end])
        if claim not in verdicts:
            verdicts[claim] = attribute(claim, question, sources)
    return _assemble([_Verdict(claim, source) for claim, source in verdicts.items()])


def quote(evidence: Sequence[Evidence]) -> Checked:
    """The evidence itself as the answer, word for word, with who says so."""
    return _assemble(_quotations([found.sentence for found in evidence]))


def backed(checked: Checked, source: Excerpt) -> Checked:
    """A short answer that stands, with the sentence that it rests on quoted behind it."""
    stands = [_Verdict(s.text, source) for s in checked.sentences if s.supported]
    struck = [_Verdict(s.text, None) for s in checked.sentences if not s.supported]
    return _assemble([*stands, *_quotations([source]), *struck])


class _Verdict(NamedTuple):
    """A sentence and the source on which it rests, None when on none."""

    text: str
    source: Excerpt | None
    quoted: bool = False


def _quotations(sentences: Sequence[Excerpt]) -> list[_Verdict]:
    following = [*(sentence.article_id for sentence in sentences[1:]), ""]
    quotations = []
    for sentence, next_id in zip(sentences, following, strict=True):
        says = "" if sentence.article_id == next_id else f", says {_named(sentence)}."
        quotations.append(_Verdict(f"“{_unended(sentence.text)}”{says}", sentence, quoted=True))
    return quotations


def _unended(text: str) -> str:
    """Without the full stop that the sentence around the quotation has itself."""
    return text.removesuffix(".").rstrip() if not text.endswith("..") else text


def _named(source: Excerpt) -> str:
    title = source.title if len(source.title) <= MOST_TITLE else f"{source.title[:MOST_TITLE]}…"
    return f"{title} ({source.date})" if source.date else title


def attribute(claim: str, question: str, sources: Sequence[Excerpt]) -> Excerpt | None:
    """The source on which the claim rests, or None.

    A short answer counts as the statement that it makes with the question's words.
    """
    covered = [(_support(claim, question, source), source) for source in sources]
    coverage, best = max(covered, key=lambda found: found[0], default=(0.0, None))
    return best if coverage >= LEAST_COVERAGE else None


def _unframed(sentence: str) -> str:
    """The sentence without the words that only announce it: "The answer to this question is: …"."""
    said = _ANNOUNCEMENT.sub("", sentence)
    return said[:1].upper() + said[1:] if said else sentence


def _support(claim: str, question: str, source: Excerpt) -> float:
    """How far the source holds what the claim says, 0 to 1; 0 as soon as one thing is against it."""
    claimed, asked = terms(claim), set(terms(question))
    if claim.rstrip().endswith("?") or not set(claimed) - asked:
        return 0.0
    if _negated(source.text) != _negated(claim) or not _follows(claim, source.text):
        return 0.0
    if (_PERSONAL & set(words(claim))) - set(words(source.text)):
        return 0.0
    full = not asked or bool(asked.intersection(claimed))
    held = source.text if full else _clause(claimed, source.text)
    if not _holds(held, claim, asked):
        return 0.0
    # Title and date may say what the question is about, but hold nothing of what is claimed.
    statement = asked.union(claimed)
    around = asked.intersection(terms(f"{source.title} {source.date or ''}"))
    return len(statement.intersection(terms(held)) | around) / len(statement)


def _holds(text: str, claim: str, asked: Set[str]) -> bool:
    """Whether the text holds the claim's names and figures, what it takes from the question, and nearly
    all its other words.
    """
    held, claimed = set(terms(text)), terms(claim)
    fixed = {stem(word.lower()) for word in _FIXED.findall(claim)}.union(asked).intersection(
        claimed
    )
    kept = sum(term in held for term in claimed)
    return fixed <= held and kept >= LEAST_HELD * len(claimed)


def _follows(claim: str, text: str) -> bool:
    """Whether the claim says what the text says, in its order; nothing added or skipped turns it."""
    said, given = _tokens(claim), _tokens(text)
    blocks = SequenceMatcher(None, said, given, autojunk=False).get_matching_blocks()[:-1]
    if not blocks:
        return False
    first, last = blocks[0], blocks[-1]
    kept_said = {place for block in blocks for place in range(block.a, block.a + block.size)}
    kept_given = {place for block in blocks for place in range(block.b, block.b + block.size)}
    added = [token for place, token in enumerate(said) if place not in kept_said]
    skipped = [given[p] for p in range(first.b, last.b + last.size) if p not in kept_given]
    if _DECISIVE.intersection(added) or _TURNING.intersection(skipped):
        return False
    claimed = terms(claim)
    moved = sum(token in claimed for token in added)
    return moved <= (1 - LEAST_IN_ORDER) * len(claimed)


def _tokens(text: str) -> list[str]:
    """Words as stems, numbers, and the marks that decide; what ends the text is left out."""
    found = _TOKEN.findall(text.lower())
    return [stem(token) if token.isalpha() and token not in _DECISIVE else token for token in found]


def _clause(claimed: Sequence[str], text: str) -> str:
    """The first clause of the text that holds all that is claimed; empty when none does."""
    clauses = _CLAUSE.split(text)
    return next((clause for clause in clauses if set(claimed) <= set(terms(clause))), "")


def _negated(text: str) -> bool:
    lowered = text.lower()
    return bool(_NEGATIONS.intersection(words(lowered)) or _NEGATED.search(lowered))


def _assemble(verdicts: Sequence[_Verdict]) -> Checked:
    markers: dict[Excerpt, int] = {}
    checked = []
    for claim, source, quoted in verdicts:
        # A "[4]" of the article's own, or of the draft's, would pass for a marker.
        text = _MARKER.sub(r"(\1)", claim)
        numbers = () if source is None else (markers.setdefault(source, len(markers) + 1),)
        checked.append(Sentence(text, source is not None, numbers, quoted))
    text = " ".join(f"{s.text} [{s.citations[0]}]" for s in checked if s.supported)
    citations = tuple(Citation(number, source) for source, number in markers.items())
    return Checked(tuple(checked), text, citations)
