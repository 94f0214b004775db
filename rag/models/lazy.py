"""Values that are loaded on first use."""

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Lazy(Generic[T]):
    """A value that is loaded on first use, once, even when several threads ask for it.

    If loading raises an exception, the next use tries again.
    """

    def __init__(self, load: Callable[[], T]) -> None:
        self._load: Callable[[], T] | None = load
        self._lock = Lock()
        self._value: T

    @property
    def loaded(self) -> bool:
        return self._load is None

    def get(self) -> T:
        """Return the value, and load it first if necessary."""
        with self._lock:
            if self._load is not None:
                self._value = self._load()
                self._load = None  # which may refer to the owner: a cycle would delay freeing it
            return self._value
