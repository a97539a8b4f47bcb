"""Cells under the microscope, drawn from a seed, with each cell's outline.

A cell is a wobbling closed curve around its centre: in direction t it reaches out
to

    R(t) = r (1 + sum over k of  a[k] cos(k t + phase[k]))

and a pixel at distance d from the centre has the level d / R(t), which is 1 on the
membrane. Where cells crowd, a pixel belongs to the cell of the lowest level, so
that two cells meet along a common border. As in U-Net's training data a border is
one pixel of background, the only thing that keeps the two apart.

The picture imitates phase contrast: a dark or bright membrane, a halo around it,
a nucleus, grains, over an uneven background. Inside and outside have nearly the
same grey, which changes from cell to cell: a threshold finds the halo, not the
cell. Where cells touch, halo and membrane all but vanish.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl.compute.windows import pair
from minidl.data.dataset import ArrayDataset
from minidl.data.drawn.canvas import smooth_noise
from minidl.data.watching import watched
from minidl.errors import ArgumentError

Rng = np.random.Generator

WAVES = 5
"""Number of waves in an outline, the highest k."""
EMPTY_LEVEL = 9.0
"""Level of pixels that no cell reaches."""
HALO_LEVEL = 1.6
"""Level at which a cell's halo has ended."""


def cell_images(
    count: int,
    size: int | tuple[int, int] = (96, 96),
    seed: int = 0,
    radius: float = 11.0,
    crowding: float = 0.6,
    *,
    progress: bool = False,
) -> ArrayDataset:
    """Draw images (N, 1, H, W), labels (N, H, W) as in CELLS, instances (N, H, W).

    Three arrays a row: ``ArrayDataset(*cell_images(8).arrays[:2])`` has the first two.
    Images are float32 in [0, 1]. Labels and instances are int64: 0 for background and
    borders; in the labels 1 for cells, in the instances 1, 2, ... for each cell.

    Parameters
    ----------
    count : int
        N.
    size : int or (H, W)
    seed : int
        Image i depends on the seed and on i, not on how many are drawn.
    radius : float
        Radius of a usual cell, in pixels.
    crowding : float
        0 to 1: the share of the area that cells would cover if none overlapped. Towards
        1, one cell in a thousand is cut in two by its neighbours.
    progress : bool
        Whether to say on standard error how many are drawn, if it takes long.
    """
    height, width = pair("cell_images: size", size, 1)
    if count < 1 or seed < 0:
        raise ArgumentError(
            f"cell_images: count is at least 1 and seed at least 0, received {count} and {seed}"
        )
    if not (radius >= 2 and 0 <= crowding <= 1):
        raise ArgumentError(
            "cell_images: radius is at least 2 and crowding between 0 and 1, "
            f"received {radius} and {crowding}"
        )
    drawn = [
        dish(height, width, radius, crowding, np.random.default_rng([seed, i]))
        for i in watched(range(count), "drawing pictures of cells", progress)
    ]
    images, instances = (np.stack(part) for part in zip(*drawn, strict=True))
    return ArrayDataset(images, (instances > 0).astype(np.int64), instances)


class Cell(NamedTuple):
    """One cell: where its pixels are, and how it looks."""

    box: tuple[slice, slice]
    """Rows and columns of its pixels."""
    level: np.ndarray
    """Level of each pixel of the box, 1 on the cell's membrane."""
    nucleus: np.ndarray
    """Level of each pixel of the box, 1 on the nucleus' membrane."""
    shade: float
    """Brightness of the cell's inside, above the background's."""
    round: bool
    """Whether the cell has rounded up to divide: smaller, and brighter."""


def dish(
    height: int, width: int, radius: float, crowding: float, rng: Rng
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image (1, height, width) and its instances (height, width)."""
    cells = [
        _grown(place, r, height, width, rng)
        for place, r in _places(height, width, radius, crowding, rng)
    ]
    lowest = np.full((height, width), EMPTY_LEVEL, np.float32)
    second = lowest.copy()
    owner = np.zeros((height, width), np.int64)
    for number, cell in enumerate(cells, 1):
        here, below = lowest[cell.box], second[cell.box]
        np.minimum(below, np.maximum(here, cell.level), out=below)
        owner[cell.box][cell.level < here] = number
        np.minimum(here, cell.level, out=here)
    instances = _parted(np.where(lowest < 1, owner, 0))
    # Numbered anew: a cell beyond the edge has no pixel, and no number.
    seen = np.unique(np.append(instances, 0))
    return _picture(cells, lowest, second, owner, rng)[None], np.searchsorted(seen, instances)


def _places(
    height: int, width: int, radius: float, crowding: float, rng: Rng
) -> list[tuple[np.ndarray, float]]:
    """Centres and radii of cells: some anywhere, most beside another, none upon another."""
    places: list[tuple[np.ndarray, float]] = []
    wanted = crowding * (height + radius) * (width + radius) / (np.pi * radius**2)
    for _ in range(int(12 * wanted) + 1):
        if len(places) >= wanted:
            break
        r = radius * rng.uniform(0.75, 1.25)
        if places and rng.random() < 0.75:
            other, size = places[rng.integers(len(places))]
            angle = rng.uniform(0, 2 * np.pi)
            step = 0.95 * (r + size)
            centre = other + step * np.array((np.sin(angle), np.cos(angle)))
        else:
            centre = rng.uniform(-0.3, 1.3, 2) * radius + rng.random(2) * (height, width)
            centre -= 0.5 * radius
        inside = (-0.5 * r < centre).all() and (centre < np.array((height, width)) + 0.5 * r).all()
        if inside and all(np.hypot(*(centre - c)) > 0.85 * (r + s) for c, s in places):
            places.append((centre, r))
    return places


def _grown(centre: np.ndarray, r: float, height: int, width: int, rng: Rng) -> Cell:
    """Draw a cell: its levels on the pixels that it, or its halo, may reach."""
    rounded = bool(rng.random() < 0.12)
    r = r * 0.75 if rounded else r
    k = np.arange(1, WAVES + 1)
    waves = rng.normal(0, 0.02 if rounded else 0.13, WAVES) / np.sqrt(k)
    phases = rng.uniform(0, 2 * np.pi, WAVES)
    far = HALO_LEVEL * r * (1 + float(np.abs(waves).sum()))
    ends = [(max(int(c - far), 0), max(min(int(c + far) + 2, n), 0))
            for c, n in zip(centre, (height, width), strict=True)]
    box = slice(*ends[0]), slice(*ends[1])
    y = np.arange(*ends[0], dtype=np.float32)[:, None] - np.float32(centre[0])
    x = np.arange(*ends[1], dtype=np.float32)[None] - np.float32(centre[1])
    angle = np.arctan2(y, x)
    # The outline as a table: 256 directions are finer than any cell's rim in pixels.
    around = np.linspace(-np.pi, np.pi, 257)
    outline = r * (1 + (waves * np.cos(k * around[:, None] + phases)).sum(1))
    reach = outline.astype(np.float32)[((angle + np.pi) * (256 / (2 * np.pi))).astype(np.int64)]
    level = np.sqrt(x * x + y * y) / reach
    off = rng.normal(0, 0.18 * r, 2)
    flat = rng.uniform(0.7, 1.4)
    nucleus = np.sqrt(((y - off[0]) * flat) ** 2 + ((x - off[1]) / flat) ** 2)
    nucleus /= r * rng.uniform(0.3, 0.45)
    return Cell(box, level, nucleus.astype(np.float32), float(rng.normal(0, 0.05)), rounded)


def _parted(owner: np.ndarray) -> np.ndarray:
    """Put one pixel of background between cells that touch, even at a corner.

    The pixel is the lower cell's, so that two borders never make a wider one.
    """
    height, width = owner.shape
    framed = np.pad(owner, 1)
    around = [
        framed[1 + i : 1 + i + height, 1 + j : 1 + j + width]
        for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j
    ]
    return np.where(np.max(around, axis=0) > owner, 0, owner)


def _picture(
    cells: list[Cell], lowest: np.ndarray, second: np.ndarray, owner: np.ndarray, rng: Rng
) -> np.ndarray:
    """The light that comes through, (height, width), float32 in [0, 1]."""
    height, width = lowest.shape
    grains = smooth_noise(rng, height, width, 2.5)
    folds = smooth_noise(rng, height, width, 6)
    light = 0.45 + 0.07 * smooth_noise(rng, height, width, max(height, width) / 3)
    light += 0.015 * folds
    bright, dark = rng.uniform(0.10, 0.30), rng.uniform(0.08, 0.22)
    # Where a second cell is near, there is no free rim for the light to bend around.
    free = np.clip((second - lowest) * 4, 0.12, 1)
    light += bright * free * np.exp(-(((lowest - 1.16) / 0.10) ** 2))
    light -= dark * np.maximum(free, 0.35) * np.exp(-(((lowest - 0.96) / 0.07) ** 2))
    for number, cell in enumerate(cells, 1):
        mine = (owner[cell.box] == number) & (cell.level < 1)
        inner = np.clip((1 - cell.level) * 6, 0, 1)
        body = cell.shade + 0.05 * folds[cell.box] + 0.045 * grains[cell.box]
        if cell.round:
            body = body + bright * (0.9 - cell.level**2)
        else:
            rim = np.exp(-(((cell.nucleus - 1) / 0.18) ** 2))
            body = body - 0.09 * rim + 0.05 * (cell.nucleus < 0.45)
        light[cell.box] += np.where(mine, inner * body, 0)
    _dirty(light, rng)
    light = light * rng.uniform(0.8, 1.2) + rng.normal(0, 0.03)
    light += rng.uniform(0.012, 0.035) * rng.standard_normal(light.shape, np.float32)
    return np.clip(light, 0, 1).astype(np.float32)


def _dirty(light: np.ndarray, rng: Rng) -> None:
    """Add specks and rings of dust, bright as halos, which are no cells."""
    height, width = light.shape
    y, x = np.arange(height)[:, None], np.arange(width)[None]
    for _ in range(rng.poisson(height * width / 2500)):
        far = np.hypot(y - rng.uniform(0, height), x - rng.uniform(0, width))
        size, sign = rng.uniform(0.8, 2.5), rng.choice([-0.2, 0.25])
        light += sign * np.exp(-(((far - rng.choice([0, size])) / (0.6 * size)) ** 2))
