"""Models that don't fit into memory are refused before they are loaded, with the size that would do."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from rag import memory
from rag.catalogue import CATALOGUE, Job
from rag.chatbot import Chatbot
from rag.errors import ModelError
from rag.memory import Need
from rag.settings import load

GB = 1_000_000_000


def test_what_fits_together_passes() -> None:
    memory.check([Need(Job.ENCODER, "a", GB), Need(Job.GENERATOR, "b", 2 * GB)], 3 * GB)


def test_what_does_not_is_told_by_the_largest_with_one_that_would_do() -> None:
    needs = [Need(Job.ENCODER, "small", GB // 2), Need(Job.GENERATOR, "huge", 40 * GB)]
    with pytest.raises(ModelError) as told:
        memory.check(needs, 5 * GB)
    assert "generator huge takes 40.0 GB" in told.value.problem
    assert "at most 4.5 GB, such as Qwen3-4B-Instruct-2507" in told.value.remedy


def test_where_nothing_would_do_nothing_is_advised() -> None:
    needs = [Need(Job.ENCODER, "large", 4 * GB), Need(Job.CHECKER, "larger", 5 * GB)]
    with pytest.raises(ModelError, match="Leave RAG_CHECKER out"):
        memory.check(needs, 4 * GB)


def test_a_container_may_hold_less_than_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    machine = memory.free()
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory.free() == 100
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free() == pytest.approx(machine, rel=0.5)


def test_models_are_not_loaded_into_memory_that_they_may_not_take(index_folder: Path) -> None:
    chatbot = Chatbot.open(load(index=index_folder, memory=500))
    with pytest.raises(ModelError, match="generator SmolLM2-135M-Instruct takes"):
        chatbot.load()
    chatbot.load_encoder()  # searching takes less
    assert chatbot.search("How high is the lighthouse?", [], 1)[1]
    with pytest.raises(ModelError, match="encoder all-MiniLM-L6-v2 takes"):
        Chatbot.open(load(index=index_folder, memory=10)).load_encoder()


def test_every_model_of_the_list_says_what_it_takes() -> None:
    for model in CATALOGUE:
        assert model.memory > model.download, model.name
        assert model.licence, model.name
        assert model.languages, model.name


THREADS = """
import ctypes, sys, threading
from rag import memory
if sys.argv[1:]: memory.share_heaps()
met = threading.Barrier(8)
def work():
    kept = [bytes(2000) for _ in range(1000)]
    met.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other heaps")
def test_many_threads_share_few_heaps() -> None:
    def heaps(*words: str) -> int:
        told = subprocess.run(
            [sys.executable, "-c", THREADS, *words], stderr=subprocess.PIPE, text=True, check=True
        )
        return told.stderr.count("Arena")

    assert heaps() > memory.HEAPS, "or there is nothing to share"
    assert heaps("shared") <= memory.HEAPS
