"""Contextualisation of follow-up questions."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.followup import MAX_CONTEXT_TERMS, accept_rewrite, contextualize
from rag.text.tokens import terms
from rag.types import Message, SearchQuery

COMMON = {"lead", "accid", "report"}


def idf(stems: Iterable[str]) -> dict[str, float]:
    """Names are rare, the rest is common."""
    return {stem: 1.0 if stem in COMMON else 5.0 for stem in stems}


def conversation(*contents: str) -> tuple[Message, ...]:
    """Alternating messages of user and assistant, the user's first."""
    roles = ("user", "assistant") * len(contents)
    return tuple(Message(role=r, content=c) for r, c in zip(roles, contents, strict=False))  # type: ignore[typeddict-item]


HISTORY = conversation(
    "Who leads the inquiry into the ferry accident?", "Judge Amara Lind leads it. [1]"
)


def context_terms(question: str, history: tuple[Message, ...] = HISTORY) -> tuple[str, ...]:
    return contextualize(question, history, idf).context_terms


@pytest.mark.parametrize(
    "question",
    ["And when does it report?", "Where was she born?", "What about those?", "And why?"],
)
def test_a_question_with_a_pronoun_gets_context_terms(question: str) -> None:
    assert context_terms(question)
    assert set(terms(" ".join(context_terms(question)))) <= {
        "inquiri",
        "ferri",
        "judg",
        "amara",
        "lind",
    }


def test_a_question_that_names_no_subject_gets_context_terms() -> None:
    assert context_terms("When did the ferry sink?")
    assert "ferry" not in context_terms("When did the ferry sink?"), "the question names it"


@pytest.mark.parametrize(
    "question",
    [
        "How high is the new lighthouse of Port Ellery?",
        "Who won the regatta in August?",
        "Was there a strike in Port Ellery in May?",
        "What is the one thing that the treaty limits?",
        "How did AlphaGo win?",
        "How old is Amara Osk?",
        "Who leads the opera of Drossmar?",
        "When was the accident of the Silver Tern reported to Judge Orr?",
    ],
)
def test_a_question_on_a_new_subject_stays_as_it_is(question: str) -> None:
    assert contextualize(question, HISTORY, idf) == SearchQuery(question)


@pytest.mark.parametrize(
    ("asked", "continued", "standalone"),
    [
        ("How old is Nora Tamsin?", "And Simeon Yarrow?", "How old is Simeon Yarrow?"),
        ("How long is the bridge at Osk?", "What about the canal?", "How long is the canal?"),
    ],
)
def test_a_question_that_only_names_a_subject_repeats_the_last_question(
    asked: str, continued: str, standalone: str
) -> None:
    query = contextualize(continued, conversation(asked, "38."), idf)
    assert query.question == standalone


def test_without_a_conversation_a_question_stays_as_it_is() -> None:
    assert contextualize("And when does it report?", (), idf).text == "And when does it report?"


def test_adjacent_words_stay_together_as_they_were_written() -> None:
    history = conversation("Who leads it?", "Amara Lind leads it [12].")
    question = contextualize("Where was she born?", history, idf)
    assert "Amara Lind" in question.text


def test_later_messages_have_more_weight() -> None:
    history = conversation(
        *(
            "Who owns Kestrel?",
            "Nobody.",
            "Who owns Osprey?",
            "Nobody.",
            "Who owns Merlin?",
            "Nobody.",
        )
    )
    assert context_terms("And why?", history)[0] == "owns Merlin"


def test_messages_of_the_user_have_more_weight_than_answers() -> None:
    assert context_terms("And why?", conversation("Tell me of Osprey.", "Kestrel."))[0] == "Osprey"


def test_a_chain_of_follow_up_questions_keeps_its_subject() -> None:
    history = (*HISTORY, *conversation("When does it report?", "In May."))
    assert {"ferri", "inquiri"} & set(terms(" ".join(context_terms("And why then?", history))))


@given(st.text(max_size=60), st.lists(st.text(max_size=80), max_size=12))
def test_context_terms_are_few_and_occur_in_the_conversation(
    question: str, contents: list[str]
) -> None:
    history = conversation(*contents)
    query = contextualize(question, history, idf)
    assert query.question == question
    assert len(set(terms(query.context_text))) <= MAX_CONTEXT_TERMS
    for words in query.context_terms:
        assert any(words in message["content"] for message in history)


# -- rewritten by a generator


FOLLOW_UP = SearchQuery("And when does it report?", ("inquiry", "ferry"))


def test_a_rewrite_with_known_words_is_accepted() -> None:
    rewrite = "When does the inquiry into the ferry accident report?"
    assert accept_rewrite(FOLLOW_UP, f"{rewrite}\n", HISTORY) == SearchQuery(rewrite)


@pytest.mark.parametrize(
    "draft",
    [
        pytest.param("When does the bridge inquiry report?", id="an unknown word"),
        pytest.param("When does the inquiry report in 2019?", id="an unknown number"),
        pytest.param("", id="empty"),
        pytest.param("When is it?", id="stop words only"),
        pytest.param("inquiry ferry " * 40, id="too long"),
    ],
)
def test_any_other_rewrite_is_discarded(draft: str) -> None:
    assert accept_rewrite(FOLLOW_UP, draft, HISTORY) == FOLLOW_UP
