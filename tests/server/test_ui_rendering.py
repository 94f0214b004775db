"""The page's HTML and the Markdown export: everything is escaped."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from rag.answering.chatbot import Chatbot
from rag.server.ui import rendering
from rag.server.ui.conversations import Conversation, Conversations, Turn
from rag.types import Article
from rag.wording import Texts

QUESTION = "How high is the lighthouse of Sant Oriol?"
EN = Texts("en")
MARKUP = (
    '<img src="http://evil.example/x.png" onerror=alert(1)> **b** [a](http://evil.example) ${1}'
)


def test_markup_is_shown_as_text_everywhere() -> None:
    conversation = Conversation().with_question(MARKUP)
    (message,) = rendering.messages(conversation.turns, EN)
    article = Article("x", MARKUP, MARKUP, date=MARKUP, source=MARKUP, url="javascript:alert(1)")
    pages = [
        message["content"],
        rendering.article(article, 0, 5, EN),
        rendering.conversations(Conversations(conversation), EN),
        rendering.status(MARKUP, MARKUP, "x"),
    ]
    for html in pages:
        assert "<img" not in html
        assert "javascript:" not in html
    assert rendering.unescape(message["content"]) == MARKUP


@given(st.text())
def test_a_question_is_unchanged_after_escaping_and_unescaping(question: str) -> None:
    (message,) = rendering.messages((Turn(question),), EN)
    assert rendering.unescape(message["content"]) == question


def test_the_export_contains_the_answer_and_its_quotes(chatbot: Chatbot) -> None:
    *_, answer = chatbot.ask(QUESTION)
    turn = Turn(answer.question, answer, done=True)
    markdown, as_json = rendering.export(Conversation("abc").with_turns((turn,)), EN)
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
    assert len(html) < rendering.MAX_SHOWN + 5000
    assert EN("shortened") in html


@given(st.integers(), st.integers())
def test_offsets_outside_of_the_article_do_no_harm(start: int, end: int) -> None:
    html = rendering.article(Article("x", "T", "Some text."), start, end, EN)
    assert re.sub(r"</?mark>", "", html).count("Some text.") == 1
