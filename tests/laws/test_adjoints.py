"""Law: <A x, y> = <x, A* y>, and the three corners of a form give one number.

The maps are found by watching which ones the samples apply.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl.autograd import Op
from minidl.check import adjoint_check, form_check
from minidl.functional.pointwise import Cast
from minidl.kinds import Bilinear, Corner, Linear, Transposed
from minidl.samples import all_samples

Seen = list[tuple[Op, tuple[tuple[int, ...], ...]]]


@contextmanager
def watched() -> Iterator[Seen]:
    """Every op that is applied in the block, with the shapes of its inputs."""
    seen: Seen = []
    original = Op.__call__

    def call(self, *inputs):
        seen.append((self, tuple(minidl.as_tensor(x).shape for x in inputs)))
        return original(self, *inputs)

    Op.__call__ = call
    try:
        yield seen
    finally:
        Op.__call__ = original


def everything_applied() -> Seen:
    with minidl.use_kernels("numpy"), watched() as seen:  # tests are collected: nothing is built
        for sample in all_samples():
            inputs = [minidl.tensor(a, requires_grad=True) for a in sample.inputs()]
            minidl.grad(sample.call(F, *inputs).sum(), inputs, allow_unused=True)
    return seen


APPLIED = everything_applied()
LINEAR = [
    (op, shapes[0]) for op, shapes in APPLIED
    if isinstance(op, Linear) and not isinstance(op, Cast)
]
CORNERS = [(op, shapes) for op, shapes in APPLIED if isinstance(op, Corner)]
LINEAR_KINDS = sorted({type(op).__name__ for op, _ in LINEAR})
FORM_KINDS = sorted({type(op.form).__name__ for op, _ in CORNERS})


def subclasses(kind: type) -> set[str]:
    found = set(kind.__subclasses__())
    return {c.__name__ for c in found} | {n for c in found for n in subclasses(c)}


@pytest.mark.parametrize("name", LINEAR_KINDS)
def test_adjoint_is_the_adjoint(name: str):
    for op, shape in LINEAR:
        if type(op).__name__ == name:
            assert adjoint_check(op, shape=shape) < 1e-12


def test_a_cast_is_its_own_adjoint_but_for_rounding():
    double, single = np.dtype(np.float64), np.dtype(np.float32)
    assert adjoint_check(Cast(double, single), shape=(5, 3), tolerance=1e-6) < 1e-6


@pytest.mark.parametrize("name", FORM_KINDS)
def test_three_corners_agree(name: str):
    rng = np.random.default_rng(0)
    for op, shapes in CORNERS:
        if type(op.form).__name__ == name:
            named = {n: rng.standard_normal(s) for n, s in zip(op.operands, shapes, strict=True)}
            third = getattr(op.form, f"corner_{op.letter}")(*(named[n] for n in op.operands))
            named[op.letter] = rng.standard_normal(third.shape)
            assert form_check(op.form, [named[n] for n in op.form.letters]) < 1e-12


def test_every_linear_op_and_every_form_was_seen():
    # Transposed is the adjoint of the others; Move needs a second device.
    assert subclasses(Linear) - set(LINEAR_KINDS) <= {"Cast", "Move", "Transposed"}
    assert subclasses(Bilinear) == set(FORM_KINDS)
    assert issubclass(Transposed, Linear)
