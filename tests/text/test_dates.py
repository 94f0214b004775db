"""Recognition and normalisation of dates."""

import pytest

from rag.text.dates import dates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Born on 14 May 2021, or May 1st, 2020", ["14 May 2021", "1 May 2020"]),
        ("2021-05-04T10:00 and 2021-12", ["4 May 2021", "December 2021"]),
        ("the 3rd of June 1999; july 2001", ["3 June 1999", "July 2001"]),
        ("2021-13-01, May I, 12021-05-04", []),
    ],
)
def test_dates_are_recognised_in_several_notations_and_normalised(
    text: str, expected: list[str]
) -> None:
    assert dates(text) == expected
