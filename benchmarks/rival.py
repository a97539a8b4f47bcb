"""PyTorch's side of every case. Outside ``benchmarks`` and the tests nothing imports it.

The arrays are copied into memory that PyTorch allocated itself, aligned as it
likes best, in one of the memory layouts of the case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from cases import Layer
from steps import Running, Step
from torch import nn
from twins import convert, on_pytorch, tensor

from minidl import random


def use_threads(count: int) -> None:
    """Compute on so many threads."""
    torch.set_num_threads(count)


FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


def _own(array: np.ndarray, layout: str) -> torch.Tensor:
    """Copy an array into memory of PyTorch's, laid out as it calls it."""
    form = FORMATS[layout] if array.ndim == 4 else torch.contiguous_format
    return torch.from_numpy(np.array(array)).clone(memory_format=form)


class RivalLayer:
    """A function of PyTorch, ready to be called again and again."""

    def __init__(self, case: Layer, layout: str):
        self.case = case
        self.tensors: dict[str, torch.Tensor] = {}
        self.wanted: dict[str, torch.Tensor] = {}
        for name, array in case.arrays().items():
            self.tensors[name] = _own(array, layout)
            if case.wants_grad(name, array):
                self.wanted[name] = self.tensors[name].requires_grad_()
        self.upstream = _own(case.upstream(tuple(self._forward()[0].shape)), layout)

    def run(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Compute the outputs and the gradients."""
        outputs = self._forward()
        if not self.wanted:
            return outputs, ()
        return outputs, torch.autograd.grad(outputs[0], [*self.wanted.values()], self.upstream)

    def results(self) -> dict[str, np.ndarray]:
        """The arrays that both sides must agree on."""
        outputs, grads = self.run()
        found = {f"output {i}": y.detach().numpy() for i, y in enumerate(outputs)}
        found |= {f"grad_{n}": g.numpy() for n, g in zip(self.wanted, grads, strict=True)}
        return found | {name: self.tensors[name].numpy().copy() for name in self.case.fixed}

    def _forward(self) -> tuple[Any, ...]:
        y = self.case.call(F, *self.tensors.values())
        return y if isinstance(y, tuple) else (y,)


class Autoencoder(nn.Module):
    """Two stacks of layers and the cross-entropy between them."""

    def __init__(self, encoder: list[nn.Module], decoder: list[nn.Module]):
        super().__init__()
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder)

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """The cross-entropy, summed over pixels, mean over images."""
        logits = self.decoder(self.encoder(x))
        return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)


class VAE(Autoencoder):
    """An autoencoder whose codes are drawn from a normal distribution, by the twins' noise."""

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """The negative ELBO, mean over images."""
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.exp(log_var / 2) * random.normal(mean.shape)
        surprise = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum()
        return (surprise + kl) / len(x)


def _mlp_autoencoder() -> Autoencoder:
    return Autoencoder(
        [nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(),
         nn.Linear(64, 2)],
        [nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 784),
         nn.Unflatten(1, (1, 28, 28))],
    )


def _conv_autoencoder() -> Autoencoder:
    return Autoencoder(
        [nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(),
         nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
         nn.Flatten(), nn.Linear(32 * 7 * 7, 2)],
        [nn.Linear(2, 32 * 7 * 7), nn.ReLU(), nn.Unflatten(1, (32, 7, 7)),
         nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), nn.ReLU(),
         nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1)],
    )


def _mlp_vae() -> VAE:
    return VAE(
        [nn.Flatten(), nn.Linear(784, 500), nn.Tanh(), nn.Linear(500, 2 * 20)],
        [nn.Linear(20, 500), nn.Tanh(), nn.Linear(500, 784), nn.Unflatten(1, (1, 28, 28))],
    )


NETWORKS: dict[str, Callable[[], Autoencoder]] = {
    "mlp-autoencoder-step": _mlp_autoencoder,
    "conv-autoencoder-step": _conv_autoencoder,
    "mlp-vae-step": _mlp_vae,
}


class RivalStep(Running):
    """The same step by PyTorch: a network of torch.nn, or else minidl's own on PyTorch's functions.

    Adam is PyTorch's fused one, which updates all parameters in one pass.
    """

    def __init__(self, case: Step, layout: str, dtype: str = "float32"):
        fused = partial(torch.optim.Adam, fused=True)
        tensors = [_own(array, layout) for array in case.arrays(dtype)]
        super().__init__(case, _network(case, layout, dtype), tensors, fused, torch.no_grad)


def _network(case: Step, layout: str, dtype: str) -> Any:
    """The network with minidl's first weights, in a layout of PyTorch's."""
    network: Any
    if case.name in NETWORKS:
        network = NETWORKS[case.name]()
        weights = case.initialised(dtype).parameters()
        for p, ours in zip(network.parameters(), weights, strict=True):
            if tuple(p.shape) != ours.shape:
                raise ValueError(f"{case.name}: the two networks differ in their layers")
            p.data = tensor(ours)
    else:
        network = convert(case.initialised(dtype))
    for p in network.parameters():
        p.data = _own(p.detach().numpy(), layout)
    return network


def side_of(case: Layer | Step, layout: str) -> RivalLayer | RivalStep:
    """PyTorch's side of this case, from the same numbers as ours."""
    return RivalLayer(case, layout) if isinstance(case, Layer) else RivalStep(case, layout)


def exact(case: Step) -> dict[str, np.ndarray]:
    """Compute what the step gives in float64."""
    step = RivalStep(case, case.layouts[0], "float64")
    with at_work(case, same_numbers=True):
        return step.results()


@contextmanager
def at_work(case: Layer | Step, same_numbers: bool = False) -> Iterator[None]:
    """Let networks of minidl run on PyTorch's functions; with ``same_numbers``, on minidl's noise.

    What is timed draws PyTorch's random numbers.
    """
    if isinstance(case, Layer):
        yield
        return
    with on_pytorch(same_numbers):
        yield
