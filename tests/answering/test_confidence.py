"""Confidence from evidence scores and the extractive generator."""

from hypothesis import given
from hypothesis import strategies as st

from rag.answering.confidence import confidence, rerank_by_answer, upper_bound
from rag.types import Evidence, Excerpt, ExtractiveAnswer

PROBABILITY = st.floats(0, 1)
SCORED_TEXTS = st.lists(
    st.tuples(PROBABILITY, st.sampled_from(["nine", "ten"])), min_size=1, max_size=6
)


def make_evidence(*scored_texts: tuple[float, str]) -> list[Evidence]:
    return [
        Evidence(score, Excerpt(article_id="a", title="", start=i, end=i + 1, text=text))
        for i, (score, text) in enumerate(scored_texts)
    ]


def sentences(evidence: list[Evidence]) -> list[Excerpt]:
    return [item.sentence for item in evidence]


def short_answer(
    text: str = "nine", probability: float = 0.9, p_no_answer: float = 0.1
) -> ExtractiveAnswer:
    return ExtractiveAnswer(text, 1, probability, p_no_answer)


@given(SCORED_TEXTS, PROBABILITY)
def test_reranking_keeps_every_sentence_and_every_score(
    scored_texts: list[tuple[float, str]], p_no_answer: float
) -> None:
    evidence = make_evidence(*scored_texts)
    reranked = rerank_by_answer(
        evidence, sentences(evidence), short_answer(p_no_answer=p_no_answer)
    )
    assert sorted(reranked, key=lambda item: item.sentence.start) == evidence


@given(SCORED_TEXTS, PROBABILITY, PROBABILITY)
def test_confidence_falls_with_the_probability_of_no_answer(
    scored_texts: list[tuple[float, str]], first: float, second: float
) -> None:
    lower, higher = sorted([first, second])
    evidence = make_evidence(*scored_texts)
    least = confidence(evidence, short_answer(p_no_answer=higher))
    most = confidence(evidence, short_answer(p_no_answer=lower))
    assert 0 < least <= most < 1


@given(SCORED_TEXTS, PROBABILITY)
def test_the_generator_raises_the_confidence_by_a_limited_amount(
    scored_texts: list[tuple[float, str]], p_no_answer: float
) -> None:
    evidence = make_evidence(*scored_texts)
    best_score = max(item.score for item in evidence)
    assert confidence(evidence, short_answer(p_no_answer=p_no_answer)) <= upper_bound(best_score)
    assert upper_bound(0.1) < 0.25


def test_a_generator_that_finds_no_answer_lowers_the_confidence() -> None:
    evidence = make_evidence((0.6, "They counted nine."))
    not_found = confidence(evidence, short_answer(p_no_answer=0.95))
    found = confidence(evidence, short_answer(p_no_answer=0.05))
    assert not_found < found - 0.1


def test_a_sentence_with_the_short_answer_overtakes_one_that_is_about_as_good() -> None:
    evidence = make_evidence((0.6, "They counted ten."), (0.55, "They counted nine pairs."))
    best, _ = rerank_by_answer(evidence, sentences(evidence), short_answer("nine pairs"))
    assert best.sentence.text == "They counted nine pairs."


def test_the_sentence_must_contain_the_short_answer_as_whole_words() -> None:
    evidence = make_evidence((0.6, "They counted ninety."), (0.55, "They counted nine."))
    best, _ = rerank_by_answer(evidence, sentences(evidence), short_answer())
    assert best.sentence.text == "They counted nine."


def test_only_sentences_that_the_generator_has_read_are_moved_forward() -> None:
    evidence = make_evidence((0.6, "ten"), (0.5, "two"), (0.4, "nine"))
    assert rerank_by_answer(evidence, sentences(evidence)[:2], short_answer()) == evidence
