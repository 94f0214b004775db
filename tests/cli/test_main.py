"""Exit codes and error messages: whatever the user did wrong becomes one line on stderr."""

from pathlib import Path

import pytest
from fixture_types import Rag


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["ask"], 2, "The argument QUESTION is missing.", id="no question"),
        pytest.param(
            ["ask", "x", "--questions", "f"], 2, "cannot be combined", id="two kinds of question"
        ),
        pytest.param(["search", "x", "--k", "0"], 2, "--k: 0. Expected an integer", id="k of zero"),
        pytest.param(["search", "x", "--k", "many"], 2, "--k: many.", id="k no number"),
        pytest.param(["bogus"], 2, "bogus", id="no such command"),
        pytest.param(
            ["ask", "x", "--index", "nowhere"], 1, "There is no index in nowhere.", id="no index"
        ),
        pytest.param(
            ["chat", "--port", "99999"], 1, "Invalid value for --port: '99999'", id="no such port"
        ),
        pytest.param(
            ["chat", "--port", "x"], 1, "Invalid value for --port: 'x'", id="port no number"
        ),
    ],
)
def test_wrong_usage_is_reported_in_one_line(
    rag: Rag, arguments: list[str], code: int, message: str
) -> None:
    exit_code, out, err = rag(*arguments)
    assert exit_code == code
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["index", "what is this? " * 30], id="a source with a name too long"),
        pytest.param(["index", "~nobody-here/articles"], id="a source of no user"),
        pytest.param(["info", "--index", "x" * 300], id="an index with a name too long"),
        pytest.param(["info", "--index", "~nobody-here/index"], id="an index of no user"),
        pytest.param(["ask", "--questions", "nowhere.jsonl"], id="no file of questions"),
    ],
)
def test_an_invalid_path_is_reported_in_one_line(rag: Rag, arguments: list[str]) -> None:
    code, out, err = rag(*arguments)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_lack_of_memory_is_reported_in_one_line(
    rag: Rag, monkeypatch: pytest.MonkeyPatch, index_folder: Path, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("rag.store.reader.IndexReader.open", refuse)
    code, out, err = rag("info", "--index", index_folder)
    assert (code, out) == (1, "")
    assert err.startswith("rag: There is not enough memory.")
    assert len(err.splitlines()) == 1


def test_an_interrupt_ends_with_130_and_one_line(
    rag: Rag, monkeypatch: pytest.MonkeyPatch, index_folder: Path
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rag.store.reader.IndexReader.open", interrupt)
    code, _, err = rag("info", "--index", index_folder)
    assert code == 130
    assert err == "rag: Interrupted.\n"
