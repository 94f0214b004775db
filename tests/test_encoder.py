"""The real encoder: vectors that can be compared, in the order of their texts."""

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

from rag import arithmetic
from rag.arithmetic import Way
from rag.drafting import asking
from rag.encoder import Encoder, Encoding, _batches
from rag.errors import ModelError

SEEDS = Path(__file__).parent.parent / "seeds"

SHIP = "A ship ran aground in the harbour."
VESSEL = "The vessel got stuck in port."
RECIPE = "Whisk the eggs with sugar until pale."
TEXTS = [
    f"Train number {i} to {town} left {'very ' * (i % 7)}late on day {i * 37 % 365}. {RECIPE * (i % 5)}"
    for i, town in enumerate(["Girona", "Leeds", "Oslo", "Kyoto", "Lima"] * 9)
]


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.sum(left * right, axis=1) / lengths


def test_vectors_have_length_one(encoder: Encoder) -> None:
    vectors = encoder.encode_passages([SHIP, "", "x " * 2000, "港口"])
    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.linalg.norm(encoder.encode_question(SHIP)) == pytest.approx(1.0, abs=1e-5)


@pytest.fixture(scope="module")
def plain(encoder: Encoder) -> Encoder:
    """The same encoder, all of it in float32."""
    return Encoder(encoder.name, encoder._folder, encoding=Encoding(dtype="float32"))


def layers_in_int8(encoder: Encoder) -> int:
    return sum("forward" in vars(layer) for layer in encoder._model.network.modules())


def test_the_fastest_arithmetic_finds_the_same_as_float32(encoder: Encoder, plain: Encoder) -> None:
    from sentence_transformers import SentenceTransformer

    texts = [*TEXTS, SHIP, "", "x " * 2000, "港口"]
    defaults = SentenceTransformer(str(encoder._folder), device="cpu").encode(texts)
    assert cosines(plain.encode_passages(texts), defaults) == pytest.approx(1.0, abs=1e-4)
    assert np.min(cosines(encoder.encode_passages(texts), defaults)) >= 0.985
    question = "Where did the ship run aground?"
    assert encoder.encode_question(question) @ plain.encode_question(question) >= 0.985


def test_it_computes_as_was_measured_to_be_fastest(encoder: Encoder, plain: Encoder) -> None:
    assert bool(layers_in_int8(encoder)) is encoder.way.startswith("int8")
    assert layers_in_int8(plain) == 0


@pytest.mark.parametrize("failure", ["other vectors", "no vectors", "an error"])
def test_where_int8_does_not_agree_everything_stays_in_float32(
    encoder: Encoder, plain: Encoder, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    import torch

    def broken(layer: torch.nn.Linear) -> object:
        def forward(values: torch.Tensor) -> torch.Tensor:
            if failure == "an error":
                raise RuntimeError("not on this processor")
            wrong = -1.0 if failure == "other vectors" else float("nan")
            return torch.full((*values.shape[:-1], layer.out_features), wrong).cumsum(-1)

        return forward

    monkeypatch.setitem(arithmetic._INT8, Way.INT8_ONEDNN, broken)
    fallen_back = Encoder(encoder.name, encoder._folder)
    fallen_back.way = Way.INT8_ONEDNN
    vectors = fallen_back.encode_passages([SHIP, RECIPE])
    assert layers_in_int8(fallen_back) == 0
    assert np.allclose(vectors, plain.encode_passages([SHIP, RECIPE]), atol=1e-5)


def test_a_vector_hardly_depends_on_the_texts_beside_it(encoder: Encoder, plain: Encoder) -> None:
    """Not at all but for the last digits of float32, some of which int8 then rounds otherwise."""
    for reader, least in ((plain, 0.99999), (encoder, 0.998)):
        together = reader.encode_passages(TEXTS)
        alone = np.concatenate([reader.encode_passages([text]) for text in TEXTS])
        assert np.min(cosines(together, alone)) >= least


def test_what_is_remembered_of_a_text_is_what_reading_it_again_gives(
    encoder: Encoder, cache: Path
) -> None:
    def read(reader: Encoder, texts: list[str]) -> dict[str, list[list[float]]]:
        read = reader.encode_tokens(texts)
        return {text: tokens.vectors.tolist() for text, tokens in zip(texts, read, strict=True)}

    other = Encoder(encoder.name, encoder._folder, cache)
    other.way = encoder.way  # measured again, it may be another one of those about equally fast
    alone = [read(encoder, [text]) for text in TEXTS]
    again = read(encoder, TEXTS[::-1])
    beside = read(other, TEXTS)
    for text, first in zip(TEXTS, alone, strict=True):
        assert first[text] == again[text] == beside[text]


def test_no_more_is_remembered_than_there_is_room_for(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.encoder.REMEMBERED", 3)
    forgetful = Encoder(encoder.name, encoder._folder)
    read: list[str] = []
    inner = forgetful._model.token_vectors

    def noted(texts: list[str]) -> object:
        read.extend(texts)
        return inner(texts)

    monkeypatch.setattr(forgetful._model, "token_vectors", noted)
    texts = [f"The lamp was lit {n} times." for n in range(4)]
    for text in (texts[0], texts[0], *texts[1:], texts[3], texts[0]):
        forgetful.encode_tokens([text])
    assert read == [*texts, texts[0]]


def test_what_means_the_same_lies_nearer(encoder: Encoder) -> None:
    ship, vessel, recipe = encoder.encode_passages([SHIP, VESSEL, RECIPE])
    assert ship @ vessel > ship @ recipe + 0.2


def test_a_question_lies_near_its_answer(encoder: Encoder) -> None:
    question = encoder.encode_question("Where did the ship run aground?")
    cosines = encoder.encode_passages([RECIPE, SHIP]) @ question
    assert cosines[1] > cosines[0] + 0.2


def test_vectors_come_in_the_order_of_their_texts_over_several_batches(encoder: Encoder) -> None:
    together = encoder.encode_passages(TEXTS)
    for place in range(0, len(TEXTS), 9):
        alone = encoder.encode_passages([TEXTS[place]])[0]
        assert int(np.argmax(together @ alone)) == place


def test_batches_hold_every_text_once_and_little_padding() -> None:
    lengths = [3, 250, 0, 40, 41, 39, 300, 2]
    batches = _batches(lengths, 125)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    assert batches[:3] == [[6], [1], [4, 3, 5]], "one longer than allowed stands alone"
    assert all(
        len(batch) * max(lengths[place] for place in batch) <= 125
        for batch in batches
        if len(batch) > 1
    )


def test_progress_adds_up(encoder: Encoder) -> None:
    told: list[int] = []
    encoder.encode_passages(TEXTS, told.append)
    assert sum(told) == len(TEXTS)
    assert len(told) > 1


def test_whoever_stops_does_not_wait_for_the_rest(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def encode(texts: list[str]) -> np.ndarray:
        begun.append(len(texts))
        return np.ones((len(texts), 384), dtype=np.float32)

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(encoder, "_encode", lambda texts: (time.sleep(0.05), encode(texts))[1])
    with pytest.raises(KeyboardInterrupt):
        encoder.encode_passages(["word " * 200] * 400, stop)
    assert sum(begun) < 200


def test_counting_and_encoding_may_go_on_at_the_same_time(encoder: Encoder) -> None:
    with ThreadPoolExecutor(4) as pool:
        encoded = [pool.submit(encoder.encode_question, text) for text in TEXTS]
        counted = [pool.submit(encoder.count_tokens, [text * 300]) for text in TEXTS]
        assert all(len(future.result()) == 384 for future in encoded)
        assert all(future.result()[0] > 500 for future in counted)


def test_nothing_to_encode_is_no_vector(encoder: Encoder) -> None:
    assert len(encoder.encode_passages([])) == 0
    assert encoder.count_tokens([]) == []


def test_dimensions_are_those_of_the_vectors(encoder: Encoder) -> None:
    assert encoder.dimensions == encoder.encode_passages([SHIP]).shape[1] == 384


def test_tokens_are_counted_without_marks_and_without_cutting(encoder: Encoder) -> None:
    assert encoder.count_tokens(["ship", "ship harbour", "", "ship " * 1000]) == [1, 2, 0, 1000]
    assert encoder.max_tokens == 254, "256 less two marks"


def test_an_encoder_that_cannot_be_loaded_is_told_in_one_line(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "modules.json").write_text(
        '[{"idx": 0, "name": "0", "path": "", "type": "nothing"}]'
    )
    with pytest.raises(ModelError, match="cannot be loaded") as told:
        Encoder(str(tmp_path), tmp_path, cache).load()
    assert "\n" not in str(told.value)
    assert "RAG_ENCODER" in told.value.remedy


# -- the fingerprint


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with what decides an encoder's vectors, and something that doesn't."""
    folder = tmp_path / "small"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text("[]")
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    (folder / "model.safetensors").write_bytes(bytes(1000))
    (folder / "README.md").write_text("An encoder.")
    return folder


def fingerprint(folder: Path, cache: Path | None = None) -> str:
    return Encoder("small", folder, cache).fingerprint


def test_a_fingerprint_is_the_files_own_wherever_they_lie(small: Path, tmp_path: Path) -> None:
    first = fingerprint(small)
    assert len(first) == 64
    assert int(first, 16)
    (small / "README.md").write_text("Another text.")
    moved = small.rename(tmp_path / "moved")
    assert fingerprint(moved) == first
    assert Encoder("small", moved).id == ("small", first)


@pytest.mark.parametrize("file", ["model.safetensors", "1_Pooling/config.json"])
def test_a_changed_byte_is_another_fingerprint(small: Path, tmp_path: Path, file: str) -> None:
    before = [fingerprint(small), fingerprint(small, tmp_path / "cache")]
    changed = bytearray((small / file).read_bytes())
    changed[-1] ^= 1
    (small / file).write_bytes(changed)
    os.utime(small / file, ns=(1, 1))  # however coarse the disk's clock is
    after = [fingerprint(small), fingerprint(small, tmp_path / "cache")]
    assert before[0] == before[1]
    assert after[0] == after[1] != before[0]


def test_a_file_more_or_renamed_is_another_fingerprint(small: Path) -> None:
    first = fingerprint(small)
    (small / "modules.json").rename(small / "other.json")
    second = fingerprint(small)
    (small / "tokenizer.json").write_text("{}")
    assert len({first, second, fingerprint(small)}) == 3


def test_nothing_is_hashed_twice(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fingerprint(small, tmp_path / "cache")
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert fingerprint(small, tmp_path / "cache") == first


@pytest.mark.parametrize("damage", ["", "{}", "[1]", "\udcff"])
def test_a_damaged_note_is_made_again(small: Path, tmp_path: Path, damage: str) -> None:
    first = fingerprint(small, tmp_path / "cache")
    [note] = (tmp_path / "cache" / "fingerprints").iterdir()
    note.write_bytes(damage.encode(errors="surrogateescape"))
    assert fingerprint(small, tmp_path / "cache") == first
    assert first in note.read_text()


def test_without_a_place_to_keep_it_it_is_hashed_each_time(small: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert fingerprint(small, tmp_path / "cache") == fingerprint(small)


def test_weights_that_cannot_be_read_are_told(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(hashlib, "file_digest", fail)
    with pytest.raises(ModelError, match="Input/output error"):
        fingerprint(small)


# -- how it is used


@pytest.fixture(scope="module")
def prompted(encoder: Encoder, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """The same encoder, which wants words in front of questions and of passages."""
    folder = tmp_path_factory.mktemp("prompted") / "encoder"
    shutil.copytree(encoder._folder, folder)
    prompts = {"query": "question: ", "document": "passage: "}
    about = folder / "config_sentence_transformers.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"prompts": prompts}))
    return Encoder("prompted", folder, cache, Encoding(dtype="float32"))


def test_the_words_that_an_encoder_wants_in_front_are_put_there(
    prompted: Encoder, plain: Encoder
) -> None:
    asked = prompted.encode_question("Where did it run aground?")
    assert asked @ plain.encode_question("question: Where did it run aground?") > 0.9999
    (told,) = prompted.encode_passages([SHIP])
    assert told @ plain.encode_passages([f"passage: {SHIP}"])[0] > 0.9999
    assert told @ plain.encode_passages([SHIP])[0] < 0.9999
    (tokens,) = prompted.encode_tokens([SHIP])
    (expected,) = plain.encode_tokens([SHIP])
    assert np.allclose(tokens.vectors, expected.vectors, atol=1e-4), "they are no part of the text"


def test_an_index_stays_usable_whichever_arithmetic_made_or_queries_it(encoder: Encoder) -> None:
    """The first ten hits of each arithmetic's queries, over each arithmetic's passages.

    What is as good as the tenth to within 0.01, as float32 sees it, is as good a hit: int8 changes the
    order of these, so that without it 0.97 of int8's hits over int8 are those of float32.
    """
    articles = [path.read_text(encoding="utf-8") for path in sorted(SEEDS.glob("*.md"))]
    passages = [p for text in articles for p in text.split("\n\n") if len(p) > 80][:120]
    questions = [asked.question for p in passages if (asked := asking(p.split(". ")[0] + "."))]
    made = {way: computing(encoder, way) for way in Way}
    over = {way: other.encode_passages(passages) for way, other in made.items()}
    queries = {
        way: np.stack([other.encode_question(question) for question in questions])
        for way, other in made.items()
    }
    assert len(questions) >= 25
    assert all(other.id == encoder.id for other in made.values()), "nothing need be encoded anew"
    exact = queries[Way.FLOAT32] @ over[Way.FLOAT32].T
    tenth = np.sort(exact, axis=1)[:, -10:-9]
    for asked, queried in queries.items():
        for made_by, vectors in over.items():
            found = np.argsort(-(queried @ vectors.T), axis=1)[:, :10]
            cosines = np.take_along_axis(exact, found, axis=1)
            assert np.mean(cosines >= tenth - 0.01) >= 0.98, f"{asked} over {made_by}"
            assert np.mean(cosines >= tenth) >= 0.95, f"{asked} over {made_by}"


def computing(encoder: Encoder, way: Way) -> Encoder:
    """The same encoder in this arithmetic."""
    other = Encoder(encoder.name, encoder._folder)
    other.way = way
    return other


def test_fewer_dimensions_are_the_first_ones(encoder: Encoder, plain: Encoder) -> None:
    few = Encoder(encoder.name, encoder._folder, encoding=Encoding(dimensions=100, dtype="float32"))
    (vector,) = few.encode_passages([SHIP])
    (whole,) = plain.encode_passages([SHIP])
    assert vector.shape == (100,)
    assert np.allclose(vector, whole[:100] / np.linalg.norm(whole[:100]), atol=1e-5)
    assert few.id != encoder.id


def test_passages_can_be_shorter_than_the_encoder_takes_in(encoder: Encoder) -> None:
    short = Encoder(encoder.name, encoder._folder, encoding=Encoding(passage_tokens=40))
    assert short.max_tokens == 38
    assert short.id != encoder.id
    long = Encoder(encoder.name, encoder._folder, encoding=Encoding(passage_tokens=1000))
    assert long.max_tokens == encoder.max_tokens, "no longer than it takes in"
