"""Prompts: they always fit, and facts and reasoning have the right format."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import QuestionError
from rag.models.generation.llama import CONTEXT, LlamaGenerator
from rag.models.generation.prompts import (
    TINY,
    GenerationProfile,
    compose,
    general_profile,
    split_reasoning,
)
from rag.types import Excerpt, Message


def make_source(text: str) -> Excerpt:
    return Excerpt(article_id="a", title="t", start=0, end=len(text), text=text)


def count_characters(messages: Sequence[Message]) -> int:
    return sum(len(message["content"]) for message in messages)


@given(
    question=st.text(min_size=1, max_size=200),
    texts=st.lists(st.text(min_size=1, max_size=400), max_size=6),
    max_tokens=st.integers(150, 1500),
)
def test_a_prompt_never_takes_more_than_its_budget(
    question: str, texts: list[str], max_tokens: int
) -> None:
    sources = [make_source(text) for text in texts]
    try:
        composed = compose(question, sources, TINY, count_characters, max_tokens)
    except QuestionError:
        assert len(question) + 100 > max_tokens - 100
        return
    assert composed.tokens == count_characters(composed.messages) <= max_tokens
    assert list(composed.sources) == sources[: len(composed.sources)]


def test_the_best_sources_are_included_when_not_all_fit() -> None:
    sources = [make_source("first " * 10), make_source("second " * 10), make_source("third " * 200)]
    composed = compose("Which?", sources, TINY, count_characters, 400)
    assert composed.sources == (sources[0], sources[1])


@settings(max_examples=40, deadline=None)
@given(
    profile=st.sampled_from([TINY, general_profile(2048)]),
    question=st.text(min_size=1, max_size=1500),
    texts=st.lists(st.text(min_size=1, max_size=1500), max_size=3),
)
def test_a_prompt_never_overflows_the_real_model(
    generator: LlamaGenerator, profile: GenerationProfile, question: str, texts: list[str]
) -> None:
    max_tokens = CONTEXT - profile.answer_tokens
    try:
        sources = [make_source(text) for text in texts]
        composed = compose(question, sources, profile, generator.count_tokens, max_tokens)
    except QuestionError:
        return
    assert generator.count_tokens(composed.messages) <= max_tokens


def test_a_question_that_is_too_long_is_a_one_line_error(
    generator: LlamaGenerator,
) -> None:
    with pytest.raises(QuestionError, match="more than the model can read"):
        compose("🦜" * 4000, [], TINY, generator.count_tokens, CONTEXT)


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("In 1950.", "", "In 1950."),
        ("<think>\nWhen? 1950", "When? 1950", ""),
        ("<think>\nWhen?\n</think>\n\nIn 1950.", "When?", "In 1950."),
        ("When?\n</think>\n\nIn 1950.", "When?", "In 1950."),  # the template begins the reasoning
    ],
)
def test_reasoning_is_split_from_the_answer(text: str, reasoning: str, answer: str) -> None:
    assert split_reasoning(text) == (reasoning, answer)


def test_the_general_profile_lists_facts_by_article_with_number_title_and_date() -> None:
    facts = [
        Excerpt("a", "The bridge", 0, 11, "It is long."),
        Excerpt("a", "The bridge", 12, 24, "It opened\n."),
        Excerpt("b", "The\nferry", 0, 9, "It sinks.", date="2019-04-15"),
    ]
    (message,) = compose("Which?", facts, general_profile(2048), count_characters, 2000).messages
    assert message["content"].endswith(
        "Facts:\n1. The bridge\n- It is long.\n- It opened .\n2. The ferry (2019-04-15)\n- It sinks."
        "\n\nQuestion: Which?"
    )
