"""Saved answers against an index that has gone on."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.chatbot import Chatbot
from rag.errors import QuestionError
from rag.standing import SavedCitation, State, report, saved_citations, standing

LIT = "it was lit for the first time on friday evening"


def cited(chatbot: Chatbot, quote: str = LIT, shift: int = 0, article: str = "lighthouse.md"):
    held = chatbot.index.article("lighthouse.md")
    assert held is not None
    start = held.text.find(quote) + shift
    return SavedCitation("When was it lit?", 1, article, start, start + len(quote), quote)


def test_a_quote_at_its_place_stands(chatbot: Chatbot) -> None:
    assert standing(chatbot.index, cited(chatbot)).state is State.STANDS


def test_a_quote_elsewhere_in_its_article_has_moved_and_is_found(chatbot: Chatbot) -> None:
    found = standing(chatbot.index, cited(chatbot, shift=7))
    assert found.state is State.MOVED
    assert found.start == cited(chatbot).start


@pytest.mark.parametrize("quote", ["it was lit for the second time on friday evening", ""])
def test_a_quote_that_its_article_no_longer_holds_has_changed(chatbot: Chatbot, quote: str) -> None:
    assert standing(chatbot.index, cited(chatbot, quote)).state is State.CHANGED


def test_a_quote_of_an_article_that_has_left_is_gone(chatbot: Chatbot) -> None:
    assert standing(chatbot.index, cited(chatbot, article="left.md")).state is State.GONE


def test_the_report_counts_all_and_names_what_does_not_stand(chatbot: Chatbot) -> None:
    saved = [cited(chatbot), cited(chatbot, shift=3), cited(chatbot, article="left.md")]
    told = report(standing(chatbot.index, citation) for citation in saved)
    assert told["citations"] == 3
    assert (told["stands"], told["moved"], told["changed"], told["gone"]) == (1, 1, 0, 1)
    assert [problem["state"] for problem in told["problems"]] == ["moved", "gone"]


def test_what_rag_ask_says_today_stands_today(chatbot: Chatbot, tmp_path: Path) -> None:
    *_, answer = chatbot.ask("How high is the lighthouse of Sant Oriol?")
    file = tmp_path / "answers.jsonl"
    file.write_text(json.dumps(answer.as_json()) + "\n\n")
    saved = saved_citations(file)
    assert saved
    assert {standing(chatbot.index, citation).state for citation in saved} == {State.STANDS}


@given(st.integers(-5, 400), st.integers(-5, 400), st.text(max_size=9))
def test_no_offsets_and_no_quote_break_it(
    chatbot: Chatbot, start: int, end: int, quote: str
) -> None:
    found = standing(chatbot.index, SavedCitation("?", 1, "lighthouse.md", start, end, quote))
    if found.start is not None:
        article = chatbot.index.article("lighthouse.md")
        assert article is not None
        assert article.text[found.start :].startswith(quote)


@pytest.mark.parametrize(
    "line", ["[]", "{", '{"question": "?"}', '{"question": "", "citations": [1]}']
)
def test_a_line_that_is_no_answer_is_told_with_its_place(tmp_path: Path, line: str) -> None:
    (tmp_path / "answers.jsonl").write_text(line)
    with pytest.raises(QuestionError, match=r"answers\.jsonl, line 1 is not an answer"):
        saved_citations(tmp_path / "answers.jsonl")
