"""Moving Tensors to another device or dtype in place, so that they stay the same objects."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.compute.arrays import Array, is_gpu, to_device
from minidl.errors import DtypeError, message
from minidl.tensor import Tensor


def read_target(target: Any) -> tuple[str | None, np.dtype | None]:
    """Tell a device from a floating dtype: return (device, None) or (None, dtype).

    Raises
    ------
    DtypeError
        If the target is neither.
    """
    if target == "cpu" or is_gpu(target):
        return target, None
    try:
        dtype = np.dtype(target) if target is not None else None
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind != "f":
        raise DtypeError(
            message(
                f"to: {target!r} is neither a device nor a floating dtype",
                hint='give "cpu", "cuda", or for example numpy.float64.',
            )
        )
    return None, dtype


def convert_(tensor: Tensor, device: str | None, dtype: np.dtype | None) -> None:
    """Move a leaf and its gradient to a device, or to a dtype, in place."""
    tensor.data = _converted(tensor.data, device, dtype)
    if tensor.node is not None:  # gradients arrive in the dtype that the leaf's Node names
        tensor.node.dtype = tensor.data.dtype
    if tensor.grad is not None:
        tensor.grad = Tensor(_converted(tensor.grad.data, device, dtype))


def _converted(array: Array, device: str | None, dtype: np.dtype | None) -> Array:
    moved = to_device(array, device)
    if dtype is None or moved.dtype.kind != "f":
        return moved
    return moved.astype(dtype, copy=False)


def beside(model: Any, array: np.ndarray) -> Tensor:
    """Make a Tensor of the array on the device where the model's weights are."""
    weights = next(iter(model.parameters()), None)
    return Tensor(to_device(array, "cpu" if weights is None else weights.device))
