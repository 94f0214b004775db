"""Where sentences begin and end, and which words carry meaning."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.language import dates, phrases, quoted, searchable, sentences, stem, terms, trim, words

PIECES = st.sampled_from(
    ["\r\n", "\n\n", "\n \n", " . ", ". ", "? ", "\u0301", "\U0001f600", "中文。", "u.s .", "Mr. ",
     "\u2028", "\x1c", "\ufeff", "”", "...", "word", "Word", " ", "\t"]
)  # fmt: skip
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=30).map("".join)


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_every_visible_character_stands_in_exactly_one_sentence(text: str) -> None:
    places = [place for start, end in sentences(text) for place in range(start, end)]
    assert places == sorted(set(places)), "sentences overlap or are out of order"
    visible = {place for place, character in enumerate(text) if not character.isspace()}
    assert visible <= set(places)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_no_sentence_has_white_space_around_it_or_is_empty(text: str) -> None:
    for sentence in cut(text):
        assert sentence
        assert sentence == sentence.strip()


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS, st.sampled_from(["\n\n", "\n \t\n", "\r\n\r\n", "\n\n\n\n"]))
def test_no_sentence_reaches_over_a_blank_line(before: str, after: str, blank: str) -> None:
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
def test_one_sentence_stays_one(text: str) -> None:
    assert cut(text) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "the ferry sank on friday . nobody was hurt .",
            ["the ferry sank on friday .", "nobody was hurt ."],
            id="detached stops",
        ),
        pytest.param(
            "The ferry sank. Was anybody hurt? Nobody!",
            ["The ferry sank.", "Was anybody hurt?", "Nobody!"],
            id="attached stops",
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
    assert cut(text) == expected


@given(st.text(), st.data())
def test_trimming_leaves_what_strip_leaves(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    left, right = trim(text, start, end)
    assert text[left:right] == text[start:end].strip()
    assert left >= start


@pytest.mark.parametrize(
    "number", ["1,200.50", "3.5", "2019", "10,000,000", "1.2.3"], ids=lambda number: number
)
def test_a_number_is_one_word_with_its_points_and_commas(number: str) -> None:
    assert words(f"It was {number}, he said.") == ["it", "was", number, "he", "said"]
    assert terms(f"It was {number}.") == [number.replace(",", "")]


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        pytest.param("1,200 or 1,20", "1200 or 1,20", id="thousands"),
        pytest.param("Élan, Straße", "elan, strasse", id="accents"),
        pytest.param("\uff12\uff10\uff13\uff11 \ufb01n", "2031 fin", id="widths and ligatures"),
        pytest.param("كِتَابـــٌ", "كتاب", id="Arabic vowel signs and lengthening"),
        pytest.param("हिन्दी", "हिन्दी", id="Hindi keeps its vowel signs"),
        pytest.param("p53 and 5G", "p 53 and 5 g", id="letters and figures apart"),
        pytest.param("新桥x", "新  桥 x", id="Chinese characters apart"),
    ],
)
def test_what_is_searched_is_folded(text: str, folded: str) -> None:
    assert searchable(text) == folded


def test_a_run_without_spaces_is_searched_by_its_pairs_and_all_by_what_carries_meaning() -> None:
    assert phrases("Is the 新大桥 open or 开?") == ["open", "新大", "大桥", "开"]
    assert phrases("who was it?") == ["who", "was", "it"]


def test_letters_and_figures_in_one_are_one_name() -> None:
    assert phrases("Is p53 or COVID-19 on the 3.5km B2B list?") == [
        "p53", "covid", "19", "3.5km", "b2b", "list",
    ]  # fmt: skip


def test_a_function_word_written_as_a_name_is_searched_for() -> None:
    assert phrases("Did WHO warn the US in May?") == ["who", "warn", "us", "may"]
    assert phrases("May it help them?") == ["help"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Born on 14 May 2021, or May 1st, 2020", ["14 May 2021", "1 May 2020"]),
        ("2021-05-04T10:00 and 2021-12", ["4 May 2021", "December 2021"]),
        ("the 3rd of June 1999; july 2001", ["3 June 1999", "July 2001"]),
        ("2021-13-01, May I, 12021-05-04", []),
    ],
)
def test_dates_are_found_however_they_are_written(text: str, found: list[str]) -> None:
    assert dates(text) == found


@pytest.mark.parametrize(
    ("question", "said"),
    [
        pytest.param('Who said "not on my watch"?', ["not on my watch"], id="straight"),
        pytest.param("Who said “no” and “yes”?", ["no", "yes"], id="curly, twice"),
        pytest.param("Wer sagte „nie wieder“?", ["nie wieder"], id="German"),
        pytest.param("谁说了「不行」？", ["不行"], id="Japanese and Chinese"),
        pytest.param('The 5" pipe', [], id="a mark alone"),
        pytest.param('What is "..."?', [], id="no word in it"),
        pytest.param("Who's the mayor's brother?", [], id="apostrophes"),
    ],
)
def test_what_stands_in_quotation_marks_is_known(question: str, said: list[str]) -> None:
    assert quoted(question) == said


def test_chinese_and_japanese_sentences_end_at_their_own_stops() -> None:
    assert cut("新桥开通了。“真长！”他说。好") == ["新桥开通了。", "“真长！”", "他说。", "好"]


def test_words_are_lower_case_in_order_and_without_marks() -> None:
    assert words("Élan: the MAYOR’S 3 boats_in (Kraków)!") == [
        "élan", "the", "mayor", "s", "3", "boats", "in", "kraków",
    ]  # fmt: skip


def test_terms_leave_out_function_words_and_join_the_forms_of_a_word() -> None:
    assert terms("Which of the inspectors were inspecting?") == ["inspector", "inspect"]
    assert stem("inspected") == stem("inspects") == "inspect"


@given(st.text())
def test_every_term_is_the_stem_of_a_word(text: str) -> None:
    assert set(terms(text)) <= {stem(word) for word in words(text)}
