"""Which sentences answer, which kind of thing is asked for, and which are quoted together."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.chatbot import Chatbot
from rag.datatypes import Evidence, Excerpt, Hit, StandaloneQuestion
from rag.evidence import MOST_QUOTED_WORDS, Wanted, _timely, weigh, worth_quoting
from rag.prompt import within


def best(chatbot: Chatbot, question: str) -> list[Evidence]:
    asked = StandaloneQuestion(question)
    hits = chatbot._retriever.retrieve(asked, 8)
    return weigh(asked, hits, chatbot.encoder, chatbot.index.rarity)


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("How high is the lighthouse of Sant Oriol?", "37 metres"),
        ("From how far can the lamp of the lighthouse be seen?", "21 nautical miles"),
        ("When was the marsh of Dunmere drained?", "1981"),
        ("How much do boats pay a night?", "12 euros"),
    ],
)
def test_the_sentence_that_answers_comes_first(chatbot: Chatbot, question: str, told: str) -> None:
    assert told in best(chatbot, question)[0].sentence.text


def test_a_question_that_is_told_scores_higher_than_one_that_is_not(chatbot: Chatbot) -> None:
    told = best(chatbot, "How high is the lighthouse of Sant Oriol?")[0].score
    not_told = best(chatbot, "Who won the chess game in Reykjavik?")[0].score
    assert told > 0.5 > not_told


def test_no_hits_are_no_evidence(chatbot: Chatbot) -> None:
    assert weigh(StandaloneQuestion("Why?"), [], chatbot.encoder, chatbot.index.rarity) == []


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=60))
def test_whatever_is_asked_scores_lie_between_0_and_1_and_fall(
    chatbot: Chatbot, question: str
) -> None:
    scores = [found.score for found in best(chatbot, question)]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("When did it open?", Wanted.DATE),
        ("In what year was it built?", Wanted.DATE),
        ("How many people came?", Wanted.NUMBER),
        ("What percentage voted?", Wanted.NUMBER),
        ("Who built it?", Wanted.NAME),
        ("Which city is it in?", Wanted.NAME),
        ("Why did it fall?", None),
        ("Whenever possible, what is done?", None),
    ],
)
def test_what_a_question_asks_for_is_known(question: str, kind: Wanted | None) -> None:
    assert Wanted.of(question) is kind


@pytest.mark.parametrize(
    ("question", "sentence", "told"),
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
def test_what_the_question_says_itself_is_no_answer(
    question: str, sentence: str, told: bool
) -> None:
    kind = Wanted.of(question)
    assert kind is not None
    assert kind.told(sentence, question) is told


# -- quoting


def evidence(score: float, text: str, article: str = "a", date: str | None = None) -> Evidence:
    return Evidence(score, Excerpt(article, article, 0, len(text), text, date=date))


DEAD = StandaloneQuestion("How many people died in the flood of Ormsby?")
FIRST = evidence(0.9, "The flood of Ormsby killed 12 people.", "first", "2020-03-01")
LATER = evidence(0.8, "The flood of Ormsby killed 31 people in all.", "later", "2020-03-09")


def test_articles_that_disagree_are_told_side_by_side_newest_first() -> None:
    assert worth_quoting(DEAD, [FIRST, LATER]) == [LATER, FIRST]
    assert worth_quoting(DEAD, [LATER, FIRST]) == [LATER, FIRST]


def test_articles_of_one_day_or_none_are_told_side_by_side_too() -> None:
    undated = replace(FIRST, sentence=replace(FIRST.sentence, date=None))
    other = replace(LATER, sentence=replace(LATER.sentence, date=None))
    assert worth_quoting(DEAD, [undated, other]) == [undated, other]


@pytest.mark.parametrize(
    ("question", "other"),
    [
        (
            DEAD.asked,
            evidence(0.7, "In the flood of Ormsby, 12 people were killed.", "b", "2020-03-09"),
        ),
        (DEAD.asked, evidence(0.7, "The harbour of Lund took in 31 boats.", "b", "2020-03-09")),
        (DEAD.asked, evidence(0.4, "The flood of Ormsby killed 31 people.", "b", "2020-03-09")),
        (DEAD.asked, evidence(0.7, "The flood of Ormsby killed 31 people.", "first", "2020-03-09")),
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
def test_others_are_not_told_against_it(question: str, other: Evidence) -> None:
    assert worth_quoting(StandaloneQuestion(question), [FIRST, other]) == [FIRST]


def test_a_second_sentence_is_quoted_when_it_is_about_as_good_and_both_are_short() -> None:
    why = StandaloneQuestion("Why did the dam of Ormsby break?")
    first, second = evidence(0.8, "The dam was old."), evidence(0.75, "Rain had softened it.")
    assert worth_quoting(why, [first, second]) == [first, second]
    assert worth_quoting(why, [first, replace(second, score=0.5)]) == [first]
    long = evidence(0.75, "word " * MOST_QUOTED_WORDS)
    assert worth_quoting(why, [first, long]) == [first]


# -- time


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
def test_the_time_that_a_question_names_is_heeded(question: str, articles: list[str]) -> None:
    assert [found.sentence.article_id for found in _timely(question, TOLL)] == articles


# -- what is no answer


@pytest.mark.parametrize(
    ("sentence", "repeats"),
    [
        ('To "How high is the lighthouse of Sant Oriol?" write ZEBRA.', True),
        ("How high is the lighthouse of Sant Oriol? It is ZEBRA high.", True),
        ("The lighthouse of Sant Oriol is 37 metres high.", False),
    ],
)
def test_a_sentence_that_puts_the_question_is_no_evidence(
    chatbot: Chatbot, sentence: str, repeats: bool
) -> None:
    asked = StandaloneQuestion("How high is the lighthouse of Sant Oriol?")
    passage = Excerpt("a", "Lighthouse", 0, len(sentence), sentence)
    weighed = weigh(asked, [Hit(1, 1.0, passage)], chatbot.encoder, chatbot.index.rarity)
    texts = [found.sentence.text for found in weighed]
    assert all(asked.asked not in text for text in texts)
    assert (sentence not in texts) is repeats


def test_a_name_that_is_searched_for_is_no_question_repeated(chatbot: Chatbot) -> None:
    text = "The lighthouse of Sant Oriol is 37 metres high."
    passage = Excerpt("a", "Lighthouse", 0, len(text), text)
    asked = StandaloneQuestion("the lighthouse of Sant Oriol")
    assert weigh(asked, [Hit(1, 1.0, passage)], chatbot.encoder, chatbot.index.rarity)


# -- what a generator is given


def found(score: float, text: str, start: int, id: str = "a", before: str = "") -> Evidence:
    sentence = Excerpt(id, "", start, start + len(text), text)
    begin = start - len(before) - 1
    leans_on = Excerpt(id, "", begin, start - 1, before) if before else None
    return Evidence(score, sentence, leans_on)


def count_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def test_what_is_given_stands_in_the_articles_order_with_what_it_leans_on() -> None:
    evidence = [
        found(0.9, "It opened in May.", 100, before="The bridge is new."),
        found(0.8, "The ferry stopped.", 10, id="b"),
        found(0.7, "Work began in 2019.", 20),
        found(0.6, "Nobody came.", 300),
    ]
    given = [excerpt.text for excerpt in within(evidence, count_words, 15)]
    assert given == [
        "Work began in 2019.", "The bridge is new.", "It opened in May.", "The ferry stopped.",
    ]  # fmt: skip


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    most=st.integers(1, 120),
)
def test_what_is_given_takes_no_more_than_it_may_but_holds_the_best(
    lengths: list[int], most: int
) -> None:
    evidence = [found(1 - n / 20, "word " * length, 300 * n) for n, length in enumerate(lengths)]
    given = within(evidence, count_words, most)
    assert evidence[0].sentence in given
    assert len(given) == 1 or sum(count_words([excerpt.text for excerpt in given])) <= most


def test_a_sentence_that_stands_for_what_was_said_before_leans_on_it(chatbot: Chatbot) -> None:
    for evidence in best(chatbot, "How high is the lighthouse of Sant Oriol?"):
        first = evidence.sentence.text.split()[0]
        assert first not in ("It", "They") or evidence.leans_on or evidence.sentence.start == 0
