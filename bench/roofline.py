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

LOWBIT, PEER, ARITHMETIC, READING = "#c0392b", "#95a5a6", "#2c3e50", "#2980b9"


def plot(report: dict[str, Any], file: str) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in report["rows"] if "lowbit" in row.get("seconds", {})]
    if not rows:
        raise ValueError("rows: none that lowbit was measured in, expected at least one")
    figure, axes = pyplot.subplots(figsize=(9, 5.5))
    for is_float, marker in (False, "o"), (True, "^"):
        some = [row for row in rows if (row["product"]["compute"] == "float32") == is_float]
        peers = [(intensity(row), best) for row in some if (best := best_peer(row)) is not None]
        kind = "float32" if is_float else "int8"
        draw = {"marker": marker, "s": 24, "zorder": 3}
        axes.scatter([x for x, _ in peers], [y for _, y in peers], color=PEER, label=f"best peer, {kind}", **draw)
        own = [rate(row, "lowbit") for row in some]
        axes.scatter([intensity(row) for row in some], own, color=LOWBIT, label=f"lowbit, {kind}", **draw)

    left, right = min(map(intensity, rows)) / 2, max(map(intensity, rows)) * 2
    peaks = {name: found for name in report["peaks"] if (found := limit(rows, name, "ops"))}
    for name, peak in peaks.items():
        axes.hlines(peak, left, right, colors=ARITHMETIC, linewidth=1)
        axes.annotate(f"{name}, {peak:.0f} GOPS", (right, peak), ha="right", va="bottom", fontsize=8)
    bandwidth = limit([row for row in rows if row["product"]["matrices"] > 1], "read", "bytes")
    if bandwidth and peaks:
        end = max(peaks.values()) / bandwidth
        axes.plot([left, end], [bandwidth * left, bandwidth * end], color=READING, linewidth=1)
        text = f"reading memory, {bandwidth:.0f} GB/s"
        axes.annotate(text, (end / 2, bandwidth * end / 2), ha="right", va="bottom", fontsize=8)
    axes.set(xscale="log", yscale="log", xlim=(left, right))
    axes.set(xlabel="operations for each byte of weights", ylabel="GOPS")
    axes.legend(loc="lower right", fontsize=8)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def limit(rows: list[dict[str, Any]], name: str, unit: str) -> float | None:
    """GOPS or GB/s: the median over the rows that have it."""
    amounts = {"ops": lambda row: row["ops"]["lowbit"], "bytes": lambda row: row["nbytes"]}
    rates = [amounts[unit](row) / statistics.median(row["bounds"][name]) for row in rows if name in row["bounds"]]
    return statistics.median(rates) / 1e9 if rates else None


def intensity(row: dict[str, Any]) -> float:
    return float(row["ops"]["lowbit"] / row["nbytes"])


def rate(row: dict[str, Any], label: str) -> float:
    """GOPS."""
    return float(row["ops"][label] / statistics.median(row["seconds"][label]) / 1e9)


def best_peer(row: dict[str, Any]) -> float | None:
    """GOPS of the fastest engine other than lowbit."""
    return max((rate(row, label) for label in row["ratios"] if label in row["peers"]), default=None)


if __name__ == "__main__":
    plot(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
