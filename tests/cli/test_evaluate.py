"""`rag eval`: generate questions, measure on them, and compare with an earlier run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fixture_types import Rag

from rag.settings import warn_deprecated


@pytest.fixture(autouse=True)
def _warn_again() -> Iterator[None]:
    """Lets each test see warnings that are given once per process."""
    warn_deprecated.cache_clear()
    yield
    warn_deprecated.cache_clear()


def test_questions_are_generated_evaluated_and_compared(
    rag: Rag, index_folder: Path, tmp_path: Path
) -> None:
    _, questions, err = rag("eval", "--generate", "2", "--index", index_folder)
    assert "deprecated" not in err
    file, run, report = (tmp_path / name for name in ("mine.jsonl", "run.json", "report.html"))
    file.write_text(questions)
    arguments = ("eval", file, "--index", index_folder, "--answers")
    code, out, _ = rag(*arguments, "--html", report, "--json")
    assert code == 0
    assert report.read_text().startswith("<!doctype html>")
    run.write_text(out)
    code, out, err = rag(*arguments, "--baseline", run)
    assert code == 0
    assert "recall@10" in out
    assert "difference from the baseline" in out
    assert "deprecated" not in err


def test_deprecated_flags_work_with_a_warning(rag: Rag, index_folder: Path, tmp_path: Path) -> None:
    _, expected, _ = rag("eval", "--generate", "2", "--index", index_folder)
    code, questions, err = rag("eval", "--make", "2", "--index", index_folder)
    assert (code, questions) == (0, expected)
    assert err == (
        "rag: --make is deprecated and will be removed in the next release."
        " Use --generate instead.\n"
    )
    file, run = tmp_path / "mine.jsonl", tmp_path / "run.json"
    file.write_text(questions)
    run.write_text(rag("eval", file, "--index", index_folder, "--json")[1])
    code, out, err = rag("eval", file, "--index", index_folder, "--against", run)
    assert code == 0
    assert "difference from the baseline" in out
    assert "--against is deprecated" in err
    assert "Use --baseline instead." in err


def test_a_new_flag_wins_over_the_deprecated_one(rag: Rag, index_folder: Path) -> None:
    code, out, err = rag("eval", "--generate", "1", "--make", "2", "--index", index_folder)
    assert code == 0
    assert len(out.splitlines()) == 1
    assert "--make is ignored, because --generate is set." in err


def test_deprecated_flags_are_not_in_the_help(rag: Rag) -> None:
    _, out, _ = rag("eval", "--help")
    assert "--generate" in out
    assert "--make" not in out
    assert "--against" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "The argument QUESTIONS is missing."),
        (("--generate", "0"), "Invalid value for --generate: 0."),
        (("none.jsonl",), "There is no file none.jsonl of questions."),
    ],
)
def test_an_invalid_argument_is_reported_in_one_line(
    rag: Rag, arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = rag("eval", *arguments)
    assert code in (1, 2)
    assert err.startswith(f"rag: {message}")
    assert err.count("\n") == 1


def test_an_invalid_value_names_the_deprecated_flag_that_was_used(rag: Rag) -> None:
    code, _, err = rag("eval", "--make", "0")
    assert code == 2
    assert err.endswith("rag: Invalid value for --make: 0. Expected an integer from 1 to 10000.\n")
