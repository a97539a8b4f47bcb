"""Taking named Tensors' values, and putting them back: all or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minidl.compute.arrays import Array, is_array, to_device
from minidl.compute.changes import changed
from minidl.errors import CheckpointError, message
from minidl.tensor import Tensor

UNCOUNTED = ("num_batches_tracked",)
"""The buffers that files from before PyTorch 0.4.1 lack; they stay as they are, as in PyTorch."""


class LoadReport(NamedTuple):
    """The names that differ between a module and the values loaded into it."""

    missing_keys: list[str]
    """Names of the module alone, whose values are left as they were."""
    unexpected_keys: list[str]
    """Names of the loaded values alone, which are not used."""


def snapshot(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Copy the values to the CPU, in C order."""
    return {n: np.array(to_device(t.data, "cpu"), order="C") for n, t in tensors.items()}


def load(
    who: str, tensors: Mapping[str, Tensor], state: Mapping[str, Any], strict: bool
) -> LoadReport:
    """Copy values into the Tensors of the same names, in place.

    Raises
    ------
    CheckpointError
        If a value does not fit or, with ``strict``, if the names differ; the
        message lists all, and nothing has been changed.
    """
    missing = [n for n in tensors if n not in state and n.rpartition(".")[2] not in UNCOUNTED]
    unexpected = [name for name in state if name not in tensors]
    values = {name: _array(value) for name, value in state.items() if name in tensors}
    problems = [p for name, v in values.items() if (p := _misfit(name, v, tensors[name]))]
    if strict:
        problems += [f"missing: {name}, shape {tensors[name].shape}" for name in missing]
        problems += [f"unexpected: {name}" for name in unexpected]
    if problems:
        raise CheckpointError(
            message(
                f"{who}: these values do not fit this module, which is left as it was",
                *problems,
                hint=_hint(state, bool(missing or unexpected)),
            )
        )
    for name, value in values.items():
        tensors[name].data[...] = to_device(value, tensors[name].device)
        changed(tensors[name].data, f"{who}.load_state_dict")
    return LoadReport(missing, unexpected)


def _hint(state: Mapping[str, Any], names_differ: bool) -> str:
    """Say what to do about names that differ."""
    inner = [name for name, value in state.items() if isinstance(value, Mapping)]
    if inner:
        return f"the values are one level deeper: load_state_dict(state[{inner[0]!r}])."
    if state and all(name.startswith("module.") for name in state):
        return ("PyTorch's DataParallel put 'module.' before each name: "
                "{name.removeprefix('module.'): value for name, value in state.items()}.")
    return ("build the module with the settings that it was saved with"
            + ("; strict=False ignores names that differ." if names_differ else "."))


def _array(value: Any) -> Array:
    given = value.data if isinstance(value, Tensor) else value
    return given if is_array(given) else np.asarray(given)


def _misfit(name: str, value: Array, tensor: Tensor) -> str:
    if value.shape != tensor.shape:
        return f"wrong shape: {name} has {tensor.shape} here, {value.shape} was given"
    if not np.can_cast(value.dtype, tensor.dtype, "same_kind"):
        return f"wrong dtype: {name} has {tensor.dtype} here, {value.dtype} was given"
    return ""
