"""The prompt always fits."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.datatypes import Excerpt, Message
from rag.errors import QuestionError
from rag.generator import ANSWER_TOKENS, CONTEXT, LlamaGenerator
from rag.prompt import compose


def source(text: str) -> Excerpt:
    return Excerpt(article_id="a", title="t", start=0, end=len(text), text=text)


def count_characters(messages: Sequence[Message]) -> int:
    return sum(len(message["content"]) for message in messages)


@given(
    question=st.text(min_size=1, max_size=200),
    texts=st.lists(st.text(min_size=1, max_size=400), max_size=6),
    most=st.integers(150, 1500),
)
def test_a_prompt_never_takes_more_than_its_budget(
    question: str, texts: list[str], most: int
) -> None:
    sources = [source(text) for text in texts]
    try:
        composed = compose(question, sources, count_characters, most)
    except QuestionError:
        assert len(question) + 100 > most - 100
        return
    assert composed.tokens == count_characters(composed.messages) <= most
    assert list(composed.sources) == sources[: len(composed.sources)]


def test_the_best_sources_are_kept_when_not_all_fit() -> None:
    sources = [source("first " * 10), source("second " * 10), source("third " * 200)]
    composed = compose("Which?", sources, count_characters, 400)
    assert composed.sources == (sources[0], sources[1])


@settings(max_examples=25, deadline=None)
@given(
    question=st.text(min_size=1, max_size=1500),
    texts=st.lists(st.text(min_size=1, max_size=1500), max_size=3),
)
def test_a_prompt_never_overflows_the_real_model(
    generator: LlamaGenerator, question: str, texts: list[str]
) -> None:
    most = CONTEXT - ANSWER_TOKENS
    try:
        composed = compose(question, [source(t) for t in texts], generator.count_tokens, most)
    except QuestionError:
        return
    assert generator.count_tokens(composed.messages) <= most


def test_a_question_that_fits_no_prompt_is_turned_down_in_one_line(
    generator: LlamaGenerator,
) -> None:
    with pytest.raises(QuestionError, match="more than the model can read"):
        compose("🦜" * 4000, [], generator.count_tokens, CONTEXT - ANSWER_TOKENS)
