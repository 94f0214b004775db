"""Conversations as the browser stores them and as they are restored."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.chatbot import Chatbot
from rag.server.ui import rendering
from rag.server.ui.conversations import (
    Conversation,
    Conversations,
    FindArticle,
    Turn,
    restore_conversations,
    to_stored,
)
from rag.types import Answer, Article, ArticleRef, Origin
from rag.wording import Texts

QUESTION = "How high is the lighthouse of Sant Oriol?"


def final_answer(chatbot: Chatbot, question: str = QUESTION) -> Answer:
    *_, answer = chatbot.ask(question)
    return answer


def find_in(chatbot: Chatbot) -> FindArticle:
    return lambda ref: chatbot.index.article(ref.id)


def conversation_of(*answers: Answer) -> Conversation:
    turns = tuple(Turn(answer.question, answer, done=True) for answer in answers)
    return Conversation("abc").with_turns(turns)


def test_a_restored_conversation_has_the_same_answers(chatbot: Chatbot) -> None:
    original = conversation_of(
        final_answer(chatbot), final_answer(chatbot, "Who won the chess world cup?")
    )
    stored = json.loads(json.dumps([to_stored(original)]))
    (restored,) = restore_conversations(stored, find_in(chatbot), "outdated")
    for before, after in zip(original.turns, restored.turns, strict=True):
        assert before.answer
        assert after.answer
        assert after.answer.as_json() == before.answer.as_json()


def test_the_browser_stores_quotes_but_no_other_text_of_articles(chatbot: Chatbot) -> None:
    answer = final_answer(chatbot)
    stored = json.dumps(to_stored(conversation_of(answer)), ensure_ascii=False)
    (quote,) = {citation.quote.text for citation in answer.citations}
    assert json.dumps(quote, ensure_ascii=False)[1:-1] in stored
    assert "nautical miles" in answer.hits[0].passage.text
    assert "nautical miles" not in stored


@pytest.mark.parametrize("change", ["removed", "changed"])
def test_an_answer_is_not_restored_after_its_article_was_removed_or_changed(
    chatbot: Chatbot, change: str
) -> None:
    answer = final_answer(chatbot)

    def find_changed(ref: ArticleRef) -> Article | None:
        article = chatbot.index.article(ref.id)
        cited = ref == answer.citations[0].quote.article
        if not cited or article is None:
            return article
        return None if change == "removed" else Article(ref.id, "t", "x" + article.text)

    stored = [to_stored(conversation_of(answer))]
    (restored,) = restore_conversations(stored, find_changed, "outdated")
    assert restored.turns == (Turn(answer.question, note="outdated", done=True),)


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
def test_malformed_stored_conversations_do_no_harm(stored: object) -> None:
    for conversation in restore_conversations([stored], lambda id: None, "outdated"):
        assert isinstance(conversation, Conversation)
        rendering.conversations(Conversations(conversation), Texts("en"))


def test_a_restored_conversation_that_is_continued_replaces_the_stored_one(
    chatbot: Chatbot,
) -> None:
    stored = [to_stored(conversation_of(final_answer(chatbot)))]
    (restored,) = restore_conversations(stored, find_in(chatbot), "outdated")
    continued = restored.with_question("And how far can the lamp be seen?")
    assert continued.replaces == restored.id != continued.id
    assert len(continued.turns) == 2
    assert continued.with_turns(()).with_question("Another?").id == continued.id


def test_the_history_contains_no_refusal(chatbot: Chatbot) -> None:
    refused = final_answer(chatbot, "Who won the chess world cup?")
    assert refused.refusal
    messages = conversation_of(refused, final_answer(chatbot)).history()
    assert [message["role"] for message in messages] == ["user", "user", "assistant"]


def test_an_answer_of_an_uploaded_file_is_not_restored_from_the_index(chatbot: Chatbot) -> None:
    answer = final_answer(chatbot)
    uploaded = replace(
        answer,
        citations=tuple(
            replace(each, quote=replace(each.quote, origin=Origin.UPLOADS))
            for each in answer.citations
        ),
    )

    def find_only_in_index(ref: ArticleRef) -> Article | None:
        return chatbot.index.article(ref.id) if ref.origin is Origin.INDEX else None

    stored = json.loads(json.dumps([to_stored(conversation_of(uploaded))]))
    (restored,) = restore_conversations(stored, find_only_in_index, "outdated")
    assert restored.turns[0].note == "outdated"


def test_an_answer_that_an_earlier_version_has_stored_is_left_out(chatbot: Chatbot) -> None:
    stored = to_stored(conversation_of(final_answer(chatbot)))
    stored["turns"][0]["answer"]["text"] = "“Some text”, says an article. [1]"
    (restored,) = restore_conversations([stored], find_in(chatbot), "outdated")
    assert restored.turns == (Turn(QUESTION, done=True),)
