"""How sure a sentence is, when the generator has read it too."""

from hypothesis import given
from hypothesis import strategies as st

from rag.certainty import at_most, confidence, reordered
from rag.datatypes import Evidence, Excerpt, ShortAnswer

CHANCE = st.floats(0, 1)


def evidence(*told: tuple[float, str]) -> list[Evidence]:
    return [
        Evidence(score, Excerpt(article_id="a", title="", start=place, end=place + 1, text=text))
        for place, (score, text) in enumerate(told)
    ]


def given_all(found: list[Evidence]) -> list[Excerpt]:
    return [one.sentence for one in found]


def nine(certainty: float = 0.9, none: float = 0.1) -> ShortAnswer:
    return ShortAnswer("nine", 1, certainty, none)


TOLD = st.lists(st.tuples(CHANCE, st.sampled_from(["nine", "ten"])), min_size=1, max_size=6)


@given(TOLD, CHANCE)
def test_no_sentence_is_lost_and_no_score_changed(
    told: list[tuple[float, str]], none: float
) -> None:
    asked = evidence(*told)
    found = reordered(asked, given_all(asked), nine(none=none))
    assert sorted(found, key=lambda one: one.sentence.start) == asked


@given(TOLD, CHANCE, CHANCE)
def test_the_likelier_none_answers_the_less_sure_the_answer(
    told: list[tuple[float, str]], one: float, other: float
) -> None:
    less, more = sorted([one, other])
    asked = evidence(*told)
    assert 0 < confidence(asked, nine(none=more)) <= confidence(asked, nine(none=less)) < 1


@given(TOLD, CHANCE)
def test_a_generator_that_sees_an_answer_is_believed_only_so_far(
    told: list[tuple[float, str]], none: float
) -> None:
    asked = evidence(*told)
    best = max(one.score for one in asked)
    assert confidence(asked, nine(none=none)) <= at_most(best)
    assert at_most(0.1) < 0.25


def test_a_generator_that_finds_no_answer_makes_a_difference() -> None:
    asked = evidence((0.6, "They counted nine."))
    assert confidence(asked, nine(none=0.95)) < confidence(asked, nine(none=0.05)) - 0.1


def test_the_sentence_that_holds_a_sure_short_answer_overtakes_one_about_as_good() -> None:
    asked = evidence((0.6, "They counted ten."), (0.55, "They counted nine pairs."))
    best, _ = reordered(asked, given_all(asked), ShortAnswer("nine pairs", 2, 0.9, 0.1))
    assert best.sentence.text == "They counted nine pairs."


def test_a_short_answer_must_stand_there_word_for_word() -> None:
    asked = evidence((0.6, "They counted ninety."), (0.55, "They counted nine."))
    best, _ = reordered(asked, given_all(asked), nine())
    assert best.sentence.text == "They counted nine."


def test_only_what_it_was_given_is_moved_forward() -> None:
    asked = evidence((0.6, "ten"), (0.5, "two"), (0.4, "nine"))
    assert reordered(asked, given_all(asked)[:2], nine()) == asked
