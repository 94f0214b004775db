"""What the page is made of, without a browser: kept conversations, feedback, words, the line."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.chatbot import Chatbot
from rag.datatypes import Answer, Article, Mode
from rag.questions import expectations_of
from rag.web import feedback, rendering
from rag.web.conversations import Conversation, Conversations, Turn, kept, to_keep
from rag.web.desk import WAITING, Busy, Line, Shelf
from rag.web.texts import Texts, entries, for_reader

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


# -- the line


def test_questions_are_answered_in_the_order_in_which_they_came() -> None:
    line = Line()
    first, second, third = (line.enter() for _ in range(3))
    assert [line.place(ticket) for ticket in (first, second, third)] == [0, 1, 2]
    line.leave(second)
    assert line.place(third) == 1
    line.leave(first)
    assert line.place(third) == 0


def test_more_than_may_wait_are_turned_away() -> None:
    line = Line()
    tickets = [line.enter() for _ in range(WAITING + 1)]
    with pytest.raises(Busy):
        line.enter()
    line.leave(tickets[5])
    line.enter()


# -- likes and dislikes


def test_a_verdict_is_a_question_that_eval_reads(chatbot: Chatbot, tmp_path: Path) -> None:
    file = tmp_path / "some" / "feedback.jsonl"
    refused = answered(chatbot, "Who won the chess world cup in Baku?")
    assert refused.mode is Mode.REFUSED
    said = talk(answered(chatbot), refused)
    assert feedback.note(file, said, 0, True, "")
    assert feedback.note(file, said, 1, True, "")
    assert feedback.note(file, said, 0, False, "feedback_wrong")
    assert feedback.note(file, said, 0, False, feedback.NOT_SAID)
    assert not feedback.note(file, said, 0, False, feedback.NOT_SAID), "told twice"
    liked, rightly_refused, wrong, not_said = expectations_of(file)
    assert dict(liked.gains) == {"lighthouse.md": 1}
    assert rightly_refused.unanswerable
    assert len(rightly_refused.question.history) == 2
    assert not wrong.gains
    assert not wrong.unanswerable
    assert not_said.unanswerable


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
