"""The embedded generator's LoRA adapter: intact, merged correctly, and optional."""

import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from llama_cpp import Llama, llama_get_logits_ith
from numpy.typing import NDArray

from rag.errors import ModelError
from rag.files import sha256_file
from rag.models import resolve
from rag.models.generation import backends
from rag.models.generation.llama import CONTEXT, LlamaGenerator
from rag.models.generation.lora import merge
from rag.models.generation.prompts import EXTRACTIVE, TINY, compose
from rag.models.resolve import (
    ADAPTER,
    ADAPTER_SHA256,
    SMOLLM2,
    adapter_file,
    generator_file,
)
from rag.types import Excerpt, ExtractiveAnswer, Prompt

FACTS = [
    "The bridge of Lindow opened in May 2012.",
    "Wardens counted nine pairs of avocets on the mud flats.",
    "The harbour cost the town 900,000 euros to dredge.",
]


def make_prompt(generator: LlamaGenerator, question: str, facts: list[str]) -> Prompt:
    sources = [
        Excerpt(article_id="a", title="A town in May", start=0, end=len(text), text=text)
        for text in facts
    ]
    return compose(question, sources, EXTRACTIVE, generator.count_tokens, CONTEXT)


def short_answer(generator: LlamaGenerator, prompt: Prompt) -> ExtractiveAnswer:
    *_, answer = generator.short_answer(prompt.messages)
    assert answer is not None
    return answer


def last_logits(llama: Llama, text: str) -> NDArray[np.float32]:
    llama.reset()
    llama.eval(llama.tokenize(text.encode()))
    return np.ctypeslib.as_array(llama_get_logits_ith(llama.ctx, -1), (llama.n_vocab(),)).copy()


def test_merged_weights_give_the_logits_of_a_separate_adapter(cache: Path, tmp_path: Path) -> None:
    backends.load_best()
    base = generator_file(SMOLLM2.name, cache)
    merge(base, ADAPTER, tmp_path / "merged.gguf")
    models = {
        "merged": Llama(str(tmp_path / "merged.gguf"), n_ctx=128, verbose=False),
        "separate": Llama(str(base), lora_path=str(ADAPTER), n_ctx=128, verbose=False),
        "without": Llama(str(base), n_ctx=128, verbose=False),
    }
    logits = {name: last_logits(llama, "The bridge opened in") for name, llama in models.items()}
    scale = np.abs(logits["separate"]).max()
    assert np.abs(logits["merged"] - logits["separate"]).max() < 0.05 * scale
    assert np.abs(logits["without"] - logits["separate"]).max() > 0.2 * scale


def test_the_adapter_is_small_and_its_card_names_checksum_and_licence() -> None:
    assert ADAPTER.stat().st_size <= 10_000_000
    card = (ADAPTER.parent / "README.md").read_text(encoding="utf-8")
    assert sha256_file(ADAPTER) == ADAPTER_SHA256
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
def test_a_question_is_answered_in_a_few_words(
    extractive_generator: LlamaGenerator, question: str, text: str
) -> None:
    for order in (FACTS, FACTS[::-1]):
        answer = short_answer(
            extractive_generator, make_prompt(extractive_generator, question, order)
        )
        assert re.fullmatch(text, answer.text)
        assert 0 < answer.probability <= 1


def test_p_no_answer_is_higher_for_an_unanswerable_question(
    extractive_generator: LlamaGenerator,
) -> None:
    answerable, unanswerable = (
        short_answer(extractive_generator, make_prompt(extractive_generator, question, FACTS))
        for question in (
            "When did the bridge of Lindow open?",
            "Who composed the opera about the emperor?",
        )
    )
    assert unanswerable.p_no_answer > answerable.p_no_answer


def test_extraction_can_be_stopped_at_any_step_without_side_effects(
    extractive_generator: LlamaGenerator,
) -> None:
    prompt = make_prompt(extractive_generator, "When did the bridge of Lindow open?", FACTS)
    steps = list(extractive_generator.short_answer(prompt.messages))
    assert len(steps) >= 4
    for count in range(1, len(steps)):
        with closing(extractive_generator.short_answer(prompt.messages)) as stopped:
            for _ in range(count):
                next(stopped)
        assert extractive_generator.count_tokens(prompt.messages) == prompt.tokens, (
            "the slot is still in use"
        )
        assert list(extractive_generator.short_answer(prompt.messages)) == steps


def test_the_answer_does_not_depend_on_earlier_prompts(
    extractive_generator: LlamaGenerator,
) -> None:
    first = make_prompt(extractive_generator, "When did the bridge of Lindow open?", FACTS)
    other = make_prompt(extractive_generator, "How many pairs of avocets were counted?", FACTS[:2])
    answer = short_answer(extractive_generator, first)
    for previous in (other, first):
        short_answer(extractive_generator, previous)
        assert short_answer(extractive_generator, first) == answer


def test_the_length_of_an_answer_is_limited(extractive_generator: LlamaGenerator) -> None:
    prompt = make_prompt(extractive_generator, "What is said?", ["la " * 400])
    answer = short_answer(extractive_generator, prompt)
    assert answer.tokens <= EXTRACTIVE.answer_tokens


def test_without_the_adapter_the_generator_does_not_extract_answers(
    generator: LlamaGenerator, extractive_generator: LlamaGenerator
) -> None:
    assert (generator.profile, extractive_generator.profile) == (TINY, EXTRACTIVE)
    assert (
        list(generator.short_answer(make_prompt(generator, "When did it open?", FACTS).messages))
        == []
    )


def test_a_users_own_generator_is_not_converted(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.gguf"
    file.write_bytes(generator_file(SMOLLM2.name, cache).read_bytes())
    assert adapter_file(str(file), cache) is None
    own = LlamaGenerator(str(file), file, tmp_path / "cache", 1, adapter_file(str(file), cache))
    own.load()
    assert own.profile.can_rewrite
    assert not list(tmp_path.glob("cache/*.gguf"))


def test_a_damaged_adapter_is_a_one_line_error(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "short-answers.gguf"
    content = bytearray(ADAPTER.read_bytes())
    content[5_000_000] ^= 1
    damaged.write_bytes(content)
    monkeypatch.setattr(resolve, "ADAPTER", damaged)
    with pytest.raises(ModelError, match="has an unexpected SHA-256") as error:
        adapter_file(SMOLLM2.name, cache)
    assert "\n" not in str(error.value)


def test_the_merged_copy_is_created_once_without_leftovers(
    extractive_generator: LlamaGenerator, cache: Path
) -> None:
    extractive_generator.load()
    before = {file: file.stat().st_mtime_ns for file in cache.glob("*.gguf")}
    again = LlamaGenerator(
        extractive_generator.name,
        generator_file(extractive_generator.name, cache),
        cache,
        1,
        ADAPTER,
    )
    again.load()
    assert {file: file.stat().st_mtime_ns for file in cache.glob("*.gguf")} == before
    assert not list(cache.glob("*.merged*"))
