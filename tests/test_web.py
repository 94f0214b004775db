"""What the page is made of, without a browser: kept conversations, feedback, words, the line."""

import asyncio
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import given
from hypothesis import strategies as st

from rag.chatbot import Chatbot
from rag.datatypes import EVERYTHING, Answer, Article, Mode
from rag.encoder import Encoder
from rag.errors import QuestionError
from rag.questions import expectations_of
from rag.settings import load
from rag.web import programs, rendering
from rag.web.conversations import Conversation, Conversations, Turn, kept, to_keep
from rag.web.desk import (
    MOST_BYTES,
    MOST_UPLOADING,
    TOGETHER,
    WAITING,
    Busy,
    Desk,
    Line,
    Progress,
    Shelf,
    Ticket,
)
from rag.web.feedback import NOT_SAID, Feedback
from rag.web.journal import Face
from rag.web.texts import Texts, entries, for_reader
from rag.web.uploads import Uploads

QUESTION = "How high is the lighthouse of Sant Oriol?"
EN = Texts("en")
MARKUP = (
    '<img src="http://evil.example/x.png" onerror=alert(1)> **b** [a](http://evil.example) ${1}'
)


def answered(chatbot: Chatbot, question: str = QUESTION) -> Answer:
    *_, answer = chatbot.ask(question)
    return answer


def talk(*answers: Answer) -> Conversation:
    turns = tuple(Turn(answer.question, answer, over=True) for answer in answers)
    return Conversation("abc").with_turns(turns)


# -- as a browser keeps them


def test_a_kept_conversation_is_what_it_was(chatbot: Chatbot) -> None:
    before = talk(answered(chatbot), answered(chatbot, "Who won the chess world cup?"))
    stored = json.loads(json.dumps([to_keep(before)]))
    (after,) = kept(stored, chatbot.index.article, "gone")
    for was, now in zip(before.turns, after.turns, strict=True):
        assert was.answer
        assert now.answer
        assert now.answer.as_json() == was.answer.as_json()


def test_a_browser_keeps_no_text_but_quotes(chatbot: Chatbot) -> None:
    answer = answered(chatbot)
    stored = json.dumps(to_keep(talk(answer)), ensure_ascii=False)
    (quote,) = {citation.quote.text for citation in answer.citations}
    assert json.dumps(quote, ensure_ascii=False)[1:-1] in stored
    assert "nautical miles" in answer.hits[0].passage.text
    assert "nautical miles" not in stored


@pytest.mark.parametrize("change", ["removed", "changed"])
def test_of_an_article_that_has_gone_or_changed_nothing_is_shown(
    chatbot: Chatbot, change: str
) -> None:
    answer = answered(chatbot)

    def find(id: str) -> Article | None:
        article = chatbot.index.article(id)
        cited = id == answer.citations[0].quote.article_id
        if not cited or article is None:
            return article
        return None if change == "removed" else Article(id, "t", "x" + article.text)

    (after,) = kept([to_keep(talk(answer))], find, "gone")
    assert after.turns == (Turn(answer.question, note="gone", over=True),)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["id", "changed", "turns", "question", "answer"]), inner
            )
        ),
    )
)
def test_whatever_a_browser_claims_to_have_kept_does_no_harm(stored: object) -> None:
    for conversation in kept([stored], lambda id: None, "gone"):
        assert isinstance(conversation, Conversation)
        rendering.conversations(Conversations(conversation), EN)


def test_tabs_add_to_each_other_and_what_is_deleted_stays_away() -> None:
    shelf = Shelf()
    one, two, old = (
        {"id": id, "changed": at, "turns": [1]} for id, at in (("1", 1.0), ("2", 2.0), ("0", 0.0))
    )
    shelf.put("reader", "1", one)
    shelf.put("reader", "2", two)
    assert shelf.merged("reader", [old], 50) == [two, one, old]
    assert shelf.merged("reader", [old], 2) == [two, one]
    assert shelf.merged("another", [old], 50) == [old]
    shelf.put("reader", "1", None)
    assert shelf.merged("reader", [old, one], 50) == [two, old]


def test_a_browser_is_given_no_more_than_it_can_keep() -> None:
    long = "x" * (MOST_BYTES // 3)
    talks = [{"id": str(at), "changed": float(at), "turns": [long]} for at in range(5)]
    assert [talk["id"] for talk in Shelf().merged("reader", talks, 50)] == ["4", "3"]


def test_a_kept_conversation_that_goes_on_takes_the_place_of_the_kept_one(
    chatbot: Chatbot,
) -> None:
    (before,) = kept([to_keep(talk(answered(chatbot)))], chatbot.index.article, "gone")
    after = before.asked("And how far can the lamp be seen?")
    assert after.replaces == before.id != after.id
    assert len(after.turns) == 2
    assert after.with_turns(()).asked("Another?").id == after.id


# -- the line


def test_questions_are_answered_in_the_order_in_which_they_came() -> None:
    line = Line()
    together = [line.enter(f"reader {n}") for n in range(TOGETHER)]
    third, fourth = line.enter("third"), line.enter("fourth")
    assert [line.place(ticket) for ticket in together] == [0] * TOGETHER
    assert (line.place(third), line.place(fourth)) == (1, 2)
    line.leave(third)
    assert line.place(fourth) == 1
    line.leave(together[0])
    assert line.place(fourth) == 0


def test_whoever_asks_ten_at_once_keeps_another_reader_waiting_for_one_of_them() -> None:
    line = Line()
    ten = [line.enter("hasty") for _ in range(10)]
    patient = line.enter("patient")
    assert line.place(patient) == 2
    assert [line.place(ticket) for ticket in ten[:TOGETHER]] == [0] * TOGETHER
    assert line.place(ten[TOGETHER]) == 1
    assert line.place(ten[-1]) == 10 + 1 - TOGETHER


@given(st.lists(st.sampled_from(["one", "two", "three", None, None]), max_size=80), st.randoms())
def test_no_session_is_answered_much_more_often_while_another_waits(
    coming: list[str | None], drawn: random.Random
) -> None:
    """`coming`: a session that asks, or None: one of those being answered leaves."""
    line, here, begun = Line(), list[Ticket](), list[Ticket]()
    came, waited = dict[Ticket, tuple[int, int]](), set[Ticket]()
    for session in coming:
        if session is not None and len(line) < WAITING:
            own = sum(ticket.session == session for ticket in here if line.place(ticket))
            here.append(line.enter(session))
            came[here[-1]] = (len(begun), own)
        elif here:
            gone = drawn.choice([ticket for ticket in here if line.place(ticket) == 0])
            line.leave(gone)
            here.remove(gone)
        answered = [ticket for ticket in here if line.place(ticket) == 0]
        assert len(answered) == min(TOGETHER, len(here))
        assert set(begun) & set(here) <= set(answered), "one was put back into the line"
        waiting = [ticket for ticket in here if ticket not in answered]
        assert not any(ticket.called.is_set() for ticket in waiting)
        assert all(ticket.called.is_set() for ticket in answered if ticket in waited)
        waited.update(waiting)
        begun += [ticket for ticket in answered if ticket not in begun]
    for place, ticket in enumerate(begun):
        since, own = came[ticket]
        between = Counter(other.session for other in begun[since:place])
        assert all(count <= own + 2 for count in between.values())


def test_more_than_may_wait_are_turned_away() -> None:
    line = Line()
    tickets = [line.enter("reader") for _ in range(TOGETHER + WAITING)]
    with pytest.raises(Busy):
        line.enter("another")
    line.leave(tickets[5])
    line.enter("another")


def test_an_answer_that_takes_too_long_is_stopped_and_gives_its_place_to_the_next(
    index_folder: Path, chatbot: Chatbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.web.desk.LONGEST_S", 0.5)
    desk = Desk(load(index=index_folder))
    stopped, waiting = threading.Event(), answered(chatbot)

    class Endless(Chatbot):
        def __init__(self) -> None:
            pass

        def ask(self, *asked: object) -> Generator[Answer]:
            try:
                while True:
                    time.sleep(0.01)
                    yield waiting
            finally:
                stopped.set()

    async def last() -> Progress:
        asked = desk.answering(Endless(), QUESTION, [], EVERYTHING, "", Face.API)
        *_, now = [now async for now in asked]
        return now

    with start_blocking_portal() as portal:
        ended = portal.call(last)
    assert ended.over
    assert "was stopped" in ended.problem
    assert stopped.wait(5)
    assert len(desk.line) == 0


def test_answers_given_side_by_side_are_those_given_alone(index_folder: Path) -> None:
    desk = Desk(load(index=index_folder))
    desk.load()
    asked = [
        "How high is the lighthouse of Sant Oriol?",
        "When was the marsh of Dunmere drained?",
        "What do boats of up to eight metres pay a night?",
        "Who won the chess world cup in Baku?",
    ]

    async def last(question: str) -> tuple[str, float, int]:
        assert desk.chatbot is not None
        most = 0
        async for now in desk.answering(desk.chatbot, question, [], EVERYTHING, "", Face.API):
            most = max(most, now.place)
        assert now.answer is not None
        return now.answer.text, now.answer.confidence, most

    async def side_by_side() -> list[tuple[str, float, int]]:
        while not desk.settled:
            await asyncio.sleep(0.05)
        return await asyncio.gather(*map(last, asked * 3))

    async def in_turn() -> list[tuple[str, float, int]]:
        return [await last(question) for question in asked]

    with start_blocking_portal() as portal:
        together, alone = portal.call(side_by_side), portal.call(in_turn)
    assert [told[:2] for told in together] == [told[:2] for told in alone] * 3
    assert max(told[2] for told in together) == len(asked) * 3 - TOGETHER
    assert {told[2] for told in alone} == {0}


# -- likes and dislikes


def test_a_verdict_is_a_question_that_eval_reads(chatbot: Chatbot, tmp_path: Path) -> None:
    file = tmp_path / "some" / "feedback.jsonl"
    refused = answered(chatbot, "Who won the chess world cup in Baku?")
    assert refused.mode is Mode.REFUSED
    said = talk(answered(chatbot), refused)
    verdicts = Feedback(file)
    assert verdicts.note(said, 0, True, "")
    assert verdicts.note(said, 1, True, "")
    assert verdicts.note(said, 0, False, "feedback_wrong")
    assert verdicts.note(said, 0, False, NOT_SAID)
    assert not verdicts.note(said, 0, False, NOT_SAID), "told twice"
    liked, rightly_refused, wrong, not_said = expectations_of(file)
    assert dict(liked.gains) == {"lighthouse.md": 1}
    assert rightly_refused.unanswerable
    assert len(rightly_refused.question.history) == 2
    assert not wrong.gains
    assert not wrong.unanswerable
    assert not_said.unanswerable


def test_what_a_reader_has_added_is_not_for_the_owners_file(
    chatbot: Chatbot, encoder: Encoder, tmp_path: Path
) -> None:
    own = Uploads(encoder)
    own.add([str(written(tmp_path, "diary.txt", "My cat is called Mortimer."))])
    *_, answer = chatbot.ask("What is my cat called?", also=own.index)
    assert "Mortimer" in answer.text
    verdicts = Feedback(tmp_path / "feedback.jsonl")
    verdicts.note(talk(answer), 0, True, "")
    assert "Mortimer" not in verdicts.file.read_text()
    own.close()


def test_where_verdicts_cannot_be_noted_it_is_said(chatbot: Chatbot, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(QuestionError, match="RAG_FEEDBACK"):
        Feedback(tmp_path / "folder").note(talk(answered(chatbot)), 0, True, "")


# -- files of a reader's own


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.fixture
def uploads(encoder: Encoder) -> Iterator[Uploads]:
    own = Uploads(encoder)
    yield own
    own.close()


def test_rows_that_claim_the_name_of_a_file_elsewhere_delete_nothing(
    uploads: Uploads, tmp_path: Path
) -> None:
    precious = written(tmp_path, "thesis.txt", "Years of work.")
    up = "../" * 20 + str(precious).lstrip("/")
    rows = [json.dumps({"id": id, "text": "x y z"}) for id in (str(precious), up) for _ in range(2)]
    uploads.add([str(written(tmp_path, "rows.jsonl", "\n".join(rows)))])
    assert uploads.names == ["rows.jsonl"]
    assert len(uploads.skipped) == 2
    assert precious.read_text() == "Years of work."


def test_an_added_article_stands_in_for_none_of_the_index(
    chatbot: Chatbot, uploads: Uploads, tmp_path: Path
) -> None:
    row = {"id": "lighthouse.md", "text": "The lighthouse of Sant Oriol is 99 metres high."}
    uploads.add([str(written(tmp_path, "rows.jsonl", json.dumps(row)))])
    *_, answer = chatbot.ask(QUESTION, also=uploads.index)
    by_id = {hit.passage.article_id: hit.passage.text for hit in answer.hits}
    assert "37 metres" in by_id["lighthouse.md"]
    assert "99 metres" in by_id["also:lighthouse.md"]


def test_what_cannot_be_read_leaves_the_other_files_as_they_were(
    uploads: Uploads, tmp_path: Path
) -> None:
    uploads.add([str(written(tmp_path, "broken.pdf", "%PDF-1.7 no more"))])
    assert "broken.pdf" in uploads.problem
    assert str(tmp_path) not in uploads.problem
    assert (uploads.names, uploads.index) == ([], None)
    uploads.add(
        [str(written(tmp_path, "a.txt", "The first.")), str(written(tmp_path, "b.pdf", "%"))]
    )
    assert uploads.names == ["a.txt"]
    assert [skipped.path for skipped in uploads.skipped] == ["b.pdf"]
    assert uploads.index is not None
    assert uploads.index.article_count == 1


def test_files_of_one_name_stand_beside_each_other(uploads: Uploads, tmp_path: Path) -> None:
    for text in ("The first.", "The second."):
        uploads.add([str(written(tmp_path, "note.txt", text))])
    assert uploads.names == ["note (2).txt", "note.txt"]


def test_of_too_much_the_rest_is_named(
    uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.web.uploads.MOST_BYTES", 15)
    uploads.add([str(written(tmp_path, f"{n}.txt", "Ten bytes.")) for n in (1, 2)])
    assert uploads.names == ["1.txt"]
    assert [skipped.path for skipped in uploads.skipped] == ["2.txt"]


@pytest.mark.parametrize("ended", ["removed", "gone"])
def test_the_encoder_remembers_nothing_of_files_that_are_no_more(
    uploads: Uploads, encoder: Encoder, tmp_path: Path, ended: str
) -> None:
    text = "The password of the lock keeper is quuxwocket."
    uploads.add([str(written(tmp_path, "lock.txt", text))])
    encoder.encode_tokens([text])
    assert encoder._remembered.cache_info().currsize
    end = {"removed": lambda: uploads.remove("lock.txt"), "gone": uploads.close}[ended]
    end()
    assert not encoder._remembered.cache_info().currsize


def test_nothing_is_left_of_a_reader_who_has_gone(uploads: Uploads, tmp_path: Path) -> None:
    uploads.add([str(written(tmp_path, "note.txt", "The first."))])
    folder = Path(uploads._folder.name)
    uploads.close()
    uploads.add([str(written(tmp_path, "late.txt", "Too late."))])
    assert not folder.exists()
    assert (uploads.names, uploads.index) == ([], None)


def test_shared_files_stay_when_a_reader_leaves_and_own_ones_do_not(
    index_folder: Path, encoder: Encoder, tmp_path: Path
) -> None:
    for kind in ("shared", "own"):
        desk = Desk(load(index=index_folder, uploads=kind))
        held = desk.uploads("one", encoder)
        held.add([str(written(tmp_path, "note.txt", "The first."))])
        for session in ("shared", " of all readers", "another", "one"):
            desk.leave(session)
        assert (desk.uploads_of("one") is held) is (kind == "shared")
        held.close()


def test_of_too_many_readers_files_the_oldest_go(index_folder: Path, encoder: Encoder) -> None:
    desk = Desk(load(index=index_folder, uploads="own"))
    held = [desk.uploads(str(n), encoder) for n in range(MOST_UPLOADING + 1)]
    assert desk.uploads_of("0") is None
    assert not Path(held[0]._folder.name).exists()
    for own in held:
        own.close()


# -- programs


def test_a_program_waits_in_line_with_the_readers(index_folder: Path, chatbot: Chatbot) -> None:
    desk = Desk(load(index=index_folder))
    desk.chatbot = chatbot
    desk.load()
    readers = [desk.line.enter(f"{n}") for n in range(TOGETHER)]

    async def asked() -> Answer:
        asking = asyncio.create_task(programs.answer(desk, QUESTION, Face.API))
        while not desk.settled:
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        assert not asking.done()
        desk.line.leave(readers[0])
        return await asking

    with start_blocking_portal() as portal:
        assert "37 metres" in portal.call(asked).text


# -- the words


@pytest.mark.parametrize("language", sorted(entries()))
def test_every_language_has_the_words_of_english_with_the_same_values(language: str) -> None:
    def values(entry: object) -> set[str]:
        return set(re.findall(r"{(\w+)}", json.dumps(entry)))

    english, other = entries()["en"], entries()[language]
    assert other.keys() <= english.keys()
    for key in other:
        assert values(other[key]) == values(english[key]), key
    assert len(english.keys() - other.keys()) <= 2, "what is not translated is said in English"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("fr,en-GB;q=0.5", "en"),
        ("tlh", "en"),
        ("", "en"),
        (",;q=,", "en"),
    ],
)
def test_a_reader_is_spoken_to_in_the_first_language_that_the_page_has(
    accepted: str, language: str
) -> None:
    assert for_reader(accepted).language == language


# -- as HTML and as Markdown


def test_markup_comes_out_as_text_everywhere() -> None:
    question = Conversation().asked(MARKUP)
    (message,) = rendering.messages(question.turns, EN)
    article = Article("x", MARKUP, MARKUP, date=MARKUP, source=MARKUP, url="javascript:alert(1)")
    shown = [
        message["content"],
        rendering.article(article, 0, 5, EN),
        rendering.conversations(Conversations(question), EN),
        rendering.status(MARKUP, MARKUP, "x"),
    ]
    for html in shown:
        assert "<img" not in html
        assert "javascript:" not in html
    assert rendering.unescaped(message["content"]) == MARKUP


@given(st.text())
def test_a_question_comes_back_from_the_page_as_it_was_asked(question: str) -> None:
    (message,) = rendering.messages((Turn(question),), EN)
    assert rendering.unescaped(message["content"]) == question


def test_markdown_says_what_the_answer_said_and_no_more(chatbot: Chatbot) -> None:
    answer = answered(chatbot)
    markdown, as_json = rendering.exported(talk(answer), EN)
    quote = " ".join(answer.citations[0].quote.text.split())
    assert f"[^1-1]: “{quote}” — Sant Oriol lights its new tower, 2021-05-14, Coast Courier" in (
        markdown
    )
    assert json.loads(as_json)[0]["answer"] == answer.text


def test_a_very_long_article_is_shown_around_its_quote() -> None:
    text = "".join(f"Sentence {number}. " for number in range(40_000))
    start = text.index("Sentence 30000.")
    html = rendering.article(Article("x", "Long", text), start, start + 15, EN)
    assert "<mark>Sentence 30000.</mark>" in html
    assert "Sentence 30100." in html
    assert len(html) < rendering.MOST_SHOWN + 5000
    assert EN("shortened") in html


@given(st.integers(), st.integers())
def test_a_place_that_is_none_marks_nothing_wrong(start: int, end: int) -> None:
    html = rendering.article(Article("x", "T", "Some text."), start, end, EN)
    assert re.sub(r"</?mark>", "", html).count("Some text.") == 1
