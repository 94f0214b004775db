"""The wheel, in an environment of its own: what is installed is all that is needed."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
Ran = subprocess.CompletedProcess[str]
CONSUMER = """
from rag import Chatbot
from rag.settings import load

chatbot = Chatbot.open(load(index="index"))
reveal_type(chatbot.answer("How high is it?"))
chatbot.answer("How high is it?").quotations
"""

# Reading the heavy libraries' types as well would take a minute, and they are not what is asked here.
CHECKED = """
[mypy]
strict = true
[mypy-torch.*,transformers.*,sentence_transformers.*,huggingface_hub.*,openai.*,numpy.*,pydantic.*]
follow_imports = skip
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the repository as it stands."""
    folder = tmp_path_factory.mktemp("wheel")
    how = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir")
    subprocess.run([*PIP, "wheel", *how, folder, ROOT], check=True, timeout=120)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with the wheel, and with the other packages that this one has."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    installed: list[str | Path] = [
        *PIP,
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
    ]
    subprocess.run(installed, check=True, timeout=120)
    (packages,) = folder.glob("lib/*/site-packages")
    # A folder named so is searched last, and without what makes this repository importable there.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return python


@pytest.fixture(scope="module")
def run(python: Path, elsewhere: Path, cache: Path) -> Callable[..., Ran]:
    """Runs a program of that environment in a folder elsewhere."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def ran(program: str, *words: str | Path) -> Ran:
        command = [python.with_name(program), *words]
        return subprocess.run(
            command, cwd=elsewhere, env=kept, capture_output=True, encoding="utf-8", timeout=300
        )

    return ran


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    files = [path for path in (ROOT / "rag").rglob("*") if path.is_file()]
    here = {str(path.relative_to(ROOT)) for path in files if path.parent.name != "__pycache__"}
    assert {
        "rag/py.typed",
        "rag/models/weights/reader.safetensors",
        "rag/locales/de.json",
    } <= here
    of_a_space = {f"rag/checkout/{name}" for name in ("app.py", "requirements.txt")}
    assert here | of_a_space == {
        name for name in ZipFile(wheel).namelist() if name.startswith("rag/")
    }


@pytest.mark.models
def test_what_is_installed_indexes_and_answers_elsewhere(
    run: Callable[..., Ran], python: Path, elsewhere: Path, articles_folder: Path
) -> None:
    found = run("python", "-c", "import rag; print(rag.__file__)").stdout
    assert Path(found).is_relative_to(python.parents[1]), "it is not the installed one"
    indexed = run("rag", "index", articles_folder, "--json")
    assert indexed.returncode == 0, indexed.stderr
    assert (elsewhere / "index").is_dir()
    asked = run("rag", "ask", "How high is the lighthouse of Sant Oriol?", "--json")
    assert asked.returncode == 0, asked.stderr
    answer = json.loads(asked.stdout)
    assert "37 metres" in answer["answer"]
    assert answer["citations"][0]["article_id"] == "lighthouse.md"


def test_a_program_that_uses_it_is_checked_against_its_types(python: Path, tmp_path: Path) -> None:
    (tmp_path / "consumer.py").write_text(CONSUMER)
    (tmp_path / "mypy.ini").write_text(CHECKED)
    how = ("--python-executable", python, "--cache-dir", tmp_path / "cache")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *how, "consumer.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert 'Revealed type is "rag.types.Answer"' in checked.stdout
    assert '"Answer" has no attribute "quotations"' in checked.stdout
    assert "Found 1 error in 1 file" in checked.stdout, checked.stdout
