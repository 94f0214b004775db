"""Small talk: messages addressed to the chatbot itself, which are answered without a search."""

import re
from enum import StrEnum

from rag.text.tokens import words
from rag.wording import Phrase, phrase


class SmallTalk(StrEnum):
    """The kinds of small talk; the values are the codes of the replies in `rag.wording`."""

    THANKS = "reply_to_thanks"
    GREETING = "reply_to_greeting"
    FAREWELL = "reply_to_farewell"
    ABOUT_CHATBOT = "about_chatbot"


# The whole message in lower case, without punctuation, must match.
_PATTERNS = {
    # "thanks", "ok great thank you", "thanks for the help"
    SmallTalk.THANKS: re.compile(
        r"(?:many |ok |great )*(?:thanks?(?: you)?|thx|danke|great|ok|okay)(?: .{0,20})?"
    ),
    # "hello", "hi there", "good morning"
    SmallTalk.GREETING: re.compile(
        r"(?:hi|hello|hey|good (?:morning|afternoon|evening)|hallo)(?: there)?"
    ),
    # "bye", "goodbye" as two words, "see you later"
    SmallTalk.FAREWELL: re.compile(r"(?:good )?bye(?: bye)?|see you(?: later)?"),
    # "who are you", "what can you do", "how do I use this"
    SmallTalk.ABOUT_CHATBOT: re.compile(
        r"(?:who|what) are you|help|what (?:can|do) you (?:do|answer|know)(?: about)?"
        r"|what can (?:i|you) ask(?: you)?|how (?:do|can) (?:you work|i use (?:you|this))"
        r"|what is this|what is footnote"
    ),
}


def detect_small_talk(message: str) -> SmallTalk | None:
    """Return the kind of small talk, or None if the message may be a question to the articles."""
    normalised = " ".join(words(message))
    return next((kind for kind, p in _PATTERNS.items() if p.fullmatch(normalised)), None)


def build_reply(kind: SmallTalk, article_count: int) -> Phrase:
    """Return the reply to a message of this kind."""
    if kind is SmallTalk.ABOUT_CHATBOT:
        return phrase(kind, n=article_count)
    return phrase(kind)
