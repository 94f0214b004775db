"""Finding the passage, and the sentence in it."""

from dataclasses import replace

import pytest

from rag.chatbot import Chatbot
from rag.retriever import _fuse


@pytest.mark.parametrize(
    ("question", "article"),
    [
        pytest.param("How high is the lighthouse of Sant Oriol?", "lighthouse.md", id="by name"),
        pytest.param("What did the 37 metre tower cost?", "lighthouse.md", id="by number"),
        pytest.param("Which bird came back to the marsh?", "marsh.md", id="by subject"),
        pytest.param("avocets returning to wetland", "marsh.md", id="by other words"),
    ],
)
def test_the_article_that_answers_comes_first(
    chatbot: Chatbot, question: str, article: str
) -> None:
    _, hits = chatbot.search(question, (), 3)
    assert hits[0].passage.article_id == article


def test_ranks_count_from_one_and_scores_fall(chatbot: Chatbot) -> None:
    _, hits = chatbot.search("What did the harbour cost?", (), 3)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_hits_and_evidence_stand_exactly_in_their_articles(chatbot: Chatbot) -> None:
    question = "Which bird came back to the marsh?"
    _, hits = chatbot.search(question, (), 10)
    evidence = chatbot._retriever.evidence(question, hits)
    for excerpt in [hit.passage for hit in hits] + [found.sentence for found in evidence]:
        article = chatbot.index.article(excerpt.article_id)
        assert article is not None
        assert article.text[excerpt.start : excerpt.end] == excerpt.text
    assert "avocet" in evidence[0].sentence.text.lower()


def test_a_sentence_shared_by_two_passages_is_evidence_once(chatbot: Chatbot) -> None:
    question = "Which bird came back to the marsh?"
    _, hits = chatbot.search(question, (), 1)
    once = chatbot._retriever.evidence(question, hits)
    twice = chatbot._retriever.evidence(question, [*hits, replace(hits[0], rank=2)])
    assert twice == once


def test_the_words_of_a_question_cannot_break_the_search(chatbot: Chatbot) -> None:
    for question in ['"', "NEAR(a b)", "a AND OR NOT", "title:x*", "-", "(((", "'; DROP TABLE"]:
        assert chatbot.search(question, (), 1)[1]


def test_fusion_weighs_both_searches_alike() -> None:
    fused = _fuse({1: 0.9, 2: 0.5, 3: 0.1}, {2: 8.0, 4: 4.0})
    assert fused == pytest.approx({1: 0.5, 2: 0.75, 3: 0.0, 4: 0.25})


def test_fusion_of_nothing_is_nothing() -> None:
    assert _fuse({}, {}) == {}
