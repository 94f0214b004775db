"""Inspection of GGUF files: metadata and errors, before weights are loaded."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from other_gguf import rewritten

from rag.errors import ModelError
from rag.models.generation.gguf import MAX_CONTEXT, MIN_CONTEXT, GgufFile, inspect_gguf
from rag.models.resolve import SMOLLM2, generator_file


@pytest.fixture(scope="module")
def embedded_file(cache: Path) -> Path:
    return generator_file(SMOLLM2.name, cache)


def test_the_embedded_models_metadata_is_read(embedded_file: Path) -> None:
    file = inspect_gguf(embedded_file)
    assert file.architecture == "llama"
    assert file.trained_context == 8192
    assert file.bytes == embedded_file.stat().st_size
    # 30 layers x 3 KV heads x 64 values, for keys and values, at 2 bytes each
    assert file.token_bytes == 30 * 3 * 64 * 2 * 2
    assert "<|im_start|>" in file.template


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated weights": (lambda whole: whole[:50_000_000], "is truncated"),
    "truncated header": (lambda whole: whole[:1_000_000], "is truncated"),
    "empty": (lambda whole: b"", "is truncated"),
    "text": (lambda whole: b"this is no model at all\n" * 100, "is not a GGUF file"),
    "unknown architecture": (
        lambda whole: whole.replace(_string(b"llama"), _string(b"lamma"), 1),
        "has the architecture 'lamma', which this llama.cpp does not support",
    ),
    "no template": (
        lambda whole: whole.replace(b"tokenizer.chat_template", b"tokenizer.chat_templaxx", 1),
        "has no chat template",
    ),
}


def _string(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize("damage", BROKEN)
def test_an_unusable_file_is_a_one_line_error(
    damage: str, embedded_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    break_file, message = BROKEN[damage]
    file = tmp_path / "model.gguf"
    file.write_bytes(break_file(embedded_file.read_bytes()))
    with pytest.raises(ModelError, match=message) as error:
        inspect_gguf(file)
    assert "\n" not in str(error.value)
    assert "RAG_GENERATOR" in error.value.remedy
    assert capfd.readouterr() == ("", ""), "llama.cpp printed something"


def test_an_encoder_is_rejected_as_a_generator(embedded_file: Path, tmp_path: Path) -> None:
    rewritten(embedded_file, tmp_path / "bert.gguf", architecture="bert")
    with pytest.raises(ModelError, match=r"is an encoder \(bert\), which does not generate text"):
        inspect_gguf(tmp_path / "bert.gguf")


@given(
    trained=st.integers(1, 300_000),
    token_bytes=st.integers(0, 1_000_000),
    weights=st.integers(0, 10**11),
    max_bytes=st.integers(0, 10**11),
)
def test_the_context_is_limited_by_training_and_by_memory(
    trained: int, token_bytes: int, weights: int, max_bytes: int
) -> None:
    file = GgufFile(Path("x"), "llama", weights, trained, token_bytes, "")
    context = file.context(max_bytes)
    assert 1 <= context <= min(trained, MAX_CONTEXT)
    assert file.memory(context) <= max_bytes or context <= MIN_CONTEXT
