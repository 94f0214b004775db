"""Scoring of evidence, answers within it, answer types, time constraints, and disagreement."""

from collections.abc import Iterable, Sequence

import pytest
from fakes import ScriptedReader
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.answering.answer_type import AnswerType
from rag.answering.chatbot import Chatbot
from rag.answering.evidence import disagree, find_evidence
from rag.answering.retriever import Retriever
from rag.answering.temporal import apply_time_constraints
from rag.models.generation.prompts import select_within_budget
from rag.models.reading.reader import Reader
from rag.types import Evidence, Excerpt, Hit, SearchQuery


def retrieve_evidence(chatbot: Chatbot, reader: Reader, question: str) -> list[Evidence]:
    query = SearchQuery(question)
    hits = Retriever(chatbot.index, chatbot.encoder).retrieve(query, 8)
    return find_evidence(query, hits, reader, chatbot.index.idf)


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
    chatbot: Chatbot, reader: Reader, question: str, answer: str
) -> None:
    assert answer in retrieve_evidence(chatbot, reader, question)[0].sentence.text


def test_answerable_questions_have_higher_scores(chatbot: Chatbot, reader: Reader) -> None:
    answerable = retrieve_evidence(chatbot, reader, "How high is the lighthouse of Sant Oriol?")
    unanswerable = retrieve_evidence(chatbot, reader, "Who won the chess game in Reykjavik?")
    assert answerable[0].score > 0.5 > unanswerable[0].score


def test_without_hits_there_is_no_evidence() -> None:
    assert read("Why?", ScriptedReader()) == []


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=60))
def test_scores_are_between_0_and_1_and_decrease(
    chatbot: Chatbot, reader: Reader, question: str
) -> None:
    scores = [item.score for item in retrieve_evidence(chatbot, reader, question)]
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


# -- the answer within a sentence


def hit(text: str, *, start: int = 0, id: str = "a", score: float = 0.9) -> Hit:
    return Hit(1, score, Excerpt(id, "Story", start, start + len(text), text))


def equal_idf(stems: Iterable[str]) -> dict[str, float]:
    return dict.fromkeys(stems, 1.0)


def read(question: str, reader: Reader, *hits: Hit) -> list[Evidence]:
    return find_evidence(SearchQuery(question), hits, reader, equal_idf)


@pytest.mark.parametrize(
    ("text", "span", "answer"),
    [
        ("More than 160 people died.", "160", "More than 160"),
        ("The town paid $4 million for it.", "4", "$4 million"),
        ("The locks are 55 metres wide.", "55", "55 metres"),
        ("It fell by about 30 percent.", "30", "about 30 percent"),
        ("Fees rose to up to 3% in May.", "3", "up to 3%"),
        ("It was about Ines Valls.", "Ines Valls", "Ines Valls"),
        ("Only 12 came.", "12", "Only 12"),
    ],
)
def test_a_figure_is_answered_with_what_qualifies_it_and_its_unit(
    text: str, span: str, answer: str
) -> None:
    (found,) = read("How many?", ScriptedReader({span: 0.9}), hit(text, start=70))
    assert found.answer is not None
    assert found.answer.text == answer
    assert text[found.answer.start - 70 : found.answer.end - 70] == answer


def test_an_answer_ends_with_its_sentence() -> None:
    text = "It rose over 5. 7 million came."
    first, second = read("How much?", ScriptedReader({"5": 0.9, "7": 0.2}), hit(text))
    assert first.answer is not None
    assert first.answer.text == "over 5"
    assert second.answer is not None
    assert second.answer.text == "7 million"


def test_the_sentence_with_the_readers_answer_comes_first() -> None:
    text = "The dam was old. Rain had softened it. It broke on Friday."
    best, *others = read("Why did it break?", ScriptedReader({"Rain": 0.9}), hit(text))
    assert best.sentence.text == "Rain had softened it."
    assert all(item.answer is None for item in others)


def test_the_answer_of_a_sentence_is_the_most_probable_one_that_begins_in_it() -> None:
    (found,) = read("Who?", ScriptedReader({"Lind": 0.2, "Orr": 0.6}), hit("Lind beat Orr."))
    assert found.answer is not None
    assert found.answer.text == "Orr"


def test_a_sentence_that_two_passages_share_is_evidence_once() -> None:
    shared = "Rain had softened the dam."
    first, second = hit(f"It was old. {shared}", score=0.5), hit(f"{shared} It broke.", start=12)
    found = read("Why did it break?", ScriptedReader({"Rain": 0.9}), first, second)
    assert [item.sentence.text for item in found].count(shared) == 1
    assert found[0].sentence.start == 12


# -- articles that disagree


def evidence(score: float, text: str, article: str = "a", date: str | None = None) -> Evidence:
    return Evidence(score, Excerpt(article, article, 0, len(text), text, date=date))


DEATHS = "How many people died in the flood of Ormsby?"
FIRST = evidence(0.9, "The flood of Ormsby killed 12 people.", "first", "2020-03-01")
LATER = evidence(0.8, "The flood of Ormsby killed 31 people in all.", "later", "2020-03-09")


def test_articles_with_different_figures_disagree() -> None:
    assert disagree(DEATHS, FIRST, LATER)


@pytest.mark.parametrize(
    ("question", "other"),
    [
        (DEATHS, evidence(0.7, "In the flood of Ormsby, 12 people were killed.", "b")),
        (DEATHS, evidence(0.7, "The harbour of Lund took in 31 boats.", "b")),
        (DEATHS, evidence(0.4, "The flood of Ormsby killed 31 people.", "b")),
        (DEATHS, evidence(0.7, "The flood of Ormsby killed 31 people.", "first")),
        ("Why was there a flood in Ormsby?", LATER),
    ],
    ids=[
        "the same figure",
        "another story",
        "far less sure",
        "the same article",
        "no figure asked for",
    ],
)
def test_other_evidence_does_not_disagree(question: str, other: Evidence) -> None:
    assert not disagree(question, FIRST, other)


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
def test_a_sentence_that_repeats_the_question_is_no_evidence(sentence: str, repeats: bool) -> None:
    question = "How high is the lighthouse of Sant Oriol?"
    found = read(question, ScriptedReader({"ZEBRA": 0.99, "37": 0.5}), hit(sentence))
    texts = [item.sentence.text for item in found]
    assert all(question not in text for text in texts)
    assert (sentence not in texts) is repeats


def test_a_sentence_that_contains_a_searched_name_is_evidence() -> None:
    sentence = "The lighthouse of Sant Oriol is 37 metres high."
    assert read("the lighthouse of Sant Oriol", ScriptedReader(), hit(sentence))


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


def test_a_sentence_that_begins_with_a_pronoun_has_a_preceding_one() -> None:
    text = "The bridge is new. It opened in May. The ferry stopped."
    found = {item.sentence.text: item for item in read("When?", ScriptedReader(), hit(text))}
    preceding = found["It opened in May."].preceding
    assert preceding is not None
    assert preceding.text == "The bridge is new."
    assert found["The ferry stopped."].preceding is None
