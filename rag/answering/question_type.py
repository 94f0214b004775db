"""Question types: what kind of answer a question asks for, and what it is about.

The rules are a table, tried from top to bottom. A question that matches none is a look-up: it asks for
one fact.
"""

import re
from dataclasses import dataclass

from rag.answering.temporal import Period, find_period
from rag.text.dates import MONTH_PATTERN
from rag.types import QuestionKind


@dataclass(frozen=True, slots=True)
class QuestionPlan:
    """How a question is to be answered.

    Attributes:
        kind: What kind of answer it asks for.
        subject: What it is about: the question without the words that only ask.
        parts: The questions of which it consists; the question itself if it is only one.
        period: The time that it asks about; None if it names none.
    """

    kind: QuestionKind
    subject: str
    parts: tuple[str, ...]
    period: Period | None = None


def _one_of(alternatives: str) -> str:
    """Return a pattern that matches one of several alternatives, which are separated by white space."""
    return f"(?:{'|'.join(alternatives.split())})"


_ARTICLE = _one_of("articles? story stories pieces? reports? texts?")
_POLITE = (
    r"(?:(?:can|could|would|will) you\s+|please\s+|pls\s+|i(?:'d| would) like (?:you )?to\s+)*"
)
_AUXILIARY = _one_of("is are was were do does did can could will would has have")
_YES_NO_VERB = _one_of(
    "is are was were do does did has have had can could will would should may might"
    " isn't aren't wasn't weren't don't doesn't didn't hasn't haven't won't can't"
)
_ASKING_WORD = _one_of("who whom whose what when where why which how")
_COMPARATIVE = _one_of("more less bigger longer older larger stronger higher")
_PLURAL = _one_of("companies countries banks goods people reasons foods cities names women men")
_NO_PLURAL = _one_of("is was are were year day does has species series")
_EXTREME = r"(?:oldest|newest|latest|first|last|most recent)"
_SUBJECT = r"(?P<subject>.*)"
_ABOUT = rf"(?: (?:with|about|to|at))?{_SUBJECT}"

# The group "subject" is what remains to be searched for; by default, the whole question.
_TABLE: tuple[tuple[QuestionKind, str], ...] = (
    (QuestionKind.ARTICLE_COUNT, rf"(?:in )?how many (?:of the )?{_ARTICLE}\b{_SUBJECT}"),
    (
        QuestionKind.ARTICLE_LIST,
        rf"{_POLITE}(?:which|what|list|show|name)(?: me)?(?: is| are)?(?: all)?(?: of)?(?: the)?"
        rf"(?: {_EXTREME}(?: and {_EXTREME})?)?"
        rf" {_ARTICLE}\b(?! (?:say|report|tell|write|about) ){_SUBJECT}",
    ),
    (
        QuestionKind.ARTICLE_LIST,
        rf"{_POLITE}(?:list|show)(?: me)? (?:all )?(?:the )?{_ARTICLE}\b{_SUBJECT}",
    ),
    (QuestionKind.ARTICLE_LIST, rf"what (?:topics|subjects)\b{_SUBJECT}"),
    (
        QuestionKind.SUMMARY,
        rf"{_POLITE}(?:give me (?:the |a )?|write (?:me )?(?:a |the )?|what (?:are|is) the )?"
        r"(?:short |brief |quick )?"
        r"(?:summari[sz]e|summary|sum up|tl;?dr|key points|main points|gist|key facts)"
        r"(?: of| in| for| on| about)?:?"
        rf"(?: the| this| that)?(?: {_ARTICLE})?(?: (?:about|on|of|titled|called|where))?{_SUBJECT}",
    ),
    (QuestionKind.COMPARISON, r"compare .*"),
    (QuestionKind.COMPARISON, r".* compared (?:to|with) .*"),
    (QuestionKind.COMPARISON, r".* (?:vs\.?|versus) .*"),
    (QuestionKind.COMPARISON, r"(?:what(?:'s| is) the )?difference between .*"),
    (QuestionKind.COMPARISON, rf"which .*\b{_COMPARATIVE}\b.*\bor\b.*"),
    (QuestionKind.COMPARISON, r"how did .* change (?:between|from) .*"),
    (QuestionKind.COMPARISON, r"what do .* and .* each .*"),
    (
        QuestionKind.LATEST,
        r"(?:so )?(?:what(?:'s| is|s)|any|tell me)? ?(?:the )?(?:very )?"
        r"(?:latest|newest|news|most recent news|newest news|recent developments?)"
        rf"(?: {_ARTICLE})?(?: (?:on|about|in|of|with|regarding))?{_SUBJECT}",
    ),
    (QuestionKind.LATEST, rf"what(?:'s| is) new (?:about|with|on){_SUBJECT}"),
    (
        QuestionKind.LATEST,
        r"(?P<subject>(?:how did|how has|where does) .*\b"
        r"(?:end(?:ed)?|turn(?:ed)? out|end up|go in the end|stand(?: now)?))\W*",
    ),
    (QuestionKind.LATEST, r".*\bin the end\b.*"),
    (
        QuestionKind.OVERVIEW,
        rf"{_POLITE}(?:tell me|what do you (?:know|have)|anything|something|information|info)"
        rf"(?: more)? about{_ABOUT}",
    ),
    (
        QuestionKind.OVERVIEW,
        rf"{_POLITE}what (?:do|does|did) (?:the |these |your )?{_ARTICLE}"
        rf" (?:say|report|tell|write) (?:us )?(?:about|on|of){_ABOUT}",
    ),
    (
        QuestionKind.OVERVIEW,
        rf"{_POLITE}what (?:happened|was going on|is going on|went on)(?= \w){_ABOUT}",
    ),
    (
        QuestionKind.OVERVIEW,
        rf"{_POLITE}what (?:was|has been|is) (?:reported|known|the story)"
        rf"(?: (?:about|on|with|of))?{_ABOUT}",
    ),
    (QuestionKind.EXPLANATION, r"(?:and |so |but )?(?:why|how come|for what reason)\b.*"),
    (QuestionKind.EXPLANATION, rf"how {_AUXILIARY}\b.*"),
    (QuestionKind.LIST, r"(?:list|name)\b.*"),
    (QuestionKind.LIST, r".*\b(?:list|name) (?:them )?all\b.*"),
    (QuestionKind.LIST, rf"(?:which|what) (?!{_NO_PLURAL}\b)\w*[a-rt-z]s\b(?! name).*"),
    (QuestionKind.LIST, rf"(?:which|what) (?:\w+ )?{_PLURAL}\b.*"),
    (QuestionKind.LIST, r"(?:what|which|who) (?:were|are) .*\btargets?\b.*"),
    (QuestionKind.YES_NO, rf"(?:so |and |but )?{_YES_NO_VERB}\b .*"),
)
_RULES = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _TABLE)

# A second question in the same sentence.
_NEXT_QUESTION = re.compile(
    rf"(?:,|;|\?)?\s+and\s+(?=(?:(?:by|at|in|for|of|with|from|to|on) )?{_ASKING_WORD}\b)"
    r"|\?\s+(?=\w)",
    re.IGNORECASE,
)
_ASKS = re.compile(rf"\b(?:{_ASKING_WORD}|is|are|was|were|did|do|does|has|have)\b", re.IGNORECASE)
# A word that is neither part of a date nor a function word.
_NOT_TIME = re.compile(
    rf"\b(?!(?:{MONTH_PATTERN}|between|from|and|to|until|till|since|before|after|in|on|the|of|during"
    r"|last|this|reported|happened|st|nd|rd|th)\b)[^\W\d_]+\b",
    re.IGNORECASE,
)
# "the kilogram story", "the crash story where Boeing is blamed"
_ARTICLE_WORD = re.compile(rf"\s{_ARTICLE}\b(?: where\b)?(?=\W*\Z| )", re.IGNORECASE)
_EDGES = " \t\n?.!,:;'\"“”‘’"
_TRAILING_COURTESY = re.compile(
    r"(?:,? (?:for me|please|pls|plz|thanks|thank you)"
    r"| in (?:a few|two|three|one) (?:sentences?|words))+\W*\Z",
    re.IGNORECASE,
)


def plan_question(question: str) -> QuestionPlan:
    """Return how a question is to be answered, by the first rule of the table that matches it."""
    text = _TRAILING_COURTESY.sub("", question.strip()).strip()
    period = find_period(text)
    for kind, pattern in _RULES:
        match = pattern.fullmatch(text.rstrip(" ?!."))
        if match is None:
            continue
        subject = match.groupdict().get("subject", match[0]).strip(_EDGES)
        if kind in _ABOUT_ARTICLES:
            subject = _ARTICLE_WORD.sub("", subject).strip(_EDGES)
        if kind is QuestionKind.OVERVIEW and period is not None and _only_names_time(subject):
            kind = QuestionKind.PERIOD
        return QuestionPlan(kind, subject, _split(text) if kind in _DIVISIBLE else (text,), period)
    is_question = text.endswith("?") or _ASKS.search(text)
    kind = QuestionKind.LOOKUP if is_question else QuestionKind.KEYWORDS
    return QuestionPlan(kind, text.strip(_EDGES), _split(text), period)


_ABOUT_ARTICLES = frozenset({QuestionKind.SUMMARY, QuestionKind.OVERVIEW, QuestionKind.LATEST})
"""Kinds of questions whose subject may be followed by the word for an article: "the kilogram story"."""

_DIVISIBLE = frozenset({QuestionKind.LOOKUP, QuestionKind.LIST, QuestionKind.EXPLANATION})
"""Kinds of questions that may consist of several questions."""


def _only_names_time(subject: str) -> bool:
    """Return whether a subject consists of a time and function words: "in May 2019"."""
    return not _NOT_TIME.search(subject)


def _split(text: str) -> tuple[str, ...]:
    """Return the questions in a text that asks several, else the text."""
    parts = [part.strip() for part in _NEXT_QUESTION.split(text) if part.strip()]
    complete = all(" " in part and _ASKS.search(part) for part in parts)  # not "When and where …?"
    return tuple(parts) if parts and complete else (text,)
