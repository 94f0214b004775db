"""Footnote: answers from your own articles, each sentence checked against the passage that it cites.

The names in `__all__` are the public interface. They are imported on first use, so that commands that
need no chatbot start quickly.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rag.answering.chatbot import Chatbot
    from rag.errors import (
        GeneratorCrashed,
        IndexDamaged,
        IndexUnusable,
        MissingExtra,
        ModelError,
        NoArticles,
        NoIndex,
        PageError,
        QuestionError,
        RagError,
        SettingError,
        SourceError,
        SpaceError,
        UsageError,
    )
    from rag.settings import Settings
    from rag.types import Answer, Citation, Hit

__all__ = [
    "Answer",
    "Chatbot",
    "Citation",
    "GeneratorCrashed",
    "Hit",
    "IndexDamaged",
    "IndexUnusable",
    "MissingExtra",
    "ModelError",
    "NoArticles",
    "NoIndex",
    "PageError",
    "QuestionError",
    "RagError",
    "SettingError",
    "Settings",
    "SourceError",
    "SpaceError",
    "UsageError",
]
__version__ = "0.1.0"

_MODULES = {
    "Answer": "rag.types",
    "Chatbot": "rag.answering.chatbot",
    "Citation": "rag.types",
    "Hit": "rag.types",
    "Settings": "rag.settings",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "rag.errors")), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
