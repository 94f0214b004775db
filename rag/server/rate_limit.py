"""Rate limits."""

import math
import time
from collections import OrderedDict

MAX_CLIENTS = 10_000
"""Clients remembered by a rate limiter; the least recent are forgotten."""


class RateLimitExceeded(Exception):
    """A client has used up its limit; `retry_after_s` says when to try again."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimiter:
    """Token bucket for each client, as large as what refills in a minute.

    Args:
        per_minute: How many events each client may cause in a minute.
        events: What they are called in the message to a client that exceeds the limit.
    """

    def __init__(self, per_minute: int, events: str) -> None:
        self._per_minute = per_minute
        self._events = events
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Client → its tokens, and when it had them."""

    def check(self, client: str) -> None:
        """Raise RateLimitExceeded if the client has no token left."""
        tokens = self._tokens(client)
        if tokens < 1:
            wait_s = math.ceil((1 - tokens) * 60 / self._per_minute)
            raise RateLimitExceeded(
                f"More than {self._per_minute} {self._events} in a minute. Try again in {wait_s} s.",
                wait_s,
            )

    def count(self, client: str) -> None:
        """Take a token from the client."""
        self._buckets[client] = (self._tokens(client) - 1, time.monotonic())
        self._buckets.move_to_end(client)
        while len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)

    def _tokens(self, client: str) -> float:
        tokens, counted_at = self._buckets.get(client, (float(self._per_minute), 0.0))
        refilled = (time.monotonic() - counted_at) * self._per_minute / 60
        return min(self._per_minute, tokens + refilled)
