"""minidl's side of every case."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import Layer
from steps import LEARNING_RATE, Step

import minidl
import minidl.functional as F
from minidl import optim


class OurLayer:
    """A function of minidl, ready to be called again and again."""

    def __init__(self, case: Layer):
        self.case = case
        self.tensors: dict[str, minidl.Tensor] = {}
        self.wanted: dict[str, minidl.Tensor] = {}
        for name, array in case.arrays().items():
            self.tensors[name] = minidl.Tensor(array)
            if case.wants_grad(name, array):
                self.wanted[name] = self.tensors[name].requires_grad_()
        self.upstream = minidl.Tensor(case.upstream(self._forward()[0].shape))

    def run(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Compute the outputs and the gradients."""
        outputs = self._forward()
        if not self.wanted:
            return outputs, ()
        return outputs, minidl.grad(outputs[0], [*self.wanted.values()], self.upstream)

    def results(self) -> dict[str, np.ndarray]:
        """The arrays that both sides must agree on."""
        outputs, grads = self.run()
        found = {f"output {i}": y.data for i, y in enumerate(outputs)}
        found |= {f"grad_{n}": g.data for n, g in zip(self.wanted, grads, strict=True)}
        return found | {name: self.tensors[name].data.copy() for name in self.case.fixed}

    def _forward(self) -> tuple[Any, ...]:
        y = self.case.call(F, *self.tensors.values())
        return y if isinstance(y, tuple) else (y,)


class OurStep:
    """A network of minidl in training."""

    def __init__(self, case: Step):
        self.network = case.initialised()
        self.optimizer = optim.Adam(self.network.parameters(), lr=LEARNING_RATE)
        self.x = minidl.Tensor(case.pixels())

    def run(self) -> minidl.Tensor:
        """Take one step; return the loss before it."""
        self.optimizer.zero_grad()
        loss = self.network.loss(self.x)
        loss.backward()
        self.optimizer.step()
        return loss

    def results(self) -> dict[str, np.ndarray]:
        """Loss and gradients of a step, and the loss that the step led to."""
        minidl.manual_seed(1)
        found = {"loss": self.run().data.copy()}
        for i, p in enumerate(self.network.parameters()):
            found[f"gradient of parameter {i}"] = p.grad.data.copy()
        return found | {"loss after a step": self.run().data.copy()}


def side_of(case: Layer | Step) -> OurLayer | OurStep:
    """minidl's side of this case."""
    return OurLayer(case) if isinstance(case, Layer) else OurStep(case)
