"""Law: convolutions of small maps and padded max-pooling, which go by tap, equal the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minidl.compute import fast, reference
from minidl.compute.fast import small_maps
from minidl.compute.windows import Windows, windows_over

from .test_codes_agree import windows

WIDE = (89, 97)
"""Channels C and O that are enough for a product per tap."""


def three_corners(code, geometry: Windows, n: int, c: int, o: int, dtype=np.float64,
                  taps_first: bool = True):
    """The three corners of one form on drawn arrays."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, c, *geometry.image)).astype(dtype)
    w = rng.standard_normal((*geometry.kernel, c, o)).astype(dtype).transpose(3, 2, 0, 1)
    w = w if taps_first else np.ascontiguousarray(w)
    y = rng.standard_normal((n, o, *geometry.output)).astype(dtype)
    return (code.conv2d_y(x, w, geometry), code.conv2d_x(w, y, geometry),
            code.conv2d_w(x, y, geometry))


@given(windows(), st.sampled_from([1, 3, 30]), st.booleans())
def test_convolution_of_small_maps_equals_the_reference(geometry, n, taps_first):
    """30 images of many windows are several blocks."""
    assume(small_maps.fit(geometry, WIDE[0] * WIDE[1]))
    for quick, plain in zip(three_corners(fast, geometry, n, *WIDE, taps_first=taps_first),
                            three_corners(reference, geometry, n, *WIDE), strict=True):
        np.testing.assert_allclose(quick, plain, atol=1e-10)


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
def test_gradients_of_many_weights_equal_the_reference(last):
    """Summed by tap although the maps are not small, over more than one block of images."""
    geometry = windows_over("test", (12, 11), (2, 3), 1, 1)
    assert small_maps.fit_w(geometry, 256 * 257) and not small_maps.fit(geometry, 256 * 257)
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((3, c, *size)) for c, size in
            ((256, geometry.image), (257, geometry.output)))
    if last:
        x, y = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
                for a in (x, y))
    np.testing.assert_allclose(fast.conv2d_w(x, y, geometry),
                               reference.conv2d_w(x, y, geometry), atol=1e-9)


@pytest.mark.parametrize("channels", [(2, 3), (40, 300)])
@pytest.mark.parametrize(
    "image, kernel, padding, dilation",
    [((7, 5), (7, 5), 0, 1), ((1, 1), (3, 3), 1, 1), ((4, 5), (6, 4), (1, 0), 1),
     ((5, 3), (3, 2), 0, 2), ((2, 2), (2, 2), (1, 1), 3)],
)
def test_a_single_window_equals_the_reference(image, kernel, padding, dilation, channels):
    """Whole on the image, or partly beside it."""
    geometry = windows_over("test", image, kernel, 9, padding, dilation)
    assert geometry.output == (1, 1)
    for quick, plain in zip(three_corners(fast, geometry, 3, *channels),
                            three_corners(reference, geometry, 3, *channels), strict=True):
        np.testing.assert_allclose(quick, plain, atol=1e-10)


def test_a_window_beside_the_image_gives_zeros():
    geometry = windows_over("test", (1, 1), (1, 1), 5, 1)
    for corner in three_corners(fast, geometry, 2, 3, 4):
        assert not corner.any()


def test_small_maps_give_the_same_bits_on_any_number_of_threads(monkeypatch):
    """Enough multiplications for threads, several blocks of images and of channels."""
    geometry = windows_over("test", (8, 8), (3, 3), 1, 1)
    many = three_corners(fast, geometry, 11, 136, 150, np.float32)
    monkeypatch.setattr("minidl.compute.threads.count", lambda: 1)
    for a, b in zip(many, three_corners(fast, geometry, 11, 136, 150, np.float32), strict=True):
        assert a.tobytes() == b.tobytes()


def test_which_code_computes_a_convolution_does_not_depend_on_the_number_of_images(monkeypatch):
    asked = []
    for name in ("fit", "fit_w"):
        monkeypatch.setattr(small_maps, name, lambda *sizes: asked.append(sizes) or True)
    geometry = windows_over("test", (4, 4), (3, 3), 1, 1)
    for n in (1, 5):
        three_corners(fast, geometry, n, 2, 3)
    assert len(asked) == 6
    assert set(asked) == {(geometry, 6)}


# --- max-pooling ---


@given(windows(), st.booleans(), st.booleans(),
       st.sampled_from([np.float32, np.float64, np.uint8, np.int64]))
def test_maxima_of_padded_images_equal_the_reference(geometry, last, ties, dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3 if ties else 99, (2, 5, *geometry.image)).astype(dtype)
    if last:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for found, wanted in zip(
        fast.max_pool2d(x, geometry), reference.max_pool2d(x, geometry), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_nan_and_infinities_are_pooled_as_by_the_reference(value, last):
    geometry = windows_over("test", (9, 9), (3, 3), 2, 1)
    x = np.random.default_rng(0).standard_normal((3, 16, 9, 9)).astype(np.float32)
    x[1, 4, 2:7, 3:8] = value
    x[2, :, 0, 0] = value
    if last:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for found, wanted in zip(
        fast.max_pool2d(x, geometry), reference.max_pool2d(x, geometry), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


def test_padded_pooling_is_not_left_to_the_reference(monkeypatch):
    monkeypatch.setattr("minidl.compute.reference.pool.max_pool2d", None)
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8))
    _, index = fast.max_pool2d(x, windows_over("test", (8, 8), (3, 3), 2, 1))
    assert index.shape == (2, 3, 4, 4)
