"""The feedback file: readers' ratings as questions that `rag eval` reads."""

from pathlib import Path

import pytest

from rag.answering.chatbot import Chatbot
from rag.errors import QuestionError
from rag.evaluation.dataset import read_eval_questions
from rag.models.embedding.encoder import Encoder
from rag.server.ui.conversations import Conversation, Turn
from rag.server.ui.feedback import NOT_IN_ARTICLES, Feedback
from rag.server.uploads import Uploads
from rag.types import Answer, Mode


def final_answer(chatbot: Chatbot, question: str) -> Answer:
    *_, answer = chatbot.ask(question)
    return answer


def conversation_of(*answers: Answer) -> Conversation:
    turns = tuple(Turn(answer.question, answer, done=True) for answer in answers)
    return Conversation("abc").with_turns(turns)


@pytest.fixture
def answer(chatbot: Chatbot) -> Answer:
    return final_answer(chatbot, "How high is the lighthouse of Sant Oriol?")


def test_a_rating_is_a_question_that_eval_reads(
    chatbot: Chatbot, answer: Answer, tmp_path: Path
) -> None:
    file = tmp_path / "some" / "feedback.jsonl"
    refusal = final_answer(chatbot, "Who won the chess world cup in Baku?")
    assert refusal.mode is Mode.REFUSED
    conversation = conversation_of(answer, refusal)
    feedback = Feedback(file)
    assert feedback.record(conversation, 0, True, "")
    assert feedback.record(conversation, 1, True, "")
    assert feedback.record(conversation, 0, False, "feedback_wrong")
    assert feedback.record(conversation, 0, False, NOT_IN_ARTICLES)
    assert not feedback.record(conversation, 0, False, NOT_IN_ARTICLES), "recorded twice"
    liked, rightly_refused, wrong, not_in_articles = read_eval_questions(file)
    assert dict(liked.relevance) == {"lighthouse.md": 1}
    assert rightly_refused.unanswerable
    assert len(rightly_refused.question.history) == 2
    assert not wrong.relevance
    assert not wrong.unanswerable
    assert not_in_articles.unanswerable


def test_text_from_uploaded_files_is_not_written_to_the_owners_file(
    chatbot: Chatbot, encoder: Encoder, tmp_path: Path
) -> None:
    diary = tmp_path / "diary.txt"
    diary.write_text("My cat is called Mortimer.")
    uploads = Uploads(encoder)
    uploads.add([str(diary)])
    *_, answer = chatbot.ask("What is my cat called?", extra_index=uploads.index)
    assert "Mortimer" in answer.text
    feedback = Feedback(tmp_path / "feedback.jsonl")
    feedback.record(conversation_of(answer), 0, True, "")
    assert "Mortimer" not in feedback.file.read_text()
    uploads.close()


def test_a_file_that_cannot_be_written_is_reported(answer: Answer, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(QuestionError, match="RAG_FEEDBACK"):
        Feedback(tmp_path / "folder").record(conversation_of(answer), 0, True, "")
