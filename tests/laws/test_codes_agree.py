"""Law: all code for CPUs equals the reference, and the reference equals loops from the definition.

Hypothesis draws the sizes and settings.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minidl
import minidl.functional as F
from minidl import Tensor
from minidl.compute import fast, reference, taps
from minidl.compute.windows import Windows, windows_over
from minidl.cuda import native
from minidl.errors import ShapeError
from minidl.samples import all_samples

SAMPLES = all_samples()


@pytest.mark.parametrize("code", ["numpy", "native"])
@pytest.mark.parametrize("sample", SAMPLES, ids=[s.name for s in SAMPLES])
def test_code_equals_the_reference(sample, code):
    if code == "native" and native.why_not():
        pytest.skip(native.why_not())

    def run():
        inputs = [minidl.tensor(a, requires_grad=True) for a in sample.inputs()]
        value = sample.call(F, *inputs)
        weights = np.random.default_rng(0).standard_normal(value.shape)
        found = minidl.grad(value, inputs, weights, allow_unused=True)
        return [value.data, *(g.data for g in found if g is not None)]

    with minidl.use_kernels(code):
        quick = run()
    with minidl.use_kernels("reference"):
        plain = run()
    for a, b in zip(quick, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


# --- convolution ---


@st.composite
def windows(draw) -> Windows:
    """A geometry in which a window fits."""
    sizes = [draw(st.integers(1, 9)) for _ in range(2)]
    kernel = [draw(st.integers(1, 4)) for _ in range(2)]
    stride, dilation = ([draw(st.integers(1, 3)) for _ in range(2)] for _ in range(2))
    padding = [draw(st.integers(0, 3)) for _ in range(2)]
    try:
        return windows_over("test", sizes, tuple(kernel), tuple(stride), tuple(padding),
                            tuple(dilation))
    except ShapeError:
        assume(False)
        raise


def looped(x, w, y, geometry: Windows, groups: int):
    """Every product of the form, one by one: (n, o, i, j), (n, c, h, w), (o, c, k, l), product."""
    per_in, per_out = x.shape[1] // groups, w.shape[0] // groups
    for n, o, i, j in np.ndindex(y.shape):
        for c, k, l in np.ndindex(w.shape[1:]):
            h = i * geometry.stride[0] + k * geometry.dilation[0] - geometry.padding[0]
            v = j * geometry.stride[1] + l * geometry.dilation[1] - geometry.padding[1]
            if 0 <= h < geometry.image[0] and 0 <= v < geometry.image[1]:
                channel = (o // per_out) * per_in + c
                yield (n, o, i, j), (n, channel, h, v), (o, c, k, l)


@given(windows(), st.sampled_from([(1, 3, 2), (2, 4, 6), (3, 3, 3), (1, 1, 1)]))
def test_reference_convolution_is_the_sum_of_its_definition(geometry, channels):
    groups, c, o = channels
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, c, *geometry.image))
    w = rng.standard_normal((o, c // groups, *geometry.kernel))
    y = rng.standard_normal((2, o, *geometry.output))
    sums = np.zeros_like(y), np.zeros_like(x), np.zeros_like(w)
    for at_y, at_x, at_w in looped(x, w, y, geometry, groups):
        sums[0][at_y] += x[at_x] * w[at_w]
        sums[1][at_x] += w[at_w] * y[at_y]
        sums[2][at_w] += x[at_x] * y[at_y]
    corners = (
        reference.conv2d_y(x, w, geometry, groups),
        reference.conv2d_x(w, y, geometry, groups),
        reference.conv2d_w(x, y, geometry, groups),
    )
    for corner, expected in zip(corners, sums, strict=True):
        np.testing.assert_allclose(corner, expected, atol=1e-12)


@given(windows(), st.sampled_from([1, 3, 40]), st.integers(1, 3), st.integers(1, 3),
       st.sampled_from([1, 1, 2]))
def test_fast_convolution_equals_the_reference(geometry, n, c, o, groups):
    """40 images are more than one block holds."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, c * groups, *geometry.image))
    w = rng.standard_normal((o * groups, c, *geometry.kernel))
    y = rng.standard_normal((n, o * groups, *geometry.output))
    for letter, pair in {"y": (x, w), "x": (w, y), "w": (x, y)}.items():
        quick = getattr(fast, f"conv2d_{letter}")(*pair, geometry, groups)
        plain = getattr(reference, f"conv2d_{letter}")(*pair, geometry, groups)
        np.testing.assert_allclose(quick, plain, atol=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
def test_fast_convolution_of_many_blocks_equals_the_reference(stride):
    """Large enough for several blocks per image, and for the threads."""
    geometry = windows_over("test", (70, 61), (3, 3), stride, 1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 48, 70, 61)).astype(np.float32)
    w = rng.standard_normal((24, 48, 3, 3)).astype(np.float32)
    y = rng.standard_normal((3, 24, *geometry.output)).astype(np.float32)
    for letter, pair in {"y": (x, w), "x": (w, y), "w": (x, y)}.items():
        quick = getattr(fast, f"conv2d_{letter}")(*pair, geometry)
        plain = getattr(reference, f"conv2d_{letter}")(*pair, geometry)
        np.testing.assert_allclose(quick, plain, rtol=1e-3, atol=2e-3)


def test_fast_convolution_is_the_same_on_any_number_of_threads(monkeypatch):
    geometry = windows_over("test", (40, 40), (3, 3), 1, 1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, 32, 40, 40)).astype(np.float32)
    y = rng.standard_normal((6, 16, 40, 40)).astype(np.float32)
    many = fast.conv2d_w(x, y, geometry)
    monkeypatch.setattr("minidl.compute.threads.count", lambda: 1)
    assert fast.conv2d_w(x, y, geometry).tobytes() == many.tobytes()


# --- pooling ---


@given(windows(), st.booleans())
def test_maxima_and_their_places_are_those_of_a_search(geometry, ties):
    rng = np.random.default_rng(0)
    shape = (2, 3, *geometry.image)
    x = rng.integers(-2, 3, shape).astype(float) if ties else rng.standard_normal(shape)
    expected = np.full((2, 3, *geometry.output), -1)
    largest = np.zeros(expected.shape)
    for n, c, i, j in np.ndindex(expected.shape):
        best = None
        for k, l in itertools.product(*map(range, geometry.kernel)):
            h = i * geometry.stride[0] + k * geometry.dilation[0] - geometry.padding[0]
            v = j * geometry.stride[1] + l * geometry.dilation[1] - geometry.padding[1]
            inside = 0 <= h < geometry.image[0] and 0 <= v < geometry.image[1]
            if inside and (best is None or x[n, c, h, v] > best):
                largest[n, c, i, j] = best = x[n, c, h, v]
                expected[n, c, i, j] = h * geometry.image[1] + v
    for code in (reference, fast):
        y, index = code.max_pool2d(x, geometry)
        np.testing.assert_array_equal(y, largest)
        np.testing.assert_array_equal(index, expected)


@pytest.mark.parametrize("code", [reference, fast], ids=["reference", "fast"])
def test_a_nan_is_the_maximum(code):
    x = np.array([[[[1.0, np.nan], [3.0, 2.0]]]])
    y, index = code.max_pool2d(x, windows_over("test", (2, 2), (2, 2)))
    assert np.isnan(y.item()) and index.item() == 1


@pytest.mark.parametrize("layout", ["channels first", "channels last"])
@pytest.mark.parametrize("code", [reference, fast], ids=["reference", "fast"])
def test_values_put_to_one_place_add_up(code, layout):
    y = np.arange(8.0).reshape(1, 2, 2, 2)
    index = np.array([[[[3, 3], [0, 3]], [[1, 2], [2, 2]]]])
    if layout == "channels last":
        y, index = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
                    for a in (y, index))
    x = code.put_windows(y, index, (2, 2))
    np.testing.assert_array_equal(x, [[[[2, 0], [0, 4]], [[0, 4], [18, 0]]]])


# --- resampling and sampling ---


@st.composite
def tables(draw) -> taps.Taps:
    size, count = draw(st.integers(1, 9)), draw(st.integers(1, 12))
    kind = draw(st.sampled_from(["nearest", "bilinear", "bicubic", "adaptive", "smooth"]))
    if kind == "nearest":
        return taps.nearest(size, count)
    if kind == "adaptive":
        return taps.adaptive_means(size, count)
    if kind == "smooth":
        return taps.antialiased(taps.cubic, 2, size, count)
    return getattr(taps, kind)(size, count, None, draw(st.booleans()))


@given(tables(), tables(), st.booleans())
def test_resampling_is_a_product_with_both_matrices(down, across, last):
    x = np.random.default_rng(0).standard_normal((2, 3, down.size, across.size))
    if last:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    expected = down.matrix @ x @ across.matrix.T
    for code in (reference, fast):
        np.testing.assert_allclose(code.resample(x, down, across), expected, atol=1e-12)


@given(tables())
def test_transposed_taps_are_the_transposed_matrix(table):
    np.testing.assert_array_equal(table.transposed.matrix, table.matrix.T)


def test_resampling_long_rows_equals_the_reference():
    """Beyond the length at which the fast code leaves matrices for gathering."""
    x = np.random.default_rng(0).standard_normal((2, 2, 300, 150))
    table = taps.bilinear(300, 200), taps.bicubic(150, 400)
    np.testing.assert_allclose(
        fast.resample(x, *table), reference.resample(x, *table), atol=1e-12
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_bad_pixel_does_not_spoil_the_image(bad):
    x = np.ones((2, 1, 8, 8))
    x[1, 0, 0, 0] = bad
    y = F.interpolate(x, scale_factor=2, mode="bilinear").data
    assert np.isfinite(y[0]).all()
    assert not np.isfinite(y[1, 0, :2, :2]).any()
    np.testing.assert_allclose(y[1, 0, 4:, 4:], 1.0)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 6), st.integers(1, 9),
       st.integers(1, 4))
def test_fast_sampling_equals_the_reference(n, c, points, pixels, count):
    rng = np.random.default_rng(0)
    index = rng.integers(0, pixels, (n, points, count))
    image, weight = rng.standard_normal((n, c, pixels)), rng.standard_normal((n, points, count))
    y = rng.standard_normal((n, c, points))
    for name, arrays, settings in (
        ("grid_sample_y", (image, weight), {"index": index}),
        ("grid_sample_image", (weight, y), {"index": index, "pixels": pixels}),
        ("grid_sample_weight", (image, y), {"index": index}),
    ):
        np.testing.assert_allclose(
            getattr(fast, name)(*arrays, **settings),
            getattr(reference, name)(*arrays, **settings), atol=1e-12)


def test_unknown_code_is_refused():
    with pytest.raises(minidl.errors.ArgumentError, match="quick"), minidl.use_kernels("quick"):
        pass


def test_results_do_not_share_memory_with_ones_still_in_use():
    """Large results come from recycled memory: only from memory that nobody holds."""
    geometry = windows_over("test", (64, 64), (3, 3), 1, 1)
    rng = np.random.default_rng(0)
    w = rng.standard_normal((32, 32, 3, 3)).astype(np.float32)
    x = rng.standard_normal((4, 32, 64, 64)).astype(np.float32)
    kept = [Tensor(fast.conv2d_y(x * i, w, geometry)) for i in range(4)]
    copies = [t.data.copy() for t in kept]
    for i in range(4):
        fast.conv2d_y(x + i, w, geometry)
    for t, before in zip(kept, copies, strict=True):
        assert np.array_equal(t.data, before)
