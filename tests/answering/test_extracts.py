"""Extracts: which sentences are quoted for each kind of question."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.answering import extracts
from rag.text.tokens import words
from rag.types import Evidence, Excerpt, Hit, QuestionKind, excerpt_part

TEXT = (
    "The dam of Ormsby broke on Friday. Rain had softened it for weeks. Nobody was hurt."
    " The mayor asked for calm. A new dam will be built in 2031."
)
PASSAGE = Excerpt("dam", "The dam", 100, 100 + len(TEXT), TEXT, date="2020-03-01")
HITS = [Hit(1, 1.0, PASSAGE)]


def evidence(score: float, text: str, article: str = "dam", start: int | None = None) -> Evidence:
    offset = TEXT.find(text) if start is None else start
    if article == "dam" and start is None:
        return Evidence(score, excerpt_part(PASSAGE, offset, offset + len(text)))
    return Evidence(score, Excerpt(article, article, offset, offset + len(text), text))


def test_an_explanation_is_a_verbatim_part_of_the_passage_that_begins_with_the_best_sentence() -> (
    None
):
    best = evidence(0.9, "Rain had softened it for weeks.")
    excerpt = extracts.explanation(best, HITS)
    assert (
        excerpt.text == "Rain had softened it for weeks. Nobody was hurt. The mayor asked for calm."
    )
    assert TEXT[excerpt.start - 100 : excerpt.end - 100] == excerpt.text


def test_an_explanation_begins_with_the_sentence_that_the_best_one_refers_to() -> None:
    preceding = excerpt_part(PASSAGE, 0, TEXT.index(" Rain"))
    best = Evidence(0.9, evidence(0.9, "Rain had softened it for weeks.").sentence, preceding)
    assert extracts.explanation(best, HITS).text.startswith("The dam of Ormsby broke")


def test_sentences_of_one_article_are_together_and_in_the_order_of_its_text() -> None:
    found = [
        evidence(0.9, "Nobody was hurt."),
        evidence(0.8, "The ferry stopped.", "ferry", 0),
        evidence(0.7, "The dam of Ormsby broke on Friday."),
    ]
    texts = [excerpt.text for excerpt in extracts.several(found, QuestionKind.LIST)]
    assert texts == ["The dam of Ormsby broke on Friday.", "Nobody was hurt.", "The ferry stopped."]


def test_much_less_probable_and_repeated_sentences_are_not_quoted() -> None:
    found = [
        evidence(0.9, "Nobody was hurt."),
        evidence(0.8, "Nobody was hurt.", "copy", 0),
        evidence(0.1, "The mayor asked for calm."),
    ]
    assert [excerpt.article_id for excerpt in extracts.several(found, QuestionKind.LIST)] == ["dam"]


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 80), min_size=1, max_size=10),
    kind=st.sampled_from(sorted(extracts.MAX_WORDS)),
)
def test_quoted_sentences_fit_and_include_the_best(lengths: list[int], kind: QuestionKind) -> None:
    found = [
        evidence(0.9, f"{'word ' * (length - 1)}w{number}", "long", 1000 * number)
        for number, length in enumerate(lengths)
    ]
    chosen = extracts.several(found, kind)
    assert found[0].sentence in chosen
    total = sum(len(words(excerpt.text)) for excerpt in chosen)
    assert len(chosen) == 1 or total <= extracts.MAX_WORDS[kind]


def test_excerpts_are_set_in_the_order_of_time() -> None:
    dates = ["2021-05-14", None, "2020-01-01"]
    excerpts = [Excerpt("a", "a", 0, 1, "a", date=date) for date in dates]
    ordered = extracts.in_order_of_time(excerpts)
    assert [excerpt.date for excerpt in ordered] == [None, "2020-01-01", "2021-05-14"]


@pytest.mark.parametrize(("article", "found"), [("dam", True), ("other", False)])
def test_the_passage_of_a_sentence_is_that_of_its_article(article: str, found: bool) -> None:
    sentence = Excerpt(article, article, 100, 110, TEXT[:10])
    assert (extracts.passage_with(sentence, HITS) is PASSAGE) is found
