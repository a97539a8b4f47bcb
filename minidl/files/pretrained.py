"""Weights that others have trained: found, verified, loaded.

torchvision's files carry the beginning of their SHA-256 in their names,

    vgg16-397923af.pth

and a file whose contents do not begin so is refused, whatever it is called and
wherever it came from. Nothing is fetched unless ``download`` is called.

    model = vgg16()
    load_weights(model, download("vgg16", "weights"))

Source: torchvision's ``models/vgg.py`` and ``models/resnet.py`` (the file names).
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any, TypeGuard

from minidl.compute.arrays import is_array
from minidl.errors import ArgumentError, CheckpointError, DataError, import_extra, message
from minidl.files.serialize import load
from minidl.files.whole import Pathlike, replacing
from minidl.nn import LoadReport, Module

SOURCE = "https://download.pytorch.org/models/"
"""The address of torchvision's weight files."""

FILES = {
    "vgg16": "vgg16-397923af.pth",
    "vgg16_bn": "vgg16_bn-6c64b313.pth",
    "vgg19": "vgg19-dcbb9e9d.pth",
    "vgg19_bn": "vgg19_bn-c79401a0.pth",
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
}
"""The name of each network's weight file, trained on ImageNet."""

PARTS = ("state_dict", "model_state_dict", "model_state", "model", "net", "params", "weights")
"""Names of the part of a checkpoint that holds a network's weights, the likeliest first."""

WRAPPER = "module."
"""The beginning of every name in a file of a network that was wrapped in DataParallel."""

_PREFIX = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")


def verify(path: Pathlike, name: str = "") -> str:
    """Compare a file's contents with the SHA-256 prefix in its name.

    Parameters
    ----------
    path : str or path
    name : str
        Compare with the prefix in this name instead.

    Returns
    -------
    str
        The prefix; empty if the name has none, and nothing was compared.

    Raises
    ------
    CheckpointError
        If they differ, or the file cannot be read.
    """
    named = _PREFIX.search(name or Path(path).name)
    if named is None:
        return ""
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise CheckpointError(f"cannot load {os.fspath(path)!r}: {cause.strerror}") from None
    if not digest.startswith(named[1]):
        raise CheckpointError(
            message(
                f"cannot load {os.fspath(path)!r}",
                f"its name says that its SHA-256 begins with {named[1]}",
                f"it is {digest}",
                hint="take another copy; if these digits mean something else, rename it.",
            )
        )
    return named[1]


def load_weights(model: Module, path: Pathlike, strict: bool = True, part: str = "") -> LoadReport:
    """Load a weight file (safetensors, or PyTorch's .pth) into a model, in place.

    Parameters
    ----------
    model : Module
        The model; its ``pretrained`` becomes True.
    path : str or path
        If its name ends with ``-`` and a SHA-256 prefix, this is verified first.
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
        If the file is not what its name says, cannot be read, or does not fit the
        model; then nothing has been changed.
    """
    verify(path)
    state = weights_by_name(path, part)
    if all(name.startswith(WRAPPER) for name in model.state_dict()):
        state = {f"{WRAPPER}{name}": value for name, value in state.items()}
    report = model.load_state_dict(state, strict)
    model.pretrained = True
    return report


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


def download(name: str, folder: Pathlike) -> Path:
    """Fetch a network's weight file, unless the folder has it, and verify it.

    Parameters
    ----------
    name : str
        One of ``FILES``.
    folder : str or path
        The folder to keep it in.

    Returns
    -------
    Path
        The file, for ``load_weights``.

    Raises
    ------
    ArgumentError
        If there is no such name.
    MissingExtraError
        If pooch is not installed (``minidl[data]``).
    DataError
        If the file cannot be fetched.
    CheckpointError
        If it is not what its name says.
    """
    if name not in FILES:
        raise ArgumentError(
            message(
                f"download: no weights are known for {name!r}",
                hint=f"choose one of {tuple(FILES)}.",
            )
        )
    target = Path(folder) / FILES[name]
    if target.exists():
        verify(target)
        return target
    pooch = import_extra("pooch", "data", "minidl.files.pretrained.download")
    with replacing(target) as temporary:
        try:
            pooch.HTTPDownloader()(SOURCE + FILES[name], str(temporary), None)
        except (OSError, ValueError) as cause:  # no connection; no such file there
            raise DataError(
                message(
                    f"download: {FILES[name]} could not be fetched into '{folder}'",
                    f"{type(cause).__name__}: {cause}",
                    hint="try again later, or put the file there yourself.",
                )
            ) from cause
        verify(temporary, FILES[name])  # before it gets its name
    return target
