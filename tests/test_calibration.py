"""How sure an answer must be over an index: found out, kept, heeded, and done without."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag import threshold
from rag.calibration import LEAST_QUESTIONS, THRESHOLDS, _telling_apart, calibrate
from rag.chatbot import Chatbot
from rag.datatypes import EncoderId, Mode, Strictness
from rag.doctor import examine
from rag.encoder import Encoder
from rag.indexing import sync
from rag.threshold import BUILT_IN, FILE, Calibration

if TYPE_CHECKING:
    from conftest import Quiet

FOUND = Calibration(
    encoder=EncoderId("e", "f"), sources=(), passages=9, questions=20, least_score=0.61
)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory, encoder: Encoder, quiet: "Quiet") -> Path:
    folder = tmp_path_factory.mktemp("calibrated")
    sync(folder, encoder, [Path("seeds")], rebuild=False, progress=quiet)
    calibrate(folder, encoder, quiet)
    return folder


def test_an_index_is_calibrated_on_questions_from_its_own_articles(
    calibrated: Path, encoder: Encoder
) -> None:
    found = threshold.read(calibrated, encoder.id)
    assert found is not None
    assert found.questions >= LEAST_QUESTIONS
    assert 0.2 < found.least_score < 0.9
    assert threshold.least_score(calibrated, encoder.id) == found.least_score


def test_it_is_not_done_again_while_the_index_is_about_as_large(
    calibrated: Path, encoder: Encoder, quiet: "Quiet"
) -> None:
    before = (calibrated / FILE).stat().st_mtime_ns
    calibrate(calibrated, encoder, quiet)
    assert (calibrated / FILE).stat().st_mtime_ns == before


def test_the_sample_articles_threshold_does_not_outlive_them(
    calibrated: Path, tmp_path: Path, encoder: Encoder, quiet: "Quiet"
) -> None:
    folder = shutil.copytree(calibrated, tmp_path / "index")
    (tmp_path / "one.txt").write_text(
        "The tower of Sant Oriol is 37 metres high, it is said. " * 400
    )
    sync(folder, encoder, [tmp_path / "one.txt"], rebuild=False, progress=quiet)
    calibrate(folder, encoder, quiet)
    assert threshold.least_score(folder, encoder.id) == BUILT_IN


def test_too_few_articles_say_nothing(tmp_path: Path, encoder: Encoder, quiet: "Quiet") -> None:
    (tmp_path / "one.txt").write_text("The lighthouse of Sant Oriol was lit in May 2019 by Ines.")
    sync(tmp_path / "index", encoder, [tmp_path / "one.txt"], rebuild=False, progress=quiet)
    calibrate(tmp_path / "index", encoder, quiet)
    assert not (tmp_path / "index" / FILE).exists()
    assert threshold.least_score(tmp_path / "index", encoder.id) == BUILT_IN


@given(place=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_heeded(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    threshold.write(folder, FOUND)
    written = bytearray((folder / FILE).read_bytes())
    written[place % len(written)] ^= 1 << bit
    (folder / FILE).write_bytes(written)
    assert threshold.least_score(folder, FOUND.encoder) == BUILT_IN


def test_another_encoders_calibration_is_not_heeded(tmp_path: Path) -> None:
    threshold.write(tmp_path, FOUND)
    assert threshold.least_score(tmp_path, FOUND.encoder) == 0.61
    assert threshold.least_score(tmp_path, EncoderId("e", "another")) == BUILT_IN


def test_a_damaged_calibration_is_found_and_taken_away(
    tmp_path: Path, encoder: Encoder, quiet: "Quiet"
) -> None:
    sync(tmp_path, encoder, [Path("seeds")], rebuild=False, progress=quiet)
    (tmp_path / FILE).write_text("{")
    assert f"{FILE} is damaged" in examine(tmp_path, encoder, quiet).problems
    assert examine(tmp_path, encoder, quiet).problems == ()


@pytest.mark.parametrize(("least", "refused"), [(0.999, True), (0.001, False)])
def test_the_chatbot_heeds_it(
    chatbot: Chatbot, monkeypatch: pytest.MonkeyPatch, least: float, refused: bool
) -> None:
    monkeypatch.setattr(threshold, "least_score", lambda folder, encoder: least)
    *_, answer = chatbot.ask("What was said of the harbour?")
    assert (answer.mode is Mode.REFUSED) is refused


@given(st.floats(0.01, 0.99))
def test_strictness_moves_it(normal: float) -> None:
    low, same, high = (strictness.least_score(normal) for strictness in Strictness)
    assert 0 < low < normal < high < 1
    assert same == pytest.approx(normal)


@given(
    between=st.floats(0.1, 0.9),
    held=st.lists(st.floats(0, 1), min_size=1, max_size=20),
    left_out=st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_what_can_be_told_apart_is(
    between: float, held: list[float], left_out: list[float]
) -> None:
    sure = [between + 0.06 + score * (0.94 - between) for score in held]
    unsure = [score * (between - 0.06) for score in left_out]
    found = _telling_apart(sure, unsure)
    assert max(unsure) < found + 1e-9
    assert found <= min(sure) + 1e-9
    assert THRESHOLDS[0] <= found <= THRESHOLDS[-1]
