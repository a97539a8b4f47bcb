"""Networks of fast style transfer in use: on a picture of any size, to a file and from one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from minidl import no_grad
from minidl.compute.arrays import is_array
from minidl.errors import CheckpointError, message
from minidl.files.known_weights import verify
from minidl.files.serialize import load, load_metadata, save_arrays
from minidl.files.whole import Pathlike
from minidl.models.johnson import NORMS, Transformer, TransformerNet, TransformNet
from minidl.tasks.perceptual.preparing import as_batch


def fast_style(model: Transformer, picture: np.ndarray) -> np.ndarray:
    """Paint a picture in a network's style, in one pass: (3, H, W) -> (3, H, W).

    Parameters
    ----------
    model : TransformNet or TransformerNet
        Used in evaluation mode, and left in it.
    picture : array, shape (3, H, W)
        RGB from 0 to 1; so is the result.

    Raises
    ------
    ShapeError, ArgumentError
        If it is no such picture, or too small to be mirrored.
    """
    device = next(iter(model.parameters())).device
    x = as_batch("fast_style", picture, device)
    with no_grad():
        y = model.eval().stylise(x).numpy()[0]
    return np.clip(y[:, : x.shape[2], : x.shape[3]], 0, 1)


class Loaded(NamedTuple):
    """A network from a file, and what people should know of it."""

    model: Transformer
    notes: tuple[str, ...]
    """Sentences about what was left out of the file."""


UNUSED_STATISTICS = re.compile(r"(^|\.)in\d+\.(running_(mean|var)|num_batches_tracked)$")
"""Names of the running statistics of instance norms, which some published files hold."""


def save_transformer(path: Pathlike, model: Transformer) -> None:
    """Write a network, and what its weights do not tell, to a .safetensors file."""
    notes = {"model": type(model).__name__, "norm": getattr(model, "norm", "instance")}
    save_arrays(path, model.state_dict(), notes)


def load_transformer(path: Pathlike) -> Loaded:
    """Load a network that ``save_transformer`` wrote, or a .pth file of pytorch/examples.

    The published .pth files also hold running statistics of instance norms, from a PyTorch that
    kept them; they were never used and are left out, with a note. A SHA-256 prefix in the file's
    name is verified.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or holds none of these networks.
    """
    verify(path)
    held = load(path)
    if not isinstance(held, Mapping) or not all(is_array(v) for v in held.values()):
        raise _unknown(path, f"it holds a {type(held).__name__}, not arrays by name")
    model: Transformer
    if "conv1.conv2d.weight" in held:
        stale = [name for name in held if UNUSED_STATISTICS.search(name)]
        state = {name: v for name, v in held.items() if name not in stale}
        model = TransformerNet(len(held["conv1.conv2d.weight"]))
    elif "layers.0.weight" in held and str(path).endswith(".safetensors"):
        stale, state = [], dict(held)
        norm = load_metadata(path).get("norm", "batch")
        blocks = len({name.split(".")[1] for name in held if ".body." in name})
        if norm not in NORMS or blocks < 1:
            raise _unknown(path, f"no TransformNet has {norm!r} norm and {blocks} blocks")
        model = TransformNet(norm, len(held["layers.0.weight"]), blocks)
    else:
        raise _unknown(path, f"it holds {len(held)} arrays: {', '.join(list(held)[:4])}, ...")
    try:
        model.load_state_dict(state)
    except CheckpointError as cause:
        raise _unknown(path, *(line.strip() for line in str(cause).splitlines()[1:4])) from None
    notes = f"{len(stale)} running statistics of instance norms were left out: nothing uses them"
    return Loaded(model.eval(), (notes,) if stale else ())


def _unknown(path: Pathlike, *facts: str) -> CheckpointError:
    return CheckpointError(
        message(
            f"'{os.fspath(path)}' holds no network of fast style transfer",
            *facts,
            hint="give a .safetensors file of save_transformer, or pytorch/examples' .pth.",
        )
    )
