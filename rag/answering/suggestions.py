"""Suggested follow-up questions: about names that occur in the passages found.

These are only candidates; `Chatbot.suggest_questions` keeps those that the articles answer.
"""

import re
from collections import Counter
from collections.abc import Iterator

from rag.text.sentences import sentences
from rag.types import Answer, Mode
from rag.wording import Phrase, phrase

MAX_NAME_CHARACTERS = 70
"""Maximum length of a title or name, in characters, that is made into a question."""

# A name of two or more capitalised words: "Amara Lind", "Bank of the West".
_NAME = re.compile(r"(?:[A-Z][\w’'-]+)(?: (?:(?:of|the|de|van|von) )*[A-Z][\w’'-]+)+")


def question_about_title(title: str) -> Phrase:
    return phrase("question_about_title", title=title)


def candidates(answer: Answer) -> Iterator[Phrase]:
    """Yield questions related to an answer, most promising first.

    After a refusal, they are about the titles of the hits; after an answer, about the names that the
    passages of the cited articles mention most often, and that neither question nor answer contains.
    """
    if answer.mode is Mode.REFUSED:
        titles = dict.fromkeys(hit.passage.title for hit in answer.hits)
        for title in titles:
            if title and len(title) <= MAX_NAME_CHARACTERS:
                yield question_about_title(title)
        return
    cited_articles = {citation.quote.article for citation in answer.citations}
    known_text = f"{answer.standalone_question} {answer.text}"
    names = Counter(
        name
        for hit in answer.hits
        if hit.passage.article in cited_articles
        for name in _names(hit.passage.text)
        if len(name) <= MAX_NAME_CHARACTERS and not _mentions(known_text, name)
    )
    for name, _ in names.most_common():
        yield phrase("question_about_name", name=name)


def _names(text: str) -> Iterator[str]:
    """Yield the names in a text, except at the beginning of a sentence, where any word is capitalised."""
    for start, end in sentences(text):
        for match in _NAME.finditer(text, start, end):
            if match.start() > start and "\n" not in match[0]:
                yield match[0]


def _mentions(text: str, name: str) -> bool:
    """Whether a text contains one of the name's capitalised words."""
    return any(word in text for word in name.split() if word[:1].isupper())
