"""What could be asked next: about the names that stand beside what was found.

Only a question that the articles answer is worth offering; `Chatbot.offers` sees to that.
"""

import re
from collections import Counter
from collections.abc import Iterator

from rag.datatypes import Answer, Mode
from rag.language import sentences

ABOUT = "What is known about {}?"

LONGEST = 70
"""Characters of a title or name; a longer one makes no readable question."""

_NAME = re.compile(r"(?:[A-Z][\w’'-]+)(?: (?:(?:of|the|de|van|von) )*[A-Z][\w’'-]+)+")


def about_title(title: str) -> str:
    return ABOUT.format(f"“{title}”")


def candidates(answer: Answer) -> Iterator[str]:
    """Questions near to one that was answered or refused, the likeliest to be of use first."""
    if answer.mode is Mode.REFUSED:
        titles = dict.fromkeys(hit.passage.title for hit in answer.hits)
        yield from (about_title(title) for title in titles if title and len(title) <= LONGEST)
        return
    cited = {citation.quote.article_id for citation in answer.citations}
    said = f"{answer.standalone_question} {answer.text}"
    near = [hit for hit in answer.hits if hit.passage.article_id in cited]
    named = Counter(
        name
        for hit in near
        for name in _names(hit.passage.text)
        if len(name) <= LONGEST and not _mentions(said, name)
    )
    yield from (ABOUT.format(name) for name, _ in named.most_common())


def _names(text: str) -> Iterator[str]:
    """Names of several words, those apart that a sentence may only have begun with."""
    for start, end in sentences(text):
        for found in _NAME.finditer(text, start, end):
            if found.start() > start and "\n" not in found[0]:
                yield found[0]


def _mentions(said: str, name: str) -> bool:
    return any(word in said for word in name.split() if word[:1].isupper())
