"""The reading process says what reading here would say; a file that harms it costs only itself."""

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
from test_imports import HEAVY, loaded_by

from rag import articles, reading
from rag.articles import list_files
from rag.datatypes import Article, Skipped
from rag.errors import SourceError
from rag.reading import FileRead, ReaderProcess

NEWS = "the ferry left port ellery at noon , its captain said ."


def pieces(folder: Path, *, seconds: float = 30, memory: int = 4_000_000_000) -> list[FileRead]:
    with ReaderProcess(seconds, memory) as reader:
        return list(reader.read(list_files(folder).files))


def said(pieces: list[FileRead]) -> list[tuple[str, str, bool]]:
    """Of each thing that was read: its file, its text or the reason, and whether the file failed."""
    return [
        (piece.file.name, read.text if isinstance(read, Article) else read.reason, piece.failed)
        for piece in pieces
        for read in piece.articles
    ]


Bad = Callable[[str], None]


@pytest.fixture
def bad(monkeypatch: pytest.MonkeyPatch) -> Bad:
    """Has the process read `.bad` files, whose path is `path`, by the statements given."""

    def read_by(statements: str) -> None:
        code = f"""
import os, sys, time
from rag import articles
from rag.contents import article
count = [0]
kept = []
def read_bad(content):
    path = content.stream.name
    count[0] += 1
{textwrap.indent(textwrap.dedent(statements), "    ")}
    yield article(content.name, {{"text": content.text()}})
articles.READERS[".bad"] = read_bad
from rag.reading import work
work()
"""
        monkeypatch.setattr(reading, "WORKER", f"exec({code!r})")
        monkeypatch.setitem(articles.READERS, ".bad", lambda content: iter(()))

    return read_by


@pytest.fixture
def between(tmp_path: Path) -> Path:
    """A folder with a bad file between good ones."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in ("a.txt", "b.bad", "c.txt", "d.txt"):
        (folder / name).write_text(f"{NEWS} {name}")
    return folder


def good(name: str) -> tuple[str, str, bool]:
    return (name, f"{NEWS} {name}", False)


# -- what is read


def test_it_says_what_reading_here_says(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(f"---\ndate: 2021\nsource: Coast Courier\n---\n# 港口\n{NEWS}")
    (tmp_path / "b.jsonl").write_text('{"text": "\U0001f6a2 \\u2028"}\n{"text": "\\ud83d"}\n[]\n')
    (tmp_path / "c.png").write_bytes(b"\x89PNG")
    (tmp_path / "d.txt").write_text("")
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text(NEWS)
    read = [read for piece in pieces(tmp_path) for read in piece.articles]
    assert read == list(articles.read(tmp_path))
    assert {type(one) for one in read} == {Article, Skipped}


def test_every_file_ends_with_a_last_piece_even_one_that_holds_nothing(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.txt", "c.jsonl"):
        (tmp_path / name).write_text("")
    told = [(piece.file.name, len(piece.articles), piece.last) for piece in pieces(tmp_path)]
    assert told == [("a.jsonl", 0, True), ("b.txt", 1, True), ("c.jsonl", 0, True)]


def test_a_large_file_comes_in_pieces_in_order(tmp_path: Path) -> None:
    rows = [{"text": f"row {number}"} for number in range(2000)]
    rows += [{"text": f"{number}{'x' * 1_500_000}"} for number in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    got = pieces(tmp_path)
    texts = [text for _, text, _ in said(got)]
    assert texts == [row["text"] for row in rows]
    assert [piece.last for piece in got] == [False] * (len(got) - 1) + [True]
    assert max(len(piece.articles) for piece in got) <= 256
    assert max(sum(len(text) for _, text, _ in said([piece])) for piece in got) <= 6_000_000


def test_more_files_than_are_asked_for_at_once_come_in_order(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number:03}.txt").write_text(f"{NEWS} {number:03}.txt")
    assert said(pieces(tmp_path)) == [good(f"{number:03}.txt") for number in range(100)]


def test_whoever_takes_long_over_a_piece_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"text": f"{n} {'x' * 10_000}"}) + "\n" for n in range(600))
    )
    (tmp_path / "z.txt").write_text(NEWS)
    took = []
    with ReaderProcess(seconds=0.5) as reader:
        for piece in reader.read(list_files(tmp_path).files):
            time.sleep(0.8)
            took.append(piece)
    assert len(took) == 4
    assert not any(piece.failed for piece in took)


def test_no_files_need_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WORKER", "raise SystemExit(1)")
    with ReaderProcess() as reader:
        assert list(reader.read([])) == []


def test_one_reader_reads_one_source_after_another(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{NEWS} a.txt")
    with ReaderProcess() as reader:
        for _ in range(2):
            assert said(list(reader.read(list_files(tmp_path).files))) == [good("a.txt")]


# -- what a file does to it


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param("while True: pass", id="in Python"),
        pytest.param("time.sleep(1000)", id="asleep"),
        pytest.param(
            "import re; re.match('(a+)+$', 'a' * 60 + 'b')", id="in C, with the lock held"
        ),
        pytest.param("import signal; signal.alarm(0); time.sleep(1000)", id="with the alarm off"),
    ],
)
def test_a_file_that_hangs_costs_only_itself(bad: Bad, between: Path, statements: str) -> None:
    bad(statements)
    began = time.monotonic()
    assert said(pieces(between, seconds=1)) == [
        good("a.txt"),
        ("b.bad", "reading it takes longer than 1 seconds", True),
        good("c.txt"),
        good("d.txt"),
    ]
    assert time.monotonic() - began < 10


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
def test_a_file_that_crashes_its_parser_costs_only_itself(
    bad: Bad, between: Path, statements: str
) -> None:
    bad(statements)
    assert said(pieces(between)) == [
        good("a.txt"),
        ("b.bad", "it crashes what reads it", True),
        good("c.txt"),
        good("d.txt"),
    ]


def test_a_file_that_eats_memory_costs_only_itself(bad: Bad, between: Path) -> None:
    bad("while True: kept.append(bytearray(50_000_000))")
    assert said(pieces(between, memory=600_000_000)) == [
        good("a.txt"),
        ("b.bad", "reading it takes more than 0.6 GB of memory", True),
        good("c.txt"),
        good("d.txt"),
    ]


def test_a_file_is_not_blamed_for_what_those_before_it_left_behind(
    bad: Bad, tmp_path: Path
) -> None:
    for name in ("a.bad", "b.bad", "c.bad"):
        (tmp_path / name).write_text(f"{NEWS} {name}")
    bad("kept.append(bytearray(300_000_000))")
    found = said(pieces(tmp_path, memory=600_000_000))
    assert found == [good("a.bad"), good("b.bad"), good("c.bad")]


def test_what_was_read_before_a_crash_is_there(bad: Bad, tmp_path: Path) -> None:
    bad(
        """
        for number in range(600):
            yield article(f"{number}", {"text": f"row {number}"})
        os.abort()
        """
    )
    (tmp_path / "a.bad").write_text(NEWS)
    got = pieces(tmp_path)
    assert [piece.failed for piece in got] == [False, False, True]
    assert [text for _, text, _ in said(got)][:512] == [f"row {number}" for number in range(512)]


def test_every_file_may_be_bad(bad: Bad, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.bad").write_text(NEWS)
    bad("os.abort()")
    assert [failed for _, _, failed in said(pieces(tmp_path))] == [True] * 5


def test_what_libraries_say_reaches_nobody(
    bad: Bad, between: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad(
        """
        import logging, warnings
        print("noise"); print("noise", file=sys.stderr); os.write(1, b"noise"); os.write(2, b"noise")
        warnings.warn("noise"); logging.error("noise")
        """
    )
    assert said(pieces(between))[1] == good("b.bad")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "statements",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import urllib.request; urllib.request.urlopen('http://localhost/')",
        "import subprocess; subprocess.run(['true'])",
    ],
)
def test_parsers_are_kept_off_the_network(bad: Bad, between: Path, statements: str) -> None:
    bad(statements)
    _, told, _, _ = said(pieces(between))
    assert "is not for those who read files" in told[1]


# -- files that change


def test_a_file_that_changes_once_while_it_is_read_is_read_again(bad: Bad, between: Path) -> None:
    bad(
        """
        if count[0] == 1:
            with open(path, "a") as file:
                file.write(" and more")
        """
    )
    assert said(pieces(between))[1] == ("b.bad", f"{NEWS} b.bad and more", False)


def test_a_file_that_changes_all_the_time_has_failed(bad: Bad, between: Path) -> None:
    bad("open(path, 'a').write('!')")
    got = said(pieces(between))
    assert got[2] == ("b.bad", "it changes while it is being read", True)
    assert got[3:] == [good("c.txt"), good("d.txt")]


def test_a_large_file_that_changes_while_it_is_read_is_not_read_twice(
    bad: Bad, tmp_path: Path
) -> None:
    bad(
        """
        for number in range(300):
            yield article(f"{number}", {"text": f"row {number}"})
        open(path, "a").write("!")
        """
    )
    (tmp_path / "a.bad").write_text(NEWS)
    got = said(pieces(tmp_path))
    assert [text for _, text, _ in got][:300] == [f"row {number}" for number in range(300)]
    assert got[-1] == ("a.bad", "it changes while it is being read", True)
    assert len(got) == 302


def test_a_file_that_is_gone_is_a_reason(between: Path) -> None:
    files = list_files(between).files
    (between / "a.txt").unlink()
    with ReaderProcess() as reader:
        told = said(list(reader.read(files)))
    assert told[0] == ("a.txt", "it cannot be read: No such file or directory", False)
    assert told[2:] == [good("c.txt"), good("d.txt")]


# -- how it begins and ends


def test_it_loads_nothing_heavy_and_no_format_before_it_is_needed() -> None:
    formats = {"lxml", "trafilatura", "pyarrow", "numpy", "docx", "pypdfium2", "feedparser", "yaml"}
    assert loaded_by("import rag.reading").isdisjoint({*HEAVY, *formats, "pydantic"})


def test_a_process_that_does_not_start_is_told(
    monkeypatch: pytest.MonkeyPatch, between: Path
) -> None:
    monkeypatch.setattr(reading, "WORKER", "import rag.nothing")
    with pytest.raises(SourceError, match="does not start"):
        pieces(between)


def test_closing_it_from_elsewhere_ends_the_reading(bad: Bad, between: Path) -> None:
    bad("time.sleep(1000)")
    with ReaderProcess() as reader:
        Timer(1.0, reader.close).start()
        assert said(list(reader.read(list_files(between).files))) == [good("a.txt")]


def test_its_process_is_gone_when_reading_stops_in_the_middle(between: Path) -> None:
    with ReaderProcess() as reader:
        for _ in reader.read(list_files(between).files):
            process = reader._process
            break
    assert process is not None
    assert process.poll() is not None


PARENT = """
import sys, time
from pathlib import Path
from rag import reading
from rag.articles import list_files
reading.WORKER = "from rag import articles; import re, time; {}; from rag.reading import work; work()"
with reading.ReaderProcess(seconds=4) as reader:
    for piece in reader.read(list_files(Path(sys.argv[1])).files):
        print(reader._process.pid, flush=True)
        {}
"""
HANG = "articles.READERS['.md'] = lambda content: iter([re.match('(a+)+$', 'a' * 60 + 'b')])"


@pytest.fixture
def parent(between: Path) -> Iterator[Callable[[str, str], tuple[subprocess.Popen[str], int]]]:
    """Starts a program that reads, by statements for its process and between the pieces; both pids."""
    started = []
    (between / "a.txt").rename(between / "a.jsonl")  # the first piece
    (between / "b.bad").rename(between / "b.md")

    def start(before: str, meanwhile: str) -> tuple[subprocess.Popen[str], int]:
        code = PARENT.format(before, meanwhile)
        command = [sys.executable, "-c", code, str(between)]
        running = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(running)
        assert running.stdout is not None
        return running, int(running.stdout.readline())

    yield start
    for running in started:
        running.kill()
        running.communicate()


def ends(pid: int, within: float) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
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
    ("before", "within"),
    [pytest.param("pass", 2, id="idle"), pytest.param(HANG, 8, id="hanging")],
)
def test_it_dies_with_whoever_started_it(
    parent: Callable[[str, str], tuple[subprocess.Popen[str], int]], before: str, within: float
) -> None:
    running, pid = parent(before, "time.sleep(1000)")
    assert not ends(pid, 0.5)
    running.send_signal(signal.SIGKILL)
    assert ends(pid, within)


def test_an_interrupt_at_the_terminal_is_for_whoever_started_it(
    parent: Callable[[str, str], tuple[subprocess.Popen[str], int]],
) -> None:
    running, pid = parent("time.sleep(0)", "time.sleep(1000)")
    time.sleep(0.3)
    assert os.getpgid(pid) != os.getpgid(running.pid), "the terminal interrupts a whole group"
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=10)
    assert errors.count("Traceback") == 1
    assert "KeyboardInterrupt" in errors
    assert ends(pid, 2)
