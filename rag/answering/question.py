"""Validation of questions."""

from rag.errors import QuestionError
from rag.wording import phrase

MAX_CHARACTERS = 4000
"""Maximum length of a question."""


def validate_question(question: str) -> str:
    """Return the question without surrounding white space.

    Raises:
        QuestionError: It is empty, longer than `MAX_CHARACTERS`, or not valid Unicode.
    """
    if not question.strip():
        raise QuestionError(phrase("question_empty"), remedy=phrase("ask_something"))
    try:
        question.encode()
    except UnicodeEncodeError as error:
        raise QuestionError(
            phrase("question_not_unicode", position=error.start + 1),
            remedy=phrase("enter_again"),
        ) from None
    if len(question) > MAX_CHARACTERS:
        raise QuestionError(
            phrase("question_too_long", length=len(question), limit=MAX_CHARACTERS),
            remedy=phrase("shorten_question"),
        )
    return question.strip()
