"""The real encoder: vectors that can be compared, in the order of their texts."""

from pathlib import Path

import numpy as np
import pytest

from rag.encoder import BATCH, Encoder
from rag.errors import ModelError

SHIP = "A ship ran aground in the harbour."
VESSEL = "The vessel got stuck in port."
RECIPE = "Whisk the eggs with sugar until pale."


def test_vectors_have_length_one(encoder: Encoder) -> None:
    vectors = encoder.encode_passages([SHIP, "", "x " * 2000, "港口"])
    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.linalg.norm(encoder.encode_question(SHIP)) == pytest.approx(1.0, abs=1e-5)


def test_a_processor_with_bfloat16_finds_the_same(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    halved = Encoder(encoder.name, encoder._folder)
    texts = [SHIP, VESSEL, RECIPE]
    vectors = halved.encode_passages(texts)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.sum(vectors * encoder.encode_passages(texts), axis=1) == pytest.approx(1.0, abs=0.01)


def test_what_means_the_same_lies_nearer(encoder: Encoder) -> None:
    ship, vessel, recipe = encoder.encode_passages([SHIP, VESSEL, RECIPE])
    assert ship @ vessel > ship @ recipe + 0.2


def test_a_question_lies_near_its_answer(encoder: Encoder) -> None:
    question = encoder.encode_question("Where did the ship run aground?")
    cosines = encoder.encode_passages([RECIPE, SHIP]) @ question
    assert cosines[1] > cosines[0] + 0.2


def test_vectors_come_in_the_order_of_their_texts_over_several_batches(encoder: Encoder) -> None:
    texts = [f"{'very ' * (i % 7)}late train number {i}" for i in range(BATCH + 5)]
    together = encoder.encode_passages(texts)
    for place in (0, 6, BATCH, BATCH + 4):
        alone = encoder.encode_passages([texts[place]])[0]
        assert int(np.argmax(together @ alone)) == place


def test_progress_adds_up(encoder: Encoder) -> None:
    told: list[int] = []
    encoder.encode_passages(["a ship"] * (BATCH + 3), told.append)
    assert told == [BATCH, 3]


def test_nothing_to_encode_is_no_vector(encoder: Encoder) -> None:
    assert len(encoder.encode_passages([])) == 0
    assert encoder.count_tokens([]) == []


def test_tokens_are_counted_without_marks_and_without_cutting(encoder: Encoder) -> None:
    assert encoder.count_tokens(["ship", "ship harbour", "", "ship " * 1000]) == [1, 2, 0, 1000]
    assert encoder.max_tokens == 254, "256 less two marks"


def test_an_encoder_that_cannot_be_loaded_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "modules.json").write_text(
        '[{"idx": 0, "name": "0", "path": "", "type": "nothing"}]'
    )
    with pytest.raises(ModelError, match="cannot be loaded") as told:
        Encoder(str(tmp_path), tmp_path).load()
    assert "\n" not in str(told.value)
    assert "RAG_ENCODER" in told.value.remedy
