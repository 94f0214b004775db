"""Quotations: evidence sentences quoted verbatim, each attributed to its article."""

from collections.abc import Sequence

from rag.answering.citations import CitedSentence, CitedText, number_citations
from rag.types import Attribution, Evidence, Excerpt, Sentence, Verdict

MAX_TITLE_CHARACTERS = 60
"""Length beyond which the title of a quoted article is truncated."""


def quote_evidence(evidence: Sequence[Evidence]) -> CitedText:
    """Return an answer that consists of the evidence sentences, verbatim and attributed."""
    return number_citations(_quotations([item.sentence for item in evidence]))


def with_supporting_quotes(
    short_answer: CitedText, source: Excerpt, quotes: Sequence[Excerpt]
) -> CitedText:
    """Append quotations to a short answer.

    Args:
        short_answer: A verified draft.
        source: The excerpt that its supported sentences cite.
        quotes: The excerpts to quote after them.

    Returns:
        The supported sentences, then the quotations, then the rejected sentences.
    """
    supported = [
        CitedSentence(sentence, (source,))
        for sentence in short_answer.sentences
        if sentence.supported
    ]
    rejected = [
        CitedSentence(sentence) for sentence in short_answer.sentences if not sentence.supported
    ]
    return number_citations([*supported, *_quotations(quotes), *rejected])


def _quotations(excerpts: Sequence[Excerpt]) -> list[CitedSentence]:
    """Quote excerpts; consecutive excerpts of one article are attributed once, after the last."""
    next_articles = [*(excerpt.article for excerpt in excerpts[1:]), None]
    quotations = []
    for excerpt, next_article in zip(excerpts, next_articles, strict=False):
        quotation = Sentence(
            _without_full_stop(excerpt.text),
            Verdict.SUPPORTED,
            quoted=True,
            attribution=None if excerpt.article == next_article else _attribute(excerpt),
        )
        quotations.append(CitedSentence(quotation, (excerpt,)))
    return quotations


def _without_full_stop(text: str) -> str:
    """Remove the final full stop, which follows the quotation; an ellipsis stays."""
    return text.removesuffix(".").rstrip() if not text.endswith("..") else text


def _attribute(excerpt: Excerpt) -> Attribution:
    title = excerpt.title
    if len(title) > MAX_TITLE_CHARACTERS:
        title = f"{title[:MAX_TITLE_CHARACTERS]}…"
    return Attribution(title, excerpt.date)
