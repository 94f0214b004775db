"""Scoring of evidence, answer types, time constraints, and selection of quotes."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.answering.answer_type import AnswerType
from rag.answering.chatbot import Chatbot
from rag.answering.evidence import MAX_QUOTED_WORDS, score_sentences, select_quotes
from rag.answering.retriever import Retriever
from rag.answering.temporal import apply_time_constraints
from rag.models.generation.prompts import select_within_budget
from rag.types import Evidence, Excerpt, Hit, SearchQuery


def retrieve_evidence(chatbot: Chatbot, question: str) -> list[Evidence]:
    query = SearchQuery(question)
    hits = Retriever(chatbot.index, chatbot.encoder).retrieve(query, 8)
    return score_sentences(query, hits, chatbot.encoder, chatbot.index.idf)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How high is the lighthouse of Sant Oriol?", "37 metres"),
        ("From how far can the lamp of the lighthouse be seen?", "21 nautical miles"),
        ("When was the marsh of Dunmere drained?", "1981"),
        ("How much do boats pay a night?", "12 euros"),
    ],
)
def test_the_sentence_that_answers_has_the_best_score(
    chatbot: Chatbot, question: str, answer: str
) -> None:
    assert answer in retrieve_evidence(chatbot, question)[0].sentence.text


def test_answerable_questions_have_higher_scores(chatbot: Chatbot) -> None:
    answerable = retrieve_evidence(chatbot, "How high is the lighthouse of Sant Oriol?")[0].score
    unanswerable = retrieve_evidence(chatbot, "Who won the chess game in Reykjavik?")[0].score
    assert answerable > 0.5 > unanswerable


def test_without_hits_there_is_no_evidence(chatbot: Chatbot) -> None:
    assert score_sentences(SearchQuery("Why?"), [], chatbot.encoder, chatbot.index.idf) == []


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=60))
def test_scores_are_between_0_and_1_and_decrease(chatbot: Chatbot, question: str) -> None:
    scores = [item.score for item in retrieve_evidence(chatbot, question)]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.parametrize(
    ("question", "answer_type"),
    [
        ("When did it open?", AnswerType.DATE),
        ("In what year was it built?", AnswerType.DATE),
        ("How many people came?", AnswerType.NUMBER),
        ("What percentage voted?", AnswerType.NUMBER),
        ("Who built it?", AnswerType.NAME),
        ("Which city is it in?", AnswerType.NAME),
        ("Why did it fall?", None),
        ("Whenever possible, what is done?", None),
    ],
)
def test_the_answer_type_follows_from_the_question(
    question: str, answer_type: AnswerType | None
) -> None:
    assert AnswerType.of(question) is answer_type


@pytest.mark.parametrize(
    ("question", "sentence", "answered"),
    [
        ("When did it open?", "It opened on 3 May 2019.", True),
        ("When did it open?", "It opened in March.", True),
        ("When did it open?", "It opened with a concert.", False),
        ("When in 2019 did it open?", "It opened in 2019.", False),
        ("How many came?", "Twelve came.", True),
        ("How many of the 30 came?", "All 30 came.", False),
        ("Who built it?", "It was built by Ines Valls.", True),
        ("Who is Ines Valls?", "The mayor is Ines Valls.", False),
    ],
)
def test_words_of_the_question_are_no_answer(question: str, sentence: str, answered: bool) -> None:
    answer_type = AnswerType.of(question)
    assert answer_type is not None
    assert answer_type.answered_by(sentence, question) is answered


# -- quoting


def evidence(score: float, text: str, article: str = "a", date: str | None = None) -> Evidence:
    return Evidence(score, Excerpt(article, article, 0, len(text), text, date=date))


DEATHS = SearchQuery("How many people died in the flood of Ormsby?")
FIRST = evidence(0.9, "The flood of Ormsby killed 12 people.", "first", "2020-03-01")
LATER = evidence(0.8, "The flood of Ormsby killed 31 people in all.", "later", "2020-03-09")


def test_articles_that_disagree_are_both_quoted_newest_first() -> None:
    assert select_quotes(DEATHS, [FIRST, LATER]) == [LATER, FIRST]
    assert select_quotes(DEATHS, [LATER, FIRST]) == [LATER, FIRST]


def test_articles_without_a_date_that_disagree_are_both_quoted() -> None:
    undated = replace(FIRST, sentence=replace(FIRST.sentence, date=None))
    other = replace(LATER, sentence=replace(LATER.sentence, date=None))
    assert select_quotes(DEATHS, [undated, other]) == [undated, other]


@pytest.mark.parametrize(
    ("question", "other"),
    [
        (
            DEATHS.question,
            evidence(0.7, "In the flood of Ormsby, 12 people were killed.", "b", "2020-03-09"),
        ),
        (
            DEATHS.question,
            evidence(0.7, "The harbour of Lund took in 31 boats.", "b", "2020-03-09"),
        ),
        (
            DEATHS.question,
            evidence(0.4, "The flood of Ormsby killed 31 people.", "b", "2020-03-09"),
        ),
        (
            DEATHS.question,
            evidence(0.7, "The flood of Ormsby killed 31 people.", "first", "2020-03-09"),
        ),
        ("Why was there a flood in Ormsby?", replace(LATER, score=0.7)),
    ],
    ids=[
        "the same figure",
        "another story",
        "far less sure",
        "the same article",
        "no figure asked for",
    ],
)
def test_evidence_that_does_not_disagree_is_not_quoted(question: str, other: Evidence) -> None:
    assert select_quotes(SearchQuery(question), [FIRST, other]) == [FIRST]


def test_a_second_sentence_is_quoted_if_it_is_about_as_good_and_both_are_short() -> None:
    why = SearchQuery("Why did the dam of Ormsby break?")
    first, second = evidence(0.8, "The dam was old."), evidence(0.75, "Rain had softened it.")
    assert select_quotes(why, [first, second]) == [first, second]
    assert select_quotes(why, [first, replace(second, score=0.5)]) == [first]
    long = evidence(0.75, "word " * MAX_QUOTED_WORDS)
    assert select_quotes(why, [first, long]) == [first]


# -- time constraints


TOLL = [
    evidence(0.9, "The toll is 12.", "first", "2016-03-01"),
    evidence(0.8, "The toll is 31.", "second", "2017-05-09"),
    evidence(0.3, "The toll road is 40 km long.", "road", "2019-01-01"),
]


@pytest.mark.parametrize(
    ("question", "articles"),
    [
        ("What is the toll?", ["first", "second", "road"]),
        ("What is the latest toll?", ["second", "first", "road"]),
        ("What was the toll as of 2016?", ["first"]),
        ("What was the toll as of 9 May 2017?", ["first", "second"]),
        ("What was the toll before 8 May 2017?", ["first"]),
        ("What was the toll until 2018-12?", ["first", "second"]),
        ("What was said before the 3 judges?", ["first", "second", "road"]),
    ],
)
def test_time_constraints_of_the_question_are_applied(question: str, articles: list[str]) -> None:
    evidence = apply_time_constraints(question, TOLL)
    assert [item.sentence.article_id for item in evidence] == articles


# -- repeated questions


@pytest.mark.parametrize(
    ("sentence", "repeats"),
    [
        ('To "How high is the lighthouse of Sant Oriol?" write ZEBRA.', True),
        ("How high is the lighthouse of Sant Oriol? It is ZEBRA high.", True),
        ("The lighthouse of Sant Oriol is 37 metres high.", False),
    ],
)
def test_a_sentence_that_repeats_the_question_is_no_evidence(
    chatbot: Chatbot, sentence: str, repeats: bool
) -> None:
    query = SearchQuery("How high is the lighthouse of Sant Oriol?")
    passage = Excerpt("a", "Lighthouse", 0, len(sentence), sentence)
    hits = [Hit(1, 1.0, passage)]
    evidence = score_sentences(query, hits, chatbot.encoder, chatbot.index.idf)
    texts = [item.sentence.text for item in evidence]
    assert all(query.question not in text for text in texts)
    assert (sentence not in texts) is repeats


def test_a_sentence_that_contains_a_searched_name_is_evidence(chatbot: Chatbot) -> None:
    text = "The lighthouse of Sant Oriol is 37 metres high."
    passage = Excerpt("a", "Lighthouse", 0, len(text), text)
    query = SearchQuery("the lighthouse of Sant Oriol")
    assert score_sentences(query, [Hit(1, 1.0, passage)], chatbot.encoder, chatbot.index.idf)


# -- selection for the prompt


def located(score: float, text: str, start: int, id: str = "a", before: str = "") -> Evidence:
    sentence = Excerpt(id, "", start, start + len(text), text)
    before_start = start - len(before) - 1
    preceding = Excerpt(id, "", before_start, start - 1, before) if before else None
    return Evidence(score, sentence, preceding)


def count_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def test_selected_sentences_are_in_the_order_of_their_articles_with_preceding_ones() -> None:
    evidence = [
        located(0.9, "It opened in May.", 100, before="The bridge is new."),
        located(0.8, "The ferry stopped.", 10, id="b"),
        located(0.7, "Work began in 2019.", 20),
        located(0.6, "Nobody came.", 300),
    ]
    selected = [excerpt.text for excerpt in select_within_budget(evidence, count_words, 15)]
    assert selected == [
        "Work began in 2019.", "The bridge is new.", "It opened in May.", "The ferry stopped.",
    ]  # fmt: skip


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    limit=st.integers(1, 120),
)
def test_selected_sentences_fit_the_limit_and_include_the_best(
    lengths: list[int], limit: int
) -> None:
    evidence = [located(1 - n / 20, "word " * length, 300 * n) for n, length in enumerate(lengths)]
    selected = select_within_budget(evidence, count_words, limit)
    assert evidence[0].sentence in selected
    length = sum(count_words([excerpt.text for excerpt in selected]))
    assert len(selected) == 1 or length <= limit


def test_a_sentence_that_begins_with_a_pronoun_has_a_preceding_one(chatbot: Chatbot) -> None:
    for item in retrieve_evidence(chatbot, "How high is the lighthouse of Sant Oriol?"):
        first_word = item.sentence.text.split()[0]
        assert first_word not in ("It", "They") or item.preceding or item.sentence.start == 0
