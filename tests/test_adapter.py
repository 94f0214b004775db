"""What teaches the embedded generator to answer shortly: shipped whole, merged right, switched off."""

import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from llama_cpp import Llama, llama_get_logits_ith
from numpy.typing import NDArray

from rag import backends, models
from rag.adapter import merge
from rag.datatypes import Excerpt, Prompt, ShortAnswer
from rag.errors import ModelError
from rag.generator import CONTEXT, LlamaGenerator
from rag.models import ADAPTER, ADAPTER_SHA256, SMOLLM2, adapter_file, generator_file, sha256_of
from rag.prompt import SMALL, TAUGHT, compose

TOLD = [
    "The bridge of Lindow opened in May 2012.",
    "Wardens counted nine pairs of avocets on the mud flats.",
    "The harbour cost the town 900,000 euros to dredge.",
]


def asking(generator: LlamaGenerator, question: str, told: list[str]) -> Prompt:
    sources = [
        Excerpt(article_id="a", title="A town in May", start=0, end=len(text), text=text)
        for text in told
    ]
    return compose(question, sources, TAUGHT, generator.count_tokens, CONTEXT)


def short_answer(generator: LlamaGenerator, prompt: Prompt) -> ShortAnswer:
    *_, short = generator.short_answer(prompt.messages)
    assert short is not None
    return short


def last_logits(llama: Llama, text: str) -> NDArray[np.float32]:
    llama.reset()
    llama.eval(llama.tokenize(text.encode()))
    return np.ctypeslib.as_array(llama_get_logits_ith(llama.ctx, -1), (llama.n_vocab(),)).copy()


def test_merged_weights_say_what_llama_cpp_says_with_the_adapter_beside_them(
    cache: Path, tmp_path: Path
) -> None:
    backends.load_best()
    base = generator_file(SMOLLM2.name, cache)
    merge(base, ADAPTER, tmp_path / "merged.gguf")
    prepared = {
        "merged": Llama(str(tmp_path / "merged.gguf"), n_ctx=128, verbose=False),
        "beside": Llama(str(base), lora_path=str(ADAPTER), n_ctx=128, verbose=False),
        "without": Llama(str(base), n_ctx=128, verbose=False),
    }
    said = {name: last_logits(llama, "The bridge opened in") for name, llama in prepared.items()}
    scale = np.abs(said["beside"]).max()
    assert np.abs(said["merged"] - said["beside"]).max() < 0.05 * scale
    assert np.abs(said["without"] - said["beside"]).max() > 0.2 * scale


def test_it_is_small_and_its_card_names_the_file_and_its_licence() -> None:
    assert ADAPTER.stat().st_size <= 10_000_000
    card = (ADAPTER.parent / "README.md").read_text(encoding="utf-8")
    assert sha256_of(ADAPTER) == ADAPTER_SHA256
    assert ADAPTER_SHA256 in card
    assert "CC BY-SA 4.0" in card


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("When did the bridge of Lindow open?", r"(?:May )?2012"),
        ("How many pairs of avocets were counted?", r"nine(?: pairs)?"),
        ("What did it cost to dredge the harbour?", r"900,000(?: euros)?"),
    ],
)
def test_a_question_is_answered_in_as_few_words_as_it_takes(
    taught: LlamaGenerator, question: str, text: str
) -> None:
    for order in (TOLD, TOLD[::-1]):
        short = short_answer(taught, asking(taught, question, order))
        assert re.fullmatch(text, short.text)
        assert 0 < short.certainty <= 1


def test_what_no_fact_answers_is_likelier_to_have_no_answer(taught: LlamaGenerator) -> None:
    answered, not_answered = (
        short_answer(taught, asking(taught, question, TOLD))
        for question in (
            "When did the bridge of Lindow open?",
            "Who composed the opera about the emperor?",
        )
    )
    assert not_answered.none > answered.none


def test_reading_can_be_stopped_at_any_moment_and_nothing_of_it_stays(
    taught: LlamaGenerator,
) -> None:
    asked = asking(taught, "When did the bridge of Lindow open?", TOLD)
    whole = list(taught.short_answer(asked.messages))
    assert len(whole) >= 4
    for steps in range(1, len(whole)):
        with closing(taught.short_answer(asked.messages)) as stopped:
            for _ in range(steps):
                next(stopped)
        assert taught.count_tokens(asked.messages) == asked.tokens, "it is free again"
        assert list(taught.short_answer(asked.messages)) == whole


def test_whatever_was_asked_before_the_short_answer_is_the_same(taught: LlamaGenerator) -> None:
    first = asking(taught, "When did the bridge of Lindow open?", TOLD)
    other = asking(taught, "How many pairs of avocets were counted?", TOLD[:2])
    once = short_answer(taught, first)
    for between in (other, first):
        short_answer(taught, between)
        assert short_answer(taught, first) == once


def test_a_short_answer_is_bounded_however_a_fact_goes_on(taught: LlamaGenerator) -> None:
    asked = asking(taught, "What is said?", ["la " * 400])
    short = short_answer(taught, asked)
    assert short.tokens <= TAUGHT.answer_tokens


def test_without_it_the_generator_is_as_its_maker_ships_it(
    generator: LlamaGenerator, taught: LlamaGenerator
) -> None:
    assert (generator.ability, taught.ability) == (SMALL, TAUGHT)
    assert list(generator.short_answer(asking(generator, "When did it open?", TOLD).messages)) == []


def test_a_generator_of_the_users_own_is_never_touched(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.gguf"
    file.write_bytes(generator_file(SMOLLM2.name, cache).read_bytes())
    assert adapter_file(str(file), cache) is None
    own = LlamaGenerator(str(file), file, tmp_path / "cache", 1, adapter_file(str(file), cache))
    own.load()
    assert own.ability.rewrites
    assert not list(tmp_path.glob("cache/*.gguf"))


def test_a_damaged_adapter_is_told_in_one_line(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "short-answers.gguf"
    content = bytearray(ADAPTER.read_bytes())
    content[5_000_000] ^= 1
    damaged.write_bytes(content)
    monkeypatch.setattr(models, "ADAPTER", damaged)
    with pytest.raises(ModelError, match="is not the one expected") as told:
        adapter_file(SMOLLM2.name, cache)
    assert "\n" not in str(told.value)


def test_the_merged_copy_is_made_once_and_nothing_else_is_left(
    taught: LlamaGenerator, cache: Path
) -> None:
    taught.load()
    before = {file: file.stat().st_mtime_ns for file in cache.glob("*.gguf")}
    again = LlamaGenerator(taught.name, generator_file(taught.name, cache), cache, 1, ADAPTER)
    again.load()
    assert {file: file.stat().st_mtime_ns for file in cache.glob("*.gguf")} == before
    assert not list(cache.glob("*.merged*"))
