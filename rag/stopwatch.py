"""Where the seconds of one question go."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from time import perf_counter


class Work(StrEnum):
    """What a question's seconds are spent on, in the order in which it is done."""

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
    """Whatever none of the others accounts for."""


class Stopwatch:
    """Runs from when it is made. The kinds of work never overlap: together they are `total_s`."""

    def __init__(self) -> None:
        self._began = perf_counter()
        self._taken: dict[Work, float] = {}

    @property
    def total_s(self) -> float:
        return perf_counter() - self._began

    @contextmanager
    def during(self, work: Work) -> Iterator[None]:
        """What takes place within is this work."""
        began = perf_counter()
        try:
            yield
        finally:
            self.add(work, perf_counter() - began)

    def each(self, pieces: Iterator[str], first: Work, others: Work) -> Iterator[str]:
        """The pieces; waiting for the first that is not empty is one work, for the others another."""
        work = first
        while True:
            with self.during(work):
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece
            if piece:
                work = others

    def add(self, work: Work, seconds: float) -> None:
        self._taken[work] = self._taken.get(work, 0.0) + seconds

    def stages(self) -> dict[str, float]:
        """Work done so far → seconds, in the order of Work; they sum up to `total_s`."""
        taken = self._taken | {Work.BETWEEN: self.total_s - sum(self._taken.values())}
        return {work.value: taken[work] for work in Work if work in taken}
