"""In which arithmetic the encoder computes: measured in a process that may crash."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag import arithmetic, cpu
from rag.arithmetic import CLEARLY, Measured, Way
from rag.cpu import Cpu, CpuVerdicts
from rag.errors import ModelError
from rag.models import MINILM, encoder_folder

FOLDER = Path("an encoder")

TAKING = """
import json, os, signal, sys
folder, ways = json.loads(sys.argv[1])
took = {took}
for way in ways:
    print(json.dumps([way, None]), flush=True)
    {before}
    if took.get(way):
        print(json.dumps([way, took[way]]), flush=True)
"""
"""A measuring process: what each way takes, and what happens before it is said."""

ALL = {"float32": 2.0, "int8-onednn": 1.0, "int8-fbgemm": 1.5, "bfloat16": 1.2}


def child(took: dict[str, float], before: str = "pass") -> str:
    return TAKING.format(took=took, before=before)


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    arithmetic._measured.cache_clear()
    for name in arithmetic.DEFAULT_CAPABILITY:
        monkeypatch.delenv(name, raising=False)


def test_on_this_machine_float32_runs_and_the_chosen_way_is_the_fastest(cache: Path) -> None:
    found = arithmetic.measured(cache, encoder_folder(MINILM.name, cache))
    assert found.seconds[Way.FLOAT32] > 0
    assert found.seconds[found.fastest("auto")] <= CLEARLY * min(found.seconds.values())


def test_a_way_that_crashes_is_ruled_out_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = 'way == "int8-onednn" and os.kill(os.getpid(), signal.SIGILL)'
    monkeypatch.setattr(arithmetic, "CHILD", child(ALL, dies))
    found = arithmetic.measured(tmp_path, FOLDER)
    assert found.ruled_out == {Way.INT8_ONEDNN: "the process died of SIGILL"}
    assert set(found.seconds) == set(Way) - {Way.INT8_ONEDNN}
    assert found.fastest("auto") is Way.BFLOAT16
    assert not found.default_capability


def test_each_of_several_ways_that_crash_is_ruled_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = 'way != "float32" and os.kill(os.getpid(), signal.SIGSEGV)'
    monkeypatch.setattr(arithmetic, "CHILD", child(ALL, dies))
    found = arithmetic.measured(tmp_path, FOLDER)
    assert set(found.ruled_out) == set(Way) - {Way.FLOAT32}
    assert found.fastest("auto") is found.fastest("int8") is Way.FLOAT32


def test_where_newer_instructions_crash_torch_runs_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = '"ATEN_CPU_CAPABILITY" in os.environ or os.kill(os.getpid(), signal.SIGILL)'
    monkeypatch.setattr(arithmetic, "CHILD", child(ALL, dies))
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", dict(os.environ))
        found = arithmetic.measured(tmp_path, FOLDER)
        assert os.environ.items() >= arithmetic.DEFAULT_CAPABILITY.items()
    assert found.default_capability
    assert set(found.seconds) == {Way.FLOAT32}


def test_where_torch_does_not_run_at_all_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic, "CHILD", "import os; os.kill(os.getpid(), 4)")
    with pytest.raises(ModelError, match="PyTorch does not run on this CPU") as raised:
        arithmetic.measured(tmp_path, FOLDER)
    assert "\n" not in str(raised.value)
    assert cpu.this_cpu().name in str(raised.value)
    assert "SIGILL" in str(raised.value)


def test_a_way_that_hangs_is_ruled_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = 'way == "bfloat16" and signal.pause()'
    monkeypatch.setattr(arithmetic, "CHILD", child(ALL, hangs))
    monkeypatch.setattr(arithmetic, "HANGING_S", 5.0)
    found = arithmetic.measured(tmp_path, FOLDER)
    assert found.ruled_out == {Way.BFLOAT16: "takes longer than 5 s"}
    assert found.fastest("auto") is Way.INT8_ONEDNN


def test_the_verdict_is_kept_until_the_cpu_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic, "CHILD", child(ALL))
    first = arithmetic.measured(tmp_path, FOLDER)
    arithmetic._measured.cache_clear()
    monkeypatch.setattr(arithmetic, "CHILD", child({"float32": 1.0}))
    assert arithmetic.measured(tmp_path, FOLDER) == first
    arithmetic._measured.cache_clear()
    monkeypatch.setattr(cpu, "this_cpu", lambda: Cpu("another", frozenset()))
    assert set(arithmetic.measured(tmp_path, FOLDER).seconds) == {Way.FLOAT32}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"seconds": {"morse": 1}}', '{"seconds": []}'])
def test_a_damaged_verdict_is_found_out_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(arithmetic, "CHILD", child(ALL))
    arithmetic.measured(tmp_path, FOLDER)
    (file,) = tmp_path.glob("cpu/*.json")
    file.write_text(content)
    arithmetic._measured.cache_clear()
    assert arithmetic.measured(tmp_path, FOLDER).seconds == ALL
    assert json.loads(file.read_text())["seconds"] == ALL


def test_verdicts_of_another_build_are_others(tmp_path: Path) -> None:
    CpuVerdicts(tmp_path, "torch", "one build").write({"seconds": {}})
    assert CpuVerdicts(tmp_path, "torch", "one build").read() == {"seconds": {}}
    assert CpuVerdicts(tmp_path, "torch", "another build").read() == {}


@given(
    st.dictionaries(st.sampled_from(Way), st.floats(0.001, 100)),
    st.sampled_from(["auto", "int8", "bfloat16", "float32"]),
)
def test_the_way_chosen_is_allowed_measured_and_about_the_fastest(
    seconds: dict[Way, float], dtype: str
) -> None:
    chosen = Measured(seconds, {}).fastest(dtype)
    allowed = {w: s for w, s in seconds.items() if dtype == "auto" or w.startswith(dtype)}
    if not allowed:
        assert chosen is Way.FLOAT32
        return
    assert chosen in allowed
    assert allowed[chosen] <= CLEARLY * min(allowed.values()) * 1.0001
    if allowed.get(Way.FLOAT32, 1e9) <= min(allowed.values()):
        assert chosen is Way.FLOAT32, "the exact one, where it is as fast"


# -- computing


INT8 = [arithmetic.int8_onednn, arithmetic.int8_fbgemm]


@pytest.mark.parametrize("made", INT8)
def test_a_layer_in_int8_does_what_the_layer_does(made: arithmetic.Callable) -> None:
    import torch

    torch.manual_seed(1)
    for has_bias in (True, False):
        layer = torch.nn.Linear(37, 21, bias=has_bias)
        values = torch.randn(2, 5, 37) + 3  # far from the middle of what 8 bits hold
        values[0, 0] = 0.0
        got, expected = made(layer)(values).detach(), layer(values).detach()
        assert got.shape == expected.shape
        assert float((got - expected).norm() / expected.norm()) < 0.02


@pytest.mark.parametrize("made", INT8)
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 70),
    wide=st.sampled_from([1, 5, 64, 384]),
    cuts=st.lists(st.integers(0, 70), max_size=6),
)
def test_a_row_in_int8_does_not_depend_on_the_rows_beside_it(
    made: arithmetic.Callable, seed: int, rows: int, wide: int, cuts: list[int]
) -> None:
    import torch

    torch.manual_seed(seed)
    layer = made(torch.nn.Linear(wide, 24))
    values = torch.randn(rows, wide) * torch.logspace(-3, 3, rows).unsqueeze(1)
    together = layer(values)
    places = sorted({0, rows, *(cut for cut in cuts if cut < rows)})
    parts = [layer(values[start:end]) for start, end in pairwise(places)]
    assert torch.equal(torch.cat(parts), together)


EXTREMES = """
import torch
from rag import arithmetic
made = getattr(arithmetic, {made!r})
lost = []
for pattern in [[1.0], [1.0, 0.0], [0.0, 1.0], [1.0, -1.0], [1.0, 1.0, -1.0, -1.0], [1.0, 0.5]]:
    layer = torch.nn.Linear(512, 8, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(pattern).repeat(512 // len(pattern)).expand(8, 512))
    for signs in [[1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0, -1.0, -1.0]]:
        values = torch.tensor(signs).repeat(512 // len(signs)).unsqueeze(0)
        values[0, :2] = torch.tensor([-1.0, 1.0])
        lost.append(float((made(layer)(values) - layer(values)).abs().max().detach()))
print(max(lost))
"""
"""What is lost of sums of 512 at most, where each product is the largest or smallest there can be."""


@pytest.mark.parametrize("isa", ["DEFAULT", "AVX2"])
@pytest.mark.parametrize("made", ["int8_onednn", "int8_fbgemm"])
def test_no_product_overflows_on_a_processor_without_vnni(made: str, isa: str) -> None:
    # There, products are added two by two in 16 bits. oneDNN reads the variable once, at its start.
    ran = subprocess.run(
        [sys.executable, "-c", EXTREMES.format(made=made)],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": isa},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert float(ran.stdout) < 5, "1 % of the largest sum"


@pytest.mark.parametrize("made", INT8)
@pytest.mark.parametrize("size", [1e-30, 1e-9, 1.0, 1e30])
def test_rows_of_any_size_and_without_any_range_are_computed(
    made: arithmetic.Callable, size: float
) -> None:
    import torch

    torch.manual_seed(3)
    layer = torch.nn.Linear(64, 8)
    same, different = torch.full((1, 64), size), size * torch.randn(2, 64)
    values = torch.cat([torch.zeros(1, 64), same, different])
    got, expected = made(layer)(values), layer(values).detach()
    lost = (got - expected).double().norm(dim=1) / expected.double().norm(dim=1)
    assert float(lost.max()) < 0.03
