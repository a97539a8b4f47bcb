"""Two sides, checked against each other, then timed in turns.

Clocks, caches and neighbours on a machine drift by more than the difference one
wants to see. So the sides take turns, A B B A, and what counts is the ratio
within a round; a drift over the rounds cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sides import Side

TOLERANCE = 1e-3
"""Largest difference of two float32 results, in units of the result's root mean square."""

EXACT_TOLERANCE = 1e-7
"""The largest of two float64 results of a training step, in the same units."""

SMALLEST_UNIT = 1e-3
"""Least unit for a parameter's gradient, relative to the root mean square of the largest one. A
bias before a norm changes nothing: its gradient is 0, and what is computed is rounding."""

PARAMETER = "gradient of parameter"
"""What the names of parameters' gradients begin with."""


class Refused(Exception):
    """The two sides do not compute the same: timing them would mean nothing."""


def largest_difference(
    ours: Mapping[str, np.ndarray], rival: Mapping[str, np.ndarray], tolerance: float = TOLERANCE
) -> float:
    """Measure how far the results lie apart, in units of their root mean square.

    Raises
    ------
    Refused
        If it is more than ``tolerance``, or names, shapes or dtypes differ.
    """
    worst = 0.0
    for name, a, b, unit in _pairs(ours, rival):
        if a.dtype != b.dtype:
            raise Refused(f"{name}: {a.dtype} here, {b.dtype} there")
        if a.dtype.kind != "f":
            if not np.array_equal(a, b):
                raise Refused(f"{name}: {np.mean(a != b):.2%} of the integers differ")
            continue
        error = float(np.abs(a - b).max(initial=0.0)) / unit
        if not error <= tolerance:  # not >, so that a NaN is refused too
            raise Refused(f"{name}: differs by {error:.1e} of its root mean square")
        worst = max(worst, error)
    return worst


def distance_to_pytorch(mine: Side, rivals: Sequence[Side]) -> tuple[float, list[float]]:
    """Measure how far the float32 results of a step lie from PyTorch's float64, here and there.

    A number that rounding moves across a ReLU's corner, or past another maximum, moves whole
    gradients, on either side. So the lines are compared in float64, where none crosses. In float32
    each side has its distance to that, the root of the mean of squares, of the worst array; and
    minidl may be off by ``TOLERANCE``, or by three times what the better of PyTorch's layouts is.

    Raises
    ------
    Refused
        If the float64 results differ, or minidl's float32 ones are further off.
    """
    exact = rivals[0].exact()
    try:
        largest_difference(mine.exact(), exact, EXACT_TOLERANCE)
    except Refused as reason:
        raise Refused(f"in float64, {reason}") from None
    theirs = [_distance(side.results(), exact)[0] for side in rivals]
    ours, name = _distance(mine.results(), exact)
    allowed = max(TOLERANCE, 3 * min(theirs))
    if not ours <= allowed:
        raise Refused(f"{name}: {ours:.1e} from float64's, PyTorch's float32 {min(theirs):.1e}")
    return ours, theirs


def _distance(
    found: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray]
) -> tuple[float, str]:
    """The largest root mean square of a difference, in units of the array's own, and its name."""
    errors = [(_size(a - b) / unit, name) for name, a, b, unit in _pairs(found, exact)]
    lost = [error for error in errors if math.isnan(error[0])]
    return lost[0] if lost else max(errors)


def _pairs(
    ours: Mapping[str, np.ndarray], rival: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
    """The arrays of both sides by name, each with the unit of their difference."""
    if ours.keys() != rival.keys():
        raise Refused(f"one side gives {sorted(ours)}, the other {sorted(rival)}")
    gradients = [_size(b) for name, b in rival.items() if name.startswith(PARAMETER)]
    least = SMALLEST_UNIT * max(gradients, default=0.0)
    for name, a in ours.items():
        b = rival[name]
        if a.shape != b.shape:
            raise Refused(f"{name}: {a.shape} here, {b.shape} there")
        yield name, a, b, max(_size(b), least if name.startswith(PARAMETER) else 0.0) or 1.0


def _size(array: np.ndarray) -> float:
    """The root mean square."""
    return math.sqrt(float(np.mean(np.square(array, dtype=np.float64))))


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


def quickest(sides: Sequence[Side], pace: Pace, rounds: int = 3) -> tuple[int, list[float]]:
    """Let sides take turns; return the number of the quickest, and everyone's milliseconds."""
    calls = [side.calls(pace) for side in sides]
    turns = [[side.leg(n, pace) for side, n in zip(sides, calls, strict=True)]
             for _ in range(min(rounds, pace.rounds))]
    times = [median(column) for column in zip(*turns, strict=True)]
    return times.index(min(times)), times


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
