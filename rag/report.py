"""An evaluation as one HTML file that needs nothing else: tables, and pictures drawn by matplotlib."""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import QuestionError
from rag.evaluation import Estimate, Evaluation, Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW_INCHES = 0.35
"""Height of a measure in a picture."""


def write(evaluation: Evaluation, about: Mapping[str, str], file: Path) -> None:
    """Write the report; `about` is what was asked of what. Raises QuestionError when it can't be."""
    from jinja2 import Environment

    template = files("rag").joinpath("report.html.j2").read_text(encoding="utf-8")
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)
    text = page.render(
        about=about,
        evaluation=evaluation,
        measures=_picture(_shares(evaluation.measures), least=0.0),
        differences=_picture(_shares(evaluation.differences), least=None),
        curve=_curve(evaluation.curve),
    )
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise QuestionError(
            f"The report {file} cannot be written: {error.strerror}.",
            remedy="Give --html another place.",
        ) from error


def _shares(estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Those that can be drawn on one axis: all but times."""
    return {name: found for name, found in estimates.items() if name != "seconds"}


def _picture(estimates: Mapping[str, Estimate], least: float | None) -> str:
    """Values with their intervals as SVG; empty when there is none."""
    if not estimates:
        return ""
    return _svg(lambda: _drawn(list(estimates), list(estimates.values()), least))


def _curve(points: Sequence[Point]) -> str:
    """Risk over coverage as SVG; empty when there is none."""
    return _svg(lambda: _line(points)) if points else ""


def _svg(draw: "Callable[[], Figure]") -> str:
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        svg = StringIO()
        draw().savefig(svg, format="svg", metadata={"Date": None}, transparent=True)
    text = svg.getvalue()
    return text[text.index("<svg") :]


def _line(points: Sequence[Point]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.step([p.coverage for p in points], [p.risk for p in points], where="post")
    axes.set(
        xlim=(0, 1.02), ylim=(0, 1.02), xlabel="share answered", ylabel="share of it not right"
    )
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def _drawn(names: Sequence[str], estimates: Sequence[Estimate], least: float | None) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.6 + ROW_INCHES * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(
        [found.value for found in estimates],
        range(len(names)),
        xerr=[
            [found.value - found.low for found in estimates],
            [found.high - found.value for found in estimates],
        ],
        fmt="o",
        capsize=3,
    )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    if least is None:
        axes.axvline(0, linewidth=0.8, color="gray")
    else:
        axes.set_xlim(least - 0.02, 1.02)
    axes.grid(axis="x", alpha=0.3)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return figure
