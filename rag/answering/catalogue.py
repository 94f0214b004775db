"""Questions about the collection itself: how many articles there are or mention something, and which.

They are answered from the index, exactly, and never with a figure from the text of an article.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from rag.answering.citations import CitedSentence
from rag.answering.temporal import Period, find_period
from rag.store.browse import (
    ArticleSort,
    ArticleSummary,
    find_mentions,
    list_articles,
    list_publishers,
)
from rag.store.reader import IndexReader
from rag.text.sentences import sentences
from rag.text.tokens import STOP_WORDS, words
from rag.types import ALL_ARTICLES, ArticleFilter, Excerpt, Sentence, Verdict, excerpt_of
from rag.wording import Phrase, phrase

MAX_LISTED = 10
"""Most articles that an answer names."""


class Selection(StrEnum):
    """Which articles a question about the collection asks for."""

    ALL = "all"
    MENTIONING = "mentioning"
    """Those whose title or text contains all of some phrases."""
    OLDEST_AND_NEWEST = "oldest_and_newest"


@dataclass(frozen=True, slots=True)
class CatalogueQuery:
    """A question about the collection.

    Attributes:
        phrases: What the articles mention, as written; every one of them.
        article_filter: Their sources and dates.
    """

    selection: Selection
    phrases: tuple[str, ...]
    article_filter: ArticleFilter


@dataclass(frozen=True, slots=True)
class CatalogueResult:
    """The articles that a question about the collection asks for.

    Attributes:
        query: The question.
        count: The number of articles.
        mentions: Where each of the first of them, at most `MAX_LISTED`, mentions the first phrase; its
            first sentence if there is no phrase.
    """

    query: CatalogueQuery
    count: int
    mentions: tuple[Excerpt, ...]


def _any_of(*alternatives: str) -> str:
    """Return a pattern that matches one of several alternatives."""
    return f"(?:{'|'.join(alternatives)})"


# Words between "articles" and what they are about: "that … do you have", "mentioning …".
_LINK = _any_of(
    "that|which|who|you|we|i",
    "are there|do you have|have you got|there|of them",
    "are|is|do|does|did|have|has",
)
_MENTION = _any_of(
    "mention(?:s|ing|ed)?",
    "contain(?:s|ing)?",
    "talk(?:s|ing)? about",
    "speak(?:s|ing)? of",
    "deal(?:s|ing)? with",
    "cover(?:s|ing)?",
    "refer(?:s|ring)? to",
    "report(?:s|ing)? (?:on|about)",
    "discuss(?:es|ing)?",
    "concerning|featuring|naming",
    "about|on|with|name",
)
_RELATION = re.compile(rf"\A(?:{_LINK}\s+)*(?:{_MENTION}\b\s*)*", re.IGNORECASE)
# Words after it: "… come up", "… are mentioned", "… do you have".
_TRAILING = _any_of(
    "comes? up",
    "occurs?",
    "appears?",
    "features?",
    "(?:is|are|was|were) (?:mentioned|named)",
    "gets? mentioned",
    "are there",
    "do you have",
    "in total|altogether|at all",
)
_TRAILING_VERB = re.compile(rf"(?:\A|\s+){_TRAILING}\W*\Z", re.IGNORECASE)
_EXTREMES = re.compile(
    r"\b(?:oldest|newest|earliest|latest|first|last|most recent)\b", re.IGNORECASE
)
_AND = re.compile(r"\s*(?:,|\band\b|&)\s*", re.IGNORECASE)
_EDGES = " \t\n?.!,:;'\"“”‘’"
_TIME_WORDS = re.compile(
    r"\b(?:published|dated|written|from|in|on|of|between|since|before|after|until|during)\b"
    r"[^,]*?\b\d{4}\b(?:-\d\d(?:-\d\d)?)?.*\Z",
    re.IGNORECASE,
)


def parse_catalogue_query(
    question: str,
    subject: str,
    publishers: Sequence[str],
    article_filter: ArticleFilter = ALL_ARTICLES,
) -> CatalogueQuery:
    """Return what a question about the collection asks for.

    Args:
        question: The question.
        subject: What follows "articles" in it.
        publishers: The sources that the question may name.
        article_filter: Restricts the articles, besides the question.
    """
    publisher = next((p for p in publishers if _contains(subject, p)), None)
    period = find_period(subject) or Period("", "")
    article_filter = article_filter.within(*period)
    if publisher:
        article_filter = replace(article_filter, sources=(publisher,))
    if _EXTREMES.search(question):
        return CatalogueQuery(Selection.OLDEST_AND_NEWEST, (), article_filter)
    topic = _TIME_WORDS.sub("", subject) if period != Period("", "") else subject
    if publisher:
        topic = re.sub(
            rf"(?:from|by|in|of)?\s*(?:the\s+)?{re.escape(publisher)}",
            "",
            topic,
            flags=re.IGNORECASE,
        )
    topic = _TRAILING_VERB.sub("", _RELATION.sub("", topic.strip(_EDGES))).strip(_EDGES)
    topic = re.sub(r"\Aboth\s+", "", topic, flags=re.IGNORECASE)
    if all(word in STOP_WORDS for word in words(topic)):
        return CatalogueQuery(Selection.ALL, (), article_filter)
    phrases = tuple(part.strip(_EDGES) for part in _AND.split(topic) if part.strip(_EDGES))
    return CatalogueQuery(Selection.MENTIONING, phrases, article_filter)


def run_catalogue_query(
    index: IndexReader,
    question: str,
    subject: str,
    article_filter: ArticleFilter = ALL_ARTICLES,
) -> CatalogueResult:
    """Answer a question about the collection.

    Args:
        index: The index.
        question: The question.
        subject: What follows "articles" in it.
        article_filter: Restricts the articles, besides the question.
    """
    publishers = article_filter.sources or list_publishers(index)
    query = parse_catalogue_query(question, subject, publishers, article_filter)
    if query.selection is Selection.MENTIONING:
        mentions = find_mentions(index, query.phrases, query.article_filter)
        return CatalogueResult(query, len(mentions), tuple(mentions[:MAX_LISTED]))
    oldest, count = list_articles(index, "", query.article_filter, ArticleSort.OLDEST, MAX_LISTED)
    if query.selection is Selection.OLDEST_AND_NEWEST:
        newest, _ = list_articles(index, "", query.article_filter, ArticleSort.NEWEST, 1)
        oldest = [*oldest[:1], *newest]
    return CatalogueResult(query, count, tuple(_beginning(index, each) for each in oldest))


def _contains(text: str, phrase: str) -> bool:
    return re.search(rf"\b{re.escape(phrase)}\b", text, re.IGNORECASE) is not None


def _beginning(index: IndexReader, summary: ArticleSummary) -> Excerpt:
    """Return the first sentence of an article."""
    article = index.article(summary.id)
    if article is None:
        raise LookupError(f"article {summary.id} was listed, but is not in the index")
    start, end = next(sentences(article.text), (0, len(article.text)))
    return excerpt_of(article, start, end)


def describe(result: CatalogueResult, *, names: bool) -> list[CitedSentence]:
    """Return the answer to a question about the collection.

    Args:
        result: The articles.
        names: Whether to name the articles rather than only count them.
    """
    if result.query.selection is Selection.OLDEST_AND_NEWEST:
        return [
            _cited(phrase(code, title=_label(excerpt)), [excerpt])
            for code, excerpt in zip(
                ("oldest_article", "newest_article"), result.mentions, strict=False
            )
        ]
    if names and result.count:
        titles = "; ".join(map(_label, result.mentions))
        return [_cited(phrase("articles_selected", n=result.count, titles=titles), result.mentions)]
    subject = ", ".join(f"“{part}”" for part in result.query.phrases)
    if not subject:
        return [_cited(phrase("all_articles", n=result.count), result.mentions)]
    if not result.count:
        return [_cited(phrase("articles_mention_none", subject=subject), [])]
    return [_cited(phrase("articles_mention", n=result.count, subject=subject), result.mentions)]


def _label(excerpt: Excerpt) -> str:
    return f"{excerpt.title} ({excerpt.date})" if excerpt.date else excerpt.title


def _cited(text: Phrase, sources: Sequence[Excerpt]) -> CitedSentence:
    return CitedSentence(Sentence("", Verdict.SUPPORTED, phrase=text), tuple(sources))
