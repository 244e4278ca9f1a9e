"""Draws what minilm.py measured: size, speed, agreement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from minilm import Result

LOWBIT = "#1f6f8b"
OTHERS = "#a9b4bb"
INK = "#2b2f33"


def draw(path: Path, setting: dict[str, Any], results: Sequence[Result]) -> None:
    """Three panels that share their rows: bars from zero for size and speed, dots for cosines, which start near one."""
    figure = Figure(figsize=(11, 0.46 * len(results) + 1.75), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    size, speed, agreement = figure.subplots(1, 3, sharey=True, width_ratios=(1, 1, 1.15))
    rows = range(len(results))
    colours = [OTHERS if r.mode.startswith("float32") else LOWBIT for r in results]

    bars(size, [r.weight_bytes / 1e6 for r in results], [f"{r.weight_bytes / 1e6:.1f}" for r in results], colours)
    size.set_title("linear weights, MB")
    size.set_yticks(rows, [r.mode for r in results])
    size.invert_yaxis()

    rates = [r.sentences_per_second for r in results]
    bars(speed, rates, [f"{r.sentences_per_second:.0f} ({r.speedup:.1f}×)" for r in results], colours)
    speed.set_title("sentences per second")

    worst = min(r.worst_cosine for r in results)
    agreement.hlines(rows, [r.worst_cosine for r in results], [r.mean_cosine for r in results], colours, linewidth=1.5)
    agreement.scatter([r.mean_cosine for r in results], rows, s=46, c=colours, zorder=3)
    agreement.scatter([r.worst_cosine for r in results], rows, s=60, c=colours, marker="|", zorder=3)
    for row, r in zip(rows, results, strict=True):
        agreement.annotate(
            f"{r.mean_cosine:.4f}, nearest {r.same_nearest:.1%}",
            (r.worst_cosine, row),
            (-8, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=9,
            color=INK,
        )
    agreement.set_xlim(1 - 2.2 * (1 - worst), 1 + 0.06 * (1 - worst))
    agreement.set_title("cosine to float32 numpy: mean ● worst |")

    for axes in (size, speed, agreement):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(colors=INK, labelsize=9)
        axes.title.set(fontsize=10, color=INK, fontweight="bold")
    figure.suptitle("all-MiniLM-L6-v2, {sentences} English sentences".format(**setting), fontsize=12, color=INK)
    figure.supxlabel(
        "{cpu}, {isa}, {threads} threads; lowbit {lowbit}, numpy {numpy}. “nearest”: share of sentences whose nearest "
        "neighbour is the one that float32 finds.".format(**setting),
        fontsize=8,
        color=INK,
    )
    figure.savefig(path)


def bars(axes: Axes, values: Sequence[float], labels: Sequence[str], colours: Sequence[str]) -> None:
    drawn = axes.barh(range(len(values)), values, 0.62, color=colours)
    axes.bar_label(drawn, labels, padding=4, fontsize=9, color=INK)
    axes.set_xlim(0, 1.42 * max(values))
