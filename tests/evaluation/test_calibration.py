"""Calibration of the refusal threshold: computed, stored, validated, applied, and optional."""

import shutil
from pathlib import Path

import pytest
from fakes import SilentProgress
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.chatbot import Chatbot
from rag.evaluation.calibration import MIN_QUESTIONS, THRESHOLDS, best_threshold, calibrate
from rag.indexing.repair import diagnose
from rag.indexing.sync import sync
from rag.models.embedding.encoder import Encoder
from rag.models.reading.reader import Reader
from rag.store import thresholds
from rag.store.thresholds import DEFAULT_THRESHOLD, FILE, Calibration
from rag.types import EncoderId, Mode, Strictness

CALIBRATION = Calibration(
    encoder=EncoderId("e", "f"), sources=(), passages=9, questions=20, least_score=0.61
)


@pytest.fixture(scope="module")
def calibrated(
    sample_index: Path, tmp_path_factory: pytest.TempPathFactory, encoder: Encoder, reader: Reader
) -> Path:
    folder = shutil.copytree(sample_index, tmp_path_factory.mktemp("calibrated") / "index")
    calibrate(folder, encoder, reader, SilentProgress())
    return folder


def test_an_index_is_calibrated_on_questions_from_its_own_articles(
    calibrated: Path, encoder: Encoder
) -> None:
    calibration = thresholds.read(calibrated, encoder.id)
    assert calibration is not None
    assert calibration.questions >= MIN_QUESTIONS
    assert 0.2 < calibration.least_score < 0.9
    assert thresholds.least_score(calibrated, encoder.id) == calibration.least_score


def test_an_unchanged_index_is_not_calibrated_again(
    calibrated: Path, encoder: Encoder, reader: Reader
) -> None:
    before = (calibrated / FILE).stat().st_mtime_ns
    calibrate(calibrated, encoder, reader, SilentProgress())
    assert (calibrated / FILE).stat().st_mtime_ns == before


def test_the_threshold_is_removed_with_the_sample_articles(
    calibrated: Path, tmp_path: Path, encoder: Encoder, reader: Reader
) -> None:
    folder = shutil.copytree(calibrated, tmp_path / "index")
    (tmp_path / "one.txt").write_text(
        "The tower of Sant Oriol is 37 metres high, it is said. " * 400
    )
    sync(folder, encoder, [tmp_path / "one.txt"], rebuild=False, progress=SilentProgress())
    calibrate(folder, encoder, reader, SilentProgress())
    assert thresholds.least_score(folder, encoder.id) == DEFAULT_THRESHOLD


def test_an_index_with_too_few_articles_is_not_calibrated(
    tmp_path: Path, encoder: Encoder, reader: Reader
) -> None:
    (tmp_path / "one.txt").write_text("The lighthouse of Sant Oriol was lit in May 2019 by Ines.")
    sync(
        tmp_path / "index",
        encoder,
        [tmp_path / "one.txt"],
        rebuild=False,
        progress=SilentProgress(),
    )
    calibrate(tmp_path / "index", encoder, reader, SilentProgress())
    assert not (tmp_path / "index" / FILE).exists()
    assert thresholds.least_score(tmp_path / "index", encoder.id) == DEFAULT_THRESHOLD


@given(position=st.integers(0), bit=st.integers(0, 7))
def test_a_corrupted_calibration_is_ignored(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    thresholds.write(folder, CALIBRATION)
    content = bytearray((folder / FILE).read_bytes())
    content[position % len(content)] ^= 1 << bit
    (folder / FILE).write_bytes(content)
    assert thresholds.least_score(folder, CALIBRATION.encoder) == DEFAULT_THRESHOLD


def test_the_calibration_of_another_encoder_is_ignored(tmp_path: Path) -> None:
    thresholds.write(tmp_path, CALIBRATION)
    assert thresholds.least_score(tmp_path, CALIBRATION.encoder) == 0.61
    assert thresholds.least_score(tmp_path, EncoderId("e", "another")) == DEFAULT_THRESHOLD


def test_a_corrupted_calibration_is_reported_and_removed(
    sample_index: Path, tmp_path: Path, encoder: Encoder
) -> None:
    folder = shutil.copytree(sample_index, tmp_path / "index")
    (folder / FILE).write_text("{")
    assert f"{FILE} is damaged" in diagnose(folder, encoder, SilentProgress()).problems
    assert diagnose(folder, encoder, SilentProgress()).problems == ()


@pytest.mark.parametrize(("threshold", "refused"), [(0.999, True), (0.001, False)])
def test_the_chatbot_applies_the_threshold(
    chatbot: Chatbot, monkeypatch: pytest.MonkeyPatch, threshold: float, refused: bool
) -> None:
    monkeypatch.setattr(thresholds, "least_score", lambda folder, encoder: threshold)
    *_, answer = chatbot.ask("What was said of the harbour?")
    assert (answer.mode is Mode.REFUSED) is refused


@given(st.floats(0.01, 0.99))
def test_strictness_moves_the_threshold(normal: float) -> None:
    low, same, high = (strictness.least_score(normal) for strictness in Strictness)
    assert 0 < low < normal < high < 1
    assert same == pytest.approx(normal)


@given(
    boundary=st.floats(0.1, 0.9),
    high=st.lists(st.floats(0, 1), min_size=1, max_size=20),
    low=st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_the_best_threshold_separates_separable_scores(
    boundary: float, high: list[float], low: list[float]
) -> None:
    answerable = [boundary + 0.06 + score * (0.94 - boundary) for score in high]
    unanswerable = [score * (boundary - 0.06) for score in low]
    threshold = best_threshold(answerable, unanswerable)
    assert max(unanswerable) < threshold + 1e-9
    assert threshold <= min(answerable) + 1e-9
    assert THRESHOLDS[0] <= threshold <= THRESHOLDS[-1]
