"""How exact the tensor-core rungs of convolution are, where sums round as on real tensor cores."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.compute import reference
from minidl.compute.windows import Windows, windows_over
from minidl.cuda.source import Source, folder, kernels_of
from minidl.kernels import conv

NAIVE, *_, TF32, TF32X3, TF32X3_ASYNC = conv.CONV2D_Y
WINDOWS = windows_over("test", (5, 4), (3, 3), padding=1)


def images(channels: int, draw, outputs: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """x and w in float32."""
    rng = np.random.default_rng(0)
    return (draw(rng, (2, channels, 5, 4)).astype(np.float32),
            draw(rng, (outputs, channels, 3, 3)).astype(np.float32))


def error(rung, x: np.ndarray, w: np.ndarray, windows: Windows = WINDOWS) -> float:
    """||rung - float64|| / ||float64||."""
    exact = reference.conv2d_y(x.astype(np.float64), w.astype(np.float64), windows)
    return float(np.linalg.norm(rung(x, w, windows) - exact) / np.linalg.norm(exact))


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape)


def after_relu(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """All of one sign, so that sums only grow and roundings towards zero add up."""
    return abs(rng.standard_normal(shape))


@pytest.mark.parametrize("draw", [normal, after_relu])
@pytest.mark.parametrize("rung", [TF32X3, TF32X3_ASYNC], ids=lambda rung: rung.name)
@pytest.mark.parametrize("channels", [64, 512])
def test_three_tf32_products_are_as_exact_as_float32(rung, draw, channels):
    """512 channels and 3 x 3 taps are sums of 4,608; without promotion these lose 4e-5."""
    x, w = images(channels, draw)
    assert error(rung, x, w) < 8e-7
    assert error(rung, x, w) < 2 * error(NAIVE, x, w) + 2e-7


def test_without_promotion_long_sums_lose_a_hundred_times_as_much():
    """So the promotion is what does it: the same kernel, promoting at the end only."""
    source = folder() / "conv.cu"
    text = source.read_text().replace("PROMOTE = 32 / DEPTH", "PROMOTE = 1 << 30")
    kernel = kernels_of(Source(source, text))["conv2d_y_v8_tf32x3"]
    x, w = images(512, after_relu)
    assert error(lambda *given: conv._corner_y(kernel, *given, 1, conv.LARGE), x, w) > 1e-5


def test_one_tf32_product_has_eleven_bits():
    x, w = images(64, normal)
    assert 1e-4 < error(TF32, x, w) < 5e-4


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_magnitudes_far_from_one_are_as_exact(scale):
    x, w = images(32, normal)
    assert error(TF32X3, x * np.float32(scale), w) < 8e-7


@pytest.mark.parametrize("rung", [TF32X3, TF32X3_ASYNC], ids=lambda rung: rung.name)
def test_infinities_and_nans_come_out_as_in_float32(rung):
    x, w = images(8, normal)
    x[0, 3, 2, 2], x[1, 1, 0, 0] = np.inf, np.nan
    y, expected = rung(x, w, WINDOWS), NAIVE(x, w, WINDOWS)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_array_equal(y[np.isinf(expected)], expected[np.isinf(expected)])
