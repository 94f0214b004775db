"""Evaluation runs: measures, intervals, comparison, report, data sets, synthetic questions."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.chatbot import Chatbot
from rag.errors import QuestionError
from rag.evaluation.dataset import EvalQuestion, read_eval_questions
from rag.evaluation.report import write
from rag.evaluation.runner import (
    Estimate,
    QuestionResult,
    contains_answer,
    evaluate_answer,
    evaluate_search,
    evaluation,
    f1,
    read_baseline,
    risk_coverage,
)
from rag.evaluation.synthesize import draft, generate_question
from rag.types import Answer, Mode, Question, Stage, Timings

HIGH = EvalQuestion(
    Question("How high is the lighthouse of Sant Oriol?", id="high"),
    ("37 metres",),
    {"lighthouse.md": 1},
)
UNANSWERABLE = EvalQuestion(
    Question("Who won the chess game in Reykjavik?", id="chess"), unanswerable=True
)


def test_retrieval_is_measured_if_relevant_articles_are_known(chatbot: Chatbot) -> None:
    result = evaluate_search(chatbot, HIGH, 5)
    assert result.values == {"recall@5": 1.0, "MRR": 1.0, "nDCG@5": 1.0}
    assert evaluate_search(chatbot, UNANSWERABLE, 5).values == {}


def test_a_relevant_article_that_is_not_found_lowers_the_measures(chatbot: Chatbot) -> None:
    question = EvalQuestion(HIGH.question, relevance={"no-such-article.md": 1, "lighthouse.md": 1})
    values = evaluate_search(chatbot, question, 5).values
    assert values["recall@5"] == 0.5
    assert 0 < values["nDCG@5"] < 1


def test_an_answer_that_contains_an_expected_one_is_right(chatbot: Chatbot) -> None:
    values = evaluate_answer(chatbot, HIGH, 5).values
    assert (values["right"], values["wrong"], values["wrongly refused"]) == (1, 0, 0)
    assert values["quotes exact"] == values["citation precision"] == values["citation recall"] == 1
    assert values["seconds"] > 0


def test_an_answer_that_contains_no_expected_one_is_wrong(chatbot: Chatbot) -> None:
    question = EvalQuestion(HIGH.question, ("1,000 feet",), {"marsh.md": 1})
    values = evaluate_answer(chatbot, question, 5).values
    assert (values["right"], values["wrong"]) == (0, 1)
    assert values["citation precision"] == 0


def test_a_refusal_is_right_only_for_unanswerable_questions(chatbot: Chatbot) -> None:
    assert evaluate_answer(chatbot, UNANSWERABLE, 5).values["unanswerable: refused"] == 1
    question = EvalQuestion(UNANSWERABLE.question, ("nobody",), {"marsh.md": 1})
    assert evaluate_answer(chatbot, question, 5).values["wrongly refused"] == 1


def test_small_talk_does_not_count_as_an_answer(chatbot: Chatbot) -> None:
    unanswerable = EvalQuestion(Question("Hello!"), unanswerable=True)
    assert evaluate_answer(chatbot, unanswerable, 5).values["unanswerable: refused"] == 1
    answerable = EvalQuestion(Question("Hello!"), ("hello",), {"marsh.md": 1})
    result = evaluate_answer(chatbot, answerable, 5)
    assert (result.values["right"], result.values["wrongly refused"]) == (0, 1)
    assert "citation precision" not in result.values
    assert risk_coverage([result]) == ()


@pytest.mark.parametrize(
    ("text", "answer", "contained", "score"),
    [
        ("It is 37 metres high. [1]", "37 Metres", True, 4 / 7),
        ("It is 137 metres high.", "37 metres", False, 2 / 7),
        ("The cat", "a cat", True, 1.0),
        ("", "a cat", False, 0.0),
        ("Cat.", "...", False, 0.0),
    ],
)
def test_answers_are_compared_as_normalised_words(
    text: str, answer: str, contained: bool, score: float
) -> None:
    assert contains_answer(text, [answer]) is contained
    assert f1(text, answer) == pytest.approx(score)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_the_mean_is_in_its_interval_and_that_in_the_range_of_the_values(
    values: list[float],
) -> None:
    estimate = Estimate.of(values)
    assert min(values) - 1e-9 <= estimate.low <= estimate.high <= max(values) + 1e-9
    assert estimate.low - 0.1 <= estimate.value <= estimate.high + 0.1
    assert estimate.n == len(values)


def test_runs_are_compared_question_by_question(chatbot: Chatbot, tmp_path: Path) -> None:
    results = [evaluate_search(chatbot, question, 5) for question in (HIGH, UNANSWERABLE)]
    saved = evaluation(results, {}).as_json()
    saved["outcomes"][0]["values"]["MRR"] = 0.25
    file = tmp_path / "run.json"
    file.write_text(json.dumps(saved))
    differences = evaluation(results, read_baseline(file)).differences
    assert differences["MRR"].value == 0.75
    assert differences["recall@5"].value == 0


def make_result(confidence: float, mode: Mode, values: dict[str, float]) -> QuestionResult:
    answer = Answer("?", "?", Stage.DONE, mode, (), "none", Timings(0.0), confidence=confidence)
    return QuestionResult(HIGH, values, None, answer)


def test_the_risk_coverage_curve_begins_with_the_highest_confidence() -> None:
    results = [
        make_result(0.6, Mode.QUOTED, {"right": 0.0}),
        make_result(0.9, Mode.WRITTEN, {"right": 1.0}),
        make_result(0.6, Mode.QUOTED, {"unanswerable: refused": 0.0}),
        make_result(0.2, Mode.REFUSED, {"unanswerable: refused": 1.0}),
        make_result(0.8, Mode.QUOTED, {"MRR": 1.0}),  # the right answer is not known
    ]
    assert risk_coverage(results) == ((0.9, 1 / 4, 0.0), (0.6, 3 / 4, 2 / 3))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30))
def test_coverage_grows_as_confidence_decreases(answers: list[tuple[float, bool]]) -> None:
    curve = risk_coverage([make_result(c, Mode.QUOTED, {"right": float(r)}) for c, r in answers])
    assert [p.confidence for p in curve] == sorted({c for c, _ in answers}, reverse=True)
    assert [p.coverage for p in curve] == sorted(p.coverage for p in curve)
    assert curve[-1].coverage == 1.0
    wrong = sum(not right for _, right in answers)
    assert curve[-1].risk == pytest.approx(wrong / len(answers))


@pytest.mark.parametrize("content", ["", "{}", '{"outcomes": [{"key": 1}]}', "[" * 9999])
def test_a_file_that_is_no_saved_run_is_rejected(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(QuestionError, match="does not contain an earlier run"):
        read_baseline(tmp_path / "run.json")


def test_a_report_is_self_contained_and_escapes_text(chatbot: Chatbot, tmp_path: Path) -> None:
    hostile = EvalQuestion(
        Question("How high is <script>alert(1)</script> the lighthouse?"), relevance={"x": 1}
    )
    results = [evaluate_answer(chatbot, question, 5) for question in (HIGH, UNANSWERABLE, hostile)]
    earlier = {"high": {"MRR": 0.5, "right": 0.0}}
    write(evaluation(results, earlier), {"questions": "<b>mine</b>"}, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert "<b>mine" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "src=" not in page
    assert "@import" not in page


# -- data sets


def test_a_beir_folder_is_read_with_its_qrels(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n1\ta.md\t2\n1\tb.md\t0\n2\tb.md\t1\n"
    )
    rows = [{"_id": id, "text": f"Question {id}?"} for id in ("1", "2", "3")]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = read_eval_questions(tmp_path)
    assert first.relevance == {"a.md": 2}
    assert second.question == Question("Question 2?", id="2")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "Why?", "answers": "so"}', '"answers" is not a list of strings'),
        ('{"question": "Why?", "article_ids": [1]}', '"article_ids" is not a list of strings'),
        ('{"question": ""}', "The question is empty"),
        ("[]", "is not a question"),
        ("", "There is no question in"),
    ],
)
def test_an_invalid_file_is_reported_with_its_path(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(line)
    with pytest.raises(QuestionError, match=message) as raised:
        read_eval_questions(file)
    assert str(file) in str(raised.value)


UNCLOSED_QUOTE = 'a\tb\tc\n1\t"' + "2\t1\n" * csv.field_size_limit()


@pytest.mark.parametrize(
    "qrels",
    [
        None,
        "a\tb\n1\t2\n",
        "a\tb\tc\n1\t2\tmany\n",
        pytest.param(UNCLOSED_QUOTE, id="a quote that is never closed"),
    ],
)
def test_a_folder_without_valid_qrels_is_rejected(tmp_path: Path, qrels: str | None) -> None:
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "Why?"}')
    if qrels is not None:
        (tmp_path / "qrels").mkdir()
        (tmp_path / "qrels" / "test.tsv").write_text(qrels)
    with pytest.raises(QuestionError, match=r"qrels/test\.tsv"):
        read_eval_questions(tmp_path)


# -- synthetic questions


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
def test_a_question_is_generated_from_a_sentence(sentence: str, question: str, answer: str) -> None:
    synthetic = generate_question(sentence)
    assert synthetic is not None
    assert (synthetic.question, synthetic.answer) == (question, answer)


@pytest.mark.parametrize(
    "sentence",
    [
        "It was flooded again in 2019 by the wardens of the marsh.",
        "In 2019.",
        "The wardens of the marsh counted many pairs of birds on the mud.",
    ],
)
def test_no_question_is_generated_from_an_unsuitable_sentence(sentence: str) -> None:
    assert generate_question(sentence) is None


def test_the_answers_of_synthetic_questions_occur_in_their_articles(chatbot: Chatbot) -> None:
    questions = list(draft(chatbot.index, 10))
    assert questions
    for question in questions:
        for answer in question.answers:
            (article_id,) = question.relevance
            article = chatbot.index.article(article_id)
            assert article is not None
            assert answer in article.text
