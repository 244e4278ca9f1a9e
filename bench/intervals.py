"""Medians and what they are worth: intervals of order statistics, which assume nothing about the distribution."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
FEWEST = 6  # values, for the smallest and the largest to enclose the median with that probability: 1 - 2 / 2^6


@dataclass(frozen=True)
class Interval:
    """A median, and bounds within which that of the distribution lies in 95 % of all runs, or more."""

    median: float
    low: float
    high: float


def interval(values: Sequence[float]) -> Interval:
    """Of fewer than FEWEST values the bounds are the smallest and the largest, and worth less than 95 %."""
    ordered = sorted(values)
    n, rank, tail = len(ordered), 0, 0.5 ** len(ordered)  # tail: probability that at most `rank` values are below it
    while (longer := tail + math.comb(n, rank + 1) * 0.5**n) <= (1 - CONFIDENCE) / 2:
        rank, tail = rank + 1, longer
    return Interval(statistics.median(ordered), ordered[rank], ordered[n - 1 - rank])
