"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from rag.errors import UsageError

MAX_HITS = 1000

IndexOption = Annotated[
    Path | None, typer.Option("--index", metavar="DIR", help="Index directory [index/].")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]


def parse_number(flag: str, value: str, maximum: int) -> int:
    """Return the value of a flag as an integer from 1 to `maximum`.

    Raises:
        UsageError: It is none. Typer's own message would take several lines.
    """
    if not value.isdecimal() or not 1 <= int(value) <= maximum:
        raise UsageError(
            f"Invalid value for {flag}: {value}.",
            remedy=f"Expected an integer from 1 to {maximum}.",
        )
    return int(value)
