"""Products of matrices by packs: what the laws of all kernels do not ask of them."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import nn
from minidl.check import double_gradcheck, gradcheck
from minidl.compute import reference
from minidl.compute.dispatch import run, use_kernels
from minidl.cuda import native
from minidl.cuda.prepare import ceil_div
from minidl.cuda.source import constants
from minidl.kernels import matmul, product
from minidl.kernels.ladders import LADDERS

needs_compiler = pytest.mark.skipif(bool(native.why_not()), reason=native.why_not() or "-")
DTYPES = [np.float32, np.float64]
CODES = ["numpy", "emulated", pytest.param("native", marks=needs_compiler)]

CORNERS = {  # the shapes of the operands, and how a part of the rows is taken from the first
    "y": (reference.matmul_y, lambda a, b, c: ((a, b), (b, c))),
    "x": (reference.matmul_x, lambda a, b, c: ((b, c), (a, c))),
    "w": (reference.matmul_w, lambda a, b, c: ((a, b), (a, c))),
}


def drawn(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def natively(function, *arrays):
    """The result of native code, which must not be NumPy's in its place."""
    from minidl.kernels import natively

    found = natively.compute(function, arrays, {})
    assert found is not None
    return found


def turned(array):
    """The same numbers, the transposed matrices in memory."""
    return np.ascontiguousarray(array.swapaxes(-1, -2)).swapaxes(-1, -2)


def assert_near(found, first, second, function, digits):
    exact = function(first.astype(np.longdouble), second.astype(np.longdouble))
    assert found.dtype == first.dtype and found.shape == exact.shape
    scale = np.sqrt((exact**2).mean()) if exact.size else 1
    np.testing.assert_allclose(found, exact, rtol=0, atol=digits * max(scale, 1))


# --- results ---


@needs_compiler
@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "sizes", [(1, 1, 1), (15, 17, 16), (17, 15, 33), (16, 1, 15), (7, 65, 95), (31, 130, 129)]
)
def test_odd_sizes_in_each_order_of_memory(corner, dtype, sizes):
    function, shapes = CORNERS[corner]
    first, second = (drawn(*shape, dtype=dtype, seed=n) for n, shape in enumerate(shapes(*sizes)))
    results = [
        natively(function, f, s) for f in (first, turned(first)) for s in (second, turned(second))
    ]
    digits = 64 * np.finfo(dtype).eps
    for found in results:
        assert_near(found, first, second, function, digits)
        assert found.tobytes() == results[0].tobytes()
        assert found.flags.c_contiguous


@needs_compiler
def test_other_strides_are_copied():
    x, w = drawn(20, 30), drawn(30, 40)
    wide = np.zeros((20, 60), np.float32)
    wide[:, ::2] = x
    behind = np.ascontiguousarray(x[::-1])[::-1]
    assert not wide[:, ::2].flags.c_contiguous and behind.strides[0] < 0
    y = natively(reference.matmul_y, x, w)
    for same in (wide[:, ::2], behind):
        np.testing.assert_array_equal(natively(reference.matmul_y, same, w), y)
    repeated = np.broadcast_to(w[:, :1], (30, 40))
    assert_near(natively(reference.matmul_y, x, repeated), x, repeated, reference.matmul_y, 1e-5)


@needs_compiler
@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("sizes", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)])
def test_without_rows_columns_or_steps(corner, sizes):
    function, shapes = CORNERS[corner]
    arrays = [np.ones(shape, np.float32) for shape in shapes(*sizes)]
    found, expected = natively(function, *arrays), function(*arrays)
    assert found.shape == expected.shape and not found.any()


@needs_compiler
def test_a_batch_is_each_of_its_products():
    x, w = drawn(2, 3, 9, 20), drawn(2, 3, 20, 33, seed=1)
    y = natively(reference.matmul_y, x, w)
    for at in np.ndindex(2, 3):
        assert y[at].tobytes() == natively(reference.matmul_y, x[at], w[at]).tobytes()


@needs_compiler
@pytest.mark.parametrize("steps", [4608, 1 << 16])
def test_long_sums_keep_their_digits(steps):
    x, w = drawn(12, steps), drawn(steps, 20, seed=1)
    exact = x.astype(float) @ w.astype(float)
    error = natively(reference.matmul_y, x, w) - exact
    rms = np.sqrt((error**2).mean() / (exact**2).mean())
    assert rms < (5e-7 if steps == 4608 else 1.5e-6)


@needs_compiler
def test_infinities_and_nans_stay_in_their_rows_and_columns():
    x, w = drawn(20, 70), drawn(70, 40, seed=1)
    x[3, 5], x[17, 69], w[8, 39] = np.inf, np.nan, -np.inf
    y = natively(reference.matmul_y, x, w)
    finite = np.isfinite(y)
    assert not finite[[3, 17]].any() and not finite[:, 39].any()
    assert np.delete(finite, [3, 17], 0)[:, :39].all()
    assert np.isinf(y[3, :39]).all() and np.isnan(y[17]).all()


# --- bits ---


@needs_compiler
@pytest.mark.parametrize("weights", [lambda w: w, turned], ids=["as written", "turned"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_of_a_row_do_not_depend_on_the_rows_beside_it(weights, dtype):
    x, w = drawn(400, 150, dtype=dtype), weights(drawn(150, 77, dtype=dtype, seed=1))
    y = natively(reference.matmul_y, x, w)
    for rows in (1, 2, 3, 5, 6, 7, 8, 12, 13, 24, 31, 100, 193):
        for first in (0, 1, 400 - rows):
            part = natively(reference.matmul_y, x[first : first + rows], w)
            assert part.tobytes() == y[first : first + rows].tobytes()
    picked = natively(reference.matmul_y, np.ascontiguousarray(x[::7]), w)
    assert picked.tobytes() == y[::7].tobytes()


@needs_compiler
@pytest.mark.parametrize("corner", CORNERS)
def test_bits_do_not_depend_on_how_threads_share_the_work(corner, monkeypatch):
    function, shapes = CORNERS[corner]
    first, second = (drawn(*shape, seed=n) for n, shape in enumerate(shapes(150, 120, 130)))
    expected = natively(function, first, second).tobytes()
    widest = constants(matmul.PACKS)["WIDEST"]
    for each in (2, 5, 24, 1000):
        for packs in range(1, widest + 1):
            blocks = -(-150 // each) * 130  # more than there are, which do nothing
            monkeypatch.setattr(
                matmul, "shares", lambda *_, b=blocks, e=each, p=packs: (b, 1, e, p)
            )
            assert natively(function, first, second).tobytes() == expected


STEP = """
import hashlib
import numpy as np
import minidl
import minidl.functional as F
from minidl import nn
minidl.manual_seed(0)
net = nn.Sequential(nn.Linear(300, 129), nn.ReLU(), nn.Linear(129, 20))
x = np.random.default_rng(0).standard_normal((130, 300)).astype(np.float32)
(net(minidl.tensor(x)) ** 2).sum().backward()
told = hashlib.sha256(b"".join(p.grad.numpy().tobytes() for p in net.parameters()))
print(told.hexdigest())
"""


@needs_compiler
def test_a_step_has_the_same_bits_with_one_thread_two_and_three():
    told = set()
    for count in ("1", "2", "3"):
        env = {**os.environ, "MINIDL_THREADS": count, "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", STEP], env=env, capture_output=True, text=True, check=True
        )
        told.add(done.stdout)
    assert len(told) == 1


# --- how threads share a product ---


@pytest.mark.parametrize("rows", [1, 5, 6, 7, 12, 13, 100, 193, 5000])
@pytest.mark.parametrize("columns", [1, 16, 40, 500])
@pytest.mark.parametrize("wanted", [0, 2, 16])
def test_all_rows_and_columns_have_a_thread(rows, columns, wanted):
    grid, block, each, widest = product._shares(4, 24, 12, 16, wanted, 3, rows, columns, 64)
    panels = ceil_div(ceil_div(columns, 16), widest)
    assert 1 <= widest <= 4
    assert grid * block >= 3 * panels * ceil_div(rows, each)


def test_no_thread_of_a_cpu_takes_more_rows_than_a_cache_has_room_for():
    for rows in (193, 1000, 16384):
        each = product._shares(4, 24, 12, 16, 2, 1, rows, 128, 128)[2]
        assert each <= product.MANY + 12


# --- as part of the whole ---


@needs_compiler
def test_no_product_of_a_linear_layer_is_left_to_numpy(monkeypatch):
    def refused(*_):
        raise AssertionError("NumPy multiplied")

    for name in ("matmul_y", "matmul_x", "matmul_w"):
        monkeypatch.setattr(getattr(reference, name), "__code__", refused.__code__)
    layer = nn.Linear(30, 20)
    x = minidl.tensor(drawn(8, 30), requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.shape == (8, 30) and layer.weight.grad.shape == (20, 30)


@pytest.mark.parametrize("code", CODES)
def test_gradients_of_weights_lie_as_the_weights_do(code):
    with use_kernels(code):
        w = minidl.tensor(drawn(20, 30), requires_grad=True)
        F.linear(minidl.tensor(drawn(8, 30)), w).sum().backward()
    assert w.grad.data.flags.c_contiguous
    np.testing.assert_allclose(w.grad.numpy()[0], drawn(8, 30).sum(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("check", [gradcheck, double_gradcheck])
def test_derivatives_of_products(code, check):
    x, w, v = (drawn(*shape, dtype=float, seed=n)
               for n, shape in enumerate([(3, 4), (5, 4), (2, 4, 3)]))
    with use_kernels(code):
        assert check(lambda x, w: F.linear(x, w) ** 2, [x, w])
        assert check(lambda x, v: (v @ x) ** 2, [x, v])


@pytest.mark.parametrize("code", ["default", "emulated", "numpy", "reference"])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool, np.float16])
def test_other_numbers_are_numpys(code, dtype):
    x, w = (np.arange(12).reshape(shape).astype(dtype) for shape in ((3, 4), (4, 3)))
    with use_kernels(code):
        y = F.matmul(minidl.tensor(x), minidl.tensor(w))
    assert y.dtype == (x @ w).dtype
    np.testing.assert_array_equal(y.numpy(), x @ w)


@pytest.mark.parametrize("code", ["emulated", pytest.param("native", marks=needs_compiler)])
def test_batches_that_must_be_repeated_are_computed_too(code):
    x, w = drawn(2, 1, 3, 4), drawn(5, 4, 6, seed=1)
    with use_kernels(code):
        y = run(reference.matmul_y, x, w)
    np.testing.assert_allclose(y, x @ w, rtol=1e-5, atol=1e-5)
    assert LADDERS["matmul_y"].native_rung(x, w) is None


# --- Gram matrices ---


@needs_compiler
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("channels", [5, 64, 70, 130, 200])
def test_a_gram_matrix_of_one_image_is_that_of_two_equal_ones(channels, last):
    a = drawn(2, channels, 300)
    a = turned(a) if last else a
    y = natively(reference.gram_y, a, a)
    assert y.tobytes() == natively(reference.gram_y, a, a.copy("K")).tobytes()
    assert y.tobytes() == np.ascontiguousarray(y.swapaxes(1, 2)).tobytes()


@needs_compiler
def test_a_mixed_image_lies_as_the_one_it_is_mixed_from():
    y = drawn(2, 5, 7)
    for image in (drawn(2, 5, 90), turned(drawn(2, 5, 90))):
        mixed = natively(reference.gram_b, image, y)
        assert mixed.shape == (2, 7, 90)
        assert mixed.flags.c_contiguous == image.flags.c_contiguous
        np.testing.assert_allclose(mixed, reference.gram_b(image, y), rtol=0, atol=1e-5)
