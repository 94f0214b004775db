"""Numbers written as words and as figures."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.text.numerals import digits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Eleven were hurt.", "11 were hurt."),
        ("twenty-one and twenty one", "21 and 21"),
        ("a dozen eggs", "a 12 eggs"),
        ("1,234,567 people", "1234567 people"),
        ("none of them, someone", "none of them, someone"),
        ("on 12, 13 and 14 May", "on 12, 13 and 14 May"),
        ("1,23 is no thousand", "1,23 is no thousand"),
    ],
)
def test_number_words_and_separators_are_normalised(text: str, expected: str) -> None:
    assert digits(text) == expected


@settings(deadline=None)
@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert digits(digits(text)) == digits(text)


@settings(deadline=None)
@given(st.integers(0, 10**12))
def test_separators_of_thousands_do_not_matter(number: int) -> None:
    assert digits(f"{number:,}") == str(number)
