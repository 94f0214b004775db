"""Periods that questions name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.answering.temporal import Period, find_period


@pytest.mark.parametrize(
    ("question", "period"),
    [
        ("What happened on 15 April 2019?", ("2019-04-15", "2019-04-15")),
        ("What happened in April 2019?", ("2019-04", "2019-04")),
        ("What happened in 2019?", ("2019", "2019")),
        ("What happened between March and May 2019?", ("2019-03", "2019-05")),
        ("What happened from November 2018 to May 2019?", ("2018-11", "2019-05")),
        ("What happened between 2018 and 2020?", ("2018", "2020")),
        ("What has happened since May 2019?", ("2019-05", "")),
        ("What happened before 2019?", ("", "2019")),
        ("What happened on 2019-04-15?", ("2019-04-15", "2019-04-15")),
    ],
)
def test_a_period_is_found(question: str, period: tuple[str, str]) -> None:
    assert find_period(question) == Period(*period)


@pytest.mark.parametrize("question", ["What happened?", "What happened in May?", "Who has 300?"])
def test_a_question_without_a_year_names_no_period(question: str) -> None:
    assert find_period(question) is None


@settings(deadline=None)
@given(st.text(max_size=80))
def test_a_period_consists_of_dates_or_is_open(text: str) -> None:
    period = find_period(text)
    assert period is None or all(not end or end[:4].isdigit() for end in period)
