"""Where a question's seconds go: all of them are accounted for, and each once."""

from collections.abc import Iterator, Sequence
from time import sleep

import pytest

from rag.chatbot import Chatbot
from rag.datatypes import Answer, Message, Mode
from rag.generator import Pieces
from rag.prompt import SMALL
from rag.stopwatch import Stopwatch, Work

QUESTION = "How high is the lighthouse of Sant Oriol?"
ELSEWHERE = "Who composed the opera about the emperor of Brazil?"
READING_S, WRITING_S, PAUSE_S = 0.3, 0.1, 0.2

SEARCHED = ["standalone_question", "lexical_search", "encode_question", "dense_search"]
WEIGHED = [*SEARCHED, "gather_hits", "weigh_evidence"]
WRITTEN = [*WEIGHED, "compose_prompt", "read_prompt", "write", "check", "between"]


class Slow:
    """A generator that takes its time to read, and to write each of three pieces."""

    name, ability = "slow", SMALL
    context, memory = 2048, 0
    problem = ""

    def load(self) -> None:
        pass

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return 100

    def short_answer(self, messages: Sequence[Message]) -> Iterator[None]:
        yield from ()

    def stream(self, messages: Sequence[Message]) -> Pieces:
        sleep(READING_S / 2)
        yield ""
        sleep(READING_S / 2)
        yield "It is "
        sleep(WRITING_S)
        yield "37 metres "
        sleep(WRITING_S)
        yield "high."


def last(answers: Iterator[Answer]) -> Answer:
    *_, answer = answers
    return answer


def test_a_question_of_the_real_models_is_accounted_for_to_a_few_percent(chatbot: Chatbot) -> None:
    chatbot.load()
    timings = last(chatbot.ask(QUESTION)).timings
    assert list(timings.stages) == WRITTEN
    assert sum(timings.stages.values()) == pytest.approx(timings.total_s)
    assert timings.stages["between"] < 0.05 * timings.total_s
    assert min(timings.stages.values()) >= 0
    assert timings.stages["read_prompt"] > timings.stages["write"] > 0


def test_a_refused_question_is_accounted_for_as_far_as_it_went(chatbot: Chatbot) -> None:
    answer = last(chatbot.ask(ELSEWHERE))
    assert answer.mode is Mode.REFUSED
    assert set(WEIGHED) < set(answer.timings.stages)
    assert "check" not in answer.timings.stages
    assert sum(answer.timings.stages.values()) == pytest.approx(answer.timings.total_s)


def test_searching_is_told_apart_before_the_answer_is_there(chatbot: Chatbot) -> None:
    first = next(iter(chatbot.ask(QUESTION)))
    assert list(first.timings.stages) == [*WEIGHED, "between"]
    assert sum(first.timings.stages.values()) == pytest.approx(first.timings.retrieve_s, abs=0.01)


def test_reading_is_told_from_writing_and_neither_is_charged_for_a_slow_reader(
    chatbot: Chatbot,
) -> None:
    bot = Chatbot(chatbot.index, chatbot.encoder, Slow())
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


def test_two_questions_of_one_chatbot_keep_their_own_time(chatbot: Chatbot) -> None:
    bot = Chatbot(chatbot.index, chatbot.encoder, Slow())
    first, second = bot.ask(QUESTION), bot.ask(QUESTION)
    begun = next(first)
    whole = last(second)
    assert "read_prompt" not in begun.timings.stages
    assert whole.timings.stages["read_prompt"] < 2 * READING_S


def test_work_that_fails_is_counted_too() -> None:
    def fails() -> None:
        sleep(0.05)
        raise ValueError("broken")

    clock = Stopwatch()
    with pytest.raises(ValueError, match="broken"), clock.during(Work.CHECK):
        fails()
    assert clock.stages()["check"] >= 0.05
