"""Launches gram.cu and gram_packs.cu: the three corners of the Gram matrix's form, a ladder each.

The names, arguments and results are those of ``minidl.compute.reference.gram``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from minidl.compute.arrays import Array, xp_of
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.launch import lanes_of, launch, launch_each
from minidl.cuda.prepare import ceil_div, empty
from minidl.cuda.source import constants, folder, source_of
from minidl.kernels.product import as_stored, shares, stored
from minidl.kernels.slices import slices_of

NUMBERS = constants(source_of(folder() / "gram.cu"))
"""The numbers that the kernels and their launches share: each stands in gram.cu alone."""

PACKS = source_of(folder() / "gram_packs.cu")

SMALL, LARGE = NUMBERS["SIDE"], NUMBERS["SIDE"] * NUMBERS["EACH"]
"""Rows, and columns, of a block's tile of results: with one result a thread, and in registers."""

SHORTEST = 256
"""The fewest pixels that a slice of corner y's sum has."""


def _many(a: Array, b: Array) -> str:
    few = a.shape[1] <= SMALL and b.shape[1] <= SMALL
    return f"up to {SMALL} channels leave most of a tile of {LARGE} empty" if few else ""


Product = Callable[..., Array]
"""Computes a corner, from the arrays by name, the name and shape of the result, and the sizes."""

# Launching. The grid is flat: tiles, images, and the slices that corner y is cut into.


def _corner_y(kernel: str, a: Array, b: Array, by: Product, **how: int) -> Array:
    (n, i, p), j = a.shape, b.shape[1]
    sizes = {"N": n, "I": i, "J": j, "P": p}
    return by(kernel, {"a": a, "b": b}, "y", (n, i, j), sizes, **how)


def _corner_a(kernel: str, b: Array, y: Array, by: Product, **how: int) -> Array:
    (n, j, p), i = b.shape, y.shape[1]
    sizes = {"N": n, "I": i, "J": j, "P": p}
    return by(kernel, {"b": b, "y": y}, "a", (n, i, p), sizes, **how)


def _corner_b(kernel: str, a: Array, y: Array, by: Product, **how: int) -> Array:
    (n, i, p), j = a.shape, y.shape[2]
    sizes = {"N": n, "I": i, "J": j, "P": p}
    return by(kernel, {"a": a, "y": y}, "b", (n, j, p), sizes, **how)


def _in_blocks(
    kernel: str, given: Mapping[str, Array], name: str, shape: tuple[int, int, int],
    sizes: Mapping[str, int], tile: int = 0,
) -> Array:
    """A product of matrices for each image: a thread computes one result, or a block a tile."""
    array = next(iter(given.values()))
    if 0 in sizes.values():
        return xp_of(array).zeros(shape, array.dtype)
    result = xp_of(array).empty(shape, array.dtype)
    blocks = _tiles(*shape, tile) if tile else ceil_div(result.size, NUMBERS["THREADS"])
    launch(kernel, blocks, NUMBERS["THREADS"], **given, **{name: result}, **sizes)
    return result


def _sliced_y(kernel: str, a: Array, b: Array, tile: int) -> Array:
    xp, (n, i, p), j = xp_of(a), a.shape, b.shape[1]
    if 0 in (n, i, j, p):
        return xp.zeros((n, i, j), a.dtype)
    tiles = _tiles(n, i, j, tile)
    slices, steps = slices_of(p, tiles, SHORTEST, NUMBERS["DEPTH"])
    partial = xp.empty((slices, n, i, j), a.dtype)
    sizes = {"N": n, "I": i, "J": j, "P": p, "slices": slices, "slice": steps}
    launch(kernel, tiles * slices, NUMBERS["THREADS"], a=a, b=b, partial=partial, **sizes)
    if slices == 1:
        return partial[0]
    y = xp.empty((n, i, j), a.dtype)
    sizes = {"slices": slices, "size": y.size}
    launch_each("gram_y_add_slices", y.size, partial=partial, y=y, **sizes)
    return y


def _tiles(images: int, rows: int, columns: int, tile: int) -> int:
    return images * ceil_div(rows, tile) * ceil_div(columns, tile)


def _in_packs(
    kernel: str, given: Mapping[str, Array], name: str, shape: tuple[int, int, int],
    sizes: Mapping[str, int],
) -> Array:
    """Products by packs: read images as they lie, channels last or not, and make one likewise."""
    first = next(iter(given.values()))
    n, rows, columns = shape
    turned = name != "y" and stored(first)[1]
    if turned:
        rows, columns = columns, rows
    result = empty(xp_of(first), (n, rows, columns), first.dtype)
    if 0 in sizes.values():
        result[...] = 0
    else:
        steps = sizes["I"] * sizes["J"] * sizes["P"] // (rows * columns)
        grid, block, *share = shares(PACKS, first, n, rows, columns, steps)
        arrays = {**as_stored(given), name: result}
        if name == "y":
            arrays["same"] = int(given["a"] is given["b"])
        launch(kernel, grid, block, **arrays, **sizes, rows=share[0], packs=share[1])
        if arrays.get("same"):
            _mirror(result, lanes_of(PACKS, result), share[1])
    return result.swapaxes(1, 2) if turned else result


def _mirror(y: Array, lanes: int, widest: int) -> None:
    """Copy what lies below the packs of columns of each thread to the place across from it."""
    columns = y.shape[2]
    packs = ceil_div(columns, lanes)
    panels = ceil_div(packs, widest)
    for panel in range(panels - 1):
        first, last = (packs * at // panels * lanes for at in (panel, panel + 1))
        y[:, first:last, last:] = y[:, last:, first:last].swapaxes(1, 2)


# The ladders.

GRAM_Y = Ladder("gram_y", [
    Rung("naive", _corner_y, by=_in_blocks),
    Rung("packs", _corner_y, by=_in_packs, native=True),
    Rung("shared_tile", _corner_y, by=_in_blocks, tile=SMALL),
    Rung("slices", _sliced_y, tile=SMALL),
    Rung("register_tile", _sliced_y, tile=LARGE, fits=_many),
])

GRAM_A = Ladder("gram_a", [
    Rung("naive", _corner_a, by=_in_blocks),
    Rung("packs", _corner_a, by=_in_packs, native=True),
    Rung("shared_tile", _corner_a, by=_in_blocks, tile=SMALL),
    Rung("register_tile", _corner_a, by=_in_blocks, tile=LARGE),
])

GRAM_B = Ladder("gram_b", [
    Rung("naive", _corner_b, by=_in_blocks),
    Rung("packs", _corner_b, by=_in_packs, native=True),
    Rung("shared_tile", _corner_b, by=_in_blocks, tile=SMALL),
    Rung("register_tile", _corner_b, by=_in_blocks, tile=LARGE),
])


def gram_y(a: Array, b: Array) -> Array:
    """Multiply channels by channels: (N, I, P) * (N, J, P) -> (N, I, J)."""
    return GRAM_Y.climb(a, b)


def gram_a(b: Array, y: Array) -> Array:
    """Sum the gradient of a: (N, J, P) * (N, I, J) -> (N, I, P)."""
    return GRAM_A.climb(b, y)


def gram_b(a: Array, y: Array) -> Array:
    """Sum the gradient of b: (N, I, P) * (N, I, J) -> (N, J, P)."""
    return GRAM_B.climb(a, y)
