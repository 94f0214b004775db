"""Models that do not fit into memory are rejected before they are loaded, with a size that would fit."""

import errno
import mmap
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rag.answering.chatbot import Chatbot
from rag.errors import ModelError
from rag.models import memory
from rag.models.memory import MemoryRequirement
from rag.models.registry import CATALOGUE
from rag.settings import load
from rag.types import ModelRole

GB = 1_000_000_000


def test_models_that_fit_together_are_accepted() -> None:
    memory.check(
        [
            MemoryRequirement(ModelRole.ENCODER, "a", GB),
            MemoryRequirement(ModelRole.GENERATOR, "b", 2 * GB),
        ],
        3 * GB,
    )


def test_the_error_names_the_largest_model_and_one_that_would_fit() -> None:
    requirements = [
        MemoryRequirement(ModelRole.ENCODER, "small", GB // 2),
        MemoryRequirement(ModelRole.GENERATOR, "huge", 40 * GB),
    ]
    with pytest.raises(ModelError) as error:
        memory.check(requirements, 5 * GB)
    assert "generator huge takes 40.0 GB" in error.value.problem
    assert "at most 4.5 GB, such as Qwen3-4B-Instruct-2507" in error.value.remedy


def test_where_no_model_would_fit_none_is_suggested() -> None:
    requirements = [
        MemoryRequirement(ModelRole.ENCODER, "large", 4 * GB),
        MemoryRequirement(ModelRole.CHECKER, "larger", 5 * GB),
    ]
    with pytest.raises(ModelError, match="Unset RAG_CHECKER"):
        memory.check(requirements, 4 * GB)


def test_a_containers_memory_limit_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    machine = memory.free()
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory.free() == 100
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free() == pytest.approx(machine, rel=0.5)


def test_a_limit_of_the_address_space_is_respected() -> None:
    code = (
        "import resource; from rag.models import memory;"
        " resource.setrlimit(resource.RLIMIT_AS, (2 * 10**9, 2 * 10**9));"
        " print(memory.free())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert int(ran.stdout) < 2 * GB


TOO_MANY = 10**14
"""Numbers that fill more than the address space of any machine."""


@pytest.mark.parametrize(
    "allocate",
    [
        pytest.param(lambda: bytearray(TOO_MANY * 100), id="Python"),
        pytest.param(lambda: np.empty(TOO_MANY), id="NumPy"),
        pytest.param(lambda: torch.empty(TOO_MANY), id="PyTorch"),
        pytest.param(lambda: mmap.mmap(-1, TOO_MANY * 100), id="the system"),
    ],
)
def test_a_refused_allocation_is_recognised(allocate: Callable[[], object]) -> None:
    with pytest.raises((MemoryError, OSError, RuntimeError)) as error:
        allocate()
    assert memory.is_refused_allocation(error.value)


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        ImportError("libfaiss.so: cannot allocate memory in static TLS block"),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ],
)
def test_what_the_linker_and_threads_say_without_memory_is_recognised(error: Exception) -> None:
    assert memory.is_refused_allocation(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), OSError(errno.ENOENT, "x"), ValueError("bad_alloc")]
)
def test_other_errors_are_no_refused_allocations(error: Exception) -> None:
    assert not memory.is_refused_allocation(error)


def test_models_are_not_loaded_beyond_the_memory_limit(index_folder: Path) -> None:
    chatbot = Chatbot.open(load(index=index_folder, memory_mb=500))
    with pytest.raises(ModelError, match="generator SmolLM2-135M-Instruct takes"):
        chatbot.load()
    chatbot.load_encoder()  # searching takes less
    assert chatbot.search("How high is the lighthouse?", limit=1)[1]
    with pytest.raises(ModelError, match="encoder all-MiniLM-L6-v2 takes"):
        Chatbot.open(load(index=index_folder, memory_mb=10)).load_encoder()


def test_the_catalogue_states_every_models_memory_licence_and_languages() -> None:
    for model in CATALOGUE:
        assert model.memory > model.download, model.name
        assert model.licence, model.name
        assert model.languages, model.name


THREADS = """
import ctypes, sys, threading
from rag.models import memory
if sys.argv[1:]: memory.limit_malloc_arenas()
barrier = threading.Barrier(8)
def work():
    objects = [bytes(2000) for _ in range(1000)]
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no arenas")
def test_threads_share_a_limited_number_of_malloc_arenas() -> None:
    def count_arenas(*words: str) -> int:
        ran = subprocess.run(
            [sys.executable, "-c", THREADS, *words], stderr=subprocess.PIPE, text=True, check=True
        )
        return ran.stderr.count("Arena")

    assert count_arenas() > memory.MALLOC_ARENAS, "the limit would not matter"
    assert count_arenas("limited") <= memory.MALLOC_ARENAS
