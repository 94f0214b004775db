"""Which questions go on with a conversation, and what they are then taken to be about."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.conversation import ABOUT, rewritten, standalone
from rag.datatypes import Message, StandaloneQuestion
from rag.language import terms

COMMON = {"lead", "accid", "report"}


def rarity(stems: Iterable[str]) -> dict[str, float]:
    """Names are rare, the rest is common."""
    return {stem: 1.0 if stem in COMMON else 5.0 for stem in stems}


def turns(*said: str) -> tuple[Message, ...]:
    """What user and assistant said, in turns, the user first."""
    roles = ("user", "assistant") * len(said)
    return tuple(Message(role=r, content=c) for r, c in zip(roles, said, strict=False))  # type: ignore[typeddict-item]


HISTORY = turns("Who leads the inquiry into the ferry accident?", "Judge Amara Lind leads it. [1]")


def about(question: str, history: tuple[Message, ...] = HISTORY) -> tuple[str, ...]:
    return standalone(question, history, rarity).about


@pytest.mark.parametrize(
    "question",
    ["And when does it report?", "Where was she born?", "What about those?", "And why?"],
)
def test_a_question_that_leans_is_about_what_was_spoken_of(question: str) -> None:
    assert about(question)
    assert set(terms(" ".join(about(question)))) <= {"inquiri", "ferri", "judg", "amara", "lind"}


def test_a_question_that_shares_a_word_with_the_conversation_goes_on_with_it() -> None:
    assert about("When did the ferry sink?")
    assert "ferry" not in about("When did the ferry sink?"), "it names that itself"


@pytest.mark.parametrize(
    "question",
    [
        "How high is the new lighthouse of Port Ellery?",
        "Who won the regatta in August?",
        "Was there a strike in Port Ellery in May?",
        "What is the one thing that the treaty limits?",
        "How did AlphaGo win?",
    ],
)
def test_a_new_subject_is_not_dragged_back(question: str) -> None:
    assert standalone(question, HISTORY, rarity) == StandaloneQuestion(question)


def test_without_a_conversation_a_question_stays_as_it_is() -> None:
    assert standalone("And when does it report?", (), rarity).text == "And when does it report?"


def test_words_that_stood_together_are_named_together_and_as_they_were_written() -> None:
    history = turns("Who leads it?", "Amara Lind leads it [12].")
    question = standalone("Where was she born?", history, rarity)
    assert "Amara Lind" in question.text


def test_what_was_said_last_tells_more_than_what_was_said_before() -> None:
    history = turns(
        *(
            "Who owns Kestrel?",
            "Nobody.",
            "Who owns Osprey?",
            "Nobody.",
            "Who owns Merlin?",
            "Nobody.",
        )
    )
    assert about("And why?", history)[0] == "owns Merlin"


def test_what_the_user_said_tells_more_than_an_answer() -> None:
    assert about("And why?", turns("Tell me of Osprey.", "Kestrel."))[0] == "Osprey"


def test_a_chain_of_leaning_questions_keeps_its_subject() -> None:
    history = (*HISTORY, *turns("When does it report?", "In May."))
    assert {"ferri", "inquiri"} & set(terms(" ".join(about("And why then?", history))))


@given(st.text(max_size=60), st.lists(st.text(max_size=80), max_size=12))
def test_what_a_question_is_about_was_said_and_is_short(question: str, said: list[str]) -> None:
    history = turns(*said)
    found = standalone(question, history, rarity)
    assert found.asked == question
    assert len(set(terms(" ".join(found.about)))) <= ABOUT
    for words in found.about:
        assert any(words in turn["content"] for turn in history)


# -- worded anew by a generator


LEANING = StandaloneQuestion("And when does it report?", ("inquiry", "ferry"))


def test_a_wording_that_says_what_was_said_is_taken() -> None:
    wording = "When does the inquiry into the ferry accident report?"
    assert rewritten(LEANING, f"{wording}\n", HISTORY) == StandaloneQuestion(wording)


@pytest.mark.parametrize(
    "draft",
    [
        pytest.param("When does the bridge inquiry report?", id="a word that nobody said"),
        pytest.param("When does the inquiry report in 2019?", id="a number that nobody said"),
        pytest.param("", id="nothing"),
        pytest.param("When is it?", id="nothing that carries meaning"),
        pytest.param("inquiry ferry " * 40, id="too long"),
    ],
)
def test_any_other_wording_is_not(draft: str) -> None:
    assert rewritten(LEANING, draft, HISTORY) == LEANING
