"""Supervision of the language model's process, which may crash without affecting the rest of the program.

Illegal instructions, segmentation faults, failed assertions and lack of memory end the process. The
question that was being answered fails with GeneratorCrashed. The next question starts the process again,
with a safer variant of llama.cpp if the instructions may have been the cause. After MAX_CRASHES crashes
within CRASH_WINDOW_S seconds, the language model stays off until the program is restarted.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from queue import LifoQueue
from threading import Lock
from time import monotonic
from typing import Any

from rag.errors import GeneratorCrashed
from rag.models.cpu import CpuVerdicts, this_cpu
from rag.models.generation import backends
from rag.models.generation.base import TextStream
from rag.models.generation.llama import CONTEXT, count_slots, default_threads, profile_for
from rag.models.generation.prompts import GenerationProfile
from rag.models.generation.worker import CONTROL, LOAD_TIMEOUT_S, Death, Worker, WorkerDied
from rag.models.resolve import SMOLLM2
from rag.types import Message

MAX_CRASHES = 3
CRASH_WINDOW_S = 600.0

_INSTRUCTION_SIGNALS = {"SIGILL", "SIGSEGV", "SIGBUS", "SIGFPE"}
"""Signals that an unsuitable variant of llama.cpp may cause."""


class SupervisedGenerator:
    """A `LanguageModel` that llama.cpp runs in a child process, as `LlamaGenerator` does in this one.

    Args:
        name: The name by which the user chose the model.
        file: Its GGUF file.
        cache: The cache folder.
        threads: The number of threads; 0 for the default.
        max_bytes: The memory available to the model, which limits its context; 0 for no limit.
    """

    def __init__(
        self,
        name: str,
        file: Path,
        cache: Path,
        threads: int,
        max_bytes: int = 0,
    ) -> None:
        self.name = name
        self.health = Health(cache)
        self._options = {
            "name": name,
            "file": str(file),
            "cache": str(cache),
            "threads": threads or default_threads(),
            "most_bytes": max_bytes,
        }
        self._worker: Worker | None = None
        # A thread that takes two of these locks takes them in this order:
        self._load_lock = Lock()
        self._control_lock = Lock()
        self._worker_lock = Lock()
        self._free_channels: LifoQueue[int] = LifoQueue()
        for slot in range(count_slots(name)):
            self._free_channels.put(CONTROL + 1 + slot)

    @property
    def problem(self) -> str:
        return self.health.problem

    @cached_property
    def context(self) -> int:
        return CONTEXT if self.name == SMOLLM2.name else self._context_and_memory[0]

    @cached_property
    def profile(self) -> GenerationProfile:
        return profile_for(self.name, self.context)

    @property
    def memory(self) -> int:
        """Bytes of memory that loading the model will take; 0 once it is loaded, and while it is off."""
        worker = self._worker
        if self.problem or (worker and worker.loaded):
            return 0
        return self._context_and_memory[1]

    @cached_property
    def _context_and_memory(self) -> tuple[int, int]:
        """Tokens of context, and bytes of memory. Raises ModelError."""
        while True:
            try:
                context, memory = self._ask(self._start_worker(), "about")
                return context, memory
            except GeneratorCrashed:
                if self.problem:
                    return CONTEXT, 0

    def load(self) -> None:
        """Load the model now instead of on first use.

        If it crashes every time, the model is off afterwards, for the reason in `problem`.

        Raises:
            ModelError: The model cannot be used.
        """
        with suppress(GeneratorCrashed):
            self._loaded_worker()

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Like `LlamaGenerator.count_tokens`. Raises GeneratorCrashed."""
        count: int = self._ask(self._loaded_worker(), "count_tokens", _to_pairs(messages))
        return count

    def stream(self, messages: Sequence[Message]) -> TextStream:
        """Like `LlamaGenerator.stream`. Raises GeneratorCrashed."""
        channel = self._free_channels.get()
        try:
            worker = self._loaded_worker()
            with self._translate_death(worker):
                yield from worker.exchange(channel, ["stream", _to_pairs(messages)])
        finally:
            self._free_channels.put(channel)

    def close(self) -> None:
        """End the process. The next use starts another one."""
        if self._worker:
            self._end(self._worker)

    def _ask(
        self, worker: Worker, command: str, value: Any = None, timeout_s: float | None = None
    ) -> Any:
        """Return the last reply to a short request; None if there is no reply."""
        with self._translate_death(worker), self._control_lock:
            return [None, *worker.exchange(CONTROL, [command, value], timeout_s)][-1]

    def _start_worker(self) -> Worker:
        """Return the current process; start one if there is none. Raises GeneratorCrashed if off."""
        with self._worker_lock:
            if self._worker and not self._worker.alive:  # it died between two requests
                self._discard_dead(self._worker)
            if self.problem:
                raise GeneratorCrashed(self.problem, remedy="")
            if not self._worker:
                self._worker = self._new_worker()
            return self._worker

    def _new_worker(self) -> Worker:
        self.health.variant = ""  # not chosen yet
        try:
            return Worker(self._options, count_slots(self.name))
        except OSError as error:
            self.health.record_crash(Death(0, f"no process can be started: {error.strerror}"))
            raise self._crash_error() from error

    def _loaded_worker(self) -> Worker:
        """Return a process with a loaded model; if it dies, start others until the model is off."""
        while True:
            try:
                worker = self._start_worker()
                with self._load_lock:
                    if not worker.loaded:
                        self._load(worker)
                        worker.loaded = True
                return worker
            except GeneratorCrashed:
                if self.problem:
                    raise

    def _load(self, worker: Worker) -> None:
        """Load the best variant of llama.cpp and the model, and test the variant if it is new."""
        unsuitable = [sorted(self.health.ruled_out), sorted(self.health.avoided)]
        variant = ""
        with self._translate_death(worker), self._control_lock:
            for variant in worker.exchange(CONTROL, ["variant", unsuitable]):
                self.health.record_start(variant)
        if not variant:
            self._end(worker)
            raise GeneratorCrashed(self.problem, remedy="")
        self._ask(worker, "load", timeout_s=LOAD_TIMEOUT_S)
        if variant not in self.health.passed:
            self._ask(worker, "test")
        self.health.record_pass(variant)

    @contextmanager
    def _translate_death(self, worker: Worker) -> Iterator[None]:
        """Record the process's death, and raise GeneratorCrashed for it."""
        try:
            yield
        except WorkerDied:
            with self._worker_lock:
                if worker is self._worker:  # otherwise, another thread has recorded it
                    self._discard_dead(worker)
            raise self._crash_error() from None

    def _discard_dead(self, worker: Worker) -> None:
        self.health.record_crash(worker.death())
        self._worker = None
        worker.end()

    def _crash_error(self) -> GeneratorCrashed:
        return GeneratorCrashed(
            f"The language model has crashed ({self.health.last}).",
            remedy=self.problem or "It will be restarted for the next question.",
        )

    def _end(self, worker: Worker) -> None:
        with self._worker_lock:
            if worker is self._worker:
                self._worker = None
        worker.end()


class Health:
    """Records which variants of llama.cpp run on this CPU, between runs, and the crashes of this run.

    An illegal instruction rules a variant out permanently (for this CPU and this build). After other
    signals that a variant may have caused, the other variants are tried first for the rest of this run.

    Attributes:
        problem: Why the language model is off; empty while it works.
        variant: The variant in use; empty before one is chosen.
        last: How the process ended the last time.
        avoided: Variants that are tried last.
    """

    def __init__(self, cache: Path) -> None:
        self.problem = ""
        self.variant = ""
        self.last = Death(0, "")
        self.avoided: set[str] = set()
        self._cache = cache
        self._ruled_out: dict[str, str] = {}  # of this run, in case the cache cannot be written
        self._crash_times: deque[float] = deque(maxlen=MAX_CRASHES)

    @cached_property
    def verdicts(self) -> CpuVerdicts:
        return llama_verdicts(self._cache)

    @property
    def passed(self) -> set[str]:
        """Variants that have passed their test."""
        passed = self.verdicts.read().get("passed")
        return {str(variant) for variant in passed} if isinstance(passed, list) else set()

    @property
    def ruled_out(self) -> dict[str, str]:
        """Variants that this CPU cannot run, with the reason."""
        return _ruled_out(self.verdicts) | self._ruled_out

    def clear(self) -> None:
        """Forget all results, so that every variant is tested again."""
        self.verdicts.clear()
        self._ruled_out.clear()
        self.avoided.clear()

    def record_start(self, variant: str) -> None:
        """Record that a process uses this variant from now on; an empty name means that none is left."""
        self.variant = variant
        if not variant:
            known = self.ruled_out
            reasons = "; ".join(
                f"{name}: {known.get(name, 'built for other CPUs')}"
                for name in backends.variants() or [backends.NATIVE]
            )
            self._turn_off(
                f"No installed build of llama.cpp runs on this CPU, {this_cpu().name} ({reasons})."
                " Run `make app` again to build it for this CPU, then `rag doctor`."
            )

    def record_pass(self, variant: str) -> None:
        """Record that the variant has passed its test."""
        verdicts, passed = self.verdicts.read(), self.passed
        if variant not in passed or "problem" in verdicts:
            verdicts.pop("problem", None)
            self.verdicts.write(verdicts | {"passed": sorted(passed | {variant})})

    def record_crash(self, death: Death) -> None:
        """Record that the process died while it used the variant."""
        self.last = death
        if death.name == "SIGILL" and self.variant:
            self._rule_out(str(death))
            return
        if death.name in _INSTRUCTION_SIGNALS:
            self.avoided.add(self.variant)
        self._crash_times.append(monotonic())
        within_window = monotonic() - self._crash_times[0] < CRASH_WINDOW_S
        if len(self._crash_times) == MAX_CRASHES and within_window:
            self._turn_off(
                f"The language model was turned off after {MAX_CRASHES} crashes (the last: {death})."
                " Restart Footnote, or choose another model with `rag models use`."
            )

    def _rule_out(self, reason: str) -> None:
        self._ruled_out[self.variant] = reason
        changes = {"passed": sorted(self.passed - {self.variant}), "ruled_out": self.ruled_out}
        self.verdicts.write(self.verdicts.read() | changes)

    def _turn_off(self, problem: str) -> None:
        self.problem = problem
        self.verdicts.write(self.verdicts.read() | {"problem": problem})


def last_problem(cache: Path) -> str:
    """Return why the language model was off when it was last used on this CPU; empty if it worked."""
    return str(llama_verdicts(cache).read().get("problem", ""))


def llama_verdicts(cache: Path) -> CpuVerdicts:
    """Return the cached test results for llama.cpp's variants on this CPU."""
    return CpuVerdicts(cache, "llama.cpp", backends.library_id())


def _ruled_out(verdicts: CpuVerdicts) -> dict[str, str]:
    reasons = verdicts.read().get("ruled_out")
    if not isinstance(reasons, dict):
        return {}
    return {name: str(reason) for name, reason in reasons.items()}


def _to_pairs(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in messages]
