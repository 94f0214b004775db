"""Footnote: answers from your own articles, each sentence checked against the passage that it cites."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rag.chatbot import Chatbot

__all__ = ["Chatbot"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # Imported when it is asked for: the commands that need no chatbot start without it.
    if name in __all__:
        from rag.chatbot import Chatbot

        return Chatbot
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
