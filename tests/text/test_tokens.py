"""Words, stems and search terms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.text.tokens import phrases, quoted_phrases, searchable, stem, terms, words


@pytest.mark.parametrize(
    "number", ["1,200.50", "3.5", "2019", "10,000,000", "1.2.3"], ids=lambda number: number
)
def test_a_number_is_one_word_with_its_points_and_commas(number: str) -> None:
    assert words(f"It was {number}, he said.") == ["it", "was", number, "he", "said"]
    assert terms(f"It was {number}.") == [number.replace(",", "")]


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        pytest.param("1,200 or 1,20", "1200 or 1,20", id="thousands"),
        pytest.param("Élan, Straße", "elan, strasse", id="accents"),
        pytest.param("\uff12\uff10\uff13\uff11 \ufb01n", "2031 fin", id="widths and ligatures"),
        pytest.param("كِتَابـــٌ", "كتاب", id="Arabic vowel signs and lengthening"),
        pytest.param("हिन्दी", "हिन्दी", id="Hindi keeps its vowel signs"),
        pytest.param("p53 and 5G", "p 53 and 5 g", id="letters and digits separated"),
        pytest.param("新桥x", "新  桥 x", id="Chinese characters separated"),
    ],
)
def test_text_for_the_lexical_index_is_normalised(text: str, normalised: str) -> None:
    assert searchable(text) == normalised


def test_search_phrases_are_content_words_and_the_bigrams_of_unspaced_scripts() -> None:
    assert phrases("Is the 新大桥 open or 开?") == ["open", "新大", "大桥", "开"]
    assert phrases("who was it?") == ["who", "was", "it"]


def test_letters_and_digits_without_a_space_are_one_search_phrase() -> None:
    assert phrases("Is p53 or COVID-19 on the 3.5km B2B list?") == [
        "p53", "covid", "19", "3.5km", "b2b", "list",
    ]  # fmt: skip


def test_a_capitalised_stop_word_is_searched_for() -> None:
    assert phrases("Did WHO warn the US in May?") == ["who", "warn", "us", "may"]
    assert phrases("May it help them?") == ["help"]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        pytest.param('Who said "not on my watch"?', ["not on my watch"], id="straight"),
        pytest.param("Who said “no” and “yes”?", ["no", "yes"], id="curly, twice"),
        pytest.param("Wer sagte „nie wieder“?", ["nie wieder"], id="German"),
        pytest.param("谁说了「不行」？", ["不行"], id="Japanese and Chinese"),
        pytest.param('The 5" pipe', [], id="a single mark"),
        pytest.param('What is "..."?', [], id="no word inside"),
        pytest.param("Who's the mayor's brother?", [], id="apostrophes"),
    ],
)
def test_quoted_phrases_are_found_in_several_kinds_of_quotation_marks(
    question: str, expected: list[str]
) -> None:
    assert quoted_phrases(question) == expected


def test_words_are_in_lower_case_without_punctuation() -> None:
    assert words("Élan: the MAYOR’S 3 boats_in (Kraków)!") == [
        "élan", "the", "mayor", "s", "3", "boats", "in", "kraków",
    ]  # fmt: skip


def test_terms_are_stems_without_stop_words() -> None:
    assert terms("Which of the inspectors were inspecting?") == ["inspector", "inspect"]
    assert stem("inspected") == stem("inspects") == "inspect"


@given(st.text())
def test_every_term_is_the_stem_of_a_word(text: str) -> None:
    assert set(terms(text)) <= {stem(word) for word in words(text)}
