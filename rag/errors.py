"""Exception hierarchy.

RagError
├── UsageError       invalid command line arguments (exit code 2)
├── SettingError     invalid value of a RAG_* variable or its flag
├── SourceError      a source of articles cannot be read
│   └── NoArticles   a source contains no article that can be read
├── IndexUnusable    an index cannot be read, written, or used with the selected models
│   ├── NoIndex      there is no index
│   └── IndexDamaged files of the index are corrupted
├── ModelError       a model is missing, corrupted, or not the expected one
│   └── GeneratorCrashed  the language model's process has died
├── QuestionError    a question, or a file of questions, cannot be answered
├── PageError        the chat page cannot be served
├── MissingExtra     packages of an extra are not installed
└── SpaceError       a Hugging Face Space cannot be created or updated

Exceptions of libraries are translated into these where the library is called, so that each
interface (command line, page, HTTP, MCP) needs only `except RagError`.
"""

from collections.abc import Sequence

from rag.wording import Phrase, Texts, english


class RagError(Exception):
    """Base class of all errors that a user can do something about.

    What a reader of the page can do something about is a phrase, which is translated. What only the
    operator of the server can do something about is English text; in other languages, a reader is
    referred to the server's log.

    Args:
        problem: What is wrong, and which value, in one sentence.
        remedy: What the user can do about it, in one sentence.

    Attributes:
        problem: The problem in English.
        remedy: The remedy in English.
        exit_code: The exit code of the `rag` command.
    """

    exit_code = 1

    def __init__(self, problem: str | Phrase, *, remedy: str | Phrase) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = str(problem)
        self.remedy = str(remedy)
        self._parts = (problem, remedy)

    def text_in(self, texts: Texts) -> str:
        """Return the error in a language."""
        phrases = [part for part in self._parts if isinstance(part, Phrase)]
        if len(phrases) == len(self._parts):
            return " ".join(part.text_in(texts) for part in phrases)
        return str(self) if texts.language == english().language else texts("see_server_log")


class UsageError(RagError):
    """Invalid command line arguments."""

    exit_code = 2


class SettingError(RagError):
    """Invalid value of a RAG_* variable or its flag."""


class SourceError(RagError):
    """A source of articles cannot be read."""


class NoArticles(SourceError):
    """A source contains no article that can be read.

    Attributes:
        skipped: The paths of the files and rows that were skipped, each with the reason.
    """

    def __init__(
        self,
        problem: str | Phrase,
        *,
        remedy: str | Phrase,
        skipped: Sequence[tuple[str, Phrase]] = (),
    ) -> None:
        super().__init__(problem, remedy=remedy)
        self.skipped = skipped


class IndexUnusable(RagError):
    """An index cannot be read, written, or used with the selected models."""


class NoIndex(IndexUnusable):
    """There is no index."""


class IndexDamaged(IndexUnusable):
    """Files of the index are corrupted."""


class ModelError(RagError):
    """A model is missing, corrupted, or not the expected one."""


class GeneratorCrashed(ModelError):
    """The language model's process has died."""


class QuestionError(RagError):
    """A question, or a file of questions, cannot be answered."""


class PageError(RagError):
    """The chat page cannot be served."""


class MissingExtra(RagError):
    """Packages of an extra (optional dependencies) are not installed."""


class SpaceError(RagError):
    """A Hugging Face Space cannot be created or updated."""
