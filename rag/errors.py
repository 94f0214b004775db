"""What can go wrong, told in one line: what is wrong, with which value, what to do.

RagError
├── UsageError       a command was called with words that it cannot take (exit code 2)
├── SettingError     a RAG_* variable or flag holds a value that it cannot take
├── SourceError      a source of articles cannot be read, or holds none
├── IndexUnusable    an index cannot be read, written or used with these models
│   ├── NoIndex      there is none, or none yet
│   └── IndexDamaged its files are not what was written
├── ModelError       a model is missing, broken or not the one expected
│   └── GeneratorCrashed  the language model's process has died
├── QuestionError    a question (or a file of questions) cannot be answered as it stands
├── PageError        the chat page cannot be served
└── SpaceError       a Space cannot be made, or brought up to date

Library exceptions are translated into these where the library is called; each face has one
`except RagError`.
"""


class RagError(Exception):
    """`problem` says what is wrong and with which value, `remedy` what to do about it."""

    exit_code = 1

    def __init__(self, problem: str, *, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy


class UsageError(RagError):
    exit_code = 2


class SettingError(RagError):
    pass


class SourceError(RagError):
    pass


class IndexUnusable(RagError):
    pass


class NoIndex(IndexUnusable):
    pass


class IndexDamaged(IndexUnusable):
    pass


class ModelError(RagError):
    pass


class GeneratorCrashed(ModelError):
    pass


class QuestionError(RagError):
    pass


class PageError(RagError):
    pass


class SpaceError(RagError):
    pass
