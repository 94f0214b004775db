"""Write what is made from the code: requirements.txt, the tables of settings and of models."""

import re
import tomllib
from pathlib import Path

from rag.catalogue import as_table
from rag.settings import table

ROOT = Path(__file__).parent.parent
CPU_TORCH = "https://download.pytorch.org/whl/cpu"
LLAMA_CPP = "https://abetlen.github.io/llama-cpp-python/whl/cpu"
SETTINGS, MODELS = (
    re.compile(rf"(<!-- {what} -->\n).*?(<!-- /{what} -->)", re.DOTALL)
    for what in ("settings", "models")
)


def requirements() -> str:
    """What a Space installs: every dependency but gradio, which it brings in the README's version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [line for line in project["dependencies"] if not line.startswith("gradio")]
    head = [
        "# Made from pyproject.toml by `make fix`, for Spaces.",
        f"--extra-index-url {CPU_TORCH}",
        "# Has llama.cpp compiled, of most versions; where not, the Space compiles it.",
        f"--extra-index-url {LLAMA_CPP}",
    ]
    return "\n".join([*head, *wanted, ""])


def readme() -> str:
    """The README with the table of settings as the code has it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return SETTINGS.sub(lambda found: f"{found[1]}{table()}\n{found[2]}", text)


def models() -> str:
    """docs/models.md with the table of models as the code has it."""
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    return MODELS.sub(lambda found: f"{found[1]}{as_table()}\n{found[2]}", text)


if __name__ == "__main__":
    (ROOT / "requirements.txt").write_text(requirements())
    (ROOT / "README.md").write_text(readme(), encoding="utf-8")
    (ROOT / "docs" / "models.md").write_text(models(), encoding="utf-8")
