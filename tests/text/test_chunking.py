"""Splitting of articles into passages that fit the encoder's input."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from rag.models.embedding.encoder import Encoder
from rag.models.resolve import MINILM, encoder_folder
from rag.text.chunking import encoded_text, full_heading, short_heading, split
from rag.text.sentences import sentences
from rag.types import Article, Passage

BUDGET = 30
HEADING = "a title"
TEXT_BUDGET = BUDGET - 2
"""Tokens for the text: the heading is two words."""


def count_by_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def count_by_length(texts: Sequence[str]) -> list[int]:
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
def test_every_visible_character_is_in_some_passage(text: str) -> None:
    covered = {
        offset
        for passage in split(article(text), count_by_length, BUDGET)
        for offset in range(passage.start, passage.end)
    }
    assert {offset for offset, character in enumerate(text) if not character.isspace()} <= covered


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_passages_are_in_order_and_none_contains_another(text: str) -> None:
    passages = list(split(article(text), count_by_length, BUDGET))
    for before, after in pairwise(passages):
        assert before.start < after.start
        assert before.end < after.end
    for passage in passages:
        assert 0 <= passage.start < passage.end <= len(text)
        assert text[passage.start : passage.end] == text[passage.start : passage.end].strip()


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_no_passage_exceeds_the_budget(text: str) -> None:
    # Counted in words, text without white space is one token, so that every text can be split to fit.
    for passage in split(article(text), count_by_words, BUDGET):
        assert count_by_words([text[passage.start : passage.end]])[0] <= TEXT_BUDGET


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, TEXT_BUDGET // 3), min_size=1, max_size=40))
def test_neighbours_share_one_whole_sentence_if_it_is_short(lengths: list[int]) -> None:
    text = " ".join(sentence(length, "Word") for length in lengths)
    ends = {end for _, end in sentences(text)}
    passages = list(split(article(text), count_by_words, BUDGET))
    for before, after in pairwise(passages):
        assert text[after.start : before.end] in {text[s:e] for s, e in sentences(text)}
        assert before.end in ends


LONG = 3 * TEXT_BUDGET
"""Words of a sentence that needs several passages."""


@pytest.mark.parametrize(
    ("lengths", "min_passages"),
    [
        pytest.param([], 0, id="none"),
        pytest.param([5], 1, id="one"),
        pytest.param([10] * 12, 5, id="many"),
        pytest.param([TEXT_BUDGET], 1, id="exactly one passage"),
        pytest.param([TEXT_BUDGET, TEXT_BUDGET], 2, id="exactly two passages"),
        pytest.param([LONG, 5, 5], 3, id="oversized first"),
        pytest.param([5, LONG, 5], 3, id="oversized in the middle"),
        pytest.param([5, 5, LONG], 3, id="oversized last"),
    ],
)
def test_sentences_of_any_length_fit(lengths: list[int], min_passages: int) -> None:
    names = "Alpha Bravo Charlie Delta Echo Foxtrot Golf Hotel India Juliett Kilo Lima".split()
    text = " ".join(sentence(n, name) for n, name in zip(lengths, names, strict=False))
    passages = list(split(article(text), count_by_words, BUDGET))
    assert len(passages) >= min_passages
    assert (len(passages) == 1) == (0 < sum(lengths) <= TEXT_BUDGET)
    assert all(count_by_words([text[p.start : p.end]])[0] <= TEXT_BUDGET for p in passages)
    covered = {offset for p in passages for offset in range(p.start, p.end)}
    assert {offset for offset, character in enumerate(text) if character != " "} <= covered


def test_a_sentence_that_fills_a_passage_is_not_shared() -> None:
    text = " ".join([sentence(TEXT_BUDGET, "Full"), sentence(TEXT_BUDGET, "Next")])
    first, second = split(article(text), count_by_words, BUDGET)
    assert first.end < second.start


def test_a_word_of_ten_thousand_characters_is_split_to_fit() -> None:
    text = "x" * 10_000
    passages = list(split(article(text), count_by_length, BUDGET))
    assert "".join(text[p.start : p.end] for p in passages) == text
    assert all(count_by_length([text[p.start : p.end]])[0] <= BUDGET for p in passages)


@pytest.mark.parametrize(
    "title",
    [
        pytest.param("word " * 1000, id="a thousand words"),
        pytest.param("x" * 5000, id="one endless word"),
        pytest.param("제목이 " * 400, id="Hangul"),
    ],
)
def test_a_very_long_title_leaves_half_of_the_budget_to_the_text(title: str) -> None:
    heading = short_heading(title, "2020-01-01", count_by_length, BUDGET)
    assert 0 < count_by_length([heading])[0] <= BUDGET // 2
    assert title.startswith(heading)
    (passage,) = split(article("The vote is on Monday.", title), count_by_length, BUDGET)
    assert (passage.start, passage.end) == (0, 22)


def test_a_title_that_fits_is_kept_with_its_date() -> None:
    assert (
        short_heading("Ferry sinks", "2020-01-01", count_by_words, BUDGET)
        == "Ferry sinks (2020-01-01)"
    )
    assert short_heading("Ferry sinks", None, count_by_words, BUDGET) == "Ferry sinks"


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
@pytest.mark.parametrize("join", [" ".join, "".join], ids=["spaced", "run together"])
def test_the_encoder_never_truncates_a_passage(
    encoder: Encoder, cache: Path, title: str, join: Callable[[Sequence[str]], str]
) -> None:
    text = join(SENTENCES * 6)
    folder = encoder_folder(MINILM.name, cache)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    heading = short_heading(title, None, encoder.count_tokens, encoder.max_tokens)
    passages = list(split(article(text, title), encoder.count_tokens, encoder.max_tokens))
    assert len(passages) > 3
    for passage in passages:
        passage_text = text[passage.start : passage.end]
        tokens = tokenizer.encode(encoded_text(heading, passage_text)).ids
        assert len(tokens) <= 256, "with two special tokens"


def test_passages_are_nearly_full(encoder: Encoder) -> None:
    text = " ".join(SENTENCES[:1] * 60)
    *passages, _ = split(article(text), encoder.count_tokens, encoder.max_tokens)
    for passage in passages:
        (tokens,) = encoder.count_tokens([text[passage.start : passage.end]])
        assert tokens > encoder.max_tokens * 0.8


def test_an_article_without_text_has_no_passage() -> None:
    assert list(split(article(" \n "), count_by_words, BUDGET)) == []


def test_a_short_article_is_one_passage_without_surrounding_white_space() -> None:
    assert list(split(article("  one. two. \n"), count_by_words, BUDGET)) == [Passage(2, 11)]


@given(st.text(max_size=50), st.none() | st.text(min_size=1, max_size=10))
def test_a_heading_starts_with_the_title(title: str, date: str | None) -> None:
    assert full_heading(title, date).startswith(title)
    assert date is None or f"({date})" in full_heading(title, date)
