"""A user's own questions in numbers: what each measure says of an outcome that is known."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.chatbot import Chatbot
from rag.datatypes import Answer, Mode, Question, Stage, Timings
from rag.drafting import asking, draft
from rag.errors import QuestionError
from rag.evaluation import (
    Estimate,
    Outcome,
    answer_outcome,
    earlier_values,
    evaluation,
    f1,
    holds,
    risk_coverage,
    search_outcome,
)
from rag.questions import Expected, expectations_of
from rag.report import write

HIGH = Expected(
    Question("How high is the lighthouse of Sant Oriol?", id="high"),
    ("37 metres",),
    {"lighthouse.md": 1},
)
NOWHERE = Expected(Question("Who won the chess game in Reykjavik?", id="chess"), unanswerable=True)


def test_searching_is_measured_where_articles_are_expected(chatbot: Chatbot) -> None:
    found = search_outcome(chatbot, HIGH, 5)
    assert found.values == {"recall@5": 1.0, "MRR": 1.0, "nDCG@5": 1.0}
    assert search_outcome(chatbot, NOWHERE, 5).values == {}


def test_an_article_that_is_not_found_counts_nothing(chatbot: Chatbot) -> None:
    expected = Expected(HIGH.question, gains={"no-such-article.md": 1, "lighthouse.md": 1})
    found = search_outcome(chatbot, expected, 5).values
    assert found["recall@5"] == 0.5
    assert 0 < found["nDCG@5"] < 1


def test_an_answer_is_right_when_it_holds_one_that_is_expected(chatbot: Chatbot) -> None:
    values = answer_outcome(chatbot, HIGH, 5).values
    assert (values["right"], values["wrong"], values["wrongly refused"]) == (1, 0, 0)
    assert values["quotes exact"] == values["citation precision"] == values["citation recall"] == 1
    assert values["seconds"] > 0


def test_an_answer_that_holds_none_is_wrong(chatbot: Chatbot) -> None:
    expected = Expected(HIGH.question, ("1,000 feet",), {"marsh.md": 1})
    values = answer_outcome(chatbot, expected, 5).values
    assert (values["right"], values["wrong"]) == (0, 1)
    assert values["citation precision"] == 0


def test_a_refusal_is_right_only_where_nothing_is_held(chatbot: Chatbot) -> None:
    assert answer_outcome(chatbot, NOWHERE, 5).values["unanswerable: refused"] == 1
    asked = Expected(NOWHERE.question, ("nobody",), {"marsh.md": 1})
    assert answer_outcome(chatbot, asked, 5).values["wrongly refused"] == 1


@pytest.mark.parametrize(
    ("text", "answer", "held", "shared"),
    [
        ("It is 37 metres high. [1]", "37 Metres", True, 4 / 7),
        ("It is 137 metres high.", "37 metres", False, 2 / 7),
        ("The cat", "a cat", True, 1.0),
        ("", "a cat", False, 0.0),
        ("Cat.", "...", False, 0.0),
    ],
)
def test_answers_are_compared_as_words(text: str, answer: str, held: bool, shared: float) -> None:
    assert holds(text, [answer]) is held
    assert f1(text, answer) == pytest.approx(shared)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_a_mean_lies_within_its_interval_and_that_within_the_values(values: list[float]) -> None:
    found = Estimate.of(values)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    assert found.low - 0.1 <= found.value <= found.high + 0.1
    assert found.n == len(values)


def test_a_run_is_compared_with_an_earlier_one_question_by_question(
    chatbot: Chatbot, tmp_path: Path
) -> None:
    outcomes = [search_outcome(chatbot, expected, 5) for expected in (HIGH, NOWHERE)]
    saved = evaluation(outcomes, {}).as_json()
    saved["outcomes"][0]["values"]["MRR"] = 0.25
    file = tmp_path / "run.json"
    file.write_text(json.dumps(saved))
    compared = evaluation(outcomes, earlier_values(file)).differences
    assert compared["MRR"].value == 0.75
    assert compared["recall@5"].value == 0


def outcome(confidence: float, mode: Mode, values: dict[str, float]) -> Outcome:
    answer = Answer("?", "?", Stage.DONE, mode, "", (), "none", Timings(0.0), confidence=confidence)
    return Outcome(HIGH, values, None, answer)


def test_risk_and_coverage_are_told_from_the_surest_answer_on() -> None:
    outcomes = [
        outcome(0.6, Mode.QUOTED, {"right": 0.0}),
        outcome(0.9, Mode.WRITTEN, {"right": 1.0}),
        outcome(0.6, Mode.QUOTED, {"unanswerable: refused": 0.0}),
        outcome(0.2, Mode.REFUSED, {"unanswerable: refused": 1.0}),
        outcome(0.8, Mode.QUOTED, {"MRR": 1.0}),  # nobody said what would be right
    ]
    assert risk_coverage(outcomes) == ((0.9, 1 / 4, 0.0), (0.6, 3 / 4, 2 / 3))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30))
def test_more_coverage_never_comes_with_more_confidence(answers: list[tuple[float, bool]]) -> None:
    curve = risk_coverage([outcome(c, Mode.QUOTED, {"right": float(r)}) for c, r in answers])
    assert [p.confidence for p in curve] == sorted({c for c, _ in answers}, reverse=True)
    assert [p.coverage for p in curve] == sorted(p.coverage for p in curve)
    assert curve[-1].coverage == 1.0
    wrong = sum(not right for _, right in answers)
    assert curve[-1].risk == pytest.approx(wrong / len(answers))


@pytest.mark.parametrize("content", ["", "{}", '{"outcomes": [{"key": 1}]}', "[" * 9999])
def test_a_file_that_holds_no_run_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(QuestionError, match="does not hold an earlier run"):
        earlier_values(tmp_path / "run.json")


def test_a_report_needs_nothing_else_and_shows_text_as_text(
    chatbot: Chatbot, tmp_path: Path
) -> None:
    nasty = Expected(
        Question("How high is <script>alert(1)</script> the lighthouse?"), gains={"x": 1}
    )
    outcomes = [answer_outcome(chatbot, expected, 5) for expected in (HIGH, NOWHERE, nasty)]
    earlier = {"high": {"MRR": 0.5, "right": 0.0}}
    write(evaluation(outcomes, earlier), {"questions": "<b>mine</b>"}, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert "<b>mine" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "src=" not in page
    assert "@import" not in page


# -- questions in


def test_a_beir_folder_is_read_with_its_judgements(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n1\ta.md\t2\n1\tb.md\t0\n2\tb.md\t1\n"
    )
    rows = [{"_id": id, "text": f"Question {id}?"} for id in ("1", "2", "3")]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = expectations_of(tmp_path)
    assert first.gains == {"a.md": 2}
    assert second.question == Question("Question 2?", id="2")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"question": "Why?", "answers": "so"}', "its answers are no list of strings"),
        ('{"question": "Why?", "article_ids": [1]}', "its article_ids are no list of strings"),
        ('{"question": ""}', "The question is empty"),
        ("[]", "is not a question"),
        ("", "There is no question in"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_place(
    tmp_path: Path, line: str, said: str
) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(line)
    with pytest.raises(QuestionError, match=said) as told:
        expectations_of(file)
    assert str(file) in str(told.value)


@pytest.mark.parametrize("qrels", [None, "a\tb\n1\t2\n", "a\tb\tc\n1\t2\tmany\n"])
def test_a_folder_without_judgements_is_told(tmp_path: Path, qrels: str | None) -> None:
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "Why?"}')
    if qrels is not None:
        (tmp_path / "qrels").mkdir()
        (tmp_path / "qrels" / "test.tsv").write_text(qrels)
    with pytest.raises(QuestionError, match=r"qrels/test\.tsv"):
        expectations_of(tmp_path)


# -- questions drafted


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        (
            "The tower of Sant Oriol cost the town 4.2 million euros in all.",
            "The tower of Sant Oriol cost the town how many million euros in all?",
            "4.2",
        ),
        (
            "The drained marsh of Dunmere was flooded again in May 2019.",
            "The drained marsh of Dunmere was flooded again when?",
            "May 2019",
        ),
        (
            "About 12.5 % of the harbour's moorings were empty last winter.",
            "About what percentage of the harbour's moorings were empty last winter?",
            "12.5",
        ),
        (
            "The committee gave the yearly medal for bravery to Ines Valls.",
            "The committee gave the yearly medal for bravery to who or what?",
            "Ines Valls",
        ),
    ],
)
def test_a_sentence_is_asked_for_what_it_tells(sentence: str, question: str, answer: str) -> None:
    drafted = asking(sentence)
    assert drafted is not None
    assert (drafted.question, drafted.answer) == (question, answer)


@pytest.mark.parametrize(
    "sentence",
    [
        "It was flooded again in 2019 by the wardens of the marsh.",
        "In 2019.",
        "The wardens of the marsh counted many pairs of birds on the mud.",
    ],
)
def test_a_sentence_that_leans_or_tells_nothing_to_ask_for_makes_no_question(sentence: str) -> None:
    assert asking(sentence) is None


def test_drafted_questions_hold_what_they_say(chatbot: Chatbot) -> None:
    drafted = list(draft(chatbot.index, 10))
    assert drafted
    for expected in drafted:
        for answer in expected.answers:
            (id,) = expected.gains
            assert answer in chatbot.index.article(id).text
