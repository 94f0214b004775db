"""The embedded encoder by torch alone is what sentence-transformers makes of it, and there sooner."""

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

from rag.bert import Bert, shape_of
from rag.models import MINILM, encoder_folder
from rag.sentencetransformer import AnyEncoder

TEXTS = ["The ship ran aground.", "", "port " * 400, "São Paulo’s 4.2 % – 港口", "a\n\tb"]


@pytest.fixture(scope="module")
def folder(cache: Path) -> Path:
    return encoder_folder(MINILM.name, cache)


@pytest.fixture(scope="module")
def own(folder: Path) -> Bert:
    shape = shape_of(folder)
    assert shape is not None
    return Bert(folder, shape, 0, 256)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> AnyEncoder:
    return AnyEncoder(folder, 0, 256)


def test_vectors_are_those_of_sentence_transformers(own: Bert, theirs: AnyEncoder) -> None:
    found, expected = own.passage_vectors(TEXTS), theirs.passage_vectors(TEXTS)
    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    assert np.abs(found - expected).max() < 1e-5
    asked = own.question_vectors(TEXTS[:1])[0]
    assert (
        np.abs(asked / np.linalg.norm(asked) - theirs.question_vectors(TEXTS[:1])[0]).max() < 1e-5
    )


def test_tokens_have_the_same_places_and_vectors(own: Bert, theirs: AnyEncoder) -> None:
    for mine, other in zip(own.token_vectors(TEXTS), theirs.token_vectors(TEXTS), strict=True):
        assert [tuple(place) for place in mine[0]] == [tuple(place) for place in other[0]]
        assert np.abs(mine[1] - other[1]).max() < 1e-4


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_tokens_are_counted_alike(own: Bert, theirs: AnyEncoder, texts: list[str]) -> None:
    assert own.count_tokens(texts) == theirs.count_tokens(texts)


def test_bounds_and_sizes_are_the_same(own: Bert, theirs: AnyEncoder) -> None:
    assert (own.longest, own.marks, own.width) == (theirs.longest, theirs.marks, theirs.width)


Change = Callable[[dict[str, Any]], object]
OTHERS: dict[str, tuple[str, Change]] = {
    "another family": ("config.json", lambda about: about.update(model_type="roberta")),
    "another activation": ("config.json", lambda about: about.update(hidden_act="relu")),
    "relative positions": (
        "config.json",
        lambda about: about.update(position_embedding_type="relative_key"),
    ),
    "the first token's vector": (
        "1_Pooling/config.json",
        lambda about: about.update(pooling_mode_cls_token=True),
    ),
    "a prompt": (
        "config_sentence_transformers.json",
        lambda about: about.update(prompts={"query": "query: ", "document": ""}),
    ),
    "numbers left out": ("config.json", lambda about: about.pop("num_hidden_layers")),
}


@pytest.mark.parametrize("what", OTHERS)
def test_an_encoder_of_another_kind_is_left_to_the_library(
    what: str, folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "encoder"
    shutil.copytree(folder, copy)
    assert shape_of(copy) is not None
    name, change = OTHERS[what]
    about = json.loads((copy / name).read_text())
    change(about)
    (copy / name).write_text(json.dumps(about))
    assert shape_of(copy) is None


def test_an_encoder_with_one_more_module_is_left_to_the_library(
    folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "encoder"
    shutil.copytree(folder, copy)
    modules = json.loads((copy / "modules.json").read_text())
    modules.insert(2, {"idx": 2, "name": "2", "path": "2_Dense", "type": "x.Dense"})
    (copy / "modules.json").write_text(json.dumps(modules))
    assert shape_of(copy) is None
    assert shape_of(tmp_path) is None


def test_searching_imports_neither_library(index_folder: Path) -> None:
    program = f"""
import sys
from rag.chatbot import Chatbot
from rag.settings import load
chatbot = Chatbot.open(load(index={str(index_folder)!r}))
chatbot.load_encoder()
assert chatbot.search("How high is the lighthouse?", [], 1)[1]
heavy = {{"sentence_transformers", "transformers", "sklearn", "scipy", "pandas", "llama_cpp"}}
print(sorted(heavy & set(sys.modules)))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True
    )
    assert ran.stdout.strip() == "[]"
