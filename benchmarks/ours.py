"""minidl's side of every case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cases import Layer
from steps import Running, Step

import minidl
import minidl.functional as F
from minidl import optim, random
from minidl.kernels import natively


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


class OurStep(Running):
    """A network of minidl in use."""

    def __init__(self, case: Step, dtype: str = "float32"):
        tensors = [minidl.Tensor(array) for array in case.arrays(dtype)]
        super().__init__(case, case.initialised(dtype), tensors, optim.Adam, minidl.no_grad)


def side_of(case: Layer | Step) -> OurLayer | OurStep:
    """minidl's side of this case."""
    return OurLayer(case) if isinstance(case, Layer) else OurStep(case)


def exact(case: Step, code: str) -> dict[str, np.ndarray]:
    """Compute what the step gives in float64, with the normal numbers that float32 draws."""
    normal = random.normal

    def in_single(shape: Any = (), dtype: Any = np.float32, device: str = "cpu") -> minidl.Tensor:
        return normal(shape, np.float32, device).astype(dtype)

    random.normal = in_single
    try:
        with minidl.use_kernels(code):
            return OurStep(case, "float64").results()
    finally:
        random.normal = normal


def filled_by(run: Callable[[], Any]) -> dict[str, list[str]]:
    """Which code filled arrays in a call: the hand-written functions' names, by code.

    ``"native"`` are those that the kernels computed as the CPU's own code, ``"numpy"`` those that
    they were asked for and left to NumPy. Both are empty where native code is not in use.
    """
    found: dict[str, list[str]] = {"native": [], "numpy": []}
    compute = natively.compute

    def watched(function: Any, *arguments: Any) -> Any:
        result = compute(function, *arguments)
        found["numpy" if result is None else "native"].append(function.__name__)
        return result

    natively.compute = watched
    try:
        run()
    finally:
        natively.compute = compute
    return found
