"""How far a network's gradient in float32 is from that in float64, and why.

    python benchmarks/precision.py             every model, narrow; a minute or two
    python benchmarks/precision.py ResNet-18   some of them

Two things move a float32 gradient. Rounding, sum by sum: 1e-7 to 1e-5, more with depth and with
norms. And **a ReLU that flips**: where a number is nearly 0, rounding may change its sign, and
then the gradient of everything before it jumps, by as much as that pixel counts; so does a maximum
that moves to another pixel. One flip among eight million numbers moves VDSR's gradient, at full
width, by 6e-4, whatever the framework. So the last column imposes float64's signs on the float32
run: what is left there is rounding, and maxima that moved (SegNet and DeconvNet hand their places
on).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
import minidl.functional as F
from benchmarks.gpu.cases import Trial, models
from minidl import random


class Signs:
    """Stands in for ``F.relu``: remembers the signs of a run, or imposes them on the next."""

    def __init__(self) -> None:
        self.relu = F.relu
        self.known: list[np.ndarray] = []
        self.mode, self.flips = "record", 0

    def __call__(self, x: Any) -> minidl.Tensor:
        x = minidl.as_tensor(x)
        if self.mode == "record":
            self.known.append(x.data > 0)
            return self.relu(x)
        signs = self.known.pop(0)
        self.flips += int((signs != (x.data > 0)).sum())
        return x * minidl.Tensor(signs) if self.mode == "impose" else self.relu(x)


NORMAL = random.normal


def normal_in_single(
    shape: Any = (), dtype: Any = np.float32, device: str = "cpu"
) -> minidl.Tensor:
    """Draw float32 numbers whatever dtype is asked for: both runs see the same ones."""
    return NORMAL(shape, np.float32, device).astype(dtype)


def gradient(trial: Trial, dtype: type, batch: int = 4) -> np.ndarray:
    """One gradient by all parameters, from the same float32 weights and images, in float64."""
    minidl.manual_seed(0)
    model = trial.build().to(dtype)
    rng = np.random.default_rng(1)
    images = minidl.tensor(rng.random((batch, *trial.image), np.float32).astype(dtype))
    if trial.classes:
        scores = model(images)
        labels = rng.integers(0, trial.classes, (batch, *scores.shape[2:]))
        loss = F.cross_entropy(scores, labels)
    else:
        loss = model.loss(images) if trial.loss is None else trial.loss(model, images)
    loss.backward()
    grads = [p.grad.data.ravel() for p in model.parameters() if p.grad is not None]
    return np.concatenate(grads).astype(np.float64)


def distances(trial: Trial) -> tuple[float, int, float]:
    """The distance of the two gradients, the ReLUs that flip, and the distance without flips."""

    def both(mode: str) -> tuple[float, int]:
        signs = Signs()
        F.relu = signs  # type: ignore[assignment]
        random.normal = normal_in_single
        try:
            exact = gradient(trial, np.float64)
            signs.mode = mode
            rounded = gradient(trial, np.float32)
        finally:
            F.relu = signs.relu
            random.normal = NORMAL
        return float(np.linalg.norm(rounded - exact) / np.linalg.norm(exact)), signs.flips

    (plain, flips), (imposed, _) = both("compare"), both("impose")
    return plain, flips, imposed


def main(names: list[str], show: Callable[[str], None] = print) -> int:
    """Print the models that are asked for, or all."""
    show(f"{'':32}  float32   flips  without")
    for name, trial in models().items():
        if not names or name in names:
            plain, flips, imposed = distances(trial)
            show(f"{name:32}  {plain:7.1e}  {flips:6}  {imposed:7.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
