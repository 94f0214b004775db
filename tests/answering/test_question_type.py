"""Question types: what kind of answer a question asks for, about what, and in how many parts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.answering.question_type import plan_question
from rag.answering.temporal import Period
from rag.types import QuestionKind as Kind


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who won the World Cup final in 2022?", Kind.LOOKUP),
        ("How many people died in the earthquake?", Kind.LOOKUP),
        ("what year was the canal opened", Kind.LOOKUP),
        ("Did the ship sink?", Kind.YES_NO),
        ("So was it true that the ship sank?", Kind.YES_NO),
        ("hasn't the strike ended yet?", Kind.YES_NO),
        ("Why did the dam break?", Kind.EXPLANATION),
        ("How did the fire start?", Kind.EXPLANATION),
        ("Which countries banned the plane?", Kind.LIST),
        ("List the new members", Kind.LIST),
        ("Can you name them all?", Kind.LIST),
        ("Compare the two reports", Kind.COMPARISON),
        ("Which is longer, the old or the new lock?", Kind.COMPARISON),
        ("What is the difference between the first and the last toll?", Kind.COMPARISON),
        ("Summarise the article about the canal", Kind.SUMMARY),
        ("Can you give me a short summary of the strike?", Kind.SUMMARY),
        ("What do the articles say about the canal?", Kind.OVERVIEW),
        ("Tell me about Notre-Dame", Kind.OVERVIEW),
        ("What happened in May 2019?", Kind.PERIOD),
        ("What happened to the ship in May 2019?", Kind.OVERVIEW),
        ("What is the latest on the strike?", Kind.LATEST),
        ("How did the trial end?", Kind.LATEST),
        ("How many articles mention Boeing?", Kind.ARTICLE_COUNT),
        ("Which articles mention Boeing?", Kind.ARTICLE_LIST),
        ("What topics do you cover?", Kind.ARTICLE_LIST),
        ("world cup final 2022", Kind.KEYWORDS),
    ],
)
def test_the_kind_follows_from_the_wording(question: str, kind: Kind) -> None:
    assert plan_question(question).kind is kind


@pytest.mark.parametrize(
    ("question", "subject"),
    [
        ("Tell me about Notre-Dame, please", "Notre-Dame"),
        ("What is the latest on the strike?", "the strike"),
        ("How many articles mention Boeing?", "mention Boeing"),
        ("Please summarize the article about the canal.", "the canal"),
        ("Tell me about the kilogram story", "the kilogram"),
    ],
)
def test_the_subject_is_the_question_without_words_that_only_ask(
    question: str, subject: str
) -> None:
    assert plan_question(question).subject == subject


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        (
            "What is the capital of France, and when did Notre-Dame burn?",
            ("What is the capital of France", "when did Notre-Dame burn?"),
        ),
        ("Who won? When was it?", ("Who won", "When was it?")),
        ("Who are Ann and Bob?", ("Who are Ann and Bob?",)),
        ("When and where was it?", ("When and where was it?",)),
    ],
)
def test_a_question_that_asks_several_is_divided(question: str, parts: tuple[str, ...]) -> None:
    assert plan_question(question).parts == parts


def test_the_period_of_a_question_is_found() -> None:
    assert plan_question("What happened in May 2019?").period == Period("2019-05", "2019-05")
    assert plan_question("What happened?").period is None


@settings(deadline=None)
@given(st.text(max_size=120))
def test_every_text_has_a_plan(text: str) -> None:
    plan = plan_question(text)
    assert plan.parts
    assert len(plan.subject) <= len(text)
