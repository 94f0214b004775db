"""The embedded encoder run by torch alone gives the results of sentence-transformers."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.models.embedding.minilm import BertEncoder, read_shape
from rag.models.embedding.sentence_transformer import SentenceTransformerEncoder
from rag.models.embedding.vectors import normalize
from rag.models.resolve import MINILM, encoder_folder

TEXTS = ["The ship ran aground.", "", "port " * 400, "São Paulo’s 4.2 % – 港口", "a\n\tb"]


@pytest.fixture(scope="module")
def folder(cache: Path) -> Path:
    return encoder_folder(MINILM.name, cache)


@pytest.fixture(scope="module")
def own(folder: Path) -> BertEncoder:
    shape = read_shape(folder)
    assert shape is not None
    return BertEncoder(folder, shape, 0, 256)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(folder, 0, 256)


def test_vectors_are_those_of_sentence_transformers(
    own: BertEncoder, theirs: SentenceTransformerEncoder
) -> None:
    passages = normalize(own.passage_vectors(TEXTS))
    assert np.abs(passages - theirs.passage_vectors(TEXTS)).max() < 1e-5
    questions = normalize(own.question_vectors(TEXTS[:1]))
    assert np.abs(questions - theirs.question_vectors(TEXTS[:1])).max() < 1e-5


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_token_counts_are_the_same(
    own: BertEncoder, theirs: SentenceTransformerEncoder, texts: list[str]
) -> None:
    assert own.count_tokens(texts) == theirs.count_tokens(texts)


def test_limits_and_dimensions_are_the_same(
    own: BertEncoder, theirs: SentenceTransformerEncoder
) -> None:
    assert (own.max_length, own.special_tokens, own.dimensions) == (
        theirs.max_length,
        theirs.special_tokens,
        theirs.dimensions,
    )


Change = Callable[[dict[str, Any]], object]
UNSUPPORTED: dict[str, tuple[str, Change]] = {
    "another architecture": ("config.json", lambda config: config.update(model_type="roberta")),
    "another activation": ("config.json", lambda config: config.update(hidden_act="relu")),
    "relative positions": (
        "config.json",
        lambda config: config.update(position_embedding_type="relative_key"),
    ),
    "the first token's vector": (
        "1_Pooling/config.json",
        lambda config: config.update(pooling_mode_cls_token=True),
    ),
    "a prompt": (
        "config_sentence_transformers.json",
        lambda config: config.update(prompts={"query": "query: ", "document": ""}),
    ),
    "a missing value": ("config.json", lambda config: config.pop("num_hidden_layers")),
}


@pytest.mark.parametrize("difference", UNSUPPORTED)
def test_an_encoder_of_another_kind_is_not_supported(
    difference: str, folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "encoder"
    shutil.copytree(folder, copy)
    assert read_shape(copy) is not None
    name, change = UNSUPPORTED[difference]
    config = json.loads((copy / name).read_text())
    change(config)
    (copy / name).write_text(json.dumps(config))
    assert read_shape(copy) is None


def test_an_encoder_with_an_additional_module_is_not_supported(
    folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "encoder"
    shutil.copytree(folder, copy)
    modules = json.loads((copy / "modules.json").read_text())
    modules.insert(2, {"idx": 2, "name": "2", "path": "2_Dense", "type": "x.Dense"})
    (copy / "modules.json").write_text(json.dumps(modules))
    assert read_shape(copy) is None
    assert read_shape(tmp_path) is None


def test_searching_imports_neither_library(index_folder: Path) -> None:
    program = f"""
import sys
from rag.answering.chatbot import Chatbot
from rag.settings import load
chatbot = Chatbot.open(load(index={str(index_folder)!r}))
chatbot.load_encoder()
assert chatbot.search("How high is the lighthouse?", limit=1)[1]
heavy = {{"sentence_transformers", "transformers", "sklearn", "scipy", "pandas", "llama_cpp"}}
print(sorted(heavy & set(sys.modules)))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True
    )
    assert ran.stdout.strip() == "[]"
