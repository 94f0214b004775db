"""The optional dependencies: which packages each extra installs, and whether they are installed.

Indexing plain text, searching and answering need no extra.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from rag.errors import MissingExtra

EXTRAS: Mapping[str, Mapping[str, str]] = {
    "eval": {
        "ir_measures": "ir-measures",
        "jinja2": "jinja2",
        "matplotlib": "matplotlib",
    },
    "formats": {
        "docx": "python-docx",
        "feedparser": "feedparser",
        "lxml": "lxml",
        "lxml_html_clean": "lxml-html-clean",
        "pyarrow": "pyarrow",
        "pypdfium2": "pypdfium2",
        "trafilatura": "trafilatura",
    },
    "mcp": {"mcp": "mcp"},
    "server": {
        "fastapi": "fastapi",
        "gradio": "gradio",
        "jinja2": "jinja2",
        "prometheus_client": "prometheus-client",
    },
}
"""Extra → module → package that contains it, as in pyproject.toml."""


def require(extra: str, purpose: str) -> None:
    """Check that the packages of an extra are installed.

    Args:
        extra: The extra.
        purpose: What needs it, as the subject of a sentence: "`rag chat`".

    Raises:
        MissingExtra: A package is not installed.
    """
    missing = missing_packages(extra)
    if missing:
        raise MissingExtra(
            f"{purpose} needs {_join(missing)}.",
            remedy=f"Install {'it' if len(missing) == 1 else 'them'} with {install_command(extra)}.",
        )


def missing_packages(extra: str) -> list[str]:
    """Return the packages of an extra that are not installed."""
    return [package for module, package in EXTRAS[extra].items() if find_spec(module) is None]


def install_command(extra: str) -> str:
    """Return the command that installs an extra."""
    return f"pip install 'footnote-rag[{extra}]'"


def _join(packages: Sequence[str]) -> str:
    *first, last = packages
    return f"{', '.join(first)} and {last}" if first else last
