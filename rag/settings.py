"""Every setting, in one frozen place: flags, else RAG_* variables, else what `rag models use` chose."""

import json
from contextlib import suppress
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

from rag.catalogue import Job
from rag.datatypes import Strictness
from rag.errors import SettingError

SEEDS = Path("seeds")
"""The sample articles, indexed when nothing else was named."""

CHOSEN = "models.json"
"""The file that holds the models chosen for an index, in its folder, or for all, in the user's."""


class Settings(BaseSettings):
    """Values only. `Settings()` reads the environment; `load` also takes flags and says what is wrong."""

    model_config = SettingsConfigDict(env_prefix="RAG_", frozen=True, extra="ignore")

    index: Path = Field(Path("index"), description="folder of the index")
    encoder: str = Field(
        "all-MiniLM-L6-v2",
        description="encoder: a name of `rag models`, or a sentence-transformers folder",
    )
    dimensions: int = Field(
        0,
        ge=0,
        le=65_536,
        description="of vectors, for encoders that were made for fewer (Matryoshka); 0 for all",
    )
    passage_tokens: int = Field(
        256,
        ge=32,
        le=8192,
        description="longest passage in the encoder's tokens, if it takes in so many",
    )
    encoder_dtype: Literal["auto", "int8", "bfloat16", "float32"] = Field(
        "auto",
        description="arithmetic of the encoder: int8, bfloat16, float32, or auto for the fastest here;"
        " where it does not agree with float32, float32 is used",
    )
    generator: str = Field(
        "SmolLM2-135M-Instruct",
        description="generator: a name of `rag models`, a GGUF file, `owner/repo:file` of the hub, or a"
        " server's address (http://…/v1)",
    )
    model: str = Field(
        "",
        description="name of the model at that server",
        json_schema_extra={"default": "its first"},
    )
    api_key: SecretStr = Field(
        SecretStr(""),
        description="what that server wants to be shown",
        json_schema_extra={"default": "none"},
    )
    adapter: Literal["on", "off"] = Field(
        "on", description="what teaches the embedded generator to answer shortly: on or off"
    )
    reranker: str = Field(
        "",
        description="a name of `rag models`, or a CrossEncoder's folder, to reorder what is found",
        json_schema_extra={"default": "none"},
    )
    checker: str = Field(
        "",
        description="a name of `rag models`, or a CrossEncoder's folder (NLI or MiniCheck), to check"
        " drafts with",
        json_schema_extra={"default": "none"},
    )
    strictness: Strictness = Field(
        Strictness.NORMAL,
        description="how sure an answer must be not to be refused: low, normal or high",
        json_schema_extra={"default": "`normal`"},
    )
    threads: int = Field(
        0, ge=0, le=1024, description="threads of the generator; 0 for all cores but one, 8 at most"
    )
    memory: int = Field(
        0, ge=0, description="megabytes that models may take; 0 for most of what is free"
    )
    cache: Path = Field(
        default_factory=lambda: user_cache_path("footnote"),
        description="folder for files made once",
        json_schema_extra={"default": "the user's cache folder"},
    )
    feedback: Path = Field(
        Path("feedback.jsonl"), description="file in which likes and dislikes of answers are noted"
    )
    uploads: Literal["off", "own", "shared"] = Field(
        "off",
        description="whether a reader may add files on the page: `own` ones for that reader alone, or"
        " `shared`",
    )
    mcp: bool = Field(
        False,
        description="whether models may ask, by MCP, at `/mcp` of the page's address: on or off",
        json_schema_extra={"default": "`off`"},
    )
    log: Literal["off", "lines", "questions"] | None = Field(
        None,
        description="a line of JSON on stderr for each question asked of what is served: off, lines, or"
        " `questions`, which tells what was asked as well",
        json_schema_extra={"default": "`lines`, on a terminal `off`"},
    )
    host: str = Field("127.0.0.1", description="address on which the page is served")
    port: int = Field(7860, ge=1, le=65535, description="port on which the page is served")
    auth: SecretStr = Field(
        SecretStr(""),
        description="who may use what is served: lines of `rag password`, separated by commas, or"
        " `header:NAME`, in which a proxy in front names the user",
        json_schema_extra={"default": "everybody"},
    )
    api_keys: SecretStr = Field(
        SecretStr(""),
        description="keys for programs, separated by commas, or a file with one a line",
        json_schema_extra={"default": "none"},
    )
    public: bool = Field(
        False,
        description="`1`: on another address than this machine's own, everybody may use it",
        json_schema_extra={"default": "`0`, on a Space `1`"},
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
        given = env_settings() | init_settings()
        index = Path(given.get("index", cls.model_fields["index"].default))
        with suppress(RuntimeError):  # ~ of nobody, which is told when it is validated
            index = index.expanduser()
        models = chosen(None) | chosen(index)
        return init_settings, env_settings, InitSettingsSource(settings_cls, dict(models.items()))

    @field_validator("uploads", mode="before")
    @classmethod
    def _allowed(cls, value: object) -> object:
        return {"0": "off", "1": "own"}.get(str(value), value)

    @field_validator("index", "cache", "feedback")
    @classmethod
    def _expanded(cls, folder: Path) -> Path:
        try:
            return folder.expanduser()
        except RuntimeError as error:  # ~ of nobody
            raise ValueError(str(error)) from None


def load(**flags: Any) -> Settings:
    """The environment's settings with those flags on top that are not None.

    Raises SettingError, naming the variable or flag and its value.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        shown = f"--{name}" if name in given else f"RAG_{name.upper()}"
        raise SettingError(
            f"{shown} is {first['input']!r}: {first['msg'].lower()}.",
            remedy="Correct it, or leave it out for the default.",
        ) from None


def chosen_file(index: Path | None) -> Path:
    """Where the models chosen for an index are kept, or those for everything."""
    return (index or user_config_path("footnote")) / CHOSEN


def choose(index: Path | None, chosen: dict[Job, str]) -> Path:
    """Keep the models chosen, by setting, for an index or for everything; the file that holds them.

    Raises SettingError when it cannot be written.
    """
    file = chosen_file(index)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(chosen, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(file)
    except OSError as error:
        raise SettingError(
            f"{file} cannot be written: {error.strerror}.",
            remedy="Set the RAG_* variable instead.",
        ) from error
    return file


def chosen(index: Path | None) -> dict[Job, str]:
    """The models chosen for an index, or for everything, by setting. Raises SettingError."""
    file = chosen_file(index)
    try:
        return _CHOICE.validate_json(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        raise SettingError(
            f"{file} does not hold chosen models as it should.",
            remedy="Delete it, and choose anew with `rag models use`.",
        ) from error


_CHOICE = TypeAdapter(dict[Job, str])


def table() -> str:
    """The settings as the Markdown table that stands in the README."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        default = extra["default"] if isinstance(extra, dict) else f"`{field.default}`"
        rows.append(f"| `RAG_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)
