"""PyTorch's side of every case; the only file of the project outside tests that imports it.

The arrays are copied into memory that PyTorch allocated itself, aligned as it
likes best, in the memory layout of the case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from cases import Layer
from steps import LEARNING_RATE, Step
from torch import nn

import minidl


def use_threads(count: int) -> None:
    """Compute on so many threads."""
    torch.set_num_threads(count)


def _own(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).clone(memory_format=torch.preserve_format)


class RivalLayer:
    """A function of PyTorch, ready to be called again and again."""

    def __init__(self, case: Layer):
        self.case = case
        self.tensors: dict[str, torch.Tensor] = {}
        self.wanted: dict[str, torch.Tensor] = {}
        for name, array in case.arrays().items():
            self.tensors[name] = _own(array)
            if case.wants_grad(name, array):
                self.wanted[name] = self.tensors[name].requires_grad_()
        self.upstream = _own(case.upstream(tuple(self._forward()[0].shape)))

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
    """An autoencoder whose codes are drawn from a normal distribution."""

    draw: Callable[[torch.Size], torch.Tensor] = staticmethod(torch.randn)

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """The negative ELBO, mean over images."""
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.exp(log_var / 2) * self.draw(mean.shape)
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


class RivalStep:
    """The same network in torch.nn, in training.

    Adam is PyTorch's fused one, which updates all parameters in one pass.
    """

    def __init__(self, case: Step):
        self.network = NETWORKS[case.name]()
        with torch.no_grad():
            for p, array in zip(self.network.parameters(), case.weights(), strict=True):
                if tuple(p.shape) != array.shape:
                    raise ValueError(f"{case.name}: the two networks differ in their layers")
                p.copy_(torch.from_numpy(array))
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=LEARNING_RATE, fused=True
        )
        self.x = _own(case.pixels())

    def run(self) -> torch.Tensor:
        """Take one step; return the loss before it."""
        self.optimizer.zero_grad()
        loss = self.network.loss(self.x)
        loss.backward()
        self.optimizer.step()
        return loss

    def results(self) -> dict[str, np.ndarray]:
        """Loss and gradients of a step, and the loss that the step led to."""
        minidl.manual_seed(1)
        self.network.draw = lambda shape: torch.from_numpy(minidl.random.normal(shape).data)
        try:
            found = {"loss": self.run().detach().numpy().copy()}
            for i, p in enumerate(self.network.parameters()):
                found[f"gradient of parameter {i}"] = p.grad.numpy().copy()
            return found | {"loss after a step": self.run().detach().numpy().copy()}
        finally:
            self.network.draw = torch.randn


def side_of(case: Layer | Step) -> RivalLayer | RivalStep:
    """PyTorch's side of this case, from the same numbers as ours."""
    return RivalLayer(case) if isinstance(case, Layer) else RivalStep(case)
