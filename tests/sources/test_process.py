"""Isolation of the parsers: results are those of reading in this process, and only bad files are lost."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer

import pytest
from source_files import read_source
from test_imports import HEAVY, loaded_by

from rag.errors import SourceError
from rag.sources import process
from rag.sources.process import ReaderProcess, ReadResult
from rag.sources.registry import READERS
from rag.sources.scan import list_files
from rag.types import Article, Skipped

NEWS = "the ferry left port ellery at noon , its captain said ."


def read_folder(
    folder: Path, *, timeout_s: float = 30, max_memory: int = 4_000_000_000
) -> list[ReadResult]:
    with ReaderProcess(timeout_s, max_memory) as reader:
        return list(reader.read(list_files(folder).files))


def summarise(batches: list[ReadResult]) -> list[tuple[str, str, bool]]:
    """Return the file, the text or reason, and whether the file failed, of everything read."""
    return [
        (
            batch.file.name,
            entry.text if isinstance(entry, Article) else str(entry.reason),
            batch.failed,
        )
        for batch in batches
        for entry in batch.articles
    ]


InstallBadReader = Callable[[str], None]


@pytest.fixture
def install_bad_reader(monkeypatch: pytest.MonkeyPatch) -> InstallBadReader:
    """Returns a function that makes the process read `.bad` files by running some statements.

    The statements find the path of the file in `path`.
    """

    def install(statements: str) -> None:
        code = f"""
import os, sys, time
from rag.sources.articles import build_article
from rag.sources.registry import READERS
count = [0]
kept = []
def read_bad(content):
    path = content.stream.name
    count[0] += 1
{textwrap.indent(textwrap.dedent(statements), "    ")}
    yield build_article(content.name, {{"text": content.read_text()}})
READERS[".bad"] = read_bad
from rag.sources.worker import work
work()
"""
        monkeypatch.setattr(process, "WORKER_CODE", f"exec({code!r})")
        monkeypatch.setitem(READERS, ".bad", lambda content: iter(()))

    return install


@pytest.fixture
def folder_with_bad_file(tmp_path: Path) -> Path:
    """A folder with a `.bad` file between text files."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in ("a.txt", "b.bad", "c.txt", "d.txt"):
        (folder / name).write_text(f"{NEWS} {name}")
    return folder


def intact(name: str) -> tuple[str, str, bool]:
    return (name, f"{NEWS} {name}", False)


# -- results


def test_results_are_those_of_reading_in_this_process(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(f"---\ndate: 2021\nsource: Coast Courier\n---\n# 港口\n{NEWS}")
    (tmp_path / "b.jsonl").write_text('{"text": "\U0001f6a2 \\u2028"}\n{"text": "\\ud83d"}\n[]\n')
    (tmp_path / "c.png").write_bytes(b"\x89PNG")
    (tmp_path / "d.txt").write_text("")
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text(NEWS)
    results = [result for batch in read_folder(tmp_path) for result in batch.articles]
    assert results == list(read_source(tmp_path))
    assert {type(result) for result in results} == {Article, Skipped}


def test_every_file_ends_with_a_last_batch_even_an_empty_one(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.txt", "c.jsonl"):
        (tmp_path / name).write_text("")
    batches = read_folder(tmp_path)
    assert [(batch.file.name, len(batch.articles), batch.last) for batch in batches] == [
        ("a.jsonl", 0, True),
        ("b.txt", 1, True),
        ("c.jsonl", 0, True),
    ]


def test_a_large_file_is_sent_in_batches_in_order(tmp_path: Path) -> None:
    rows = [{"text": f"row {number}"} for number in range(2000)]
    rows += [{"text": f"{number}{'x' * 1_500_000}"} for number in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    batches = read_folder(tmp_path)
    texts = [text for _, text, _ in summarise(batches)]
    assert texts == [row["text"] for row in rows]
    assert [batch.last for batch in batches] == [False] * (len(batches) - 1) + [True]
    assert max(len(batch.articles) for batch in batches) <= 256
    sizes = [sum(len(text) for _, text, _ in summarise([batch])) for batch in batches]
    assert max(sizes) <= 6_000_000


def test_many_files_are_read_in_order(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number:03}.txt").write_text(f"{NEWS} {number:03}.txt")
    assert summarise(read_folder(tmp_path)) == [intact(f"{number:03}.txt") for number in range(100)]


def test_a_slow_consumer_does_not_time_out(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"text": f"{n} {'x' * 10_000}"}) + "\n" for n in range(600))
    )
    (tmp_path / "z.txt").write_text(NEWS)
    batches = []
    with ReaderProcess(timeout_s=0.5) as reader:
        for batch in reader.read(list_files(tmp_path).files):
            time.sleep(0.8)
            batches.append(batch)
    assert len(batches) == 4
    assert not any(batch.failed for batch in batches)


def test_no_process_is_started_without_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "WORKER_CODE", "raise SystemExit(1)")
    with ReaderProcess() as reader:
        assert list(reader.read([])) == []


def test_one_reader_can_read_several_sources(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{NEWS} a.txt")
    with ReaderProcess() as reader:
        for _ in range(2):
            assert summarise(list(reader.read(list_files(tmp_path).files))) == [intact("a.txt")]


# -- files that harm the process


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param("while True: pass", id="in Python"),
        pytest.param("time.sleep(1000)", id="asleep"),
        pytest.param("import re; re.match('(a+)+$', 'a' * 60 + 'b')", id="in C, holding the GIL"),
        pytest.param("import signal; signal.alarm(0); time.sleep(1000)", id="with the alarm off"),
    ],
)
def test_a_file_that_hangs_does_not_affect_the_others(
    install_bad_reader: InstallBadReader, folder_with_bad_file: Path, statements: str
) -> None:
    install_bad_reader(statements)
    start = time.monotonic()
    assert summarise(read_folder(folder_with_bad_file, timeout_s=1)) == [
        intact("a.txt"),
        ("b.bad", "reading it takes longer than 1 seconds", True),
        intact("c.txt"),
        intact("d.txt"),
    ]
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param("os.abort()", id="abort"),
        pytest.param("import ctypes; ctypes.string_at(0)", id="segmentation fault"),
        pytest.param("os._exit(0)", id="exit"),
        pytest.param("sys.exit(1)", id="exit from Python"),
        pytest.param("os.kill(os.getpid(), 9)", id="killed"),
        pytest.param("os.closerange(3, 100)", id="closes its pipe"),
    ],
)
def test_a_file_that_crashes_its_parser_does_not_affect_the_others(
    install_bad_reader: InstallBadReader, folder_with_bad_file: Path, statements: str
) -> None:
    install_bad_reader(statements)
    assert summarise(read_folder(folder_with_bad_file)) == [
        intact("a.txt"),
        ("b.bad", "it crashes the process that reads it", True),
        intact("c.txt"),
        intact("d.txt"),
    ]


def test_a_file_that_exhausts_memory_does_not_affect_the_others(
    install_bad_reader: InstallBadReader, folder_with_bad_file: Path
) -> None:
    install_bad_reader("while True: kept.append(bytearray(50_000_000))")
    assert summarise(read_folder(folder_with_bad_file, max_memory=600_000_000)) == [
        intact("a.txt"),
        ("b.bad", "reading it takes more than 0.6 GB of memory", True),
        intact("c.txt"),
        intact("d.txt"),
    ]


def test_a_file_is_not_blamed_for_memory_that_earlier_files_leaked(
    install_bad_reader: InstallBadReader, tmp_path: Path
) -> None:
    for name in ("a.bad", "b.bad", "c.bad"):
        (tmp_path / name).write_text(f"{NEWS} {name}")
    install_bad_reader("kept.append(bytearray(300_000_000))")
    results = summarise(read_folder(tmp_path, max_memory=600_000_000))
    assert results == [intact("a.bad"), intact("b.bad"), intact("c.bad")]


def test_what_was_read_before_a_crash_is_kept(
    install_bad_reader: InstallBadReader, tmp_path: Path
) -> None:
    install_bad_reader(
        """
        for number in range(600):
            yield build_article(f"{number}", {"text": f"row {number}"})
        os.abort()
        """
    )
    (tmp_path / "a.bad").write_text(NEWS)
    batches = read_folder(tmp_path)
    assert [batch.failed for batch in batches] == [False, False, True]
    assert [text for _, text, _ in summarise(batches)][:512] == [
        f"row {number}" for number in range(512)
    ]


def test_every_file_may_crash_the_process(
    install_bad_reader: InstallBadReader, tmp_path: Path
) -> None:
    for number in range(5):
        (tmp_path / f"{number}.bad").write_text(NEWS)
    install_bad_reader("os.abort()")
    assert [failed for _, _, failed in summarise(read_folder(tmp_path))] == [True] * 5


def test_output_of_libraries_is_discarded(
    install_bad_reader: InstallBadReader,
    folder_with_bad_file: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    install_bad_reader(
        """
        import logging, warnings
        print("noise"); print("noise", file=sys.stderr); os.write(1, b"noise"); os.write(2, b"noise")
        warnings.warn("noise"); logging.error("noise")
        """
    )
    assert summarise(read_folder(folder_with_bad_file))[1] == intact("b.bad")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "statements",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import urllib.request; urllib.request.urlopen('http://localhost/')",
        "import subprocess; subprocess.run(['true'])",
    ],
)
def test_parsers_cannot_use_the_network_or_start_processes(
    install_bad_reader: InstallBadReader, folder_with_bad_file: Path, statements: str
) -> None:
    install_bad_reader(statements)
    _, bad_result, _, _ = summarise(read_folder(folder_with_bad_file))
    assert "is not allowed in the process that reads files" in bad_result[1]


# -- files that change


def test_a_file_that_changes_once_while_it_is_read_is_read_again(
    install_bad_reader: InstallBadReader, folder_with_bad_file: Path
) -> None:
    install_bad_reader(
        """
        if count[0] == 1:
            with open(path, "a") as file:
                file.write(" and more")
        """
    )
    assert summarise(read_folder(folder_with_bad_file))[1] == (
        "b.bad",
        f"{NEWS} b.bad and more",
        False,
    )


def test_a_file_that_keeps_changing_fails(
    install_bad_reader: InstallBadReader, folder_with_bad_file: Path
) -> None:
    install_bad_reader("open(path, 'a').write('!')")
    results = summarise(read_folder(folder_with_bad_file))
    assert results[2] == ("b.bad", "it changes while it is being read", True)
    assert results[3:] == [intact("c.txt"), intact("d.txt")]


def test_a_large_file_that_changes_while_it_is_read_fails_without_a_second_attempt(
    install_bad_reader: InstallBadReader, tmp_path: Path
) -> None:
    install_bad_reader(
        """
        for number in range(300):
            yield build_article(f"{number}", {"text": f"row {number}"})
        open(path, "a").write("!")
        """
    )
    (tmp_path / "a.bad").write_text(NEWS)
    results = summarise(read_folder(tmp_path))
    assert [text for _, text, _ in results][:300] == [f"row {number}" for number in range(300)]
    assert results[-1] == ("a.bad", "it changes while it is being read", True)
    assert len(results) == 302


def test_a_file_deleted_after_the_listing_is_skipped_with_a_reason(
    folder_with_bad_file: Path,
) -> None:
    files = list_files(folder_with_bad_file).files
    (folder_with_bad_file / "a.txt").unlink()
    with ReaderProcess() as reader:
        results = summarise(list(reader.read(files)))
    assert results[0] == ("a.txt", "it cannot be read: No such file or directory", False)
    assert results[2:] == [intact("c.txt"), intact("d.txt")]


# -- start and end of the process


def test_no_parser_and_nothing_heavy_is_imported_before_it_is_needed() -> None:
    formats = {"lxml", "trafilatura", "pyarrow", "numpy", "docx", "pypdfium2", "feedparser", "yaml"}
    assert loaded_by("import rag.sources.process, rag.sources.worker").isdisjoint(
        {*HEAVY, *formats, "pydantic"}
    )


def test_a_process_that_fails_to_start_is_an_error(
    monkeypatch: pytest.MonkeyPatch, folder_with_bad_file: Path
) -> None:
    monkeypatch.setattr(process, "WORKER_CODE", "import rag.nothing")
    with pytest.raises(SourceError, match="failed to start"):
        read_folder(folder_with_bad_file)


def test_closing_the_reader_from_another_thread_ends_the_reading(
    install_bad_reader: InstallBadReader, folder_with_bad_file: Path
) -> None:
    install_bad_reader("time.sleep(1000)")
    with ReaderProcess() as reader:
        Timer(1.0, reader.close).start()
        assert summarise(list(reader.read(list_files(folder_with_bad_file).files))) == [
            intact("a.txt")
        ]


def test_the_process_is_gone_when_reading_stops_early(folder_with_bad_file: Path) -> None:
    with ReaderProcess() as reader:
        for _ in reader.read(list_files(folder_with_bad_file).files):
            pid = reader.pid
            break
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


PARENT = """
import sys, time
from pathlib import Path
from rag.sources import process
from rag.sources.scan import list_files
process.WORKER_CODE = "import re, time; from rag.sources import registry, worker; {}; worker.work()"
with process.ReaderProcess(timeout_s=4) as reader:
    for batch in reader.read(list_files(Path(sys.argv[1])).files):
        print(reader.pid, flush=True)
        {}
"""
HANG = "registry.READERS['.md'] = lambda content: iter([re.match('(a+)+$', 'a' * 60 + 'b')])"


StartParent = Callable[[str, str], tuple["subprocess.Popen[str]", int]]


@pytest.fixture
def start_parent(folder_with_bad_file: Path) -> Iterator[StartParent]:
    """Returns a function that starts a program which reads the folder.

    It takes statements to run in the reading process before it starts to read, and statements to run
    in the program after each batch. It returns the program and the id of the reading process.
    """
    programs = []
    (folder_with_bad_file / "a.txt").rename(folder_with_bad_file / "a.jsonl")  # the first batch
    (folder_with_bad_file / "b.bad").rename(folder_with_bad_file / "b.md")

    def start(in_worker: str, after_batch: str) -> tuple[subprocess.Popen[str], int]:
        code = PARENT.format(in_worker, after_batch)
        command = [sys.executable, "-c", code, str(folder_with_bad_file)]
        program = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        programs.append(program)
        assert program.stdout is not None
        return program, int(program.stdout.readline())

    yield start
    for program in programs:
        program.kill()
        program.communicate()


def ends(pid: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/status")
        if status.exists() and "\nState:\tZ" in status.read_text():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("in_worker", "timeout_s"),
    [pytest.param("pass", 2, id="idle"), pytest.param(HANG, 8, id="hanging")],
)
def test_the_process_dies_with_its_parent(
    start_parent: StartParent, in_worker: str, timeout_s: float
) -> None:
    program, pid = start_parent(in_worker, "time.sleep(1000)")
    assert not ends(pid, 0.5)
    program.send_signal(signal.SIGKILL)
    assert ends(pid, timeout_s)


@pytest.mark.slow
def test_an_interrupt_at_the_terminal_reaches_only_the_parent(
    start_parent: StartParent,
) -> None:
    program, pid = start_parent("time.sleep(0)", "time.sleep(1000)")
    time.sleep(0.3)
    assert os.getpgid(pid) != os.getpgid(program.pid), (
        "the terminal interrupts a whole process group"
    )
    os.killpg(program.pid, signal.SIGINT)
    _, errors = program.communicate(timeout=10)
    assert errors.count("Traceback") == 1
    assert "KeyboardInterrupt" in errors
    assert ends(pid, 2)
