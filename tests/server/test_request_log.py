"""The record of each question, however it ends; and the log, which never contains the question."""

import asyncio
import json
from collections.abc import Generator
from pathlib import Path
from time import monotonic

import pytest
from anyio.from_thread import start_blocking_portal

from rag.answering.chatbot import Chatbot
from rag.errors import ModelError
from rag.server.errors import QueueFull
from rag.server.queue import MAX_CONCURRENT, MAX_WAITING
from rag.server.request_log import Channel, LogContent, Outcome, RequestRecord, listeners
from rag.server.service import POLL_INTERVAL_S, ChatService, Ready
from rag.settings import load
from rag.types import Answer, Timings

QUESTION = "How high is the lighthouse of Sant Oriol?"


@pytest.fixture
def service(index_folder: Path, chatbot: Chatbot) -> ChatService:
    service = ChatService(load(index=index_folder))
    service.state = Ready(chatbot)
    return service


def record_of(
    service: ChatService, question: str = QUESTION, max_statuses: int = 100_000
) -> RequestRecord:
    """Ask, close the answer after `max_statuses` at most, and return the record of it."""
    records: list[RequestRecord] = []
    service.listeners.append(records.append)

    async def ask() -> None:
        statuses = service.answer(question, channel=Channel.API)
        for _ in range(max_statuses):
            if (await anext(statuses)).done:
                break
        await statuses.aclose()

    with start_blocking_portal() as portal:
        portal.call(ask)
    (record,) = records
    return record


def failing(error: Exception) -> Chatbot:
    class Failing(Chatbot):
        def __init__(self) -> None:
            pass

        def ask(self, *arguments: object, **options: object) -> Generator[Answer]:
            raise error
            yield

    return Failing()


def test_an_answer_is_recorded_with_its_mode_and_timings(service: ChatService) -> None:
    record = record_of(service)
    assert record.outcome is Outcome.WRITTEN
    assert (record.channel, record.question) == (Channel.API, QUESTION)
    assert (record.position, record.queued_s) == (0, 0)
    stages = record.timings.stages
    assert min(stages["encode_question"], stages["weigh_evidence"], stages["check"]) > 0
    assert sum(stages.values()) == pytest.approx(record.timings.total_s)
    assert record.total_s >= record.timings.total_s > 0


def test_a_refusal_is_recorded_as_refused(service: ChatService) -> None:
    question = "Who won the chess world cup in Baku?"
    assert record_of(service, question).outcome is Outcome.REFUSED


def test_small_talk_is_not_recorded_as_a_written_answer(service: ChatService) -> None:
    assert record_of(service, "Thanks!").outcome is Outcome.SMALL_TALK


def test_a_question_that_the_reader_gives_up_is_recorded_as_stopped(service: ChatService) -> None:
    assert record_of(service, max_statuses=1).outcome is Outcome.STOPPED


@pytest.mark.parametrize("error", [ModelError("It is gone.", remedy="Start it."), KeyError("x")])
def test_a_question_that_fails_is_recorded_as_failed(
    service: ChatService, error: Exception
) -> None:
    service.state = Ready(failing(error))
    assert record_of(service).outcome is Outcome.FAILED


def test_a_question_that_the_queue_rejects_is_recorded_as_busy(service: ChatService) -> None:
    for _ in range(MAX_WAITING + MAX_CONCURRENT):
        service.queue.enter("another")
    records: list[RequestRecord] = []
    service.listeners.append(records.append)
    statuses = service.answer(QUESTION, channel=Channel.V1)
    with start_blocking_portal() as portal, pytest.raises(QueueFull):
        portal.call(statuses.__anext__)
    assert [(each.channel, each.outcome) for each in records] == [(Channel.V1, Outcome.BUSY)]


def test_time_in_the_queue_is_recorded_apart(service: ChatService) -> None:
    before = [service.queue.enter("another") for _ in range(MAX_CONCURRENT + 1)]
    records: list[RequestRecord] = []
    service.listeners.append(records.append)

    async def ask() -> None:
        async for status in service.answer(QUESTION, channel=Channel.PAGE):
            if status.position and len(before) > 1:
                await asyncio.sleep(0.3)
                service.queue.leave(before.pop())
                service.queue.leave(before.pop())

    with start_blocking_portal() as portal:
        portal.call(ask)
    (record,) = records
    assert record.position == 2
    answered_s = record.timings.total_s - 2 * POLL_INTERVAL_S
    assert 0.3 <= record.queued_s <= record.total_s - answered_s


def test_the_next_question_starts_as_soon_as_another_ends(
    service: ChatService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.server.service.POLL_INTERVAL_S", 60)
    before = [service.queue.enter("another") for _ in range(MAX_CONCURRENT)]

    async def ask() -> float:
        statuses = service.answer(QUESTION, channel=Channel.PAGE)
        assert (await anext(statuses)).position == 1
        asyncio.get_running_loop().call_later(0.1, service.queue.leave, before[0])
        started = monotonic()
        *_, last = [status async for status in statuses]
        assert last.done
        return monotonic() - started

    with start_blocking_portal() as portal:
        assert portal.call(ask) < 30


def test_a_reader_who_gives_up_in_the_queue_has_waited_all_the_time(
    service: ChatService,
) -> None:
    for _ in range(MAX_CONCURRENT):
        service.queue.enter("another")
    record = record_of(service, max_statuses=2)
    assert record.outcome is Outcome.STOPPED
    assert record.queued_s == record.total_s >= POLL_INTERVAL_S
    assert len(service.queue) == MAX_CONCURRENT


# -- the log


def log_lines(
    content: LogContent | None, record: RequestRecord, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    for listener in listeners(content):
        listener(record)
    out, err = capsys.readouterr()
    assert not out
    return err.splitlines()


FORGED = 'Who?\n{"mode": "written"}\r\u2028\x1b[2J\x9b2J\ud800'


def record_with(question: str) -> RequestRecord:
    return RequestRecord(
        channel=Channel.PAGE,
        question=question,
        outcome=Outcome.STOPPED,
        position=3,
        queued_s=0.5,
        total_s=2.0,
        timings=Timings(0.1, stages={"write": 1}),
    )


def test_a_line_contains_everything_but_the_question(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = log_lines("lines", record_with(FORGED), capsys)
    fields = json.loads(line)
    assert fields.pop("time").endswith("+00:00")
    assert fields == {
        "face": "page",
        "mode": "stopped",
        "seconds": 2.0,
        "waited_s": 0.5,
        "place": 3,
        "prompt_tokens": 0,
        "answer_tokens": 0,
        "stages": {"write": 1},
    }


def test_the_log_is_json_alone_one_line_a_question_and_written_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = [listener for _ in range(3) for listener in listeners("lines")][-1]
    for _ in range(2):
        write(record_with("Why?"))
    err = capsys.readouterr().err
    first, second, rest = err.split("\n")
    assert rest == ""
    for line in (first, second):
        assert line == json.dumps(json.loads(line)), "neither prefix nor level nor name"


def test_a_logged_question_can_neither_forge_a_line_nor_control_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (line,) = log_lines("questions", record_with(FORGED), capsys)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["question"] == FORGED
    assert json.loads(line)["mode"] == "stopped"


def test_a_percent_sign_in_a_question_is_logged_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (line,) = log_lines("questions", record_with("100 %s of %(x)d"), capsys)
    assert json.loads(line)["question"] == "100 %s of %(x)d"


def test_a_logged_question_is_cut_at_the_longest_that_is_answered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (line,) = log_lines("questions", record_with("x" * 1_000_000), capsys)
    assert len(line) < 5000


@pytest.mark.parametrize(("terminal", "lines"), [(True, 0), (False, 1)])
def test_by_default_nothing_is_written_to_a_terminal(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    lines: int,
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    assert len(log_lines(None, record_with("Why?"), capsys)) == lines
    assert log_lines("off", record_with("Why?"), capsys) == []
    assert len(log_lines("lines", record_with("Why?"), capsys)) == 1


def test_a_log_that_nobody_reads_any_more_stops_no_answer(
    service: ChatService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_pipe(text: str) -> int:
        raise BrokenPipeError

    service.listeners += listeners("lines")
    monkeypatch.setattr("sys.stderr.write", broken_pipe)
    assert record_of(service).outcome is Outcome.WRITTEN
