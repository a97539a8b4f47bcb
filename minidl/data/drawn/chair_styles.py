"""Chairs of eight styles, built of flat-sided solids; what a style leaves open is drawn.

Metres; x to one side, y to the front, z up, and the floor at z = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from minidl.data.drawn.solids import Colour, Solid, arc, beam, cushion, post

Rng = np.random.Generator

WOODS = np.array([
    (0.72, 0.50, 0.28), (0.45, 0.26, 0.14), (0.85, 0.69, 0.46), (0.32, 0.19, 0.12),
    (0.60, 0.34, 0.20), (0.22, 0.22, 0.23), (0.90, 0.88, 0.83),
])
FABRICS = np.array([
    (0.72, 0.16, 0.15), (0.16, 0.33, 0.60), (0.20, 0.50, 0.30), (0.88, 0.68, 0.18),
    (0.35, 0.35, 0.38), (0.55, 0.25, 0.48), (0.85, 0.45, 0.18), (0.20, 0.56, 0.60),
    (0.80, 0.74, 0.62), (0.15, 0.15, 0.17), (0.50, 0.30, 0.20),
])
METALS = np.array([(0.62, 0.64, 0.67), (0.16, 0.16, 0.18), (0.80, 0.81, 0.83)])
"""Colours of the materials, RGB in [0, 1]."""
ROUND = 14
"""Number of sides of a section that is to look round."""


def pick(rng: Rng, colours: np.ndarray) -> Colour:
    """One of these colours, a little changed."""
    chosen = colours[rng.integers(len(colours))]
    return np.clip(chosen * rng.uniform(0.85, 1.15) + rng.normal(0, 0.02, 3), 0.04, 0.95)


def dining(rng: Rng) -> list[Solid]:
    """A dining chair: four legs, the hind ones rising into a back of rungs, slats or a panel."""
    wood, width, depth = pick(rng, WOODS), rng.uniform(0.20, 0.25), rng.uniform(0.19, 0.23)
    seat, top, lean = rng.uniform(0.42, 0.47), rng.uniform(0.82, 1.08), rng.uniform(0.03, 0.12)
    leg, foot = rng.uniform(0.017, 0.026), rng.uniform(0.6, 1.0)
    x, y = width - leg, depth - leg
    parts = []
    for side in (-x, x):
        for end in (-y, y):
            parts.append(
                post((side, end, 0), (side, end, seat), (leg * foot,) * 2, wood, (leg,) * 2)
            )
        parts.append(post((side, -y, seat), (side, -y - lean, top), (leg, leg), wood))
    soft = rng.random() < 0.5
    cover = pick(rng, FABRICS) if soft else wood
    thick = 0.055 if soft else 0.03
    parts += cushion(width + 0.01, depth + 0.01, seat, thick, cover)

    def behind(z: float) -> float:
        return -y - lean * (z - seat) / (top - seat)

    def rail(z: float, half: float, colour: Colour = wood) -> Solid:
        ends = (-x, behind(z), z), (x, behind(z), z)
        return beam(*ends, (0.012, half), colour)

    kind = rng.integers(3)
    parts.append(rail(top - 0.03, 0.04))
    if kind == 0:
        count = rng.integers(2, 5)
        parts += [rail(z, 0.022) for z in np.linspace(seat + 0.14, top - 0.13, count)]
    elif kind == 1:
        low = seat + 0.10
        parts.append(rail(low, 0.018))
        for place in np.linspace(-x, x, rng.integers(5, 8))[1:-1]:
            ends = (place, behind(low), low), (place, behind(top - 0.05), top - 0.05)
            parts.append(post(*ends, (0.014, 0.009), wood))
    else:
        low, high = seat + rng.uniform(0.08, 0.2), top - 0.02
        parts.append(post((0, behind(low), low), (0, behind(high), high), (x, 0.02), cover))
    if rng.random() < 0.5:
        z = rng.uniform(0.12, 0.2)
        parts += [beam((s, -y, z), (s, y, z), (0.010, 0.013), wood) for s in (-x, x)]
        parts.append(beam((-x, 0, z), (x, 0, z), (0.010, 0.013), wood))
    return parts


def windsor(rng: Rng) -> list[Solid]:
    """A Windsor chair: splayed turned legs, a rounded seat, a bow filled with thin spindles."""
    wood, width = pick(rng, WOODS), rng.uniform(0.21, 0.24)
    seat, rise, splay = rng.uniform(0.42, 0.46), rng.uniform(0.42, 0.6), rng.uniform(0.04, 0.09)
    parts = [post((0, 0, seat), (0, 0, seat + 0.035), (width,) * 2, wood, (width + 0.02,) * 2,
                  ROUND)]
    for sx in (-1, 1):
        for sy in (-1, 1):
            top = np.array((sx, sy, 0)) * 0.62 * width + (0, 0, seat)
            foot = top + np.array((sx * splay, sy * splay, -seat))
            parts.append(post(foot, top, (0.013,) * 2, wood, (0.020,) * 2, 8))
    z = 0.42 * seat
    reach = 0.62 * width + splay * (1 - z / seat)
    parts += [beam((s, -reach, z), (s, reach, z), (0.010,) * 2, wood, 6) for s in (-reach, reach)]
    parts.append(beam((-reach, 0, z), (reach, 0, z), (0.010,) * 2, wood, 6))
    bend, lean = np.linspace(-1, 1, 10), rng.uniform(0.08, 0.18)
    square = rng.uniform(2.2, 5.0)
    height = rise * (1 - np.abs(bend) ** square) ** (1 / square)
    behind = 0.5 * width + 0.42 * width * np.cos(bend * 1.3) + lean * height / rise
    bow = np.stack([1.02 * width * bend, -behind, seat + 0.03 + height], 1)
    parts += [beam(a, b, (0.014,) * 2, wood, 6) for a, b in pairwise(bow)]
    for at in np.linspace(-0.72, 0.72, rng.integers(5, 9)):
        end = [np.interp(at, bend, column) for column in bow.T]
        start = (0.85 * at * width, -0.5 * width - 0.38 * width * np.cos(at * 1.3), seat + 0.03)
        parts.append(post(start, end, (0.007,) * 2, wood, None, 5))
    return parts


def stool(rng: Rng) -> list[Solid]:
    """A stool: three or four legs, a round seat, and a ring to put the feet on; no back."""
    wood, seat = pick(rng, WOODS), rng.uniform(0.44, 0.78)
    radius, splay = rng.uniform(0.16, 0.20), rng.uniform(0.02, 0.10)
    cover = pick(rng, FABRICS) if rng.random() < 0.6 else wood
    thick = rng.uniform(0.03, 0.08)
    parts = [
        post((0, 0, seat), (0, 0, seat + 0.7 * thick), (radius,) * 2, cover, None, ROUND + 4),
        post((0, 0, seat + 0.7 * thick), (0, 0, seat + thick), (radius,) * 2, cover,
             (radius - 0.3 * thick,) * 2, ROUND + 4),
    ]
    legs = rng.integers(3, 5)
    turns = 2 * np.pi * (np.arange(legs) + 0.5) / legs
    out = np.stack([np.sin(turns), np.cos(turns), 0 * turns], 1)
    thin = rng.uniform(0.013, 0.02)
    for way in out:
        foot, top = way * (0.75 * radius + splay), way * 0.75 * radius + (0, 0, seat)
        parts.append(post(foot, top, (thin,) * 2, wood, None, 6))
    z = rng.uniform(0.25, 0.4) * seat
    ring = out * (0.75 * radius + splay * (1 - z / seat)) + (0, 0, z)
    parts += [beam(ring[i - 1], ring[i], (0.009, 0.011), wood, 6) for i in range(legs)]
    return parts


def armchair(rng: Rng) -> list[Solid]:
    """An armchair, upholstered all over, on short feet."""
    cover, wood = pick(rng, FABRICS), pick(rng, WOODS)
    width, depth = rng.uniform(0.27, 0.34), rng.uniform(0.32, 0.38)
    feet, seat = rng.uniform(0.06, 0.14), rng.uniform(0.27, 0.31)
    arm, tall = rng.uniform(0.05, 0.09), rng.uniform(0.54, 0.64)
    top, lean, thick = rng.uniform(0.78, 1.0), rng.uniform(0.04, 0.12), rng.uniform(0.07, 0.10)
    pillow = np.clip(cover * 1.12, 0, 0.95)
    parts = [post((0, 0, feet), (0, 0, seat), (width, depth), cover)]
    parts += cushion(width, depth - thick, seat, 0.14, pillow, y=thick + 0.01)
    for side in (-1, 1):
        x, out = side * (width + arm), (arm, depth)
        parts.append(post((x, 0, feet), (x, 0, tall - 0.03), out, cover))
        parts.append(post((x, 0, tall - 0.03), (x, 0, tall), out, cover,
                          (arm - 0.025, depth - 0.02)))
        for y in (-depth + 0.04, depth - 0.04):
            parts.append(post((x, y, 0), (x, y, feet), (0.018,) * 2, wood, (0.028,) * 2))
    back = -depth + thick
    wide = (width + (arm if rng.random() < 0.5 else 0), thick)
    end = (0, back - lean, top - 0.04)
    parts.append(post((0, back, feet), end, wide, cover))
    parts.append(post(end, (0, back - lean, top), wide, cover, (wide[0] - 0.03, thick - 0.03)))
    return parts


def swivel(rng: Rng) -> list[Solid]:
    """An office chair: five arms on castors, a column, a seat, and a back on a bracket."""
    metal, cover = pick(rng, METALS), pick(rng, FABRICS)
    seat, width, depth = rng.uniform(0.44, 0.5), rng.uniform(0.22, 0.26), rng.uniform(0.21, 0.25)
    black = np.array((0.10, 0.10, 0.11))
    parts = []
    for turn in 2 * np.pi * (np.arange(5) + rng.random()) / 5:
        way = np.array((np.sin(turn), np.cos(turn), 0))
        ends = way * 0.03 + (0, 0, 0.12), way * 0.29 + (0, 0, 0.075)
        parts.append(beam(*ends, (0.022, 0.016), metal))
        wheel = way * 0.28 + (0, 0, 0.035)
        across = np.array((way[1], -way[0], 0)) * 0.02
        parts.append(beam(wheel - across, wheel + across, (0.035,) * 2, black, 10))
    parts.append(post((0, 0, 0.08), (0, 0, 0.22), (0.036,) * 2, black, None, 8))
    parts.append(post((0, 0, 0.2), (0, 0, seat), (0.022,) * 2, metal, None, 8))
    parts.append(post((0, 0, seat - 0.03), (0, 0, seat), (0.12, 0.12), black))
    parts += cushion(width, depth, seat, 0.08, cover)
    low, top = seat + rng.uniform(0.12, 0.22), seat + rng.uniform(0.45, 0.72)
    lean, half = rng.uniform(0.04, 0.1), rng.uniform(0.18, 0.24)
    y = -depth - 0.02
    parts.append(beam((0, -0.1, seat - 0.01), (0, y - 0.02, seat - 0.01), (0.03, 0.012), black))
    parts.append(beam((0, y - 0.02, seat - 0.02), (0, y - 0.035, low + 0.12), (0.03, 0.012), black))
    middle, wide = (0, y - 0.3 * lean, (low + top) / 2), (half, 0.03)
    parts.append(post((0, y, low), middle, (0.85 * half, 0.025), cover, wide))
    parts.append(post(middle, (0, y - lean, top), wide, cover, (0.8 * half, 0.02)))
    if rng.random() < 0.6:
        for x in (-width - 0.03, width + 0.03):
            parts.append(post((x, -0.02, seat), (x, -0.02, seat + 0.2), (0.014, 0.03), black))
            parts.append(beam((x, -0.16, seat + 0.21), (x, 0.13, seat + 0.21), (0.03, 0.015),
                              black))
    return parts


def bench(rng: Rng) -> list[Solid]:
    """A wide bench of boards on two side frames, as in a park."""
    wood = pick(rng, WOODS)
    frame = pick(rng, METALS) if rng.random() < 0.5 else wood
    width, depth, seat = rng.uniform(0.42, 0.68), rng.uniform(0.2, 0.24), rng.uniform(0.4, 0.45)
    top, lean = rng.uniform(0.74, 0.92), rng.uniform(0.06, 0.14)
    boards = rng.integers(3, 6)
    step = 2 * depth / boards
    parts = [
        beam((-width, y, seat), (width, y, seat), (0.42 * step, 0.012), wood)
        for y in -depth + step * (np.arange(boards) + 0.5)
    ]
    for z in np.linspace(seat + 0.14, top - 0.04, rng.integers(2, 4)):
        y = -depth - lean * (z - seat) / (top - seat)
        parts.append(beam((-width, y, z), (width, y, z), (0.011, 0.04), wood))
    arms = rng.random() < 0.6
    for x in (-width + 0.07, width - 0.07):
        parts.append(post((x, -depth + 0.02, 0), (x, -depth, seat), (0.022, 0.025), frame))
        parts.append(post((x, -depth, seat), (x, -depth - lean - 0.01, top), (0.022, 0.016), frame))
        high = seat + 0.2 if arms else seat
        parts.append(post((x, depth - 0.03, 0), (x, depth - 0.03, high), (0.022, 0.025), frame))
        parts.append(beam((x, -depth, seat - 0.03), (x, depth, seat - 0.03), (0.02, 0.02), frame))
        if arms:
            y = -depth - lean * 0.2 / (top - seat)
            parts.append(beam((x, y, high), (x, depth + 0.02, high), (0.03, 0.013), frame))
    return parts


def cantilever(rng: Rng) -> list[Solid]:
    """A chair of bent steel tube: runners on the floor, up in front, back under the seat, up."""
    metal, cover = pick(rng, METALS), pick(rng, FABRICS)
    width, depth = rng.uniform(0.21, 0.25), rng.uniform(0.21, 0.25)
    seat, top, lean = rng.uniform(0.42, 0.46), rng.uniform(0.78, 0.95), rng.uniform(0.05, 0.12)
    tube = (rng.uniform(0.012, 0.016),) * 2
    path = np.array([
        (-depth, 0.015), (depth - 0.04, 0.015), (depth, 0.06), (depth, seat - 0.05),
        (depth - 0.04, seat), (-depth + 0.03, seat - 0.01), (-depth - 0.01, seat + 0.04),
        (-depth - lean, top),
    ])
    parts = []
    for x in (-width, width):
        line = [(x, y, z) for y, z in path]
        parts += [beam(a, b, tube, metal, 6) for a, b in pairwise(line)]
    parts.append(beam((-width, -depth, 0.015), (width, -depth, 0.015), tube, metal, 6))
    parts += cushion(width - 0.01, depth - 0.02, seat, rng.uniform(0.03, 0.06), cover)
    low, high = seat + rng.uniform(0.12, 0.2), top - 0.01
    y = [-depth - 0.01 - (lean - 0.01) * (z - seat - 0.04) / (top - seat - 0.04)
         for z in (low, high)]
    ends = (0, y[0] + 0.012, low), (0, y[1] + 0.012, high)
    parts.append(post(*ends, (width - 0.008, 0.012), cover))
    if rng.random() < 0.4:
        high = seat + 0.21
        for x in (-width, width):
            parts.append(beam((x, -depth - 0.04, high), (x, depth - 0.06, high), tube, metal, 6))
            parts.append(beam((x, depth - 0.06, high), (x, depth - 0.02, seat), tube, metal, 6))
    return parts


def tulip(rng: Rng) -> list[Solid]:
    """A tulip chair: one foot like a trumpet, and a shell that holds a round pillow."""
    shell = pick(rng, WOODS[-2:] if rng.random() < 0.6 else FABRICS)
    cover = pick(rng, FABRICS)
    seat, radius, foot = rng.uniform(0.4, 0.46), rng.uniform(0.2, 0.24), rng.uniform(0.2, 0.25)
    stem = [(0, foot), (0.018, foot * 0.9), (0.05, 0.09), (0.12, 0.04), (0.24, 0.026),
            (seat - 0.10, 0.045), (seat - 0.04, 0.75 * radius), (seat, radius)]
    parts = [
        post((0, 0, a), (0, 0, b), (ra,) * 2, shell, (rb,) * 2, ROUND + 2)
        for (a, ra), (b, rb) in pairwise(stem)
    ]
    parts.append(post((0, 0, seat), (0, 0, seat + 0.05), (radius - 0.01,) * 2, cover,
                      (radius - 0.03,) * 2, ROUND + 2))
    reach, rise = rng.uniform(0.9, 1.3), rng.uniform(0.33, 0.46)
    turns = np.linspace(-reach, reach, 7)
    parts += arc(radius - 0.01, turns, (seat - 0.005, seat + rise), 0.02, shell,
                 rng.uniform(0.03, 0.09))
    if rng.random() < 0.7:  # sides to rest the arms on
        for side in (-1, 1):
            low = np.linspace(reach, reach + 0.8, 4) * side
            parts += arc(radius - 0.01, low, (seat - 0.005, seat + 0.5 * rise), 0.02, shell, 0.04)
    return parts


STYLES: dict[str, Callable[[Rng], list[Solid]]] = {
    "dining": dining, "armchair": armchair, "stool": stool, "swivel": swivel,
    "bench": bench, "windsor": windsor, "cantilever": cantilever, "tulip": tulip,
}
