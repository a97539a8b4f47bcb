"""How a long sum is cut into slices, a block each, so that few results still fill a GPU."""

from __future__ import annotations

from minidl.cuda.prepare import ceil_div

BLOCKS = 528
"""The number of blocks aimed at: four for each multiprocessor of a large GPU. A constant, so that
the sums, and so the results, do not depend on the GPU."""


def slices_of(steps: int, tiles: int, shortest: int, multiple: int) -> tuple[int, int]:
    """Cut the sum of each of some tiles of results into slices.

    Parameters
    ----------
    steps : int
        Steps of the sum.
    tiles : int
        Blocks that there would be without slices.
    shortest : int
        Steps that a slice has at least, about.
    multiple : int
        What the steps of a slice are a multiple of.

    Returns
    -------
    slices, steps : int
        How many slices there are, and the steps of each; the last one may have fewer.

    Examples
    --------
    >>> slices_of(1000, tiles=132, shortest=256, multiple=16)
    (3, 336)
    """
    wanted = max(min(BLOCKS // tiles, steps // shortest), 1)
    length = ceil_div(ceil_div(steps, wanted), multiple) * multiple
    return ceil_div(steps, length), length
