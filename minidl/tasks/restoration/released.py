"""The authors' own weights of SRCNN and VDSR, read from their MATLAB files.

    SRCNN   weights_conv1 (f1 f1, 64), weights_conv2 (64, f2 f2, 32), weights_conv3 (32, f3 f3),
            biases_conv1 (64, 1), ...; each f x f kernel lies column by column
    VDSR    a struct "model" of two cell arrays: weight {3, 3, C, O}, bias {O}

Both correlate, as ``conv2d`` does: no kernel is turned around. MATLAB drops a last axis of size 1.
Files are only ever taken apart, within bounds, by ``minidl/files/matlab.py``; whatever is not as
above is refused.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from minidl.errors import DataError, message
from minidl.files.matlab import Other, Value, read_matlab
from minidl.files.whole import Pathlike
from minidl.models.srcnn import KINDS, SRCNN
from minidl.models.vdsr import VDSR

SRCNN_NAMES = tuple(f"{what}_conv{k}" for k in (1, 2, 3) for what in ("weights", "biases"))
"""The variables of a file of SRCNN."""


def read_released(path: Pathlike) -> SRCNN | VDSR:
    """Read the network in a file of the authors: SRCNN (with "replicate") or VDSR.

    Raises
    ------
    DataError
        If the file is not such a one; the message names what is wrong or missing.
    """
    held = _variables(path)
    if "model" in held:
        layers = _vdsr_layers(path, held["model"])
        model: SRCNN | VDSR = VDSR(len(layers), width=layers[0][0].shape[0])
        state = {
            f"convolutions.{i}.{name}": value
            for i, layer in enumerate(layers)
            for name, value in zip(("weight", "bias"), layer, strict=True)
        }
    else:
        kind, state = _srcnn_state(path, held)
        model = SRCNN(kind)
    return _filled(path, model, state)


def _variables(path: Pathlike) -> dict[str, Value]:
    """Read the variables of SRCNN's and VDSR's files, by name."""
    held, listed = read_matlab(path, ("model", *SRCNN_NAMES))
    missing = [n for n in SRCNN_NAMES if n not in held]
    if "model" not in held and missing:
        raise _wrong(
            os.fspath(path), "neither SRCNN's weights nor VDSR's",
            f"it holds {', '.join(sorted(listed)[:8]) or 'nothing'}",
            f'missing: {", ".join(missing)}; or else the struct "model"',
        )
    return held


def _srcnn_state(path: Pathlike, held: Mapping[str, Any]) -> tuple[str, dict[str, np.ndarray]]:
    name = os.fspath(path)
    weights = [_numbers(name, f"weights_conv{k}", held[f"weights_conv{k}"]) for k in (1, 2, 3)]
    biases = [_numbers(name, f"biases_conv{k}", held[f"biases_conv{k}"]) for k in (1, 2, 3)]
    for k, (array, ndim) in enumerate(zip(weights, (2, 3, 2), strict=True), start=1):
        if array.ndim != ndim:
            raise _wrong(name, f"weights_conv{k} has shape {array.shape}, expected {ndim} axes")
    # All as (O, C, f f).
    turned = [weights[0].T[:, None], weights[1].transpose(2, 0, 1), weights[2][None]]
    sizes = tuple(math.isqrt(w.shape[2]) for w in turned)
    kinds = [kind for kind, known in KINDS.items() if known == sizes]
    channels = ((64, 1), (32, 64), (1, 32))
    expected = [(o, c, f * f) for (o, c), f in zip(channels, sizes, strict=True)]
    if not kinds or [w.shape for w in turned] != expected:
        raise _wrong(
            name, f"its weights have the shapes {', '.join(str(w.shape) for w in weights)}",
            hint=f"SRCNN is {', '.join(KINDS)}, with 64 and 32 channels.",
        )
    state = {}
    for k, (w, b, f) in enumerate(zip(turned, biases, sizes, strict=True), start=1):
        # Column by column: the running number is column * f + row.
        state[f"conv{k}.weight"] = w.reshape(*w.shape[:2], f, f).swapaxes(2, 3)
        state[f"conv{k}.bias"] = b.reshape(-1)
    return kinds[0], state


def _vdsr_layers(path: Pathlike, held: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Turn VDSR's struct into the weight (O, C, 3, 3) and the bias (O,) of each layer."""
    name = os.fspath(path)
    fields = held if isinstance(held, dict) else {}
    missing = [f for f in ("weight", "bias") if not isinstance(fields.get(f), list)]
    if missing:
        raise _wrong(
            name, f'its "model" is no struct with the field {" and ".join(missing)} of cells'
        )
    cells = [fields["weight"], fields["bias"]]
    if len(cells[0]) != len(cells[1]) or len(cells[0]) < 2:
        raise _wrong(name, f"it has {len(cells[0])} weights and {len(cells[1])} biases")
    layers = []
    for i, (w, b) in enumerate(zip(*cells, strict=True), start=1):
        weight, bias = _numbers(name, f"weight{{{i}}}", w), _numbers(name, f"bias{{{i}}}", b)
        if weight.ndim == 3:
            weight = weight[..., None]  # a last axis of size 1 was dropped
        if weight.ndim != 4 or weight.shape[:2] != (3, 3):
            raise _wrong(name, f"weight{{{i}}} has shape {weight.shape}, not (3, 3, C, O)")
        layers.append((weight.transpose(3, 2, 0, 1), bias.reshape(-1)))
    # Before a network is made, which of wide layers would be far larger than the file.
    width = len(layers[0][0])
    for i, (weight, _) in enumerate(layers, start=1):
        expected = (1 if i == len(layers) else width, 1 if i == 1 else width, 3, 3)
        if weight.shape != expected:
            raise _wrong(
                name, f"convolutions.{i - 1}.weight has shape {weight.shape}, not {expected}",
                f"(O, C, 3, 3), as weight{{1}} has {width} channels",
            )
    return layers


def _numbers(name: str, part: str, value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or not value.size:
        raise _wrong(name, f"{part} is no array of floats, but {_kind(value)}")
    with np.errstate(over="ignore"):  # past the range of float32: refused, too
        found = value.astype(np.float32)
    if not np.isfinite(found).all():
        raise _wrong(name, f"{part} holds NaN, infinity, or numbers past the range of float32")
    return found


def _kind(value: Value) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, Other):
        return value.kind
    return "cells" if isinstance(value, list) else "struct"


def _filled(path: Pathlike, model: Any, state: Mapping[str, np.ndarray]) -> Any:
    wrong = [
        f"{n} has shape {state[n].shape}, not {p.shape}"
        for n, p in model.named_parameters()
        if state[n].shape != p.shape
    ]
    if wrong:
        raise _wrong(os.fspath(path), *wrong[:4])
    model.load_state_dict(state)
    return model.eval()


def _wrong(name: str, *facts: str, hint: str = "") -> DataError:
    return DataError(message(f"cannot read weights from {name!r}", *facts, hint=hint))
