"""Invalid input: the real command prints one line on stderr, and leaves the index unchanged.

The index is built by a fake encoder with the real one's name. Errors occur before anything is encoded,
and what succeeds needs no encoding, so that no command has to load a model.
"""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from errno import EACCES, EDQUOT, EIO, ENOSPC, EROFS
from pathlib import Path
from shutil import disk_usage

import pytest
from fakes import FakeEncoder, SilentProgress
from fixture_types import IndexBytes, RunRag, WriteProtect

from rag.cli.main import main
from rag.errors import IndexUnusable, NoIndex
from rag.indexing.sync import sync
from rag.models.embedding.encoder import Encoder
from rag.models.resolve import MINILM
from rag.sources.registry import known_formats
from rag.store.reader import IndexReader
from rag.store.snapshot import write_error, writer_lock

Completed = subprocess.CompletedProcess[str]

FORMATS = known_formats()
VALID_ROW = '{"id": "good", "text": "The ferry left Port Ellery at noon."}\n'


def line(completed: Completed, code: int = 1) -> str:
    """The command's one line of error message, without its `rag: `."""
    assert completed.returncode == code, completed.stderr
    assert "Traceback" not in completed.stderr
    *progress, last = completed.stderr.splitlines()
    assert last.startswith("rag: ")
    tasks = ("Reading ", "Encoding ")
    assert all(message.startswith(tasks) or not message.strip() for message in progress), (
        completed.stderr
    )
    assert completed.stdout == ""
    return last.removeprefix("rag: ")


@pytest.fixture
def news(tmp_path: Path) -> Path:
    folder = tmp_path / "news"
    folder.mkdir()
    (folder / "good.jsonl").write_text(VALID_ROW)
    return folder


@pytest.fixture
def matching_encoder(encoder: Encoder) -> FakeEncoder:
    """A fake encoder with the name and fingerprint of the real one."""
    return FakeEncoder(MINILM.name, fingerprint=encoder.fingerprint)


BuildIndex = Callable[[Path], Path]
"""Builds an index of `news` in a folder, and returns the folder."""


@pytest.fixture
def build_index(matching_encoder: FakeEncoder, news: Path) -> BuildIndex:
    def build(folder: Path) -> Path:
        sync(folder, matching_encoder, [news], rebuild=False, progress=SilentProgress())
        return folder

    return build


@pytest.fixture
def index(build_index: BuildIndex, tmp_path: Path) -> Path:
    return build_index(tmp_path / "index")


# -- sources


def test_a_missing_path(
    index: Path, tmp_path: Path, run_in_process: RunRag, index_bytes: IndexBytes
) -> None:
    before = index_bytes(index)
    completed = run_in_process("index", tmp_path / "nowhere", "--index", index)
    assert line(completed) == f"The source {tmp_path}/nowhere does not exist. Correct the path."
    assert index_bytes(index) == before


def test_an_empty_folder(
    index: Path, tmp_path: Path, run_in_process: RunRag, index_bytes: IndexBytes
) -> None:
    before = index_bytes(index)
    (tmp_path / "empty").mkdir()
    completed = run_in_process("index", tmp_path / "empty", "--index", index)
    assert line(completed) == (
        f"No article could be read from {tmp_path}/empty."
        f" Give a file or folder with {FORMATS} files, or remove the source with"
        " `rag index --remove`."
    )
    assert index_bytes(index) == before


def test_a_failed_first_run_leaves_no_index(tmp_path: Path, run_in_process: RunRag) -> None:
    (tmp_path / "empty").mkdir()
    line(run_in_process("index", tmp_path / "empty", "--index", tmp_path / "new"))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["lock"]


UNREADABLE = {
    "binary.txt": (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        "binary.txt was skipped: it is not UTF-8 text; save it as UTF-8, or as UTF-16 with a byte"
        " order mark.",
    ),
    "malformed.jsonl": (
        b'{"text": "The ferry sank."\n',
        "malformed.jsonl#1 was skipped: not JSON: Expecting ',' delimiter at column 27.",
    ),
    "photo.png": (
        b"\x89PNG",
        f"photo.png was skipped: the format .png is not supported; supported are {FORMATS}.",
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_source_with_nothing_readable(
    index: Path, tmp_path: Path, run_in_process: RunRag, index_bytes: IndexBytes, name: str
) -> None:
    before = index_bytes(index)
    content, message = UNREADABLE[name]
    (tmp_path / name).write_bytes(content)
    assert line(run_in_process("index", tmp_path / name, "--index", index)) == (
        f"No article could be read from {tmp_path}/{name}. {message}"
        f" Give a file or folder with {FORMATS} files, or remove the source with"
        " `rag index --remove`."
    )
    assert index_bytes(index) == before


def test_unreadable_files_beside_valid_articles_are_skipped_with_a_reason(
    index: Path, news: Path, run_in_process: RunRag
) -> None:
    (news / "binary.txt").write_bytes(b"\0\1\2\xff")
    (news / "more.jsonl").write_text('{"text": \n{"id": "good", "text": "Another ferry."}\n[]\n')
    completed = run_in_process("index", news, "--index", index, "--json")
    assert completed.returncode == 0, completed.stderr
    report = json.loads(completed.stdout)
    assert report["articles"] == {
        "added": 0,
        "changed": 0,
        "removed": 0,
        "unchanged": 1,
        "skipped": 4,
    }
    reasons = {skipped["path"]: skipped["reason"] for skipped in report["skipped"]}
    assert reasons.keys() == {"binary.txt", "more.jsonl#1", "good", "more.jsonl#3"}
    assert reasons["binary.txt"].startswith("it is not UTF-8 text")
    assert reasons["more.jsonl#1"].startswith("not JSON: Expecting value at column ")
    assert reasons["good"] == "another article of this source has the same id"
    assert reasons["more.jsonl#3"] == "not an object but list"


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux reports the peak memory of a process"
)
def test_a_line_of_200_mb_is_skipped_and_never_read_into_memory(index: Path, news: Path) -> None:
    with (news / "huge.jsonl").open("wb") as file:
        file.write(b'{"text": "')
        file.seek(200_000_000, os.SEEK_CUR)  # a hole, read as zeros
        file.write(b'"}\n' + VALID_ROW.encode())
    code = """
import re, sys
from pathlib import Path
from rag.sources.registry import known_formats
from rag.cli.main import main
from rag.store.snapshot import writer_lock
try:
    main()
finally:
    print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
    command = [sys.executable, "-c", code, "index", str(news), "--index", str(index)]
    completed = subprocess.run(
        [*command, "--json"], capture_output=True, encoding="utf-8", timeout=300
    )
    assert "Traceback" not in completed.stderr
    output, peak_kb = completed.stdout.splitlines()
    assert [(s["path"], s["reason"]) for s in json.loads(output)["skipped"]] == [
        ("huge.jsonl#1", "the line is longer than 20,000,000 bytes"),
        ("good", "another article of this source has the same id"),
    ], "and the row behind it is read"
    assert json.loads(output)["articles"]["unchanged"] == 1
    assert int(peak_kb) < 200_000_000 / 1024


# -- questions


@pytest.fixture
def run_here(run_in_process: RunRag, encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> RunRag:
    """Runs the command in this process, in which the encoder is loaded already."""
    monkeypatch.setattr(Encoder, "from_settings", lambda _: encoder)
    return run_in_process


@pytest.mark.parametrize("command", ["ask", "search"])
@pytest.mark.parametrize(
    ("question", "expected"),
    [
        pytest.param("", "The question is empty. Ask something.", id="empty"),
        pytest.param(" \n ", "The question is empty. Ask something.", id="white space"),
        pytest.param(
            "why " * 12_500,
            "The question is 50,000 characters long; 4,000 are read at most. Shorten it.",
            id="50,000 characters",
        ),
    ],
)
def test_an_invalid_question(
    index: Path,
    run_here: RunRag,
    index_bytes: IndexBytes,
    command: str,
    question: str,
    expected: str,
) -> None:
    before = index_bytes(index)
    assert line(run_here(command, question, "--index", index)) == expected
    assert index_bytes(index) == before


@pytest.mark.parametrize("k", ["0", "-3", "1001"])
def test_a_number_of_passages_out_of_range(index: Path, run_in_process: RunRag, k: str) -> None:
    completed = run_in_process("search", "why?", "--index", index, "--k", k)
    assert (
        line(completed, code=2)
        == f"Invalid value for --k: {k}. Expected an integer from 1 to 1000."
    )


def test_no_question_at_all(index: Path, run_here: RunRag) -> None:
    message = line(run_here("ask", "--index", index), code=2)
    assert message == "The argument QUESTION is missing. Pass a question, or --questions FILE."


def test_a_file_of_questions_with_an_invalid_line(
    index: Path, tmp_path: Path, run_here: RunRag
) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text('\n{"query": "why?"}\n')
    message = line(run_here("ask", "--questions", file, "--index", index))
    assert message.startswith(f"{file}, line 2 is not a question. Write ")


def test_no_index(tmp_path: Path, run_in_process: RunRag) -> None:
    for command in (["search", "why?"], ["ask", "why?"], ["info"]):
        message = line(run_in_process(*command, "--index", tmp_path / "none"))
        assert message == f"There is no index in {tmp_path}/none. Run `rag index` to build it."


# -- the index


@pytest.mark.parametrize("words", [("ask", "why?"), ("search", "why?")], ids=lambda w: w[0])
def test_an_index_made_by_another_encoder(
    index: Path,
    tmp_path: Path,
    run_in_process: RunRag,
    index_bytes: IndexBytes,
    words: tuple[str, ...],
) -> None:
    before = index_bytes(index)
    other = tmp_path / "encoder"
    other.mkdir()
    (other / "modules.json").write_text("[]")
    completed = run_in_process(*words, RAG_ENCODER=str(other), RAG_INDEX=str(index))
    assert line(completed) == (
        f"The index in {index} was built with the encoder {MINILM.name}, not {other}."
        " Run `rag index` to encode it again, or set RAG_ENCODER to the encoder of the index."
    )
    assert index_bytes(index) == before


def test_two_writers_at_once(index: Path, run_rag: RunRag, index_bytes: IndexBytes) -> None:
    before = index_bytes(index)
    with writer_lock(index):
        completed = run_rag("index", "--index", index)
        assert index_bytes(index) == before
    assert re.sub(r"\d\d:\d\d:\d\d", "TIME", line(completed)) == (
        f"Another `rag index` (process {os.getpid()}, since TIME) is running on {index}."
        " The index was not changed. Wait for it to end, or stop it."
    )


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """An article larger than a small disk."""
    path = tmp_path / "large.txt"
    path.write_text("the ferry left port ellery at noon . nobody saw it again .\n" * 25_000)
    return path


def test_a_full_disk(
    build_index: BuildIndex, small_disk: Path, large: Path, run_rag: RunRag, index_bytes: IndexBytes
) -> None:
    index = build_index(small_disk / "index")
    before = index_bytes(index)
    assert line(run_rag("index", large, "--index", index)) == (
        f"The disk is full: {index}. The index was not changed."
        " Free some space and run `rag index` again."
    )
    assert index_bytes(index) == before


def test_a_full_disk_under_a_new_index(small_disk: Path, large: Path, run_rag: RunRag) -> None:
    index = small_disk / "index"
    message = line(run_rag("index", large, "--index", index))
    assert message.startswith(f"The disk is full: {index}.")
    with pytest.raises(NoIndex):
        IndexReader.open(index)


def test_a_disk_that_is_full_before_the_first_byte(
    small_disk: Path, news: Path, run_rag: RunRag
) -> None:
    fill(small_disk)
    index = small_disk / "index"
    message = line(run_rag("index", news, "--index", index))
    assert message.startswith(f"The disk is full: {index}.")


def test_a_disk_that_fills_up_while_vectors_are_written(
    build_index: BuildIndex,
    small_disk: Path,
    news: Path,
    matching_encoder: FakeEncoder,
    index_bytes: IndexBytes,
) -> None:
    index = build_index(small_disk / "index")
    before = index_bytes(index)
    rows = (f'{{"text": "The ferry number {i} sank."}}\n' for i in range(3000))
    (news / "many.jsonl").write_text("".join(rows))
    with pytest.raises(IndexUnusable, match=r"The disk is full|cannot be written") as error:
        sync(index, matching_encoder, [], rebuild=False, progress=SilentProgress())
    assert "The index was not changed." in str(error.value)
    assert "\n" not in str(error.value)
    assert index_bytes(index) == before


def test_a_failure_to_write_other_than_a_full_disk_says_what_it_is(
    index: Path, news: Path, matching_encoder: FakeEncoder, index_bytes: IndexBytes
) -> None:
    (news / "more.jsonl").write_text(VALID_ROW.replace("good", "more"))
    blocked = index / "current.json.unfinished"
    before = index_bytes(index)
    blocked.mkdir()
    with pytest.raises(IndexUnusable) as error:
        sync(index, matching_encoder, [], rebuild=False, progress=SilentProgress())
    blocked.rmdir()
    assert str(error.value).startswith(f"Writing to the folder {index} failed: Is a directory.")
    assert before.items() <= index_bytes(index).items()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (ENOSPC, "The disk is full"),
        (EDQUOT, "The disk is full"),
        (EROFS, "The folder cannot be written to"),
        (EACCES, "The folder cannot be written to"),
        (EIO, f"failed: {os.strerror(EIO)}."),
    ],
)
def test_each_failure_to_write_is_named(tmp_path: Path, number: int, message: str) -> None:
    error = write_error(tmp_path, OSError(number, os.strerror(number)))
    assert message in error.problem
    assert str(tmp_path) in error.problem


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")
@pytest.mark.parametrize("megabytes", [350, 500])
@pytest.mark.parametrize("command", ["index", "search"])
def test_too_little_memory(
    index: Path, news: Path, tmp_path: Path, command: str, megabytes: int
) -> None:
    words: dict[str, list[str | Path]] = {
        "index": ["index", news, "--index", tmp_path / "new"],
        "search": ["search", "When did the ferry leave?", "--index", index],
    }
    limited = 'ulimit -c 0 && ulimit -v "$0" && exec "$@"'
    completed = subprocess.run(
        ["sh", "-c", limited, str(megabytes * 1024), sys.executable, "-m", "rag", *words[command]],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert "memory" in line(completed)


def fill(disk: Path) -> None:
    """Leave no byte free on a disk."""
    with (disk / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 1024):
            pass
    assert disk_usage(disk).free == 0


def test_a_read_only_index_is_searched_but_not_changed(
    small_disk: Path,
    write_protect: WriteProtect,
    news: Path,
    encoder: Encoder,
    run_rag: RunRag,
) -> None:
    index = small_disk / "index"
    sync(index, encoder, [news], rebuild=False, progress=SilentProgress())
    # Nobody has read it: reading leaves SQLite's lock files, which a copy elsewhere lacks.
    before = {path.name: path.read_bytes() for path in index.iterdir()}
    write_protect(small_disk)
    (news / "new.txt").write_text("An owl moved in.")
    assert line(run_rag("index", "--index", index)) == (
        f"The folder cannot be written to: {index}. The index was not changed."
        " Make it writable, or choose another one with --index or RAG_INDEX."
    )
    found = run_rag("search", "When did the ferry leave?", "--index", index, "--json")
    assert found.returncode == 0, found.stderr
    assert [hit["article_id"] for hit in json.loads(found.stdout)["hits"]] == ["good"]
    assert {path.name: path.read_bytes() for path in index.iterdir()} == before


def test_a_new_index_on_a_read_only_disk(
    small_disk: Path, write_protect: WriteProtect, news: Path, run_rag: RunRag
) -> None:
    write_protect(small_disk)
    index = small_disk / "index"
    assert line(run_rag("index", news, "--index", index)) == (
        f"The folder {index} cannot be created: Read-only file system."
        " Choose another one with --index or RAG_INDEX."
    )


# -- interrupted, and the page


def test_an_interrupt_ends_with_130_and_the_index_as_it_was(
    index: Path,
    news: Path,
    index_bytes: IndexBytes,
    encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = index_bytes(index)
    (news / "new.txt").write_text("An owl moved in.")
    fails = FakeEncoder(MINILM.name, 0, fingerprint=encoder.fingerprint)
    monkeypatch.setattr(Encoder, "from_settings", lambda _: fails)
    monkeypatch.setattr(sys, "argv", ["rag", "index", "--index", str(index)])
    with pytest.raises(SystemExit) as exit_info:
        main()
    assert exit_info.value.code == 130
    assert capsys.readouterr().err.splitlines()[-1] == "rag: Interrupted."
    assert index_bytes(index) == before


def test_a_port_in_use(index: Path, run_rag: RunRag) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        completed = run_rag("chat", "--port", str(port), "--index", index)
    assert line(completed) == f"Port {port} is in use. Choose another with --port or RAG_PORT."


def test_an_invalid_port(index: Path, run_rag: RunRag) -> None:
    message = line(run_rag("chat", "--index", index, RAG_PORT="http"))
    assert message.startswith("Invalid value for RAG_PORT: 'http' (")
