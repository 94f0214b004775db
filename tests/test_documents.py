"""The documents agree with the program: commands, settings, links, generated tables, project files."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from rag.cli.main import app
from rag.deploy import space
from rag.models.registry import as_table
from rag.settings import DEPRECATED_VARIABLES, REMOVED_VARIABLES, Settings, table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "index" / "README.md"]
}
CLI: Any = typer.main.get_command(app)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```(?:sh|console)\n.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)

every_document = pytest.mark.parametrize("document", sorted(DOCUMENTS))


def generate() -> Any:
    """The module .ci/generate.py."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / ".ci" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- generated files


def test_requirements_agree_with_pyproject() -> None:
    assert (ROOT / "requirements.txt").read_text() == generate().requirements()


def test_the_table_of_settings_agrees_with_the_code() -> None:
    text = DOCUMENTS["docs/settings.md"]
    assert table() in text
    assert generate().settings() == text


def test_the_table_of_models_agrees_with_the_code() -> None:
    text = DOCUMENTS["docs/models.md"]
    assert as_table() in text
    assert generate().models() == text


def test_the_readmes_settings_have_the_defaults_of_the_code() -> None:
    defaults = dict(re.findall(r"^\| `RAG_(\w+)` \| (.*?) \|", table(), re.MULTILINE))
    shown = re.findall(r"^\| `RAG_(\w+)` \| (.*?) \|", README, re.MULTILINE)
    assert len(shown) == 5
    for name, default in shown:
        assert default == defaults[name], name


# -- commands, variables, targets, files


@pytest.mark.parametrize("command", sorted(CLI.commands))
def test_the_readme_and_the_reference_mention_every_command(command: str) -> None:
    assert f"rag {command}" in README
    assert f"rag {command}" in DOCUMENTS["docs/commands.md"]


def problems(text: str) -> list[str]:
    """The `rag` commands and options, make targets and RAG_* variables in `text` that do not exist."""
    found = []
    for name, arguments in re.findall(r"(?<![\w/.-])(?<!from )rag ([a-z]+)((?: [^\s`)]+)*)", text):
        command = CLI.commands.get(name)
        words = arguments.split()
        if command and hasattr(command, "commands") and words and re.fullmatch("[a-z]+", words[0]):
            command = command.commands.get(words[0])
        if command is None:
            found.append(f"rag {name}{arguments}")
            continue
        options = {option for parameter in command.params for option in parameter.opts}
        used = {word for word in words if word.startswith("--")}
        found += [f"rag {name} {option}" for option in used - options - {"--help"}]
    for target in re.findall(r"(?<![\w-])make ([a-z][\w-]*)", text):
        if not re.search(rf"^{target}:", MAKEFILE, re.MULTILINE):
            found.append(f"make {target}")
    for variable in re.findall(r"RAG_([A-Z_]*[A-Z])", text):
        former = DEPRECATED_VARIABLES.keys() | REMOVED_VARIABLES.keys()
        if variable.lower() not in Settings.model_fields and f"RAG_{variable}" not in former:
            found.append(f"RAG_{variable}")
    return found


@pytest.mark.parametrize(
    "text",
    ["rag nonsense", "rag ask --nonsense", "rag models take", "make nonsense", "RAG_NONSENSE=1"],
)
def test_what_does_not_exist_is_detected(text: str) -> None:
    assert problems(text)


@every_document
def test_every_command_option_target_and_variable_in_a_document_exists(document: str) -> None:
    for code in CODE.findall(DOCUMENTS[document]):
        assert not problems(code), code


def remedies() -> list[str]:
    code = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "rag").rglob("*.py"))
    return re.findall(r'remedy=(f?"[^"]*"(?:\s*f?"[^"]*")*)', code)


def test_there_are_remedies_to_check() -> None:
    assert len(remedies()) > 15


@pytest.mark.parametrize("remedy", sorted(set(remedies())))
def test_every_command_target_and_variable_in_a_remedy_exists(remedy: str) -> None:
    for code in re.findall(r"`[^`]+`", remedy):
        assert not problems(code), code
    assert not [problem for problem in problems(remedy) if problem.startswith("RAG_")]


@every_document
def test_every_file_that_a_document_names_exists(document: str) -> None:
    folders = "rag|docs|tests|benchmarks|training|index|seeds"
    for path in re.findall(rf"[`\s]((?:{folders})/[\w./-]*\w)", DOCUMENTS[document]):
        generated = path.startswith(("training/run", "tests/browser/pictures"))
        assert generated or (ROOT / path).exists(), path


@every_document
def test_every_link_leads_to_a_file_and_to_a_heading(document: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", DOCUMENTS[document])):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / document).parent / name if name else ROOT / document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def anchors(markdown: str) -> set[str]:
    """The anchors of the headings, as GitHub and MkDocs form them."""
    headings = re.findall(r"^#+ (.*)", FENCE.sub("", markdown), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings}


def test_the_readme_is_short() -> None:
    lines = FENCE.sub("", README).splitlines()
    assert len(README.splitlines()) <= 150
    prose = [line for line in lines if not line.startswith(("|", "!["))]
    assert max(map(len, prose)) <= 110


# -- project files


def test_the_readme_of_a_space_configures_it() -> None:
    about = yaml.safe_load(space.README.read_text(encoding="utf-8").split("---")[1])
    assert about["sdk"] == "gradio"
    assert f"gradio=={about['sdk_version']}" in PROJECT["optional-dependencies"]["server"]
    assert len(about["short_description"]) <= 60
    assert (ROOT / about["app_file"]).is_file()
    assert about["license"] == PROJECT["license"].lower()


def test_continuous_integration_tests_the_supported_pythons() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    tested = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    supported = [line.rsplit(" ", 1)[1] for line in PROJECT["classifiers"] if ":: 3." in line]
    assert tested == supported
    assert f"PYTHONS := {' '.join(supported)}\n" in MAKEFILE
    commands = [
        step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step
    ]
    assert {"make check", "make docs", "make test"} <= set(commands)
    assert not problems("\n".join(commands))


@pytest.mark.parametrize(
    "file",
    sorted(
        str(path.relative_to(ROOT))
        for path in [
            *(ROOT / ".github").rglob("*.yml"),
            ROOT / ".pre-commit-config.yaml",
        ]
    ),
)
def test_every_project_file_is_yaml(file: str) -> None:
    assert yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_documentation_site_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs-material is not installed")
    site = str(tmp_path / "site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    for page in ("index.html", "settings.html", "contributing.html", "index-files.html"):
        assert (tmp_path / "site" / page).is_file()
    start = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert 'href="design.html"' in start
    assert 'src="screenshot.png"' in start


# -- sample articles


@pytest.mark.parametrize("article", sorted((ROOT / "seeds").glob("*.md")), ids=lambda p: p.stem)
def test_a_sample_article_has_front_matter_and_a_suitable_length(article: Path) -> None:
    _, matter, text = article.read_text(encoding="utf-8").split("---\n", 2)
    about = yaml.safe_load(matter)
    assert about["title"]
    assert about["source"] == "Footnote sample desk"
    assert about["date"].year >= 2015
    assert 250 <= len(text.split()) <= 600


def test_there_are_at_least_twenty_sample_articles() -> None:
    assert len(list((ROOT / "seeds").glob("*.md"))) >= 20
