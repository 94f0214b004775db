"""Verification of sentences against the passages that they may cite.

A sentence is supported if two things hold for one passage. Every figure, date and name in it is also in
the passage, in the heading of its article or in the question: this is exact. And the judge, by default
the reader's network (`rag.models.reading`), reads the sentence as supported: this is about its meaning.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from rag.answering.citations import CitedSentence, CitedText, number_citations
from rag.answering.evidence import readable_passage
from rag.models.reading.reader import ReadablePassage
from rag.text.chunking import full_heading
from rag.text.numerals import digits
from rag.text.sentences import sentences
from rag.text.tokens import PRONOUNS, STOP_WORDS, stem, terms, words
from rag.types import ClaimScores, Excerpt, Reason, Sentence, Verdict, excerpt_part
from rag.wording import Phrase, phrase

MIN_SUPPORT = 0.5
"""Probability from which on the judge supports a sentence."""

FIGURE_WEIGHT = 4
"""How much more than another word a figure says about which sentence supports a claim."""

MIN_CONTRADICTION = 0.5
"""Probability from which on the judge finds the contrary in the passage."""

# Capitalised words that are no names.
_NO_NAMES = STOP_WORDS | frozenset(
    "yes nobody none nothing never both neither either also according".split()
)
# A figure, or a word that begins with a capital letter.
_NAME_OR_FIGURE = re.compile(r"\b[A-Z][^\W\d_]*|\d+(?:[.,]\d+)*")
# A citation marker that the generator wrote, with the white space before it.
_MARKER = re.compile(r"\s*\[(\d+)\]")
# "The answer to this question is: …" at the beginning of a sentence.
_PREAMBLE = re.compile(
    r"\A(?:the )?answer(?: to (?:this|the|your) question)? is(?: that\b|:)?\s*", re.IGNORECASE
)
# Pronouns of the first and second person.
_PERSONAL = frozenset("i me my mine we us our you your".split())


class Judge(Protocol):
    """A model that judges whether passages support a claim: the reader, or one that the user chose."""

    def judge(self, claim: str, passages: Sequence[ReadablePassage]) -> list[ClaimScores]:
        """Return the scores of the claim by each passage. Raises ModelError if it cannot be loaded."""
        ...


class ClaimVerdict(NamedTuple):
    """The verdict on a sentence, with the excerpts that support it or the reason why none does."""

    verdict: Verdict
    sources: tuple[Excerpt, ...] = ()
    reason: Phrase | None = None


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies sentences with one judge.

    Attributes:
        judge: Judges the meaning of a sentence.
    """

    judge: Judge

    def verify_draft(self, draft: str, question: str, passages: Sequence[Excerpt]) -> CitedText:
        """Attribute each sentence of a draft to the passage that supports it, or reject it.

        Args:
            draft: The generator's text. Citation markers in it are ignored.
            question: The question that it answers.
            passages: The passages that may support it.

        Returns:
            All sentences with their verdicts.
        """
        verdicts: dict[str, ClaimVerdict] = {}
        unmarked = _MARKER.sub("", draft)
        for start, end in sentences(unmarked):
            claim = _strip_preamble(unmarked[start:end])
            if claim not in verdicts:
                verdicts[claim] = self.verify(claim, question, passages)
        return number_citations(
            [
                CitedSentence(Sentence(claim, result.verdict, reason=result.reason), result.sources)
                for claim, result in verdicts.items()
            ]
        )

    def verify(self, sentence: str, question: str, passages: Sequence[Excerpt]) -> ClaimVerdict:
        """Verify a sentence against passages; of several that support it, the surest is cited.

        A short answer ("Monday.") is verified together with the question.

        Args:
            sentence: The sentence.
            question: The question that it answers; may be empty.
            passages: The passages that may support it, best first.
        """
        if reason := _formal_fault(sentence, question):
            return ClaimVerdict(Verdict.UNSUPPORTED, reason=reason)
        candidates = [p for p in passages if not missing_word(sentence, question, p)]
        if not candidates:
            word = missing_word(sentence, question, passages[0]) if passages else ""
            reason = phrase(Reason.WORD_MISSING, word=word) if word else phrase(Reason.NOT_SAID)
            return ClaimVerdict(Verdict.UNSUPPORTED, reason=reason)
        scores = self.judge.judge(
            as_claim(sentence, question), list(map(readable_passage, candidates))
        )
        best, passage = max(
            zip(scores, candidates, strict=True), key=lambda pair: pair[0].supported
        )
        if best.supported >= MIN_SUPPORT:
            source = carrying_sentences(sentence, question, passage)
            return ClaimVerdict(Verdict.SUPPORTED, (source,))
        if max(score.contradicted for score in scores) >= MIN_CONTRADICTION:
            reason = phrase(Reason.OPPOSITE_SAID)
            return ClaimVerdict(Verdict.CONTRADICTED, reason=reason)
        return ClaimVerdict(Verdict.UNSUPPORTED, reason=phrase(Reason.NOT_SAID))


def as_claim(sentence: str, question: str) -> str:
    """Return the claim that a sentence makes: with the question, if it makes sense only with it."""
    question_terms = set(terms(question))
    is_full_sentence = not question_terms or bool(question_terms.intersection(terms(sentence)))
    return sentence if is_full_sentence else f"{question.rstrip(' ?')}? {sentence}"


def missing_word(sentence: str, question: str, passage: Excerpt) -> str:
    """Return the first name or figure of a sentence that neither passage nor question has; or nothing.

    Figures are compared as numbers: "eleven" is 11, "30,000" is 30000.
    """
    known = set(
        _comparable(f"{full_heading(passage.title, passage.date)} {passage.text} {question}")
    )
    for match in _NAME_OR_FIGURE.finditer(digits(sentence)):
        word = match[0]
        if word.lower() not in _NO_NAMES and not set(_comparable(word)) <= known:
            return word
    return ""


def _comparable(text: str) -> Iterator[str]:
    return (stem(word) for word in words(digits(text)))


def _formal_fault(sentence: str, question: str) -> Phrase | None:
    """Return why a sentence is no answer, whatever the passages are."""
    sentence_terms = set(terms(sentence))
    says_yes_or_no = words(sentence)[:1] in (["yes"], ["no"])
    if sentence.rstrip().endswith("?") or (
        sentence_terms <= set(terms(question)) and not says_yes_or_no
    ):
        return phrase(Reason.NOTHING_NEW)
    if _PERSONAL.intersection(words(sentence)):
        return phrase(Reason.FIRST_OR_SECOND_PERSON)
    return None


def carrying_sentences(sentence: str, question: str, passage: Excerpt) -> Excerpt:
    """Return the sentence of a passage that says most of what another says, with the one it refers to."""
    claim_terms = set(terms(digits(sentence)))
    question_terms = set(terms(digits(question)))
    spans = list(sentences(passage.text)) or [(0, len(passage.text))]

    def shared(span: tuple[int, int]) -> float:
        text_terms = set(terms(digits(passage.text[slice(*span)])))
        figures = sum(term[:1].isdigit() for term in claim_terms & text_terms)
        return (
            2 * len(claim_terms & text_terms)
            + FIGURE_WEIGHT * figures
            + len(question_terms & text_terms)
        )

    best = max(range(len(spans)), key=lambda number: shared(spans[number]))
    start, end = spans[best]
    if best > 0 and not PRONOUNS.isdisjoint(words(passage.text[start:end])[:2]):
        start = spans[best - 1][0]
    return excerpt_part(passage, start, end)


def _strip_preamble(sentence: str) -> str:
    """Remove a preamble such as "The answer to this question is:", unless nothing else remains."""
    stripped = _PREAMBLE.sub("", sentence)
    return stripped[:1].upper() + stripped[1:] if stripped else sentence
