"""Every setting, in one frozen place: RAG_* variables of the environment, which flags override."""

from pathlib import Path
from typing import Any, Literal

from platformdirs import user_cache_path
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from rag.datatypes import Strictness
from rag.errors import SettingError

SEEDS = Path("seeds")
"""The sample articles, indexed when nothing else was named."""


class Settings(BaseSettings):
    """Values only. `Settings()` reads the environment; `load` also takes flags and says what is wrong."""

    model_config = SettingsConfigDict(env_prefix="RAG_", frozen=True, extra="ignore")

    index: Path = Field(Path("index"), description="folder of the index")
    encoder: str = Field(
        "all-MiniLM-L6-v2",
        description="embedded encoder's name, or a sentence-transformers folder",
    )
    generator: str = Field(
        "SmolLM2-135M-Instruct",
        description="embedded generator's name, a GGUF file, or a server's address (http://…/v1)",
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
        description="a sentence-transformers CrossEncoder's folder, to reorder what is found",
        json_schema_extra={"default": "none"},
    )
    checker: str = Field(
        "",
        description="a CrossEncoder's folder (NLI or MiniCheck), to check drafts with",
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
    host: str = Field("127.0.0.1", description="address on which the page is served")
    port: int = Field(7860, ge=1, le=65535, description="port on which the page is served")

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


def table() -> str:
    """The settings as the Markdown table that stands in the README."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        default = extra["default"] if isinstance(extra, dict) else f"`{field.default}`"
        rows.append(f"| `RAG_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)
