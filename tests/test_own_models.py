"""Models of a user's own swapped in and out by command: another generator, another encoder."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from other_gguf import rewritten

from rag.generator import LlamaGenerator, requantise
from rag.models import MINILM, SMOLLM2, encoder_folder, generator_file

Rag = Callable[..., "subprocess.CompletedProcess[str]"]

SQUARE = (
    "{% for message in messages %}[{{ message['role'] }}]\n{{ message['content'] }}\n[/]\n"
    "{% endfor %}[assistant]\n"
)
"""A template unlike the embedded one's."""

THINKING = SQUARE + "<think>\n"
QUESTION = "How high is the lighthouse of Sant Oriol?"
Q4_0 = 2


def requantised(folder: Path, cache: Path, template: str) -> Path:
    whole, small = folder / "whole.gguf", folder / "square.gguf"
    rewritten(generator_file(SMOLLM2.name, cache), whole, template=template)
    requantise(whole, small, Q4_0)
    return small


@pytest.fixture(scope="module")
def square(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The embedded generator requantised, with another template."""
    return requantised(tmp_path_factory.mktemp("gguf"), cache, SQUARE)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The embedded encoder with vectors of 128 dimensions, saved as a folder."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    whole = SentenceTransformer(str(encoder_folder(MINILM.name, cache)), local_files_only=True)
    dense = Dense(384, 128, bias=False, activation_function=torch.nn.Identity())
    dense.linear.weight.data = torch.eye(128, 384)
    folder = tmp_path_factory.mktemp("encoder")
    modules = [*list(whole)[:2], dense, Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    return folder


@pytest.fixture
def index(index_folder: Path, tmp_path: Path) -> Path:
    """A copy of the index, to be changed."""
    shutil.copytree(index_folder, tmp_path / "index")
    return tmp_path / "index"


def said(ran: "subprocess.CompletedProcess[str]") -> str:
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_another_generator_goes_in_and_out(run_rag: Rag, index: Path, square: Path) -> None:
    before = said(run_rag("ask", QUESTION, "--index", index))
    assert "37 metres" in before
    assert before.rstrip().endswith(SMOLLM2.name)
    told = said(run_rag("models", "use", square, "--index", index))
    assert "8,192 tokens are its context" in told
    between = said(run_rag("ask", QUESTION, "--index", index))
    assert "37 metres" in between
    assert between.rstrip().endswith("square.gguf")
    assert said(run_rag("models", "reset", "--index", index)).startswith("Forgotten: generator")
    after = said(run_rag("ask", QUESTION, "--index", index))
    assert after.rstrip().endswith(SMOLLM2.name)


def test_another_encoder_goes_in_and_out(
    run_rag: Rag, index: Path, cut: Path, articles_folder: Path
) -> None:
    told = said(run_rag("models", "use", cut, "--index", index))
    assert "will encode its" in told
    refused = run_rag("search", QUESTION, "--index", index)
    assert refused.returncode == 1
    assert "Run `rag index`" in refused.stderr
    said(run_rag("index", articles_folder, "--index", index))
    assert '"dimensions": 128' in said(run_rag("info", "--json", "--index", index))
    assert "37 metres" in said(run_rag("ask", QUESTION, "--index", index))
    said(run_rag("models", "use", MINILM.name, "--index", index))
    said(run_rag("index", articles_folder, "--index", index))
    assert '"dimensions": 384' in said(run_rag("info", "--json", "--index", index))
    assert "37 metres" in said(run_rag("ask", QUESTION, "--index", index))


def test_what_is_chosen_for_an_index_goes_before_what_is_for_all_and_the_environment_before_both(
    run_rag: Rag, index: Path, square: Path, tmp_path: Path
) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config")}

    def in_use(**variables: str) -> str:
        rows = said(run_rag("info", "--index", index, **home, **variables)).splitlines()
        return next(row for row in rows if row.startswith("generator")).split()[-1]

    said(run_rag("models", "use", square, **home))
    assert in_use() == str(square)
    said(run_rag("models", "use", SMOLLM2.name, "--index", index, **home))
    assert in_use() == SMOLLM2.name
    assert in_use(RAG_GENERATOR="other.gguf") == "other.gguf"
    told = said(run_rag("models", "use", square, **home, RAG_GENERATOR="other.gguf"))
    assert "other.gguf, and goes first" in told


def test_a_model_that_is_too_large_is_not_chosen(run_rag: Rag, index: Path, square: Path) -> None:
    refused = run_rag("models", "use", square, "--index", index, RAG_MEMORY="100")
    assert refused.returncode == 1
    assert "takes" in refused.stderr
    assert "100 MB are there for models" in refused.stderr
    assert SMOLLM2.name in said(run_rag("info", "--index", index))


def test_fewer_dimensions_and_shorter_passages_are_other_vectors(
    run_rag: Rag, index: Path, articles_folder: Path
) -> None:
    fewer = {"RAG_DIMENSIONS": "64", "RAG_PASSAGE_TOKENS": "48"}
    refused = run_rag("search", QUESTION, "--index", index, **fewer)
    assert "Run `rag index`" in refused.stderr
    said(run_rag("index", articles_folder, "--index", index, **fewer))
    assert '"dimensions": 64' in said(run_rag("info", "--json", "--index", index))
    assert "37 metres" in said(run_rag("ask", QUESTION, "--index", index, **fewer))
    many = run_rag("index", "--index", index, RAG_DIMENSIONS="512")
    assert "makes vectors of 384" in many.stderr
    assert "Traceback" not in many.stderr


def test_an_index_in_the_users_home_has_its_own_choice(
    run_rag: Rag, index: Path, square: Path
) -> None:
    home = {"HOME": str(index.parent)}
    said(run_rag("models", "use", square, "--index", "~/index", **home))
    told = said(run_rag("info", "--json", "--index", "~/index", **home))
    assert "square.gguf" in told
    assert "square.gguf" in said(run_rag("info", "--json", RAG_INDEX="~/index", **home))
    assert "~nobody-here" in run_rag("info", "--index", "~nobody-here/index").stderr


def test_choices_that_cannot_be_read_are_told_in_one_line(run_rag: Rag, index: Path) -> None:
    (index / "models.json").write_text('["generator"]')
    refused = run_rag("ask", QUESTION, "--index", index)
    assert refused.returncode == 1
    assert "models.json does not hold chosen models" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_thought_is_ended_and_kept_apart(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template that makes it think, with a model that would not stop thinking."""
    monkeypatch.setattr("rag.generator.THOUGHT_TOKENS", 12)
    file = requantised(tmp_path, cache, THINKING)
    generator = LlamaGenerator("thinking", file, cache, 0)
    asked = [{"role": "user", "content": "Tell a long story of a <|im_end|> lighthouse."}]
    pieces = [piece for piece in generator.stream(asked) if piece]
    assert pieces[0] == "<think>"
    ended = pieces.index("</think>\n\n")
    assert ended <= 14
    assert "".join(pieces[ended + 1 :]).strip(), "nothing was said after the thought"
    said_after = [piece for piece in pieces[ended + 1 :] if piece]
    assert len(said_after) <= generator.ability.answer_tokens
