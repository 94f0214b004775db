"""Which questions lean on the conversation before them."""

import pytest

from rag.conversation import standalone
from rag.datatypes import Message

ASKED = "Who leads the inquiry into the ferry accident?"
HISTORY = (
    Message(role="user", content=ASKED),
    Message(role="assistant", content="Judge Amara Lind leads it. [1]"),
)


@pytest.mark.parametrize(
    "question",
    ["And when does it report?", "Where was she born?", "What about those?", "And why?"],
)
def test_a_question_that_leans_takes_the_last_one_along(question: str) -> None:
    assert standalone(question, HISTORY) == f"{ASKED} {question}"


@pytest.mark.parametrize(
    "question",
    [
        "How high is the new lighthouse of Port Ellery?",
        "Who won the regatta in August?",
        "Was there a strike in Port Ellery in May?",
        "Who said that the ferry was stuck in the canal?",
        "What is the one thing that the treaty limits?",
        "How did AlphaGo win?",
    ],
)
def test_a_new_subject_is_not_dragged_back(question: str) -> None:
    assert standalone(question, HISTORY) == question


def test_without_a_conversation_a_question_stays_as_it_is() -> None:
    assert standalone("And when does it report?", ()) == "And when does it report?"


def test_what_the_assistant_said_is_never_asked() -> None:
    assert "Lind" not in standalone("And when does it report?", HISTORY)


def test_a_chain_of_leaning_questions_reaches_its_subject() -> None:
    history = (*HISTORY, Message(role="user", content="When does it report?"))
    assert standalone("And why then?", history) == f"{ASKED} When does it report? And why then?"


def test_a_very_long_earlier_question_is_not_taken_along() -> None:
    history = (Message(role="user", content="why " * 900),)
    assert standalone("And why?", history) == "And why?"
