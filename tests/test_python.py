"""The Python interface, and the examples of it in the documentation."""

import doctest
import re
from pathlib import Path

import pytest

import rag
from rag import Chatbot
from rag.errors import NoIndex, QuestionError
from rag.types import Mode

ROOT = Path(__file__).parents[1]
SESSION = re.compile(r"```pycon\n(.*?)```", re.DOTALL)


def test_the_python_examples_of_the_documentation_are_correct(
    sample_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = "docs/api.md"
    monkeypatch.setenv("RAG_INDEX", str(sample_index))
    lines = "".join(SESSION.findall((ROOT / document).read_text(encoding="utf-8")))
    examples = doctest.DocTestParser().get_doctest(lines, {}, document, document, 0)
    assert len(examples.examples) >= 5
    assert doctest.DocTestRunner().run(examples).failed == 0


def test_answer_returns_the_last_update_of_ask(chatbot: Chatbot) -> None:
    question = "How high is the lighthouse of Sant Oriol?"
    *_, last = chatbot.ask(question)
    answer = chatbot.answer(question)
    assert "37 metres" in answer.text
    assert answer.citations == last.citations
    assert (answer.text, answer.stage) == (last.text, last.stage)


def test_a_refusal_is_an_answer_and_an_invalid_question_an_error(chatbot: Chatbot) -> None:
    assert chatbot.answer("Which chess opening does the grandmaster prefer?").mode is Mode.REFUSED
    with pytest.raises(QuestionError, match="The question is empty"):
        chatbot.answer(" ")


def test_opening_without_an_index_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_INDEX", str(tmp_path / "none"))
    with pytest.raises(NoIndex, match="rag index"):
        Chatbot.open()


def test_the_public_names_are_exported() -> None:
    for name in rag.__all__:
        assert getattr(rag, name).__name__ == name
        assert name in dir(rag)


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Chatbots'"):
        rag.Chatbots  # noqa: B018
