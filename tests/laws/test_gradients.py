"""Law: every derivative equals a finite difference that NumPy computes in float64."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl.check import compare_sample, gradcheck, measure_sample
from minidl.samples import Sample, all_samples

SAMPLES = all_samples()
CASES = [(s, order) for s in SAMPLES for order in range(1, s.orders + 1)]


@pytest.mark.parametrize(
    ("sample", "order"), CASES, ids=[f"{s.name}, order {order}" for s, order in CASES]
)
def test_derivative_in_both_dtypes_equals_the_finite_difference(sample: Sample, order: int):
    measured = measure_sample(sample, order)
    for dtype in ("float64", "float32"):
        assert compare_sample(measured, dtype).elements > 0


THIRD = [s for s in SAMPLES if s.op in
         {"conv2d", "conv_transpose2d", "matmul", "mul", "exp", "sigmoid", "layer_norm", "softmax"}]


@pytest.mark.parametrize("sample", THIRD, ids=[s.name for s in THIRD])
def test_third_derivative_equals_the_finite_difference_of_the_second(sample: Sample):
    """A function that walks back twice, and the check that walks back through it."""

    def second(*inputs):
        with minidl.enable_grad():
            live = [x if x.requires_grad else minidl.tensor(x, requires_grad=True) for x in inputs]
            value = sample.call(F, *live)
            for _ in range(2):
                found = minidl.grad((value * value).sum(), live, create_graph=True)
                value = sum(((g * g * g).sum() for g in found), minidl.tensor(np.zeros(())))
            return value

    small = [a * 0.3 for a in sample.inputs()]
    assert gradcheck(second, small, rtol=1e-6).elements > 0
