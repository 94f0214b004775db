"""Fixtures for the tests of the readers."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _no_library_output(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Check that no library prints anything."""
    yield
    assert capfd.readouterr().out == ""
