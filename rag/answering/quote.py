"""Quotations: evidence sentences quoted verbatim, each attributed to its article."""

from collections.abc import Sequence

from rag.answering.citations import CitedSentence, CitedText, number_citations
from rag.types import Evidence, Excerpt, Sentence, Verdict

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
    next_ids = [*(excerpt.article_id for excerpt in excerpts[1:]), ""]
    quotations = []
    for excerpt, next_id in zip(excerpts, next_ids, strict=False):
        attribution = "" if excerpt.article_id == next_id else f", says {_article_label(excerpt)}."
        text = f"“{_without_full_stop(excerpt.text)}”{attribution}"
        quotation = Sentence(text, Verdict.SUPPORTED, quoted=True)
        quotations.append(CitedSentence(quotation, (excerpt,)))
    return quotations


def _without_full_stop(text: str) -> str:
    """Remove the final full stop, which follows the quotation; an ellipsis stays."""
    return text.removesuffix(".").rstrip() if not text.endswith("..") else text


def _article_label(excerpt: Excerpt) -> str:
    title = excerpt.title
    if len(title) > MAX_TITLE_CHARACTERS:
        title = f"{title[:MAX_TITLE_CHARACTERS]}…"
    return f"{title} ({excerpt.date})" if excerpt.date else title
