"""Law: values, gradients and second gradients equal PyTorch's, at float64 to 1e-9."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl.samples import Sample, all_samples
from tests.golden.make_golden import TARGET
from tests.laws.pytorch import COMPARABLE, answers, second_answers, weights_of

IDS = [s.name for s in COMPARABLE]
OURS_ALONE = {"dropout", "dropout2d", "fixed_unpool2d", "total_variation"}
"""Ops that PyTorch lacks, or whose random numbers differ."""


def ours(sample: Sample) -> list[np.ndarray]:
    inputs = [minidl.tensor(a, requires_grad=True) for a in sample.inputs()]
    value = sample.call(F, *inputs)
    found = minidl.grad(value, inputs, weights_of(value.shape), allow_unused=True)
    zeros = [
        np.zeros(x.shape) if g is None else g.data for x, g in zip(inputs, found, strict=True)
    ]
    return [value.data, *zeros]


@cache
def golden() -> dict[str, np.ndarray]:
    with np.load(TARGET) as file:
        return dict(file)


@pytest.mark.parametrize("sample", COMPARABLE, ids=IDS)
def test_values_and_gradients_equal_the_golden_ones(sample: Sample):
    for i, mine in enumerate(ours(sample)):
        name = f"{sample.name}|{i}"
        assert name in golden(), "run `python -m tests.golden.make_golden` with PyTorch"
        np.testing.assert_allclose(mine, golden()[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sample", COMPARABLE, ids=IDS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_values_and_gradients_equal_pytorchs_here(sample: Sample):
    pytest.importorskip("torch", reason="PyTorch is not installed; the golden values were compared")
    for mine, theirs in zip(ours(sample), answers(sample), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9)


def our_second(sample: Sample, weights: list[np.ndarray]) -> list[np.ndarray]:
    inputs = [minidl.tensor(a, requires_grad=True) for a in sample.inputs()]
    value = sample.call(F, *inputs)
    v = minidl.tensor(weights_of(value.shape), requires_grad=True)
    first = minidl.grad(value, inputs, v, create_graph=True, allow_unused=True)
    ends = [(g, w) for g, w in zip(first, weights, strict=True) if g is not None]
    second = minidl.grad(
        [g for g, _ in ends], [*inputs, v], [w for _, w in ends], allow_unused=True
    )
    return [
        np.zeros(x.shape) if g is None else g.data
        for x, g in zip([*inputs, v], second, strict=True)
    ]


TWICE = [s for s in COMPARABLE if s.orders >= 2]


@pytest.mark.parametrize("sample", TWICE, ids=[s.name for s in TWICE])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_second_gradients_equal_pytorchs_here(sample: Sample):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(2)
    weights = [rng.standard_normal(a.shape) for a in sample.inputs()]
    for mine, theirs in zip(
        our_second(sample, weights), second_answers(sample, weights), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9)


def test_golden_file_holds_exactly_the_comparable_samples():
    expected = {f"{s.name}|{i}" for s in COMPARABLE for i in range(1 + len(s.shapes))}
    assert set(golden()) == expected, "run `python -m tests.golden.make_golden` with PyTorch"


def test_only_known_ops_escape_the_comparison():
    compared = {s.op for s in COMPARABLE}
    assert {s.op for s in all_samples()} - compared <= OURS_ALONE


def test_golden_file_is_small():
    assert TARGET.stat().st_size < 500_000
