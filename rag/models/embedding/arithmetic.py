"""Choice of the encoder's arithmetic (float32, bfloat16 or int8), measured once on each machine.

Which arithmetic is fastest differs by more than a factor of ten between CPUs: int8 with oneDNN is two to
three times as fast as float32 on CPUs with VNNI, and twenty times as slow on those with only AVX2. Some
machines also announce instructions that they cannot execute. Each arithmetic is therefore timed in a
child process, with the embedded encoder, and the result is kept in the cache folder.

Importing this module does not import torch.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy, deepcopy
from dataclasses import dataclass
from enum import StrEnum
from functools import cache as memoize
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rag.errors import ModelError
from rag.models import memory
from rag.models.cpu import CpuVerdicts, this_cpu
from rag.models.embedding.base import EmbeddingModel
from rag.models.embedding.int8 import int8_fbgemm, int8_onednn
from rag.models.embedding.vectors import normalize
from rag.processes import start_python

if TYPE_CHECKING:
    from torch.nn import Module

    from rag.models.embedding.minilm import BertEncoder

MIN_COSINE = 0.99
"""The lowest cosine similarity between a vector computed in another arithmetic and the float32 vector."""

PROBES = (
    "A ship ran aground in the harbour.",
    "How many people were taken ashore, and by whom?",
    "Shares of the company fell by 4.2 % to 37.50 dlrs on Tuesday, after it had said that profits in"
    " the three months to March were 12 mln dlrs, down from 19 mln a year before. Analysts had"
    " expected 15 mln. The chairman blamed the strike at its largest plant, which began in January.",
    "El lince ibérico ha vuelto a criar en la sierra después de cuarenta años.",
)
"""Texts on which an arithmetic is compared with float32 when a model is loaded."""

MIN_SPEEDUP = 1.15
"""How many times as fast an arithmetic must be to be preferred to one listed earlier in `Arithmetic`."""

SHORT_TEXTS = PROBES[:1]
"""What is timed first."""

LONG_TEXTS = 4 * PROBES[2:3]
"""What is timed next, unless an arithmetic is far too slow for SHORT_TEXTS: about 300 tokens."""

LONG_TO_SHORT_RATIO = 10
"""How many times as long as the text of SHORT_TEXTS each of LONG_TEXTS is."""

MAX_SLOWDOWN = 2.0
"""An arithmetic that takes this many times as long as float32 for SHORT_TEXTS is not timed further."""

TIME_LIMIT_S = 60.0
"""Seconds after which no other arithmetic is timed; float32 always is, however slow the machine."""

CHILD_TIMEOUT_S = 900.0
"""Seconds after which a child process counts as hanging; importing torch alone may take a minute."""

DEFAULT_CAPABILITY = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
}
"""Environment variables that keep torch from using instructions newer than SSE4."""

CHILD_CODE = "from rag.models.embedding.arithmetic import run_child; run_child()"
"""What the child process runs."""


class Arithmetic(StrEnum):
    """How linear layers are computed. Of several that are about equally fast, the first is preferred."""

    FLOAT32 = "float32"
    INT8_ONEDNN = "int8-onednn"
    INT8_FBGEMM = "int8-fbgemm"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, slots=True)
class ArithmeticTimings:
    """Measurements of each arithmetic on one CPU.

    Attributes:
        seconds: Seconds that each arithmetic takes for the same texts.
        ruled_out: The reason for each arithmetic that does not run on this CPU.
        default_capability: Torch runs only without its newer instructions.
    """

    seconds: Mapping[Arithmetic, float]
    ruled_out: Mapping[Arithmetic, str]
    default_capability: bool = False

    def fastest(self, dtype: str) -> Arithmetic:
        """Return the fastest arithmetic that is allowed; float32 if none of these was measured.

        Args:
            dtype: A value of the setting RAG_ENCODER_DTYPE: auto, int8, bfloat16 or float32.
        """
        allowed = [kind for kind in Arithmetic if dtype == "auto" or kind.startswith(dtype)]
        measured = [kind for kind in allowed if kind in self.seconds]
        best = measured[0] if measured else Arithmetic.FLOAT32
        for kind in measured:
            if self.seconds[kind] * MIN_SPEEDUP < self.seconds[best]:
                best = kind
        return best


def get_timings(cache: Path | None, folder: Path) -> ArithmeticTimings:
    """Return the timings for this CPU; measure them first if they are not in the cache.

    Where torch runs only with its default capability, the environment of this process is changed
    accordingly; this process must not have imported torch before.

    Args:
        cache: The cache folder; None to measure once per process.
        folder: The folder of a BERT encoder to measure with.

    Raises:
        ModelError: Torch does not run at all on this CPU.
    """
    timings = _load_or_measure(cache, folder)
    if timings.default_capability:
        os.environ.update(DEFAULT_CAPABILITY)
    if Arithmetic.FLOAT32 not in timings.seconds:
        raise ModelError(
            f"PyTorch does not run on this CPU, {this_cpu().name}:"
            f" {timings.ruled_out[Arithmetic.FLOAT32]}.",
            remedy="Use another machine, or a build of PyTorch for this CPU.",
        )
    return timings


@memoize
def _load_or_measure(cache: Path | None, folder: Path) -> ArithmeticTimings:
    verdicts = torch_verdicts(cache) if cache else None
    record = verdicts.read() if verdicts else {}
    with suppress(KeyError, TypeError, ValueError, AttributeError):  # none, or in another format
        return ArithmeticTimings(
            {Arithmetic(kind): float(seconds) for kind, seconds in record["seconds"].items()},
            {Arithmetic(kind): str(reason) for kind, reason in record["ruled_out"].items()},
            bool(record["default_capability"]),
        )
    timings = _measure_all(folder)
    if verdicts:
        verdicts.write(
            {
                "seconds": dict(timings.seconds),
                "ruled_out": dict(timings.ruled_out),
                "default_capability": timings.default_capability,
            }
        )
    return timings


def clear_process_cache() -> None:
    """Forget the timings of this process, but not those in the cache folder."""
    _load_or_measure.cache_clear()


def clear_cache(cache: Path) -> None:
    """Delete all timings, so that the next use measures again."""
    torch_verdicts(cache).clear()
    clear_process_cache()


def torch_verdicts(cache: Path) -> CpuVerdicts:
    """Return the cached test results for torch on this CPU."""
    spec = find_spec("torch")
    library = Path(spec.origin).parent / "lib" / "libtorch_cpu.so" if spec and spec.origin else None
    stat = library.stat() if library and library.is_file() else None
    build = f"{library} {stat.st_size} {stat.st_mtime_ns}" if stat else "torch"
    return CpuVerdicts(cache, "torch", build)


# -- measuring: the parent process


def _measure_all(folder: Path) -> ArithmeticTimings:
    seconds: dict[Arithmetic, float] = {}
    ruled_out: dict[Arithmetic, str] = {}
    remaining = list(Arithmetic)
    while remaining and Arithmetic.FLOAT32 not in ruled_out:
        crash = _measure_in_child(folder, remaining, {}, seconds)
        if crash is None:
            return ArithmeticTimings(seconds, ruled_out)
        crashed, reason = crash
        ruled_out[crashed] = reason
        # float32 comes first each time, as the reference for the others
        remaining = [Arithmetic.FLOAT32, *remaining[remaining.index(crashed) + 1 :]]
        if remaining == [Arithmetic.FLOAT32]:
            return ArithmeticTimings(seconds, ruled_out)
    seconds.clear()
    crash = _measure_in_child(folder, [Arithmetic.FLOAT32], DEFAULT_CAPABILITY, seconds)
    if crash is not None:
        ruled_out[Arithmetic.FLOAT32] = crash[1]
    return ArithmeticTimings(seconds, ruled_out, default_capability=True)


def _measure_in_child(
    folder: Path,
    kinds: Sequence[Arithmetic],
    environment: Mapping[str, str],
    seconds: dict[Arithmetic, float],
) -> tuple[Arithmetic, str] | None:
    """Time each arithmetic, in this order, in a child process, and enter the results into `seconds`.

    Returns the arithmetic that crashed the process and the reason, or None. Raises ModelError when the
    process ends with a Python exception, which says nothing about the CPU.
    """
    process = start_python(
        CHILD_CODE,
        [str(folder), list(kinds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        environment=os.environ | environment,
    )
    try:
        output, errors = process.communicate(timeout=CHILD_TIMEOUT_S)
        reason = _crash_reason(process.returncode, errors)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        reason = f"takes longer than {CHILD_TIMEOUT_S:.0f} s"
    current = kinds[0]
    for line in output.decode(errors="replace").splitlines():
        name, result = json.loads(line)
        if result is None:
            current = Arithmetic(name)
        else:
            seconds[Arithmetic(name)] = result
    return (current, reason) if reason else None


def _crash_reason(status: int, stderr: bytes) -> str:
    """Return how a process died; empty if it exited normally.

    Raises:
        ModelError: The CPU is not the cause: memory was refused, or an exception was raised.
    """
    message = stderr.decode(errors="replace").strip()
    *_, last_line = message.splitlines() or [f"status {status}"]
    if status and memory.describes_refusal(message):  # C++ ends the process by SIGABRT
        raise ModelError(
            f"There is not enough memory for the encoder ({last_line.strip()}).",
            remedy=memory.MORE_MEMORY,
        )
    if status > 0:
        raise ModelError(
            f"The speed of the encoder's arithmetic cannot be measured: {last_line}.",
            remedy="Reinstall Footnote: a package that it depends on is incomplete.",
        )
    return f"the process died of {signal.Signals(-status).name}" if status else ""


# -- measuring: the child process


def run_child() -> None:
    """Time the arithmetic kinds named in `sys.argv[1]` with the encoder in the folder named there.

    Prints lines of JSON: [name, null] before each measurement, and [name, seconds] after it.
    """
    folder, names = json.loads(sys.argv[1])
    _report(Arithmetic.FLOAT32, None)  # before torch is imported, since that may crash already
    import torch

    torch.set_num_threads(1)
    model = _load_bert(folder)
    started = time.perf_counter()
    expected = probe_vectors(model)
    float32_s = _best_seconds(model, SHORT_TEXTS, 3)
    for kind in map(Arithmetic, names):
        if kind is not Arithmetic.FLOAT32 and time.perf_counter() - started > TIME_LIMIT_S:
            break
        _report(kind, None)
        with suppress(RuntimeError, AttributeError):  # this build of torch does not support it
            seconds = _measure(model, kind, expected, float32_s)
            if seconds is not None:
                _report(kind, seconds)


def _measure(
    model: "BertEncoder", kind: Arithmetic, expected: NDArray[np.float32], float32_s: float
) -> float | None:
    """Return the seconds that an arithmetic takes for LONG_TEXTS; None if its vectors differ.

    `float32_s` is what float32 takes for SHORT_TEXTS.
    """
    changed = copy(model)
    changed.network = deepcopy(model.network)
    apply(changed.network, kind)
    short_s = _best_seconds(changed, SHORT_TEXTS, 2)
    if short_s > MAX_SLOWDOWN * float32_s:
        return (
            short_s * len(LONG_TEXTS) * LONG_TO_SHORT_RATIO
        )  # rather an over- than an underestimate
    return (
        _best_seconds(changed, LONG_TEXTS, 2) if agree(probe_vectors(changed), expected) else None
    )


def _load_bert(folder: str) -> "BertEncoder":
    from rag.models.embedding.minilm import BertEncoder, read_shape

    shape = read_shape(Path(folder))
    if shape is None:
        raise ValueError(f"{folder} does not contain a BERT encoder")
    return BertEncoder(Path(folder), shape, 0, 256)


def _report(kind: Arithmetic, seconds: float | None) -> None:
    print(json.dumps([kind, seconds]), flush=True)


def _best_seconds(model: "BertEncoder", texts: Sequence[str], runs: int) -> float:
    """Return the seconds of the fastest of several runs."""
    durations = []
    for _ in range(runs):
        started = time.perf_counter()
        model.passage_vectors(texts)
        durations.append(time.perf_counter() - started)
    return min(durations)


def probe_vectors(model: EmbeddingModel) -> NDArray[np.float32]:
    """Embed the PROBES. Returns unit vectors, shape (probes, dimensions)."""
    return normalize(model.passage_vectors(PROBES))


def agree(vectors: NDArray[np.float32], expected: NDArray[np.float32]) -> bool:
    """Return whether each vector is close enough to the expected one; NaN is not.

    Args:
        vectors: Unit vectors, shape (n, dimensions).
        expected: Unit vectors, in the same shape.
    """
    return bool(np.sum(vectors * expected, axis=1).min() >= MIN_COSINE)


# -- computing


INT8_FORWARDS = {Arithmetic.INT8_ONEDNN: int8_onednn, Arithmetic.INT8_FBGEMM: int8_fbgemm}


def apply(network: "Module", kind: Arithmetic) -> None:
    """Make a network's linear layers compute in another arithmetic from now on.

    Raises:
        RuntimeError: This build of torch does not support it.
    """
    import torch

    if kind is Arithmetic.BFLOAT16:
        network.bfloat16()
    if kind not in INT8_FORWARDS:
        return
    for layer in network.modules():
        if type(layer) is torch.nn.Linear:  # a subclass may compute something else
            layer.forward = INT8_FORWARDS[kind](layer)  # type: ignore[assignment]
