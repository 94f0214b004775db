"""Confidence that the articles answer a question, from the evidence scores and an extractive generator.

The two are combined because they fail differently: the evidence score compares each sentence with the
question token by token; the generator reads the best sentences together, and estimates how probable it
is that they contain no answer. docs/training.md reports what each contributes.
"""

from collections.abc import Sequence
from math import exp, log

from rag.text.tokens import words
from rag.types import Evidence, Excerpt, ExtractiveAnswer

GENERATOR_WEIGHT = 0.7
"""Weight of the generator's log odds of an answer, relative to those of the best evidence."""

GENERATOR_BIAS = -1.0
"""Log odds of the generator at which the evidence score stays as it is: it underestimates."""

MAX_GAIN = 1.0
"""Maximum increase of the log odds by the generator: it may see an answer where there is none."""

MIN_PROBABILITY = 0.3
"""Probability of a short answer below which it is wrong as often as right, and a quotation is better."""

SHORT_ANSWER_GAIN = 1.0
"""Log odds that a sentence gains in the ranking if it contains the short answer."""

MAX_LOG_ODDS = 6.0
"""Bound on the absolute value of log odds."""


def confidence(evidence: Sequence[Evidence], short_answer: ExtractiveAnswer) -> float:
    """Return the probability, 0 to 1, that the articles answer the question.

    Args:
        evidence: At least one scored sentence.
        short_answer: What the generator made of the best of them.
    """
    best_score = max(item.score for item in evidence)
    gain = GENERATOR_WEIGHT * (_log_odds(1 - short_answer.p_no_answer) - GENERATOR_BIAS)
    return _probability(_log_odds(best_score) + min(MAX_GAIN, gain))


def upper_bound(score: float) -> float:
    """Return the highest possible `confidence` for this score of the best evidence."""
    return _probability(_log_odds(score) + MAX_GAIN)


def rerank_by_answer(
    evidence: Sequence[Evidence], sources: Sequence[Excerpt], short_answer: ExtractiveAnswer
) -> list[Evidence]:
    """Move evidence forward that contains the short answer.

    Args:
        evidence: The evidence, best first. Its scores do not change.
        sources: The sentences that the generator has read; only these are moved.
        short_answer: The generator's answer.
    """

    def rank_key(item: Evidence) -> float:
        gains = item.sentence in sources and contains_words(item.sentence, short_answer.text)
        return -_log_odds(item.score) - SHORT_ANSWER_GAIN * gains

    return sorted(evidence, key=rank_key)


def contains_words(sentence: Excerpt, text: str) -> bool:
    """Whether the sentence contains the words of a text in a row."""
    text_words = words(text)
    sentence_words = words(sentence.text)
    return bool(text_words) and f" {' '.join(text_words)} " in f" {' '.join(sentence_words)} "


def _log_odds(probability: float) -> float:
    odds = max(probability, 1e-9) / max(1 - probability, 1e-9)
    return max(-MAX_LOG_ODDS, min(MAX_LOG_ODDS, log(odds)))


def _probability(log_odds: float) -> float:
    return 1 / (1 + exp(-log_odds))
