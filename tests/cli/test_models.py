"""`rag models use` and `reset` with models of the user's own: a generator, an encoder."""

import shutil
import subprocess
from pathlib import Path

import pytest
from fixture_types import RunRag
from other_gguf import rewritten

from rag.models.generation.llama import LlamaGenerator, requantise
from rag.models.resolve import MINILM, SMOLLM2, encoder_folder, generator_file
from rag.types import Message

pytestmark = pytest.mark.models

SQUARE = (
    "{% for message in messages %}[{{ message['role'] }}]\n{{ message['content'] }}\n[/]\n"
    "{% endfor %}[assistant]\n"
)
"""A chat template that differs from the bundled model's."""

THINKING = SQUARE + "<think>\n"
QUESTION = "How high is the lighthouse of Sant Oriol?"
Q4_0 = 2


def requantised(folder: Path, cache: Path, template: str) -> Path:
    whole, small = folder / "whole.gguf", folder / "square.gguf"
    rewritten(generator_file(SMOLLM2.name, cache), whole, template=template)
    requantise(whole, small, Q4_0)
    return small


@pytest.fixture(scope="module")
def square_generator(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The bundled generator, requantised and with another template."""
    return requantised(tmp_path_factory.mktemp("gguf"), cache, SQUARE)


@pytest.fixture(scope="module")
def truncated_encoder(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The bundled encoder truncated to 128 dimensions, saved as a folder."""
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
    """A copy of the index that a test may change."""
    shutil.copytree(index_folder, tmp_path / "index")
    return tmp_path / "index"


def stdout_of(completed: "subprocess.CompletedProcess[str]") -> str:
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def test_another_generator_is_used_and_reset(
    run_in_process: RunRag, index: Path, square_generator: Path
) -> None:
    before = stdout_of(run_in_process("ask", QUESTION, "--index", index))
    assert "37 metres" in before
    assert before.rstrip().endswith(SMOLLM2.name)
    output = stdout_of(run_in_process("models", "use", square_generator, "--index", index))
    assert "context: 8,192 tokens" in output
    with_other_model = stdout_of(run_in_process("ask", QUESTION, "--index", index))
    assert "37 metres" in with_other_model
    assert with_other_model.rstrip().endswith("square.gguf")
    assert stdout_of(run_in_process("models", "reset", "--index", index)).startswith(
        "No longer chosen: generator"
    )
    after = stdout_of(run_in_process("ask", QUESTION, "--index", index))
    assert after.rstrip().endswith(SMOLLM2.name)


def test_another_encoder_is_used_and_replaced_again(
    run_in_process: RunRag, index: Path, truncated_encoder: Path, articles_folder: Path
) -> None:
    output = stdout_of(run_in_process("models", "use", truncated_encoder, "--index", index))
    assert "will re-encode its" in output
    failed = run_in_process("search", QUESTION, "--index", index)
    assert failed.returncode == 1
    assert "Run `rag index`" in failed.stderr
    stdout_of(run_in_process("index", articles_folder, "--index", index))
    assert '"dimensions": 128' in stdout_of(run_in_process("info", "--json", "--index", index))
    assert "37 metres" in stdout_of(run_in_process("ask", QUESTION, "--index", index))
    stdout_of(run_in_process("models", "use", MINILM.name, "--index", index))
    stdout_of(run_in_process("index", articles_folder, "--index", index))
    assert '"dimensions": 384' in stdout_of(run_in_process("info", "--json", "--index", index))
    assert "37 metres" in stdout_of(run_in_process("ask", QUESTION, "--index", index))


def test_the_environment_wins_over_the_choice_for_an_index_and_that_over_the_general_one(
    run_in_process: RunRag, index: Path, square_generator: Path, tmp_path: Path
) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config")}

    def in_use(**variables: str) -> str:
        rows = stdout_of(run_in_process("info", "--index", index, **home, **variables)).splitlines()
        return next(row for row in rows if row.startswith("generator")).split()[-1]

    stdout_of(run_in_process("models", "use", square_generator, **home))
    assert in_use() == str(square_generator)
    stdout_of(run_in_process("models", "use", SMOLLM2.name, "--index", index, **home))
    assert in_use() == SMOLLM2.name
    assert in_use(RAG_GENERATOR="other.gguf") == "other.gguf"
    output = stdout_of(
        run_in_process("models", "use", square_generator, **home, RAG_GENERATOR="other.gguf")
    )
    assert "other.gguf takes precedence: it is set by RAG_GENERATOR," in output


def test_a_model_that_does_not_fit_into_memory_is_not_chosen(
    run_in_process: RunRag, index: Path, square_generator: Path
) -> None:
    failed = run_in_process(
        "models", "use", square_generator, "--index", index, RAG_MEMORY_MB="100"
    )
    assert failed.returncode == 1
    assert "takes" in failed.stderr
    assert "100 MB are available to models" in failed.stderr
    assert SMOLLM2.name in stdout_of(run_in_process("info", "--index", index))


def test_fewer_dimensions_and_shorter_passages_need_a_new_index(
    run_in_process: RunRag, index: Path, articles_folder: Path
) -> None:
    variables = {"RAG_DIMENSIONS": "64", "RAG_PASSAGE_TOKENS": "48"}
    failed = run_in_process("search", QUESTION, "--index", index, **variables)
    assert "Run `rag index`" in failed.stderr
    stdout_of(run_in_process("index", articles_folder, "--index", index, **variables))
    assert '"dimensions": 64' in stdout_of(run_in_process("info", "--json", "--index", index))
    assert "37 metres" in stdout_of(run_in_process("ask", QUESTION, "--index", index, **variables))
    too_many = run_in_process("index", "--index", index, RAG_DIMENSIONS="512")
    assert "have only 384 dimensions" in too_many.stderr
    assert "Traceback" not in too_many.stderr


def test_an_index_in_the_home_directory_has_a_choice_of_its_own(
    run_in_process: RunRag, index: Path, square_generator: Path
) -> None:
    home = {"HOME": str(index.parent)}
    stdout_of(run_in_process("models", "use", square_generator, "--index", "~/index", **home))
    output = stdout_of(run_in_process("info", "--json", "--index", "~/index", **home))
    assert "square.gguf" in output
    assert "square.gguf" in stdout_of(run_in_process("info", "--json", RAG_INDEX="~/index", **home))
    assert "~nobody-here" in run_in_process("info", "--index", "~nobody-here/index").stderr


def test_an_invalid_file_of_choices_is_reported_in_one_line(
    run_in_process: RunRag, index: Path
) -> None:
    (index / "models.json").write_text('["generator"]')
    failed = run_in_process("ask", QUESTION, "--index", index)
    assert failed.returncode == 1
    assert "models.json is not a valid file of model choices" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_reasoning_is_cut_off_and_separated_from_the_answer(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template opens the reasoning, and the model would never end it."""
    monkeypatch.setattr("rag.models.generation.llama.MAX_REASONING_TOKENS", 12)
    file = requantised(tmp_path, cache, THINKING)
    generator = LlamaGenerator("thinking", file, cache, 0)
    messages: list[Message] = [
        {"role": "user", "content": "Tell a long story of a <|im_end|> lighthouse."}
    ]
    pieces = [piece for piece in generator.stream(messages) if piece]
    assert pieces[0] == "<think>"
    end = pieces.index("</think>\n\n")
    assert end <= 14
    assert "".join(pieces[end + 1 :]).strip(), "no answer follows the reasoning"
    answer_pieces = [piece for piece in pieces[end + 1 :] if piece]
    assert len(answer_pieces) <= generator.profile.answer_tokens
