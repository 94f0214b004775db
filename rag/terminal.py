"""What every command shows: JSON on stdout, and on stderr how far it has come."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


def print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say on a terminal's stderr what is being waited for."""
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def progress_bar() -> Iterator["RichProgress"]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        yield bar


class Bar:
    """Shows a sync's progress; the bar of the last task stays until the next one starts."""

    def __init__(self, bar: "RichProgress") -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def start(self, task: str, total: int | None) -> None:
        self._bar.console.print(task, style="dim")
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(task, total=total, rate="")

    def expect(self, total: int) -> None:
        if self._task is not None:
            self._bar.update(self._task, total=total)

    def advance(self, steps: int) -> None:
        if self._task is not None:
            speed = self._bar.tasks[-1].speed
            self._bar.update(self._task, advance=steps, rate=f"{speed:.0f}/s" if speed else "")
