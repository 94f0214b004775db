"""The service that all protocols ask: whether it is ready, and how it answers."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from shutil import copytree

import pytest
from anyio.from_thread import start_blocking_portal

from rag.answering.chatbot import Chatbot
from rag.errors import ModelError, QuestionError
from rag.server.answer_task import AnswerStatus
from rag.server.errors import INTERNAL_ERROR, QueueFull, RequestError, ServiceUnavailable
from rag.server.queue import MAX_CONCURRENT, MAX_WAITING
from rag.server.request_log import Channel
from rag.server.service import ChatService, Failed, Loading, Ready
from rag.settings import load
from rag.types import Answer

QUESTION = "How high is the lighthouse of Sant Oriol?"


@pytest.fixture
def service(index_folder: Path, chatbot: Chatbot) -> ChatService:
    """A service whose models are loaded."""
    service = ChatService(load(index=index_folder))
    service.state = Ready(chatbot)
    return service


async def statuses(service: ChatService, question: str = QUESTION) -> list[AnswerStatus]:
    return [status async for status in service.answer(question, channel=Channel.API)]


def unloadable(error: Exception) -> Chatbot:
    """A chatbot whose models cannot be loaded."""

    class Unloadable(Chatbot):
        def __init__(self) -> None:
            pass

        def load(self) -> None:
            raise error

    return Unloadable()


def until_settled(service: ChatService) -> None:
    deadline = time.monotonic() + 60
    while not service.settled:
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- whether it is ready


def test_the_models_are_loaded_on_another_thread(
    index_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load = threading.Event()
    monkeypatch.setattr(Chatbot, "load", lambda chatbot: may_load.wait(60))
    service = ChatService(load(index=index_folder))
    service.load()
    assert isinstance(service.state, Loading)
    assert service.index is not None, "articles can be read meanwhile"

    async def ask_meanwhile() -> AnswerStatus:
        with pytest.raises(ServiceUnavailable, match="being loaded"):
            await anext(service.answer(QUESTION, channel=Channel.V1, wait_for_models=False))
        waiting = service.answer(QUESTION, channel=Channel.PAGE)
        first = await anext(waiting)
        await waiting.aclose()
        return first

    with start_blocking_portal() as portal:
        assert portal.call(ask_meanwhile) == AnswerStatus(loading=True)
        may_load.set()
        assert portal.call(service.ready) is service.chatbot
    assert isinstance(service.state, Ready)


def test_a_missing_index_is_reported_and_opened_once_it_is_there(
    index_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Chatbot, "load", lambda chatbot: None)
    service = ChatService(load(index=tmp_path / "later"))
    assert isinstance(service.state, Failed)
    assert service.settled
    calls: list[Callable[[], object]] = [
        service.ready,
        lambda: service.search(QUESTION, 3),
        lambda: service.article("marsh.md"),
        lambda: service.final_answer(QUESTION, channel=Channel.MCP),
        lambda: statuses(service),
    ]
    with start_blocking_portal() as portal:
        for call in calls:
            with pytest.raises(ServiceUnavailable, match="rag index") as unavailable:
                portal.call(call)
            assert unavailable.value.reason != INTERNAL_ERROR
        assert service.listeners == []
        copytree(index_folder, tmp_path / "later")
        assert portal.call(service.article, "marsh.md").title == "Rare waders nest again in Dunmere"
        assert portal.call(service.ready) is service.chatbot
    assert "rag index" in caplog.text


def test_an_unexpected_error_while_loading_is_logged_and_not_shown(
    service: ChatService, caplog: pytest.LogCaptureFixture
) -> None:
    service.state = Loading(unloadable(KeyError("secret")))
    service.load()
    until_settled(service)
    with start_blocking_portal() as portal:
        with pytest.raises(ServiceUnavailable) as unavailable:
            portal.call(service.ready)
        with pytest.raises(ServiceUnavailable):
            portal.call(statuses, service)
    assert unavailable.value.reason == INTERNAL_ERROR
    assert str(unavailable.value) == str(INTERNAL_ERROR)
    assert "secret" in caplog.text


def test_models_that_cannot_be_loaded_are_tried_again_by_each_question(
    service: ChatService, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ModelError("It is too large.", remedy="Choose a smaller one.")
    broken = unloadable(error)
    monkeypatch.setattr(service, "state", Loading(broken))
    service.load()
    until_settled(service)
    assert service.state == Failed(error, chatbot=broken)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    with start_blocking_portal() as portal:
        assert portal.call(service.ready) is broken


# -- how it answers


def test_a_complete_answer_is_returned(service: ChatService) -> None:
    with start_blocking_portal() as portal:
        answer = portal.call(lambda: service.final_answer(QUESTION, channel=Channel.API))
    assert "37 metres" in answer.text


@pytest.mark.parametrize("question", ["", "x" * 5000])
def test_a_question_that_cannot_be_asked_is_rejected(service: ChatService, question: str) -> None:
    with start_blocking_portal() as portal:
        with pytest.raises(QuestionError):
            portal.call(lambda: service.final_answer(question, channel=Channel.API))
        with pytest.raises(QuestionError):
            portal.call(service.search, question, 3)


def test_passages_and_articles_are_found(service: ChatService) -> None:
    with start_blocking_portal() as portal:
        standalone, hits = portal.call(service.search, QUESTION, 2)
        article = portal.call(service.article, hits[0].passage.article_id)
        with pytest.raises(RequestError, match=r"no article 'nowhere\.md'"):
            portal.call(service.article, "nowhere.md")
    assert standalone == QUESTION
    assert (len(hits), article.id) == (2, "lighthouse.md")


def test_example_questions_are_of_the_newest_articles(service: ChatService) -> None:
    assert "Rare waders nest again in Dunmere" in str(service.examples()[0])


def test_an_answer_that_takes_too_long_is_stopped_and_leaves_the_queue(
    service: ChatService, chatbot: Chatbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.server.service.ANSWER_TIMEOUT_S", 0.5)
    stopped, partial = threading.Event(), chatbot.answer(QUESTION)

    class Endless(Chatbot):
        def __init__(self) -> None:
            pass

        def ask(self, *arguments: object, **options: object) -> Generator[Answer]:
            try:
                while True:
                    time.sleep(0.01)
                    yield partial
            finally:
                stopped.set()

    service.state = Ready(Endless())
    with start_blocking_portal() as portal:
        *_, last = portal.call(statuses, service)
    assert last.done
    assert "was stopped" in str(last.error)
    with pytest.raises(ServiceUnavailable, match="was stopped"):
        last.final_answer()
    assert stopped.wait(5)
    assert len(service.queue) == 0


def test_an_unexpected_error_of_an_answer_is_logged_and_not_shown(
    service: ChatService, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Chatbot):
        def __init__(self) -> None:
            pass

        def ask(self, *arguments: object, **options: object) -> Generator[Answer]:
            raise KeyError("secret")
            yield

    service.state = Ready(Failing())
    with start_blocking_portal() as portal:
        *_, last = portal.call(statuses, service)
    assert (last.done, last.error) == (True, INTERNAL_ERROR)
    with pytest.raises(ServiceUnavailable) as unavailable:
        last.final_answer()
    assert unavailable.value.reason == INTERNAL_ERROR
    assert "secret" in caplog.text


def test_concurrent_answers_are_those_given_one_after_another(index_folder: Path) -> None:
    service = ChatService(load(index=index_folder))
    service.load()
    questions = [
        "How high is the lighthouse of Sant Oriol?",
        "When was the marsh of Dunmere drained?",
        "What do boats of up to eight metres pay a night?",
        "Who won the chess world cup in Baku?",
    ]

    async def last(question: str) -> tuple[str, float, int]:
        """Return the text and confidence of the answer, and its first position in the queue."""
        all_statuses = await statuses(service, question)
        answer = all_statuses[-1].final_answer()
        return answer.text, answer.confidence, max(status.position for status in all_statuses)

    async def concurrent() -> list[tuple[str, float, int]]:
        await service.ready()
        return await asyncio.gather(*map(last, questions * 3))

    async def sequential() -> list[tuple[str, float, int]]:
        return [await last(question) for question in questions]

    with start_blocking_portal() as portal:
        together, alone = portal.call(concurrent), portal.call(sequential)
    assert [each[:2] for each in together] == [each[:2] for each in alone] * 3
    assert max(position for *_, position in together) == len(questions) * 3 - MAX_CONCURRENT
    assert {position for *_, position in alone} == {0}


def test_a_program_waits_in_the_queue_with_the_readers(service: ChatService) -> None:
    readers = [service.queue.enter(f"{n}") for n in range(MAX_CONCURRENT)]

    async def ask() -> Answer:
        asking = asyncio.create_task(service.final_answer(QUESTION, channel=Channel.API))
        await asyncio.sleep(1)
        assert not asking.done()
        service.queue.leave(readers[0])
        return await asking

    with start_blocking_portal() as portal:
        assert "37 metres" in portal.call(ask).text


def test_a_full_queue_is_reported(service: ChatService) -> None:
    for _ in range(MAX_CONCURRENT + MAX_WAITING):
        service.queue.enter("another")
    with start_blocking_portal() as portal, pytest.raises(QueueFull, match="Ask again"):
        portal.call(lambda: service.final_answer(QUESTION, channel=Channel.API))
