"""Settings: the environment, flags on top, and what is wrong told by name."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rag.errors import SettingError
from rag.settings import Settings, load, table

GIVEN: dict[str, Any] = {
    "index": Path("/somewhere/index"),
    "encoder": "/models/encoder",
    "generator": "/models/writer.gguf",
    "adapter": "off",
    "model": "a-model",
    "reranker": "/models/reranker",
    "checker": "/models/checker",
    "strictness": "high",
    "threads": 3,
    "memory": 4000,
    "dimensions": 128,
    "passage_tokens": 128,
    "encoder_dtype": "float32",
    "cache": Path("/somewhere/cache"),
    "feedback": Path("/somewhere/feedback.jsonl"),
    "uploads": "shared",
    "mcp": True,
    "log": "questions",
    "host": "0.0.0.0",
    "port": 8123,
    "public": True,
}
SECRETS = ("api_key", "auth", "api_keys")


def test_every_setting_is_covered_here() -> None:
    assert set(GIVEN) | set(SECRETS) == set(Settings.model_fields)


@pytest.mark.parametrize("name", GIVEN)
def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert getattr(load(), name) != GIVEN[name]
    monkeypatch.setenv(f"RAG_{name.upper()}", str(GIVEN[name]))
    assert getattr(load(), name) == GIVEN[name]


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_read_and_shows_nowhere(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"RAG_{name.upper()}", "open-sesame")
    settings = load()
    assert getattr(settings, name).get_secret_value() == "open-sesame"
    assert "sesame" not in f"{settings} {settings!r}"


@pytest.mark.parametrize("name", GIVEN)
def test_a_flag_goes_before_its_variable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    changed = {"threads": 4, "port": 8124, "strictness": "low", "adapter": "on", "uploads": "own"}
    changed |= {"memory": 1, "dimensions": 2, "passage_tokens": 64, "encoder_dtype": "int8"}
    changed |= {"public": False, "mcp": False, "log": "lines"}
    other = (GIVEN | changed)[name]
    monkeypatch.setenv(f"RAG_{name.upper()}", str(GIVEN[name]))
    flag = other if other != GIVEN[name] else "elsewhere"
    assert str(getattr(load(**{name: flag}), name)) == str(flag)
    assert getattr(load(**{name: None}), name) == GIVEN[name], "None is no flag"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RAG_PORT", "http"),
        ("RAG_PORT", "0"),
        ("RAG_PORT", "65536"),
        ("RAG_THREADS", "-1"),
        ("RAG_THREADS", "many"),
        ("RAG_THREADS", "2.5"),
        ("RAG_ADAPTER", "maybe"),
        ("RAG_UPLOADS", "perhaps"),
        ("RAG_MCP", "perhaps"),
        ("RAG_LOG", "everything"),
    ],
)
def test_a_bad_variable_is_named_with_its_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingError, match=f"^{variable} is '{value}': ") as told:
        load()
    assert "\n" not in str(told.value)


def test_a_bad_flag_is_named_as_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_PORT", "7000")
    with pytest.raises(SettingError, match=r"^--port is 0: "):
        load(port=0)


def test_settings_are_values_only() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().port = 1  # type: ignore[misc]


def test_the_table_lists_every_variable_with_its_default_and_meaning() -> None:
    head, rule, *rows = table().splitlines()
    assert [cell.strip() for cell in head.split("|")] == ["", "variable", "default", "meaning", ""]
    assert set(rule) <= set("|- ")
    assert len(rows) == len(Settings.model_fields)
    for row, (name, field) in zip(rows, Settings.model_fields.items(), strict=True):
        _, variable, default, meaning, _ = (cell.strip() for cell in row.split("|"))
        assert variable == f"`RAG_{name.upper()}`"
        assert meaning == field.description
        assert "Undefined" not in default
        assert default.strip("`")
