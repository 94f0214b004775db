"""What is noted of a question: how it ended, whatever way that was, and never what was asked."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from anyio.from_thread import start_blocking_portal

from rag.chatbot import Chatbot
from rag.datatypes import EVERYTHING, Answer, Timings
from rag.errors import ModelError
from rag.settings import load
from rag.web.desk import PERIOD_S, TOGETHER, WAITING, Busy, Desk
from rag.web.journal import Ending, Face, Kind, Noted, listeners

QUESTION = "How high is the lighthouse of Sant Oriol?"


@pytest.fixture
def desk(index_folder: Path) -> Desk:
    return Desk(load(index=index_folder))


def noted(desk: Desk, chatbot: Chatbot, question: str = QUESTION, most: int = 100_000) -> Noted:
    """What is noted of a question that is given up after `most` looks at it."""
    told: list[Noted] = []
    desk.listeners.append(told.append)

    async def ask() -> None:
        asked = desk.answering(chatbot, question, [], EVERYTHING, "", Face.API)
        for _ in range(most):
            if (await anext(asked)).over:
                break
        await asked.aclose()

    with start_blocking_portal() as portal:
        portal.call(ask)
    (only,) = told
    return only


def failing(error: Exception) -> type[Chatbot]:
    class Failing(Chatbot):
        def __init__(self) -> None:
            pass

        def ask(self, *asked: object) -> Iterator[Answer]:
            raise error
            yield

    return Failing


def test_an_answer_is_noted_with_its_mode_and_its_times(desk: Desk, chatbot: Chatbot) -> None:
    written = noted(desk, chatbot)
    assert written.ending is Ending.WRITTEN
    assert (written.face, written.question) == (Face.API, QUESTION)
    assert (written.place, written.waited_s) == (0, 0)
    assert written.timings.prompt_tokens > written.timings.answer_tokens > 0
    assert written.seconds >= written.timings.total_s > 0


def test_a_refusal_is_noted_as_one(desk: Desk, chatbot: Chatbot) -> None:
    assert noted(desk, chatbot, "Who won the chess world cup in Baku?").ending is Ending.REFUSED


def test_a_question_that_is_given_up_was_stopped(desk: Desk, chatbot: Chatbot) -> None:
    assert noted(desk, chatbot, most=1).ending is Ending.STOPPED


@pytest.mark.parametrize("error", [ModelError("It is gone.", remedy="Start it."), KeyError("x")])
def test_a_question_that_fails_is_noted_as_one_that_did(
    desk: Desk, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert noted(desk, failing(error)()).ending is Ending.FAILED


def test_a_question_that_finds_no_place_is_noted_too(desk: Desk, chatbot: Chatbot) -> None:
    for _ in range(WAITING + TOGETHER):
        desk.line.enter("another")
    told: list[Noted] = []
    desk.listeners.append(told.append)
    asked = desk.answering(chatbot, QUESTION, [], EVERYTHING, "", Face.V1)
    with start_blocking_portal() as portal, pytest.raises(Busy):
        portal.call(asked.__anext__)
    assert [(only.face, only.ending) for only in told] == [(Face.V1, Ending.BUSY)]


def test_waiting_in_line_is_told_apart(desk: Desk, chatbot: Chatbot) -> None:
    before = [desk.line.enter("another") for _ in range(TOGETHER + 1)]
    told: list[Noted] = []
    desk.listeners.append(told.append)

    async def ask() -> None:
        asked = desk.answering(chatbot, QUESTION, [], EVERYTHING, "", Face.PAGE)
        async for now in asked:
            if now.place and len(before) > 1:
                await asyncio.sleep(0.3)
                desk.line.leave(before.pop())
                desk.line.leave(before.pop())

    with start_blocking_portal() as portal:
        portal.call(ask)
    assert told[0].place == 2
    assert 0.3 <= told[0].waited_s <= told[0].seconds - told[0].timings.total_s + 2 * PERIOD_S


def test_whoever_is_next_is_called_as_soon_as_one_leaves(
    desk: Desk, chatbot: Chatbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.web.desk.PERIOD_S", 60)
    before = [desk.line.enter("another") for _ in range(TOGETHER)]

    async def ask() -> float:
        asked = desk.answering(chatbot, QUESTION, [], EVERYTHING, "", Face.PAGE)
        assert (await anext(asked)).place == 1
        asyncio.get_running_loop().call_later(0.1, desk.line.leave, before[0])
        began = monotonic()
        *_, last = [now async for now in asked]
        assert last.over
        return monotonic() - began

    with start_blocking_portal() as portal:
        assert portal.call(ask) < 30


def test_whoever_gives_up_in_line_has_waited_all_the_time(desk: Desk, chatbot: Chatbot) -> None:
    for _ in range(TOGETHER):
        desk.line.enter("another")
    gave_up = noted(desk, chatbot, most=2)
    assert gave_up.ending is Ending.STOPPED
    assert gave_up.waited_s == gave_up.seconds >= PERIOD_S
    assert len(desk.line) == TOGETHER


# -- as lines


def written(kind: Kind | None, about: Noted, capsys: pytest.CaptureFixture[str]) -> list[str]:
    for tell in listeners(kind):
        tell(about)
    out, err = capsys.readouterr()
    assert not out
    return err.splitlines()


FORGED = 'Who?\n{"mode": "written"}\r\u2028\x1b[2J\x9b2J\ud800'


def about(question: str) -> Noted:
    return Noted(
        Face.PAGE, question, Ending.STOPPED, 3, 0.5, 2.0, Timings(0.1, stages={"write": 1})
    )


def test_a_line_holds_everything_but_the_question(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = written("lines", about(FORGED), capsys)
    told = json.loads(line)
    assert told.pop("time").endswith("+00:00")
    assert told == {
        **{"face": "page", "mode": "stopped", "seconds": 2.0, "waited_s": 0.5, "place": 3},
        **{"prompt_tokens": 0, "answer_tokens": 0, "stages": {"write": 1}},
    }


def test_a_question_that_is_told_can_neither_forge_a_line_nor_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (line,) = written("questions", about(FORGED), capsys)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["question"] == FORGED
    assert json.loads(line)["mode"] == "stopped"


def test_a_question_is_told_no_longer_than_one_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = written("questions", about("x" * 1_000_000), capsys)
    assert len(line) < 5000


@pytest.mark.parametrize(("terminal", "lines"), [(True, 0), (False, 1)])
def test_by_default_nothing_is_written_to_a_terminal(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    lines: int,
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    assert len(written(None, about("Why?"), capsys)) == lines
    assert written("off", about("Why?"), capsys) == []
    assert len(written("lines", about("Why?"), capsys)) == 1


def test_a_log_that_nobody_reads_any_more_stops_no_answer(
    desk: Desk, chatbot: Chatbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(text: str) -> int:
        raise BrokenPipeError

    desk.listeners += listeners("lines")
    monkeypatch.setattr("sys.stderr.write", gone)
    assert noted(desk, chatbot).ending is Ending.WRITTEN
