"""Cases of matrix products."""

from __future__ import annotations

from typing import Any

from minidl.kernels.case import Call, Case, Random, Shape


def _matmul(
    setting: str, a: int, b: int, c: int, batch: Shape = (), turned: str = ""
) -> list[Case]:
    """A case for each of the three corners; the arrays of ``turned`` lie transposed in memory."""
    shapes = {"x": (*batch, a, b), "w": (*batch, b, c), "y": (*batch, a, c)}

    def drawn(letter: str, rng: Random, dtype: Any) -> Any:
        shape = shapes[letter]
        if letter not in turned:
            return rng.standard_normal(shape).astype(dtype)
        stored = (*shape[:-2], shape[-1], shape[-2])
        return rng.standard_normal(stored).astype(dtype).swapaxes(-1, -2)

    def corner(first: str, second: str, result: str) -> Case:
        def make(rng: Random, dtype: Any) -> Call:
            return (drawn(first, rng, dtype), drawn(second, rng, dtype)), {}

        return Case(f"matmul_{result}", setting, make)

    return [corner("x", "w", "y"), corner("w", "y", "x"), corner("x", "y", "w")]


_MATMUL = [
    _matmul("less than a pack", 3, 5, 2),
    _matmul("one row", 1, 18, 21),
    _matmul("one column", 23, 17, 1),
    _matmul("one step", 7, 1, 33),
    _matmul("whole packs", 13, 32, 48),
    _matmul("whole packs, turned", 25, 16, 64, turned="xwy"),
    _matmul("odd packs, weights turned", 26, 19, 85, turned="w"),
    _matmul("odd packs, images turned", 14, 35, 20, turned="xy"),
    _matmul("several pieces", 68, 200, 71),
    _matmul("several pieces, turned", 9, 150, 131, turned="xwy"),
    _matmul("a batch", 5, 7, 18, (2, 3)),
    _matmul("a batch, turned", 6, 21, 17, (3,), turned="wy"),
    _matmul("no rows", 0, 3, 4),
    _matmul("no steps", 3, 0, 4),
    _matmul("no matrices", 3, 5, 4, (0,)),
]

CASES = [case for cases in _MATMUL for case in cases]

EXAMPLES = _matmul("example", 100, 128, 96)
