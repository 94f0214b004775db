"""The supervised language model: a real process that is killed, stopped and made to crash."""

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import psutil
import pytest
from fixture_types import Attacks
from gguf import GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.answering.chatbot import Chatbot
from rag.errors import GeneratorCrashed, ModelError
from rag.models import cpu
from rag.models.cpu import CpuVerdicts, this_cpu
from rag.models.embedding.encoder import Encoder
from rag.models.generation import backends, supervised, worker
from rag.models.generation.llama import CONTEXT, LlamaGenerator
from rag.models.generation.prompts import TINY, compose, general_profile
from rag.models.generation.supervised import (
    CRASH_WINDOW_S,
    MAX_CRASHES,
    Health,
    SupervisedGenerator,
    last_problem,
)
from rag.models.generation.worker import Death, Worker
from rag.models.reading.reader import Reader
from rag.models.resolve import SMOLLM2, generator_file
from rag.processes import start_python
from rag.store.reader import IndexReader
from rag.types import Answer, Excerpt, Message, Mode, Notice, Stage

QUESTION = "How high is the lighthouse of Sant Oriol?"
OTHER_QUESTION = "Which bird has come back to the marsh of Dunmere?"
COLOUR = (Message(role="user", content="Name a colour."),)
STORY = (Message(role="user", content="Tell a long story about the sea."),)
TIMEOUT_S = 60
"""Seconds, more than anything here takes unless it hangs."""

Start = Callable[..., SupervisedGenerator]
MakeChatbot = Callable[[SupervisedGenerator], Chatbot]


def ranked() -> list[str]:
    """The variants that run on this CPU, fastest first."""
    scores = {name: backends.score(file) for name, file in backends.variants().items()}
    return sorted((name for name in scores if scores[name]), key=lambda name: -scores[name])


needs_two_variants = pytest.mark.skipif(
    len(ranked()) < 2, reason="only one variant of llama.cpp runs here"
)


@pytest.fixture
def own_cache(cache: Path, generator: LlamaGenerator, tmp_path: Path) -> Path:
    """A cache folder with the converted weights, but without test results."""
    generator.load()
    own = tmp_path / "cache"
    own.mkdir()
    for weights in cache.glob("*.Q8_0.gguf"):
        (own / weights.name).hardlink_to(weights)
    return own


@pytest.fixture
def start(own_cache: Path) -> Iterator[Start]:
    """Builds generators with an empty cache, and ends their processes."""
    generators: list[SupervisedGenerator] = []

    def start(file: Path | None = None) -> SupervisedGenerator:
        name = str(file or SMOLLM2.name)
        file = file or generator_file(SMOLLM2.name, own_cache)
        generators.append(SupervisedGenerator(name, file, own_cache, 1))
        return generators[-1]

    yield start
    for generator in generators:
        generator.close()
    assert processes() == [], "a process is still running"


@pytest.fixture
def chatbot_with(index_folder: Path, encoder: Encoder, reader: Reader) -> Iterator[MakeChatbot]:
    """Builds chatbots for which the generator writes drafts, as one that the user chose does."""
    with IndexReader.open(index_folder, encoder=encoder.id) as index:

        def build(generator: SupervisedGenerator) -> Chatbot:
            generator.profile = general_profile(CONTEXT)
            return Chatbot(index, encoder, generator, reader)

        yield build


def processes() -> list[psutil.Process]:
    """The workers that are children of this process, unreaped ones included.

    Servers that other tests started have workers, too, which are not children of this process.
    """
    children = psutil.Process().children()
    return [child for child in children if child.status() == "zombie" or is_worker(child)]


def is_worker(process: psutil.Process) -> bool:
    return any("llama_worker" in word for word in process.cmdline())


def kill(generator: SupervisedGenerator, by: signal.Signals, *, wait: bool = True) -> None:
    running = generator._worker
    assert running is not None
    os.kill(running.pid, by)
    if wait:
        wait_for(lambda: not running.alive)


def wait_for(condition: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.005)


def last(answers: Iterator[Answer]) -> Answer:
    *_, answer = answers
    assert answer.stage is Stage.DONE
    return answer


def assert_written(answer: Answer) -> None:
    assert (answer.mode, answer.notice) == (Mode.WRITTEN, None)
    assert "37" in answer.text


def assert_answered_by_the_reader(answer: Answer, notice: Notice) -> None:
    assert answer.mode is not Mode.REFUSED
    assert answer.notice is notice
    assert "37 metres" in answer.text
    assert answer.citations[0].quote.article_id == "lighthouse.md"


def assert_off(generator: SupervisedGenerator) -> None:
    """The generator is off, for a reason in one line, and has no process."""
    assert generator.problem
    assert "\n" not in generator.problem
    assert processes() == []
    with pytest.raises(GeneratorCrashed):
        list(generator.stream(COLOUR))


# -- killed processes


SIGNALS = [signal.SIGILL, signal.SIGSEGV, signal.SIGKILL]


@pytest.fixture
def tested_cache(own_cache: Path) -> Path:
    """The cache folder, in which the best two variants have passed their test."""
    supervised.llama_verdicts(own_cache).write({"passed": sorted(ranked()[:2])})
    return own_cache


@needs_two_variants
@pytest.mark.parametrize("by", SIGNALS, ids=lambda by: by.name)
@pytest.mark.parametrize("moment", ["reading", "writing"])
def test_a_process_killed_while_answering_costs_one_generated_answer(
    moment: str, by: signal.Signals, start: Start, chatbot_with: MakeChatbot, tested_cache: Path
) -> None:
    generator = start()
    chatbot = chatbot_with(generator)
    generator.load()
    assert generator.health.variant == ranked()[0]
    with ThreadPoolExecutor() as pool:
        concurrent = pool.submit(lambda: last(chatbot.ask(OTHER_QUESTION)))
        wait_for(lambda: generator._free_channels.qsize() == 1)
        answers = chatbot.ask(QUESTION)
        next(answers)  # the hits; the next update follows the first slice of the prompt
        for answer in answers:
            if answer.draft or moment == "reading":
                break
        kill(generator, by, wait=False)
        assert_answered_by_the_reader(last(answers), Notice.GENERATOR_CRASHED)
        assert concurrent.result(TIMEOUT_S).text, "the question in the other slot got no answer"
    assert_written(last(chatbot.ask(QUESTION)))
    assert_recovered(generator, by, tested_cache)


@needs_two_variants
@pytest.mark.parametrize("by", SIGNALS, ids=lambda by: by.name)
def test_a_process_killed_while_idle_costs_nothing(
    by: signal.Signals, start: Start, tested_cache: Path
) -> None:
    generator = start()
    generator.load()
    kill(generator, by)
    assert "".join(generator.stream(COLOUR))
    assert_recovered(generator, by, tested_cache)


def assert_recovered(generator: SupervisedGenerator, by: signal.Signals, cache: Path) -> None:
    """It runs the variant that is right after that signal; only SIGILL rules a variant out."""
    best, second = ranked()[:2]
    assert generator.health.variant == (best if by is signal.SIGKILL else second)
    assert not generator.problem
    ruled_out = {best: "illegal instruction (SIGILL)"} if by is signal.SIGILL else {}
    stored = Health(cache)
    assert stored.ruled_out == ruled_out
    assert stored.passed == {best, second} - set(ruled_out)
    assert not stored.avoided, "avoided variants were kept for the next run"


def test_one_death_interrupts_two_texts_and_counts_once(
    start: Start, chatbot_with: MakeChatbot
) -> None:
    generator = start()
    chatbot = chatbot_with(generator)
    generator.load()
    with ThreadPoolExecutor() as pool:
        kill(generator, signal.SIGSTOP, wait=False)
        streams = [pool.submit(generator.stream(STORY).__next__) for _ in range(2)]
        wait_for(lambda: generator._free_channels.qsize() == 0)
        time.sleep(0.2)  # until both wait for a reply
        kill(generator, signal.SIGKILL, wait=False)
        for interrupted in streams:
            with pytest.raises(GeneratorCrashed, match=r"killed, perhaps .* restarted"):
                interrupted.result(TIMEOUT_S)
    assert len(generator.health._crash_times) == 1
    assert_written(last(chatbot.ask(QUESTION)))


@needs_two_variants
def test_a_variant_is_ruled_out_even_if_the_cache_cannot_be_written(
    start: Start, own_cache: Path
) -> None:
    (own_cache / "cpu").write_text("not a folder")
    generator = start()
    generator.load()
    kill(generator, signal.SIGILL)
    generator.load()
    assert generator.health.variant == ranked()[1]
    assert list(generator.health.ruled_out) == [ranked()[0]]


def test_a_process_that_hangs_counts_as_a_crash(
    start: Start, chatbot_with: MakeChatbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = start()
    chatbot = chatbot_with(generator)
    generator.load()
    answers = chatbot.ask(QUESTION)
    next(answers)
    with monkeypatch.context() as patched:
        patched.setattr(worker, "REPLY_TIMEOUT_S", 1.0)
        kill(generator, signal.SIGSTOP, wait=False)
        assert_answered_by_the_reader(last(answers), Notice.GENERATOR_CRASHED)
    assert str(generator.health.last) == "it stopped responding"
    assert_written(last(chatbot.ask(QUESTION)))


# -- repeated crashes


def test_three_crashes_within_the_window_turn_it_off(
    start: Start, chatbot_with: MakeChatbot
) -> None:
    generator = start()
    chatbot = chatbot_with(generator)
    for _ in range(MAX_CRASHES):
        generator.load()
        kill(generator, signal.SIGKILL)
    assert_answered_by_the_reader(last(chatbot.ask(QUESTION)), Notice.GENERATOR_CRASHED)
    assert "3 crashes (the last: killed, perhaps for lack of memory (SIGKILL))" in chatbot.problem
    assert_answered_by_the_reader(last(chatbot.ask(QUESTION)), Notice.GENERATOR_OFF)
    assert last(chatbot.ask("Who composed the opera of Brazil?")).mode is Mode.REFUSED
    assert_off(generator)


def test_crashes_far_apart_do_not_turn_it_off(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(supervised, "monotonic", lambda: now[0])
    generator = start()
    for _ in range(MAX_CRASHES + 1):
        generator.load()
        kill(generator, signal.SIGKILL)
        now[0] += CRASH_WINDOW_S / 2
    assert "".join(generator.stream(COLOUR))


@given(st.lists(st.floats(0, CRASH_WINDOW_S), max_size=12))
def test_it_is_off_exactly_when_three_crashes_were_within_the_window(
    gaps: list[float],
) -> None:
    health, now, times = Health(Path("/dev/null")), 0.0, list[float]()
    with patch.object(supervised, "monotonic", lambda: now):
        for gap in gaps:
            now += gap
            times.append(now)
            health.record_crash(Death(signal.SIGKILL, ""))
            three = zip(times, times[2:], strict=False)
            assert bool(health.problem) == any(c - a < CRASH_WINDOW_S for a, c in three)


def with_code(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the process run this code first."""
    original = start_python
    monkeypatch.setattr(
        worker,
        "start_python",
        lambda own_code, *args, **kwargs: original(f"{code}; {own_code}", *args, **kwargs),
    )


def test_an_illegal_instruction_before_a_variant_is_chosen_rules_none_out(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variant is the cause, and the process is not restarted forever."""
    with_code(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    generator = start()
    generator.load()
    assert "illegal instruction" in generator.problem
    assert generator.health.ruled_out == {}
    assert_off(generator)


@needs_two_variants
def test_a_variant_that_computes_nan_is_replaced_by_another(
    start: Start, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No real variant does: the test of the first one is replaced by one that fails."""
    failing_test = (
        "from rag.models.generation import backends;"
        " from rag.models.generation.llama import LlamaGenerator as G;"
        " G.test_arithmetic = lambda self, test=G.test_arithmetic:"
        f" 0 / 0 if backends._loaded == {ranked()[0]!r} else test(self)"
    )
    with_code(monkeypatch, failing_test)
    generator = start()
    generator.load()
    assert str(generator.health.last) == "arithmetic error (SIGFPE)"
    assert generator.health.variant == ranked()[1]
    assert Health(own_cache).passed == {ranked()[1]}
    assert not generator.problem


def test_an_unexpected_exception_in_the_process_is_reported(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_code(
        monkeypatch, "from rag.models.generation import llama_worker; llama_worker._replies = None"
    )
    generator = start()
    generator.load()
    assert "(the last: TypeError: 'NoneType' object is not callable)" in generator.problem
    assert_off(generator)


def test_it_is_off_if_no_process_can_be_started(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(worker, "start_python", fail)
    generator = start()
    generator.load()
    assert "no process can be started: Resource temporarily unavailable" in generator.problem
    assert_off(generator)


# -- models that crash llama.cpp


@pytest.fixture
def aborting_file(tmp_path: Path) -> Path:
    """A GGUF file that makes llama.cpp abort, since its vocabulary contains a token twice."""
    writer = GGUFWriter(tmp_path / "twice.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(["a", "b", "a"])
    writer.add_token_types([1, 1, 1])
    writer.add_token_merges(["a b"])
    writer.add_chat_template("{{ messages[0]['content'] }}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "twice.gguf"


def test_a_model_that_aborts_llama_cpp_turns_it_off_and_names_the_assertion(
    start: Start, chatbot_with: MakeChatbot, aborting_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    generator = start(aborting_file)
    chatbot = chatbot_with(generator)
    chatbot.load()
    assert "aborted (SIGABRT)" in chatbot.problem
    assert "GGML_ASSERT(id_to_token.size() == token_to_id.size()) failed" in chatbot.problem
    assert_off(generator)
    assert_answered_by_the_reader(last(chatbot.ask(QUESTION)), Notice.GENERATOR_OFF)
    assert (generator.memory, generator.context) == (0, CONTEXT)
    assert capfd.readouterr() == ("", ""), "llama.cpp printed something"


def test_a_model_that_aborts_llama_cpp_during_a_question_costs_no_answer(
    start: Start, chatbot_with: MakeChatbot, aborting_file: Path
) -> None:
    chatbot = chatbot_with(start(aborting_file))
    assert_answered_by_the_reader(last(chatbot.ask(QUESTION)), Notice.GENERATOR_CRASHED)
    assert "GGML_ASSERT" in chatbot.problem


# -- variants that do not run on this CPU


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of llama.cpp's libraries, which this process uses."""
    folder = tmp_path / "lib"
    installed = backends.library_folder()
    assert installed is not None
    shutil.copytree(installed, folder, symlinks=True)
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(folder))
    return folder


TRAP = """
int ggml_backend_score(void) { return %d; }
void *ggml_backend_init(void) {
#ifdef __x86_64__
    __asm__ volatile("ud2");
#else
    __asm__ volatile(".inst 0");
#endif
    return 0;
}
"""


def add_trap(folder: Path, name: str, score: int) -> None:
    """Add a variant that claims to be the best and executes an illegal instruction."""
    source = folder / f"{name}.c"
    source.write_text(TRAP % score)
    library = folder / f"libggml-cpu-{name}.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)


@needs_two_variants
def test_a_variant_with_illegal_instructions_is_ruled_out_permanently(
    start: Start, chatbot_with: MakeChatbot, libraries: Path
) -> None:
    best = ranked()[0]
    add_trap(libraries, "zzz", 1_000_000)
    (libraries / "libggml-cpu-broken.so").write_bytes(b"not a library")
    first, second = start(), start()
    assert_written(last(chatbot_with(first).ask(QUESTION)))
    assert first.health.ruled_out == {"zzz": "illegal instruction (SIGILL)"}
    assert first.health.variant == best
    second.load()
    assert second.health.last == Death(0, ""), "the variant was tried again"
    assert second.health.variant == best


@needs_two_variants
def test_if_no_variant_runs_it_is_off_with_the_reason_for_each(
    start: Start, chatbot_with: MakeChatbot, libraries: Path
) -> None:
    for variant in backends.variants().values():
        variant.unlink()
    add_trap(libraries, "one", 2)
    add_trap(libraries, "two", 1)
    add_trap(libraries, "three", 0)
    for generator in (start(), start()):
        chatbot = chatbot_with(generator)
        chatbot.load()
        assert this_cpu().name in chatbot.problem
        for reason in ("one: illegal instruction", "two: illegal instruction", "three: built for"):
            assert reason in chatbot.problem
        assert_off(generator)
        assert_answered_by_the_reader(last(chatbot.ask(QUESTION)), Notice.GENERATOR_OFF)


# -- equality with llama.cpp in this process


def make_prompt(generator: LlamaGenerator, question: str, *facts: str) -> Sequence[Message]:
    sources = [
        Excerpt(article_id="a", title="A town", start=0, end=len(text), text=text) for text in facts
    ]
    return compose(question, sources, TINY, generator.count_tokens, CONTEXT).messages


FACTS = (
    "The bridge of Lindow opened in May 2012.",
    "Wardens counted nine pairs of avocets on the mud flats, some called them “snow­birds” 🐦.",
    "The harbour cost the town 900,000 euros to dredge.",
)
QUESTIONS = ("How many pairs of avocets were counted?", "Who composed the opera about the emperor?")


def test_its_texts_equal_those_of_llama_cpp_in_this_process(
    start: Start, generator: LlamaGenerator
) -> None:
    here, there = generator, start()
    prompts = [COLOUR, *(make_prompt(here, question, *FACTS) for question in QUESTIONS)]
    streams = [list(here.stream(prompt)) for prompt in prompts]
    assert [*map(there.count_tokens, prompts)] == [*map(here.count_tokens, prompts)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda prompt: list(there.stream(prompt)), prompts)) == streams
    assert (there.context, there.profile) == (here.context, here.profile)
    assert (there.memory, here.memory) == (0, 0)


def test_a_file_that_is_no_model_gives_the_same_error_as_in_this_process(
    start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"not a model at all" * 100)
    here, there = LlamaGenerator(str(file), file, tmp_path, 1), start(file)
    messages = []
    for generator in (here, there, there):
        with pytest.raises(ModelError, match="is not a GGUF file") as error:
            generator.load()
        messages.append(str(error.value))
    assert len(set(messages)) == 1
    assert not there.problem, "it was counted as a crash"


# -- stopping


def test_generation_can_be_stopped_at_any_step_without_side_effects(
    start: Start, generator: LlamaGenerator
) -> None:
    """Also after the last piece, when it is too late to stop."""
    own = start()
    for messages in (make_prompt(generator, QUESTIONS[0], FACTS[1]), COLOUR):
        whole = list(own.stream(messages))
        assert len(whole) >= 3
        for steps in range(1, len(whole) + 1):
            with closing(own.stream(messages)) as stopped:
                assert [next(stopped) for _ in range(steps)] == whole[:steps]
                if steps >= len(whole) - 1:
                    time.sleep(0.1)  # until the end has been sent
                started = time.monotonic()
            assert time.monotonic() - started < 10, "it was not stopped"
            assert list(own.stream(messages)) == whole, f"stopped after {steps} of {len(whole)}"
    assert own._free_channels.qsize() == 2


def test_a_stop_that_is_not_waited_for_does_not_affect_the_next_text(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when Ctrl-C is pressed twice: before the stop is sent, or before it has taken effect."""
    generator = start()
    whole = list(generator.stream(COLOUR))
    for stop in (lambda self, pipe, number: None, lambda self, pipe, number: pipe.send_bytes(STOP)):
        monkeypatch.setattr(Worker, "_stop", stop)
        with closing(generator.stream(STORY)) as stopped:
            assert [bool(next(stopped)) for _ in range(3)] == [False, True, True]
        assert list(generator.stream(COLOUR)) == whole


STOP = b'"stop"'


def test_a_stop_without_a_running_request_is_ignored(start: Start) -> None:
    generator = start()
    before = list(generator.stream(COLOUR))
    assert generator._worker is not None
    for channel in generator._worker._channels:
        channel.send_bytes(STOP)
    assert [list(generator.stream(COLOUR)) for _ in range(2)] == [before, before]


def test_a_stopped_text_frees_its_slot(start: Start) -> None:
    generator = start()
    with ThreadPoolExecutor() as pool:
        streams = [generator.stream(STORY) for _ in range(2)]
        assert [next(pieces) for pieces in streams] == ["", ""]
        third = pool.submit(lambda: "".join(generator.stream(COLOUR)))
        with pytest.raises(TimeoutError):
            third.result(timeout=0.5)
        streams[0].close()
        assert third.result(TIMEOUT_S)
        streams[1].close()


# -- the end of the process


PARENT = """
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread
from rag.errors import GeneratorCrashed
from rag.models.reading.reader import Reader
from rag.models.resolve import SMOLLM2, generator_file
from rag.models.generation.supervised import SupervisedGenerator

cache = Path(sys.argv[1])
file = generator_file(SMOLLM2.name, cache)
generator = SupervisedGenerator(SMOLLM2.name, file, cache, 1)
generator.load()
story = [{"role": "user", "content": "Tell a long story about the sea."}]
print(generator._worker.pid, flush=True)
"""

BUSY = """
def generate():
    with suppress(GeneratorCrashed):  # if the program ends first
        list(generator.stream(story))

for _ in range(2):
    Thread(target=generate, daemon=True).start()
while generator._free_channels.qsize():
    pass
print("busy", flush=True)
sys.stdin.read()
"""

IDLE = """
print("idle", flush=True)
sys.stdin.read()
"""

INTERRUPTED = """
try:
    for number, piece in enumerate(generator.stream(story)):
        if number == 3:
            print("writing", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(generator._worker.pid, "".join(generator.stream(story[:1])) != "", flush=True)
"""


@contextmanager
def parent(code: str, cache: Path) -> "Iterator[subprocess.Popen[str]]":
    """Run another program that uses the generator, in its own process group."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT + code, str(cache)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def has_ended(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


@pytest.mark.parametrize("code", [IDLE, BUSY], ids=["idle", "busy"])
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM, None], ids=str)
def test_the_process_ends_with_the_program_in_any_case(
    by: signal.Signals | None, code: str, own_cache: Path
) -> None:
    with parent(code, own_cache) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stderr is not None
        pid = int(program.stdout.readline())
        assert program.stdout.readline().strip() in ("idle", "busy")
        assert not has_ended(pid)
        if by:
            program.send_signal(by)
        else:
            program.stdin.close()  # which ends it normally
        wait_for(lambda: has_ended(pid), timeout_s=5)
        assert program.stderr.read() == ""


def test_ctrl_c_interrupts_the_program_but_not_the_process(own_cache: Path) -> None:
    with parent(INTERRUPTED, own_cache) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        pid = program.stdout.readline().strip()
        assert program.stdout.readline() == "writing\n"
        os.killpg(program.pid, signal.SIGINT)
        assert program.stdout.readline() == "interrupted\n"
        assert program.stdout.readline() == f"{pid} True\n", "the process was restarted"
        assert (program.wait(TIMEOUT_S), program.stderr.read()) == (0, "")


def test_the_process_ends_when_the_generator_is_deleted(own_cache: Path) -> None:
    file = generator_file(SMOLLM2.name, own_cache)
    generator = SupervisedGenerator(SMOLLM2.name, file, own_cache, 1)
    generator.load()
    assert generator._worker is not None
    pid = generator._worker.pid
    del generator
    gc.collect()
    assert has_ended(pid)


def test_many_deaths_leak_no_descriptor_and_no_process(
    start: Start, monkeypatch: pytest.MonkeyPatch, attacks: Attacks
) -> None:
    monkeypatch.setattr(supervised, "CRASH_WINDOW_S", 0.0)
    generator = start()
    this = psutil.Process()
    generator._start_worker()
    before = this.num_fds()
    for death in range(attacks(50)):
        detected_by_request = death % 2
        kill(generator, signal.SIGKILL, wait=not detected_by_request)
        if detected_by_request:
            assert generator._worker is not None
            with pytest.raises(GeneratorCrashed):
                generator._ask(generator._worker, "variant")
        generator._start_worker()
    assert this.num_fds() == before
    assert len(processes()) == 1


def test_closing_it_during_questions_costs_at_most_their_answers(start: Start) -> None:
    generator = start()

    def ask(number: int) -> str:
        with suppress(GeneratorCrashed):
            return "".join(generator.stream(COLOUR)) + str(generator.count_tokens(COLOUR))
        return ""

    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(ask, number) for number in range(9)]
        for _ in range(3):
            time.sleep(0.7)
            generator.close()
        texts = {answer.result(TIMEOUT_S) for answer in answers}
    assert texts - {""} == {ask(0)}
    assert not generator.problem
    assert generator._free_channels.qsize() == 2


# -- cached test results


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
VERDICTS = st.dictionaries(st.sampled_from(["passed", "ruled_out", "problem", "other"]), VALUES)
CONTENT = st.binary() | (VALUES | VERDICTS).map(lambda value: json.dumps(value).encode())


DEEPLY_NESTED = b"[" * 100_000


@given(CONTENT | st.builds(lambda: DEEPLY_NESTED))
@settings(deadline=None, max_examples=50)
def test_any_content_of_the_cached_file_can_be_read_and_replaced(
    content: bytes,
) -> None:
    with (
        TemporaryDirectory() as folder,
        patch.object(backends, "library_id", lambda: "build 1"),  # computing it takes long
    ):
        file = Health(Path(folder)).verdicts.file
        file.parent.mkdir()
        file.write_bytes(content)
        stored: object = None
        with suppress(ValueError, RecursionError):
            stored = json.loads(content)
        read = Health(Path(folder)).verdicts.read()
        assert json.dumps(read) == json.dumps(stored if isinstance(stored, dict) else {})
        assert isinstance(last_problem(Path(folder)), str)
        assert_verdicts_are_kept(Path(folder))


def assert_verdicts_are_kept(folder: Path) -> None:
    health = Health(folder)
    health.record_start("best")
    health.record_crash(Death(signal.SIGILL, ""))
    health.record_start("second")
    health.record_pass("second")
    assert "best" in Health(folder).ruled_out
    assert {"second"} <= Health(folder).passed <= health.passed - {"best"}
    assert last_problem(folder) == ""
    health.clear()
    assert (Health(folder).ruled_out, Health(folder).passed) == ({}, set())


@pytest.mark.parametrize("by", ["a file", "a read-only disk"])
def test_a_cache_that_cannot_be_written_is_no_error(
    by: str, small_disk: Path, write_protect: Callable[[Path], None]
) -> None:
    if by == "a file":
        (small_disk / "cpu").write_text("not a folder")
    else:
        write_protect(small_disk)
    verdicts = CpuVerdicts(small_disk, "llama.cpp", "build 1")
    verdicts.write({"passed": ["x"]})
    verdicts.clear()
    assert verdicts.read() == {}


def test_results_are_valid_for_one_build_and_one_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = {"passed": ["x"]}
    CpuVerdicts(tmp_path, "llama.cpp", "build 1").write(results)
    assert CpuVerdicts(tmp_path, "llama.cpp", "build 1").read() == results
    assert CpuVerdicts(tmp_path, "llama.cpp", "build 2").read() == {}
    assert CpuVerdicts(tmp_path, "torch", "build 1").read() == {}
    other_cpu = replace(this_cpu(), features=this_cpu().features | {"amx_tile"})
    monkeypatch.setattr(cpu, "this_cpu", lambda: other_cpu)
    assert CpuVerdicts(tmp_path, "llama.cpp", "build 1").read() == {}
