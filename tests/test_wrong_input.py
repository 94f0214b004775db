"""What wrong input gets: the real command says one line, and leaves the index as it was.

An index here is made by a fake encoder of the real one's name: what goes wrong goes wrong before
anything is encoded, and what is right needs no encoding, so that no command has to load a model.
"""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING

import pytest

from rag import indexing
from rag.articles import known_formats
from rag.cli import main
from rag.commits import sole_builder
from rag.encoder import Encoder
from rag.errors import IndexUnusable, NoIndex
from rag.index import PassageIndex
from rag.models import MINILM

if TYPE_CHECKING:
    from conftest import FakeEncoder, Held, Quiet, RunRag, WriteProtect

    Done = subprocess.CompletedProcess[str]

READ = known_formats()
GOOD = '{"id": "good", "text": "The ferry left Port Ellery at noon."}\n'


def line(done: "Done", code: int = 1) -> str:
    """The one line that the command said, without its `rag: `."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    *progress, last = done.stderr.splitlines()
    assert last.startswith("rag: ")
    tasks = ("Reading ", "Encoding ")
    assert all(said.startswith(tasks) or not said.strip() for said in progress), done.stderr
    assert done.stdout == ""
    return last.removeprefix("rag: ")


@pytest.fixture
def news(tmp_path: Path) -> Path:
    folder = tmp_path / "news"
    folder.mkdir()
    (folder / "good.jsonl").write_text(GOOD)
    return folder


@pytest.fixture
def alike(fake_encoder: "type[FakeEncoder]", encoder: Encoder) -> "FakeEncoder":
    """A fake encoder that passes for the real one."""
    return fake_encoder(MINILM.name, fingerprint=encoder.fingerprint)


Make = Callable[[Path], Path]


@pytest.fixture
def make(alike: "FakeEncoder", quiet: "Quiet", news: Path) -> Make:
    """Makes an index of `news` in a folder."""

    def made(folder: Path) -> Path:
        indexing.sync(folder, alike, [news], rebuild=False, progress=quiet)
        return folder

    return made


@pytest.fixture
def index(make: Make, tmp_path: Path) -> Path:
    return make(tmp_path / "index")


# -- sources


def test_a_missing_path(index: Path, tmp_path: Path, run_rag: "RunRag", held: "Held") -> None:
    before = held(index)
    done = run_rag("index", tmp_path / "nowhere", "--index", index)
    assert line(done) == f"The source {tmp_path}/nowhere is not there. Correct the path."
    assert held(index) == before


def test_an_empty_folder(index: Path, tmp_path: Path, run_rag: "RunRag", held: "Held") -> None:
    before = held(index)
    (tmp_path / "empty").mkdir()
    done = run_rag("index", tmp_path / "empty", "--index", index)
    assert line(done) == (
        f"No article could be read from {tmp_path}/empty."
        f" Name a file or folder with {READ} files in it, or take it out with"
        " `rag index --remove`."
    )
    assert held(index) == before


def test_a_failed_first_run_leaves_no_index(tmp_path: Path, run_rag: "RunRag") -> None:
    (tmp_path / "empty").mkdir()
    line(run_rag("index", tmp_path / "empty", "--index", tmp_path / "new"))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["lock"]


ALONE = {
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
        f"photo.png was skipped: the format .png is not read; {READ} are.",
    ),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_source_with_nothing_readable(
    index: Path, tmp_path: Path, run_rag: "RunRag", held: "Held", name: str
) -> None:
    before = held(index)
    content, said = ALONE[name]
    (tmp_path / name).write_bytes(content)
    assert line(run_rag("index", tmp_path / name, "--index", index)) == (
        f"No article could be read from {tmp_path}/{name}. {said}"
        f" Name a file or folder with {READ} files in it, or take it out with"
        " `rag index --remove`."
    )
    assert held(index) == before


def test_what_is_wrong_beside_good_articles_is_skipped_with_its_reason(
    index: Path, news: Path, run_rag: "RunRag"
) -> None:
    (news / "binary.txt").write_bytes(b"\0\1\2\xff")
    (news / "more.jsonl").write_text('{"text": \n{"id": "good", "text": "Another ferry."}\n[]\n')
    done = run_rag("index", news, "--index", index, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["articles"] == {
        "added": 0,
        "changed": 0,
        "removed": 0,
        "unchanged": 1,
        "skipped": 4,
    }
    reasons = {skipped["path"]: skipped["reason"] for skipped in told["skipped"]}
    assert reasons.keys() == {"binary.txt", "more.jsonl#1", "good", "more.jsonl#3"}
    assert reasons["binary.txt"].startswith("it is not UTF-8 text")
    assert reasons["more.jsonl#1"].startswith("not JSON: Expecting value at column ")
    assert reasons["good"] == "another article of this source has the same id"
    assert reasons["more.jsonl#3"] == "not an object but list"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's own peak")
def test_a_line_of_200_mb_is_skipped_and_never_held(index: Path, news: Path) -> None:
    with (news / "huge.jsonl").open("wb") as file:
        file.write(b'{"text": "')
        file.seek(200_000_000, os.SEEK_CUR)  # a hole, read as zeros
        file.write(b'"}\n' + GOOD.encode())
    code = """
import re, sys
from pathlib import Path
from rag.articles import known_formats
from rag.cli import main
from rag.commits import sole_builder
try:
    main()
finally:
    print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
    command = [sys.executable, "-c", code, "index", str(news), "--index", str(index)]
    done = subprocess.run([*command, "--json"], capture_output=True, encoding="utf-8", timeout=300)
    assert "Traceback" not in done.stderr
    told, peak = done.stdout.splitlines()
    assert [(s["path"], s["reason"]) for s in json.loads(told)["skipped"]] == [
        ("huge.jsonl#1", "the line is longer than 20,000,000 bytes"),
        ("good", "another article of this source has the same id"),
    ], "and the row behind it is read"
    assert json.loads(told)["articles"]["unchanged"] == 1
    assert int(peak) < 200_000_000 / 1024


# -- questions


@pytest.fixture
def run_here(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> "RunRag":
    """Runs the command in this process, where the encoder is loaded already."""

    def run(*words: str | Path, **variables: str) -> "Done":
        monkeypatch.setattr(Encoder, "chosen", lambda _: encoder)
        monkeypatch.setattr(sys, "argv", ["rag", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(sys.argv, int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.mark.parametrize("command", ["ask", "search"])
@pytest.mark.parametrize(
    ("question", "said"),
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
def test_a_question_that_cannot_be_asked(
    index: Path, run_here: "RunRag", held: "Held", command: str, question: str, said: str
) -> None:
    before = held(index)
    assert line(run_here(command, question, "--index", index)) == said
    assert held(index) == before


@pytest.mark.parametrize("k", ["0", "-3", "1001"])
def test_a_number_of_passages_out_of_range(index: Path, run_rag: "RunRag", k: str) -> None:
    done = run_rag("search", "why?", "--index", index, "--k", k)
    assert line(done, code=2) == f"--k is {k}. Give a number from 1 to 1000."


def test_no_question_at_all(index: Path, run_here: "RunRag") -> None:
    said = line(run_here("ask", "--index", index), code=2)
    assert said == "A question is missing. Give a QUESTION, or --questions FILE."


def test_a_file_of_questions_with_a_bad_line(
    index: Path, tmp_path: Path, run_here: "RunRag"
) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text('\n{"query": "why?"}\n')
    said = line(run_here("ask", "--questions", file, "--index", index))
    assert said.startswith(f"{file}, line 2 is not a question. Write ")


def test_no_index(tmp_path: Path, run_rag: "RunRag") -> None:
    for command in (["search", "why?"], ["ask", "why?"], ["info"]):
        said = line(run_rag(*command, "--index", tmp_path / "none"))
        assert said == f"There is no index in {tmp_path}/none. Run `rag index` to build it."


# -- the index


@pytest.mark.parametrize("words", [("ask", "why?"), ("search", "why?")], ids=lambda w: w[0])
def test_an_index_made_by_another_encoder(
    index: Path, tmp_path: Path, run_rag: "RunRag", held: "Held", words: tuple[str, ...]
) -> None:
    before = held(index)
    other = tmp_path / "encoder"
    other.mkdir()
    (other / "modules.json").write_text("[]")
    done = run_rag(*words, RAG_ENCODER=str(other), RAG_INDEX=str(index))
    assert line(done) == (
        f"The index in {index} was made by the encoder {MINILM.name}, not {other}."
        " Run `rag index` to encode it anew, or set RAG_ENCODER to the one that made it."
    )
    assert held(index) == before


def test_two_writers_at_once(index: Path, run_rag: "RunRag", held: "Held") -> None:
    before = held(index)
    with sole_builder(index):
        done = run_rag("index", "--index", index)
        assert held(index) == before
    assert re.sub(r"\d\d:\d\d:\d\d", "TIME", line(done)) == (
        f"Another `rag index` (process {os.getpid()}, since TIME) is at work: {index}."
        " The index is as it was. Wait for it to end, or stop it."
    )


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """An article larger than a small disk."""
    path = tmp_path / "large.txt"
    path.write_text("the ferry left port ellery at noon . nobody saw it again .\n" * 25_000)
    return path


def test_a_full_disk(
    make: Make, small_disk: Path, large: Path, run_rag: "RunRag", held: "Held"
) -> None:
    index = make(small_disk / "index")
    before = held(index)
    assert line(run_rag("index", large, "--index", index)) == (
        f"The disk is full: {index}. The index is as it was."
        " Make room there and run `rag index` again."
    )
    assert held(index) == before


def test_a_full_disk_under_a_new_index(small_disk: Path, large: Path, run_rag: "RunRag") -> None:
    index = small_disk / "index"
    said = line(run_rag("index", large, "--index", index))
    assert said.startswith(f"The disk is full: {index}.")
    with pytest.raises(NoIndex):
        PassageIndex.open(index)


def test_a_disk_that_is_full_before_the_first_byte(
    small_disk: Path, news: Path, run_rag: "RunRag"
) -> None:
    fill(small_disk)
    index = small_disk / "index"
    said = line(run_rag("index", news, "--index", index))
    assert said.startswith(f"The disk is full: {index}.")


def test_a_disk_that_fills_up_while_vectors_are_written(
    make: Make,
    small_disk: Path,
    news: Path,
    alike: "FakeEncoder",
    quiet: "Quiet",
    held: "Held",
) -> None:
    index = make(small_disk / "index")
    before = held(index)
    rows = (f'{{"text": "The ferry number {i} sank."}}\n' for i in range(3000))
    (news / "many.jsonl").write_text("".join(rows))
    with pytest.raises(IndexUnusable, match=r"The disk is full|cannot be written") as told:
        indexing.sync(index, alike, [], rebuild=False, progress=quiet)
    assert "The index is as it was." in str(told.value)
    assert "\n" not in str(told.value)
    assert held(index) == before


def fill(disk: Path) -> None:
    """Leave no byte free on a disk."""
    with (disk / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 1024):
            pass
    assert disk_usage(disk).free == 0


def test_a_read_only_index_is_searched_but_not_changed(
    small_disk: Path,
    write_protect: "WriteProtect",
    news: Path,
    encoder: Encoder,
    quiet: "Quiet",
    run_rag: "RunRag",
) -> None:
    index = small_disk / "index"
    indexing.sync(index, encoder, [news], rebuild=False, progress=quiet)
    # Nobody has read it: reading leaves SQLite's lock files, which a copy elsewhere lacks.
    before = {path.name: path.read_bytes() for path in index.iterdir()}
    write_protect(small_disk)
    (news / "new.txt").write_text("An owl moved in.")
    assert line(run_rag("index", "--index", index)) == (
        f"The folder cannot be written to: {index}. The index is as it was."
        " Make it writable, or name another one with --index or RAG_INDEX."
    )
    found = run_rag("search", "When did the ferry leave?", "--index", index, "--json")
    assert found.returncode == 0, found.stderr
    assert [hit["article_id"] for hit in json.loads(found.stdout)["hits"]] == ["good"]
    assert {path.name: path.read_bytes() for path in index.iterdir()} == before


def test_a_new_index_on_a_read_only_disk(
    small_disk: Path, write_protect: "WriteProtect", news: Path, run_rag: "RunRag"
) -> None:
    write_protect(small_disk)
    index = small_disk / "index"
    assert line(run_rag("index", news, "--index", index)) == (
        f"The folder {index} cannot be made: Read-only file system."
        " Name another one with --index or RAG_INDEX."
    )


# -- interrupted, and the page


def test_an_interrupt_ends_with_130_and_the_index_as_it_was(
    index: Path,
    news: Path,
    held: "Held",
    fake_encoder: "type[FakeEncoder]",
    encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = held(index)
    (news / "new.txt").write_text("An owl moved in.")
    fails = fake_encoder(MINILM.name, 0, fingerprint=encoder.fingerprint)
    monkeypatch.setattr(Encoder, "chosen", lambda _: fails)
    monkeypatch.setattr(sys, "argv", ["rag", "index", "--index", str(index)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err.splitlines()[-1] == "rag: Interrupted."
    assert held(index) == before


def test_a_port_in_use(index: Path, run_rag: "RunRag") -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_rag("chat", "--port", str(port), "--index", index)
    assert line(done) == f"Port {port} is in use. Choose another with --port or RAG_PORT."


def test_a_port_that_is_none(index: Path, run_rag: "RunRag") -> None:
    said = line(run_rag("chat", "--index", index, RAG_PORT="http"))
    assert said.startswith("RAG_PORT is 'http': ")
