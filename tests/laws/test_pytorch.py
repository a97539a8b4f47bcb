"""Law: values, gradients and second gradients equal PyTorch's, at float64 to 1e-9."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl.samples import Sample, all_samples
from tests.golden.make_golden import TARGET, load, missing, names, stale, updated
from tests.laws.pytorch import COMPARABLE, answers, second_answers, weights_of

IDS = [s.name for s in COMPARABLE]
OURS_ALONE = {"dropout", "dropout2d", "fixed_unpool2d", "total_variation"}
"""Ops that PyTorch lacks, or whose random numbers differ."""

MOST_WAITING = 8
"""New samples that may lack golden values: those of an op or two."""

HOW = "run `python -m tests.golden.make_golden` where PyTorch is installed"
"""What a test says that lacks golden values, or has too many."""


def ours(sample: Sample) -> list[np.ndarray]:
    inputs = [minidl.tensor(a, requires_grad=True) for a in sample.inputs()]
    value = sample.call(F, *inputs)
    found = minidl.grad(value, inputs, weights_of(value.shape), allow_unused=True)
    zeros = [
        np.zeros(x.shape) if g is None else g.data for x, g in zip(inputs, found, strict=True)
    ]
    return [value.data, *zeros]


golden = cache(load)


@pytest.mark.parametrize("sample", COMPARABLE, ids=IDS)
def test_values_and_gradients_equal_the_golden_ones(sample: Sample):
    theirs = [golden().get(name) for name in names(sample)]
    if all(array is None for array in theirs):
        pytest.skip(f"no golden values of {sample.name}: {HOW}")
    for mine, array in zip(ours(sample), theirs, strict=True):
        assert array is not None, f"the inputs of {sample.name} have changed: {HOW}"
        np.testing.assert_allclose(mine, array, rtol=1e-9, atol=1e-9, strict=True)


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


def test_few_samples_wait_for_golden_values():
    waiting = [s.name for s in missing(golden(), COMPARABLE)]
    assert len(waiting) <= MOST_WAITING, f"no golden values of {waiting}: {HOW}"


def test_golden_file_holds_nothing_of_samples_that_are_gone():
    assert stale(golden(), COMPARABLE) == [], HOW


def test_golden_values_are_added_and_dropped_without_touching_the_others():
    kept, new, *_ = COMPARABLE
    held = {name: np.array(i / 3) for i, name in enumerate(names(kept))}
    asked = []

    def compute(sample: Sample) -> list[np.ndarray]:
        asked.append(sample)
        return [np.array(7.0)] * len(names(sample))

    made = updated({**held, "gone|0": np.zeros(2)}, [kept, new], compute)
    assert asked == [new]
    assert list(made) == [*names(kept), *names(new)]
    assert all(made[name] is array for name, array in held.items())
    assert updated(made, [kept, new], compute) == made and asked == [new]


def test_only_known_ops_escape_the_comparison():
    compared = {s.op for s in COMPARABLE}
    assert {s.op for s in all_samples()} - compared <= OURS_ALONE


def test_golden_file_is_small():
    assert TARGET.stat().st_size < 500_000
