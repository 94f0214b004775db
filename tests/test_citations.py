"""What the check lets stand, and what it strikes out."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.citations import backed, check, quote
from rag.datatypes import Evidence, Excerpt, Verdict


def source(text: str, *, start: int = 0, title: str = "Ferry strike", id: str = "a") -> Excerpt:
    return Excerpt(article_id=id, title=title, start=start, end=start + len(text), text=text)


STRIKE = source("The ferry crews of Port Ellery walked out on Monday over a 4.5 percent pay offer.")
COUNCIL = source("The council has not agreed to reopen the harbour before 12 May.", start=200)
MAYOR = source("Mayor Ines Calder asked both sides to meet at the town hall.", start=400)
SOURCES = (STRIKE, COUNCIL, MAYOR)


@pytest.mark.parametrize(
    ("claim", "question", "cited"),
    [
        pytest.param(
            "The crews walked out over a 4.5 percent pay offer.",
            "Why did the ferry crews of Port Ellery walk out?",
            STRIKE,
            id="said in the source's words",
        ),
        pytest.param("Monday.", "When did the ferry crews walk out?", STRIKE, id="a short answer"),
        pytest.param(
            "The council has not agreed to reopen the harbour.",
            "What has the council not agreed to?",
            COUNCIL,
            id="a negation that the source makes too",
        ),
        pytest.param(
            "Mayor Ines Calder.",
            "Who asked both sides to meet at the town hall?",
            MAYOR,
            id="a name",
        ),
    ],
)
def test_a_sentence_that_a_source_holds_stands_and_cites_it(
    claim: str, question: str, cited: Excerpt
) -> None:
    checked = check(claim, question, SOURCES)
    assert checked.text == f"{claim} [1]"
    assert [citation.quote for citation in checked.citations] == [cited]
    assert checked.sentences[0].supported


@pytest.mark.parametrize(
    ("claim", "question"),
    [
        pytest.param(
            "The crews walked out over a 5.4 percent pay offer.",
            "Why did the crews walk out?",
            id="another number",
        ),
        pytest.param(
            "The crews walked out over a pay offer of 45 percent.",
            "Why did the crews walk out?",
            id="a number without its point",
        ),
        pytest.param(
            "The crews of Port Marlow walked out on Monday.",
            "Who walked out?",
            id="another name",
        ),
        pytest.param(
            "The crews did not walk out on Monday.",
            "When did the crews walk out?",
            id="a negation that the source does not make",
        ),
        pytest.param(
            "The council has agreed to reopen the harbour.",
            "What has the council agreed to?",
            id="a negation left out",
        ),
        pytest.param(
            "The ferry crews walked out.",
            "Did the ferry crews walk out?",
            id="nothing but the question's own words",
        ),
        pytest.param(
            "The strike cost the hotels a fortune.",
            "What did the strike cost?",
            id="something that no source says",
        ),
        pytest.param(
            "Both sides asked Mayor Ines Calder to meet at the town hall.",
            "Who asked whom to meet at the town hall?",
            id="who did it and to whom it was done, exchanged",
        ),
        pytest.param(
            "The harbour was blocked on Monday over a pay offer.",
            "Why was the harbour blocked?",
            id="the question's words, which no source holds, in a full sentence",
        ),
        pytest.param(
            "Who asked both sides to meet at the town hall?", "Who asked it?", id="a question"
        ),
        pytest.param("", "Who walked out?", id="nothing at all"),
    ],
)
def test_a_sentence_that_no_source_holds_is_struck_out(claim: str, question: str) -> None:
    checked = check(claim, question, SOURCES)
    assert checked.text == ""
    assert checked.citations == ()
    assert not any(sentence.supported for sentence in checked.sentences)


@pytest.mark.parametrize(
    ("said", "claim", "question"),
    [
        ("Dozens of people died.", "15 people died.", "How many people died?"),
        ("Everybody was rescued.", "15.", "How many were rescued?"),
        ("Rebels stormed the palace.", "Napoleon stormed the palace.", "Who stormed the palace?"),
        ("It opened before the war.", "It opened after the war.", "When did it open?"),
        ("They sold under 500 units.", "They sold over 500 units.", "How many did they sell?"),
        ("Few members voted.", "All members voted.", "Which members voted for it?"),
        ("Lind may resign on Monday.", "Lind will resign on Monday.", "When does Lind resign?"),
        ("Lind might resign on Monday.", "Lind resigned on Monday.", "When did Lind resign?"),
        ("Orr was robbed by Lind.", "Orr robbed Lind.", "Who robbed Lind?"),
        (
            "Lind was born in Ulm and died in Bonn.",
            "Lind was born in Bonn.",
            "Where was Lind born?",
        ),
        ("Lind was born in Ulm and died in Bonn.", "Bonn.", "Where was Lind born?"),
        ("Five were hurt and two died.", "Five died.", "How many died?"),
        ("Fees rose by $3.", "Fees rose by 3%.", "How much did the fees rise?"),
        (
            "They bid $3 million after turning down a $1 billion offer.",
            "They bid $3 billion.",
            "What did they bid?",
        ),
        (
            "The last ship passed the canal five days after the vessel was pulled free.",
            "The canal was blocked five days after the vessel was pulled free.",
            "How long was the canal blocked?",
        ),
    ],
)
def test_what_the_article_does_not_say_is_struck_out(said: str, claim: str, question: str) -> None:
    about = Excerpt("a", "Napoleon", 0, len(said), said, date="2019-04-15")
    assert check(claim, question, [about]).text == ""


@pytest.mark.parametrize(
    ("said", "claim", "question"),
    [
        ("Lind won the cup in 2022.", "Lind.", "Who won the cup in 2022?"),
        (
            "Boskalis said that about 30,000 tonnes were moved.",
            "30,000 tonnes were moved.",
            "How many tonnes?",
        ),
        (
            "Lind said later on Monday she would go .",
            "Lind said on Monday she would go",
            "What did Lind say?",
        ),
        (
            "In 1980, the historic harbour town of Port Ellery was listed by the council.",
            "The harbour town of Port Ellery was listed by the council in 1980.",
            "When was the harbour town listed?",
        ),
    ],
)
def test_what_the_article_says_in_about_these_words_stands(
    said: str, claim: str, question: str
) -> None:
    assert check(claim, question, [source(said)]).text == f"{claim} [1]"


@pytest.mark.parametrize(
    ("said", "claim", "question", "reason"),
    [
        (
            "Fares rose by 5 percent in March.",
            "Fares rose by 15 percent in March.",
            "How much did fares rise?",
            "“15” stands there as “5”",
        ),
        (
            "The council has not agreed to reopen the harbour.",
            "The council has agreed to reopen the harbour.",
            "What did the council decide?",
            "the source says the opposite",
        ),
    ],
)
def test_what_a_source_says_otherwise_is_contradicted_with_the_reason(
    said: str, claim: str, question: str, reason: str
) -> None:
    (sentence,) = check(claim, question, [source(said)]).sentences
    assert (sentence.verdict, sentence.reason) == (Verdict.CONTRADICTED, reason)


@pytest.mark.parametrize(
    ("said", "claim", "question", "reason"),
    [
        (
            "The storm closed the port.",
            "The storm closed the port of Marlow.",
            "What did the storm close?",
            "“Marlow” does not stand there",
        ),
        (
            "Lind has left for Ulm.",
            "Lind has left for 3 weeks.",
            "How long has Lind left for?",
            "“3” does not stand there",
        ),
        ("Orr was robbed by Lind.", "Orr robbed Lind.", "Who robbed Lind?", "otherwise"),
        ("Lind left for Ulm.", "Lind left.", "Who says Lind left?", "no more than the question"),
    ],
)
def test_what_no_source_says_is_not_supported_with_the_reason(
    said: str, claim: str, question: str, reason: str
) -> None:
    (sentence,) = check(claim, question, [source(said)]).sentences
    assert sentence.verdict is Verdict.UNSUPPORTED
    assert reason in sentence.reason


BORN = source("Lind was born in Ulm in 1901.", title="Lind", id="born")
DIED = source("Lind died in Bonn in 1980.", title="Lind again", id="died")


def test_a_sentence_of_two_claims_may_rest_on_two_sources() -> None:
    claim = "Lind was born in Ulm and died in Bonn."
    checked = check(claim, "Where was Lind born and where did Lind die?", [BORN, DIED])
    assert checked.text == f"{claim} [1] [2]"
    assert [citation.quote for citation in checked.citations] == [BORN, DIED]


@pytest.mark.parametrize(
    ("claim", "other"),
    [
        ("Lind was born in Ulm and died in Bonn.", source("Orr, whom Lind knew, died in Bonn.")),
        ("Lind was born in Ulm and died in Rome.", DIED),
        ("Lind was born in Bonn and died in Ulm.", DIED),
    ],
)
def test_two_sources_are_not_put_together_to_say_what_neither_does(
    claim: str, other: Excerpt
) -> None:
    checked = check(claim, "Where was Lind born and where did Lind die?", [BORN, other])
    assert checked.text == ""


def test_two_of_one_title_are_two() -> None:
    born = source("President Lind was born in Ulm.", id="born")
    died = source("President Orr died in Bonn.", id="died")
    claim = "President Lind was born in Ulm and died in Bonn."
    asked = "Where was the president born and where did he die?"
    assert check(claim, asked, [born, died]).text == ""


def test_a_marker_of_the_articles_own_is_no_marker_of_the_answer() -> None:
    noted = source("The firm was founded in 1950.[4] [2, 3]［5］【6】")
    for checked in (
        quote([Evidence(1.0, noted)]),
        check("In 1950 [4].", "When was it founded?", [noted]),
    ):
        assert set(re.findall(r"[\[［【]([\d, ]+)", checked.text)) <= {"1"}
        assert all(citation.quote.text == noted.text for citation in checked.citations)


def test_only_the_sentences_that_hold_are_in_the_answer() -> None:
    draft = (
        "The crews walked out over a 4.5 percent pay offer. The strike cost 3 million pounds."
        " Mayor Ines Calder asked both sides to meet."
    )
    checked = check(draft, "What happened with the ferry crews and both sides?", SOURCES)
    assert "3 million" not in checked.text
    assert [sentence.supported for sentence in checked.sentences] == [True, False, True]
    assert [citation.marker for citation in checked.citations] == [1, 2]


def test_a_sentence_said_twice_stands_once() -> None:
    checked = check("Monday. Monday.", "When did the ferry crews walk out?", SOURCES)
    assert checked.text == "Monday. [1]"


def test_words_that_only_announce_the_answer_are_left_out() -> None:
    draft = "The answer to this question is: the crews walked out over a 4.5 percent pay offer."
    checked = check(draft, "Why did the ferry crews of Port Ellery walk out?", SOURCES)
    assert checked.text == "The crews walked out over a 4.5 percent pay offer. [1]"


def test_a_quotation_cites_itself() -> None:
    checked = quote([Evidence(1.0, COUNCIL)])
    assert checked.text == f"“{COUNCIL.text[:-1]}”, says Ferry strike. [1]"
    assert checked.citations[0].quote is COUNCIL


def test_quotations_of_one_article_name_it_once_and_of_two_each_with_its_date() -> None:
    other = source("Talks go on.", title="Ferries", id="b")
    dated = replace(other, date="2021-05-14")
    both = quote([Evidence(1.0, COUNCIL), Evidence(0.9, MAYOR), Evidence(0.8, dated)])
    assert both.text.count("says Ferry strike.") == 1
    assert both.text.endswith("“Talks go on”, says Ferries (2021-05-14). [3]")
    assert [citation.quote for citation in both.citations] == [COUNCIL, MAYOR, dated]


def test_a_short_answer_comes_first_and_its_quotation_backs_it() -> None:
    checked = check("Monday. In 1812.", "When did the ferry crews walk out?", SOURCES)
    behind = backed(checked, STRIKE, [STRIKE])
    assert behind.text == f"Monday. [1] “{STRIKE.text[:-1]}”, says Ferry strike. [1]"
    assert [sentence.supported for sentence in behind.sentences] == [True, True, False]
    assert [citation.quote for citation in behind.citations] == [STRIKE]
    another = backed(checked, STRIKE, [MAYOR])
    assert another.text == f"Monday. [1] “{MAYOR.text[:-1]}”, says Ferry strike. [2]"
    assert [citation.quote for citation in another.citations] == [STRIKE, MAYOR]


@given(draft=st.text(max_size=300), question=st.text(max_size=80))
def test_whatever_is_drafted_every_marker_in_the_text_is_a_citation(
    draft: str, question: str
) -> None:
    checked = check(draft, question, SOURCES)
    markers = {citation.marker for citation in checked.citations}
    assert {int(number) for number in re.findall(r"\[([0-9]+)\]", checked.text)} == markers
    assert {n for s in checked.sentences if s.supported for n in s.citations} == markers
    assert all(sentence.citations for sentence in checked.sentences if sentence.supported)
    assert all(citation.quote in SOURCES for citation in checked.citations)


@given(
    words=st.lists(st.sampled_from(STRIKE.text.split()), max_size=12), number=st.integers(13, 10**9)
)
def test_a_number_that_no_source_holds_never_stands(words: list[str], number: int) -> None:
    checked = check(f"{' '.join(words)} {number}", "How many crews walked out?", SOURCES)
    assert str(number) not in checked.text
