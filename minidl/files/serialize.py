"""Arrays, and trees of arrays and numbers, to files and back, without running any code.

Arrays are kept in safetensors files: a JSON header, then the bytes, nothing that
is executed. A *tree* (nested dicts and lists of numbers, strings and arrays, which
is what a checkpoint is) becomes one such file, its JSON skeleton in the header.
``load`` reads both, and PyTorch's .pth files too.

Every file is written beside its target under another name and renamed over it when
it is safely on the disk, so a reader finds the old file or the new one, whole,
whatever happens to the program or the machine in between.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from minidl.compute.arrays import is_array, to_device
from minidl.errors import ArgumentError, CheckpointError, DtypeError, message
from minidl.files import torch_files
from minidl.files.whole import Pathlike, replacing

_CHECKSUM = "minidl.crc32"
"""The name in the metadata under which the file's checksum stands."""

_SKELETON = "minidl.tree"
"""The name in the metadata under which a tree's skeleton stands."""

_ARRAY = "$array"
"""The key in a skeleton that stands for an array, whose name is its value."""

_DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
           "float16", "float32", "float64", "complex64")
"""The dtypes of NumPy that a safetensors file can hold."""


_STRANGE = ("BF16", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "F6_E2M3", "F6_E3M2")
"""The types of a safetensors file that NumPy does not have, by the format's names."""

_IN_FLOAT32 = (
    "in PyTorch: from safetensors.torch import load_file, save_file; "
    "save_file({k: v.float() for k, v in load_file(path).items()}, 'weights.safetensors')"
)
"""The lines that write such a file anew."""


# --- arrays ---


def save_arrays(
    path: Pathlike, arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays to a safetensors file, in one atomic step.

    Parameters
    ----------
    path : str or path
    arrays : mapping of str to array
        NumPy or CuPy arrays of any shape and memory layout; of booleans, integers,
        floating-point numbers or complex64.
    metadata : mapping of str to str, optional
        Notes for the header; ``load_metadata`` reads them.

    Raises
    ------
    DtypeError
        If an array's dtype has no place in such a file.
    ArgumentError
        If a name is not a string, or is the one that the format keeps for itself.
    """
    ready = {name: _storable(name, array) for name, array in arrays.items()}
    notes = dict(metadata or {})
    wrong = [k for k, v in notes.items() if not (isinstance(k, str) and isinstance(v, str))]
    if wrong:
        raise ArgumentError(f"save_arrays: metadata must be strings, {wrong[0]!r} is not")
    notes[_CHECKSUM] = _checksum(ready, notes)
    with replacing(path) as temporary:
        safetensors.numpy.save_file(ready, temporary, metadata=notes)


def load_arrays(path: Pathlike) -> dict[str, np.ndarray]:
    """Read the arrays of a safetensors file, by name.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, damaged, or not a safetensors file.
    """
    return _read(path)[0]


def load_metadata(path: Pathlike) -> dict[str, str]:
    """Read the metadata that ``save_arrays`` was given.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, damaged, or not a safetensors file.
    """
    return _read(path)[1]


def _storable(name: Any, array: Any) -> np.ndarray:
    if not isinstance(name, str) or name == "__metadata__":
        raise ArgumentError(f"save_arrays: an array cannot be called {name!r}")
    if not (is_array(array) or isinstance(array, np.generic)):
        raise DtypeError(
            message(
                f"save_arrays: {name!r} is not an array",
                f"received {type(array).__name__}",
                hint="give a NumPy or CuPy array; of a Tensor, its .data.",
            )
        )
    on_cpu = np.asarray(to_device(array, "cpu"))
    if on_cpu.dtype.name not in _DTYPES:
        raise DtypeError(
            message(
                f"save_arrays: {name!r} has dtype {on_cpu.dtype}, which safetensors cannot hold",
                hint=f"it can hold {', '.join(_DTYPES)}.",
            )
        )
    # safetensors writes the memory as it lies: it has to be in C order, little-endian.
    # (Not ascontiguousarray, which gives a 0-d array an axis.)
    return np.asarray(on_cpu, on_cpu.dtype.newbyteorder("<"), order="C")


def _checksum(arrays: Mapping[str, np.ndarray], notes: Mapping[str, str]) -> str:
    """The CRC-32 of all of a file, whose format would not notice a flipped bit."""
    crc = zlib.crc32(json.dumps(sorted(notes.items())).encode())
    for name in sorted(arrays):
        array = arrays[name]
        crc = zlib.crc32(f"{name} {array.dtype.name} {array.shape}".encode("utf-8", "replace"), crc)
        crc = zlib.crc32(array.reshape(-1).view(np.uint8).data, crc)
    return f"{crc:08x}"


def _read(path: Pathlike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    if not os.path.isfile(path):
        state = "a folder" if os.path.isdir(path) else "no such file"
        raise _unusable(path, state)
    try:
        with safetensors.safe_open(path, "np") as file:
            names = list(file.keys())
            strange = {kind for n in names if (kind := file.get_slice(n).get_dtype()) in _STRANGE}
            if strange:
                raise _unusable(
                    path,
                    f"a safetensors file of {' and '.join(sorted(strange))}, which NumPy lacks",
                    _IN_FLOAT32,
                )
            arrays = {name: file.get_tensor(name) for name in names}
            notes = dict(file.metadata() or {})
    except CheckpointError:
        raise
    except Exception as cause:  # the library raises several kinds
        raise _unusable(path, f"not a whole safetensors file: {cause}") from None
    expected = notes.pop(_CHECKSUM, None)  # files that other programs wrote have none
    if expected is not None and expected != _checksum(arrays, notes):
        raise _unusable(path, "damaged: its contents do not match its checksum")
    return arrays, notes


def _unusable(path: Pathlike, reason: str, hint: str = "") -> CheckpointError:
    return CheckpointError(
        message(
            f"cannot load {os.fspath(path)!r}",
            reason,
            hint=hint or "take another copy of the file, or make it again.",
        )
    )


# --- trees ---


def save_tree(path: Pathlike, tree: Any) -> None:
    """Write nested dicts and lists of numbers, strings and arrays as one safetensors file.

    Parameters
    ----------
    path : str or path
    tree : dict, list, tuple, str, int, float, bool, None or array
        Nested as deeply as wanted; keys are strings. Tuples come back as lists, NumPy
        scalars as 0-d arrays. Integers may have any number of digits, and NaN and the
        infinities stay what they are.

    Raises
    ------
    ArgumentError
        If the tree holds anything else; the message says where.
    DtypeError
        If an array's dtype has no place in such a file.
    """
    arrays: dict[str, Any] = {}
    skeleton = _take_apart(tree, (), arrays)
    save_arrays(path, arrays, {_SKELETON: json.dumps(skeleton)})


def load_tree(path: Pathlike) -> Any:
    """Read the tree that ``save_tree`` wrote.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, damaged, or does not hold a tree.
    """
    arrays, notes = _read(path)
    if _SKELETON not in notes:
        raise _unusable(path, "a safetensors file, but only of arrays: use load_arrays")
    try:
        return _put_together(json.loads(notes[_SKELETON]), arrays)
    except (KeyError, TypeError, ValueError, RecursionError) as cause:
        raise _unusable(path, f"damaged: its skeleton does not fit its arrays: {cause}") from None


def _take_apart(tree: Any, place: tuple[str, ...], arrays: dict[str, Any]) -> Any:
    """Move the arrays of a tree into ``arrays``, and return what is left, for JSON."""
    if is_array(tree) or isinstance(tree, np.generic):  # np.float64 is a float, too
        name = "/".join(place) or "array"
        while name in arrays or name == "__metadata__":
            name += "'"
        arrays[name] = tree
        return {_ARRAY: name}
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    if isinstance(tree, list | tuple):
        return [_take_apart(item, (*place, str(i)), arrays) for i, item in enumerate(tree)]
    if isinstance(tree, Mapping):
        for key in tree:
            if not isinstance(key, str) or key == _ARRAY:
                raise ArgumentError(
                    message(
                        f"save_tree: {'/'.join(place) or 'the tree'} has the key {key!r}",
                        hint=f"keys must be strings, and not {_ARRAY!r}.",
                    )
                )
        return {key: _take_apart(item, (*place, key), arrays) for key, item in tree.items()}
    raise ArgumentError(
        message(
            f"save_tree: {'/'.join(place) or 'the tree'} is a {type(tree).__name__}",
            hint="a tree holds dicts, lists, numbers, strings, None and arrays.",
        )
    )


def _put_together(skeleton: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(skeleton, list):
        return [_put_together(item, arrays) for item in skeleton]
    if isinstance(skeleton, dict):
        if _ARRAY in skeleton:
            return arrays[skeleton[_ARRAY]]
        return {key: _put_together(item, arrays) for key, item in skeleton.items()}
    return skeleton


# --- any of these, and PyTorch's ---


def load(path: Pathlike) -> Any:
    """Read a safetensors or a PyTorch file (.pth, .pt), told apart by their first bytes.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    dict of arrays, or tree
        The arrays of a safetensors file by name, or the tree that ``save_tree`` wrote.
        What ``torch.save`` was given, of a PyTorch file: tensors as arrays (bfloat16 as
        float32; those that shared memory do so here), OrderedDict and Counter as dict,
        torch.Size as tuple, dtypes and devices as their names.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, damaged, or holds anything but tensors,
        dicts, lists, tuples, sets, numbers, strings and bytes. No part of it is ever
        executed. If it holds a whole model, say, the error says what to type in PyTorch.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(9)
            if head.startswith((torch_files.ZIP, torch_files.LEGACY)) and head[8:] != b"{":
                return torch_files.read(file)
    except torch_files.Refusal as cause:
        raise _unusable(path, str(cause), cause.hint) from None
    except FileNotFoundError:
        raise _unusable(path, "no such file", "look for its right name.") from None
    except OSError as cause:
        raise _unusable(path, cause.strerror or str(cause)) from None
    if head[8:] != b"{":  # behind the size of its JSON header, eight bytes
        raise _unusable(path, "neither a safetensors file nor one that torch.save wrote")
    arrays, notes = _read(path)
    return load_tree(path) if _SKELETON in notes else arrays


# --- JSON for people and other programs ---


def json_text(tree: Any, indent: int | None = None) -> str:
    """Write a tree as strict JSON: arrays as lists, NaN and infinity as null.

    Raises
    ------
    ArgumentError
        If the tree holds something that JSON cannot.
    """
    try:
        return json.dumps(_plain(tree), indent=indent, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as cause:
        raise ArgumentError(f"json_text: JSON cannot hold this tree: {cause}") from None


def write_json(path: Pathlike, tree: Any) -> None:
    """Write a tree as a file of strict JSON, in one atomic step."""
    text = json_text(tree, indent=2)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _plain(tree: Any) -> Any:
    if isinstance(tree, np.generic) or is_array(tree):
        return _plain(tree.tolist())
    if isinstance(tree, float):
        return tree if math.isfinite(tree) else None
    if isinstance(tree, Mapping):
        return {key: _plain(item) for key, item in tree.items()}
    if isinstance(tree, list | tuple):
        return [_plain(item) for item in tree]
    return tree
