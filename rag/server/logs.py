"""Logging on stderr, for the processes that serve."""

import logging
import sys
from contextlib import suppress


class StderrHandler(logging.Handler):
    """Writes records to the present `sys.stderr`.

    logging.StreamHandler keeps the stream that it was created with, and reports errors of writing.
    """

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):  # nobody reads stderr any more
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()


def log_to_stderr(name: str, level: int) -> None:
    """Write the records of a logger, and of those below it, to stderr as plain text.

    Args:
        name: The name of the logger.
        level: The lowest level that is written.
    """
    logger = logging.getLogger(name)
    logger.setLevel(level)
    logger.propagate = False
    if not any(isinstance(handler, StderrHandler) for handler in logger.handlers):
        logger.addHandler(StderrHandler())


def configure_logging() -> None:
    """Write warnings and errors of the package to stderr."""
    log_to_stderr("rag", logging.WARNING)
