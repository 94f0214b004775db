"""Sentence segmentation."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.text.sentences import sentences, trim

PIECES = st.sampled_from(
    ["\r\n", "\n\n", "\n \n", " . ", ". ", "? ", "\u0301", "\U0001f600", "中文。", "u.s .", "Mr. ",
     "\u2028", "\x1c", "\ufeff", "”", "...", "word", "Word", " ", "\t"]
)  # fmt: skip
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=30).map("".join)


def split_sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_every_visible_character_is_in_exactly_one_sentence(text: str) -> None:
    offsets = [offset for start, end in sentences(text) for offset in range(start, end)]
    assert offsets == sorted(set(offsets)), "sentences overlap or are out of order"
    visible = {offset for offset, character in enumerate(text) if not character.isspace()}
    assert visible <= set(offsets)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_no_sentence_is_empty_or_surrounded_by_white_space(text: str) -> None:
    for sentence in split_sentences(text):
        assert sentence
        assert sentence == sentence.strip()


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS, st.sampled_from(["\n\n", "\n \t\n", "\r\n\r\n", "\n\n\n\n"]))
def test_no_sentence_crosses_a_blank_line(before: str, after: str, blank: str) -> None:
    middle = len(before) + len(blank) // 2
    for start, end in sentences(before + blank + after):
        assert not start < middle < end


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("the u.s . senate passed the bill late on tuesday .", id="u.s . senate"),
        pytest.param("a letter by mr . smith reached the court .", id="mr . smith"),
        pytest.param("the report is due by oct. 26 , officials said .", id="oct. 26"),
        pytest.param("Dr. Hale met Gen. Ortiz in Washington, D.C. on Jan. 5.", id="Dr. and D.C."),
        pytest.param("The novel by J. K. Rowling sold out.", id="initials"),
        pytest.param("prices rose 3.5 percent to $1,200.50 in march .", id="figures"),
        pytest.param("the vote is set for\nmonday morning", id="single line break"),
    ],
)
def test_one_sentence_is_not_split(text: str) -> None:
    assert split_sentences(text) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "the ferry sank on friday . nobody was hurt .",
            ["the ferry sank on friday .", "nobody was hurt ."],
            id="detached full stops",
        ),
        pytest.param(
            "The ferry sank. Was anybody hurt? Nobody!",
            ["The ferry sank.", "Was anybody hurt?", "Nobody!"],
            id="attached full stops",
        ),
        pytest.param(
            "“Is it over?” she asked. “Yes.”",
            ["“Is it over?” she asked.", "“Yes.”"],
            id="a quotation and who said it",
        ),
        pytest.param(
            "Ferry sinks\r\n\r\nNobody was hurt.",
            ["Ferry sinks", "Nobody was hurt."],
            id="blank line after a headline, CRLF",
        ),
        pytest.param("", [], id="nothing"),
        pytest.param(" \n\t\r\n", [], id="white space only"),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


def test_chinese_and_japanese_sentences_end_at_their_own_full_stops() -> None:
    assert split_sentences("新桥开通了。“真长！”他说。好") == [
        "新桥开通了。",
        "“真长！”",
        "他说。",
        "好",
    ]


@given(st.text(), st.data())
def test_trimming_a_span_is_like_stripping_its_text(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    trimmed_start, trimmed_end = trim(text, start, end)
    assert text[trimmed_start:trimmed_end] == text[start:end].strip()
    assert trimmed_start >= start
