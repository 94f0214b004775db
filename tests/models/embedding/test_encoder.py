"""The real encoder: unit vectors in the order of their texts, in every arithmetic."""

import hashlib
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rag.errors import ModelError
from rag.evaluation.synthesize import generate_question
from rag.models.embedding import arithmetic
from rag.models.embedding.arithmetic import Arithmetic
from rag.models.embedding.encoder import Encoder, EncoderOptions, make_batches

SEEDS = Path(__file__).parents[3] / "seeds"

SHIP = "A ship ran aground in the harbour."
VESSEL = "The vessel got stuck in port."
RECIPE = "Whisk the eggs with sugar until pale."
TEXTS = [
    f"Train number {i} to {town} left {'very ' * (i % 7)}late on day {i * 37 % 365}. {RECIPE * (i % 5)}"
    for i, town in enumerate(["Girona", "Leeds", "Oslo", "Kyoto", "Lima"] * 9)
]


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosines: NDArray[np.float32] = np.sum(left * right, axis=1) / lengths
    return cosines


def test_vectors_have_unit_length(encoder: Encoder) -> None:
    vectors = encoder.encode_passages([SHIP, "", "x " * 2000, "港口"])
    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.linalg.norm(encoder.encode_question(SHIP)) == pytest.approx(1.0, abs=1e-5)


@pytest.fixture(scope="module")
def float32_encoder(encoder: Encoder) -> Encoder:
    """The same encoder, computing in float32."""
    return Encoder(encoder.name, encoder.folder, options=EncoderOptions(dtype="float32"))


def count_int8_layers(encoder: Encoder) -> int:
    return sum("forward" in vars(layer) for layer in encoder._model.get().network.modules())


def test_vectors_in_the_fastest_arithmetic_are_close_to_those_in_float32(
    encoder: Encoder, float32_encoder: Encoder
) -> None:
    from sentence_transformers import SentenceTransformer

    texts = [*TEXTS, SHIP, "", "x " * 2000, "港口"]
    reference = SentenceTransformer(str(encoder.folder), device="cpu").encode(texts)
    assert cosines(float32_encoder.encode_passages(texts), reference) == pytest.approx(
        1.0, abs=1e-4
    )
    assert np.min(cosines(encoder.encode_passages(texts), reference)) >= 0.985
    question = "Where did the ship run aground?"
    assert encoder.encode_question(question) @ float32_encoder.encode_question(question) >= 0.985


def test_it_computes_in_the_arithmetic_that_was_measured_to_be_fastest(
    encoder: Encoder, float32_encoder: Encoder
) -> None:
    assert bool(count_int8_layers(encoder)) is encoder.arithmetic.startswith("int8")
    assert count_int8_layers(float32_encoder) == 0


@pytest.mark.parametrize("failure", ["other vectors", "no vectors", "an error"])
def test_it_computes_in_float32_if_int8_does_not_agree(
    encoder: Encoder, float32_encoder: Encoder, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    import torch

    def broken(layer: torch.nn.Linear) -> object:
        def forward(values: torch.Tensor) -> torch.Tensor:
            if failure == "an error":
                raise RuntimeError("not on this processor")
            wrong = -1.0 if failure == "other vectors" else float("nan")
            return torch.full((*values.shape[:-1], layer.out_features), wrong).cumsum(-1)

        return forward

    monkeypatch.setitem(arithmetic.INT8_FORWARDS, Arithmetic.INT8_ONEDNN, broken)
    fallen_back = Encoder(encoder.name, encoder.folder)
    fallen_back.arithmetic = Arithmetic.INT8_ONEDNN
    vectors = fallen_back.encode_passages([SHIP, RECIPE])
    assert count_int8_layers(fallen_back) == 0
    assert np.allclose(vectors, float32_encoder.encode_passages([SHIP, RECIPE]), atol=1e-5)


def test_a_vector_hardly_depends_on_the_other_texts(
    encoder: Encoder, float32_encoder: Encoder
) -> None:
    """Only the last digits of float32 do, some of which int8 then rounds differently."""
    for reader, min_cosine in ((float32_encoder, 0.99999), (encoder, 0.998)):
        together = reader.encode_passages(TEXTS)
        alone = np.concatenate([reader.encode_passages([text]) for text in TEXTS])
        assert np.min(cosines(together, alone)) >= min_cosine


def test_what_means_the_same_lies_nearer(encoder: Encoder) -> None:
    ship, vessel, recipe = encoder.encode_passages([SHIP, VESSEL, RECIPE])
    assert ship @ vessel > ship @ recipe + 0.2


def test_a_question_lies_near_its_answer(encoder: Encoder) -> None:
    question = encoder.encode_question("Where did the ship run aground?")
    cosines = encoder.encode_passages([RECIPE, SHIP]) @ question
    assert cosines[1] > cosines[0] + 0.2


def test_vectors_come_in_the_order_of_their_texts_over_several_batches(encoder: Encoder) -> None:
    together = encoder.encode_passages(TEXTS)
    for index in range(0, len(TEXTS), 9):
        alone = encoder.encode_passages([TEXTS[index]])[0]
        assert int(np.argmax(together @ alone)) == index


def test_batches_contain_every_text_once_and_little_padding() -> None:
    lengths = [3, 250, 0, 40, 41, 39, 300, 2]
    batches = make_batches(lengths, 125)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert batches[:3] == [[6], [1], [4, 3, 5]], "a text longer than the limit has its own batch"
    assert all(
        len(batch) * max(lengths[index] for index in batch) <= 125
        for batch in batches
        if len(batch) > 1
    )


def test_progress_adds_up(encoder: Encoder) -> None:
    steps: list[int] = []
    encoder.encode_passages(TEXTS, steps.append)
    assert sum(steps) == len(TEXTS)
    assert len(steps) > 1


def test_an_interrupt_does_not_wait_for_the_remaining_batches(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def encode(texts: list[str]) -> NDArray[np.float32]:
        time.sleep(0.05)
        started.append(len(texts))
        return np.ones((len(texts), 384), dtype=np.float32)

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(encoder, "_encode", encode)
    with pytest.raises(KeyboardInterrupt):
        encoder.encode_passages(["word " * 200] * 400, stop)
    assert sum(started) < 200


def test_counting_and_encoding_can_run_concurrently(encoder: Encoder) -> None:
    with ThreadPoolExecutor(4) as pool:
        encoded = [pool.submit(encoder.encode_question, text) for text in TEXTS]
        counted = [pool.submit(encoder.count_tokens, [text * 300]) for text in TEXTS]
        assert all(len(future.result()) == 384 for future in encoded)
        assert all(future.result()[0] > 500 for future in counted)


def test_no_texts_give_no_vectors(encoder: Encoder) -> None:
    assert len(encoder.encode_passages([])) == 0
    assert encoder.count_tokens([]) == []


def test_dimensions_are_those_of_the_vectors(encoder: Encoder) -> None:
    assert encoder.dimensions == encoder.encode_passages([SHIP]).shape[1] == 384


def test_tokens_are_counted_without_special_tokens_and_without_truncation(encoder: Encoder) -> None:
    assert encoder.count_tokens(["ship", "ship harbour", "", "ship " * 1000]) == [1, 2, 0, 1000]
    assert encoder.max_tokens == 254, "256 less two special tokens"


def test_an_encoder_that_cannot_be_loaded_is_a_one_line_error(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "modules.json").write_text(
        '[{"idx": 0, "name": "0", "path": "", "type": "nothing"}]'
    )
    with pytest.raises(ModelError, match="cannot be loaded") as error:
        Encoder(str(tmp_path), tmp_path, cache).load()
    assert "\n" not in str(error.value)
    assert "RAG_ENCODER" in error.value.remedy


# -- the fingerprint


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with files that determine an encoder's vectors, and one that does not."""
    folder = tmp_path / "small"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text("[]")
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    (folder / "model.safetensors").write_bytes(bytes(1000))
    (folder / "README.md").write_text("An encoder.")
    return folder


def fingerprint(folder: Path, cache: Path | None = None) -> str:
    return Encoder("small", folder, cache).fingerprint


def test_the_fingerprint_does_not_depend_on_the_folders_location(
    small: Path, tmp_path: Path
) -> None:
    first = fingerprint(small)
    assert len(first) == 64
    assert int(first, 16)
    (small / "README.md").write_text("Another text.")
    moved = small.rename(tmp_path / "moved")
    assert fingerprint(moved) == first
    assert Encoder("small", moved).id == ("small", first)


@pytest.mark.parametrize("file", ["model.safetensors", "1_Pooling/config.json"])
def test_a_changed_byte_changes_the_fingerprint(small: Path, tmp_path: Path, file: str) -> None:
    before = [fingerprint(small), fingerprint(small, tmp_path / "cache")]
    changed = bytearray((small / file).read_bytes())
    changed[-1] ^= 1
    (small / file).write_bytes(changed)
    os.utime(small / file, ns=(1, 1))  # the file system's clock may be coarse
    after = [fingerprint(small), fingerprint(small, tmp_path / "cache")]
    assert before[0] == before[1]
    assert after[0] == after[1] != before[0]


def test_an_added_or_renamed_file_changes_the_fingerprint(small: Path) -> None:
    first = fingerprint(small)
    (small / "modules.json").rename(small / "other.json")
    second = fingerprint(small)
    (small / "tokenizer.json").write_text("{}")
    assert len({first, second, fingerprint(small)}) == 3


def test_the_fingerprint_is_computed_once(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fingerprint(small, tmp_path / "cache")
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert fingerprint(small, tmp_path / "cache") == first


@pytest.mark.parametrize("damage", ["", "{}", "[1]", "\udcff"])
def test_a_damaged_cached_fingerprint_is_replaced(small: Path, tmp_path: Path, damage: str) -> None:
    first = fingerprint(small, tmp_path / "cache")
    [record] = (tmp_path / "cache" / "fingerprints").iterdir()
    record.write_bytes(damage.encode(errors="surrogateescape"))
    assert fingerprint(small, tmp_path / "cache") == first
    assert first in record.read_text()


def test_the_fingerprint_is_computed_each_time_if_the_cache_cannot_be_written(
    small: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert fingerprint(small, tmp_path / "cache") == fingerprint(small)


def test_unreadable_weights_are_an_error(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(hashlib, "file_digest", fail)
    with pytest.raises(ModelError, match="Input/output error"):
        fingerprint(small)


# -- options and prompts


@pytest.fixture(scope="module")
def prompted(encoder: Encoder, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """The same encoder with prompts for questions and passages."""
    folder = tmp_path_factory.mktemp("prompted") / "encoder"
    shutil.copytree(encoder.folder, folder)
    prompts = {"query": "question: ", "document": "passage: "}
    config = folder / "config_sentence_transformers.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"prompts": prompts}))
    return Encoder("prompted", folder, cache, EncoderOptions(dtype="float32"))


def test_the_encoders_prompts_are_used(prompted: Encoder, float32_encoder: Encoder) -> None:
    question = prompted.encode_question("Where did it run aground?")
    assert (
        question @ float32_encoder.encode_question("question: Where did it run aground?") > 0.9999
    )
    (passage,) = prompted.encode_passages([SHIP])
    assert passage @ float32_encoder.encode_passages([f"passage: {SHIP}"])[0] > 0.9999
    assert passage @ float32_encoder.encode_passages([SHIP])[0] < 0.9999


def test_an_index_can_be_queried_in_any_arithmetic(encoder: Encoder) -> None:
    """Compares the top ten hits for each arithmetic of the queries and of the passages.

    A hit is as good as in float32 if its float32 cosine is within 0.01 of the tenth hit's: int8 reorders
    such hits, and without this tolerance, 0.97 of the hits with int8 for both are those of float32.
    """
    articles = [path.read_text(encoding="utf-8") for path in sorted(SEEDS.glob("*.md"))]
    passages = [p for text in articles for p in text.split("\n\n") if len(p) > 80][:120]
    questions = [
        asked.question for p in passages if (asked := generate_question(p.split(". ")[0] + "."))
    ]
    encoders = {kind: with_arithmetic(encoder, kind) for kind in Arithmetic}
    indexed = {kind: other.encode_passages(passages) for kind, other in encoders.items()}
    queries = {
        kind: np.stack([other.encode_question(question) for question in questions])
        for kind, other in encoders.items()
    }
    assert len(questions) >= 25
    assert all(other.id == encoder.id for other in encoders.values()), (
        "passages would be encoded again"
    )
    exact = queries[Arithmetic.FLOAT32] @ indexed[Arithmetic.FLOAT32].T
    tenth = np.sort(exact, axis=1)[:, -10:-9]
    for query_kind, query_vectors in queries.items():
        for index_kind, vectors in indexed.items():
            hits = np.argsort(-(query_vectors @ vectors.T), axis=1)[:, :10]
            cosines = np.take_along_axis(exact, hits, axis=1)
            assert np.mean(cosines >= tenth - 0.01) >= 0.98, f"{query_kind} over {index_kind}"
            assert np.mean(cosines >= tenth) >= 0.95, f"{query_kind} over {index_kind}"


def with_arithmetic(encoder: Encoder, kind: Arithmetic) -> Encoder:
    """The same encoder, computing in this arithmetic."""
    other = Encoder(encoder.name, encoder.folder)
    other.arithmetic = kind
    return other


def test_truncated_vectors_are_the_first_dimensions(
    encoder: Encoder, float32_encoder: Encoder
) -> None:
    few = Encoder(
        encoder.name, encoder.folder, options=EncoderOptions(dimensions=100, dtype="float32")
    )
    (vector,) = few.encode_passages([SHIP])
    (whole,) = float32_encoder.encode_passages([SHIP])
    assert vector.shape == (100,)
    assert np.allclose(vector, whole[:100] / np.linalg.norm(whole[:100]), atol=1e-5)
    assert few.id != encoder.id


def test_the_passage_length_can_be_limited_below_the_encoders(encoder: Encoder) -> None:
    short = Encoder(encoder.name, encoder.folder, options=EncoderOptions(passage_tokens=40))
    assert short.max_tokens == 38
    assert short.id != encoder.id
    long = Encoder(encoder.name, encoder.folder, options=EncoderOptions(passage_tokens=1000))
    assert long.max_tokens == encoder.max_tokens, "the encoder's own limit applies"
