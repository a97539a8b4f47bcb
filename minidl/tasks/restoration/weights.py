"""Restoration networks to a file and back; which network a file is for, the file itself says.

A safetensors file has the weights by name, from which the kind, depth and width follow. What
does not change any shape (padding, residual, short cuts) stands in the file's metadata; where that
is missing, it is as in the paper.

    save_model("srcnn.safetensors", load_model("the authors' file.mat"))    # converts
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from minidl.errors import CheckpointError, DataError, message
from minidl.files.pretrained import weights_by_name
from minidl.files.serialize import load_metadata, save_arrays
from minidl.files.whole import Pathlike
from minidl.models.rednet import REDNet
from minidl.models.srcnn import KINDS, PADDINGS, SRCNN
from minidl.models.vdsr import VDSR
from minidl.tasks.restoration.released import read_released

Restorer: TypeAlias = SRCNN | VDSR | REDNet
State = Mapping[str, np.ndarray]
"""Weights by name."""

ENDINGS = (".safetensors", ".pth", ".pt")
"""Endings of the files that hold weights by name."""

OPTIONS = {SRCNN: "padding", VDSR: "residual", REDNet: "skips"}
"""The setting of each network that the shapes of its weights do not tell."""


def save_model(path: Pathlike, model: Restorer) -> None:
    """Write a network's weights, and what they do not tell, to a safetensors file."""
    option = OPTIONS[type(model)]
    notes = {"model": type(model).__name__, option: str(getattr(model, option))}
    save_arrays(path, model.state_dict(), notes)


def load_model(path: Pathlike) -> Restorer:
    """Load a network in evaluation mode, from a .safetensors or .pth file, or the authors' .mat.

    Parameters
    ----------
    path : str or path
        Of a PyTorch file, the part that holds the weights is found as ``load_weights`` finds it.

    Returns
    -------
    SRCNN, VDSR or REDNet
        An SRCNN that was trained with "valid" convolutions comes with "replicate", as its authors
        test it: its answers are then as large as the image.

    Raises
    ------
    DataError
        If it is neither kind of file, or a .mat file of anything else.
    CheckpointError
        If another file is damaged, or holds the weights of another network.
    """
    ending = Path(path).suffix.lower()
    if ending == ".mat":
        return read_released(path)
    if ending not in ENDINGS:
        raise DataError(
            message(
                f"cannot read weights from {os.fspath(path)!r}",
                f"its name ends in none of {', '.join((*ENDINGS, '.mat'))}",
                hint="give a file of this library or of PyTorch, or the authors' .mat file.",
            )
        )
    state = weights_by_name(path)
    notes = load_metadata(path) if ending == ".safetensors" else {}
    build = _builder(state)
    try:
        model = build(state, notes) if build else None
        if model is not None:
            model.load_state_dict(state)
    except (CheckpointError, KeyError, ValueError, IndexError, TypeError) as cause:
        raise _unknown(path, state, str(cause)) from None
    if model is None:
        raise _unknown(path, state)
    return model.eval()


def _builder(state: State) -> Callable[[State, Mapping[str, str]], Restorer] | None:
    """Find the network whose weights have such names."""
    if {"conv1.weight", "conv2.weight", "conv3.weight"} <= state.keys():
        return _srcnn
    if {"convolutions.0.weight", "deconvolutions.0.weight"} <= state.keys():
        return _rednet
    return _vdsr if "convolutions.0.weight" in state else None


def _srcnn(state: State, notes: Mapping[str, str]) -> SRCNN:
    sizes = tuple(state[f"conv{k}.weight"].shape[-1] for k in (1, 2, 3))
    kinds = [kind for kind, known in KINDS.items() if known == sizes]
    padding = notes.get("padding", "replicate")
    if not kinds or padding not in PADDINGS:
        raise ValueError(f"no SRCNN has kernels of {sizes} and padding {padding!r}")
    return SRCNN(kinds[0], "replicate" if padding == "valid" else padding)


def _vdsr(state: State, notes: Mapping[str, str]) -> VDSR:
    depth, width = _count(state, "convolutions"), len(state["convolutions.0.weight"])
    _check_size(state, 9 * width * (2 + width * (depth - 2)))
    return VDSR(
        depth=depth,
        width=width,
        residual=notes.get("residual", "True") == "True",
        bias="convolutions.0.bias" in state,
    )


def _rednet(state: State, notes: Mapping[str, str]) -> REDNet:
    width, channels = state["convolutions.0.weight"].shape[:2]
    _check_size(state, 9 * width * (2 * channels + 2 * width * (_count(state, "convolutions") - 1)))
    skips = {"True": True, "False": False}.get(notes.get("skips", ""))
    return REDNet(2 * _count(state, "convolutions"), width, channels, skips)


def _check_size(state: State, numbers: int) -> None:
    """Refuse, before it is made, a network of more numbers than the file holds."""
    held = sum(array.size for array in state.values())
    if numbers > held:
        raise ValueError(f"such a network has {numbers:,} weights, the file {held:,}")


def _count(state: State, part: str) -> int:
    return sum(name.startswith(f"{part}.") and name.endswith(".weight") for name in state)


def _unknown(path: Pathlike, state: Mapping[str, Any], reason: str = "") -> CheckpointError:
    shown = ", ".join(f"{name} {array.shape}" for name, array in list(state.items())[:3])
    return CheckpointError(
        message(
            f"{os.fspath(path)!r} does not hold the weights of SRCNN, VDSR or RED-Net",
            *reason.splitlines()[:4],
            f"it holds {len(state)} arrays: {shown}" + (", ..." if len(state) > 3 else ""),
        )
    )
