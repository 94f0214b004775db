"""Exceptions that every protocol translates into its own error responses.

ServiceUnavailable   the question cannot be answered now
└── QueueFull        too many questions are waiting
RequestError         the request itself cannot be fulfilled
"""

from rag.wording import Localizable, phrase

INTERNAL_ERROR = phrase("internal_error")
"""An unexpected error, whose details are in the server's log only."""


class ServiceUnavailable(Exception):
    """The question cannot be answered now; `str(error)` says why, in one line of English.

    Args:
        reason: The reason.
    """

    def __init__(self, reason: Localizable) -> None:
        super().__init__(str(reason))
        self.reason = reason


class QueueFull(ServiceUnavailable):
    """As many questions are waiting as the queue takes."""

    def __init__(self) -> None:
        super().__init__(phrase("queue_full"))


class RequestError(Exception):
    """The request cannot be fulfilled; `str(error)` says why, in one line for the client."""
