"""Errors show on stderr in the processes that serve."""

import logging
import subprocess
import sys

import pytest


def stderr_of(*statements: str) -> str:
    """Run statements in a process of their own and return what is on its stderr."""
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(statements)], capture_output=True, text=True, check=True
    )
    assert ran.stdout == ""
    return ran.stderr


CONFIGURED = (
    "import logging",
    "from rag.server.logs import configure_logging",
    "configure_logging()",
)
LOG = "log = logging.getLogger('rag.server.service')"


def test_an_error_is_one_plain_line() -> None:
    shown = stderr_of(*CONFIGURED, LOG, "log.error('%s', 'There is no index.')")
    assert shown == "There is no index.\n"


def test_an_unexpected_error_shows_its_traceback() -> None:
    shown = stderr_of(*CONFIGURED, LOG, "try: 1 / 0", "except Exception: log.exception('Failed.')")
    assert shown.startswith("Failed.\nTraceback (most recent call last):\n")
    assert shown.endswith("ZeroDivisionError: division by zero\n")


def test_nothing_shows_twice_when_another_library_configures_logging_too() -> None:
    shown = stderr_of(
        *CONFIGURED, "logging.basicConfig()", "configure_logging()", LOG, "log.error('x')"
    )
    assert shown == "x\n"


def test_what_is_no_problem_does_not_show() -> None:
    assert stderr_of(*CONFIGURED, LOG, "log.info('x')") == ""


def test_an_error_shows_without_configuration_too() -> None:
    assert stderr_of("import logging", LOG, "log.error('There is no index.')") == (
        "There is no index.\n"
    )


@pytest.fixture(autouse=True)
def _unchanged() -> None:
    """The tests' own process is not configured: pytest captures its logs."""
    assert logging.getLogger("rag").propagate
