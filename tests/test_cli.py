"""The commands as other programs and people use them."""

import json
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rag import cli
from rag.index import PassageIndex


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str, str]:
    """The real command in this process: exit code, stdout, stderr."""
    monkeypatch.setattr("sys.argv", ["rag", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture
def rag(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cache: Path):
    monkeypatch.setenv("RAG_CACHE", str(cache))
    return lambda *words: run(capsys, monkeypatch, *words)


HIT = {"rank", "score", "article_id", "title", "start", "end", "text"}
ANSWER = {
    *("question", "standalone_question", "answered", "answer", "mode", "sentences", "citations"),
    *("hits", "model", "confidence", "evidence", "thought", "timings"),
}
TIMINGS = {"retrieve_s", "first_token_s", "total_s", "prompt_tokens", "answer_tokens", "stages"}


def test_search_as_json_is_what_the_contract_says(rag, index_folder: Path) -> None:
    code, out, _ = rag(
        "search",
        "How high is the lighthouse?",
        "--index",
        str(index_folder),
        "--k",
        "2",
        "--json",
    )
    (found,) = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert set(found) == {"question", "standalone_question", "hits", "seconds", "timings"}
    assert set(found["timings"]) == {"total_s", "stages"}
    assert len(found["hits"]) == 2
    for hit in found["hits"]:
        assert set(hit) - {"date", "source", "url"} == HIT


def test_ask_as_json_is_what_the_contract_says(rag, index_folder: Path) -> None:
    question = "How high is the lighthouse of Sant Oriol?"
    code, out, _ = rag("ask", question, "--index", str(index_folder), "--json")
    (answer,) = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert set(answer) == ANSWER
    assert set(answer["timings"]) == TIMINGS
    assert answer["answered"] is True
    for citation in answer["citations"]:
        assert {"marker", "article_id", "title", "start", "end", "quote"} <= set(citation)
        assert f"[{citation['marker']}]" in answer["answer"]
    for sentence in answer["sentences"]:
        assert set(sentence) - {"reason"} == {"text", "supported", "citations", "verdict"}
        assert sentence["supported"] is (sentence["verdict"] == "supported")


@pytest.mark.parametrize("command", ["ask", "search"])
def test_timings_are_a_table_on_stderr_of_the_numbers_in_the_json(
    rag, index_folder: Path, command: str
) -> None:
    asked = (command, "How high is the lighthouse of Sant Oriol?", "--index", str(index_folder))
    code, out, err = rag(*asked, "--json", "--timings")
    stages = json.loads(out)["timings"]["stages"]
    *rows, in_all, loading = [line.split() for line in err.splitlines()[-len(stages) - 2 :]]
    assert code == 0
    assert {"_".join(name): float(seconds) for *name, seconds, _, _ in rows} == stages
    assert sum(float(share.rstrip("%")) for *_, share in rows) == pytest.approx(100, abs=1)
    assert float(in_all[2]) == pytest.approx(sum(stages.values()), abs=0.001)
    assert loading[0] == "loading,"
    assert float(loading[2]) > 0
    _, plain, silent = rag(*asked)
    assert "between" not in plain + silent


def test_questions_of_a_file_are_answered_in_order_with_their_ids(
    rag, index_folder: Path, tmp_path: Path
) -> None:
    lines = [
        {"id": "b", "question": "How high is the lighthouse of Sant Oriol?"},
        {
            "id": "a",
            "question": "And what did it cost?",
            "history": [{"role": "user", "content": "How high is the lighthouse of Sant Oriol?"}],
        },
        {"question": "Which bird came back to the marsh?"},
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for verb in ("search", "ask"):
        code, out, _ = rag(verb, "--questions", str(file), "--index", str(index_folder), "--json")
        told = [json.loads(line) for line in out.splitlines()]
        assert code == 0
        assert [one.get("id") for one in told] == ["b", "a", None]
        assert "lighthouse" in told[1]["standalone_question"]


def test_an_answer_in_the_terminal_ends_with_its_footnotes(rag, index_folder: Path) -> None:
    code, out, _ = rag(
        "ask", "How high is the lighthouse of Sant Oriol?", "--index", str(index_folder)
    )
    assert code == 0
    assert "[1] " in out
    assert "lighthouse.md" in out
    assert "2021-05-14" in out


def test_info_says_what_the_index_holds(rag, index_folder: Path) -> None:
    code, out, _ = rag("info", "--index", str(index_folder), "--json")
    about = json.loads(out)
    assert code == 0
    assert about["articles"] == sum(source["articles"] for source in about["sources"]) > 0
    assert [source["files"] for source in about["sources"]] == [3]
    assert (about["vectors"], about["recall"], about["dimensions"]) == ("Flat", 1.0, 384)
    assert about["encoder"] == "all-MiniLM-L6-v2"
    assert about["adapter"] == "on"


def test_the_adapter_can_be_switched_off_and_is_never_another_generators(
    rag, index_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def adapter() -> str:
        return json.loads(rag("info", "--index", str(index_folder), "--json")[1])["adapter"]

    monkeypatch.setenv("RAG_GENERATOR", "own.gguf")
    assert adapter() == "off"
    monkeypatch.delenv("RAG_GENERATOR")
    monkeypatch.setenv("RAG_ADAPTER", "off")
    assert adapter() == "off"
    monkeypatch.setenv("RAG_ADAPTER", "maybe")
    code, _, err = rag("info", "--index", str(index_folder))
    assert code == 1
    assert "RAG_ADAPTER is 'maybe'" in err


def test_index_as_json_is_what_the_contract_says(rag, index_folder: Path) -> None:
    code, out, _ = rag("index", "--index", str(index_folder), "--json")
    told = json.loads(out)
    assert code == 0
    assert set(told["articles"]) == {"added", "changed", "removed", "unchanged", "skipped"}
    assert {"passages", "seconds", "passages_per_second", "encoder", "skipped"} <= set(told)


def test_watching_brings_every_change_in_until_it_is_stopped(tmp_path: Path) -> None:
    news, index = tmp_path / "news", tmp_path / "news" / "index"
    news.mkdir()
    (news / "ferry.txt").write_text("The ferry left Port Ellery at noon.")
    command = [sys.executable, "-m", "rag", "index", str(news), "--index", str(index), "--watch"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        assert "1 articles added" in watching.stdout.readline()
        while "Following" not in watching.stderr.readline():
            assert watching.poll() is None
        time.sleep(1)  # the folder is listened to from a moment after that on
        (news / "owl.txt").write_text("An owl moved into the town hall.")
        assert "1 articles added, 0 changed" in watching.stdout.readline()
        (news / "ferry.txt").unlink()
        assert "1 removed, 1 unchanged" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        rest, said = watching.communicate(timeout=60)
    assert (rest, watching.returncode) == ("", 130)
    assert said.endswith("rag: Interrupted.\n")
    with PassageIndex.open(index) as opened:
        assert opened.article("owl.txt") is not None
        assert opened.article("ferry.txt") is None


def test_a_dry_run_says_what_would_change_and_changes_nothing(
    rag, tmp_path: Path, index_folder: Path, articles_folder: Path
) -> None:
    index, news = tmp_path / "index", tmp_path / "news"
    shutil.copytree(articles_folder, news)
    shutil.copytree(index_folder, index)
    files = {path.name: path.read_bytes() for path in index.iterdir()}
    code, out, _ = rag("index", str(news), "--dry-run", "--index", str(index))
    assert code == 0
    assert f"new      {news}: marsh.md\n" in out
    code, out, _ = rag("index", "--dry-run", "--json", "--index", str(index))
    (source,) = json.loads(out)["sources"]
    assert source == {"path": str(articles_folder), "new": [], "changed": [], "gone": []}
    assert {path.name: path.read_bytes() for path in index.iterdir()} == files


def test_a_source_is_taken_out(
    rag, tmp_path: Path, index_folder: Path, articles_folder: Path
) -> None:
    index, more = tmp_path / "index", tmp_path / "more"
    shutil.copytree(index_folder, index)
    more.mkdir()
    (more / "owl.txt").write_text("An owl moved into the town hall.")
    rag("index", str(more), "--index", str(index))
    code, out, _ = rag("index", "--remove", str(articles_folder), "--index", str(index))
    assert code == 0
    assert f"{articles_folder} has left the index." in out
    assert "3 removed" in out
    _, out, _ = rag("info", "--index", str(index), "--json")
    assert [source["path"] for source in json.loads(out)["sources"]] == [str(more)]


def test_the_doctor_finds_nothing_or_says_what_it_mended(
    rag, tmp_path: Path, index_folder: Path
) -> None:
    index = tmp_path / "index"
    shutil.copytree(index_folder, index)
    code, out, _ = rag("doctor", "--index", str(index))
    assert (code, out.splitlines()[-1]) == (0, f"All is well with {index}.")
    (vectors,) = index.glob("*.faiss")
    vectors.write_bytes(vectors.read_bytes()[:-1])
    code, out, _ = rag("doctor", "--index", str(index), "--json")
    told = json.loads(out)
    assert (code, told["sound"], len(told["problems"])) == (0, True, 1)
    assert vectors.name in told["problems"][0]
    code, out, _ = rag("doctor", "--index", str(index))
    assert (code, out.splitlines()[-1]) == (0, f"All is well with {index}.")


def test_the_doctor_says_what_the_cpu_runs(rag, index_folder: Path) -> None:
    _, out, _ = rag("doctor", "--index", str(index_folder), "--json")
    machine = json.loads(out)["machine"]
    assert machine["encoder"] in machine["encoder_seconds"]
    assert machine["generator"] in machine["built"], "llama.cpp is built for several kinds of CPU"
    if platform.machine() == "x86_64":
        assert "x64" in machine["built"], "the variant that every x86-64 CPU runs"
    assert machine["problem"] == ""
    _, out, _ = rag("doctor", "--index", str(index_folder))
    lines = dict(line.split(maxsplit=1) for line in out.splitlines()[:3])
    assert lines["CPU"] == machine["cpu"]
    assert lines["llama.cpp"].startswith(machine["generator"])


def test_what_cannot_be_mended_ends_with_1(rag, tmp_path: Path, index_folder: Path) -> None:
    index = tmp_path / "index"
    shutil.copytree(index_folder, index)
    (index / "current.json").write_text("{}")
    for database in index.glob("*.sqlite"):
        database.write_bytes(b"ruined" * 1000)
    code, out, _ = rag("doctor", "--index", str(index))
    assert code == 1
    assert "current.json is damaged" in out
    assert "It could not be mended" in out
    assert "`rag index --rebuild SOURCE`" in out


@pytest.mark.parametrize("words", [["--watch", "--dry-run"], ["--remove", "a", "b"]])
def test_what_does_not_go_together_is_told(rag, words: list[str]) -> None:
    code, _, err = rag("index", *words)
    assert code == 2
    assert "do not go together" in err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        pytest.param(["ask"], 2, "A question is missing.", id="no question"),
        pytest.param(["ask", "x", "--questions", "f"], 2, "were given", id="two kinds of question"),
        pytest.param(["search", "x", "--k", "0"], 2, "--k is 0.", id="k of zero"),
        pytest.param(["search", "x", "--k", "many"], 2, "--k is many.", id="k no number"),
        pytest.param(["bogus"], 2, "bogus", id="no such command"),
        pytest.param(
            ["ask", "x", "--index", "nowhere"], 1, "There is no index in nowhere.", id="no index"
        ),
        pytest.param(["chat", "--port", "99999"], 1, "--port is '99999'", id="no such port"),
        pytest.param(["chat", "--port", "x"], 1, "--port is 'x'", id="port no number"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(rag, words: list[str], code: int, told: str) -> None:
    ended, out, err = rag(*words)
    assert ended == code
    assert out == ""
    assert told in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "line", ["{", "[]", "{}", '{"question": 7}', '{"question": "x", "history": [{"role": "user"}]}']
)
def test_a_line_that_is_no_question_is_told_with_its_place(
    rag, index_folder: Path, tmp_path: Path, line: str
) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(line + "\n")
    code, out, err = rag("search", "--questions", str(file), "--index", str(index_folder), "--json")
    assert (code, out) == (1, "")
    assert "line 1 is not a question" in err


def test_an_empty_question_of_a_file_is_told_with_its_place(
    rag, index_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text('{"question": " "}\n')
    code, _, err = rag("search", "--questions", str(file), "--index", str(index_folder))
    assert code == 1
    assert err == f"rag: {file}, line 1: The question is empty. Ask something.\n"


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["index", "what is this? " * 30], id="a source with a name too long"),
        pytest.param(["index", "~nobody-here/articles"], id="a source of no user"),
        pytest.param(["info", "--index", "x" * 300], id="an index with a name too long"),
        pytest.param(["info", "--index", "~nobody-here/index"], id="an index of no user"),
        pytest.param(["ask", "--questions", "nowhere.jsonl"], id="no file of questions"),
    ],
)
def test_a_wrong_path_is_told_in_one_line(rag, words: list[str]) -> None:
    code, out, err = rag(*words)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1


def test_an_interrupt_ends_with_130_and_one_line(
    rag, monkeypatch: pytest.MonkeyPatch, index_folder: Path
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rag.index.PassageIndex.open", interrupt)
    code, _, err = rag("info", "--index", str(index_folder))
    assert code == 130
    assert err == "rag: Interrupted.\n"


def test_saved_answers_are_checked_and_one_that_does_not_stand_ends_with_1(
    rag, index_folder: Path, tmp_path: Path
) -> None:
    question = "How high is the lighthouse of Sant Oriol?"
    _, said, _ = rag("ask", question, "--index", str(index_folder), "--json")
    file = tmp_path / "answers.jsonl"
    file.write_text(said)
    code, out, _ = rag("check", str(file), "--index", str(index_folder), "--json")
    assert (code, json.loads(out)["problems"]) == (0, [])
    file.write_text(said.replace("lighthouse.md", "left.md"))
    code, out, _ = rag("check", str(file), "--index", str(index_folder))
    assert code == 1
    assert out.startswith("gone ")


def test_questions_are_drafted_measured_and_compared(
    rag, index_folder: Path, tmp_path: Path
) -> None:
    _, drafted, _ = rag("eval", "--make", "2", "--index", str(index_folder))
    file, run = tmp_path / "mine.jsonl", tmp_path / "run.json"
    file.write_text(drafted)
    report = tmp_path / "report.html"
    words = ("eval", str(file), "--index", str(index_folder), "--answers")
    code, out, _ = rag(*words, "--html", str(report), "--json")
    assert code == 0
    assert report.read_text().startswith("<!doctype html>")
    run.write_text(out)
    code, out, _ = rag(*words, "--against", str(run))
    assert code == 0
    assert "recall@10" in out
    assert "against it" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("eval",), "QUESTIONS are missing."),
        (("eval", "--make", "0"), "--make is 0."),
        (("eval", "none.jsonl"), "There is no file none.jsonl of questions."),
        (("check", "none.jsonl"), "The answers in none.jsonl cannot be read"),
    ],
)
def test_what_is_wrong_with_an_evaluation_is_told_in_one_line(
    rag, words: tuple[str, ...], said: str
) -> None:
    code, _, err = rag(*words)
    assert code in (1, 2)
    assert err.startswith(f"rag: {said}")
    assert err.count("\n") == 1
