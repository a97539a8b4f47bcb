"""Samples: small calls of every op, on which the laws are checked.

A sample is one line of code, the shapes it runs on, and how the numbers are
drawn. The line is written against a namespace ``F``, so that the very same line
runs on minidl, on its reference code and (in the tests) on PyTorch::

    Sample("conv2d", "stride 2", lambda F, x, w: F.conv2d(x, w, stride=2),
           shapes=[(2, 3, 7, 6), (4, 3, 3, 2)])

A file here has the samples of the functions that the file of the same name in
``minidl/functional/`` defines. ``minidl check`` and the tests walk over
``all_samples()``; an op without a sample fails the suite.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
"""A function of a generator and a shape that returns random numbers of this shape."""


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw standard normal numbers."""
    return rng.standard_normal(shape)


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw numbers between 0.5 and 1.5."""
    return rng.uniform(0.5, 1.5, shape)


def probabilities(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw numbers between 0.1 and 0.9."""
    return rng.uniform(0.1, 0.9, shape)


def apart(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw distinct numbers, 0.1 apart and away from 0, so that no kink or tie is near."""
    n = int(np.prod(shape))
    return (rng.permutation(n) - n // 2 + 0.5).reshape(shape) * 0.1


@dataclass(frozen=True)
class Sample:
    """One call of one op.

    Attributes
    ----------
    op : str
        The public name, as in ``minidl.functional``.
    setting : str
        What this call varies, in a few words.
    call : function of (F, *tensors)
        The line. ``F`` holds the functions; the tensors are differentiable.
    shapes : sequence of shapes
        One per tensor; pairwise different sizes tell axes apart.
    draw : function, or one function per tensor
        How the values are drawn (float64).
    orders : int
        How often the function can be differentiated where the values are drawn.
    torch : bool or function of (F, *tensors)
        Whether the same line means the same in PyTorch, or the line that does.
    """

    op: str
    setting: str
    call: Callable[..., Any]
    shapes: Sequence[tuple[int, ...]]
    draw: Draw | Sequence[Draw] = field(default=normal)
    orders: int = 2
    torch: bool | Callable[..., Any] = True

    @property
    def name(self) -> str:
        """The op, and the setting in brackets."""
        return f"{self.op} ({self.setting})" if self.setting else self.op

    def inputs(self, seed: int = 0) -> list[np.ndarray]:
        """Draw the arrays that the call runs on, in float64."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        draws = [self.draw] * len(self.shapes) if callable(self.draw) else self.draw
        return [
            np.asarray(draw(rng, tuple(shape)), np.float64)
            for draw, shape in zip(draws, self.shapes, strict=True)
        ]


def all_samples() -> list[Sample]:
    """Return every sample of every family, in the order of the files and the lines."""
    families = sorted(m.name for m in pkgutil.iter_modules(__path__))
    return [
        sample
        for family in families
        for sample in importlib.import_module(f"{__name__}.{family}").SAMPLES
    ]
