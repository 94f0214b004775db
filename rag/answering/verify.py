"""Verification of drafts: which sentences of a draft the sources support.

Claims are compared with sources lexically, and deliberately strictly: a sentence rejected by mistake is
replaced by a quotation, which costs little, while an unsupported sentence that is accepted is what this
program exists to prevent. An entailment model, if there is one, can overrule the lexical verdict.
"""

import re
from collections.abc import Callable, Sequence, Set
from difflib import SequenceMatcher
from typing import NamedTuple

from rag.answering.citations import CitedSentence, CitedText, number_citations
from rag.text.sentences import sentences
from rag.text.tokens import STOP_WORDS, stem, terms, words
from rag.types import EntailmentScores, Excerpt, Reason, Sentence, Verdict
from rag.wording import Phrase, phrase

MIN_COVERAGE = 0.6
"""Share of the terms of claim and question together that the source must contain."""

MIN_CLAIM_COVERAGE = 0.8
"""Share of the claim's terms that the source must contain; names and figures must all be there."""

MIN_IN_ORDER = 0.7
"""Share of the claim's terms that must occur in the source in the claim's order."""

MIN_SHARED_TERMS = 3
"""Terms, wrong figures not counted, that a claim must share with a source that contradicts it."""

MIN_ENTAILMENT = 0.5
"""Entailment score from which on the model supports (or contradicts) a claim."""

SURE_ENTAILMENT = 0.9
"""Entailment score from which on a claim that was rejected only for its wording is accepted."""

# Words that negate a sentence, and the stems that remain when "n't" is split off ("isn", "doesn").
_NEGATIONS = frozenset(
    """no not never none nobody nothing neither nor without cannot denied denies deny refused
    refuses refuse failed fails fail isn aren wasn weren doesn didn wouldn couldn shouldn
    hasn haven hadn""".split()
)
# "n't" after an auxiliary verb, also tokenised or with another apostrophe: "can't", "won’t", "did n't".
_NEGATED = re.compile(
    r"\b(?:can|could|would|should|must|did|does|do|is|are|was|were|won|has|have|had)"
    r" ?n?['’ ]t\b"
)
# Tokens that a claim must not add to what its source says: they change who did what to whom, when, how
# much or how certainly, or they begin another clause.
_DECISIVE = frozenset(
    """, ; : $ € £ ¥ % about above after all although and any as because before below between both
    but by could down during each either every few from if least less many may might more most must
    only or over should since some than though to under unless until up when whether which while who
    whom whose will with would""".split()
)
# Tokens that a claim must not omit between the first and the last token that it takes from its source.
_MEANING_CHANGING = frozenset(
    """$ € £ % after and before between both but by could few least less might more most only or over
    under may""".split()
)
# Pronouns of the first and second person.
_PERSONAL = frozenset("i me my mine we us our you your".split())
# Where a clause ends: punctuation, or a conjunction or relative pronoun that begins the next one.
_CLAUSE_BOUNDARY = re.compile(
    r"[,;:]|\b(?:after|although|and|as|because|before|but|if|or|since|though|unless|until|when"
    r"|whether|which|while|who|whom|whose)\b",
    re.IGNORECASE,
)
# A figure ("4.5", "30,000"), a word, or one of the marks in _DECISIVE.
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[,;:$€£¥%]")
# A figure or a word.
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
# A figure or a capitalised word: it must occur in the source as it is.
_NAME_OR_FIGURE = re.compile(r"\b[A-Z][^\W\d_]*|\d+(?:[.,]\d+)*")
# One or more capitalised words in a row: "Amara Lind", "Port-Ellery".
_NAME = re.compile(r"[A-Z][^\W\d_]*(?:[ -][A-Z][^\W\d_]*)*")
# What joins two claims within a sentence.
_CLAIM_BOUNDARY = re.compile(r"(?:;|,? (?:and|but|while)\b)\s*", re.IGNORECASE)
# A citation marker that the generator wrote, with the white space before it.
_MARKER = re.compile(r"\s*\[(\d+)\]")
# "The answer to this question is: …" at the beginning of a sentence.
_PREAMBLE = re.compile(
    r"\A(?:the )?answer(?: to (?:this|the|your) question)? is(?: that\b|:)?\s*", re.IGNORECASE
)

ScoreEntailment = Callable[[str, str], EntailmentScores]
"""Function of a text and a statement: scores of the statement, given the text."""


class ClaimVerdict(NamedTuple):
    """The verdict on a sentence, with the excerpts that support it or the reason why none does."""

    verdict: Verdict
    sources: tuple[Excerpt, ...] = ()
    reason: Phrase | None = None


class _SourceMatch(NamedTuple):
    """The comparison of a claim with one source.

    Attributes:
        coverage: Share of the terms of claim and question that the source contains, 0 to 1.
        only_wording: Whether the claim is unsupported only because it is worded differently.
    """

    verdict: Verdict
    coverage: float
    reason: Phrase | None = None
    only_wording: bool = False


def verify_draft(
    draft: str,
    question: str,
    sources: Sequence[Excerpt],
    score_entailment: ScoreEntailment | None = None,
) -> CitedText:
    """Attribute each sentence of a draft to the sources that support it, or reject it.

    Args:
        draft: The generator's text. Citation markers in it are ignored.
        question: The question that it answers.
        sources: The excerpts that may support it.
        score_entailment: An entailment model, if there is one. It rejects what it does not find in
            the source, and accepts what was rejected only for its wording.

    Returns:
        All sentences with their verdicts.
    """
    verdicts: dict[str, ClaimVerdict] = {}
    unmarked = _MARKER.sub("", draft)
    for start, end in sentences(unmarked):
        claim = _strip_preamble(unmarked[start:end])
        if claim not in verdicts:
            verdicts[claim] = verify_claim(claim, question, sources, score_entailment)
    return number_citations(
        [
            CitedSentence(Sentence(claim, result.verdict, reason=result.reason), result.sources)
            for claim, result in verdicts.items()
        ]
    )


def verify_claim(
    sentence: str,
    question: str,
    sources: Sequence[Excerpt],
    score_entailment: ScoreEntailment | None = None,
) -> ClaimVerdict:
    """Verify a sentence against the sources: as a whole, or else each of its claims.

    A short answer ("Monday.") is verified as the statement that it makes together with the question.
    Claims joined by "and", "but" and the like may rest on different sources if these begin with the
    same name.
    """
    whole = _best_verdict(sentence, question, sources, score_entailment)
    first_claim, *other_claims = _CLAIM_BOUNDARY.split(sentence)
    if whole.verdict is not Verdict.UNSUPPORTED or not other_claims:
        return whole
    same_subject = [source for source in sources if _same_first_name(first_claim, source.text)]
    results = [
        _best_verdict(claim, question, same_subject, score_entailment)
        for claim in (first_claim, *other_claims)
    ]
    if all(result.verdict is Verdict.SUPPORTED for result in results):
        supporting = dict.fromkeys(source for result in results for source in result.sources)
        # A single source that contains both claims has rejected the sentence as a whole.
        if len(supporting) > 1:
            return ClaimVerdict(Verdict.SUPPORTED, tuple(supporting))
    return whole


def _strip_preamble(sentence: str) -> str:
    """Remove a preamble such as "The answer to this question is:", unless nothing else remains."""
    stripped = _PREAMBLE.sub("", sentence)
    return stripped[:1].upper() + stripped[1:] if stripped else sentence


def _same_first_name(claim: str, text: str) -> bool:
    """Whether claim and text begin with the same name, and so presumably speak of the same subject."""
    claim_name = _first_name(claim)
    return bool(claim_name) and claim_name == _first_name(text)


def _first_name(text: str) -> list[str]:
    """All words of the first name in a text: "President Lind" is not "President Orr"."""
    for name in _NAME.findall(text):
        name_words = [word for word in words(name) if word not in STOP_WORDS]
        if name_words:
            return name_words
    return []


# Of several sources, the one with the highest rank decides.
_VERDICT_RANK = {Verdict.SUPPORTED: 2, Verdict.CONTRADICTED: 1, Verdict.UNSUPPORTED: 0}


def _best_verdict(
    claim: str,
    question: str,
    sources: Sequence[Excerpt],
    score_entailment: ScoreEntailment | None,
) -> ClaimVerdict:
    """Return the verdict of the source that covers most of the claim; failing that, a contradiction."""
    matches = [(_compare(claim, question, source), source) for source in sources]
    if not matches:
        return ClaimVerdict(Verdict.UNSUPPORTED, reason=phrase(Reason.NOT_SAID))
    best, source = max(matches, key=lambda pair: (_VERDICT_RANK[pair[0].verdict], pair[0].coverage))
    if score_entailment is not None and (best.verdict is Verdict.SUPPORTED or best.only_wording):
        is_full_sentence = not set(terms(claim)).isdisjoint(terms(question))
        statement = claim if is_full_sentence else f"{question} {claim}"
        best = _with_entailment(best, score_entailment(source.text, statement))
    supporting = (source,) if best.verdict is Verdict.SUPPORTED else ()
    return ClaimVerdict(best.verdict, supporting, best.reason)


def _with_entailment(match: _SourceMatch, scores: EntailmentScores) -> _SourceMatch:
    """Return the lexical verdict as the entailment model confirms or overrules it."""
    if scores.contradicts >= MIN_ENTAILMENT:
        reason = phrase(Reason.CHECKER_CONTRADICTS)
        return match._replace(verdict=Verdict.CONTRADICTED, reason=reason)
    if match.only_wording and scores.supports >= SURE_ENTAILMENT:
        return match._replace(verdict=Verdict.SUPPORTED, reason=None)
    if match.only_wording or scores.supports >= MIN_ENTAILMENT:
        return match
    reason = phrase(Reason.CHECKER_FINDS_NOTHING)
    return match._replace(verdict=Verdict.UNSUPPORTED, reason=reason)


# -- one claim and one source


def _compare(claim: str, question: str, source: Excerpt) -> _SourceMatch:
    """Compare a claim with a source; the first rule that the claim breaks decides."""
    claim_terms, question_terms = terms(claim), set(terms(question))
    if claim.rstrip().endswith("?") or not set(claim_terms) - question_terms:
        return _unsupported(phrase(Reason.NOTHING_NEW))
    # A short answer must be contained in one clause; a full sentence may draw on all of the source.
    is_full_sentence = not question_terms or bool(question_terms.intersection(claim_terms))
    relevant_text = source.text if is_full_sentence else _clause_with(claim_terms, source.text)
    coverage = _coverage(claim_terms, question_terms, relevant_text, source)
    contradiction = _contradiction(claim, source.text)
    if contradiction:
        return _SourceMatch(Verdict.CONTRADICTED, coverage, contradiction)
    if _is_negated(source.text) != _is_negated(claim):
        return _unsupported(phrase(Reason.NEGATION_DIFFERS), coverage)
    if (_PERSONAL & set(words(claim))) - set(words(source.text)):
        return _unsupported(phrase(Reason.FIRST_OR_SECOND_PERSON), coverage)
    missing = _missing_word(claim, question_terms, relevant_text)
    if missing:
        return _unsupported(phrase(Reason.WORD_MISSING, word=missing), coverage)
    if not _preserves_order(claim, source.text):
        return _unsupported(phrase(Reason.WORDED_DIFFERENTLY), coverage, only_wording=True)
    if not _contains_most(claim_terms, relevant_text) or coverage < MIN_COVERAGE:
        return _unsupported(phrase(Reason.NOT_SAID), coverage, only_wording=True)
    return _SourceMatch(Verdict.SUPPORTED, coverage)


def _unsupported(
    reason: Phrase, coverage: float = 0.0, *, only_wording: bool = False
) -> _SourceMatch:
    return _SourceMatch(Verdict.UNSUPPORTED, coverage, reason, only_wording)


def _coverage(
    claim_terms: Sequence[str], question_terms: Set[str], relevant_text: str, source: Excerpt
) -> float:
    """The share of the terms of claim and question that the source contains, 0 to 1.

    The title and date of its article may contain the question's terms, but not the claim's.
    """
    statement = {*question_terms, *claim_terms}
    heading_terms = question_terms & set(terms(f"{source.title} {source.date or ''}"))
    return len((statement & set(terms(relevant_text))) | heading_terms) / len(statement)


def _contradiction(claim: str, text: str) -> Phrase | None:
    """How the text contradicts the claim; None if it does not.

    It does if it contains all of the claim's terms, but with another figure, or negated.
    """
    claim_terms, text_terms = set(terms(claim)), set(terms(text))
    claim_figures = [word for word in words(claim) if word[0].isdigit()]
    wrong_figures = [figure for figure in claim_figures if stem(figure) not in text_terms]
    other_terms = claim_terms - {stem(figure) for figure in wrong_figures}
    if len(other_terms) < MIN_SHARED_TERMS or not other_terms <= text_terms:
        return None
    if wrong_figures:
        text_figures = [w for w in words(text) if w[0].isdigit() and w not in claim_figures]
        if not text_figures:
            return None
        return phrase(Reason.FIGURE_DIFFERS, figure=wrong_figures[0], other=text_figures[0])
    return phrase(Reason.OPPOSITE_SAID) if _is_negated(text) != _is_negated(claim) else None


def _missing_word(claim: str, question_terms: Set[str], relevant_text: str) -> str:
    """Return the first of the claim's names, figures and question words that the text lacks."""
    text_terms = set(terms(relevant_text))
    for word in _WORD.findall(claim):
        lowered = word.lower()
        is_required = _NAME_OR_FIGURE.fullmatch(word) or stem(lowered) in question_terms
        if is_required and lowered not in STOP_WORDS and stem(lowered) not in text_terms:
            return str(word)
    return ""


def _contains_most(claim_terms: Sequence[str], text: str) -> bool:
    text_terms = set(terms(text))
    return sum(term in text_terms for term in claim_terms) >= MIN_CLAIM_COVERAGE * len(claim_terms)


def _preserves_order(claim: str, text: str) -> bool:
    """Whether the claim's tokens follow the text's order, with no decisive token added or omitted."""
    claim_tokens, text_tokens = _tokens(claim), _tokens(text)
    matcher = SequenceMatcher(None, claim_tokens, text_tokens, autojunk=False)
    blocks = matcher.get_matching_blocks()[:-1]  # the last one is a sentinel
    if not blocks:
        return False
    matched_in_claim = {i for block in blocks for i in range(block.a, block.a + block.size)}
    matched_in_text = {i for block in blocks for i in range(block.b, block.b + block.size)}
    added = [token for i, token in enumerate(claim_tokens) if i not in matched_in_claim]
    span = range(blocks[0].b, blocks[-1].b + blocks[-1].size)
    omitted = [text_tokens[i] for i in span if i not in matched_in_text]
    if _DECISIVE.intersection(added) or _MEANING_CHANGING.intersection(omitted):
        return False
    claim_terms = terms(claim)
    out_of_order = sum(token in claim_terms for token in added)
    return out_of_order <= (1 - MIN_IN_ORDER) * len(claim_terms)


def _tokens(text: str) -> list[str]:
    """Return words as stems, figures, and the punctuation marks that are decisive."""
    return [
        stem(token) if token.isalpha() and token not in _DECISIVE else token
        for token in _TOKEN.findall(text.lower())
    ]


def _clause_with(claim_terms: Sequence[str], text: str) -> str:
    """Return the first clause of the text that contains all of the terms; empty if none does."""
    wanted = set(claim_terms)
    clauses = _CLAUSE_BOUNDARY.split(text)
    return next((clause for clause in clauses if wanted <= set(terms(clause))), "")


def _is_negated(text: str) -> bool:
    lowered = text.lower()
    return bool(_NEGATIONS.intersection(words(lowered)) or _NEGATED.search(lowered))
