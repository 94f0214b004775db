"""Contextualisation of follow-up questions: conversation + question → a standalone search query."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence, Set
from heapq import nlargest
from math import log

from rag.text.tokens import PRONOUNS, Idf, stem, terms, word_spans, words
from rag.types import Message, SearchQuery

# A citation marker in an answer: "[1]".
_MARKER = re.compile(r"\[\d+\]")

# Begins a continuation; "And Ann Lee?" is one, "And who is Ann Lee?" is too.
_CONTINUATION = re.compile(r"\s*(?:and|so|but|then|what about|how about|why not)\b", re.IGNORECASE)
# "the second one", "which one"
_ELLIPTIC_ONE = re.compile(
    r"\b(?:the|which|that|this) (?:\w+ )?one"
    r"(?:\W*\Z|(?= (?:is|was|did|does|do|has|had|will|can|and|or)\b)|(?= (?!thing)\w+ing\b))",
    re.IGNORECASE,
)
# A capitalised word that does not begin the question.
_NAME = re.compile(r"(?<=[\w,;:’'\"“)] )[A-Z][\w’'-]+")
# A question that only names another subject.
_OTHER_SUBJECT = re.compile(
    r"\s*(?:and(?: what about| how about)?|what about|how about)\s+"
    r"(?P<subject>(?!(?:who|what|when|where|why|which|how|did|do|does|is|are|was|were|has|have|had|can|could)\b)"
    r"(?:[\w’'-]+ ?){1,5})\?*\s*\Z",
    re.IGNORECASE,
)
# "How long is | the bridge at Marnstead?", "How old is | Nora Tamsin?"
_QUESTION_ABOUT_SUBJECT = re.compile(
    r"(?P<question>(?i:how \w+|who|what|when|where|which \w+)(?: \w+)?"
    r" (?:is|are|was|were|has|have|did|does|do)) (?:the |a |an |[A-Z]).*\Z"
)

MAX_TERMS_OF_FOLLOWUP = 2
"""Number of terms up to which a question without a name is taken as a follow-up: "And why?"."""

MAX_CONTEXT_TERMS = 3
"""Maximum number of words of the conversation that are added to a question."""

MAX_MESSAGES = 8
"""Number of most recent messages of the conversation that are considered."""

MAX_MESSAGE_CHARACTERS = 1000
"""Number of characters of each message that are considered."""

MAX_REWRITE_CHARACTERS = 300
"""Maximum length of a question as a generator has rewritten it."""

DECAY = 0.64
"""Factor by which the weight of a message decreases with every two messages that follow it."""

USER_WEIGHT = 2.0
"""Weight of a word of the user, relative to a word of an answer."""


def contextualize(question: str, history: Sequence[Message], idf: Idf) -> SearchQuery:
    """Add what the conversation was about to a question that continues it.

    A question continues the conversation if it refers back to it ("And when does it expire?"). A
    complete question stays as it is, even if it shares words with the conversation.

    Args:
        question: The question as asked.
        history: The conversation before it, oldest message first.
        idf: Inverse document frequencies of stems.
    """
    messages = [_shortened(message) for message in reversed(history[-MAX_MESSAGES:])]
    question = _replace_subject(question, messages)
    if not any(terms(message["content"]) for message in messages) or not _refers_back(question):
        return SearchQuery(question)
    context_stems = _select_context_stems(question, messages, idf)
    return SearchQuery(question, tuple(_surface_forms(context_stems, messages)))


def accept_rewrite(query: SearchQuery, draft: str, history: Sequence[Message]) -> SearchQuery:
    """Return the question as a generator has rewritten it, unless the rewrite cannot be trusted.

    A rewrite that is too long, or contains a term that occurs neither in the question nor in the
    conversation, is discarded in favour of `query`.
    """
    rewrite = " ".join(draft.split())
    known_text = " ".join([query.question, *(message["content"] for message in history)])
    rewrite_terms = set(terms(rewrite))
    if not rewrite_terms or len(rewrite) > MAX_REWRITE_CHARACTERS:
        return query
    return SearchQuery(rewrite) if rewrite_terms <= set(terms(known_text)) else query


def _shortened(message: Message) -> Message:
    content = _MARKER.sub("", message["content"][:MAX_MESSAGE_CHARACTERS])
    return Message(role=message["role"], content=content)


def _refers_back(question: str) -> bool:
    """Return whether a question can only be understood with the conversation before it.

    It begins like a continuation ("And why?"), or has a pronoun and no name before it, or consists of so
    few words that it names no subject ("How high is the damage?").
    """
    if _CONTINUATION.match(question) or _ELLIPTIC_ONE.search(question):
        return True
    name = _NAME.search(question)
    own_words = words(question[: name.start()] if name else question)
    if not PRONOUNS.isdisjoint(own_words):
        return True
    return name is None and len(set(terms(question))) <= MAX_TERMS_OF_FOLLOWUP


def _replace_subject(question: str, messages: Sequence[Message]) -> str:
    """Return the last question about another subject: "And Ann Lee?" after "How old is Bo?".

    Args:
        question: The question.
        messages: The conversation, newest message first.

    Returns:
        "How old is Ann Lee?"; the question itself if it does not only name a subject.
    """
    elliptic = _OTHER_SUBJECT.match(question)
    last = next((m["content"] for m in messages if m["role"] == "user"), "")
    asked = _QUESTION_ABOUT_SUBJECT.match(last.strip())
    if elliptic is None or asked is None:
        return question
    return f"{asked['question']} {elliptic['subject'].strip()}?"


def _select_context_stems(question: str, messages: Sequence[Message], idf: Idf) -> list[str]:
    """Return the stems of the conversation with the highest TF-IDF weights, the question's excluded.

    Args:
        question: The question.
        messages: The conversation, newest message first.
        idf: Inverse document frequencies of stems.
    """
    term_counts = [Counter(terms(message["content"])) for message in messages]
    stem_idf = idf({term for counts in term_counts for term in counts})
    question_terms = set(terms(question))
    weights: dict[str, float] = defaultdict(float)
    for age, (message, counts) in enumerate(zip(messages, term_counts, strict=True)):
        speaker_weight = USER_WEIGHT if message["role"] == "user" else 1.0
        message_weight = DECAY ** ((age + 1) // 2) * speaker_weight
        for term, count in counts.items():
            is_single_character = len(term) == 1 and term.isascii()
            if term not in question_terms and not is_single_character and not term[:1].isdigit():
                weights[term] += message_weight * (1 + log(count)) * stem_idf[term]
    return nlargest(MAX_CONTEXT_TERMS, weights, key=weights.__getitem__)


def _surface_forms(stems: Sequence[str], messages: Sequence[Message]) -> list[str]:
    """Return the stems as they were last written, adjacent words together: "Amara Lind"."""
    ranks: dict[str, int] = {}
    remaining = set(stems)
    for message in messages:
        for run in _runs(message["content"], set(stems)):
            run_stems = [stem(word) for word in words(run)]
            if not remaining.isdisjoint(run_stems):
                ranks[run] = min(stems.index(run_stem) for run_stem in run_stems)
                remaining.difference_update(run_stems)
    return sorted(ranks, key=lambda run: ranks[run])


def _runs(text: str, stems: Set[str]) -> Iterator[str]:
    """Yield the maximal parts of a text whose words all have one of these stems."""
    run_start = run_end = 0
    for start, end in word_spans(text):
        if stem(text[start:end].lower()) not in stems:
            continue
        if run_end and not text[run_end:start].strip():
            run_end = end
            continue
        if run_end:
            yield text[run_start:run_end]
        run_start, run_end = start, end
    if run_end:
        yield text[run_start:run_end]
