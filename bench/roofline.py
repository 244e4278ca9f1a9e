"""Draws what bench/compare.py --json has written: rates over operations for each byte of weights, below the limits.

python bench/roofline.py FILE.json PICTURE.png
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib

COLOURS = {"lowbit": "#c0392b", "best peer": "#7f8c8d"}


def plot(report: dict[str, Any], file: str) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5.5))
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in COLOURS}
    reading = []
    for row in report["rows"]:
        if "lowbit" not in row.get("seconds", {}):
            continue
        intensity = row["ops"]["lowbit"] / row["nbytes"]
        points["lowbit"].append((intensity, rate(row, "lowbit")))
        peers = [label for label in row["ratios"] if row["ops"][label] == row["ops"]["lowbit"]]
        if peers:
            points["best peer"].append((intensity, max(rate(row, label) for label in peers)))
        if row["product"]["matrices"] > 1 and row["bounds"].get("read"):
            reading.append(row["nbytes"] / statistics.median(row["bounds"]["read"]) / 1e9)
    every = [x for found in points.values() for x, _ in found]
    if not every:
        raise ValueError("rows: none that lowbit was measured in, expected at least one")
    left, right = min(every) / 2, max(every) * 2
    for name, peak in report["peaks"].items():
        if name in {row["bound"] for row in report["rows"]} | {"vdpbf16ps zmm"}:
            axes.hlines(peak / 1e9, left, right, colors="#2c3e50", linewidth=1)
            axes.annotate(name, (right, peak / 1e9), ha="right", va="bottom", fontsize=8)
    if reading:
        bandwidth = statistics.median(reading)
        axes.plot([left, right], [bandwidth * left, bandwidth * right], color="#2980b9", linewidth=1)
        axes.annotate(f"reading memory, {bandwidth:.0f} GB/s", (left, bandwidth * left), va="bottom", fontsize=8)
    for name, found in points.items():
        axes.scatter(*zip(*found, strict=True), s=22, color=COLOURS[name], label=name) if found else None
    axes.set(
        xscale="log", yscale="log", xlabel="operations for each byte of weights", ylabel="GOPS", xlim=(left, right)
    )
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def rate(row: dict[str, Any], label: str) -> float:
    """GOPS."""
    return row["ops"][label] / statistics.median(row["seconds"][label]) / 1e9


if __name__ == "__main__":
    plot(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
