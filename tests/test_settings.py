"""Settings: variables, arguments that override them, deprecated names, and messages on wrong values."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixture_types import RunRag
from pydantic import ValidationError

from rag.errors import SettingError
from rag.server.auth import load_access
from rag.settings import (
    DEPRECATED_VARIABLES,
    REMOVED_VARIABLES,
    Settings,
    load,
    load_flags,
    table,
    variable_name,
    warn_deprecated,
    warn_removed,
)

VALUES: dict[str, Any] = {
    "index": Path("/somewhere/index"),
    "encoder": "/models/encoder",
    "generator": "/models/writer.gguf",
    "generator_model": "a-model",
    "reranker": "/models/reranker",
    "checker": "/models/checker",
    "strictness": "high",
    "threads": 3,
    "memory_mb": 4000,
    "dimensions": 128,
    "passage_tokens": 128,
    "encoder_dtype": "float32",
    "cache": Path("/somewhere/cache"),
    "feedback": Path("/somewhere/feedback.jsonl"),
    "uploads": "shared",
    "mcp": True,
    "request_log": "questions",
    "host": "0.0.0.0",
    "port": 8123,
    "root_path": "/footnote",
    "allow_anonymous": True,
}
"""A valid value of each setting, other than its default."""

OTHER_VALUES: dict[str, Any] = {
    "threads": 4,
    "port": 8124,
    "root_path": "/elsewhere",
    "strictness": "low",
    "uploads": "own",
    "memory_mb": 1,
    "dimensions": 2,
    "passage_tokens": 64,
    "encoder_dtype": "int8",
    "allow_anonymous": False,
    "mcp": False,
    "request_log": "lines",
}
"""A second valid value of those settings that do not take any text."""

SECRETS = ("generator_api_key", "server_users", "server_api_keys")

RENAMED = [
    ("RAG_API_KEY", "generator_api_key"),
    ("RAG_API_KEYS", "server_api_keys"),
    ("RAG_MODEL", "generator_model"),
    ("RAG_MEMORY", "memory_mb"),
    ("RAG_AUTH", "server_users"),
    ("RAG_PUBLIC", "allow_anonymous"),
    ("RAG_LOG", "request_log"),
]
"""Each deprecated variable and its setting."""


@pytest.fixture(autouse=True)
def _warn_again() -> Iterator[None]:
    """Lets each test see warnings that are given once per process."""
    warn_deprecated.cache_clear()
    yield
    warn_deprecated.cache_clear()


def test_every_setting_is_covered_here() -> None:
    assert set(VALUES) | set(SECRETS) == set(Settings.model_fields)


@pytest.mark.parametrize("name", VALUES)
def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert getattr(load(), name) != VALUES[name]
    monkeypatch.setenv(f"RAG_{name.upper()}", str(VALUES[name]))
    assert getattr(load(), name) == VALUES[name]


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_read_and_never_printed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"RAG_{name.upper()}", "open-sesame")
    settings = load()
    assert getattr(settings, name).get_secret_value() == "open-sesame"
    assert "sesame" not in f"{settings} {settings!r}"


@pytest.mark.parametrize("name", VALUES)
def test_an_argument_overrides_its_variable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    argument = OTHER_VALUES.get(name, "elsewhere")
    monkeypatch.setenv(f"RAG_{name.upper()}", str(VALUES[name]))
    assert str(getattr(load(**{name: argument}), name)) == str(argument)
    assert getattr(load(**{name: None}), name) == VALUES[name], "None is no value"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RAG_PORT", "http"),
        ("RAG_PORT", "0"),
        ("RAG_PORT", "65536"),
        ("RAG_THREADS", "-1"),
        ("RAG_THREADS", "many"),
        ("RAG_THREADS", "2.5"),
        ("RAG_UPLOADS", "perhaps"),
        ("RAG_MCP", "perhaps"),
        ("RAG_REQUEST_LOG", "everything"),
        ("RAG_LOG", "everything"),
        ("RAG_MEMORY_MB", "much"),
        ("RAG_MEMORY", "much"),
    ],
)
def test_an_invalid_variable_is_named_with_its_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(
        SettingError, match=rf"^Invalid value for {variable}: '{value}' \("
    ) as error:
        load()
    assert "\n" not in str(error.value)


def test_an_invalid_flag_is_named_as_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_PORT", "7000")
    with pytest.raises(SettingError, match=r"^Invalid value for --port: 0 \("):
        load_flags(port=0)


@pytest.mark.parametrize(("name", "value"), [("strictness", "x"), ("port", 0), ("memory_mb", -1)])
def test_an_invalid_argument_is_named_as_an_argument(name: str, value: object) -> None:
    with pytest.raises(SettingError, match=rf"^Invalid value for {name}: {value!r} \("):
        load(**{name: value})


@pytest.mark.parametrize("name", ["api_key", "auth", "strictnes"])
def test_an_unknown_argument_is_an_error_and_its_value_is_not_printed(name: str) -> None:
    with pytest.raises(TypeError, match=name) as error:
        load(**{name: "open-sesame"})
    assert "sesame" not in str(error.value)


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().port = 1


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


# -- deprecated variables


def value_of(settings: Settings, name: str) -> Any:
    """The value of a setting, if secret without its wrapping."""
    value = getattr(settings, name)
    return value.get_secret_value() if name in SECRETS else value


def test_every_renamed_variable_is_covered_here() -> None:
    assert {old: f"RAG_{name.upper()}" for old, name in RENAMED} == DEPRECATED_VARIABLES


@pytest.mark.parametrize(("old", "name"), RENAMED)
def test_a_deprecated_variable_is_read_with_one_warning_per_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], old: str, name: str
) -> None:
    expected = VALUES.get(name, "open-sesame")
    monkeypatch.setenv(old, str(expected))
    assert value_of(load(), name) == expected
    assert value_of(load(), name) == expected
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"rag: {old} is deprecated and will be removed in the next release."
        f" Use RAG_{name.upper()} instead.\n"
    )


@pytest.mark.parametrize(("old", "name"), RENAMED)
def test_a_new_variable_wins_over_the_deprecated_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], old: str, name: str
) -> None:
    expected = VALUES.get(name, "open-sesame")
    monkeypatch.setenv(f"RAG_{name.upper()}", str(expected))
    monkeypatch.setenv(old, str(OTHER_VALUES.get(name, "elsewhere")))
    assert value_of(load(), name) == expected
    err = capsys.readouterr().err
    assert err.endswith(f"{old} is ignored, because RAG_{name.upper()} is set.\n")
    assert err.count("\n") == 1
    assert "elsewhere" not in err


@pytest.mark.parametrize(("old", "name"), RENAMED)
def test_an_argument_wins_over_the_deprecated_variable(
    monkeypatch: pytest.MonkeyPatch, old: str, name: str
) -> None:
    expected = VALUES.get(name, "open-sesame")
    monkeypatch.setenv(old, str(OTHER_VALUES.get(name, "elsewhere")))
    assert value_of(load(**{name: expected}), name) == expected


def test_no_warning_without_a_deprecated_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAG_MEMORY_MB", "100")
    load()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("old", "name"), RENAMED)
def test_messages_name_the_variable_that_the_user_has_set(
    monkeypatch: pytest.MonkeyPatch, old: str, name: str
) -> None:
    new = f"RAG_{name.upper()}"
    assert variable_name(name) == new
    monkeypatch.setenv(old, "x")
    assert variable_name(name) == old
    monkeypatch.setenv(new, "x")
    assert variable_name(name) == new


def test_a_command_warns_of_a_deprecated_variable_on_stderr_only(
    run_rag: RunRag, index_folder: Path
) -> None:
    done = run_rag("info", "--index", index_folder, "--json", RAG_MEMORY="4000")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{")
    assert "RAG_MEMORY is deprecated" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("field", "value"), [("server_users", "hunter2"), ("server_api_keys", "hunter2")]
)
@pytest.mark.parametrize("deprecated", [False, True])
def test_an_error_in_a_login_names_the_variable_that_the_user_has_set(
    monkeypatch: pytest.MonkeyPatch, field: str, value: str, deprecated: bool
) -> None:
    new = f"RAG_{field.upper()}"
    old = next(old for old, replacement in DEPRECATED_VARIABLES.items() if replacement == new)
    variable = old if deprecated else new
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingError, match=rf"\b{variable}\b") as error:
        load_access(load())
    assert value not in str(error.value)


@pytest.mark.parametrize("value", ["on", "off", "maybe"])
def test_a_removed_variable_has_no_effect_and_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    warn_removed.cache_clear()
    expected = load()
    monkeypatch.setenv("RAG_ADAPTER", value)
    assert load() == load() == expected
    (warning,) = capsys.readouterr().err.splitlines()
    assert "RAG_ADAPTER has no effect" in warning


def test_the_documentation_names_no_deprecated_or_removed_variable() -> None:
    root = Path(__file__).parent.parent
    for file in [root / "README.md", *(root / "docs").glob("*.md")]:
        words = set(re.findall(r"\bRAG_\w+", file.read_text(encoding="utf-8")))
        assert not words & (DEPRECATED_VARIABLES.keys() | REMOVED_VARIABLES.keys()), file
