"""Progress of a long task."""

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of one task after another."""

    def start(self, task: str, total: int | None) -> None:
        """Start a task of `total` steps, or of an unknown number of steps."""

    def expect(self, total: int) -> None:
        """Set the number of steps of the current task."""

    def advance(self, steps: int) -> None:
        """Add to the number of completed steps."""
