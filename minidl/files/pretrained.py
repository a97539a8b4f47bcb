"""Weights that others have trained, loaded into a model.

    model = resnet18()
    load_weights(model, "resnet18")                     # by name, once it has been fetched
    load_weights(model, "folder/resnet18-f37072fd.pth")  # or by its file

Which names there are, where their files lie, and how they are verified:
``minidl.files.known_weights``.
"""

from __future__ import annotations

import os
from typing import Any, TypeGuard

import numpy as np

from minidl.compute.arrays import is_array
from minidl.errors import CheckpointError, message
from minidl.files.known_weights import find, verify
from minidl.files.serialize import load
from minidl.files.whole import Pathlike
from minidl.nn import LoadReport, Module

PARTS = ("state_dict", "model_state_dict", "model_state", "model", "net", "params", "weights")
"""Names of the part of a checkpoint that holds a network's weights, the likeliest first."""

WRAPPER = "module."
"""The beginning of every name in a file of a network that was wrapped in DataParallel."""


def load_weights(model: Module, path: Pathlike, strict: bool = True, part: str = "") -> LoadReport:
    """Load a weight file (safetensors, or PyTorch's .pth) into a model, in place.

    Parameters
    ----------
    model : Module
        The model; its ``pretrained`` becomes True.
    path : str or path
        If its name ends with ``-`` and a SHA-256 prefix, this is verified first. Or the name of a
        known file, such as "resnet18".
    strict : bool
        Whether all names must agree. Counters of batches, which files from before
        PyTorch 0.4.1 lack, may always be missing.
    part : str
        The part of the file that holds the weights, such as ``"state_dict"``. By default all of
        it, or the one of ``PARTS`` that it has. A ``module.`` before every name, which
        DataParallel leaves there, is taken away, unless the model's names have it, too.

    Returns
    -------
    LoadReport
        The names that were missing and those that were unexpected.

    Raises
    ------
    CheckpointError
        If the file is not there, is not what its name says, cannot be read, or does not fit the
        model; then nothing has been changed.
    """
    path = find(path)
    verify(path)
    state = weights_by_name(path, part)
    _refuse_blanks(path, state)
    if all(name.startswith(WRAPPER) for name in model.state_dict()):
        state = {f"{WRAPPER}{name}": value for name, value in state.items()}
    report = model.load_state_dict(state, strict)
    model.pretrained = True
    return report


def _refuse_blanks(path: Pathlike, state: dict[str, Any]) -> None:
    """Refuse arrays that are there in name only, such as the classifier of vgg16_caffe."""
    blank = [
        name for name, array in state.items()
        if array.dtype.kind == "f" and array.size
        and np.isnan(array.flat[0]) and np.isnan(array).all()
    ]
    if blank:
        raise CheckpointError(
            message(
                f"cannot load {os.fspath(path)!r}",
                f"nothing but NaN is in {', '.join(blank[:4])}{', ...' if blank[4:] else ''}",
                hint="of a VGG's file without a classifier, load_features takes the convolutions.",
            )
        )


def weights_by_name(path: Pathlike, part: str = "") -> dict[str, Any]:
    """Read a weight file's arrays by name, as ``load_weights`` finds them.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or does not hold arrays by name.
    """
    held = load(path)
    state = held.get(part) if part and isinstance(held, dict) else held
    if not part and not _is_weights(held) and isinstance(held, dict):
        state = next((held[name] for name in PARTS if _is_weights(held.get(name))), None)
    if _is_weights(state):
        wrapped = all(name.startswith(WRAPPER) for name in state)
        return {name.removeprefix(WRAPPER) if wrapped else name: v for name, v in state.items()}
    keys = ", ".join(f"{key!a}" for key in list(held)[:8]) if isinstance(held, dict) else ""
    raise CheckpointError(
        message(
            f"cannot load {os.fspath(path)!r}",
            f"{f'its part {part!r}' if part else 'it'} is not a dict of arrays by name",
            f"it holds {keys}" if keys else f"it holds a {type(held).__name__}",
            hint="say which part holds the weights, as in part='state_dict'.",
        )
    )


def _is_weights(value: Any) -> TypeGuard[dict[str, Any]]:
    return (
        isinstance(value, dict)
        and len(value) > 0
        and all(isinstance(name, str) and is_array(item) for name, item in value.items())
    )
