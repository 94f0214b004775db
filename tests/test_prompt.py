"""The prompt always fits."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.datatypes import Excerpt, Message
from rag.errors import QuestionError
from rag.generator import CONTEXT, LlamaGenerator
from rag.prompt import SMALL, TAUGHT, Ability, apart, capable, compose


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
        composed = compose(question, sources, SMALL, count_characters, most)
    except QuestionError:
        assert len(question) + 100 > most - 100
        return
    assert composed.tokens == count_characters(composed.messages) <= most
    assert list(composed.sources) == sources[: len(composed.sources)]


def test_the_best_sources_are_kept_when_not_all_fit() -> None:
    sources = [source("first " * 10), source("second " * 10), source("third " * 200)]
    composed = compose("Which?", sources, SMALL, count_characters, 400)
    assert composed.sources == (sources[0], sources[1])


@settings(max_examples=40, deadline=None)
@given(
    ability=st.sampled_from([SMALL, TAUGHT, capable(2048)]),
    question=st.text(min_size=1, max_size=1500),
    texts=st.lists(st.text(min_size=1, max_size=1500), max_size=3),
)
def test_a_prompt_never_overflows_the_real_model(
    generator: LlamaGenerator, ability: Ability, question: str, texts: list[str]
) -> None:
    most = CONTEXT - ability.answer_tokens
    try:
        sources = [source(text) for text in texts]
        composed = compose(question, sources, ability, generator.count_tokens, most)
    except QuestionError:
        return
    assert generator.count_tokens(composed.messages) <= most


def test_a_question_that_fits_no_prompt_is_turned_down_in_one_line(
    generator: LlamaGenerator,
) -> None:
    with pytest.raises(QuestionError, match="more than the model can read"):
        compose("🦜" * 4000, [], SMALL, generator.count_tokens, CONTEXT)


@pytest.mark.parametrize(
    ("written", "thought", "said"),
    [
        ("In 1950.", "", "In 1950."),
        ("<think>\nWhen? 1950", "When? 1950", ""),
        ("<think>\nWhen?\n</think>\n\nIn 1950.", "When?", "In 1950."),
        ("When?\n</think>\n\nIn 1950.", "When?", "In 1950."),  # begun by the template
    ],
)
def test_what_a_model_thinks_is_kept_apart_from_what_it_says(
    written: str, thought: str, said: str
) -> None:
    assert apart(written) == (thought, said)


def test_a_capable_generator_reads_each_articles_facts_under_its_number_title_and_date() -> None:
    facts = [
        Excerpt("a", "The bridge", 0, 11, "It is long."),
        Excerpt("a", "The bridge", 12, 24, "It opened\n."),
        Excerpt("b", "The\nferry", 0, 9, "It sinks.", date="2019-04-15"),
    ]
    (message,) = compose("Which?", facts, capable(2048), count_characters, 2000).messages
    assert message["content"].endswith(
        "Facts:\n1. The bridge\n- It is long.\n- It opened .\n2. The ferry (2019-04-15)\n- It sinks."
        "\n\nQuestion: Which?"
    )
