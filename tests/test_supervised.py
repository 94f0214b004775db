"""llama.cpp in a process of its own, which is killed, stopped and fed with what kills it, for real."""

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
from gguf import GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from rag import backends, cpu, supervised, worker
from rag.chatbot import Chatbot
from rag.cpu import CpuVerdicts, this_cpu
from rag.datatypes import Answer, Excerpt, Message, Mode, Notice, Stage
from rag.encoder import Encoder
from rag.errors import GeneratorCrashed, ModelError
from rag.generator import CONTEXT, LlamaGenerator
from rag.index import PassageIndex
from rag.models import ADAPTER, SMOLLM2, generator_file
from rag.prompt import TAUGHT, compose
from rag.supervised import (
    CRASHES_WITHIN_S,
    MOST_CRASHES,
    Health,
    SupervisedGenerator,
    last_problem,
)
from rag.worker import Death, Worker

QUESTION = "How high is the lighthouse of Sant Oriol?"
ANOTHER = "Which bird has come back to the marsh of Dunmere?"
COLOUR = (Message(role="user", content="Name a colour."),)
STORY = (Message(role="user", content="Tell a long story about the sea."),)
SOON_S = 60
"""Longer than anything here takes; what hangs takes longer."""

Start = Callable[..., SupervisedGenerator]
Ask = Callable[[SupervisedGenerator], Chatbot]


def ranked() -> list[str]:
    """The variants that this CPU runs, fastest first."""
    scores = {name: backends.score(file) for name, file in backends.variants().items()}
    return sorted((name for name in scores if scores[name]), key=lambda name: -scores[name])


several = pytest.mark.skipif(len(ranked()) < 2, reason="one variant of llama.cpp runs here")


@pytest.fixture
def own_cache(
    cache: Path, generator: LlamaGenerator, taught: LlamaGenerator, tmp_path: Path
) -> Path:
    """A cache without verdicts, in which the weights are prepared."""
    generator.load()
    taught.load()
    own = tmp_path / "cache"
    own.mkdir()
    for weights in cache.glob("*.Q8_0.gguf"):
        (own / weights.name).hardlink_to(weights)
    return own


@pytest.fixture
def start(own_cache: Path) -> Iterator[Start]:
    """Makes generators with a cache of their own, and ends them."""
    begun: list[SupervisedGenerator] = []

    def start(file: Path | None = None, *, adapter: Path | None = ADAPTER) -> SupervisedGenerator:
        name = str(file or SMOLLM2.name)
        file = file or generator_file(SMOLLM2.name, own_cache)
        begun.append(SupervisedGenerator(name, file, own_cache, 1, adapter))
        return begun[-1]

    yield start
    for generator in begun:
        generator.close()
    assert processes() == [], "a process is left"


@pytest.fixture
def chatbot_with(index_folder: Path, encoder: Encoder) -> Iterator[Ask]:
    with PassageIndex.open(index_folder, encoder=encoder.id) as index:
        yield lambda generator: Chatbot(index, encoder, generator)


def processes() -> list[psutil.Process]:
    """The workers of this process, those that have died and were not noticed among them.

    Servers that other tests started have workers of their own, which are not children of this process.
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
        until(lambda: not running.alive)


def until(come: Callable[[], bool], most_s: float = SOON_S) -> None:
    """Wait for what has to come."""
    end = time.monotonic() + most_s
    while not come():
        assert time.monotonic() < end, "it has not come in time"
        time.sleep(0.005)


def last(answers: Iterator[Answer]) -> Answer:
    *_, answer = answers
    assert answer.stage is Stage.DONE
    return answer


def assert_written(answer: Answer) -> None:
    assert (answer.mode, answer.notice) == (Mode.WRITTEN, None)
    assert "37" in answer.text


def assert_quoted(answer: Answer, notice: Notice) -> None:
    assert (answer.mode, answer.notice) == (Mode.QUOTED, notice)
    assert answer.text.startswith("“the lighthouse of sant oriol is 37 metres high")
    assert answer.citations[0].quote.article_id == "lighthouse.md"


def assert_off(generator: SupervisedGenerator) -> None:
    """It says why in one line, and has no process."""
    assert generator.problem
    assert "\n" not in generator.problem
    assert processes() == []
    with pytest.raises(GeneratorCrashed):
        list(generator.stream(COLOUR))


# -- killed


KILLED = [signal.SIGILL, signal.SIGSEGV, signal.SIGKILL]


@pytest.fixture
def tested(own_cache: Path) -> Path:
    """The cache, in which the best two variants have passed their test."""
    supervised.llama_verdicts(own_cache).write({"passed": sorted(ranked()[:2])})
    return own_cache


@several
@pytest.mark.parametrize("by", KILLED, ids=lambda by: by.name)
@pytest.mark.parametrize("moment", ["reading", "writing"])
def test_killed_at_work_it_costs_one_question_the_generators_words(
    moment: str, by: signal.Signals, start: Start, chatbot_with: Ask, tested: Path
) -> None:
    generator = start(adapter=ADAPTER if moment == "reading" else None)
    chatbot = chatbot_with(generator)
    generator.load()
    assert generator.health.variant == ranked()[0]
    with ThreadPoolExecutor() as pool:
        beside = pool.submit(lambda: last(chatbot.ask(ANOTHER)))
        until(lambda: generator._free.qsize() == 1)
        answers = chatbot.ask(QUESTION)
        next(answers)  # what was found; the next is the first slice that was read
        for answer in answers:
            if answer.draft or moment == "reading":
                break
        kill(generator, by, wait=False)
        assert_quoted(last(answers), Notice.GENERATOR_CRASHED)
        assert beside.result(SOON_S).text, "the question in the other slot hangs"
    assert_written(last(chatbot.ask(QUESTION)))
    assert_safer(generator, by, tested)


@several
@pytest.mark.parametrize("by", KILLED, ids=lambda by: by.name)
def test_killed_while_idle_it_costs_nothing(by: signal.Signals, start: Start, tested: Path) -> None:
    generator = start()
    generator.load()
    kill(generator, by)
    assert "".join(generator.stream(COLOUR))
    assert_safer(generator, by, tested)


def assert_safer(generator: SupervisedGenerator, by: signal.Signals, cache: Path) -> None:
    """It goes on with the variant that is right after that signal; only SIGILL is held against it."""
    best, second = ranked()[:2]
    assert generator.health.variant == (best if by is signal.SIGKILL else second)
    assert not generator.problem
    ruled_out = {best: "illegal instruction (SIGILL)"} if by is signal.SIGILL else {}
    kept = Health(cache)
    assert kept.ruled_out == ruled_out
    assert kept.passed == {best, second} - set(ruled_out)
    assert not kept.avoided, "of that run only"


def test_two_questions_that_one_death_interrupts_are_both_answered_and_it_counts_once(
    start: Start, chatbot_with: Ask
) -> None:
    generator = start()
    chatbot = chatbot_with(generator)
    generator.load()
    with ThreadPoolExecutor() as pool:
        kill(generator, signal.SIGSTOP, wait=False)
        both = [pool.submit(generator.stream(STORY).__next__) for _ in range(2)]
        until(lambda: generator._free.qsize() == 0)
        time.sleep(0.2)  # both wait for a reply now
        kill(generator, signal.SIGKILL, wait=False)
        for interrupted in both:
            with pytest.raises(GeneratorCrashed, match=r"killed, perhaps .* started again"):
                interrupted.result(SOON_S)
    assert len(generator.health._crashes) == 1
    assert_written(last(chatbot.ask(QUESTION)))


@several
def test_where_no_verdict_can_be_kept_a_variant_is_ruled_out_all_the_same(
    start: Start, own_cache: Path
) -> None:
    (own_cache / "cpu").write_text("no folder")
    generator = start()
    generator.load()
    kill(generator, signal.SIGILL)
    generator.load()
    assert generator.health.variant == ranked()[1]
    assert list(generator.health.ruled_out) == [ranked()[0]]


def test_a_process_that_hangs_is_taken_for_a_crash(
    start: Start, chatbot_with: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = start()
    chatbot = chatbot_with(generator)
    generator.load()
    answers = chatbot.ask(QUESTION)
    next(answers)
    with monkeypatch.context() as impatient:
        impatient.setattr(worker, "SILENT_S", 1.0)
        kill(generator, signal.SIGSTOP, wait=False)
        assert_quoted(last(answers), Notice.GENERATOR_CRASHED)
    assert str(generator.health.last) == "it did not answer any more"
    assert_written(last(chatbot.ask(QUESTION)))


# -- that crashes again and again


def test_after_three_crashes_in_short_time_it_is_off(start: Start, chatbot_with: Ask) -> None:
    generator = start()
    chatbot = chatbot_with(generator)
    for _ in range(MOST_CRASHES):
        generator.load()
        kill(generator, signal.SIGKILL)
    assert_quoted(last(chatbot.ask(QUESTION)), Notice.GENERATOR_CRASHED)
    assert "3 crashes (the last: killed, perhaps for want of memory (SIGKILL))" in chatbot.problem
    assert_quoted(last(chatbot.ask(QUESTION)), Notice.GENERATOR_OFF)
    assert last(chatbot.ask("Who composed the opera of Brazil?")).mode is Mode.REFUSED
    assert_off(generator)


def test_crashes_far_apart_do_not_turn_it_off(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(supervised, "monotonic", lambda: now[0])
    generator = start()
    for _ in range(MOST_CRASHES + 1):
        generator.load()
        kill(generator, signal.SIGKILL)
        now[0] += CRASHES_WITHIN_S / 2
    assert "".join(generator.stream(COLOUR))


@given(st.lists(st.floats(0, CRASHES_WITHIN_S), max_size=12))
def test_it_is_off_once_three_crashes_were_within_the_window_and_not_before(
    gaps: list[float],
) -> None:
    health, now, times = Health(Path("/dev/null")), 0.0, list[float]()
    with patch.object(supervised, "monotonic", lambda: now):
        for gap in gaps:
            now += gap
            times.append(now)
            health.crashes(Death(signal.SIGKILL, ""))
            three = zip(times, times[2:], strict=False)
            assert bool(health.problem) == any(c - a < CRASHES_WITHIN_S for a, c in three)


def with_code(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have the process run this code first."""
    real = worker.start_python
    monkeypatch.setattr(
        worker, "start_python", lambda its, *args, **more: real(f"{code}; {its}", *args, **more)
    )


def test_illegal_instructions_before_a_variant_is_chosen_rule_none_out(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not its fault, and no reason to try for ever."""
    with_code(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    generator = start()
    generator.load()
    assert "illegal instruction" in generator.problem
    assert generator.health.ruled_out == {}
    assert_off(generator)


@several
def test_a_variant_that_computes_what_is_not_a_number_gives_way_to_another(
    start: Start, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None does here: the test of the first is made to fail."""
    wrong = (
        "from rag import backends; from rag.generator import LlamaGenerator as G;"
        " G.test_arithmetic = lambda self, test=G.test_arithmetic:"
        f" 0 / 0 if backends._loaded == {ranked()[0]!r} else test(self)"
    )
    with_code(monkeypatch, wrong)
    generator = start()
    generator.load()
    assert str(generator.health.last) == "arithmetic error (SIGFPE)"
    assert generator.health.variant == ranked()[1]
    assert Health(own_cache).passed == {ranked()[1]}
    assert not generator.problem


def test_an_error_of_ours_in_the_process_is_told_with_its_last_line(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_code(monkeypatch, "from rag import llama_worker; llama_worker._replies = None")
    generator = start()
    generator.load()
    assert "(the last: TypeError: 'NoneType' object is not callable)" in generator.problem
    assert_off(generator)


def test_where_no_process_can_be_started_it_is_off(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*args: object, **more: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(worker, "start_python", none_left)
    generator = start()
    generator.load()
    assert "no process can be started: Resource temporarily unavailable" in generator.problem
    assert_off(generator)


# -- models that llama.cpp cannot take


@pytest.fixture
def aborting(tmp_path: Path) -> Path:
    """A GGUF file at which llama.cpp aborts, since a token stands in its vocabulary twice."""
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
    start: Start, chatbot_with: Ask, aborting: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    generator = start(aborting, adapter=None)
    chatbot = chatbot_with(generator)
    chatbot.load()
    assert "aborted (SIGABRT)" in chatbot.problem
    assert "GGML_ASSERT(id_to_token.size() == token_to_id.size()) failed" in chatbot.problem
    assert_off(generator)
    assert_quoted(last(chatbot.ask(QUESTION)), Notice.GENERATOR_OFF)
    assert (generator.memory, generator.context) == (0, CONTEXT)
    assert capfd.readouterr() == ("", ""), "llama.cpp spoke to the user"


def test_a_model_that_aborts_llama_cpp_at_a_question_costs_no_answer(
    start: Start, chatbot_with: Ask, aborting: Path
) -> None:
    chatbot = chatbot_with(start(aborting, adapter=None))
    assert_quoted(last(chatbot.ask(QUESTION)), Notice.GENERATOR_CRASHED)
    assert "GGML_ASSERT" in chatbot.problem


# -- variants that this CPU does not run


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of llama.cpp's libraries, which is in use."""
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
    """A variant that announces to be the best, and is of illegal instructions."""
    source = folder / f"{name}.c"
    source.write_text(TRAP % score)
    made = folder / f"libggml-cpu-{name}.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", made, source], check=True)


@several
def test_a_variant_of_illegal_instructions_is_ruled_out_for_good_and_the_next_best_answers(
    start: Start, chatbot_with: Ask, libraries: Path
) -> None:
    best = ranked()[0]
    add_trap(libraries, "zzz", 1_000_000)
    (libraries / "libggml-cpu-broken.so").write_bytes(b"no library at all")
    first, second = start(), start()
    assert_written(last(chatbot_with(first).ask(QUESTION)))
    assert first.health.ruled_out == {"zzz": "illegal instruction (SIGILL)"}
    assert first.health.variant == best
    second.load()
    assert second.health.last == Death(0, ""), "it was tried again"
    assert second.health.variant == best


@several
def test_where_no_variant_runs_it_is_off_and_says_what_became_of_each(
    start: Start, chatbot_with: Ask, libraries: Path
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
        for told in ("one: illegal instruction", "two: illegal instruction", "three: made for"):
            assert told in chatbot.problem
        assert_off(generator)
        assert_quoted(last(chatbot.ask(QUESTION)), Notice.GENERATOR_OFF)


# -- as in this process


def about(generator: LlamaGenerator, question: str, *told: str) -> Sequence[Message]:
    sources = [
        Excerpt(article_id="a", title="A town", start=0, end=len(text), text=text) for text in told
    ]
    return compose(question, sources, TAUGHT, generator.count_tokens, CONTEXT).messages


TOLD = (
    "The bridge of Lindow opened in May 2012.",
    "Wardens counted nine pairs of avocets on the mud flats, some called them “snow­birds” 🐦.",
    "The harbour cost the town 900,000 euros to dredge.",
)
ASKED = ("How many pairs of avocets were counted?", "Who composed the opera about the emperor?")


@pytest.mark.parametrize("adapter", [ADAPTER, None], ids=["taught", "as shipped"])
def test_its_answers_are_those_of_llama_cpp_in_this_process_to_the_last_bit(
    adapter: Path | None, start: Start, generator: LlamaGenerator, taught: LlamaGenerator
) -> None:
    here, there = taught if adapter else generator, start(adapter=adapter)
    prompts = [about(here, question, *TOLD) for question in ASKED]
    shorts = [list(here.short_answer(prompt)) for prompt in prompts]
    assert [bool(short) for short in shorts] == 2 * [bool(adapter)]
    streams = [list(here.stream(prompt)) for prompt in (COLOUR, prompts[1])]
    assert [*map(there.count_tokens, prompts)] == [*map(here.count_tokens, prompts)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda asked: list(there.short_answer(asked)), prompts)) == shorts
        assert list(pool.map(lambda asked: list(there.stream(asked)), (COLOUR, prompts[1]))) == (
            streams
        )
    assert (there.context, there.ability) == (here.context, here.ability)
    assert (there.memory, here.memory) == (0, 0)


def test_a_text_that_is_no_model_is_told_as_in_this_process(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"not a model at all" * 100)
    here, there = LlamaGenerator(str(file), file, tmp_path, 1), start(file, adapter=None)
    told = []
    for generator in (here, there, there):
        with pytest.raises(ModelError, match="is no GGUF file") as error:
            generator.load()
        told.append(str(error.value))
    assert len(set(told)) == 1
    assert not there.problem, "that is no crash"


# -- stopped


def test_a_text_may_be_stopped_at_any_moment_and_nothing_of_it_stays(
    start: Start, taught: LlamaGenerator
) -> None:
    """After the last piece, too, when the stop comes too late."""
    generator = start()
    short = about(taught, ASKED[0], TOLD[1])
    for read, prompt in ((generator.short_answer, short), (generator.stream, COLOUR)):
        whole = list(read(prompt))
        assert len(whole) >= 3
        for steps in range(1, len(whole) + 1):
            with closing(read(prompt)) as stopped:
                assert [next(stopped) for _ in range(steps)] == whole[:steps]
                if steps >= len(whole) - 1:
                    time.sleep(0.1)  # until the end has been sent
                began = time.monotonic()
            assert time.monotonic() - began < 10, "it was not stopped"
            assert list(read(prompt)) == whole, f"stopped after {steps} of {len(whole)}"
    assert generator._free.qsize() == 2


def test_a_stop_that_nobody_waits_for_leaves_nothing_to_the_next_text(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when Ctrl-C is pressed twice: before a stop is sent, or while it is waited for."""
    generator = start(adapter=None)
    whole = list(generator.stream(COLOUR))
    for stop in (lambda its, pipe, number: None, lambda its, pipe, number: pipe.send_bytes(STOP)):
        monkeypatch.setattr(Worker, "_stop", stop)
        with closing(generator.stream(STORY)) as stopped:
            assert [bool(next(stopped)) for _ in range(3)] == [False, True, True]
        assert list(generator.stream(COLOUR)) == whole


STOP = b'"stop"'


def test_a_stop_that_comes_when_nothing_is_read_disturbs_nothing(start: Start) -> None:
    generator = start()
    before = list(generator.stream(COLOUR))
    for channel in generator._worker._channels:
        channel.send_bytes(STOP)
    assert [list(generator.stream(COLOUR)) for _ in range(2)] == [before, before]


def test_a_stopped_text_lets_the_next_one_in(start: Start) -> None:
    generator = start(adapter=None)
    with ThreadPoolExecutor() as pool:
        begun = [generator.stream(STORY) for _ in range(2)]
        assert [next(pieces) for pieces in begun] == ["", ""]
        third = pool.submit(lambda: "".join(generator.stream(COLOUR)))
        with pytest.raises(TimeoutError):
            third.result(timeout=0.5)
        begun[0].close()
        assert third.result(SOON_S)
        begun[1].close()


# -- ended


PARENT = """
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread
from rag.errors import GeneratorCrashed
from rag.models import SMOLLM2, generator_file
from rag.supervised import SupervisedGenerator

cache = Path(sys.argv[1])
file = generator_file(SMOLLM2.name, cache)
generator = SupervisedGenerator(SMOLLM2.name, file, cache, 1)
generator.load()
story = [{"role": "user", "content": "Tell a long story about the sea."}]
print(generator._worker.pid, flush=True)
"""

BUSY = """
def tell():
    with suppress(GeneratorCrashed):  # when the program ends first
        list(generator.stream(story))

for _ in range(2):
    Thread(target=tell, daemon=True).start()
while generator._free.qsize():
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
def parent(doing: str, cache: Path) -> "Iterator[subprocess.Popen[str]]":
    """Another program that uses the generator, in a process group of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT + doing, str(cache)],
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


def gone(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


@pytest.mark.parametrize("doing", [IDLE, BUSY], ids=["idle", "busy"])
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM, None], ids=str)
def test_the_process_ends_with_the_program_however_that_ends(
    by: signal.Signals | None, doing: str, own_cache: Path
) -> None:
    with parent(doing, own_cache) as program:
        pid = int(program.stdout.readline())
        assert program.stdout.readline().strip() in ("idle", "busy")
        assert not gone(pid)
        if by:
            program.send_signal(by)
        else:
            program.stdin.close()  # at which it ends as programs do
        until(lambda: gone(pid), most_s=5)
        assert program.stderr.read() == ""


def test_ctrl_c_reaches_the_program_and_not_the_process(own_cache: Path) -> None:
    with parent(INTERRUPTED, own_cache) as program:
        pid = program.stdout.readline().strip()
        assert program.stdout.readline() == "writing\n"
        os.killpg(program.pid, signal.SIGINT)
        assert program.stdout.readline() == "interrupted\n"
        assert program.stdout.readline() == f"{pid} True\n", "the process is another one"
        assert (program.wait(SOON_S), program.stderr.read()) == (0, "")


def test_the_process_ends_with_the_generator(own_cache: Path) -> None:
    file = generator_file(SMOLLM2.name, own_cache)
    generator = SupervisedGenerator(SMOLLM2.name, file, own_cache, 1, ADAPTER)
    generator.load()
    pid = generator._worker.pid
    del generator
    gc.collect()
    assert gone(pid)


def test_fifty_deaths_leave_no_descriptor_and_no_process(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "CRASHES_WITHIN_S", 0.0)
    generator = start()
    this = psutil.Process()
    generator._started_worker()
    before = this.num_fds()
    for death in range(50):
        noticed_by_a_question = death % 2
        kill(generator, signal.SIGKILL, wait=not noticed_by_a_question)
        if noticed_by_a_question:
            with pytest.raises(GeneratorCrashed):
                generator._ask(generator._worker, "variant")
        generator._started_worker()
    assert this.num_fds() == before
    assert len(processes()) == 1


def test_whoever_ends_it_while_others_ask_costs_them_an_answer_at_most(start: Start) -> None:
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
        given = {answer.result(SOON_S) for answer in answers}
    assert given - {""} == {ask(0)}
    assert not generator.problem
    assert generator._free.qsize() == 2


# -- what is kept of a CPU


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
KEPT = st.dictionaries(st.sampled_from(["passed", "ruled_out", "problem", "other"]), VALUES)
CONTENT = st.binary() | (VALUES | KEPT).map(lambda value: json.dumps(value).encode())


DEEP = b"[" * 100_000


@given(CONTENT | st.builds(lambda: DEEP))
@settings(deadline=None, max_examples=50)
def test_whatever_stands_in_the_file_of_verdicts_costs_no_more_than_what_stood_there(
    content: bytes,
) -> None:
    with (
        TemporaryDirectory() as folder,
        patch.object(backends, "library_id", lambda: "of today"),  # which takes long to find out
    ):
        file = Health(Path(folder)).verdicts._file
        file.parent.mkdir()
        file.write_bytes(content)
        kept: object = None
        with suppress(ValueError, RecursionError):
            kept = json.loads(content)
        read = Health(Path(folder)).verdicts.read()
        assert json.dumps(read) == json.dumps(kept if isinstance(kept, dict) else {})
        assert isinstance(last_problem(Path(folder)), str)
        assert_verdicts_are_kept(Path(folder))


def assert_verdicts_are_kept(folder: Path) -> None:
    health = Health(folder)
    health.starts("best")
    health.crashes(Death(signal.SIGILL, ""))
    health.starts("second")
    health.passes("second")
    assert "best" in Health(folder).ruled_out
    assert {"second"} <= Health(folder).passed <= health.passed - {"best"}
    assert last_problem(folder) == ""
    health.forget()
    assert (Health(folder).ruled_out, Health(folder).passed) == ({}, set())


@pytest.mark.parametrize("by", ["a file", "a read-only disk"])
def test_verdicts_that_cannot_be_kept_cost_nothing(
    by: str, small_disk: Path, write_protect: Callable[[Path], None]
) -> None:
    if by == "a file":
        (small_disk / "cpu").write_text("no folder")
    else:
        write_protect(small_disk)
    verdicts = CpuVerdicts(small_disk, "llama.cpp", "of today")
    verdicts.write({"passed": ["x"]})
    verdicts.forget()
    assert verdicts.read() == {}


def test_verdicts_hold_for_one_build_and_one_kind_of_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"passed": ["x"]}
    CpuVerdicts(tmp_path, "llama.cpp", "of today").write(told)
    assert CpuVerdicts(tmp_path, "llama.cpp", "of today").read() == told
    assert CpuVerdicts(tmp_path, "llama.cpp", "of tomorrow").read() == {}
    assert CpuVerdicts(tmp_path, "torch", "of today").read() == {}
    another = replace(this_cpu(), features=this_cpu().features | {"amx_tile"})
    monkeypatch.setattr(cpu, "this_cpu", lambda: another)
    assert CpuVerdicts(tmp_path, "llama.cpp", "of today").read() == {}
