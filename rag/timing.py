"""Measures how long each phase of answering a question takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from time import perf_counter


class Phase(StrEnum):
    """The phases of answering a question, in order."""

    STANDALONE_QUESTION = "standalone_question"
    LEXICAL_SEARCH = "lexical_search"
    ENCODE_QUESTION = "encode_question"
    DENSE_SEARCH = "dense_search"
    GATHER_HITS = "gather_hits"
    RERANK = "rerank"
    WEIGH_EVIDENCE = "weigh_evidence"
    COMPOSE_PROMPT = "compose_prompt"
    READ_PROMPT = "read_prompt"
    WRITE = "write"
    CHECK = "check"
    BETWEEN = "between"
    """Time that no other phase accounts for."""


class PhaseTimer:
    """Measures the time per phase, from its creation on.

    Phases must not overlap, so that the durations of all phases sum to `total_s`.
    """

    def __init__(self) -> None:
        self._start = perf_counter()
        self._durations: dict[Phase, float] = {}

    @property
    def total_s(self) -> float:
        return perf_counter() - self._start

    @contextmanager
    def measure(self, phase: Phase) -> Iterator[None]:
        """Add the duration of the `with` block to the phase, also if the block raises."""
        start = perf_counter()
        try:
            yield
        finally:
            self.add(phase, perf_counter() - start)

    def measure_iter(self, pieces: Iterator[str], first: Phase, rest: Phase) -> Iterator[str]:
        """Yield the pieces, and measure how long the iterator takes to produce them.

        Args:
            pieces: Text as it is generated; pieces may be empty.
            first: The phase to which the time until the first non-empty piece is added.
            rest: The phase to which all later time is added.
        """
        phase = first
        while True:
            with self.measure(phase):
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece
            if piece:
                phase = rest

    def add(self, phase: Phase, seconds: float) -> None:
        self._durations[phase] = self._durations.get(phase, 0.0) + seconds

    def stages(self) -> dict[str, float]:
        """Return the seconds per phase so far, in the order of `Phase`; they sum to `total_s`."""
        unaccounted = self.total_s - sum(self._durations.values())
        durations = self._durations | {Phase.BETWEEN: unaccounted}
        return {phase.value: durations[phase] for phase in Phase if phase in durations}
