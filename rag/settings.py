"""Application settings: keyword arguments or flags, then RAG_* variables, then `rag models use`."""

import json
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_cache_path, user_config_path
from pydantic import Field, SecretStr, TypeAdapter, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from rag.errors import SettingError
from rag.files import atomic_write
from rag.types import ModelRole, Strictness

SEEDS = Path("seeds")
"""Folder of the sample articles, which are indexed when the user has not named any source."""

CHOICES_FILE = "models.json"
"""File with the models chosen by `rag models use`: in an index's folder, or in the user's config."""

PREFIX = "RAG_"

DEPRECATED_VARIABLES = {
    "RAG_MODEL": "RAG_GENERATOR_MODEL",
    "RAG_API_KEY": "RAG_GENERATOR_API_KEY",
    "RAG_MEMORY": "RAG_MEMORY_MB",
    "RAG_LOG": "RAG_REQUEST_LOG",
    "RAG_AUTH": "RAG_SERVER_USERS",
    "RAG_API_KEYS": "RAG_SERVER_API_KEYS",
    "RAG_PUBLIC": "RAG_ALLOW_ANONYMOUS",
}
"""Former names of variables, read for one more release with a warning, and their replacements."""

REMOVED_VARIABLES = {"RAG_ADAPTER": "The bundled reader answers instead of the adapter."}
"""Variables without effect, of which one more release warns, and why they have none."""


class Settings(BaseSettings):
    """Immutable settings, read from keyword arguments and the environment.

    `Settings()` raises pydantic's ValidationError for an invalid value; `load` and `load_flags` raise
    SettingError, which says what to do.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    # The index

    index: Path = Field(Path("index"), description="index directory")
    passage_tokens: int = Field(
        256,
        ge=32,
        le=8192,
        description="maximum length of a passage in tokens of the encoder; the encoder's own limit"
        " applies as well",
    )
    dimensions: int = Field(
        0,
        ge=0,
        le=65_536,
        description="truncate embeddings to this many dimensions (Matryoshka models); 0 keeps all",
    )

    # Models

    encoder: str = Field(
        "all-MiniLM-L6-v2",
        description="embedding model: a name from `rag models`, or a sentence-transformers folder",
    )
    encoder_dtype: Literal["auto", "int8", "bfloat16", "float32"] = Field(
        "auto",
        description="arithmetic of the encoder: `int8`, `bfloat16`, `float32`, or `auto` for the fastest"
        " on this machine; float32 is used where the other does not agree with it",
    )
    reranker: str = Field(
        "",
        description="model that reorders the search results: a name from `rag models`, or a CrossEncoder"
        " folder",
        json_schema_extra={"default": "none"},
    )
    generator: str = Field(
        "SmolLM2-135M-Instruct",
        description="language model: a name from `rag models`, a GGUF file, `owner/repo:file` on the hub,"
        " or the URL of an OpenAI-compatible server (http://…/v1)",
    )
    generator_model: str = Field(
        "",
        description="name of the model on that server",
        json_schema_extra={"default": "the server's first"},
    )
    generator_api_key: SecretStr = Field(
        SecretStr(""),
        description="API key sent to that server",
        json_schema_extra={"default": "none"},
    )
    checker: str = Field(
        "",
        description="model that verifies drafts: a name from `rag models`, or the folder of a"
        " CrossEncoder for entailment (NLI or MiniCheck)",
        json_schema_extra={"default": "none"},
    )
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="threads of the language model; 0 for all cores but one, at most 8",
    )
    memory_mb: int = Field(
        0,
        ge=0,
        description="memory limit for all models together, in megabytes; 0 for most of the free memory",
    )

    # Answers

    strictness: Strictness = Field(
        Strictness.NORMAL,
        description="how confident an answer must be, or the question is refused: `low`, `normal` or"
        " `high`",
        json_schema_extra={"default": "`normal`"},
    )

    # Files

    cache: Path = Field(
        default_factory=lambda: user_cache_path("footnote"),
        description="cache directory",
        json_schema_extra={"default": "the user's cache directory"},
    )
    feedback: Path = Field(
        Path("feedback.jsonl"), description="file to which readers' ratings of answers are appended"
    )

    # The server

    host: str = Field("127.0.0.1", description="address that the server listens on")
    port: int = Field(7860, ge=1, le=65535, description="port that the server listens on")
    root_path: str = Field(
        "",
        pattern=r"^(/[\w.~-]+)*$",
        description="path prefix that a reverse proxy in front removes from requests, such as `/news`",
        json_schema_extra={"default": "none"},
    )
    server_users: SecretStr = Field(
        SecretStr(""),
        description="users who may log in: lines from `rag password`, separated by commas, or"
        " `header:NAME` for the header in which a reverse proxy passes the user's name",
        json_schema_extra={"default": "everybody may use it"},
    )
    server_api_keys: SecretStr = Field(
        SecretStr(""),
        description="API keys that the server accepts, separated by commas, or a file with one key per"
        " line",
        json_schema_extra={"default": "none"},
    )
    allow_anonymous: bool = Field(
        False,
        description="`1` to serve everybody without a login on an address other than this machine's own",
        json_schema_extra={"default": "`0`, on a Space `1`"},
    )
    mcp: bool = Field(
        False,
        description="whether to serve the Model Context Protocol at `/mcp`: `on` or `off`",
        json_schema_extra={"default": "`off`"},
    )
    uploads: Literal["off", "own", "shared"] = Field(
        "off",
        description="whether readers may upload files: `off`, `own` (each sees only their own) or"
        " `shared`",
    )
    request_log: Literal["off", "lines", "questions"] | None = Field(
        None,
        description="one JSON line on stderr per request: `off`, `lines`, or `questions` to include the"
        " text of the question",
        json_schema_extra={"default": "`lines`, in a terminal `off`"},
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of values, the first of which takes precedence."""
        explicit_values = env_settings() | init_settings()
        index = Path(explicit_values.get("index", cls.model_fields["index"].default))
        with suppress(RuntimeError):  # an unknown user after ~: reported by the validator
            index = index.expanduser()
        choices = load_model_choices(None) | load_model_choices(index)
        return (
            init_settings,
            env_settings,
            InitSettingsSource(settings_cls, _deprecated_values()),
            InitSettingsSource(settings_cls, {role.value: name for role, name in choices.items()}),
        )

    @field_validator("uploads", mode="before")
    @classmethod
    def _parse_uploads(cls, value: object) -> object:
        return {"0": "off", "1": "own"}.get(str(value), value)

    @field_validator("index", "cache", "feedback")
    @classmethod
    def _expand_user(cls, path: Path) -> Path:
        try:
            return path.expanduser()
        except RuntimeError as error:  # an unknown user after ~
            raise ValueError(str(error)) from None


def load(**values: Any) -> Settings:
    """Return the environment's settings, overridden by those values that are not None.

    Args:
        values: Values by the names of `Settings`' fields.

    Raises:
        SettingError: A value is invalid. The message names the argument or variable, and the value.
    """
    return _load(values, argument_prefix="")


def load_flags(**flags: Any) -> Settings:
    """Return the environment's settings like `load`, for command line flags.

    Raises:
        SettingError: A value is invalid. The message names the flag or variable, and the value.
    """
    return _load(flags, argument_prefix="--")


def _load(values: dict[str, Any], argument_prefix: str) -> Settings:
    if unknown := values.keys() - Settings.model_fields.keys():
        raise TypeError(f"There is no setting of the name {', '.join(sorted(unknown))}.")
    arguments = {name: value for name, value in values.items() if value is not None}
    try:
        return Settings(**arguments)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        name = f"{argument_prefix}{field}" if field in arguments else variable_name(field)
        raise SettingError(
            f"Invalid value for {name}: {first['input']!r} ({first['msg'].lower()}).",
            remedy="Correct it, or leave it out to use the default.",
        ) from None


# -- environment variables


def variable_name(field: str) -> str:
    """Return the environment variable of a field, for use in messages.

    This is the deprecated name where the user has set that one only.
    """
    name = f"{PREFIX}{field.upper()}"
    variables = _environment()
    if name not in variables:
        for old, new in DEPRECATED_VARIABLES.items():
            if new == name and old in variables:
                return old
    return name


@cache
def warn_deprecated(old: str, new: str, *, ignored: bool = False) -> None:
    """Warn on stderr, once per process, that a variable or flag was renamed.

    Args:
        old: The deprecated name, which the user has set.
        new: The name that replaces it.
        ignored: Whether the user has set both, so that only the new one counts.
    """
    problem = f"{old} is ignored, because {new} is set" if ignored else f"Use {new} instead"
    print(
        f"rag: {old} is deprecated and will be removed in the next release. {problem}.",
        file=sys.stderr,
    )


@cache
def warn_removed(name: str) -> None:
    """Warn on stderr, once per process, that a variable that the user has set has no effect."""
    print(f"rag: {name} has no effect any more. {REMOVED_VARIABLES[name]}", file=sys.stderr)


def _deprecated_values() -> dict[str, str]:
    """Return the values of the deprecated variables by field, and warn of each and of removed ones."""
    variables = _environment()
    for name in REMOVED_VARIABLES.keys() & variables.keys():
        warn_removed(name)
    values = {}
    for old, new in DEPRECATED_VARIABLES.items():
        if old in variables:
            warn_deprecated(old, new, ignored=new in variables)
            values[new.removeprefix(PREFIX).lower()] = variables[old]
    return values


def _environment() -> dict[str, str]:
    """Return the environment with names in upper case: pydantic-settings ignores case as well."""
    return {name.upper(): value for name, value in os.environ.items()}


# -- models chosen by `rag models use`


def model_choices_file(index: Path | None) -> Path:
    """Return the file with the models chosen for an index, or with those for all (None)."""
    return (index or user_config_path("footnote")) / CHOICES_FILE


def save_model_choices(index: Path | None, choices: dict[ModelRole, str]) -> Path:
    """Save the models chosen for an index, or for all (None), in place of those saved before.

    Returns:
        The file written.

    Raises:
        SettingError: It cannot be written.
    """
    file = model_choices_file(index)
    try:
        with atomic_write(file) as unfinished:
            unfinished.write_text(json.dumps(choices, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise SettingError(
            f"Cannot write {file}: {error.strerror}.",
            remedy="Set the RAG_* variable instead.",
        ) from error
    return file


def load_model_choices(index: Path | None) -> dict[ModelRole, str]:
    """Return the models chosen for an index, or for all (None), by role; empty if there are none.

    Raises:
        SettingError: The file cannot be read, or is invalid.
    """
    file = model_choices_file(index)
    try:
        return _MODEL_CHOICES.validate_json(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        raise SettingError(
            f"{file} is not a valid file of model choices.",
            remedy="Delete it, and choose again with `rag models use`.",
        ) from error


_MODEL_CHOICES = TypeAdapter(dict[ModelRole, str])


# -- documentation


def table() -> str:
    """Return the settings as the Markdown table in the README."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        default = extra["default"] if isinstance(extra, dict) else f"`{field.default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)
