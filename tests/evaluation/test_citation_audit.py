"""Audit of the citations of saved answers."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.chatbot import Chatbot
from rag.errors import QuestionError
from rag.evaluation.citation_audit import (
    CitationStatus,
    SavedCitation,
    audit_citation,
    audit_citations,
    read_saved_citations,
    report,
)

QUOTE = "it was lit for the first time on friday evening"


def saved_citation(
    chatbot: Chatbot, quote: str = QUOTE, shift: int = 0, article_id: str = "lighthouse.md"
) -> SavedCitation:
    article = chatbot.index.article("lighthouse.md")
    assert article is not None
    start = article.text.find(quote) + shift
    return SavedCitation("When was it lit?", 1, article_id, start, start + len(quote), quote)


def test_a_quote_at_its_offsets_stands(chatbot: Chatbot) -> None:
    assert audit_citation(chatbot.index, saved_citation(chatbot)).status is CitationStatus.STANDS


def test_a_quote_elsewhere_in_its_article_has_moved(chatbot: Chatbot) -> None:
    audit = audit_citation(chatbot.index, saved_citation(chatbot, shift=7))
    assert audit.status is CitationStatus.MOVED
    assert audit.current_start == saved_citation(chatbot).start


@pytest.mark.parametrize("quote", ["it was lit for the second time on friday evening", ""])
def test_a_quote_that_its_article_no_longer_contains_has_changed(
    chatbot: Chatbot, quote: str
) -> None:
    assert (
        audit_citation(chatbot.index, saved_citation(chatbot, quote)).status
        is CitationStatus.CHANGED
    )


def test_a_quote_of_a_removed_article_is_gone(chatbot: Chatbot) -> None:
    assert (
        audit_citation(chatbot.index, saved_citation(chatbot, article_id="removed.md")).status
        is CitationStatus.GONE
    )


def test_the_report_counts_all_and_lists_what_does_not_stand(chatbot: Chatbot) -> None:
    saved = [
        saved_citation(chatbot),
        saved_citation(chatbot, shift=3),
        saved_citation(chatbot, article_id="removed.md"),
    ]
    summary = report(audit_citations(chatbot.index, saved))
    assert summary["citations"] == 3
    assert (summary["stands"], summary["moved"], summary["changed"], summary["gone"]) == (
        1,
        1,
        0,
        1,
    )
    assert [problem["state"] for problem in summary["problems"]] == ["moved", "gone"]


def test_the_citations_of_a_new_answer_stand(chatbot: Chatbot, tmp_path: Path) -> None:
    *_, answer = chatbot.ask("How high is the lighthouse of Sant Oriol?")
    file = tmp_path / "answers.jsonl"
    file.write_text(json.dumps(answer.as_json()) + "\n\n")
    saved = read_saved_citations(file)
    assert saved
    assert {audit.status for audit in audit_citations(chatbot.index, saved)} == {
        CitationStatus.STANDS
    }


@given(st.integers(-5, 400), st.integers(-5, 400), st.text(max_size=9))
def test_any_offsets_and_quote_can_be_audited(
    chatbot: Chatbot, start: int, end: int, quote: str
) -> None:
    audit = audit_citation(chatbot.index, SavedCitation("?", 1, "lighthouse.md", start, end, quote))
    if audit.current_start is not None:
        article = chatbot.index.article("lighthouse.md")
        assert article is not None
        assert article.text[audit.current_start :].startswith(quote)


@pytest.mark.parametrize(
    "line", ["[]", "{", '{"question": "?"}', '{"question": "", "citations": [1]}']
)
def test_a_line_that_is_no_answer_is_reported_with_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "answers.jsonl").write_text(line)
    with pytest.raises(QuestionError, match=r"answers\.jsonl, line 1 is not an answer"):
        read_saved_citations(tmp_path / "answers.jsonl")
