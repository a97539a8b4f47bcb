"""Two sides, checked against each other, then timed in turns.

Clocks, caches and neighbours on a machine drift by more than the difference one
wants to see. So the sides take turns, A B B A, and what counts is the ratio
within a round; a drift over the rounds cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sides import Side

TOLERANCE = 1e-3
"""Largest difference of two float32 results, in units of the result's root mean square."""


class Refused(Exception):
    """The two sides do not compute the same: timing them would mean nothing."""


def largest_difference(ours: Mapping[str, np.ndarray], rival: Mapping[str, np.ndarray]) -> float:
    """Measure how far the results lie apart, in units of their root mean square.

    Raises
    ------
    Refused
        If it is more than ``TOLERANCE``, or names, shapes or dtypes differ.
    """
    if ours.keys() != rival.keys():
        raise Refused(f"one side gives {sorted(ours)}, the other {sorted(rival)}")
    worst = 0.0
    for name, a in ours.items():
        b = rival[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            raise Refused(f"{name}: {a.shape} {a.dtype} here, {b.shape} {b.dtype} there")
        if a.dtype.kind != "f":
            if not np.array_equal(a, b):
                raise Refused(f"{name}: {np.mean(a != b):.2%} of the integers differ")
            continue
        size = math.sqrt(float(np.mean(np.square(b, dtype=np.float64)))) or 1.0
        error = float(np.abs(a - b).max(initial=0.0)) / size
        if not error <= TOLERANCE:  # not >, so that a NaN is refused too
            raise Refused(f"{name}: differs by {error:.1e} of its root mean square")
        worst = max(worst, error)
    return worst


@dataclass(frozen=True)
class Pace:
    """The lengths of a race.

    Attributes
    ----------
    rounds : int
        Turns A B B A.
    settle : float
        Seconds of calls at the start of a leg that are not counted: caches fill,
        and the threads that the other side left spinning go to sleep.
    leg : float
        Seconds of counted calls in a leg, at least one call.
    """

    rounds: int
    settle: float = 0.05
    leg: float = 0.1


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call, one number per round."""

    ours: list[float]
    rival: list[float]

    def ratio(self) -> dict[str, float]:
        """Median and quartiles of the rounds' ratios ours / rival."""
        ratios = [a / b for a, b in zip(self.ours, self.rival, strict=True)]
        if len(ratios) < 2:
            return dict.fromkeys(("median", "lower_quartile", "upper_quartile"), ratios[0])
        lower, middle, upper = quantiles(ratios, n=4, method="inclusive")
        return {"median": middle, "lower_quartile": lower, "upper_quartile": upper}

    def medians(self) -> tuple[float, float | None]:
        """Median time of each side, in milliseconds."""
        return median(self.ours), median(self.rival) if self.rival else None


def race(ours: Side, rival: Side | None, pace: Pace) -> Timing:
    """Time both sides in turns, or ours alone if there is no rival."""
    timing = Timing([], [])
    calls_ours = ours.calls(pace)
    calls_rival = rival.calls(pace) if rival else 0
    for _ in range(pace.rounds):
        first = ours.leg(calls_ours, pace)
        if rival:
            second = rival.leg(calls_rival, pace)
            third = rival.leg(calls_rival, pace)
            timing.rival.append((second + third) / 2)
        timing.ours.append((first + ours.leg(calls_ours, pace)) / 2)
    return timing


def calls_for(run: Callable[[], Any], pace: Pace) -> int:
    """Count the calls that fill a leg; the calls made to find out are a warm-up."""
    for _ in range(2):
        run()
    start = perf_counter()
    run()
    return max(math.ceil(pace.leg / (perf_counter() - start)), 1)


def time_leg(run: Callable[[], Any], calls: int, pace: Pace) -> float:
    """Milliseconds per call, after ``pace.settle`` seconds of calls that do not count."""
    start = perf_counter()
    while True:
        run()
        if perf_counter() - start >= pace.settle:
            break
    start = perf_counter()
    for _ in range(calls):
        run()
    return (perf_counter() - start) / calls * 1e3
