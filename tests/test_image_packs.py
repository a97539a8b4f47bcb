"""Pooling, resizing, sampling and padding by packs: layouts, bits, what lies behind a part."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl.check import double_gradcheck, gradcheck
from minidl.compute import taps
from minidl.cuda import native
from minidl.cuda.launch import executing
from minidl.kernels.agreement import as_tuple
from minidl.kernels.case import channels_last
from minidl.kernels.image_cases import CASES
from minidl.kernels.ladders import LADDERS

RNG = np.random.default_rng(4)
OPS = sorted({case.op for case in CASES})

native_only = pytest.mark.skipif(bool(native.why_not()), reason=native.why_not())


def packs(op):
    (rung,) = (rung for rung in LADDERS[op] if rung.idea == "packs")
    return rung


def cases():
    return [pytest.param(case, id=case.name.replace(" ", "_")) for case in CASES]


# --- natively ---


@native_only
@pytest.mark.parametrize("op", OPS)
def test_the_bits_are_the_same_for_any_number_of_threads(op, monkeypatch):
    found = {}
    for threads in (1, 2, 3, 8):
        monkeypatch.setattr(native.threads, "count", lambda threads=threads: threads)
        native.form_of.cache_clear()
        for case in (case for case in CASES if case.op == op):
            arrays, settings = case.call(np.float32)
            with executing(native.run):
                results = as_tuple(packs(op)(*arrays, **settings))
            found.setdefault(case.name, set()).add(b"".join(a.tobytes() for a in results))
    native.form_of.cache_clear()
    assert all(len(bits) == 1 for bits in found.values())


@native_only
@pytest.mark.parametrize("case", cases())
def test_an_image_has_the_same_bits_in_any_batch(case):
    arrays, settings = case.call(np.float32)
    with executing(native.run):
        together = as_tuple(packs(case.op)(*arrays, **settings))
        for n in range(len(arrays[0])):
            one = {k: v[n : n + 1] if k == "index" else v for k, v in settings.items()}
            alone = as_tuple(packs(case.op)(*(a[n : n + 1] for a in arrays), **one))
            for mine, all_of_them in zip(alone, together, strict=True):
                np.testing.assert_array_equal(mine[0], all_of_them[n])


@native_only
@pytest.mark.parametrize("c", [1, 3, 16, 17, 40])
@pytest.mark.parametrize("op", OPS)
def test_channels_do_not_meet(c, op):
    """What is read behind a part of a pack, the next pixel's channels, is used by nobody."""
    x = RNG.standard_normal((2, c, 5, 6)).astype(np.float32)
    y = RNG.standard_normal((2, c, 4, 3)).astype(np.float32)
    windows = minidl.compute.windows.windows_over("test", (5, 6), (2, 2))
    places = RNG.integers(0, 30, y.shape)
    index, weight = RNG.integers(0, 30, (2, 12, 4)), np.ones((2, 12, 4), np.float32)
    lines = {"x": x.reshape(2, c, 30), "y": y.reshape(2, c, 12)}
    down, across = taps.bilinear(5, 8), taps.nearest(6, 9)
    call = {
        "max_pool2d": lambda: ((x,), {"windows": windows}),
        "pick_windows": lambda: ((x, places), {}),
        "put_windows": lambda: ((y, places), {"size": (5, 6)}),
        "resample": lambda: ((x,), {"down": down, "across": across}),
        "grid_sample_y": lambda: ((lines["x"], weight), {"index": index}),
        "grid_sample_image": lambda: ((weight, lines["y"]), {"index": index, "pixels": 30}),
        "grid_sample_weight": lambda: ((lines["x"], lines["y"]), {"index": index}),
    }[op]

    def results():
        arrays, settings = call()
        arrays = [channels_last(a) if a.ndim == 4 else a for a in arrays]
        with executing(native.run):
            return np.stack(as_tuple(packs(op)(*arrays, **settings)))

    before = results()
    for array in (x, y):
        array[:, -1] = 0 if op == "grid_sample_weight" else np.nan
    after = results()
    if op == "grid_sample_weight":  # a sum over channels: the last one counts no more
        shorter = (lines["x"][:, :-1], lines["y"][:, :-1])
        with executing(native.run):
            alone = packs(op)(*shorter, index=index)
        np.testing.assert_allclose(after[0], alone, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(after[:, :, :-1], before[:, :, :-1])


@native_only
@pytest.mark.parametrize("op", ["max_pool2d", "interpolate", "pad", "max_unpool2d"])
def test_results_lie_as_their_images_do(op):
    def computed(x):
        pooled, index = F.max_pool2d(x, 2, return_indices=True)
        return {
            "max_pool2d": lambda: pooled,
            "max_unpool2d": lambda: F.max_unpool2d(pooled, index, 2),
            "interpolate": lambda: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
            "pad": lambda: F.pad(x, (1, 2, 3, 1), mode="reflect"),
        }[op]().data

    x = RNG.standard_normal((2, 5, 6, 8))
    with minidl.use_kernels("native"):
        plain, last = computed(x), computed(channels_last(x))
    np.testing.assert_allclose(plain, last, atol=1e-15)
    assert plain.flags.c_contiguous and last.transpose(0, 2, 3, 1).flags.c_contiguous


@native_only
@pytest.mark.parametrize("c", [3, 17])
def test_derivatives_to_the_second_order_equal_finite_differences(c):
    x, grid = RNG.standard_normal((1, c, 4, 5)), RNG.uniform(-0.8, 0.8, (1, 2, 3, 2))
    last = channels_last(x)
    calls = [
        (lambda x: F.max_pool2d(x * x, (2, 3), 1), [last]),
        (lambda x: F.interpolate(x * x, (3, 7), mode="bicubic"), [last]),
        (lambda x: F.pad(x * x, (2, 1, 0, 3), mode="reflect"), [last]),
        (lambda x, g: F.grid_sample(x, g) ** 2, [last, grid]),
    ]
    with minidl.use_kernels("native"):
        for check in (gradcheck, double_gradcheck):
            for function, inputs in calls:
                check(function, inputs)


# --- padding ---


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64, np.bool_])
@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_padding_is_numpys_in_every_dtype_and_number_of_axes(mode, dtype, axes):
    x = (RNG.standard_normal((2, 3, 4, 5)[-axes:]) * 9).astype(dtype)
    widths = [(2, 1), (0, 3)][-axes:]
    every = [(0, 0)] * (axes - len(widths)) + widths
    named = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    padded = F.pad(x, [w for both in reversed(widths) for w in both], mode=mode).data
    assert padded.dtype == dtype
    np.testing.assert_array_equal(padded, np.pad(x, every, mode=named))


def test_an_axis_without_pixels_has_no_edge_to_repeat():
    with pytest.raises(minidl.errors.ArgumentError, match="replicate needs an edge"):
        F.pad(np.ones((1, 2, 0, 3)), (1, 1, 1, 1), mode="replicate")


def test_an_axis_without_pixels_that_is_not_padded_stays_empty():
    for mode in ("constant", "reflect", "replicate", "circular"):
        assert F.pad(np.ones((1, 2, 0, 3)), (1, 1), mode=mode).shape == (1, 2, 0, 5)


def test_padding_keeps_the_layout_of_memory():
    x = channels_last(RNG.standard_normal((2, 3, 4, 5)))
    padded = F.pad(x, (1, 1, 2, 2)).data
    assert padded.transpose(0, 2, 3, 1).flags.c_contiguous
