"""Norms with their scale and shift as one op: its derivatives, its statistics, its native code."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import nn
from minidl.check import check_sample
from minidl.compute import dispatch, reference
from minidl.cuda import native
from minidl.errors import GradientError, ShapeError
from minidl.kernels.agreement import as_tuple, difference, in_double, tolerance
from minidl.kernels.cases import Case, _norm
from minidl.kernels.ladders import LADDERS
from minidl.samples import all_samples

RNG = np.random.default_rng(3)
X, W, B = RNG.standard_normal((3, 4, 2, 5)), RNG.uniform(-2, 2, 4), RNG.standard_normal(4)

native_only = pytest.mark.skipif(bool(native.why_not()), reason=native.why_not())


def leaves(*arrays):
    return [minidl.tensor(array, requires_grad=True) for array in arrays]


def batch_norm(x, w, b):
    return F.batch_norm(x, None, None, w, b, training=True)


def group_norm(x, w, b):
    return F.group_norm(x, 2, w, b)


# --- the op and its derivatives ---


@pytest.mark.parametrize("given", [(None, B), (W, None), (None, None)])
def test_a_missing_weight_is_one_and_a_missing_bias_zero(given):
    weight, bias = given
    full = batch_norm(X, np.ones(4) if weight is None else weight,
                      np.zeros(4) if bias is None else bias)
    np.testing.assert_array_equal(batch_norm(X, weight, bias).data, full.data)


@pytest.mark.parametrize("norm", [batch_norm, group_norm])
def test_a_norm_with_its_scale_and_shift_leaves_one_node(norm):
    x, w, b = leaves(X, W, B)
    assert norm(x, w, b).node.parents == (x.node, w.node, b.node)


@pytest.mark.parametrize("sample", [s for s in all_samples() if s.op == "group_norm"],
                         ids=lambda sample: sample.name)
def test_third_derivatives_equal_finite_differences_of_second_ones(sample):
    assert check_sample(sample, 3).elements > 0


def test_gradients_are_not_those_of_an_earlier_walk():
    x, w, b = leaves(X, W, B)
    y, arrived = batch_norm(x, w, b), minidl.tensor(RNG.standard_normal(X.shape))
    (first,) = minidl.grad(y, w, arrived)
    minidl.grad(y, x, arrived)  # finds that of w, too, which nobody asks for
    arrived.data *= 2
    np.testing.assert_allclose(minidl.grad(y, w, arrived)[0].data, 2 * first.data)


def test_a_weight_of_zero_still_has_a_gradient():
    x, w, b = leaves(X, np.zeros(4), B)
    hat = batch_norm(X, None, None).data
    (found,) = minidl.grad(batch_norm(x, w, b).sum(), w)
    np.testing.assert_allclose(found.data, hat.sum((0, 2, 3)), atol=1e-12)


def test_a_weight_that_was_changed_in_place_is_noticed():
    x, w, b = leaves(X, W, B)
    y = batch_norm(x, w, b).sum()
    nn.init.ones_(w)
    with pytest.raises(GradientError, match="changed"):
        y.backward()


@pytest.mark.parametrize("norm", [batch_norm, group_norm])
def test_a_weight_of_another_size_is_refused(norm):
    with pytest.raises(ShapeError, match="weight does not fit x"):
        norm(X, W[:3], B)


def test_a_wider_weight_makes_a_wider_result():
    y = batch_norm(X.astype(np.float32), W, B)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y.data, batch_norm(X, W, B).data, rtol=1e-4, atol=1e-5)


def test_running_statistics_are_those_of_the_batch():
    still = np.concatenate([X, np.full((3, 1, 2, 5), 7.0)], 1)  # a channel without variance
    mean, var = minidl.tensor(np.zeros(5)), minidl.tensor(np.ones(5))
    F.batch_norm(still, mean, var, training=True, momentum=1.0)
    np.testing.assert_allclose(mean.data, still.mean((0, 2, 3)))
    np.testing.assert_allclose(var.data, still.var((0, 2, 3), ddof=1), rtol=1e-9, atol=1e-15)


# --- natively ---

LARGE: list[Case] = [
    case for cases in (
        _norm("batch", (3, 7, 61, 53), (0, 2, 3)),
        _norm("batch, channels last", (3, 100, 47, 53), (0, 2, 3), last=True),
        _norm("instance, channels last", (2, 37, 61, 53), (2, 3), last=True),
        _norm("instance", (2, 3, 71, 83), (2, 3)),
        _norm("groups", (2, 3, 5, 41, 43), (2, 3, 4), scaled=(1, 2)),
        _norm("groups, channels last", (2, 3, 5, 61, 53), (2, 3, 4), last=True, scaled=(1, 2)),
        _norm("layers", (300, 333), (1,)),
    ) for case in cases
]


@native_only
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", LARGE, ids=lambda case: case.name.replace(" ", "_"))
def test_native_code_equals_the_reference_where_statistics_are_shared(case, dtype):
    arrays, settings = case.call(dtype)
    rung = LADDERS[case.op].rungs[1]
    assert rung.native and not rung.why_not(*arrays, **settings)
    with minidl.use_kernels("native"):
        found = as_tuple(dispatch.run(getattr(reference, case.op), *arrays, **settings))
    for a, b in zip(found, in_double(case.op, arrays, settings), strict=True):
        assert difference(a, b) < tolerance(rung, dtype)


@native_only
def test_native_moments_survive_a_mean_of_many_deviations():
    x = (4000 + RNG.standard_normal((4, 16, 40, 40))).astype(np.float32)
    exact = batch_norm(x.astype(np.float64), None, None).data
    with minidl.use_kernels("native"):
        found = batch_norm(x, None, None).data
    with minidl.use_kernels("reference"):
        readable = batch_norm(x, None, None).data
    assert np.abs(found - exact).max() < 2 * np.abs(readable - exact).max() < 0.01


@native_only
@pytest.mark.parametrize("case", LARGE, ids=lambda case: case.name.replace(" ", "_"))
def test_the_bits_are_the_same_for_any_number_of_threads(case, monkeypatch):
    arrays, settings = case.call(np.float32)
    found = []
    for threads in (1, 2, 3, 8):
        monkeypatch.setattr(native.threads, "count", lambda threads=threads: threads)
        native.form_of.cache_clear()
        with minidl.use_kernels("native"):
            found.append(as_tuple(dispatch.run(getattr(reference, case.op), *arrays, **settings)))
    native.form_of.cache_clear()
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


@native_only
@pytest.mark.parametrize("last", [True, False])
def test_an_image_has_the_same_bits_in_any_batch(last):
    x = RNG.standard_normal((3, 63, 47, 34)).astype(np.float32)
    x = x.transpose(0, 3, 1, 2) if last else x
    w, b = (np.linspace(-1, 1, x.shape[1], dtype=np.float32) for _ in "wb")
    with minidl.use_kernels("native"):
        for norm in (lambda x: F.instance_norm(x, weight=w, bias=b),
                     lambda x: F.group_norm(x, 7 if x.shape[1] == 63 else 2, w, b),
                     lambda x: F.layer_norm(x, x.shape[-1])):
            alone = minidl.tensor(x[1:2], requires_grad=True)
            among = minidl.tensor(x, requires_grad=True)
            ys = norm(alone), norm(among)
            assert np.array_equal(ys[0].data[0], ys[1].data[1])
            grads = [minidl.grad(y.square().sum(), of)[0].data
                     for y, of in zip(ys, (alone, among), strict=True)]
            assert np.array_equal(grads[0][0], grads[1][1])
