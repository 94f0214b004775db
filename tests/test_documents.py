"""What is written about the program agrees with the program."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from rag.catalogue import as_table
from rag.cli import app
from rag.settings import Settings, table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = {command.name or command.callback.__name__ for command in app.registered_commands}
GROUPS = {group.name: group.typer_instance for group in app.registered_groups}


def generate():
    spec = importlib.util.spec_from_file_location("generate", ROOT / ".ci" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_requirements_agree_with_pyproject() -> None:
    assert (ROOT / "requirements.txt").read_text() == generate().requirements()


def test_the_readmes_table_of_settings_is_the_codes() -> None:
    assert table() in README
    assert generate().readme() == README


def test_the_table_of_models_is_the_codes() -> None:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert as_table() in text
    assert generate().models() == text


@pytest.mark.parametrize("command", sorted({*COMMANDS, *GROUPS}))
def test_every_command_stands_in_the_readme(command: str) -> None:
    assert f"rag {command}" in README


def remedies() -> list[str]:
    code = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "rag").rglob("*.py"))
    return re.findall(r'remedy=(f?"[^"]*"(?:\s*f?"[^"]*")*)', code)


def test_there_are_remedies_to_check() -> None:
    assert len(remedies()) > 15


@pytest.mark.parametrize("remedy", sorted(set(remedies())))
def test_every_command_and_variable_that_a_remedy_names_exists(remedy: str) -> None:
    for command, word in re.findall(r"`rag (\w+) ?(\w*)", remedy):
        assert command in {*COMMANDS, *GROUPS}
        if word and command in GROUPS:
            assert word in {each.callback.__name__ for each in GROUPS[command].registered_commands}
    for target in re.findall(r"`make (\w+)", remedy):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text()
    for variable in re.findall(r"RAG_(\w+)", remedy):
        assert variable.lower() in Settings.model_fields


def test_the_readme_is_a_spaces_front_matter() -> None:
    about = yaml.safe_load(README.split("---")[1])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert about["sdk"] == "gradio"
    assert f"gradio=={about['sdk_version']}" in project["dependencies"]
    assert len(about["short_description"]) <= 60
    assert (ROOT / about["app_file"]).is_file()
    assert about["license"] == project["license"].lower()


def test_every_picture_and_page_that_the_readme_links_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("article", sorted((ROOT / "seeds").glob("*.md")), ids=lambda p: p.stem)
def test_a_sample_article_is_what_it_should_be(article: Path) -> None:
    _, matter, text = article.read_text(encoding="utf-8").split("---\n", 2)
    about = yaml.safe_load(matter)
    assert about["title"]
    assert about["source"] == "Footnote sample desk"
    assert about["date"].year >= 2015
    assert 250 <= len(text.split()) <= 600


def test_there_are_sample_articles_enough() -> None:
    assert len(list((ROOT / "seeds").glob("*.md"))) >= 20
