"""Articles cut into passages that the encoder takes in whole."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from rag.datatypes import Article, Passage
from rag.encoder import Encoder
from rag.language import sentences
from rag.passages import encoded_text, heading, short_heading, split

BUDGET = 30
HEADING = "a title"
ROOM = BUDGET - 2
"""Tokens left for the text: the heading is two words."""


def by_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def by_characters(texts: Sequence[str]) -> list[int]:
    return [-(-len(text) // 4) for text in texts]


def article(text: str, title: str = HEADING) -> Article:
    return Article("a.txt", title, text)


def sentence(words: int, name: str) -> str:
    return " ".join([name] * (words - 1) + [f"{name}."])


WORDS = st.sampled_from(
    ["harbour", "Mr.", "u.s .", "é", "中", "\n\n", "\r\n", "x" * 50, "vote.", "?"]
)
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=6)), max_size=120).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_every_visible_character_stands_in_some_passage(text: str) -> None:
    covered = {
        place
        for passage in split(article(text), by_characters, BUDGET)
        for place in range(passage.start, passage.end)
    }
    assert {place for place, character in enumerate(text) if not character.isspace()} <= covered


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_passages_rise_and_none_lies_in_another(text: str) -> None:
    passages = list(split(article(text), by_characters, BUDGET))
    for before, after in pairwise(passages):
        assert before.start < after.start
        assert before.end < after.end
    for passage in passages:
        assert 0 <= passage.start < passage.end <= len(text)
        assert text[passage.start : passage.end] == text[passage.start : passage.end].strip()


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_no_passage_is_over_the_budget(text: str) -> None:
    # Counted in words, a piece without white space is one token: nothing is unsplittable.
    for passage in split(article(text), by_words, BUDGET):
        assert by_words([text[passage.start : passage.end]])[0] <= ROOM


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, ROOM // 3), min_size=1, max_size=40))
def test_neighbours_share_one_whole_sentence_when_it_is_short(lengths: list[int]) -> None:
    text = " ".join(sentence(length, "Word") for length in lengths)
    ends = {end for _, end in sentences(text)}
    passages = list(split(article(text), by_words, BUDGET))
    for before, after in pairwise(passages):
        assert text[after.start : before.end] in {text[s:e] for s, e in sentences(text)}
        assert before.end in ends


LONG = 3 * ROOM
"""Words of a sentence that takes several passages."""


@pytest.mark.parametrize(
    ("lengths", "least"),
    [
        pytest.param([], 0, id="none"),
        pytest.param([5], 1, id="one"),
        pytest.param([10] * 12, 5, id="many"),
        pytest.param([ROOM], 1, id="exactly one passage"),
        pytest.param([ROOM, ROOM], 2, id="exactly two passages"),
        pytest.param([LONG, 5, 5], 3, id="oversized first"),
        pytest.param([5, LONG, 5], 3, id="oversized in the middle"),
        pytest.param([5, 5, LONG], 3, id="oversized last"),
    ],
)
def test_sentences_of_any_length_fit(lengths: list[int], least: int) -> None:
    names = "Alpha Bravo Charlie Delta Echo Foxtrot Golf Hotel India Juliett Kilo Lima".split()
    text = " ".join(sentence(n, name) for n, name in zip(lengths, names, strict=False))
    passages = list(split(article(text), by_words, BUDGET))
    assert len(passages) >= least
    assert (len(passages) == 1) == (0 < sum(lengths) <= ROOM)
    assert all(by_words([text[p.start : p.end]])[0] <= ROOM for p in passages)
    covered = {place for p in passages for place in range(p.start, p.end)}
    assert {i for i, character in enumerate(text) if character != " "} <= covered


def test_a_sentence_that_fills_a_passage_is_not_shared() -> None:
    text = " ".join([sentence(ROOM, "Full"), sentence(ROOM, "Next")])
    first, second = split(article(text), by_words, BUDGET)
    assert first.end < second.start


def test_a_word_of_ten_thousand_characters_is_cut_into_pieces_that_fit() -> None:
    text = "x" * 10_000
    passages = list(split(article(text), by_characters, BUDGET))
    assert "".join(text[p.start : p.end] for p in passages) == text
    assert all(by_characters([text[p.start : p.end]])[0] <= BUDGET for p in passages)


@pytest.mark.parametrize(
    "title",
    [
        pytest.param("word " * 1000, id="a thousand words"),
        pytest.param("x" * 5000, id="one endless word"),
        pytest.param("제목이 " * 400, id="Hangul"),
    ],
)
def test_a_very_long_title_leaves_half_of_the_room_to_the_text(title: str) -> None:
    short = short_heading(title, "2020-01-01", by_characters, BUDGET)
    assert 0 < by_characters([short])[0] <= BUDGET // 2
    assert title.startswith(short)
    (passage,) = split(article("The vote is on Monday.", title), by_characters, BUDGET)
    assert (passage.start, passage.end) == (0, 22)


def test_a_title_that_fits_stands_whole_with_its_date() -> None:
    assert (
        short_heading("Ferry sinks", "2020-01-01", by_words, BUDGET) == "Ferry sinks (2020-01-01)"
    )
    assert short_heading("Ferry sinks", None, by_words, BUDGET) == "Ferry sinks"


SENTENCES = (
    "the harbour board said on tuesday that it had not agreed to the plan , mr . ortega 's third .",
    "Antidisestablishmentarianism, floccinaucinihilipilification & co. — prices: 1,234.56 €!",
    "港口委员会周二表示，它没有同意这个计划。",
    "항만위원회는 화요일에 계획에 동의하지 않았다고 밝혔다.",
    "\U0001f6a2" * 30,
    "e\u0301" * 40,
    "http://example.org/" + "a-b_c/" * 60,
)


@pytest.mark.parametrize(
    "title",
    [
        pytest.param("Harbour board says no", id="short title"),
        pytest.param("Harbour " * 300, id="long title"),
        pytest.param("항만위원회 " * 60, id="long title in Hangul"),
    ],
)
@pytest.mark.parametrize("text_of", [" ".join, "".join], ids=["spaced", "run together"])
def test_the_encoder_never_cuts_a_passage(
    encoder: Encoder, title: str, text_of: "type[str]"
) -> None:
    text = text_of(SENTENCES * 6)  # type: ignore[call-arg]
    tokenizer = Tokenizer.from_file(str(encoder._folder / "tokenizer.json"))
    tokenizer.no_truncation()
    above = short_heading(title, None, encoder.count_tokens, encoder.max_tokens)
    passages = list(split(article(text, title), encoder.count_tokens, encoder.max_tokens))
    assert len(passages) > 3
    for passage in passages:
        held = text[passage.start : passage.end]
        tokens = tokenizer.encode(encoded_text(above, held)).ids
        assert len(tokens) <= 256, "two marks included"


def test_passages_are_nearly_full(encoder: Encoder) -> None:
    text = " ".join(SENTENCES[:1] * 60)
    *full, _ = split(article(text), encoder.count_tokens, encoder.max_tokens)
    for passage in full:
        (tokens,) = encoder.count_tokens([text[passage.start : passage.end]])
        assert tokens > encoder.max_tokens * 0.8


def test_an_article_without_text_has_no_passage() -> None:
    assert list(split(article(" \n "), by_words, BUDGET)) == []


def test_a_short_article_is_one_passage_without_the_space_around_it() -> None:
    assert list(split(article("  one. two. \n"), by_words, BUDGET)) == [Passage(2, 11)]


@given(st.text(max_size=50), st.none() | st.text(min_size=1, max_size=10))
def test_a_heading_begins_with_the_title(title: str, date: str | None) -> None:
    assert heading(title, date).startswith(title)
    assert date is None or f"({date})" in heading(title, date)
