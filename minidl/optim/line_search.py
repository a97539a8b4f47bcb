"""A line search for the strong Wolfe conditions.

A step t along a direction is good enough when the function has fallen by a share
of what its slope promised, and the slope has flattened:

    f(t) <= f(0) + c1 t f'(0)        and        |f'(t)| <= c2 |f'(0)|

First steps grow until such a point must lie between two of them; then the
interval between these shrinks around it.

Source: Nocedal & Wright 2006, "Numerical optimization", algorithms 3.5 and 3.6,
and equation 3.59 for the cubic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Point(NamedTuple):
    """A step t, and there the function, its gradient, and its slope along the direction."""

    t: float
    value: float
    gradient: Any
    slope: float


def cubic_minimum(a: Point, b: Point, low: float, high: float) -> float:
    """The step in [low, high] at which the cubic through two points and slopes is least."""
    if a.t > b.t:
        a, b = b, a
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    d2 = math.sqrt(square)
    bend = b.slope - a.slope + 2 * d2
    if bend == 0:  # a straight line, which is least at one of the ends
        return high if a.slope < 0 else low
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / bend)
    return min(max(t, low), high) if math.isfinite(t) else (low + high) / 2


def strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    t: float,
    scale: float,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance: float = 1e-9,
    limit: int = 25,
) -> tuple[Point, int]:
    """Find a point that satisfies the conditions; return it and the evaluations spent.

    Parameters
    ----------
    evaluate : callable
        ``evaluate(t)``, the Point at step t.
    start : Point
        The point at t = 0; its slope is negative.
    t : float
        The first step to try.
    scale : float
        Largest element of the direction: steps below tolerance / scale do not count.
    limit : int
        Evaluations that may be spent after the first; then the best point so far is taken.

    Notes
    -----
    Of two points of equal value the one found first along the line counts as the lower, and the
    second try need not fall below the first: both as in PyTorch, so that its steps come out. A
    value that is no number counts as no fall.
    """
    before, here = start, evaluate(t)
    spent = 1
    while spent <= limit:
        fell = here.value <= start.value + c1 * here.t * start.slope
        if not fell or (spent > 2 and here.value >= before.value):
            break
        if abs(here.slope) <= -c2 * start.slope:
            return here, spent
        if here.slope >= 0:
            break
        low, high = here.t + 0.01 * (here.t - before.t), here.t * 10
        step = cubic_minimum(before, here, low, high)
        before, here = here, evaluate(step)
        spent += 1
    else:
        return (here if here.value < start.value else start), spent
    return _zoom(evaluate, start, [before, here], scale, c1, c2, tolerance, limit, spent)


def _zoom(
    evaluate: Callable[[float], Point],
    start: Point,
    ends: list[Point],
    scale: float,
    c1: float,
    c2: float,
    tolerance: float,
    limit: int,
    spent: int,
) -> tuple[Point, int]:
    """Shrink the interval between two points until one inside is good enough."""
    best = _lower(ends)
    stuck = False
    while spent <= limit and abs(ends[0].t - ends[1].t) * scale >= tolerance:
        if ends[0].t == ends[1].t:  # rounding has left nothing in between
            break
        low, high = sorted(end.t for end in ends)
        t = cubic_minimum(ends[0], ends[1], low, high)
        # Twice in a row too close to an end is no progress: step inside by a tenth.
        margin = 0.1 * (high - low)
        if min(high - t, t - low) < margin:
            if stuck or t >= high or t <= low:
                t = high - margin if abs(t - high) < abs(t - low) else low + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        here = evaluate(t)
        spent += 1
        fell = here.value <= start.value + c1 * t * start.slope
        if not (fell and here.value < ends[best].value):
            ends[1 - best] = here
            best = _lower(ends)
            continue
        if abs(here.slope) <= -c2 * start.slope:
            return here, spent
        if here.slope * (ends[1 - best].t - ends[best].t) >= 0:
            ends[1 - best] = ends[best]
        ends[best] = here
    return ends[best], spent


def _lower(ends: list[Point]) -> int:
    """The number of the lower of two points; of equals, the first."""
    return int(ends[1].value < ends[0].value)
