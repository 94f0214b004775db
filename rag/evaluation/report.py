"""HTML report of an evaluation: one self-contained file with tables and SVG figures."""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import QuestionError
from rag.evaluation.runner import Estimate, Evaluation, RiskCoveragePoint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW_INCHES = 0.35
"""Height of a measure's row in a figure."""


def write(evaluation: Evaluation, about: Mapping[str, str], file: Path) -> None:
    """Write the report.

    Args:
        evaluation: The evaluation.
        about: What was evaluated, for the table at the top; `about["questions"]` is in the title.
        file: The file to write.

    Raises:
        QuestionError: The file cannot be written.
    """
    from jinja2 import Environment

    template = files("rag.evaluation").joinpath("report.html.j2").read_text(encoding="utf-8")
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)
    text = page.render(
        about=about,
        evaluation=evaluation,
        measures=_intervals_svg(_shares(evaluation.measures), lowest=0.0),
        differences=_intervals_svg(_shares(evaluation.differences), lowest=None),
        curve=_curve_svg(evaluation.curve),
    )
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise QuestionError(
            f"The report {file} cannot be written: {error.strerror}.",
            remedy="Name another file with --html.",
        ) from error


def _shares(estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """The measures that share an axis from 0 to 1: all but durations."""
    return {name: estimate for name, estimate in estimates.items() if name != "seconds"}


def _intervals_svg(estimates: Mapping[str, Estimate], lowest: float | None) -> str:
    """Draw values with their intervals; return an empty string if there are none.

    Args:
        estimates: The values to draw.
        lowest: Where the axis begins; None for an axis around 0.
    """
    if not estimates:
        return ""
    return _svg(lambda: _intervals_figure(list(estimates), list(estimates.values()), lowest))


def _curve_svg(points: Sequence[RiskCoveragePoint]) -> str:
    """Draw risk over coverage; return an empty string if there are no points."""
    return _svg(lambda: _curve_figure(points)) if points else ""


def _svg(draw: "Callable[[], Figure]") -> str:
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        svg = StringIO()
        draw().savefig(svg, format="svg", metadata={"Date": None}, transparent=True)
    text = svg.getvalue()
    return text[text.index("<svg") :]


def _curve_figure(points: Sequence[RiskCoveragePoint]) -> "Figure":
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


def _intervals_figure(
    names: Sequence[str], estimates: Sequence[Estimate], lowest: float | None
) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.6 + ROW_INCHES * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(
        [estimate.value for estimate in estimates],
        range(len(names)),
        xerr=[
            [estimate.value - estimate.low for estimate in estimates],
            [estimate.high - estimate.value for estimate in estimates],
        ],
        fmt="o",
        capsize=3,
    )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    if lowest is None:
        axes.axvline(0, linewidth=0.8, color="gray")
    else:
        axes.set_xlim(lowest - 0.02, 1.02)
    axes.grid(axis="x", alpha=0.3)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return figure
