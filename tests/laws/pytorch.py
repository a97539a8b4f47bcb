"""PyTorch behind the samples' ``F``: the same lines, run there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.samples import Sample, all_samples

COMPARABLE = [s for s in all_samples() if s.torch]
"""The samples that mean the same in PyTorch."""


class TorchFunctions:
    """torch.nn.functional, then torch, under one name."""

    def __init__(self) -> None:
        import torch

        self.torch = torch
        self.distributions = torch.distributions
        self.as_tensor = torch.as_tensor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.torch.nn.functional, name, None) or getattr(self.torch, name)


def line(sample: Sample) -> Callable[..., Any]:
    """The sample's line for PyTorch."""
    return sample.torch if callable(sample.torch) else sample.call


def answers(sample: Sample) -> list[np.ndarray]:
    """PyTorch's value of a sample and its gradients by each input, in float64.

    The output is weighed with the numbers of ``weights_of``.
    """
    import torch

    inputs = [torch.tensor(a, requires_grad=True) for a in sample.inputs()]
    value = line(sample)(TorchFunctions(), *inputs)
    weights = torch.tensor(weights_of(tuple(value.shape)))
    grads = torch.autograd.grad(value, inputs, weights, allow_unused=True)
    zeros = [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, grads, strict=True)]
    return [value.detach().numpy(), *(g.numpy() for g in zeros)]


def second_answers(sample: Sample, weights: list[np.ndarray]) -> list[np.ndarray]:
    """PyTorch's gradients of the weighed gradients, by each input and by the output's weights.

    ``weights`` has one array per input: those of that input's gradient.
    """
    import torch

    inputs = [torch.tensor(a, requires_grad=True) for a in sample.inputs()]
    value = line(sample)(TorchFunctions(), *inputs)
    v = torch.tensor(weights_of(tuple(value.shape)), requires_grad=True)
    first = torch.autograd.grad(value, inputs, v, create_graph=True, allow_unused=True)
    ends = [(g, torch.tensor(w)) for g, w in zip(first, weights, strict=True) if g is not None]
    second = torch.autograd.grad(
        [g for g, _ in ends], [*inputs, v], [w for _, w in ends], allow_unused=True
    )
    return [
        np.zeros(tuple(x.shape)) if g is None else g.numpy(force=True)
        for x, g in zip([*inputs, v], second, strict=True)
    ]


def weights_of(shape: tuple[int, ...]) -> np.ndarray:
    """The weights of an output's elements, the same on both sides."""
    return np.random.default_rng(1).standard_normal(shape)
