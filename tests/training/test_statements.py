"""Statements and yes/no questions out of questions with answers, and true and false variants."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.statements import corrupt, names, soften, to_statement, to_yes_no

SENTENCES = [
    "Argentina beat France on penalties in Lusail on 18 December 2022.",
    "The toll rose to 160 on Tuesday, which surprised nobody.",
    "Ahold bought eleven shops in Utrecht for $2.5 million.",
    "The ship was freed on 29 March (a Monday).",
    "Sales fell by 12% and have not recovered.",
    "Maria Eklund succeeded Anders Lind as chief executive of Norrbank.",
]
"""A figure, a date, a name or a verb of each can be changed."""

OTHERS = ["Brazil", "Peru", "Carla Duarte", "Bruno Keller", "Bank of Ghent", "Oslo"]


@pytest.mark.parametrize(
    ("question", "answer", "statement"),
    [
        (
            "Who won the World Cup final in 2022?",
            "Argentina",
            "Argentina won the World Cup final in 2022.",
        ),
        ("When was the ship freed?", "29 March", "The ship was freed on 29 March."),
        ("When was the ship freed?", "on 29 March", "The ship was freed on 29 March."),
        ("When was the ship built?", "1912", "The ship was built in 1912."),
        ("When was the castle built?", "the 1840s", "The castle was built in the 1840s."),
        ("In what year did it sink?", "1912", "It sank in 1912."),
        ("What year did it sink?", "1912", "It sank in 1912."),
        ("How many people died in the quake?", "160", "160 people died in the quake."),
        ("How many people died in the quake?", "160 people", "160 people died in the quake."),
        ("How many goals did Okon score?", "14", "Okon scored 14 goals."),
        ("What did Ahold buy in 2019?", "a house", "Ahold bought a house in 2019."),
        ("What did she want to buy in 2019?", "a house", "She wanted to buy a house in 2019."),
        ("What does the board consist of?", "five members", "The board consists of five members."),
        ("Where does Anna live?", "Paris", "Anna lives in Paris."),
        ("where was she born", "Lagos", "She was born in Lagos."),
        ("Where did the family move?", "Cardiff", "The family moved to Cardiff."),
        ("What is the capital of France?", "Paris", "The capital of France is Paris."),
        ("Who was killed in the crash?", "two drivers", "Two drivers were killed in the crash."),
        ("Which team won the cup?", "Leeds United", "Leeds United won the cup."),
        ("Which company first signed them?", "Elektra", "Elektra first signed them."),
        ("Whose car was stolen?", "Anna", "Anna's car was stolen."),
        ("How tall is the tower?", "300 metres", "The tower is 300 metres tall."),
        ("How old was he when he died?", "71", "He was 71 when he died."),
        ("How long did the strike last?", "three weeks", "The strike lasted for three weeks."),
        (
            "How long did it take to build the bridge?",
            "ten years",
            "It took ten years to build the bridge.",
        ),
        (
            "How much did Thornley pay for Mares?",
            "£11 million",
            "Thornley paid £11 million for Mares.",
        ),
        (
            "Why did the company close the plant?",
            "it was losing money",
            "The company closed the plant because it was losing money.",
        ),
        ("What can customers buy there?", "drinks", "Customers can buy drinks there."),
        ("Who has won the race twice?", "Rossi", "Rossi has won the race twice."),
        ("The river is called what?", "the Verra", "The river is called the Verra."),
        ("Since 1997, who has led the firm?", "Lind", "Since 1997, Lind has led the firm."),
        ("What did the doctor not say?", "yes", "The doctor did not say yes."),
    ],
)
def test_a_question_and_its_answer_make_a_statement(
    question: str, answer: str, statement: str
) -> None:
    assert to_statement(question, answer) == statement


@pytest.mark.parametrize(
    ("question", "answer", "asked"),
    [
        ("When was the ship freed?", "29 March", "Was the ship freed on 29 March?"),
        ("Who won the cup?", "Argentina", "Did Argentina win the cup?"),
        ("Who owns the club?", "a bank", "Does a bank own the club?"),
        ("What did Ahold buy?", "a house", "Did Ahold buy a house?"),
        ("Who has won the race twice?", "Rossi", "Has Rossi won the race twice?"),
        ("What is the capital of France?", "Paris", "Is the capital of France Paris?"),
        ("How many people died?", "160", "Did 160 people die?"),
    ],
)
def test_a_question_and_its_answer_make_a_yes_no_question(
    question: str, answer: str, asked: str
) -> None:
    assert to_yes_no(question, answer) == asked


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Is the ship free?", "yes"),
        ("Name the line that splits the islands?", "the Wallace line"),
        ("What did the king do?", "a frog"),
        ("What happened to the ship?", "it sank"),
        ("How?", "slowly"),
        ("Who", "Argentina"),
        ("Who won?", ""),
        ("", ""),
        ("Who won the cup?", "word " * 40),
    ],
)
def test_where_no_rule_is_sure_there_is_no_statement(question: str, answer: str) -> None:
    assert to_statement(question, answer) is None
    assert to_yes_no(question, answer) is None


WORDS = st.sampled_from(
    "who what which how many when in of to the was did has be been is do buy record said ? , 'a".split()
)


@given(st.lists(WORDS, max_size=12).map(" ".join), st.text(max_size=40))
def test_any_question_gives_a_sentence_or_none(question: str, answer: str) -> None:
    statement, asked = to_statement(question, answer), to_yes_no(question, answer)
    assert (statement is None) == (asked is None)
    assert statement is None or statement.endswith(".")
    assert asked is None or asked.endswith("?")


@given(st.text(max_size=200), st.integers(), st.lists(st.text(max_size=20), max_size=5))
def test_any_text_can_be_varied(text: str, seed: int, others: list[str]) -> None:
    changed = corrupt(text, random.Random(seed), others)
    assert changed is None or changed.lower() != text.lower()
    assert soften(text, random.Random(seed))


@given(st.sampled_from(SENTENCES), st.integers())
def test_the_same_seed_gives_the_same_variants(sentence: str, seed: int) -> None:
    changed = corrupt(sentence, random.Random(seed), OTHERS)
    assert changed is not None
    assert changed == corrupt(sentence, random.Random(seed), OTHERS)
    assert soften(sentence, random.Random(seed)) == soften(sentence, random.Random(seed))


def corruptions(sentence: str, others: list[str]) -> set[str]:
    found = (corrupt(sentence, random.Random(seed), others) for seed in range(300))
    return {changed for changed in found if changed}


def test_each_kind_of_fact_is_changed() -> None:
    changed = corruptions("Argentina won the cup on 18 December 2022.", ["Brazil"])
    assert "Brazil won the cup on 18 December 2022." in changed
    assert "Argentina lost the cup on 18 December 2022." in changed
    assert "Argentina did not win the cup on 18 December 2022." in changed
    assert any(re.fullmatch(r"Argentina won the cup on \d+ December 2022\.", c) for c in changed)
    assert any(re.fullmatch(r"Argentina won the cup on 18 [A-Z]\w+ 2022\.", c) for c in changed)
    assert any(re.fullmatch(r"Argentina won the cup on 18 December \d{4}\.", c) for c in changed)


def test_only_a_name_of_the_same_kind_takes_a_names_place() -> None:
    changed = corruptions("Maria Eklund spoke.", ["Carla Duarte", "Bank of Ghent", "Oslo"])
    assert "Carla Duarte spoke." in changed
    assert not any("Ghent" in c or "Oslo" in c for c in changed)


def test_a_percentage_stays_below_a_hundred() -> None:
    for changed in corruptions("It rose by 80%.", []):
        assert all(float(figure) <= 100 for figure in re.findall(r"\d+(?:\.\d+)?", changed))


@pytest.mark.parametrize(
    ("sentence", "opposite"),
    [
        ("They have not recovered.", "They have recovered."),
        ("He did not win.", "He won."),
        ("She can't swim.", "She can swim."),
        ("It has a roof.", "It does not have a roof."),
    ],
)
def test_a_negation_is_added_or_removed(sentence: str, opposite: str) -> None:
    assert opposite in corruptions(sentence, [])


def test_subject_and_object_change_places() -> None:
    assert "France beat Argentina." in corruptions("Argentina beat France.", [])


def softened(sentence: str) -> set[str]:
    return {soften(sentence, random.Random(seed)) for seed in range(300)}


@pytest.mark.parametrize(
    ("sentence", "variant"),
    [
        ("They bought 11 shops.", "They bought eleven shops."),
        ("They bought eleven shops.", "They bought 11 shops."),
        ("It was freed on 29 March.", "It was freed on March 29."),
        ("It was freed on March 29, 2021.", "It was freed on 29 March 2021."),
        ("It fell by 12 per cent.", "It fell by 12%."),
        (
            "The toll rose again on Friday, which surprised nobody.",
            "The toll rose again on Friday.",
        ),
        ("The ship (a tanker) sank.", "The ship sank."),
        ("The ship sank.", "According to the article, the ship sank."),
    ],
)
def test_a_sentence_is_reworded(sentence: str, variant: str) -> None:
    assert variant in softened(sentence)


def test_a_figure_inside_a_larger_one_is_not_respelled() -> None:
    for variant in softened("It cost $2.5 million in 2022 and took 12.5 hours."):
        assert re.findall(r"\d[\d.]*", variant) == ["2.5", "2022", "12.5"]


def test_a_condition_is_not_dropped() -> None:
    sentence = "The bridge will open in May, unless the council objects."
    assert all("unless the council objects" in variant for variant in softened(sentence))


def test_names_are_found_without_dates_and_first_words() -> None:
    text = "On Monday Maria Eklund left Norrbank. They sang. In May the Bank of Ghent hired her."
    assert names(text) == ["Maria Eklund", "Norrbank", "Bank of Ghent"]
