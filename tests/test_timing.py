"""Timing of the phases of a question: together they account for all of its time."""

from collections.abc import Iterator, Sequence
from time import sleep

import pytest

from rag.answering.chatbot import Chatbot
from rag.models.generation.base import TextStream
from rag.models.generation.prompts import general_profile
from rag.models.reading.reader import Reader
from rag.timing import Phase, PhaseTimer
from rag.types import Answer, Message, Mode

QUESTION = "How high is the lighthouse of Sant Oriol?"
UNANSWERABLE = "Who composed the opera about the emperor of Brazil?"
READING_S, WRITING_S, PAUSE_S = 0.3, 0.1, 0.2

SEARCHED = ["standalone_question", "lexical_search", "encode_question", "dense_search"]
SCORED = [*SEARCHED, "gather_hits", "weigh_evidence"]
READ = [*SCORED, "check", "between"]


class SlowGenerator:
    """A generator that takes some time to read the prompt, and to write each of three pieces."""

    name, profile = "slow", general_profile(2048)
    context, memory = 2048, 0
    problem = ""

    def load(self) -> None:
        pass

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return 100

    def stream(self, messages: Sequence[Message]) -> TextStream:
        sleep(READING_S / 2)
        yield ""
        sleep(READING_S / 2)
        yield "It is "
        sleep(WRITING_S)
        yield "37 metres "
        sleep(WRITING_S)
        yield "high."


def final(answers: Iterator[Answer]) -> Answer:
    *_, answer = answers
    return answer


def test_the_phases_of_an_answer_sum_to_its_total_time(chatbot: Chatbot) -> None:
    chatbot.load()
    timings = final(chatbot.ask(QUESTION)).timings
    assert list(timings.stages) == READ
    assert sum(timings.stages.values()) == pytest.approx(timings.total_s)
    assert timings.stages["between"] < 0.05 * timings.total_s
    assert min(timings.stages.values()) >= 0


def test_the_phases_of_a_refusal_sum_to_its_total_time(chatbot: Chatbot) -> None:
    answer = final(chatbot.ask(UNANSWERABLE))
    assert answer.mode is Mode.REFUSED
    assert set(SCORED) < set(answer.timings.stages)
    assert "check" not in answer.timings.stages
    assert sum(answer.timings.stages.values()) == pytest.approx(answer.timings.total_s)


def test_the_phases_of_the_search_are_known_before_the_answer(chatbot: Chatbot) -> None:
    first = next(iter(chatbot.ask(QUESTION)))
    assert list(first.timings.stages) == [*SCORED, "between"]
    assert sum(first.timings.stages.values()) == pytest.approx(first.timings.retrieve_s, abs=0.01)


def test_reading_and_writing_are_measured_separately_without_a_slow_consumer(
    chatbot: Chatbot, reader: Reader
) -> None:
    bot = Chatbot(chatbot.index, chatbot.encoder, SlowGenerator(), reader)
    answers = []
    for answer in bot.ask(QUESTION):
        answers.append(answer)
        if answer.draft:
            sleep(PAUSE_S)
    assert "37 metres" in answer.text
    stages = answer.timings.stages
    assert READING_S <= stages["read_prompt"] < READING_S + WRITING_S
    assert 2 * WRITING_S <= stages["write"] < 2 * WRITING_S + PAUSE_S
    assert stages["between"] >= 3 * PAUSE_S


def test_concurrent_questions_are_timed_independently(chatbot: Chatbot, reader: Reader) -> None:
    bot = Chatbot(chatbot.index, chatbot.encoder, SlowGenerator(), reader)
    first, second = bot.ask(QUESTION), bot.ask(QUESTION)
    unfinished = next(first)
    finished = final(second)
    assert "read_prompt" not in unfinished.timings.stages
    assert finished.timings.stages["read_prompt"] < 2 * READING_S


def test_a_phase_that_raises_is_measured() -> None:
    def fails() -> None:
        sleep(0.05)
        raise ValueError("broken")

    timer = PhaseTimer()
    with pytest.raises(ValueError, match="broken"), timer.measure(Phase.CHECK):
        fails()
    assert timer.stages()["check"] >= 0.05
