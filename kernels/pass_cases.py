"""Cases of passes over memory: rectifiers, biases, softmax, the steps of optimisers."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.compute import reference
from minidl.compute.arrays import Array
from minidl.compute.reference.optimizer import AdamRates, MomentumRates
from minidl.kernels.case import Call, Case, Random, Shape, channels_last


def _drawn(shape: Shape, dtype: Any, rng: Random, last: bool) -> Array:
    x = rng.standard_normal(shape).astype(dtype)
    return channels_last(x) if last else x


def _rectify(setting: str, shape: Shape, slope: float = 0.0, last: bool = False) -> list[Case]:
    def forward(rng: Random, dtype: Any) -> Call:
        x = _drawn(shape, dtype, rng, last)
        x.reshape(-1)[:3] = 0, -np.inf, np.nan
        return (x,), {"slope": slope}

    def adjoint(rng: Random, dtype: Any) -> Call:
        x = _drawn(shape, dtype, rng, last)
        x.reshape(-1)[:2] = 0, -np.inf
        return (_drawn(shape, dtype, rng, last), x), {"slope": slope}

    return [Case("rectify", setting, forward), Case("rectify_adjoint", setting, adjoint)]


_RECTIFY = [
    _rectify("ReLU", (3, 70)),
    _rectify("ReLU of one number more than packs", (3, 5, 7, 3), last=True),
    _rectify("a slope", (2, 3, 5, 7), 0.25),
    _rectify("a slope, several threads", (2, 5, 31, 53), 0.25, last=True),
]


def _bias(setting: str, shape: Shape, last: bool = True) -> list[Case]:
    def forward(rng: Random, dtype: Any) -> Call:
        arrays = _drawn(shape, dtype, rng, last), rng.standard_normal(shape[1]).astype(dtype)
        return arrays, {}

    return [Case("add_bias", setting, forward),
            Case("channel_sums", setting, lambda rng, dtype: ((forward(rng, dtype)[0][0],), {}))]


_BIAS = [
    _bias("packs", (2, 16, 5, 3)),
    _bias("channels first", (2, 3, 5, 7), last=False),
    _bias("fewer channels than a pack", (3, 3, 7, 5)),
    _bias("odd packs", (2, 21, 6, 5)),
    _bias("many packs", (2, 304, 3, 2)),
    _bias("one channel", (2, 1, 9, 7)),
    _bias("several parts", (3, 32, 23, 19)),
    _bias("no images", (0, 3, 4, 5)),
]


def _softmax(
    setting: str, shape: Shape, axis: int, last: bool = False, logarithmic: bool = False
) -> list[Case]:
    settings: dict[str, Any] = {"axis": axis, "logarithmic": logarithmic}

    def forward(rng: Random, dtype: Any) -> Call:
        return (5 * _drawn(shape, dtype, rng, last),), settings

    def adjoint(rng: Random, dtype: Any) -> Call:
        (x,), _ = forward(rng, dtype)
        return (_drawn(shape, dtype, rng, last), reference.softmax(x, **settings)), settings

    return [Case("softmax", setting, forward), Case("softmax_adjoint", setting, adjoint)]


_SOFTMAX = [
    _softmax("few classes, channels last", (2, 3, 5, 7), 1, last=True),
    _softmax("logarithm, few classes, channels last", (2, 2, 9, 11), 1, True, True),
    _softmax("channels first", (2, 3, 5, 7), 1, logarithmic=True),
    _softmax("channels first, packs", (2, 3, 4, 24), 1),
    _softmax("many classes, channels last", (2, 21, 3, 5), 1, True, True),
    _softmax("long rows", (3, 75), -1),
    _softmax("long rows in packs, logarithm", (5, 64), 1, logarithmic=True),
    _softmax("the first axis", (7, 4, 3), 0),
    _softmax("one class", (4, 1, 3, 2), 1, logarithmic=True),
    _softmax("several threads", (2, 3, 75, 70), 1, True),
    _softmax("no images", (0, 3, 4, 5), 1),
]


def _step(
    op: str, setting: str, shape: Shape, rates: AdamRates | MomentumRates, last: bool = False
) -> Case:
    """A case of an optimiser's step; the square that Adam remembers is not negative."""
    def make(rng: Random, dtype: Any) -> Call:
        p, grad, m, v = (_drawn(shape, dtype, rng, last) for _ in range(4))
        arrays = (p, grad, m, np.abs(v)) if op == "adam" else (p, grad, m)
        return arrays, {"rates": rates}

    return Case(op, setting, make)


_STEPS = [
    _step("adam", "no decay", (7, 13), AdamRates(0, 0.1, 0.99, 0.01, 1, 0.02, 1.5, 1e-8)),
    _step("adam", "decay", (5, 3, 3, 2), AdamRates(0.1, 0.1, 0.9, 0.1, 1, 0.02, 1.5, 0.01), True),
    _step("adam", "decoupled decay, several threads", (71, 130),
          AdamRates(0, 0.1, 0.99, 0.01, 0.9, 0.02, 1, 1e-8)),
    _step("momentum", "heavy ball", (7, 13), MomentumRates(0, 0.9, 0.5, 0.1, 0, 1)),
    _step("momentum", "Nesterov's, decay", (5, 3, 3, 2), MomentumRates(0.1, 0.9, 1, 0.1, 1, 0.9),
          True),
    _step("momentum", "several threads", (71, 130), MomentumRates(0.1, 0.9, 1, 0.1, 0, 1)),
]

CASES = [*(case for cases in (*_RECTIFY, *_BIAS, *_SOFTMAX) for case in cases), *_STEPS]

EXAMPLES = [
    *_rectify("example", (2, 16, 32, 32), last=True),
    *_bias("example", (2, 16, 32, 32)),
    *_softmax("example", (2, 11, 32, 32), 1, last=True, logarithmic=True),
    _step("adam", "example", (256, 128), AdamRates(0, 0.1, 0.99, 0.01, 1, 0.02, 1.5, 1e-8)),
    _step("momentum", "example", (256, 128), MomentumRates(0, 0.9, 1, 0.1, 0, 1)),
]
