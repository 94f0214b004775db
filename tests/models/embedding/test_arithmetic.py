"""The encoder's arithmetic: measured in a child process that may crash."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import ModelError
from rag.models import cpu
from rag.models.cpu import Cpu, CpuVerdicts
from rag.models.embedding import arithmetic, int8
from rag.models.embedding.arithmetic import MIN_SPEEDUP, Arithmetic, ArithmeticTimings
from rag.models.resolve import MINILM, encoder_folder

if TYPE_CHECKING:
    from torch.nn import Linear

FOLDER = Path("an encoder")

CHILD_PROGRAM = """
import json, os, signal, sys
folder, kinds = json.loads(sys.argv[1])
seconds = {seconds}
for kind in kinds:
    print(json.dumps([kind, None]), flush=True)
    {before}
    if seconds.get(kind):
        print(json.dumps([kind, seconds[kind]]), flush=True)
"""
"""A child process that reports given seconds; `before` runs before each report."""

SECONDS = {"float32": 2.0, "int8-onednn": 1.0, "int8-fbgemm": 1.5, "bfloat16": 1.2}


def child(seconds: dict[str, float], before: str = "pass") -> str:
    return CHILD_PROGRAM.format(seconds=seconds, before=before)


@pytest.fixture(autouse=True)
def _clean_process(monkeypatch: pytest.MonkeyPatch) -> None:
    arithmetic.clear_process_cache()
    for name in arithmetic.DEFAULT_CAPABILITY:
        monkeypatch.delenv(name, raising=False)


def test_on_this_machine_float32_runs_and_the_fastest_arithmetic_is_chosen(cache: Path) -> None:
    timings = arithmetic.get_timings(cache, encoder_folder(MINILM.name, cache))
    assert timings.seconds[Arithmetic.FLOAT32] > 0
    assert timings.seconds[timings.fastest("auto")] <= MIN_SPEEDUP * min(timings.seconds.values())


def test_an_arithmetic_that_crashes_is_ruled_out_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = 'kind == "int8-onednn" and os.kill(os.getpid(), signal.SIGILL)'
    monkeypatch.setattr(arithmetic, "CHILD_CODE", child(SECONDS, crash))
    timings = arithmetic.get_timings(tmp_path, FOLDER)
    assert timings.ruled_out == {Arithmetic.INT8_ONEDNN: "the process died of SIGILL"}
    assert set(timings.seconds) == set(Arithmetic) - {Arithmetic.INT8_ONEDNN}
    assert timings.fastest("auto") is Arithmetic.BFLOAT16
    assert not timings.default_capability


def test_each_arithmetic_that_crashes_is_ruled_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = 'kind != "float32" and os.kill(os.getpid(), signal.SIGSEGV)'
    monkeypatch.setattr(arithmetic, "CHILD_CODE", child(SECONDS, crash))
    timings = arithmetic.get_timings(tmp_path, FOLDER)
    assert set(timings.ruled_out) == set(Arithmetic) - {Arithmetic.FLOAT32}
    assert timings.fastest("auto") is timings.fastest("int8") is Arithmetic.FLOAT32


def test_torch_runs_without_newer_instructions_if_these_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = '"ATEN_CPU_CAPABILITY" in os.environ or os.kill(os.getpid(), signal.SIGILL)'
    monkeypatch.setattr(arithmetic, "CHILD_CODE", child(SECONDS, crash))
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", dict(os.environ))
        timings = arithmetic.get_timings(tmp_path, FOLDER)
        assert os.environ.items() >= arithmetic.DEFAULT_CAPABILITY.items()
    assert timings.default_capability
    assert set(timings.seconds) == {Arithmetic.FLOAT32}


def test_torch_that_does_not_run_at_all_is_a_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic, "CHILD_CODE", "import os; os.kill(os.getpid(), 4)")
    with pytest.raises(ModelError, match="PyTorch does not run on this CPU") as raised:
        arithmetic.get_timings(tmp_path, FOLDER)
    assert "\n" not in str(raised.value)
    assert cpu.this_cpu().name in str(raised.value)
    assert "SIGILL" in str(raised.value)


def test_an_arithmetic_that_hangs_is_ruled_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = 'kind == "bfloat16" and signal.pause()'
    monkeypatch.setattr(arithmetic, "CHILD_CODE", child(SECONDS, hang))
    monkeypatch.setattr(arithmetic, "CHILD_TIMEOUT_S", 5.0)
    timings = arithmetic.get_timings(tmp_path, FOLDER)
    assert timings.ruled_out == {Arithmetic.BFLOAT16: "takes longer than 5 s"}
    assert timings.fastest("auto") is Arithmetic.INT8_ONEDNN


def test_timings_are_cached_for_one_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "CHILD_CODE", child(SECONDS))
    first = arithmetic.get_timings(tmp_path, FOLDER)
    arithmetic.clear_process_cache()
    monkeypatch.setattr(arithmetic, "CHILD_CODE", child({"float32": 1.0}))
    assert arithmetic.get_timings(tmp_path, FOLDER) == first
    arithmetic.clear_process_cache()
    monkeypatch.setattr(cpu, "this_cpu", lambda: Cpu("another", frozenset()))
    assert set(arithmetic.get_timings(tmp_path, FOLDER).seconds) == {Arithmetic.FLOAT32}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"seconds": {"morse": 1}}', '{"seconds": []}'])
def test_damaged_timings_are_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(arithmetic, "CHILD_CODE", child(SECONDS))
    arithmetic.get_timings(tmp_path, FOLDER)
    (file,) = tmp_path.glob("cpu/*.json")
    file.write_text(content)
    arithmetic.clear_process_cache()
    assert arithmetic.get_timings(tmp_path, FOLDER).seconds == SECONDS
    assert json.loads(file.read_text())["seconds"] == SECONDS


def test_verdicts_are_kept_for_one_build(tmp_path: Path) -> None:
    CpuVerdicts(tmp_path, "torch", "one build").write({"seconds": {}})
    assert CpuVerdicts(tmp_path, "torch", "one build").read() == {"seconds": {}}
    assert CpuVerdicts(tmp_path, "torch", "another build").read() == {}


@given(
    st.dictionaries(st.sampled_from(Arithmetic), st.floats(0.001, 100)),
    st.sampled_from(["auto", "int8", "bfloat16", "float32"]),
)
def test_the_chosen_arithmetic_is_allowed_measured_and_about_the_fastest(
    seconds: dict[Arithmetic, float], dtype: str
) -> None:
    chosen = ArithmeticTimings(seconds, {}).fastest(dtype)
    allowed = {k: s for k, s in seconds.items() if dtype == "auto" or k.startswith(dtype)}
    if not allowed:
        assert chosen is Arithmetic.FLOAT32
        return
    assert chosen in allowed
    assert allowed[chosen] <= MIN_SPEEDUP * min(allowed.values()) * 1.0001
    if allowed.get(Arithmetic.FLOAT32, 1e9) <= min(allowed.values()):
        assert chosen is Arithmetic.FLOAT32, "float32 is exact, and as fast here"


# -- computing


BUILDERS = [int8.int8_onednn, int8.int8_fbgemm]
BuildLayer = Callable[["Linear"], int8.Forward]


@pytest.mark.parametrize("build", BUILDERS)
def test_an_int8_layer_computes_about_what_the_layer_computes(build: BuildLayer) -> None:
    import torch

    torch.manual_seed(1)
    for has_bias in (True, False):
        layer = torch.nn.Linear(37, 21, bias=has_bias)
        inputs = torch.randn(2, 5, 37) + 3  # not centred on zero
        inputs[0, 0] = 0.0
        actual, expected = build(layer)(inputs).detach(), layer(inputs).detach()
        assert actual.shape == expected.shape
        assert float((actual - expected).norm() / expected.norm()) < 0.02


@pytest.mark.parametrize("build", BUILDERS)
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 70),
    wide=st.sampled_from([1, 5, 64, 384]),
    cuts=st.lists(st.integers(0, 70), max_size=6),
)
def test_a_row_in_int8_does_not_depend_on_the_other_rows(
    build: BuildLayer, seed: int, rows: int, wide: int, cuts: list[int]
) -> None:
    import torch

    torch.manual_seed(seed)
    layer = build(torch.nn.Linear(wide, 24))
    inputs = torch.randn(rows, wide) * torch.logspace(-3, 3, rows).unsqueeze(1)
    together = layer(inputs)
    edges = sorted({0, rows, *(cut for cut in cuts if cut < rows)})
    parts = [layer(inputs[start:end]) for start, end in pairwise(edges)]
    assert torch.equal(torch.cat(parts), together)


EXTREMES = """
import torch
from rag.models.embedding import int8
build = getattr(int8, {build!r})
errors = []
for pattern in [[1.0], [1.0, 0.0], [0.0, 1.0], [1.0, -1.0], [1.0, 1.0, -1.0, -1.0], [1.0, 0.5]]:
    layer = torch.nn.Linear(512, 8, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(pattern).repeat(512 // len(pattern)).expand(8, 512))
    for signs in [[1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0, -1.0, -1.0]]:
        inputs = torch.tensor(signs).repeat(512 // len(signs)).unsqueeze(0)
        inputs[0, :2] = torch.tensor([-1.0, 1.0])
        errors.append(float((build(layer)(inputs) - layer(inputs)).abs().max().detach()))
print(max(errors))
"""
"""Prints the largest error of sums of up to 512, where each product has the largest possible size."""


@pytest.mark.parametrize("isa", ["DEFAULT", "AVX2"])
@pytest.mark.parametrize("build", ["int8_onednn", "int8_fbgemm"])
def test_no_sum_saturates_on_a_processor_without_vnni(build: str, isa: str) -> None:
    # Such processors add products in pairs, in 16 bits. oneDNN reads the variable only when it starts.
    ran = subprocess.run(
        [sys.executable, "-c", EXTREMES.format(build=build)],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": isa},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert float(ran.stdout) < 5, "1 % of the largest sum"


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("size", [1e-30, 1e-9, 1.0, 1e30])
def test_rows_of_any_magnitude_and_constant_rows_are_computed(
    build: BuildLayer, size: float
) -> None:
    import torch

    torch.manual_seed(3)
    layer = torch.nn.Linear(64, 8)
    constant, varied = torch.full((1, 64), size), size * torch.randn(2, 64)
    inputs = torch.cat([torch.zeros(1, 64), constant, varied])
    actual, expected = build(layer)(inputs), layer(inputs).detach()
    errors = (actual - expected).double().norm(dim=1) / expected.double().norm(dim=1)
    assert float(errors.max()) < 0.03


@pytest.mark.parametrize(
    ("status", "stderr"),
    [
        (1, "Traceback\nImportError: libc10.so: failed to map segment from shared object\n"),
        (-signal.SIGABRT, "terminate called after throwing an instance of 'std::bad_alloc'\n"),
    ],
)
def test_a_child_process_without_memory_does_not_blame_the_cpu(status: int, stderr: str) -> None:
    with pytest.raises(ModelError, match="There is not enough memory") as error:
        arithmetic._crash_reason(status, stderr.encode())
    assert "Reinstall" not in error.value.remedy
