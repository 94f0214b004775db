"""The same answers in Python: what the documents show is run as it stands there."""

import doctest
import re
from pathlib import Path

import pytest

from rag import Chatbot, indexing
from rag.datatypes import Mode
from rag.encoder import Encoder
from rag.errors import NoIndex, QuestionError

ROOT = Path(__file__).parents[1]
SESSION = re.compile(r"```pycon\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def samples(
    tmp_path_factory: pytest.TempPathFactory, encoder: Encoder, quiet: indexing.Progress
) -> Path:
    """An index of the sample articles."""
    folder = tmp_path_factory.mktemp("samples")
    indexing.sync(folder, encoder, [ROOT / "seeds"], rebuild=False, progress=quiet)
    return folder


@pytest.mark.parametrize("document", ["README.md", "docs/api.md"])
def test_what_a_document_shows_in_python_is_what_python_says(
    document: str, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_INDEX", str(samples))
    lines = "".join(SESSION.findall((ROOT / document).read_text(encoding="utf-8")))
    shown = doctest.DocTestParser().get_doctest(lines, {}, document, document, 0)
    assert len(shown.examples) >= 5
    assert doctest.DocTestRunner().run(shown).failed == 0


def test_an_answer_is_the_last_of_what_comes_about(chatbot: Chatbot) -> None:
    question = "How high is the lighthouse of Sant Oriol?"
    *_, last = chatbot.ask(question)
    answer = chatbot.answer(question)
    assert "37 metres" in answer.text
    assert answer.citations == last.citations
    assert (answer.text, answer.stage) == (last.text, last.stage)


def test_a_refusal_is_an_answer_and_a_question_that_is_none_an_error(chatbot: Chatbot) -> None:
    assert chatbot.answer("Which chess opening does the grandmaster prefer?").mode is Mode.REFUSED
    with pytest.raises(QuestionError, match="The question is empty"):
        chatbot.answer(" ")


def test_where_there_is_no_index_opening_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_INDEX", str(tmp_path / "none"))
    with pytest.raises(NoIndex, match="rag index"):
        Chatbot.open()


def test_the_package_has_no_other_names() -> None:
    import rag

    with pytest.raises(AttributeError, match="no attribute 'Chatbots'"):
        rag.Chatbots  # noqa: B018
