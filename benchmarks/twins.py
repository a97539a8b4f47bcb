"""minidl's networks on PyTorch's functions: the same lines, run there.

A network of ``minidl.models`` calls functions of ``minidl.functional`` on Tensors, and nearly every
one has a namesake in PyTorch of the same meaning. So its twin need not be written: inside
``on_pytorch`` these names stand for PyTorch's functions, and a network whose parameters are
PyTorch's tensors is a network of PyTorch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

import minidl.functional as F
from minidl import nn, random
from minidl.compute.arrays import to_device
from minidl.functional.pool import PickWindows
from minidl.tensor import as_tensor

PATCHED = ("minidl.nn", "minidl.models")
"""The packages whose names stand for PyTorch's functions, beside ``minidl.functional`` itself."""

OPERATORS = ("add", "sub", "mul", "div", "neg", "pow", "astype", "getitem", "to_device")
"""The functions behind a Tensor's operators, which stay: networks write the operators."""

DROPOUTS = {name: getattr(F, name) for name in ("dropout", "dropout2d")}


def tensor(value: Any) -> torch.Tensor:
    """Make an array, or a Tensor of minidl, a tensor of PyTorch."""
    if isinstance(value, torch.Tensor):
        return value
    return torch.from_numpy(np.array(as_tensor(value).data))


def convert(model: nn.Module) -> nn.Module:
    """Replace the parameters and buffers of a network by tensors of PyTorch, and return it."""
    made: dict[int, torch.Tensor] = {}
    for _, module in model.named_modules():
        store: Any
        for store in (module._parameters, module._buffers):
            for name, value in store.items():
                if value is not None:
                    twin = made.setdefault(id(value), tensor(value))
                    store[name] = twin.requires_grad_(value.requires_grad)
    return model


def _same_dropout(name: str) -> Callable[..., torch.Tensor]:
    """Drop what minidl would drop, by its own random numbers."""

    def dropout(x: torch.Tensor, p: float = 0.5, training: bool = True) -> torch.Tensor:
        ones = np.ones(tuple(x.shape), str(x.dtype).split(".")[1])
        return x * tensor(DROPOUTS[name](ones, p, training))

    return dropout


def _same_normal(shape: Any = (), dtype: Any = torch.float32, device: Any = "cpu") -> torch.Tensor:
    """Draw minidl's normal numbers as float32, whatever the dtype."""
    return tensor(NORMAL(tuple(shape), np.float32)).to(dtype)


def _own_normal(shape: Any = (), dtype: Any = torch.float32, device: Any = "cpu") -> torch.Tensor:
    return torch.randn(tuple(shape), dtype=dtype)


NORMAL = random.normal


def _fixed_unpool2d(x: torch.Tensor, scale: int = 2) -> torch.Tensor:
    y = x.new_zeros(*x.shape[:2], x.shape[2] * scale, x.shape[3] * scale)
    y[..., ::scale, ::scale] = x
    return y


class Put:
    """``PickWindows`` turned around: values put to their places, of which no two are the same."""

    def __init__(self, index: torch.Tensor, size: tuple[int, int]):
        self.index, self.size = index, size

    def transposed(self) -> Put:
        return self

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.aten.max_unpool2d(x, self.index, self.size)


def _gram_matrix(x: torch.Tensor) -> torch.Tensor:
    flat = x.flatten(2)
    return flat @ flat.transpose(1, 2)


def _bernoulli(x: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return -torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none")


def _gaussian(x: torch.Tensor, mean: torch.Tensor, log_var: torch.Tensor) -> torch.Tensor:
    log_var = torch.as_tensor(log_var, dtype=x.dtype)
    return -0.5 * (np.log(2 * np.pi) + log_var + (x - mean) ** 2 * torch.exp(-log_var))


def _gaussian_kl(
    mean: torch.Tensor, log_var: torch.Tensor, prior_mean: Any = 0.0, prior_log_var: Any = 0.0
) -> torch.Tensor:
    difference = log_var - prior_log_var
    precision = torch.exp(-torch.as_tensor(prior_log_var, dtype=mean.dtype))
    return 0.5 * (torch.exp(difference) + (mean - prior_mean) ** 2 * precision - difference - 1)


def _replacements(same_numbers: bool) -> dict[str, Any]:
    """PyTorch's functions by minidl's names, and those that PyTorch has not got."""
    found: dict[str, Any] = {}
    for name, value in vars(F).items():
        if callable(value) and name not in OPERATORS:
            found[name] = getattr(torch.nn.functional, name, None) or getattr(torch, name, value)
    return found | {
        "as_tensor": tensor,
        "bernoulli_log_likelihood": _bernoulli,
        "gaussian_log_likelihood": _gaussian,
        "gaussian_kl": _gaussian_kl,
        "fixed_unpool2d": _fixed_unpool2d,
        "gram_matrix": _gram_matrix,
        **({name: _same_dropout(name) for name in DROPOUTS} if same_numbers else {}),
    }


@contextmanager
def on_pytorch(same_numbers: bool = True) -> Iterator[None]:
    """Let networks of ``minidl.models`` call PyTorch's functions.

    With ``same_numbers`` random ones are minidl's, drawn by minidl and copied; without, PyTorch's.
    """
    before: list[tuple[Any, str, Any]] = []
    # Rooms that are imported when they are first asked for must be there to be patched.
    import minidl.models  # noqa: F401

    def put(owner: Any, name: str, value: Any) -> None:
        before.append((owner, name, vars(owner).get(name)))
        setattr(owner, name, value)

    names = _replacements(same_numbers)
    by_function = {id(vars(F)[name]): new for name, new in names.items() if name in vars(F)}
    by_function |= {id(as_tensor): tensor, id(to_device): lambda x, device: x,
                    id(PickWindows): Put}
    try:
        for path, module in list(sys.modules.items()):
            if path.startswith(PATCHED):
                for name, value in list(vars(module).items()):
                    if id(value) in by_function:
                        put(module, name, by_function[id(value)])
        for name, value in names.items():
            put(F, name, value)
        put(random, "normal", _same_normal if same_numbers else _own_normal)
        put(torch.Tensor, "astype", lambda x, dtype: x.to(dtype))
        yield
    finally:
        for owner, name, value in reversed(before):
            if value is None:
                delattr(owner, name)
            else:
                setattr(owner, name, value)
