"""The language model in a process of its own, which may crash without taking anything else along.

Illegal instructions, segmentation faults, failed assertions and a lack of memory end the process. The
question that it was working on learns of that as GeneratorCrashed; for the next one it is started again,
with a safer variant of llama.cpp where the instructions may have been the cause. After
MOST_CRASHES crashes in CRASHES_WITHIN_S seconds it stays off until the program is started again.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
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
from rag.generator import CONTEXT, Pieces, Reading, ability_of, slots_of, usual_threads
from rag.models import SMOLLM2
from rag.prompt import Ability
from rag.worker import CONTROL, LOADING_S, Death, Worker, WorkerDied

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
            "threads": threads or usual_threads(),
            "adapter": str(adapter) if adapter else None,
            "most_bytes": most_bytes,
        }
        self._worker: Worker | None = None
        # Taken in this order where two are:
        self._loading = Lock()
        self._controlling = Lock()
        self._starting = Lock()
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
                context, memory = self._ask(self._started_worker(), "about")
                return context, memory
            except GeneratorCrashed:
                if self.problem:
                    return CONTEXT, 0

    def load(self) -> None:
        """Load the model now rather than at the first question. Raises ModelError.

        When it crashes every time, it is off afterwards, as `problem` says.
        """
        with suppress(GeneratorCrashed):
            self._loaded_worker()

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """How many tokens the messages are in the model's own template."""
        count: int = self._ask(self._loaded_worker(), "count_tokens", _pairs(messages))
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

    def close(self) -> None:
        """End the process; the next text starts another one."""
        if self._worker:
            self._end(self._worker)

    def _exchange(self, wanted: str, messages: Sequence[Message]) -> Any:
        slot = self._free.get()
        try:
            worker = self._loaded_worker()
            with self._noticing(worker):
                yield from worker.exchange(slot, [wanted, _pairs(messages)])
        finally:
            self._free.put(slot)

    def _ask(
        self, worker: Worker, wanted: str, value: Any = None, most_s: float | None = None
    ) -> Any:
        """The last reply to a short request."""
        with self._noticing(worker), self._controlling:
            return [None, *worker.exchange(CONTROL, [wanted, value], most_s)][-1]

    def _started_worker(self) -> Worker:
        with self._starting:
            if self._worker and not self._worker.alive:  # it died when nobody asked
                self._bury(self._worker)
            if self.problem:
                raise GeneratorCrashed(self.problem, remedy="")
            if not self._worker:
                self._worker = self._begun()
            return self._worker

    def _begun(self) -> Worker:
        self.health.variant = ""  # not known yet
        try:
            return Worker(self._options, slots_of(self.name))
        except OSError as error:
            self.health.crashes(Death(0, f"no process can be started: {error.strerror}"))
            raise self._told() from error

    def _loaded_worker(self) -> Worker:
        """A process that is ready; those that die over that are followed by others until it is off."""
        while True:
            try:
                worker = self._started_worker()
                with self._loading:
                    if not worker.loaded:
                        self._load(worker)
                        worker.loaded = True
                return worker
            except GeneratorCrashed:
                if self.problem:
                    raise

    def _load(self, worker: Worker) -> None:
        """Load the best variant of llama.cpp, and the model; test it if it never was."""
        unwanted = [sorted(self.health.ruled_out), sorted(self.health.avoided)]
        variant = ""
        with self._noticing(worker), self._controlling:
            for variant in worker.exchange(CONTROL, ["variant", unwanted]):
                self.health.starts(variant)
        if not variant:
            self._end(worker)
            raise GeneratorCrashed(self.problem, remedy="")
        self._ask(worker, "load", most_s=LOADING_S)
        if variant not in self.health.passed:
            self._ask(worker, "test")
        self.health.passes(variant)

    @contextmanager
    def _noticing(self, worker: Worker) -> Iterator[None]:
        """Raises GeneratorCrashed when the process turns out to have died."""
        try:
            yield
        except WorkerDied:
            with self._starting:
                if worker is self._worker:  # else another thread has noticed
                    self._bury(worker)
            raise self._told() from None

    def _bury(self, worker: Worker) -> None:
        """Note how the process in use has died."""
        self.health.crashes(worker.death())
        self._worker = None
        worker.end()

    def _told(self) -> GeneratorCrashed:
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

    Illegal instructions rule a variant out for good (on this CPU, of this build); other signs that they
    may be wrong have the others tried first for the rest of this run.
    """

    def __init__(self, cache: Path) -> None:
        self.problem = ""
        self.variant = ""
        self.last = Death(0, "")
        self.avoided: set[str] = set()
        self._cache = cache
        self._ruled_out: dict[str, str] = {}  # in this run, where the cache cannot be written
        self._crashes: deque[float] = deque(maxlen=MOST_CRASHES)

    @cached_property
    def verdicts(self) -> CpuVerdicts:
        return llama_verdicts(self._cache)

    @property
    def passed(self) -> set[str]:
        """Variants that have read and written correctly."""
        kept = self.verdicts.read().get("passed")
        return {str(variant) for variant in kept} if isinstance(kept, list) else set()

    @property
    def ruled_out(self) -> dict[str, str]:
        """Variants that this CPU turned out not to run, and how that showed."""
        return ruled_out(self.verdicts) | self._ruled_out

    def forget(self) -> None:
        """Test every variant anew."""
        self.verdicts.forget()
        self._ruled_out.clear()
        self.avoided.clear()

    def starts(self, variant: str) -> None:
        """A process uses this variant from now on; an empty one means that none is left."""
        self.variant = variant
        if not variant:
            known = self.ruled_out
            reasons = "; ".join(
                f"{name}: {known.get(name, 'made for others')}"
                for name in backends.variants() or [backends.NATIVE]
            )
            self._turn_off(
                f"No build of llama.cpp that is installed runs on this CPU, {this_cpu().name}"
                f" ({reasons}). Run `make app` again to build it for other CPUs, then `rag doctor`."
            )

    def passes(self, variant: str) -> None:
        """The variant has read and written correctly."""
        kept, passed = self.verdicts.read(), self.passed
        if variant not in passed or "problem" in kept:
            kept.pop("problem", None)
            self.verdicts.write(kept | {"passed": sorted(passed | {variant})})

    def crashes(self, death: Death) -> None:
        """The process has died while it used the variant."""
        self.last = death
        if death.name == "SIGILL" and self.variant:
            self._rule_out(str(death))
            return
        if death.name in _BY_INSTRUCTIONS:
            self.avoided.add(self.variant)
        self._crashes.append(monotonic())
        in_time = monotonic() - self._crashes[0] < CRASHES_WITHIN_S
        if len(self._crashes) == MOST_CRASHES and in_time:
            self._turn_off(
                f"The language model is off after {MOST_CRASHES} crashes (the last: {death})."
                " Start Footnote again, or choose another model with `rag models use`."
            )

    def _rule_out(self, reason: str) -> None:
        self._ruled_out[self.variant] = reason
        kept = {"passed": sorted(self.passed - {self.variant}), "ruled_out": self.ruled_out}
        self.verdicts.write(self.verdicts.read() | kept)

    def _turn_off(self, problem: str) -> None:
        self.problem = problem
        self.verdicts.write(self.verdicts.read() | {"problem": problem})


def last_problem(cache: Path) -> str:
    """Why the language model was off when it was used last on this CPU; empty where it worked."""
    return str(llama_verdicts(cache).read().get("problem", ""))


def llama_verdicts(cache: Path) -> CpuVerdicts:
    """What is known of llama.cpp's variants on this CPU."""
    return CpuVerdicts(cache, "llama.cpp", backends.library_id())


def ruled_out(verdicts: CpuVerdicts) -> dict[str, str]:
    """Variants that this CPU turned out not to run, and how that showed."""
    kept = verdicts.read().get("ruled_out")
    return {name: str(reason) for name, reason in kept.items()} if isinstance(kept, dict) else {}


def _pairs(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in messages]
