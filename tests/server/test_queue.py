"""The order in which questions are answered."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.server.errors import QueueFull
from rag.server.queue import MAX_CONCURRENT, MAX_WAITING, FairQueue, QueueEntry


def test_questions_are_answered_in_the_order_of_arrival() -> None:
    queue = FairQueue()
    running = [queue.enter(f"reader {n}") for n in range(MAX_CONCURRENT)]
    third, fourth = queue.enter("third"), queue.enter("fourth")
    assert [queue.position(entry) for entry in running] == [0] * MAX_CONCURRENT
    assert (queue.position(third), queue.position(fourth)) == (1, 2)
    queue.leave(third)
    assert queue.position(fourth) == 1
    queue.leave(running[0])
    assert queue.position(fourth) == 0


def test_ten_questions_of_one_session_delay_another_session_by_only_one_of_them() -> None:
    queue = FairQueue()
    backlog = [queue.enter("hasty") for _ in range(10)]
    patient = queue.enter("patient")
    assert queue.position(patient) == 2
    assert [queue.position(entry) for entry in backlog[:MAX_CONCURRENT]] == [0] * MAX_CONCURRENT
    assert queue.position(backlog[MAX_CONCURRENT]) == 1
    assert queue.position(backlog[-1]) == 10 + 1 - MAX_CONCURRENT


@given(st.lists(st.sampled_from(["one", "two", "three", None, None]), max_size=80), st.randoms())
def test_no_session_is_answered_much_more_often_while_another_waits(
    arrivals: list[str | None], drawn: random.Random
) -> None:
    """`arrivals`: a session that asks, or None: one of the questions that are being answered ends."""
    queue, entries, started = FairQueue(), list[QueueEntry](), list[QueueEntry]()
    arrival, has_waited = dict[QueueEntry, tuple[int, int]](), set[QueueEntry]()
    for session in arrivals:
        if session is not None and len(queue) < MAX_WAITING:
            own_waiting = sum(
                entry.session == session for entry in entries if queue.position(entry)
            )
            entries.append(queue.enter(session))
            arrival[entries[-1]] = (len(started), own_waiting)
        elif entries:
            ended = drawn.choice([entry for entry in entries if queue.position(entry) == 0])
            queue.leave(ended)
            entries.remove(ended)
        running = [entry for entry in entries if queue.position(entry) == 0]
        assert len(running) == min(MAX_CONCURRENT, len(entries))
        assert set(started) & set(entries) <= set(running), "one was put back into the queue"
        waiting = [entry for entry in entries if entry not in running]
        assert not any(entry.called.is_set() for entry in waiting)
        assert all(entry.called.is_set() for entry in running if entry in has_waited)
        has_waited.update(waiting)
        started += [entry for entry in running if entry not in started]
    for index, entry in enumerate(started):
        started_before, own_waiting = arrival[entry]
        overtaken_by = Counter(other.session for other in started[started_before:index])
        assert all(count <= own_waiting + 2 for count in overtaken_by.values())


def test_more_questions_than_may_wait_are_rejected() -> None:
    queue = FairQueue()
    entries = [queue.enter("reader") for _ in range(MAX_CONCURRENT + MAX_WAITING)]
    with pytest.raises(QueueFull, match="Too many questions"):
        queue.enter("another")
    queue.leave(entries[5])
    queue.enter("another")


def test_an_entry_leaves_the_queue_however_its_question_ends() -> None:
    queue = FairQueue()

    def fail() -> None:
        with queue.queued("reader"):
            assert len(queue) == 1
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert len(queue) == 0
