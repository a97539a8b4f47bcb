"""``minidl.save`` and ``minidl.load``: Tensors in nested dicts and lists, to a file and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minidl.compute.arrays import is_array, to_device
from minidl.errors import ArgumentError, message
from minidl.files import serialize
from minidl.files.whole import Pathlike
from minidl.tensor import Tensor


def save(obj: Any, path: Pathlike) -> None:
    """Write Tensors, arrays and numbers in nested dicts and lists as one safetensors file.

    The order of the arguments is PyTorch's. Nothing in such a file is ever executed, so it holds
    no objects: of a model save ``model.state_dict()``.

    Raises
    ------
    ArgumentError
        If ``obj`` holds anything else, or keys that are not strings.
    """
    if hasattr(obj, "state_dict"):
        raise ArgumentError(
            message(f"save: {type(obj).__name__} is an object, and a file holds values",
                    hint="save its .state_dict(), and give it to .load_state_dict() later.")
        )
    serialize.save_tree(path, _walked(obj, lambda x: x.data if isinstance(x, Tensor) else x))


def load(path: Pathlike, map_location: str | None = None, weights_only: bool = True) -> Any:
    """Read a file that ``save`` wrote, or PyTorch; arrays come back as Tensors.

    Tuples come back as lists.

    Parameters
    ----------
    path : str or path
    map_location : {"cpu", "cuda"}, optional
        The device of the Tensors; default: the CPU.
    weights_only : bool
        Accepted for PyTorch's sake: no file is ever executed.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or holds more than values.
    """
    tree = serialize.load(path)
    return _walked(tree, lambda x: Tensor(to_device(x, map_location)) if is_array(x) else x)


def _walked(tree: Any, leaf: Callable[[Any], Any]) -> Any:
    """Replace what is no dict, list or tuple."""
    if isinstance(tree, Mapping):
        return {key: _walked(value, leaf) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_walked(value, leaf) for value in tree]
    return leaf(tree)
