"""Draft + sources → sentences with verdicts, and the citations of those that stand.

The check is of words, made to be strict: what it turns down is replaced by a quotation, which is
cheap, while a wrong sentence let through is what this program exists to prevent.
"""

import re
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import NamedTuple

from rag.datatypes import Citation, Evidence, Excerpt, Opinion, Sentence, Verdict
from rag.language import STOP_WORDS, sentences, stem, terms, words

LEAST_COVERAGE = 0.6
"""Share of a claim's and the question's words together that its source must hold."""

LEAST_HELD = 0.8
"""Share of a claim's own words that its source must hold; its names and figures all must be."""

LEAST_IN_ORDER = 0.7
"""Share of a claim's words that its source must hold in the claim's order."""

LEAST_SHARED = 3
"""Meaning words that a claim shares with a source that denies it, its wrong figure left out."""

LEAST_OPINION, SURE_OPINION = 0.5, 0.9
"""Of a checker model: how far it must find a sentence supported, and how far to overrule the wording."""

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
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
_NAME = re.compile(r"[A-Z][^\W\d_]*(?:[ -][A-Z][^\W\d_]*)*")
_MARKER = re.compile(r"\[(\d+)\]")
_JOINT = re.compile(r"(?:;|,? (?:and|but|while)\b)\s*", re.IGNORECASE)
_LIKE_MARKER = re.compile(r"[\[［【〔](\s*\d+(?:\s*[,;–-]\s*\d+)*\s*)[\]］】〕]")
_MARKED = re.compile(rf"\s*{_MARKER.pattern}")
_ANNOUNCEMENT = re.compile(
    r"\A(?:the )?answer(?: to (?:this|the|your) question)? is(?: that\b|:)?\s*", re.IGNORECASE
)


Ask = Callable[[str, str], Opinion]
"""A text and a statement → what a checker model makes of the statement."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check leaves: all sentences of the draft, the text that stands, and its citations."""

    sentences: tuple[Sentence, ...]
    text: str
    citations: tuple[Citation, ...]


class Judgement(NamedTuple):
    """What is made of a sentence: the sources on which it rests, or why it rests on none."""

    verdict: Verdict
    sources: tuple[Excerpt, ...] = ()
    reason: str = ""


def check(draft: str, question: str, sources: Sequence[Excerpt], ask: Ask | None = None) -> Checked:
    """Attribute each sentence of `draft` to those of the `sources` that hold it, or strike it out.

    Markers count from 1 in the order of the text; `text` holds the sentences that are supported,
    each with its markers behind it, and is empty when none is. A checker model to `ask`, if there is
    one, turns down what it does not find, and lets pass what only the wording spoke against.
    """
    judged: dict[str, Judgement] = {}
    plain = _MARKED.sub("", draft)  # where it stands is found out here, whatever the draft says
    for start, end in sentences(plain):
        claim = _unframed(plain[start:end])
        if claim not in judged:
            judged[claim] = judge(claim, question, sources, ask)
    return _assemble(
        [
            _Said(Sentence(claim, found.verdict, reason=found.reason), found.sources)
            for claim, found in judged.items()
        ]
    )


def quote(evidence: Sequence[Evidence]) -> Checked:
    """The evidence itself as the answer, word for word, with who says so."""
    return _assemble(_quotations([found.sentence for found in evidence]))


def backed(checked: Checked, source: Excerpt, quoted: Sequence[Excerpt]) -> Checked:
    """A short answer that stands and rests on the `source`, with some sentences quoted behind it."""
    stands = [_Said(sentence, (source,)) for sentence in checked.sentences if sentence.supported]
    struck = [_Said(sentence) for sentence in checked.sentences if not sentence.supported]
    return _assemble([*stands, *_quotations(quoted), *struck])


class _Said(NamedTuple):
    """A sentence, its citations not numbered yet, and the sources on which it rests."""

    sentence: Sentence
    sources: tuple[Excerpt, ...] = ()


def _quotations(sentences: Sequence[Excerpt]) -> list[_Said]:
    following = [*(sentence.article_id for sentence in sentences[1:]), ""]
    quotations = []
    for sentence, next_id in zip(sentences, following, strict=False):
        says = "" if sentence.article_id == next_id else f", says {_named(sentence)}."
        text = f"“{_unended(sentence.text)}”{says}"
        quotations.append(_Said(Sentence(text, Verdict.SUPPORTED, quoted=True), (sentence,)))
    return quotations


def _unended(text: str) -> str:
    """Without the full stop that the sentence around the quotation has itself."""
    return text.removesuffix(".").rstrip() if not text.endswith("..") else text


def _named(source: Excerpt) -> str:
    title = source.title if len(source.title) <= MOST_TITLE else f"{source.title[:MOST_TITLE]}…"
    return f"{title} ({source.date})" if source.date else title


def judge(
    sentence: str, question: str, sources: Sequence[Excerpt], ask: Ask | None = None
) -> Judgement:
    """Whether the sentence rests on one of the sources, or each of its claims on one.

    A short answer counts as the statement that it makes with the question's words.
    """
    whole = _judged(sentence, question, sources, ask)
    first, *further = _JOINT.split(sentence)
    if whole.verdict is not Verdict.UNSUPPORTED or not further:
        return whole
    about = [source for source in sources if _begins_alike(first, source.text)]
    judged = [_judged(claim, question, about, ask) for claim in (first, *further)]
    if all(judgement.verdict is Verdict.SUPPORTED for judgement in judged):
        rests_on = dict.fromkeys(source for found in judged for source in found.sources)
        if len(rests_on) > 1:  # else its claims stand together there, and not so
            return Judgement(Verdict.SUPPORTED, tuple(rests_on))
    return whole


def _begins_alike(claim: str, text: str) -> bool:
    """Whether both begin by naming the same: what two sources say is then said of one."""
    named, told = _first_name(claim), _first_name(text)
    return bool(named) and named == told


def _first_name(text: str) -> list[str]:
    """The words of the first name in a text, all of them: "President Lind" is not "President Orr"."""
    names = ([w for w in words(name) if w not in STOP_WORDS] for name in _NAME.findall(text))
    return next(filter(None, names), [])


def _judged(claim: str, question: str, sources: Sequence[Excerpt], ask: Ask | None) -> Judgement:
    """What the source that holds most of the claim makes of it; failing that, one that denies it."""
    found = [(_support(claim, question, source), source) for source in sources]
    if not found:
        return Judgement(Verdict.UNSUPPORTED, reason=_NOT_SAID)
    best, source = max(found, key=lambda pair: (_STANDING[pair[0].verdict], pair[0].coverage))
    if ask is not None and (best.verdict is Verdict.SUPPORTED or best.in_words):
        full = not set(terms(claim)).isdisjoint(terms(question))
        best = _overruled(best, ask(source.text, claim if full else f"{question} {claim}"))
    rests_on = (source,) if best.verdict is Verdict.SUPPORTED else ()
    return Judgement(best.verdict, rests_on, best.reason)


_STANDING = {Verdict.SUPPORTED: 2, Verdict.CONTRADICTED: 1, Verdict.UNSUPPORTED: 0}
_NOT_SAID = "the source does not say so"


class _Found(NamedTuple):
    """What one source makes of a claim, how much of it stands there, 0 to 1, and what is wrong.

    `in_words` when only the wording is.
    """

    verdict: Verdict
    coverage: float
    reason: str = ""
    in_words: bool = False


def _overruled(by_words: _Found, opinion: Opinion) -> _Found:
    """What becomes of a verdict by words under a checker model's opinion."""
    if opinion.contradicts >= LEAST_OPINION:
        return by_words._replace(
            verdict=Verdict.CONTRADICTED, reason="the checker reads the contrary"
        )
    if by_words.in_words and opinion.supports >= SURE_OPINION:
        return by_words._replace(verdict=Verdict.SUPPORTED, reason="")
    if by_words.in_words or opinion.supports >= LEAST_OPINION:
        return by_words
    reason = "the checker does not find it there"
    return by_words._replace(verdict=Verdict.UNSUPPORTED, reason=reason)


def _unframed(sentence: str) -> str:
    """The sentence without the words that only announce it: "The answer to this question is: …"."""
    said = _ANNOUNCEMENT.sub("", sentence)
    return said[:1].upper() + said[1:] if said else sentence


def _support(claim: str, question: str, source: Excerpt) -> _Found:
    """How far the source holds what the claim says; one thing against it is enough."""
    claimed, asked = terms(claim), set(terms(question))
    if claim.rstrip().endswith("?") or not set(claimed) - asked:
        return _unsupported("it says no more than the question")
    # Title and date may say what the question is about, but hold nothing of what is claimed.
    statement = asked.union(claimed)
    around = asked.intersection(terms(f"{source.title} {source.date or ''}"))
    full = not asked or bool(asked.intersection(claimed))
    held = source.text if full else _clause(claimed, source.text)
    covered = len(statement.intersection(terms(held)) | around) / len(statement)
    contrary = _contrary(claim, source.text)
    if contrary:
        return _Found(Verdict.CONTRADICTED, covered, contrary)
    if _negated(source.text) != _negated(claim):
        return _unsupported("only one of the two denies it", covered)
    if (_PERSONAL & set(words(claim))) - set(words(source.text)):
        return _unsupported("it speaks of the writer or the reader", covered)
    absent = _absent(held, claim, asked)
    if absent:
        return _unsupported(f"“{absent}” does not stand there", covered)
    if not _follows(claim, source.text):
        return _unsupported("the source says it otherwise", covered, in_words=True)
    if not _mostly_held(held, claimed) or covered < LEAST_COVERAGE:
        return _unsupported(_NOT_SAID, covered, in_words=True)
    return _Found(Verdict.SUPPORTED, covered)


def _unsupported(reason: str, covered: float = 0.0, *, in_words: bool = False) -> _Found:
    return _Found(Verdict.UNSUPPORTED, covered, reason, in_words)


def _contrary(claim: str, text: str) -> str:
    """How the text denies the claim: it says all of it but with another figure, or the opposite."""
    claimed, told = set(terms(claim)), set(terms(text))
    figures = [word for word in words(claim) if word[0].isdigit()]
    wrong = [figure for figure in figures if stem(figure) not in told]
    rest = claimed - {stem(figure) for figure in wrong}
    if len(rest) < LEAST_SHARED or not rest <= told:
        return ""
    if wrong:
        others = [w for w in words(text) if w[0].isdigit() and w not in figures]
        return f"“{wrong[0]}” stands there as “{others[0]}”" if others else ""
    return "the source says the opposite" if _negated(text) != _negated(claim) else ""


def _absent(held: str, claim: str, asked: Set[str]) -> str:
    """The first of the claim's names, figures and words of the question that is not held."""
    stems = set(terms(held))
    for word in _WORD.findall(claim):
        fixed = _FIXED.fullmatch(word) or stem(word.lower()) in asked
        if fixed and word.lower() not in STOP_WORDS and stem(word.lower()) not in stems:
            return str(word)
    return ""


def _mostly_held(held: str, claimed: Sequence[str]) -> bool:
    stems = set(terms(held))
    return sum(term in stems for term in claimed) >= LEAST_HELD * len(claimed)


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


def _assemble(said: Sequence[_Said]) -> Checked:
    markers: dict[Excerpt, int] = {}
    checked = []
    for sentence, sources in said:
        # A "[4]" of the article's own would pass for a marker.
        text = _LIKE_MARKER.sub(r"(\1)", sentence.text)
        numbers = tuple(markers.setdefault(source, len(markers) + 1) for source in sources)
        checked.append(replace(sentence, text=text, citations=numbers))
    text = " ".join(
        " ".join([s.text, *(f"[{number}]" for number in s.citations)])
        for s in checked
        if s.supported
    )
    citations = tuple(Citation(number, source) for source, number in markers.items())
    return Checked(tuple(checked), text, citations)
