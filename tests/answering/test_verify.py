"""Verification of drafts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.quote import quote_evidence
from rag.answering.verify import verify_draft
from rag.types import Evidence, Excerpt, Verdict


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
            id="in the source's words",
        ),
        pytest.param("Monday.", "When did the ferry crews walk out?", STRIKE, id="a short answer"),
        pytest.param(
            "The council has not agreed to reopen the harbour.",
            "What has the council not agreed to?",
            COUNCIL,
            id="a negation that the source contains too",
        ),
        pytest.param(
            "Mayor Ines Calder.",
            "Who asked both sides to meet at the town hall?",
            MAYOR,
            id="a name",
        ),
    ],
)
def test_a_sentence_that_a_source_supports_cites_it(
    claim: str, question: str, cited: Excerpt
) -> None:
    result = verify_draft(claim, question, SOURCES)
    assert result.text == f"{claim} [1]"
    assert [citation.quote for citation in result.citations] == [cited]
    assert result.sentences[0].supported


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
            id="a number without its decimal point",
        ),
        pytest.param(
            "The crews of Port Marlow walked out on Monday.",
            "Who walked out?",
            id="another name",
        ),
        pytest.param(
            "The crews did not walk out on Monday.",
            "When did the crews walk out?",
            id="a negation that the source does not contain",
        ),
        pytest.param(
            "The council has agreed to reopen the harbour.",
            "What has the council agreed to?",
            id="a missing negation",
        ),
        pytest.param(
            "The ferry crews walked out.",
            "Did the ferry crews walk out?",
            id="nothing but the question's own words",
        ),
        pytest.param(
            "The strike cost the hotels a fortune.",
            "What did the strike cost?",
            id="nothing like any source",
        ),
        pytest.param(
            "Both sides asked Mayor Ines Calder to meet at the town hall.",
            "Who asked whom to meet at the town hall?",
            id="subject and object exchanged",
        ),
        pytest.param(
            "The harbour was blocked on Monday over a pay offer.",
            "Why was the harbour blocked?",
            id="words of the question that no source contains, in a full sentence",
        ),
        pytest.param(
            "Who asked both sides to meet at the town hall?", "Who asked it?", id="a question"
        ),
        pytest.param("", "Who walked out?", id="empty"),
    ],
)
def test_a_sentence_that_no_source_supports_is_rejected(claim: str, question: str) -> None:
    result = verify_draft(claim, question, SOURCES)
    assert result.text == ""
    assert result.citations == ()
    assert not any(sentence.supported for sentence in result.sentences)


@pytest.mark.parametrize(
    ("text", "claim", "question"),
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
def test_a_claim_that_its_source_does_not_state_is_rejected(
    text: str, claim: str, question: str
) -> None:
    excerpt = Excerpt("a", "Napoleon", 0, len(text), text, date="2019-04-15")
    assert verify_draft(claim, question, [excerpt]).text == ""


@pytest.mark.parametrize(
    ("text", "claim", "question"),
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
def test_a_claim_in_similar_words_is_supported(text: str, claim: str, question: str) -> None:
    assert verify_draft(claim, question, [source(text)]).text == f"{claim} [1]"


@pytest.mark.parametrize(
    ("text", "claim", "question", "reason"),
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
def test_a_contradicted_claim_has_a_reason(
    text: str, claim: str, question: str, reason: str
) -> None:
    (sentence,) = verify_draft(claim, question, [source(text)]).sentences
    assert (sentence.verdict, str(sentence.reason)) == (Verdict.CONTRADICTED, reason)


@pytest.mark.parametrize(
    ("text", "claim", "question", "reason"),
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
def test_an_unsupported_claim_has_a_reason(
    text: str, claim: str, question: str, reason: str
) -> None:
    (sentence,) = verify_draft(claim, question, [source(text)]).sentences
    assert sentence.verdict is Verdict.UNSUPPORTED
    assert reason in str(sentence.reason)


BORN = source("Lind was born in Ulm in 1901.", title="Lind", id="born")
DIED = source("Lind died in Bonn in 1980.", title="Lind again", id="died")


def test_two_claims_of_a_sentence_may_be_supported_by_two_sources() -> None:
    claim = "Lind was born in Ulm and died in Bonn."
    result = verify_draft(claim, "Where was Lind born and where did Lind die?", [BORN, DIED])
    assert result.text == f"{claim} [1] [2]"
    assert [citation.quote for citation in result.citations] == [BORN, DIED]


@pytest.mark.parametrize(
    ("claim", "other"),
    [
        ("Lind was born in Ulm and died in Bonn.", source("Orr, whom Lind knew, died in Bonn.")),
        ("Lind was born in Ulm and died in Rome.", DIED),
        ("Lind was born in Bonn and died in Ulm.", DIED),
    ],
)
def test_two_sources_cannot_support_a_sentence_together_otherwise(
    claim: str, other: Excerpt
) -> None:
    result = verify_draft(claim, "Where was Lind born and where did Lind die?", [BORN, other])
    assert result.text == ""


def test_two_people_with_the_same_title_are_distinguished() -> None:
    born = source("President Lind was born in Ulm.", id="born")
    died = source("President Orr died in Bonn.", id="died")
    claim = "President Lind was born in Ulm and died in Bonn."
    question = "Where was the president born and where did he die?"
    assert verify_draft(claim, question, [born, died]).text == ""


def test_bracketed_numbers_in_an_article_are_not_taken_for_markers() -> None:
    annotated = source("The firm was founded in 1950.[4] [2, 3]［5］【6】")
    for result in (
        quote_evidence([Evidence(1.0, annotated)]),
        verify_draft("In 1950 [4].", "When was it founded?", [annotated]),
    ):
        assert set(re.findall(r"[\[［【]([\d, ]+)", result.text)) <= {"1"}
        assert all(citation.quote.text == annotated.text for citation in result.citations)


def test_only_supported_sentences_are_in_the_answer() -> None:
    draft = (
        "The crews walked out over a 4.5 percent pay offer. The strike cost 3 million pounds."
        " Mayor Ines Calder asked both sides to meet."
    )
    result = verify_draft(draft, "What happened with the ferry crews and both sides?", SOURCES)
    assert "3 million" not in result.text
    assert [sentence.supported for sentence in result.sentences] == [True, False, True]
    assert [citation.marker for citation in result.citations] == [1, 2]


def test_a_repeated_sentence_is_kept_once() -> None:
    result = verify_draft("Monday. Monday.", "When did the ferry crews walk out?", SOURCES)
    assert result.text == "Monday. [1]"


def test_a_preamble_is_removed() -> None:
    draft = "The answer to this question is: the crews walked out over a 4.5 percent pay offer."
    result = verify_draft(draft, "Why did the ferry crews of Port Ellery walk out?", SOURCES)
    assert result.text == "The crews walked out over a 4.5 percent pay offer. [1]"


@given(draft=st.text(max_size=300), question=st.text(max_size=80))
def test_the_markers_in_the_text_are_those_of_the_citations(draft: str, question: str) -> None:
    result = verify_draft(draft, question, SOURCES)
    markers = {citation.marker for citation in result.citations}
    assert {int(number) for number in re.findall(r"\[([0-9]+)\]", result.text)} == markers
    assert {n for s in result.sentences if s.supported for n in s.citations} == markers
    assert all(sentence.citations for sentence in result.sentences if sentence.supported)
    assert all(citation.quote in SOURCES for citation in result.citations)


@given(
    words=st.lists(st.sampled_from(STRIKE.text.split()), max_size=12), number=st.integers(13, 10**9)
)
def test_a_number_that_no_source_contains_is_never_supported(words: list[str], number: int) -> None:
    result = verify_draft(f"{' '.join(words)} {number}", "How many crews walked out?", SOURCES)
    assert str(number) not in result.text
