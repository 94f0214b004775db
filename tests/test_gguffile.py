"""What a GGUF file is, is found out before its weights are loaded; what is wrong with it, in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from other_gguf import rewritten

from rag.errors import ModelError
from rag.gguffile import LEAST_CONTEXT, MOST_CONTEXT, GgufFile, examine
from rag.models import SMOLLM2, generator_file


@pytest.fixture(scope="module")
def embedded(cache: Path) -> Path:
    return generator_file(SMOLLM2.name, cache)


def test_the_embedded_models_file_says_what_it_takes(embedded: Path) -> None:
    about = examine(embedded)
    assert about.architecture == "llama"
    assert about.trained_context == 8192
    assert about.bytes == embedded.stat().st_size
    # 30 layers, 3 heads kept for 9, 64 numbers each, keys and values, 2 bytes a number
    assert about.token_bytes == 30 * 3 * 64 * 2 * 2
    assert "<|im_start|>" in about.template


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut in its weights": (lambda whole: whole[:50_000_000], "is cut short"),
    "cut in its head": (lambda whole: whole[:1_000_000], "is cut short"),
    "empty": (lambda whole: b"", "is cut short"),
    "text": (lambda whole: b"this is no model at all\n" * 100, "is no GGUF file"),
    "of the future": (
        lambda whole: whole.replace(_string(b"llama"), _string(b"lamma"), 1),
        "is of the architecture 'lamma', which this llama.cpp does not know",
    ),
    "without a template": (
        lambda whole: whole.replace(b"tokenizer.chat_template", b"tokenizer.chat_templaxx", 1),
        "holds no chat template",
    ),
}


def _string(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_cannot_answer_is_told_in_one_line(
    what: str, embedded: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken, told = BROKEN[what]
    file = tmp_path / "model.gguf"
    file.write_bytes(broken(embedded.read_bytes()))
    with pytest.raises(ModelError, match=told) as error:
        examine(file)
    assert "\n" not in str(error.value)
    assert "RAG_GENERATOR" in error.value.remedy
    assert capfd.readouterr() == ("", ""), "llama.cpp spoke to the user"


def test_an_encoder_is_no_generator(embedded: Path, tmp_path: Path) -> None:
    rewritten(embedded, tmp_path / "bert.gguf", architecture="bert")
    with pytest.raises(ModelError, match=r"is an encoder \(bert\), which writes nothing"):
        examine(tmp_path / "bert.gguf")


@given(
    trained=st.integers(1, 300_000),
    token_bytes=st.integers(0, 1_000_000),
    weights=st.integers(0, 10**11),
    most=st.integers(0, 10**11),
)
def test_the_context_is_within_what_the_model_knows_and_the_memory_holds(
    trained: int, token_bytes: int, weights: int, most: int
) -> None:
    file = GgufFile(Path("x"), "llama", weights, trained, token_bytes, "")
    context = file.context(most)
    assert 1 <= context <= min(trained, MOST_CONTEXT)
    assert file.memory(context) <= most or context <= LEAST_CONTEXT
