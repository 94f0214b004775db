"""In which arithmetic the encoder computes: found out once on each machine rather than assumed.

What is fastest differs by more than ten times between CPUs: int8 by oneDNN is two to three times as fast
as float32 where the CPU has VNNI, and twenty times slower where it has only AVX2. And some machines
announce instructions that they do not run. So the ways are tried in a process of their own, with the
embedded encoder, and the verdict is kept in the cache folder.

Importing this module does not import torch.
"""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy, deepcopy
from dataclasses import dataclass
from enum import StrEnum
from functools import cache as once
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rag.cpu import CpuVerdicts, this_cpu
from rag.errors import ModelError
from rag.processes import start_python

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Linear, Module

    from rag.bert import Bert
    from rag.sentencetransformer import AnyEncoder

AGREEMENT = 0.99
"""The least cosine between a vector that was computed in another arithmetic and the float32 one."""

PROBES = (
    "A ship ran aground in the harbour.",
    "How many people were taken ashore, and by whom?",
    "Shares of the company fell by 4.2 % to 37.50 dlrs on Tuesday, after it had said that profits in"
    " the three months to March were 12 mln dlrs, down from 19 mln a year before. Analysts had"
    " expected 15 mln. The chairman blamed the strike at its largest plant, which began in January.",
    "El lince ibérico ha vuelto a criar en la sierra después de cuarenta años.",
)
"""Texts on which an arithmetic is compared with float32 when a model is loaded."""

CLEARLY = 1.15
"""How many times as fast a way must be to be preferred to those before it in Way's order."""

SHORT, LONG = PROBES[:1], 4 * PROBES[2:3]
"""What is timed: LONG, about 300 tokens, unless a way is hopelessly slow for SHORT."""

LONG_TIMES = 10
"""Times as long as the text of SHORT is each of LONG."""

HOPELESS = 2.0
"""Times the float32 time for SHORT, from which a way is not measured further."""

LONGEST_S = 60.0
"""After which no further way is tried; float32 always is, however slow the machine."""

HANGING_S = 900.0
"""After which a process that measures counts as hanging; importing torch alone may take a minute."""

DEFAULT_CAPABILITY = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
}
"""Environment variables that keep torch from using instructions newer than SSE4."""

CHILD = "from rag.arithmetic import measure; measure()"
"""What the measuring process runs."""


class Way(StrEnum):
    """How linear layers are computed. Of ways about equally fast, the first is preferred."""

    FLOAT32 = "float32"
    INT8_ONEDNN = "int8-onednn"
    INT8_FBGEMM = "int8-fbgemm"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, slots=True)
class Measured:
    """What each way takes for the same text, in seconds, and which ways do not run here, with the reason.

    With `default_capability`, torch runs only without its newer instructions.
    """

    seconds: Mapping[Way, float]
    ruled_out: Mapping[Way, str]
    default_capability: bool = False

    def fastest(self, dtype: str) -> Way:
        """The way to compute, of those that the setting RAG_ENCODER_DTYPE allows; else float32."""
        allowed = [way for way in Way if dtype == "auto" or way.startswith(dtype)]
        able = [way for way in allowed if way in self.seconds]
        chosen = able[0] if able else Way.FLOAT32
        for way in able:
            if self.seconds[way] * CLEARLY < self.seconds[chosen]:
                chosen = way
        return chosen


def measured(cache: Path | None, folder: Path) -> Measured:
    """What was found out on this CPU, or is now, with the encoder in `folder` (of BERT's kind).

    Where torch runs only with its default capability, it is set so for this process, which must not have
    imported torch before. Raises ModelError where torch does not run at all.
    """
    found = _measured(cache, folder)
    if found.default_capability:
        os.environ.update(DEFAULT_CAPABILITY)
    if Way.FLOAT32 not in found.seconds:
        raise ModelError(
            f"PyTorch does not run on this CPU, {this_cpu().name}: {found.ruled_out[Way.FLOAT32]}.",
            remedy="Use another machine, or a build of PyTorch for this CPU.",
        )
    return found


@once
def _measured(cache: Path | None, folder: Path) -> Measured:
    verdicts = torch_verdicts(cache) if cache else None
    kept = verdicts.read() if verdicts else {}
    with suppress(KeyError, TypeError, ValueError, AttributeError):  # none, or of another version
        return Measured(
            {Way(way): float(seconds) for way, seconds in kept["seconds"].items()},
            {Way(way): str(reason) for way, reason in kept["ruled_out"].items()},
            bool(kept["default_capability"]),
        )
    found = _measure(folder)
    if verdicts:
        verdicts.write(
            {
                "seconds": dict(found.seconds),
                "ruled_out": dict(found.ruled_out),
                "default_capability": found.default_capability,
            }
        )
    return found


def forget(cache: Path) -> None:
    """Measure anew when it is asked for next."""
    torch_verdicts(cache).forget()
    _measured.cache_clear()


def torch_verdicts(cache: Path) -> CpuVerdicts:
    """What is known of torch on this CPU."""
    spec = find_spec("torch")
    library = Path(spec.origin).parent / "lib" / "libtorch_cpu.so" if spec and spec.origin else None
    about = library.stat() if library and library.is_file() else None
    told = f"{library} {about.st_size} {about.st_mtime_ns}" if about else "torch"
    return CpuVerdicts(cache, "torch", told)


# -- trying, from outside


def _measure(folder: Path) -> Measured:
    seconds: dict[Way, float] = {}
    ruled_out: dict[Way, str] = {}
    left = list(Way)
    while left and Way.FLOAT32 not in ruled_out:
        failed = _run(folder, left, {}, seconds)
        if failed is None:
            return Measured(seconds, ruled_out)
        way, reason = failed
        ruled_out[way] = reason
        # float32 comes first each time: the others are compared with it
        left = [Way.FLOAT32, *(other for other in left[left.index(way) + 1 :])]
        if left == [Way.FLOAT32]:
            return Measured(seconds, ruled_out)
    seconds.clear()
    failed = _run(folder, [Way.FLOAT32], DEFAULT_CAPABILITY, seconds)
    if failed is not None:
        ruled_out[Way.FLOAT32] = failed[1]
    return Measured(seconds, ruled_out, default_capability=True)


def _run(
    folder: Path, ways: Sequence[Way], environment: Mapping[str, str], seconds: dict[Way, float]
) -> tuple[Way, str] | None:
    """Measure the ways, in their order, into `seconds`; the one that crashed the process, and how.

    Raises ModelError when the process ends with an error of Python's: that says nothing of the CPU.
    """
    process = start_python(
        CHILD,
        [str(folder), list(ways)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        environment=os.environ | environment,
    )
    try:
        said, problem = process.communicate(timeout=HANGING_S)
        reason = _reason(process.returncode, problem)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        reason = f"takes longer than {HANGING_S:.0f} s"
    trying = ways[0]
    for line in said.decode(errors="replace").splitlines():
        way, took = json.loads(line)
        if took is None:
            trying = Way(way)
        else:
            seconds[Way(way)] = took
    return (trying, reason) if reason else None


def _reason(status: int, stderr: bytes) -> str:
    """How a process died; empty when it did not."""
    if status > 0:
        *_, last = stderr.decode(errors="replace").strip().splitlines() or [f"status {status}"]
        raise ModelError(
            f"The encoder's arithmetic could not be measured: {last}.",
            remedy="Install Footnote again: a package that it needs is not whole.",
        )
    return f"the process died of {signal.Signals(-status).name}" if status else ""


# -- trying, in the process


def measure() -> None:
    """Measure the ways of `sys.argv[1]` with the encoder of the folder there.

    Prints lines of JSON: [way, null] before each way is tried, and [way, seconds] when it has passed.
    """
    folder, ways = json.loads(sys.argv[1])
    _say(Way.FLOAT32, None)  # before torch is imported: that may be what crashes
    import torch

    torch.set_num_threads(1)
    model = _bert(folder)
    began = time.perf_counter()
    expected, short_s = vectors_of(model), _seconds(model, SHORT, 3)
    for way in map(Way, ways):
        if way is not Way.FLOAT32 and time.perf_counter() - began > LONGEST_S:
            break
        _say(way, None)
        with suppress(RuntimeError, AttributeError):  # this build of torch cannot do so
            took = _tried(model, way, expected, short_s)
            if took is not None:
                _say(way, took)


def _tried(model: "Bert", way: Way, expected: NDArray[np.float32], short_s: float) -> float | None:
    """Seconds that the way takes for LONG, of which float32 takes `short_s` for SHORT.

    None where its vectors are not the expected ones.
    """
    applied = copy(model)
    applied.network = deepcopy(model.network)
    apply(applied.network, way)
    once_s = _seconds(applied, SHORT, 2)
    if once_s > HOPELESS * short_s:
        return once_s * len(LONG) * LONG_TIMES  # too much rather than too little
    return _seconds(applied, LONG, 2) if agree(vectors_of(applied), expected) else None


def _bert(folder: str) -> "Bert":
    from rag.bert import Bert, shape_of

    shape = shape_of(Path(folder))
    if shape is None:
        raise ValueError(f"{folder} is not an encoder of BERT's kind")
    return Bert(Path(folder), shape, 0, 256)


def _say(way: Way, seconds: float | None) -> None:
    print(json.dumps([way, seconds]), flush=True)


def _seconds(model: "Bert", texts: Sequence[str], runs: int) -> float:
    """The least of several runs."""
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        model.passage_vectors(texts)
        took.append(time.perf_counter() - began)
    return min(took)


def vectors_of(model: "Bert | AnyEncoder") -> NDArray[np.float32]:
    """Of the PROBES, of length 1, shape (PROBES, dimensions)."""
    vectors = model.passage_vectors(PROBES)
    scaled: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def agree(vectors: NDArray[np.float32], expected: NDArray[np.float32]) -> bool:
    """Whether each of the vectors is as good as the expected one; what is not a number is not."""
    return bool(np.sum(vectors * expected, axis=1).min() >= AGREEMENT)


# -- computing


def apply(network: "Module", way: Way) -> None:
    """Have the network's linear layers compute in this way from now on.

    Raises RuntimeError where torch cannot do so.
    """
    import torch

    if way is Way.BFLOAT16:
        network.bfloat16()
    if way not in _INT8:
        return
    for layer in network.modules():
        if type(layer) is torch.nn.Linear:  # classes made from it may do something else
            layer.forward = _INT8[way](layer)  # type: ignore[assignment]


def int8_onednn(layer: "Linear") -> Callable[["Tensor"], "Tensor"]:
    """The layer's own function, with int8 multiplied by oneDNN, and float32 in and out.

    Each row of the input is scaled to 0 … 255 by itself, so that a text's vector does not depend on the
    texts beside it.
    """
    import torch

    weights, scales = _quantised(layer)
    rescaled = _rescaling(layer, weights, scales)
    packed = torch.ops.onednn.qlinear_prepack(weights, None)
    of_weights, zeros = scales.flatten(), torch.zeros(len(weights), dtype=torch.long)

    def forward(values: "Tensor") -> "Tensor":
        rows = values.reshape(-1, values.shape[-1])
        # made for tables of embeddings: each row's step and least value follow it, in eight bytes
        whole = torch.ops.quantized.embedding_bag_byte_prepack(rows)
        ends = whole[:, -8:].clone(memory_format=torch.contiguous_format)
        steps, least = ends.view(torch.float32).split(1, 1)
        products = torch.ops.onednn.qlinear_pointwise(
            *(whole[:, :-8], 1.0, 0, packed, of_weights, zeros),
            *(None, 1.0, 0, torch.float32, "none", [], ""),
        )
        return rescaled(products, steps, least).view(*values.shape[:-1], -1)

    return forward


def int8_fbgemm(layer: "Linear") -> Callable[["Tensor"], "Tensor"]:
    """As `int8_onednn`, multiplied by FBGEMM, with each row scaled to -127 … 127."""
    import torch

    weights, scales = _quantised(layer)
    rescaled = _rescaling(layer, weights, scales)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # deprecated in torch, which is pinned
        whole = torch._make_per_channel_quantized_tensor(
            weights, scales.flatten().double(), torch.zeros(len(weights), dtype=torch.long), 0
        )
    packed = torch.ops.quantized.linear_prepack(whole, None)
    multiply = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32

    def forward(values: "Tensor") -> "Tensor":
        rows = values.reshape(-1, values.shape[-1])
        least, most = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)  # aminmax is slower
        steps = (most - least).clamp_min_(1e-12).div_(254)
        middles = (most + least).div_(2)
        products = multiply((rows - middles).mul_(steps.reciprocal()), 1.0, 127, packed)
        return rescaled(products, steps, middles).view(*values.shape[:-1], -1)

    return forward


def _rescaling(
    layer: "Linear", weights: "Tensor", scales: "Tensor"
) -> Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]:
    """Makes the layer's results, in place, of what the weights and scales give for scaled rows.

    A row was the scaled one times its step and plus its offset.
    """
    import torch

    bias = torch.zeros(len(weights)) if layer.bias is None else layer.bias.detach()
    sums = weights.sum(1) * scales.flatten()

    def rescaled(products: "Tensor", steps: "Tensor", offsets: "Tensor") -> "Tensor":
        torch.addcmul(bias, products, steps, out=products)
        return products.addcmul_(offsets, sums)

    return rescaled


def _quantised(layer: "Linear") -> tuple["Tensor", "Tensor"]:
    """The layer's weights as int8, and what each row of them is multiplied with.

    Processors without VNNI add the products of two neighbours in 16 bits, and cut off, silently, what is
    more. So what two have of one sign is 127 at most: no product with 0 … 255 is cut off.
    """
    import torch

    weights = layer.weight.detach()
    sides = torch.nn.functional.pad(weights, (0, 1))
    above, below = (s[:, :-1] + s[:, 1:] for s in (sides.clamp_min(0), sides.clamp_max(0)))
    most = torch.maximum(above.amax(1), -below.amin(1)).unsqueeze(1)
    scales = most.clamp_min_(1e-12).div_(126)  # each of the two may be rounded up by a half
    return (weights / scales).round_().to(torch.int8), scales


_INT8 = {Way.INT8_ONEDNN: int8_onednn, Way.INT8_FBGEMM: int8_fbgemm}
