"""Exceptions that every protocol translates into its own error responses.

ServiceUnavailable   the question cannot be answered now
└── QueueFull        too many questions are waiting
RequestError         the request itself cannot be fulfilled
"""

INTERNAL_ERROR = "Internal error. See the server log for details."


class ServiceUnavailable(Exception):
    """The question cannot be answered now; `str(error)` says why, in one line for the reader.

    Args:
        message: The reason.
        internal: Whether the cause is an unexpected error. Its details are in the server's log only, and
            `message` is INTERNAL_ERROR.
    """

    def __init__(self, message: str, *, internal: bool = False) -> None:
        super().__init__(message)
        self.internal = internal


class QueueFull(ServiceUnavailable):
    """As many questions are waiting as the queue takes."""

    def __init__(self) -> None:
        super().__init__("Too many questions are waiting. Ask again in a minute.")


class RequestError(Exception):
    """The request cannot be fulfilled; `str(error)` says why, in one line for the client."""
