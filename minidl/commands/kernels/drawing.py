"""Pictures of a launch as SVG: its blocks, a block's warps, who writes what, what fits.

Colours come from page.css by class, so that they follow the page's light or dark.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import ceil, prod

import numpy as np

from minidl.commands.kernels.launches import Owners
from minidl.commands.kernels.occupancy import Occupancy
from minidl.cuda.prepare import WARP, Launch

CELL, GAP = 9, 2
"""The side of a picture's squares, and the gap between them, in its own units."""

SHOWN = 288
"""The most blocks that the picture of a grid shows."""

FOLD = 64
"""Columns in which an array of one row, or of one column, is drawn."""

SIDE = 16
"""Warps in a row of the picture of a multiprocessor."""

WIDEST, HIGHEST = 48, 30
"""The most cells across and down in the picture of an array: larger ones are sampled."""


def grid(launch: Launch) -> str:
    """The blocks of a launch, as many as there is room for; the first in another colour."""
    blocks, (x, y, _) = prod(launch.grid), launch.grid
    columns = min(x, 24) if y > 1 else min(blocks, max(4, min(24, ceil((2 * blocks) ** 0.5))))
    shown = min(blocks, SHOWN)
    cells = (
        _cell(b % columns, b // columns, "first" if b == 0 else "quiet", f"block {b}")
        for b in range(shown)
    )
    return _svg(f"{blocks:,} blocks", columns, ceil(shown / columns), cells)


def block(launch: Launch) -> str:
    """The threads of a block: a row is a warp, a square a thread."""
    threads = prod(launch.block)
    warps = ceil(threads / WARP)

    def rows() -> Iterator[str]:
        for warp in range(warps):
            last = min((warp + 1) * WARP, threads)
            inside = (
                _cell(t % WARP, warp, "first" if warp == 0 else "quiet")
                for t in range(warp * WARP, last)
            )
            title = f"warp {warp}: threads {warp * WARP} to {last - 1}"
            yield f"<g><title>{title}</title>{''.join(inside)}</g>"

    return _svg(f"{threads} threads in {warps} warps", WARP, warps, rows())


def written(owners: Owners) -> str:
    """An array, each element in the colour of the block that writes it."""
    picture = _folded(owners.owner)
    rows = _sampled(picture.shape[0], HIGHEST)
    columns = _sampled(picture.shape[1], WIDEST)
    picture = picture[np.ix_(rows, columns)]

    def runs() -> Iterator[str]:
        for row, owner in enumerate(picture):
            edges = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), len(owner)]
            for start, end in pairwise(edges):
                b = int(owner[start])
                if b >= -1:
                    title = f"block {b}" if b >= 0 else "a later block"
                    yield _cell(start, row, _tone(b), title, end - start, gap=0)

    label = f"{owners.array} {owners.shape}, by the block that writes it"
    return _svg(label, len(columns), len(rows), runs(), gap=0)


def _folded(owner: np.ndarray) -> np.ndarray:
    """An array of one row or column as several, -2 where there is nothing."""
    if min(owner.shape) > 1 or owner.size <= FOLD:
        return owner
    flat = np.full(-(-owner.size // FOLD) * FOLD, -2)
    flat[: owner.size] = owner.reshape(-1)
    return flat.reshape(-1, FOLD)


def _sampled(size: int, most: int) -> np.ndarray:
    return np.linspace(0, size - 1, min(size, most)).round().astype(int)


def _tone(b: int) -> str:
    return "empty" if b < 0 else "first" if b == 0 else f"tone{b % 3}"


def multiprocessor(fits: Occupancy) -> str:
    """The places for warps of a multiprocessor, those of one block in one colour."""
    used = fits.blocks * fits.warps
    cells = (
        _cell(
            slot % SIDE,
            slot // SIDE,
            _tone(slot // fits.warps) if slot < used else "empty",
            f"a warp of block {slot // fits.warps}" if slot < used else "free",
        )
        for slot in range(fits.most)
    )
    return _svg(f"{used} of {fits.most} warps", SIDE, ceil(fits.most / SIDE), cells)


def request(moved: float, ideal: float) -> str:
    """What one request of a warp moves: so many squares needed, so many in excess."""
    needed = round(min(moved, ideal), 2)
    whole = ceil(max(moved, needed) - 1e-9)
    cells = (
        _cell(i % 32, i // 32, "quiet" if i < needed else "excess", size=min(1.0, moved - i))
        for i in range(whole)
    )
    return _svg(f"{moved:.2f} moved, {ideal:.2f} needed", min(whole, 32), ceil(whole / 32), cells)


# --- squares ---


def _cell(
    column: int, row: int, tone: str, title: str = "", width: int = 1, gap: int = GAP,
    size: float = 1.0,
) -> str:
    step = CELL + gap
    wide = (width * step - gap) * size
    said = f"<title>{html.escape(title)}</title>" if title else ""
    round_ = f' rx="{gap}"' if gap else ""
    place = f'x="{column * step}" y="{row * step}" width="{wide:.4g}" height="{CELL}"{round_}'
    return f'<rect class="{tone}" {place}>{said}</rect>'


def _svg(label: str, columns: int, rows: int, parts: Iterable[str], gap: int = GAP) -> str:
    step = CELL + gap
    width, height = max(columns * step - gap, 1), max(rows * step - gap, 1)
    crisp = "" if gap else ' shape-rendering="crispEdges"'
    return (
        f'<svg role="img"{crisp} aria-label="{html.escape(label)}" viewBox="0 0 {width} {height}" '
        f'style="width:{width / 16:.4g}rem">{"".join(parts)}</svg>'
    )
