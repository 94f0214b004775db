"""`rag index`, `rag doctor` and `rag info` as people and other programs use them."""

import json
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fixture_types import Rag

from rag.store.reader import IndexReader


def test_index_prints_the_json_of_the_contract(rag: Rag, index_folder: Path) -> None:
    code, out, _ = rag("index", "--index", index_folder, "--json")
    report = json.loads(out)
    assert code == 0
    assert set(report["articles"]) == {"added", "changed", "removed", "unchanged", "skipped"}
    assert {"passages", "seconds", "passages_per_second", "encoder", "skipped"} <= set(report)


@pytest.mark.models
@pytest.mark.slow
def test_watch_follows_every_change_until_it_is_interrupted(tmp_path: Path) -> None:
    news, index = tmp_path / "news", tmp_path / "news" / "index"
    news.mkdir()
    (news / "ferry.txt").write_text("The ferry left Port Ellery at noon.")
    command = [sys.executable, "-m", "rag", "index", str(news), "--index", str(index), "--watch"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "1 articles added" in process.stdout.readline()
        while "Watching" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(1)  # the watcher starts a moment after it is announced
        (news / "owl.txt").write_text("An owl moved into the town hall.")
        assert "1 articles added, 0 changed" in process.stdout.readline()
        (news / "ferry.txt").unlink()
        assert "1 removed, 1 unchanged" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == ("", 130)
    assert err.endswith("rag: Interrupted.\n")
    with IndexReader.open(index) as reader:
        assert reader.article("owl.txt") is not None
        assert reader.article("ferry.txt") is None


def test_a_dry_run_prints_what_would_change_and_changes_nothing(
    rag: Rag, tmp_path: Path, index_folder: Path, articles_folder: Path
) -> None:
    index, news = tmp_path / "index", tmp_path / "news"
    shutil.copytree(articles_folder, news)
    shutil.copytree(index_folder, index)
    contents = {path.name: path.read_bytes() for path in index.iterdir()}
    code, out, _ = rag("index", news, "--dry-run", "--index", index)
    assert code == 0
    assert f"new      {news}: marsh.md\n" in out
    code, out, _ = rag("index", "--dry-run", "--json", "--index", index)
    (source,) = json.loads(out)["sources"]
    assert source == {"path": str(articles_folder), "new": [], "changed": [], "gone": []}
    assert {path.name: path.read_bytes() for path in index.iterdir()} == contents


def test_a_source_is_removed(
    rag: Rag, tmp_path: Path, index_folder: Path, articles_folder: Path
) -> None:
    index, more = tmp_path / "index", tmp_path / "more"
    shutil.copytree(index_folder, index)
    more.mkdir()
    (more / "owl.txt").write_text("An owl moved into the town hall.")
    rag("index", more, "--index", index)
    code, out, _ = rag("index", "--remove", articles_folder, "--index", index)
    assert code == 0
    assert f"Removed {articles_folder} from the index." in out
    assert "3 removed" in out
    _, out, _ = rag("info", "--index", index, "--json")
    assert [source["path"] for source in json.loads(out)["sources"]] == [str(more)]


@pytest.mark.parametrize("arguments", [["--watch", "--dry-run"], ["--remove", "a", "b"]])
def test_options_that_exclude_each_other_are_wrong_usage(rag: Rag, arguments: list[str]) -> None:
    code, _, err = rag("index", *arguments)
    assert code == 2
    assert "cannot be combined" in err


def test_doctor_finds_nothing_or_reports_what_it_repaired(
    rag: Rag, tmp_path: Path, index_folder: Path
) -> None:
    index = tmp_path / "index"
    shutil.copytree(index_folder, index)
    code, out, _ = rag("doctor", "--index", index)
    assert (code, out.splitlines()[-1]) == (0, f"No problems found in {index}.")
    (vectors,) = index.glob("*.faiss")
    vectors.write_bytes(vectors.read_bytes()[:-1])
    code, out, _ = rag("doctor", "--index", index, "--json")
    report = json.loads(out)
    assert (code, report["sound"], len(report["problems"])) == (0, True, 1)
    assert vectors.name in report["problems"][0]
    code, out, _ = rag("doctor", "--index", index)
    assert (code, out.splitlines()[-1]) == (0, f"No problems found in {index}.")


def test_doctor_reports_what_the_cpu_runs(rag: Rag, index_folder: Path) -> None:
    _, out, _ = rag("doctor", "--index", index_folder, "--json")
    machine = json.loads(out)["machine"]
    assert machine["encoder"] in machine["encoder_seconds"]
    assert machine["generator"] in machine["built"], "llama.cpp is built for several kinds of CPU"
    if platform.machine() == "x86_64":
        assert "x64" in machine["built"], "the variant that every x86-64 CPU runs"
    assert machine["problem"] == ""
    _, out, _ = rag("doctor", "--index", index_folder)
    lines = dict(line.split(maxsplit=1) for line in out.splitlines()[:3])
    assert lines["CPU"] == machine["cpu"]
    assert lines["llama.cpp"].startswith(machine["generator"])


def test_an_index_beyond_repair_ends_with_1(rag: Rag, tmp_path: Path, index_folder: Path) -> None:
    index = tmp_path / "index"
    shutil.copytree(index_folder, index)
    (index / "current.json").write_text("{}")
    for database in index.glob("*.sqlite"):
        database.write_bytes(b"ruined" * 1000)
    code, out, _ = rag("doctor", "--index", index)
    assert code == 1
    assert "current.json is damaged" in out
    assert "The index could not be repaired" in out
    assert "`rag index --rebuild SOURCE`" in out


def test_info_describes_the_index(rag: Rag, index_folder: Path) -> None:
    code, out, _ = rag("info", "--index", index_folder, "--json")
    info = json.loads(out)
    assert code == 0
    assert info["articles"] == sum(source["articles"] for source in info["sources"]) > 0
    assert [source["files"] for source in info["sources"]] == [3]
    assert (info["vectors"], info["recall"], info["dimensions"]) == ("Flat", 1.0, 384)
    assert info["encoder"] == "all-MiniLM-L6-v2"
