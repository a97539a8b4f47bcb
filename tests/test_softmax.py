"""Softmax and its logarithm by kernels: the bits, numbers at the edges, layouts, derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl.check import double_gradcheck, gradcheck
from minidl.compute import reference
from minidl.compute.dispatch import run, use_kernels
from minidl.cuda import native

needs_compiler = pytest.mark.skipif(bool(native.why_not()), reason=native.why_not() or "-")
CODES = ["reference", "emulated", pytest.param("native", marks=needs_compiler)]

SHAPES = [(8, 2, 37, 31), (3, 11, 5, 7), (2, 16, 3, 5), (3, 40, 2, 3), (4, 1, 5, 3)]


def images(*shape, last, scale=3.0, seed=0):
    x = (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if last else x


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_softmax_is_exact_to_the_last_digits(code, logarithmic, last, shape):
    x = images(*shape, last=last)
    wide = np.exp(x.astype(float))
    wanted = wide / wide.sum(1, keepdims=True)
    with use_kernels(code):
        found = run(reference.softmax, x, axis=1, logarithmic=logarithmic)
    wanted = np.log(wanted) if logarithmic else wanted
    np.testing.assert_allclose(found, wanted, rtol=3e-6, atol=1e-6 if logarithmic else 0)
    assert found.dtype == np.float32


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("classes", [2, 5, 16, 33])
def test_numbers_at_the_edges(code, classes):
    x = np.zeros((6, classes), np.float32)
    x[0, 1] = 1000
    x[1, 1] = -np.inf
    x[2, 1] = np.nan
    x[3, 1] = np.inf
    x[4] = -np.inf
    x[5, 1] = -90  # its share is smaller than any normal number
    with use_kernels(code), np.errstate(invalid="ignore"):
        y = run(reference.softmax, x, axis=1)
        log = run(reference.softmax, x, axis=1, logarithmic=True)
    assert y[0, 0] == 0 and y[0, 1] == 1 and log[0, 0] == -1000
    assert y[1, 1] == 0 and log[1, 1] == -np.inf
    np.testing.assert_allclose(y[1, 0], 1 / (classes - 1), rtol=1e-6)
    for row in (2, 3, 4):
        assert np.isnan(y[row]).all() and np.isnan(log[row]).all()
    np.testing.assert_allclose(y[5, 1], np.exp(-90.0) / (classes - 1), rtol=1e-3)
    np.testing.assert_allclose(log[5, 1], -90 - np.log(classes - 1), rtol=1e-6)


@needs_compiler
@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_bits_depend_neither_on_threads_nor_on_the_batch(shape, last, monkeypatch):
    x, grad = images(*shape, last=last), images(*shape, last=last, seed=1)

    def results(x, grad):
        with use_kernels("native"):
            found = []
            for logarithmic in (False, True):
                settings = {"axis": 1, "logarithmic": logarithmic}
                y = run(reference.softmax, x, **settings)
                found += [y, run(reference.softmax_adjoint, grad, y, **settings)]
            return found

    found = {}
    for threads in (1, 2, 5):
        monkeypatch.setattr(native.threads, "count", lambda threads=threads: threads)
        native.form_of.cache_clear()
        found[threads] = results(x, grad)
    native.form_of.cache_clear()
    for threads in (2, 5):
        for one, other in zip(found[1], found[threads], strict=True):
            assert one.tobytes() == other.tobytes()
    for n in range(shape[0]):
        for alone, together in zip(results(x[n : n + 1], grad[n : n + 1]), found[1], strict=True):
            np.testing.assert_array_equal(alone[0], together[n])


@pytest.mark.parametrize("code", CODES)
def test_a_gradient_that_lies_otherwise_is_read_right(code):
    x, grad = images(2, 5, 3, 4, last=True), images(2, 5, 3, 4, last=False, seed=1)
    with use_kernels(code):
        y = run(reference.softmax, x, axis=1)
        found = run(reference.softmax_adjoint, grad, y, axis=1)
    np.testing.assert_allclose(found, y * (grad - (grad * y).sum(1, keepdims=True)), atol=1e-6)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("f", [F.softmax, F.log_softmax])
def test_derivatives_of_two_orders(code, f):
    x = np.random.default_rng(0).standard_normal((2, 3, 2, 2))
    with use_kernels(code):
        for dim in (1, 0, -1):
            for check in (gradcheck, double_gradcheck):
                assert check(lambda x, dim=dim: f(x, dim) * x, [x])


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("f", [F.softmax, F.log_softmax])
def test_results_lie_as_their_images_do(code, f):
    x = minidl.tensor(images(2, 3, 4, 5, last=True), requires_grad=True)
    with use_kernels(code):
        y = f(x, 1)
        y.sum().backward()
    if code != "reference":
        assert y.data.strides == x.data.strides == x.grad.data.strides


def test_a_class_loss_reads_and_puts_at_the_class_in_either_layout():
    target = np.random.default_rng(0).integers(0, 3, (2, 4, 5))
    for last in (False, True):
        x = minidl.tensor(images(2, 3, 4, 5, last=last), requires_grad=True)
        F.nll_loss(x, target, reduction="sum").backward()
        chosen = np.arange(3)[:, None, None] == target[:, None]
        np.testing.assert_array_equal(x.grad.numpy(), np.where(chosen, -1, 0))
        assert x.grad.data.strides == x.data.strides
