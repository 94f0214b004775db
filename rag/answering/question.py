"""Validation of questions."""

from rag.errors import QuestionError

MAX_CHARACTERS = 4000
"""Maximum length of a question."""


def validate_question(question: str) -> str:
    """Return the question without surrounding white space.

    Raises:
        QuestionError: It is empty, longer than `MAX_CHARACTERS`, or not valid Unicode.
    """
    if not question.strip():
        raise QuestionError("The question is empty.", remedy="Ask something.")
    try:
        question.encode()
    except UnicodeEncodeError as error:
        raise QuestionError(
            f"The question contains an unpaired surrogate at position {error.start + 1}.",
            remedy="Re-enter it.",
        ) from None
    if len(question) > MAX_CHARACTERS:
        raise QuestionError(
            f"The question is {len(question):,} characters long; {MAX_CHARACTERS:,} are read at most.",
            remedy="Shorten it.",
        )
    return question.strip()
