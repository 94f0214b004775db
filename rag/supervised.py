"""The language model in a process of its own, which may crash without taking anything else along.

Illegal instructions, segmentation faults, failed assertions and a lack of memory end the process. The
question that it was working on learns of that as GeneratorCrashed; for the next one it is started again,
with a safer variant of llama.cpp where the instructions may have been the cause. After
MOST_CRASHES crashes in CRASHES_WITHIN_S seconds it stays off until the program is started again.
"""

import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from queue import LifoQueue
from threading import Lock
from time import monotonic
from typing import Any

from rag import backends
from rag.cpu import CpuVerdicts, this_cpu
from rag.datatypes import Message, ShortAnswer
from rag.errors import GeneratorCrashed
from rag.generator import CONTEXT, Pieces, Reading, ability_of, slots_of
from rag.models import SMOLLM2
from rag.prompt import Ability
from rag.worker import CONTROL, Death, Worker, WorkerDied

MOST_CRASHES = 3
CRASHES_WITHIN_S = 600.0

_BY_INSTRUCTIONS = {"SIGILL", "SIGSEGV", "SIGBUS", "SIGFPE"}
"""Signals of which a variant of llama.cpp may be the cause."""


class SupervisedGenerator:
    """A GGUF model run by llama.cpp, as rag.generator.LlamaGenerator runs it, in a process of its own."""

    def __init__(
        self,
        name: str,
        file: Path,
        cache: Path,
        threads: int,
        adapter: Path | None = None,
        most_bytes: int = 0,
    ) -> None:
        """As LlamaGenerator's."""
        self.name = name
        self.health = Health(cache)
        self._taught = adapter is not None
        self._options = {
            "name": name,
            "file": str(file),
            "cache": str(cache),
            "threads": threads,
            "adapter": str(adapter) if adapter else None,
            "most_bytes": most_bytes,
        }
        self._worker: Worker | None = None
        self._starting = Lock()
        self._controlling = Lock()
        self._free: LifoQueue[int] = LifoQueue()
        for slot in range(slots_of(name)):
            self._free.put(CONTROL + 1 + slot)

    @property
    def problem(self) -> str:
        return self.health.problem

    @cached_property
    def context(self) -> int:
        return CONTEXT if self.name == SMOLLM2.name else self._about[0]

    @cached_property
    def ability(self) -> Ability:
        return ability_of(self.name, self.context, taught=self._taught)

    @property
    def memory(self) -> int:
        """Bytes that loading it will take; none when it is loaded, or off."""
        worker = self._worker
        if self.problem or (worker and worker.loaded):
            return 0
        return self._about[1]

    @cached_property
    def _about(self) -> tuple[int, int]:
        """Tokens of context, and bytes of memory. Raises ModelError."""
        while True:
            try:
                context, memory = self._ask("about")
                return context, memory
            except GeneratorCrashed:
                if self.problem:
                    return CONTEXT, 0

    def load(self) -> None:
        """Load the model now rather than at the first question. Raises ModelError.

        When it crashes every time, it is off afterwards, as `problem` says.
        """
        while not self.problem:
            try:
                self._loaded_worker()
                return
            except GeneratorCrashed:
                continue

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """How many tokens the messages are in the model's own template."""
        self._loaded_worker()
        count: int = self._ask("count_tokens", _pairs(messages))
        return count

    def short_answer(self, messages: Sequence[Message]) -> Reading:
        """As LlamaGenerator's. Raises GeneratorCrashed."""
        with closing(self._exchange("short_answer", messages)) as replies:
            for reply in replies:
                yield reply and ShortAnswer(**reply)

    def stream(self, messages: Sequence[Message]) -> Pieces:
        """As LlamaGenerator's. Raises GeneratorCrashed."""
        with closing(self._exchange("stream", messages)) as replies:
            yield from replies

    def _exchange(self, wanted: str, messages: Sequence[Message]) -> Any:
        slot = self._free.get()
        try:
            worker = self._loaded_worker()
            try:
                yield from worker.exchange(slot, [wanted, _pairs(messages)])
            except WorkerDied:
                raise self._crashed(worker) from None
        finally:
            self._free.put(slot)

    def _ask(self, wanted: str, value: Any = None) -> Any:
        worker = self._started_worker()
        try:
            with self._controlling:
                return worker.ask([wanted, value])
        except WorkerDied:
            raise self._crashed(worker) from None

    def _started_worker(self) -> Worker:
        with self._starting:
            if self.problem:
                raise GeneratorCrashed(self.problem, remedy="")
            if self._worker is None:
                options = self._options | {"excluded": sorted(self.health.excluded)}
                self._worker = Worker(options, slots_of(self.name))
                weakref.finalize(self, self._worker.end)
            return self._worker

    def _loaded_worker(self) -> Worker:
        worker = self._started_worker()
        if not worker.loaded:
            variant = self._ask("variant")
            self.health.starts(variant)
            if not variant:
                self._end(worker)
                raise GeneratorCrashed(self.problem, remedy="")
            self._ask("load", "" if variant in self.health.passed else "test")
            worker.loaded = True
            self.health.passes()
        return worker

    def _crashed(self, worker: Worker) -> GeneratorCrashed:
        """Note that a process has died, once; what its questions are told."""
        with self._starting:
            if worker is self._worker:
                self.health.crashes(worker.death())
                self._worker = None
                worker.end()
        return GeneratorCrashed(
            f"The language model has crashed ({self.health.last}).",
            remedy=self.problem or "It is started again for the next question.",
        )

    def _end(self, worker: Worker) -> None:
        with self._starting:
            if worker is self._worker:
                self._worker = None
        worker.end()


class Health:
    """Which variants of llama.cpp run on this CPU, kept between runs, and the crashes of this run.

    Illegal instructions rule a variant out for good (on this CPU, of this build).
    """

    def __init__(self, cache: Path) -> None:
        self.problem = ""
        self.variant = ""
        self.last = Death(0, "")
        self._cache = cache
        self._avoided: set[str] = set()
        self._crashes: deque[float] = deque(maxlen=MOST_CRASHES)

    @cached_property
    def verdicts(self) -> CpuVerdicts:
        return llama_verdicts(self._cache)

    @property
    def passed(self) -> set[str]:
        return set(self.verdicts.read().get("passed", []))

    @property
    def excluded(self) -> set[str]:
        return self._avoided | set(ruled_out(self.verdicts))

    def starts(self, variant: str) -> None:
        """A process uses this variant; an empty one means that none is left."""
        self.variant = variant
        if not variant:
            known = ruled_out(self.verdicts)
            reasons = "; ".join(f"{name}: {reason}" for name, reason in known.items())
            self._turn_off(
                f"No build of llama.cpp that is installed runs on this CPU, {this_cpu().name}"
                f" ({reasons or self.last}). Run `make app` again to build it for other CPUs, then"
                " `rag doctor`."
            )

    def passes(self) -> None:
        """The variant has read and written correctly."""
        kept = self.verdicts.read()
        passed = sorted({*kept.get("passed", []), self.variant})
        if passed != kept.get("passed") or "problem" in kept:
            kept.pop("problem", None)
            self.verdicts.write(kept | {"passed": passed})

    def crashes(self, death: Death) -> None:
        """The process has died while it used the variant."""
        self.last = death
        name = death.name
        if name == "SIGILL":
            kept = self.verdicts.read()
            passed = [variant for variant in kept.get("passed", []) if variant != self.variant]
            told = kept.get("ruled_out", {}) | {self.variant: str(death)}
            self.verdicts.write(kept | {"passed": passed, "ruled_out": told})
            return
        if name in _BY_INSTRUCTIONS and len(backends.variants()) > 1 + len(self.excluded):
            self._avoided.add(self.variant)
        self._crashes.append(monotonic())
        in_time = monotonic() - self._crashes[0] < CRASHES_WITHIN_S
        if len(self._crashes) == MOST_CRASHES and in_time:
            self._turn_off(
                f"The language model is off after {MOST_CRASHES} crashes (the last: {death})."
                " Start Footnote again, or choose another model with `rag models use`."
            )

    def _turn_off(self, problem: str) -> None:
        self.problem = problem
        self.verdicts.write(self.verdicts.read() | {"problem": problem})


def llama_verdicts(cache: Path) -> CpuVerdicts:
    """What is known of llama.cpp's variants on this CPU."""
    return CpuVerdicts(cache, "llama.cpp", backends.library_id())


def ruled_out(verdicts: CpuVerdicts) -> dict[str, str]:
    """Variants that this CPU turned out not to run, and how that showed."""
    found: dict[str, str] = verdicts.read().get("ruled_out", {})
    return found


def _pairs(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in messages]
