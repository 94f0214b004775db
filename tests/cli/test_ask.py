"""`rag search`, `rag ask` and `rag check` as people and other programs use them."""

import json
from pathlib import Path

import pytest
from fixture_types import Rag

QUESTION = "How high is the lighthouse of Sant Oriol?"

HIT_KEYS = {"rank", "score", "article_id", "title", "start", "end", "text"}
ANSWER_KEYS = {
    "question",
    "standalone_question",
    "answered",
    "answer",
    "mode",
    "kind",
    "parts",
    "corrections",
    "sentences",
    "citations",
    "hits",
    "model",
    "confidence",
    "evidence",
    "thought",
    "timings",
}
TIMING_KEYS = {
    "retrieve_s",
    "first_token_s",
    "total_s",
    "prompt_tokens",
    "answer_tokens",
    "stages",
}


def test_search_prints_the_json_of_the_contract(rag: Rag, index_folder: Path) -> None:
    code, out, _ = rag(
        "search", "How high is the lighthouse?", "--index", index_folder, "--k", "2", "--json"
    )
    (result,) = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert set(result) == {"question", "standalone_question", "hits", "seconds", "timings"}
    assert set(result["timings"]) == {"total_s", "stages"}
    assert len(result["hits"]) == 2
    for hit in result["hits"]:
        assert set(hit) - {"date", "source", "url"} == HIT_KEYS


def test_ask_prints_the_json_of_the_contract(rag: Rag, index_folder: Path) -> None:
    code, out, _ = rag("ask", QUESTION, "--index", index_folder, "--json")
    (answer,) = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert set(answer) == ANSWER_KEYS
    assert set(answer["timings"]) == TIMING_KEYS
    assert answer["answered"] is True
    for citation in answer["citations"]:
        assert {"marker", "article_id", "title", "start", "end", "quote"} <= set(citation)
        assert f"[{citation['marker']}]" in answer["answer"]
    for sentence in answer["sentences"]:
        assert set(sentence) - {"reason"} == {"text", "supported", "citations", "verdict"}
        assert sentence["supported"] is (sentence["verdict"] == "supported")


@pytest.mark.parametrize("command", ["ask", "search"])
def test_timings_are_a_table_on_stderr_of_the_numbers_in_the_json(
    rag: Rag, index_folder: Path, command: str
) -> None:
    arguments = (command, QUESTION, "--index", index_folder)
    code, out, err = rag(*arguments, "--json", "--timings")
    stages = json.loads(out)["timings"]["stages"]
    *rows, total, loading = [line.split() for line in err.splitlines()[-len(stages) - 2 :]]
    assert code == 0
    assert {"_".join(name): float(seconds) for *name, seconds, _, _ in rows} == stages
    assert sum(float(share.rstrip("%")) for *_, share in rows) == pytest.approx(100, abs=1)
    assert total[0] == "total"
    assert float(total[1]) == pytest.approx(sum(stages.values()), abs=0.001)
    assert loading[0] == "loading"
    assert float(loading[2]) > 0
    _, out, err = rag(*arguments)
    assert "between" not in out + err


def test_questions_of_a_file_are_answered_in_order_with_their_ids(
    rag: Rag, index_folder: Path, tmp_path: Path
) -> None:
    questions = [
        {"id": "b", "question": QUESTION},
        {
            "id": "a",
            "question": "And what did it cost?",
            "history": [{"role": "user", "content": QUESTION}],
        },
        {"question": "Which bird came back to the marsh?"},
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(question) + "\n" for question in questions))
    for command in ("search", "ask"):
        code, out, _ = rag(command, "--questions", file, "--index", index_folder, "--json")
        results = [json.loads(line) for line in out.splitlines()]
        assert code == 0
        assert [result.get("id") for result in results] == ["b", "a", None]
        assert "lighthouse" in results[1]["standalone_question"]


@pytest.mark.parametrize(
    "line", ["{", "[]", "{}", '{"question": 7}', '{"question": "x", "history": [{"role": "user"}]}']
)
def test_an_invalid_line_of_a_file_of_questions_is_reported_with_its_number(
    rag: Rag, index_folder: Path, tmp_path: Path, line: str
) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(line + "\n")
    code, out, err = rag("search", "--questions", file, "--index", index_folder, "--json")
    assert (code, out) == (1, "")
    assert "line 1 is not a question" in err


def test_an_empty_question_of_a_file_is_reported_with_its_line(
    rag: Rag, index_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text('{"question": " "}\n')
    code, _, err = rag("search", "--questions", file, "--index", index_folder)
    assert code == 1
    assert err == f"rag: {file}, line 1: The question is empty. Ask something.\n"


def test_an_answer_in_the_terminal_ends_with_its_footnotes(rag: Rag, index_folder: Path) -> None:
    code, out, _ = rag("ask", QUESTION, "--index", index_folder)
    assert code == 0
    assert "[1] " in out
    assert "lighthouse.md" in out
    assert "2021-05-14" in out


def test_check_ends_with_1_if_a_citation_of_a_saved_answer_no_longer_matches(
    rag: Rag, index_folder: Path, tmp_path: Path
) -> None:
    _, answers, _ = rag("ask", QUESTION, "--index", index_folder, "--json")
    file = tmp_path / "answers.jsonl"
    file.write_text(answers)
    code, out, _ = rag("check", file, "--index", index_folder, "--json")
    assert (code, json.loads(out)["problems"]) == (0, [])
    file.write_text(answers.replace("lighthouse.md", "left.md"))
    code, out, _ = rag("check", file, "--index", index_folder)
    assert code == 1
    assert out.startswith("gone ")


def test_a_file_of_answers_that_cannot_be_read_is_reported_in_one_line(rag: Rag) -> None:
    code, _, err = rag("check", "none.jsonl")
    assert code == 1
    assert err.startswith("rag: The answers in none.jsonl cannot be read")
    assert err.count("\n") == 1
