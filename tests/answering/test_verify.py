"""Verification of sentences: what must agree exactly, and what the judge decides."""

import re

import pytest
from fakes import CONTRADICTED, NOT_STATED, SUPPORTED, ScriptedReader
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.answering.verify import Verifier, as_claim, carrying_sentences, missing_word
from rag.models.reading.reader import Reader
from rag.types import ClaimScores, Excerpt, Reason, Verdict


def passage(text: str, *, start: int = 0, title: str = "Ferry strike", id: str = "a") -> Excerpt:
    return Excerpt(id, title, start, start + len(text), text, date="2019-04-15")


STRIKE = passage(
    "The ferry crews of Port Ellery walked out on Monday over a 4.5 percent pay offer."
)
COUNCIL = passage("The council has not agreed to reopen the harbour before 12 May.", start=200)
MAYOR = passage("Mayor Ines Calder asked both sides to meet at the town hall.", start=400)
PASSAGES = (STRIKE, COUNCIL, MAYOR)


def verifier(verdict: ClaimScores = SUPPORTED, **verdicts: ClaimScores) -> Verifier:
    return Verifier(ScriptedReader(verdicts=verdicts, verdict=verdict))


# -- what must agree exactly, whatever the judge says


@pytest.mark.parametrize(
    ("sentence", "missing"),
    [
        ("The crews walked out over a 5.4 percent pay offer.", "5.4"),
        ("The crews walked out over a 45 percent pay offer.", "45"),
        ("The crews of Port Marlow walked out.", "Marlow"),
        ("They walked out in 2018.", "2018"),
        ("Twelve crews walked out.", "12"),
    ],
)
def test_a_name_or_figure_that_the_passage_lacks_is_found(sentence: str, missing: str) -> None:
    assert missing_word(sentence, "Why did they walk out?", STRIKE) == missing
    result = verifier().verify(sentence, "Why did they walk out?", [STRIKE])
    assert result.verdict is Verdict.UNSUPPORTED
    assert result.reason is not None
    assert result.reason.code == Reason.WORD_MISSING
    assert f"“{missing}”" in str(result.reason)


@pytest.mark.parametrize(
    ("sentence", "question", "text"),
    [
        ("11 people died.", "How many died?", "Eleven people died."),
        ("Eleven people died.", "How many died?", "11 people died."),
        ("30,000 tonnes were moved.", "How much?", "About 30000 tonnes were moved."),
        ("Lind won in 2022.", "Who won in 2022?", "Lind won."),
        ("It was in April 2019.", "When was it?", "It happened on Monday."),
        ("Nobody was hurt, according to them.", "Who was hurt?", "No one was injured."),
        ("Boeing's shares fell.", "Whose shares fell?", "The shares of Boeing fell."),
    ],
    ids=[
        "figure for word",
        "word for figure",
        "separators",
        "from the question",
        "from the date of the article",
        "capitalised words that are no names",
        "possessive",
    ],
)
def test_names_and_figures_are_compared_by_their_meaning(
    sentence: str, question: str, text: str
) -> None:
    dated = Excerpt("a", "Story", 0, len(text), text, date="April 2019")
    assert missing_word(sentence, question, dated) == ""


@pytest.mark.parametrize(
    ("sentence", "question", "code"),
    [
        ("Who asked both sides to meet?", "Who asked it?", Reason.NOTHING_NEW),
        ("The ferry crews walked out.", "Did the ferry crews walk out?", Reason.NOTHING_NEW),
        ("", "Who walked out?", Reason.NOTHING_NEW),
        ("I think that crews left the harbour.", "Who?", Reason.FIRST_OR_SECOND_PERSON),
        ("Your crews left the harbour.", "Who?", Reason.FIRST_OR_SECOND_PERSON),
    ],
)
def test_a_sentence_that_is_no_answer_is_rejected_without_the_judge(
    sentence: str, question: str, code: Reason
) -> None:
    judge = ScriptedReader()
    result = Verifier(judge).verify(sentence, question, PASSAGES)
    assert result.verdict is Verdict.UNSUPPORTED
    assert result.reason is not None
    assert result.reason.code == code
    assert judge.judged == []


def test_yes_may_repeat_the_question() -> None:
    result = verifier().verify("Yes, the crews walked out.", "Did the crews walk out?", PASSAGES)
    assert result.verdict is Verdict.SUPPORTED


@settings(deadline=None)
@given(
    words=st.lists(st.sampled_from(STRIKE.text.split()), max_size=12), number=st.integers(13, 10**9)
)
def test_a_number_that_no_passage_contains_is_never_supported(
    words: list[str], number: int
) -> None:
    sentence = f"{' '.join(words)} {number}"
    result = verifier().verify(sentence, "How many crews walked out?", PASSAGES)
    assert result.verdict is not Verdict.SUPPORTED


# -- what the judge decides


@pytest.mark.parametrize(
    ("scores", "verdict", "reason"),
    [
        (SUPPORTED, Verdict.SUPPORTED, None),
        (CONTRADICTED, Verdict.CONTRADICTED, Reason.OPPOSITE_SAID),
        (NOT_STATED, Verdict.UNSUPPORTED, Reason.NOT_SAID),
        (ClaimScores(0.4, 0.3, 0.3), Verdict.UNSUPPORTED, Reason.NOT_SAID),
    ],
)
def test_the_judge_decides_about_the_meaning(
    scores: ClaimScores, verdict: Verdict, reason: Reason | None
) -> None:
    result = verifier(scores).verify("The crews left.", "Who left the harbour?", PASSAGES)
    assert result.verdict is verdict
    assert (result.reason and result.reason.code) == reason
    assert bool(result.sources) is (verdict is Verdict.SUPPORTED)


@pytest.mark.parametrize(
    ("sentence", "question", "claim"),
    [
        ("Monday.", "When did the crews walk out?", "When did the crews walk out? Monday."),
        ("The crews left on Monday.", "When did the crews leave?", "The crews left on Monday."),
        ("The crews left.", "", "The crews left."),
    ],
)
def test_a_short_answer_is_judged_with_the_question(
    sentence: str, question: str, claim: str
) -> None:
    assert as_claim(sentence, question) == claim
    judge = ScriptedReader()
    Verifier(judge).verify(sentence, question, PASSAGES)
    assert judge.judged == [claim]


def test_without_passages_nothing_is_supported() -> None:
    assert verifier().verify("The crews left.", "Who?", []).verdict is Verdict.UNSUPPORTED


# -- what is cited


def test_the_sentence_that_says_most_of_it_is_cited_verbatim() -> None:
    text = "The strike began on Monday. Nobody had expected it. Mayor Calder called for talks."
    source = carrying_sentences("Mayor Calder called for talks.", "", passage(text, start=50))
    assert source.text == "Mayor Calder called for talks."
    assert text[source.start - 50 : source.end - 50] == source.text


def test_a_sentence_that_refers_back_is_cited_with_the_one_before_it() -> None:
    text = "The ship ran aground. It was freed on 29 March. Others waited."
    source = carrying_sentences("The ship was freed on 29 March.", "", passage(text))
    assert source.text == "The ship ran aground. It was freed on 29 March."


# -- drafts


def test_only_supported_sentences_of_a_draft_have_citations() -> None:
    false = "The crews of Port Ellery came back."
    judge = ScriptedReader(verdicts={false: NOT_STATED})
    draft = f"The crews of Port Ellery walked out. {false} Mayor Ines Calder asked them to meet."
    result = Verifier(judge).verify_draft(draft, "What did the crews do?", PASSAGES)
    assert [sentence.supported for sentence in result.sentences] == [True, False, True]
    assert [bool(sentence.citations) for sentence in result.sentences] == [True, False, True]
    assert [citation.marker for citation in result.citations] == [1, 2]


def test_a_repeated_sentence_is_kept_once() -> None:
    result = verifier().verify_draft("Monday. Monday.", "When did the crews leave?", PASSAGES)
    assert [sentence.text for sentence in result.sentences] == ["Monday."]


def test_a_preamble_is_removed() -> None:
    draft = "The answer to this question is: the crews walked out over a pay offer."
    (sentence,) = verifier().verify_draft(draft, "Why did they leave?", PASSAGES).sentences
    assert sentence.text == "The crews walked out over a pay offer."


@settings(deadline=None)
@given(
    draft=st.one_of(
        st.text(max_size=300),
        st.lists(st.sampled_from(["The crews left.", "Monday [2].", "[7]", "12 May."])).map(
            " ".join
        ),
    ),
    question=st.text(max_size=80),
)
def test_the_citations_of_the_sentences_are_those_of_the_text(draft: str, question: str) -> None:
    result = verifier().verify_draft(draft, question, PASSAGES)
    markers = {citation.marker for citation in result.citations}
    assert {n for s in result.sentences if s.supported for n in s.citations} == markers
    assert all(sentence.citations for sentence in result.sentences if sentence.supported)
    assert not any(re.search(r"\[[0-9]+\]", sentence.text) for sentence in result.sentences)
    for citation in result.citations:
        quote = citation.quote
        assert any(
            quote.text == p.text[quote.start - p.start : quote.end - p.start] for p in PASSAGES
        )


# -- the reader as the judge


TOWER = "The lighthouse of Sant Oriol was lit in May. It is 37 metres high."
FINAL = "Argentina won the World Cup final. They beat France 4-2 on penalties."


@pytest.mark.parametrize(
    ("text", "sentence", "supported"),
    [
        (TOWER, "The lighthouse of Sant Oriol is 37 metres high.", True),
        (TOWER, "The lighthouse of Sant Oriol is 37 years old.", False),
        (TOWER, "The lighthouse of Sant Oriol was never lit.", False),
        (FINAL, "Argentina won the World Cup final.", True),
        (FINAL, "France won the World Cup final.", False),
    ],
)
def test_the_reader_judges_by_the_whole_passage(
    reader: Reader, text: str, sentence: str, supported: bool
) -> None:
    result = Verifier(reader).verify(sentence, "", [passage(text, title="News")])
    assert (result.verdict is Verdict.SUPPORTED) is supported
