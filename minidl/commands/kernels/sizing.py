"""Calls of a size that is asked for by letters: ``--set N=2 C=16 H=32``.

The letters are those of the formulas: N batch, C in and O out channels, H W image, K L window,
I J output, P pixels or points, T taps; A x B times B x C matrices.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.compute import reference, taps
from minidl.compute.arrays import Array
from minidl.compute.reference.optimizer import AdamRates, MomentumRates
from minidl.compute.windows import Windows, windows_over
from minidl.errors import ArgumentError, message
from minidl.kernels.cases import Call, Case, channels_last

Sizes = dict[str, Any]

_IMAGE: Sizes = {"N": 2, "C": 16, "H": 32, "W": None, "layout": "NCHW"}
_WINDOW: Sizes = {"K": 3, "L": None, "stride": 1, "padding": 1, "dilation": 1}
_GRAM: Sizes = {"N": 2, "I": 48, "J": None, "P": 1024}
_MATMUL: Sizes = {"N": 1, "A": 128, "B": 256, "C": 96}
_SAMPLE: Sizes = {"N": 2, "C": 16, "H": 32, "W": None, "P": 576, "T": 4}
_NORM: Sizes = {**_IMAGE, "over": "batch"}
_POOL: Sizes = {**_IMAGE, **_WINDOW, "K": 2, "stride": 2, "padding": 0}
_CONV: Sizes = {**_IMAGE, "O": 32, **_WINDOW, "groups": 1}
_MAPS: Sizes = {**_IMAGE, "layout": "NHWC"}
_CLASSES: Sizes = {**_MAPS, "C": 11}
_WEIGHTS: Sizes = {"P": 1 << 15}

DEFAULTS: dict[str, Sizes] = {
    **dict.fromkeys(("conv2d_y", "conv2d_x", "conv2d_w"), _CONV),
    **dict.fromkeys(("gram_y", "gram_a", "gram_b"), _GRAM),
    **dict.fromkeys(("matmul_y", "matmul_x", "matmul_w"), _MATMUL),
    **dict.fromkeys(("normalize", "normalize_adjoint"), _NORM),
    **dict.fromkeys(("max_pool2d", "pick_windows", "put_windows"), _POOL),
    **dict.fromkeys(("grid_sample_y", "grid_sample_image", "grid_sample_weight"), _SAMPLE),
    **dict.fromkeys(("rectify", "rectify_adjoint", "add_bias", "channel_sums"), _MAPS),
    **dict.fromkeys(("softmax", "softmax_adjoint"), _CLASSES),
    **dict.fromkeys(("adam", "momentum"), _WEIGHTS),
    "resample": {**_IMAGE, "I": 64, "J": None, "mode": "bilinear"},
}
"""The letters of each op, and what they are where nothing else is asked for; None is "as the
letter before"."""

LARGE: dict[str, Sizes] = {
    "conv2d": {"N": 32, "C": 128, "O": 128, "H": 64},
    "gram": {"N": 8, "I": 128, "P": 65536},
    "matmul": {"A": 4096, "B": 4096, "C": 4096},
    "normalize": {"N": 32, "C": 128, "H": 64},
    "max": {"N": 32, "C": 64, "H": 128},
    "pick": {"N": 32, "C": 64, "H": 128},
    "put": {"N": 32, "C": 64, "H": 128},
    "grid": {"N": 8, "C": 64, "H": 64, "P": 4096},
    "rectify": {"N": 32, "C": 128, "H": 64},
    "add": {"N": 32, "C": 128, "H": 64},
    "channel": {"N": 32, "C": 128, "H": 64},
    "softmax": {"N": 32, "C": 21, "H": 256},
    "adam": {"P": 1 << 24},
    "momentum": {"P": 1 << 24},
    "resample": {"N": 16, "C": 64, "H": 64, "I": 128},
}
"""Sizes that give a GPU enough to do, by the first word of an op."""

_WORDS = {
    "layout": ("NCHW", "NHWC"),
    "mode": ("nearest", "bilinear", "bicubic"),
    "over": ("batch", "instance", "layer"),
}


def sized(op: str, given: Sizes) -> Case:
    """A case of an op with these sizes; what is not given has a default.

    Raises
    ------
    ArgumentError
        If the op has no such letter, or a size is none.
    """
    sizes = {**DEFAULTS[op], **given}
    for before, after in ("HW", "KL", "IJ"):
        if sizes.get(after, 0) is None:
            sizes[after] = sizes[before]
    setting = " ".join(f"{name}={value}" for name, value in sizes.items())
    make = _MAKERS[op]
    return Case(op, setting, lambda rng, dtype: make(op, sizes, rng, dtype))


def read(op: str, pairs: Sequence[str]) -> Sizes:
    """Read sizes and words from texts such as ``["N=2", "mode=bicubic"]``."""
    known, sizes = DEFAULTS[op], {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ArgumentError(
                message(f"--set: {op} has no {name!r}", hint=f"{hint}there are {', '.join(known)}.")
            )
        lowest = 0 if name == "padding" else 1
        words = _WORDS.get(name)
        if words and value not in words:
            raise ArgumentError(
                message(f"--set: {name} is {value!r}", hint=f"choose one of {', '.join(words)}.")
            )
        if not words and not (value.isdigit() and int(value) >= lowest):
            raise ArgumentError(
                message(f"--set: {name} is {value!r}", hint=f"an integer, at least {lowest}.")
            )
        sizes[name] = value if words else int(value)
    return sizes


# --- the calls ---


def _normal(rng: np.random.Generator, shape: Sequence[int], dtype: Any, s: Sizes) -> Array:
    x = rng.standard_normal(shape).astype(dtype)
    return channels_last(x) if s.get("layout") == "NHWC" else x


def _windows(s: Sizes) -> Windows:
    geometry = {name: s[name] for name in ("stride", "padding", "dilation")}
    return windows_over("--set", (s["H"], s["W"]), (s["K"], s["L"]), **geometry)


def _conv(op: str, s: Sizes, rng: np.random.Generator, dtype: Any) -> Call:
    if s["C"] % s["groups"] or s["O"] % s["groups"]:
        raise ArgumentError(
            message(f"--set: groups={s['groups']} does not divide C={s['C']} and O={s['O']}")
        )
    windows = _windows(s)
    shapes = {
        "x": (s["N"], s["C"], s["H"], s["W"]),
        "w": (s["O"], s["C"] // s["groups"], s["K"], s["L"]),
        "y": (s["N"], s["O"], *windows.output),
    }
    given = {"y": "xw", "x": "wy", "w": "xy"}[op[-1]]
    arrays = tuple(_normal(rng, shapes[name], dtype, s) for name in given)
    return arrays, {"windows": windows, "groups": s["groups"]}


def _gram(op: str, s: Sizes, rng: np.random.Generator, dtype: Any) -> Call:
    shapes = {
        "a": (s["N"], s["I"], s["P"]),
        "b": (s["N"], s["J"], s["P"]),
        "y": (s["N"], s["I"], s["J"]),
    }
    given = {"y": "ab", "a": "by", "b": "ay"}[op[-1]]
    return tuple(_normal(rng, shapes[name], dtype, s) for name in given), {}


def _matmul(op: str, s: Sizes, rng: np.random.Generator, dtype: Any) -> Call:
    sides = {"x": "AB", "w": "BC", "y": "AC"}
    given = {"y": "xw", "x": "wy", "w": "xy"}[op[-1]]
    shapes = ((s["N"], *(s[letter] for letter in sides[name])) for name in given)
    return tuple(_normal(rng, shape, dtype, s) for shape in shapes), {}


def _norm(op: str, s: Sizes, rng: np.random.Generator, dtype: Any) -> Call:
    axes = {"batch": (0, 2, 3), "instance": (2, 3), "layer": (1, 2, 3)}[s["over"]]
    shape = (s["N"], s["C"], s["H"], s["W"])
    scaled = shape if s["over"] == "layer" else (1, s["C"], 1, 1)
    weight, x = rng.uniform(0.5, 2, scaled).astype(dtype), _normal(rng, shape, dtype, s)
    if op == "normalize":
        return (x, weight[:1], weight[:1].copy()), {"axes": axes, "eps": 1e-5}
    kept = [1 if axis in axes else size for axis, size in enumerate(shape)]
    mean, inverse = (rng.uniform(0.5, 2, kept).astype(dtype) for _ in "mi")
    arrays = (_normal(rng, shape, dtype, s), x, mean, inverse, weight[:1])
    return arrays, {"axes": axes, "scaled": True}


def _pool(op: str, s: Sizes, rng: np.random.Generator, dtype: Any) -> Call:
    windows = _windows(s)
    x = _normal(rng, (s["N"], s["C"], s["H"], s["W"]), dtype, s)
    if op == "max_pool2d":
        return (x,), {"windows": windows}
    _, index = reference.max_pool2d(x, windows)
    index = channels_last(index) if s["layout"] == "NHWC" else index
    if op == "pick_windows":
        return (x, index), {}
    return (_normal(rng, index.shape, dtype, s), index), {"size": (s["H"], s["W"])}


def _resample(op: str, s: Sizes, rng: np.random.Generator, dtype: Any) -> Call:
    mode: Callable[..., taps.Taps] = getattr(taps, s["mode"])
    tables = {"down": mode(s["H"], s["I"]), "across": mode(s["W"], s["J"])}
    return (_normal(rng, (s["N"], s["C"], s["H"], s["W"]), dtype, s),), tables


def _sample(op: str, s: Sizes, rng: np.random.Generator, dtype: Any) -> Call:
    pixels, points = s["H"] * s["W"], (s["N"], s["P"], s["T"])
    # Neighbouring points look at neighbouring pixels, as in an image that is bent.
    index = np.sort(rng.integers(0, pixels, points), axis=1)
    shapes = {"image": (s["N"], s["C"], pixels), "weight": points, "y": (s["N"], s["C"], s["P"])}
    result = op.rpartition("_")[2]
    given = {"y": ("image", "weight"), "image": ("weight", "y"), "weight": ("image", "y")}[result]
    arrays = tuple(_normal(rng, shapes[name], dtype, s) for name in given)
    return arrays, {"index": index, **({"pixels": pixels} if result == "image" else {})}


def _channels(op: str, s: Sizes, rng: np.random.Generator, dtype: Any) -> Call:
    x, other = (_normal(rng, (s["N"], s["C"], s["H"], s["W"]), dtype, s) for _ in "xo")
    if op.startswith("rectify"):
        return (x, other) if op == "rectify_adjoint" else (x,), {"slope": 0.0}
    return (x, other[0, :, 0, 0].copy()) if op == "add_bias" else (x,), {}


def _softmax(op: str, s: Sizes, rng: np.random.Generator, dtype: Any) -> Call:
    x, grad = (_normal(rng, (s["N"], s["C"], s["H"], s["W"]), dtype, s) for _ in "xg")
    settings: dict[str, Any] = {"axis": 1, "logarithmic": True}
    if op == "softmax":
        return (x,), settings
    y = reference.softmax(x, **settings)
    return (grad, channels_last(y) if s["layout"] == "NHWC" else y), settings


def _step(op: str, s: Sizes, rng: np.random.Generator, dtype: Any) -> Call:
    arrays = [np.abs(_normal(rng, (s["P"],), dtype, s)) for _ in range(4 if op == "adam" else 3)]
    return tuple(arrays), {"rates": _RATES[op]}


_RATES = {"adam": AdamRates(0, 0.1, 0.999, 0.001, 1, 0.001, 1, 1e-8),
          "momentum": MomentumRates(0, 0.9, 1, 0.1, 0, 1)}

_FAMILIES = {"conv2d": _conv, "gram": _gram, "matmul": _matmul, "grid": _sample,
             "resample": _resample,
             "normalize": _norm, "max": _pool, "pick": _pool, "put": _pool,
             **dict.fromkeys(("rectify", "add", "channel"), _channels),
             "softmax": _softmax, **dict.fromkeys(("adam", "momentum"), _step)}
_MAKERS = {op: _FAMILIES[op.split("_")[0]] for op in DEFAULTS}


def large(op: str) -> Case:
    """A case that gives a GPU enough to do."""
    return sized(op, LARGE[op.split("_")[0]])
