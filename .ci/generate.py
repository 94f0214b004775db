"""Generate requirements.txt and the tables of settings and models in docs/ from the code."""

import re
import tomllib
from itertools import chain
from pathlib import Path

from rag.models.registry import as_table
from rag.settings import table

ROOT = Path(__file__).parent.parent
SETTINGS_FILE = ROOT / "docs" / "settings.md"
MODELS_FILE = ROOT / "docs" / "models.md"
CPU_TORCH = "https://download.pytorch.org/whl/cpu"
SPACE_EXTRAS = ("server", "mcp", "formats")
LLAMA_CPP = "https://abetlen.github.io/llama-cpp-python/whl/cpu"


def requirements() -> str:
    """Return requirements.txt for a Space: what the page needs, with all formats, except gradio.

    The Space installs gradio itself, in the version of rag/deploy/space-readme.md.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [project["optional-dependencies"][name] for name in SPACE_EXTRAS]
    dependencies = sorted({*project["dependencies"], *chain.from_iterable(extras)})
    dependencies = [line for line in dependencies if not line.startswith("gradio")]
    head = [
        "# Generated from pyproject.toml by `make fix`, for Hugging Face Spaces.",
        f"--extra-index-url {CPU_TORCH}",
        "# Prebuilt wheels of most versions of llama-cpp-python; pip compiles the others.",
        f"--extra-index-url {LLAMA_CPP}",
    ]
    return "\n".join([*head, *dependencies, ""])


def settings() -> str:
    """Return docs/settings.md with the table of all settings."""
    return _with_table(SETTINGS_FILE, "settings", table())


def models() -> str:
    """Return docs/models.md with the table of the models in the registry."""
    return _with_table(MODELS_FILE, "models", as_table())


def _with_table(file: Path, marker: str, rows: str) -> str:
    """Replace the lines between `<!-- marker -->` and `<!-- /marker -->`."""
    generated = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
    text = file.read_text(encoding="utf-8")
    return generated.sub(lambda match: f"{match[1]}{rows}\n{match[2]}", text)


if __name__ == "__main__":
    (ROOT / "requirements.txt").write_text(requirements())
    SETTINGS_FILE.write_text(settings(), encoding="utf-8")
    MODELS_FILE.write_text(models(), encoding="utf-8")
