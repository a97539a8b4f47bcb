"""The dtype rules are PyTorch's, on every code path; sums neither wrap nor overflow."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl.compute.dtypes import common_dtype
from minidl.errors import DtypeError

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]

# torch.result_type of two arrays with axes, PyTorch 2.13: rows and columns in the order above.
ARRAYS = """
    bool    uint8   int8    int16   int32   int64   float16 float32 float64
    uint8   uint8   int16   int16   int32   int64   float16 float32 float64
    int8    int16   int8    int16   int32   int64   float16 float32 float64
    int16   int16   int16   int16   int32   int64   float16 float32 float64
    int32   int32   int32   int32   int32   int64   float16 float32 float64
    int64   int64   int64   int64   int64   int64   float16 float32 float64
    float16 float16 float16 float16 float16 float16 float16 float32 float64
    float32 float32 float32 float32 float32 float32 float32 float32 float64
    float64 float64 float64 float64 float64 float64 float64 float64 float64
"""


@pytest.mark.parametrize("row, first", list(enumerate(DTYPES)))
def test_two_arrays_promote_as_in_pytorch(row, first):
    wanted = ARRAYS.split()[row * len(DTYPES) : (row + 1) * len(DTYPES)]
    for second, dtype in zip(DTYPES, wanted, strict=True):
        a, b = np.ones(2, first), np.ones(2, second)
        assert common_dtype(a, b) == dtype
        assert (minidl.tensor(a) * minidl.tensor(b)).dtype == dtype
        assert F.maximum(a, b).dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_has_no_axes_widens_nothing_of_its_own_sort(dtype):
    x, kind = minidl.tensor(np.ones(2, dtype)), np.dtype(dtype).kind
    floating = np.dtype(dtype) if kind == "f" else np.dtype(np.float32)
    assert (x * 1.5).dtype == (x + np.float64(1.5)).dtype == floating
    assert (x * minidl.tensor(np.float64(2))).dtype == (dtype if kind == "f" else np.float64)
    assert (x * 3).dtype == (np.int64 if kind == "b" else dtype)
    assert (x * minidl.tensor(np.int64(3))).dtype == (np.int64 if kind == "b" else dtype)


def test_gradients_come_back_in_the_dtype_of_the_input():
    x = minidl.tensor(np.ones(3, np.float32), requires_grad=True)
    scale = minidl.tensor(np.float64(2), requires_grad=True)
    (x * scale * np.arange(3)).sum().backward()
    assert (x.grad.dtype, scale.grad.dtype) == (np.float32, np.float64)
    assert (x.grad.tolist(), scale.grad.item()) == ([0, 2, 4], 3)


@pytest.mark.parametrize("code", ["default", "reference", "emulated"])
def test_mixed_floats_promote_on_every_code_path(code):
    x = np.random.default_rng(0).standard_normal((1, 4, 5, 5)).astype(np.float32)
    w = np.random.default_rng(1).standard_normal((4, 4, 3, 3))
    with minidl.use_kernels(code):
        y = F.conv2d(x, w)
        again = F.conv_transpose2d(y, w)
    assert y.dtype == again.dtype == np.float64
    np.testing.assert_allclose(y.data, F.conv2d(x.astype(float), w).data, rtol=1e-12)


@pytest.mark.parametrize("code", ["default", "reference", "emulated"])
def test_float16_is_added_up_in_float32_on_every_code_path(code):
    x = np.full((1, 4096, 2, 2), 0.25, np.float16)
    with minidl.use_kernels(code):
        y = F.conv2d(x, np.ones((1, 4096, 1, 1), np.float16))
    assert y.dtype == np.float16
    np.testing.assert_array_equal(y.data, 1024)


def test_sums_of_float16_neither_overflow_nor_stand_still():
    ones = minidl.tensor(np.ones(70_000, np.float16))
    assert (F.mean(ones).item(), F.var(ones).item()) == (1, 0)
    assert F.softmax(np.zeros((1, 4096), np.float16), 1).sum().item() == 1
    x = minidl.tensor(np.ones((2, 1, 300, 300), np.float16) * 100)
    assert np.isfinite(F.batch_norm(x, None, None, training=True).data).all()


def test_integers_are_summed_in_int64():
    x = minidl.tensor(np.full((1, 1, 20, 20), 1, np.uint8))
    assert (x.sum().item(), x.sum().dtype) == (400, np.int64)
    assert F.gram_matrix(x).item() == 400
    assert minidl.tensor([True, False, True]).sum().item() == 2


IMAGE = np.full((1, 1, 4, 4), 200, np.uint8)
REFUSED = {
    "avg_pool2d": lambda: F.avg_pool2d(IMAGE, 2),
    "adaptive_avg_pool2d": lambda: F.adaptive_avg_pool2d(IMAGE, 1),
    "bilinear": lambda: F.interpolate(IMAGE, scale_factor=2, mode="bilinear"),
    "area": lambda: F.interpolate(IMAGE, scale_factor=0.5, mode="area"),
    "conv2d": lambda: F.conv2d(IMAGE, IMAGE),
    "conv_transpose2d": lambda: F.conv_transpose2d(IMAGE, IMAGE),
    "grid_sample": lambda: F.grid_sample(IMAGE, np.zeros((1, 2, 2, 2), np.int64)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_mixes_pixels_refuses_integers_and_says_what_to_write(name):
    with pytest.raises(DtypeError, match=r"astype\(numpy.float32\)"):
        REFUSED[name]()


def test_what_only_moves_pixels_takes_integers():
    assert F.interpolate(IMAGE, scale_factor=2).dtype == np.uint8
    assert F.max_pool2d(IMAGE, 2).tolist() == [[[[200, 200], [200, 200]]]]
    assert F.conv2d(IMAGE, np.ones((1, 1, 1, 1), np.float32)).dtype == np.float32


def test_kernels_say_what_they_do_not_compute():
    with minidl.use_kernels("emulated"), pytest.raises(DtypeError, match="float32 or float64"):
        F.max_pool2d(IMAGE, 2)


def test_arrays_of_another_byte_order_are_converted():
    x = minidl.tensor(np.arange(3, dtype=">f4"), requires_grad=True)
    (x * np.arange(3, dtype=">f8")).sum().backward()
    assert x.grad.tolist() == [0, 1, 2]
    assert F.relu(np.arange(3, dtype=">f4")).dtype.isnative
