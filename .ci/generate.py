"""Write what is made from the code: requirements.txt, and the README's table of settings."""

import re
import tomllib
from pathlib import Path

from rag.settings import table

ROOT = Path(__file__).parent.parent
CPU_TORCH = "https://download.pytorch.org/whl/cpu"
MARKS = re.compile(r"(<!-- settings -->\n).*?(<!-- /settings -->)", re.DOTALL)


def requirements() -> str:
    """What a Space installs: every dependency but gradio, which it brings in the README's version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [line for line in project["dependencies"] if not line.startswith("gradio")]
    head = [
        "# Made from pyproject.toml by `make fix`, for Spaces.",
        f"--extra-index-url {CPU_TORCH}",
    ]
    return "\n".join([*head, *wanted, ""])


def readme() -> str:
    """The README with the table of settings as the code has it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return MARKS.sub(lambda found: f"{found[1]}{table()}\n{found[2]}", text)


if __name__ == "__main__":
    (ROOT / "requirements.txt").write_text(requirements())
    (ROOT / "README.md").write_text(readme(), encoding="utf-8")
