"""Convex solids with flat sides, of which chairs are built.

Metres; x to one side, y to the front, z up, and the floor at z = 0. Two kinds of solids are
nearly all there is:

    post   between two places, its sections horizontal: legs, seats, backs that lean, discs
    beam   between two places, its sections square to its length: rails, tubes, spindles

A section is a rectangle or, of more than four sides, close to an ellipse.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

Colour = np.ndarray
Place = Sequence[float] | np.ndarray


class Solid(NamedTuple):
    """A convex body: the points x with normals @ x <= offsets, of one colour."""

    corners: np.ndarray
    """Corners, (V, 3), in metres."""
    normals: np.ndarray
    """Normals of the faces, (F, 3), of length 1, pointing outwards."""
    offsets: np.ndarray
    """Distances of the faces' planes from the origin, (F,), along their normals."""
    colour: Colour


def hull(low: np.ndarray, high: np.ndarray, colour: Colour) -> Solid:
    """The solid between two parallel polygons (K, 3) whose sides are parallel too."""
    corners = np.concatenate([low, high])
    along = np.roll(low, -1, 0) - low
    sides = np.cross(along, high - low)
    cap = np.cross(along[0], along[1])
    normals = np.concatenate([sides, [cap, cap]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    on_face = np.concatenate([low, [low[0], high[0]]])
    # Whichever way round the polygons run, the middle is inside.
    outwards = np.einsum("fi,fi->f", normals, on_face - corners.mean(0))
    normals *= np.where(outwards < 0, -1.0, 1.0)[:, None]
    return Solid(corners, normals, np.einsum("fi,fi->f", normals, on_face), colour)


def section(sides: int) -> np.ndarray:
    """The outline of a section, (sides, 2), as wide as from -1 to 1."""
    if sides == 4:
        return np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)], float)
    turns = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    return np.stack([np.cos(turns), np.sin(turns)], 1)


def post(
    a: Place, b: Place, half: Place, colour: Colour, top: Place | None = None, sides: int = 4
) -> Solid:
    """A post from a up to b; ``half`` its width and depth at a, ``top`` at b if that differs."""
    outline = section(sides)
    ends = [
        np.concatenate([place[:2] + outline * size, np.full((sides, 1), place[2])], 1)
        for place, size in ((np.asarray(a), np.asarray(half)),
                            (np.asarray(b), np.asarray(half if top is None else top)))
    ]
    return hull(ends[0], ends[1], colour)


def beam(a: Place, b: Place, half: Place, colour: Colour, sides: int = 4) -> Solid:
    """A beam from a to b; ``half`` its thickness sideways, and across (upwards in a rail)."""
    start, end = np.asarray(a, float), np.asarray(b, float)
    ahead = (end - start) / np.linalg.norm(end - start)
    side = np.cross(ahead, (0, 0, 1) if abs(ahead[2]) < 0.9 else (0, 1, 0))
    side /= np.linalg.norm(side)
    outline = section(sides) * half
    offset = outline[:, :1] * side + outline[:, 1:] * np.cross(side, ahead)
    return hull(start + offset, end + offset, colour)


def arc(
    radius: float, turns: np.ndarray, z: tuple[float, float], thick: float, colour: Colour,
    lean: float = 0.0, y: float = 0.0,
) -> list[Solid]:
    """An upright shell around (0, y), of flat pieces between angles from the back."""
    pieces = []
    for left, right in pairwise(turns):
        ends = []
        for height, r in ((z[0], radius), (z[1], radius + lean)):
            loop = [(left, r), (right, r), (right, r + thick), (left, r + thick)]
            ends.append(np.array([
                (reach * np.sin(turn), y - reach * np.cos(turn), height) for turn, reach in loop
            ]))
        pieces.append(hull(ends[0], ends[1], colour))
    return pieces


def cushion(width: float, depth: float, z: float, thick: float, colour: Colour,
            y: float = 0.0) -> list[Solid]:
    """A flat pillow, half ``width`` and ``depth``, whose edge is rounded by a slope."""
    soft = 0.4 * thick
    edge = (width, depth)
    inner = (width - soft, depth - soft)
    middle = z + thick - soft
    return [
        post((0, y, z), (0, y, middle), edge, colour),
        post((0, y, middle), (0, y, z + thick), edge, colour, inner),
    ]
