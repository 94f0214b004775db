"""What a taught generator makes of the evidence → how sure an answer is, and which sentence it rests on.

Two judges that err differently: the encoder's weights compare a sentence with the question word by
word; the generator reads the best sentences beside each other, and says how likely it is that none
answers, and an answer that stands in some of them. docs/training.md says what each is worth.
"""

from collections.abc import Sequence
from math import exp, log

from rag.datatypes import Evidence, Excerpt, ShortAnswer
from rag.language import words

BY_GENERATOR = 0.7
"""What the generator's log odds that there is an answer count for, beside those of the best sentence."""

USUAL = -1.0
"""Log odds by the generator at which the best sentence's score stands: it doubts too often."""

MOST_GAINED = 1.0
"""Log odds: a generator that sees an answer where the encoder sees none is not believed further."""

LEAST_CERTAIN = 0.3
"""Of a short answer, a certainty below which it is as often wrong as right, and the quotation speaks."""

BY_SHORT_ANSWER = 1.0
"""Log odds by which a sentence that holds the short answer is moved forward."""

SUREST = 6.0
"""Log odds beyond which nobody is believed."""


def confidence(evidence: Sequence[Evidence], short: ShortAnswer) -> float:
    """How surely the articles hold an answer, 0 to 1, by the best of the evidence and the generator."""
    best = max(found.score for found in evidence)
    gained = BY_GENERATOR * (_log_odds(1 - short.none) - USUAL)
    return _probability(_log_odds(best) + min(MOST_GAINED, gained))


def at_most(score: float) -> float:
    """How surely the articles hold an answer at most, when the best of the evidence has this score."""
    return _probability(_log_odds(score) + MOST_GAINED)


def reordered(
    evidence: Sequence[Evidence], sources: Sequence[Excerpt], short: ShortAnswer
) -> list[Evidence]:
    """The evidence with those of the `sources` moved forward that hold the short answer.

    Scores stay as they were: the sentence that was best may still be worth quoting beside.
    """

    def place(found: Evidence) -> float:
        given = found.sentence in sources
        return -_log_odds(found.score) - BY_SHORT_ANSWER * (
            given and holds(found.sentence, short.text)
        )

    return sorted(evidence, key=place)


def holds(sentence: Excerpt, text: str) -> bool:
    """Whether a short answer stands in the sentence, word for word."""
    said = words(text)
    return bool(said) and f" {' '.join(said)} " in f" {' '.join(words(sentence.text))} "


def _log_odds(probability: float) -> float:
    odds = max(probability, 1e-9) / max(1 - probability, 1e-9)
    return max(-SUREST, min(SUREST, log(odds)))


def _probability(log_odds: float) -> float:
    return 1 / (1 + exp(-log_odds))
