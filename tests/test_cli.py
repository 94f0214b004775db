"""The commands as other programs and people use them."""

import json
from pathlib import Path

import pytest

from rag import cli


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
    *("hits", "model", "timings"),
}
TIMINGS = {"retrieve_s", "first_token_s", "total_s", "prompt_tokens", "answer_tokens"}


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
    assert set(found) == {"question", "standalone_question", "hits", "seconds"}
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
        assert set(sentence) == {"text", "supported", "citations"}


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
    assert about["articles"] == sum(about["sources"].values()) > 0
    assert about["encoder"] == "all-MiniLM-L6-v2"


def test_index_as_json_is_what_the_contract_says(rag, index_folder: Path) -> None:
    code, out, _ = rag("index", "--index", str(index_folder), "--json")
    told = json.loads(out)
    assert code == 0
    assert set(told["articles"]) == {"added", "changed", "removed", "unchanged", "skipped"}
    assert {"passages", "seconds", "passages_per_second", "encoder", "skipped"} <= set(told)


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
