"""How far a network's gradient in float32 is from that in float64, and why.

    python -m benchmarks.precision             every model, narrow; minutes; writes results/
    python -m benchmarks.precision ResNet-18   some of them; no file

Where PyTorch is installed, its figures for the same network stand beside ours (``twins.py``).

Two things move a float32 gradient. Rounding, sum by sum: 1e-7 to 1e-5, more with depth and with
norms. And **a ReLU that flips**: where a number is nearly 0, rounding may change its sign, and
then the gradient of everything before it jumps, by as much as that pixel counts; so does a maximum
that moves to another pixel. One flip among eight million numbers moves VDSR's gradient, at full
width, by 6e-4, whatever the framework. So the last column imposes float64's signs on the float32
run: what is left there is rounding, and maxima that moved (SegNet and DeconvNet hand their places
on).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import minidl
import minidl.functional as F
from benchmarks.gpu.cases import Trial, models
from minidl import random


class Signs:
    """Stands in for ``F.relu``: remembers the signs of a run, or imposes them on the next."""

    def __init__(self) -> None:
        self.relu: Callable[[Any], Any] = F.relu
        self.known: list[np.ndarray] = []
        self.mode, self.flips = "record", 0

    def __call__(self, x: Any) -> Any:
        positive = x > 0
        now = np.asarray(getattr(positive, "data", positive))
        if self.mode == "record":
            self.known.append(now)
            return self.relu(x)
        signs = self.known.pop(0)
        self.flips += int((signs != now).sum())
        return x * type(positive)(signs) if self.mode == "impose" else self.relu(x)


NORMAL = random.normal


def normal_in_single(
    shape: Any = (), dtype: Any = np.float32, device: str = "cpu"
) -> minidl.Tensor:
    """Draw float32 numbers whatever dtype is asked for: both runs see the same ones."""
    return NORMAL(shape, np.float32, device).astype(dtype)


def gradient(
    trial: Trial, dtype: type, framework: str, signs: Signs, batch: int = 4
) -> np.ndarray:
    """One gradient by all parameters, from the same float32 weights and images, in float64."""
    minidl.manual_seed(0)
    model: Any = trial.build().to(dtype)
    rng = np.random.default_rng(1)
    images: Any = minidl.tensor(rng.random((batch, *trial.image), np.float32).astype(dtype))
    with run_by(framework, signs) as prepared:
        model, images = prepared(model, images)
        if trial.classes:
            scores = model(images)
            labels = rng.integers(0, trial.classes, (batch, *scores.shape[2:]))
            loss = F.cross_entropy(scores, F.as_tensor(labels))
        else:
            loss = model.loss(images) if trial.loss is None else trial.loss(model, images)
        loss.backward()
    grads = [np.asarray(p.grad.data).ravel() for p in model.parameters() if p.grad is not None]
    return np.concatenate(grads).astype(np.float64)


@contextmanager
def run_by(framework: str, signs: Signs) -> Iterator[Callable[[Any, Any], tuple[Any, Any]]]:
    """Let ``"minidl"`` or ``"torch"`` run a network, with the same numbers; ``signs`` are its ReLU.

    What it gives makes a network and images of minidl the framework's.
    """
    with ExitStack() as stack:
        if framework == "torch":
            from benchmarks.twins import convert, on_pytorch, tensor

            stack.enter_context(on_pytorch())
            prepared: Any = lambda model, images: (convert(model), tensor(images))  # noqa: E731
        else:
            stack.callback(setattr, random, "normal", NORMAL)
            random.normal = normal_in_single
            prepared = lambda model, images: (model, images)  # noqa: E731
        signs.relu = F.relu
        stack.callback(setattr, F, "relu", F.relu)
        F.relu = signs  # type: ignore[assignment]
        yield prepared


@dataclass(frozen=True)
class Distances:
    """How far a float32 gradient is from float64's, relative to its length."""

    plain: float
    flips: int
    """The ReLUs that change their sign."""
    imposed: float
    """The distance with float64's signs."""
    exact: np.ndarray
    """The gradient in float64."""


def distances(trial: Trial, framework: str = "minidl") -> Distances:
    """Compare the gradients in float32 and float64, by ``"minidl"`` or by ``"torch"``."""

    def both(mode: str) -> tuple[float, int, np.ndarray]:
        signs = Signs()
        exact = gradient(trial, np.float64, framework, signs)
        signs.mode = mode
        rounded = gradient(trial, np.float32, framework, signs)
        return distance(rounded, exact), signs.flips, exact

    (plain, flips, exact), (imposed, _, _) = both("compare"), both("impose")
    return Distances(plain, flips, imposed, exact)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The length of the difference, relative to the length of b."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def main(names: list[str], show: Callable[[str], None] = print) -> dict[str, dict[str, Any]]:
    """Print and return the figures of the models that are asked for, or of all."""
    sides = ["minidl", *(["torch"] if find_spec("torch") else [])]
    show(f"{'':32}" + "".join(f"{side:>12} {'flips':>6} {'without':>8}" for side in sides))
    found: dict[str, dict[str, Any]] = {}
    for name, trial in models().items():
        if names and name not in names:
            continue
        measured = {side: distances(trial, side) for side in sides}
        show(f"{name:32}" + "".join(f"{d.plain:12.1e} {d.flips:6} {d.imposed:8.1e}"
                                    for d in measured.values()))
        found[name] = {
            side: {"float32": d.plain, "flips": d.flips, "without_flips": d.imposed}
            for side, d in measured.items()
        }
        if len(sides) == 2:
            found[name]["between_them_in_float64"] = distance(*(d.exact for d in measured.values()))
    return found


def write(found: dict[str, Any]) -> None:
    """Keep the figures in a file of their own."""
    from benchmarks import machine

    date = datetime.now(UTC).isoformat(timespec="seconds")
    facts = machine.facts()
    stem = f"precision-{machine.slug(facts['machine']['cpu'])}-{date[:10]}"
    folder = Path(__file__).parent / "results"
    number = sum(1 for _ in folder.glob(f"{stem}*"))
    path = folder / f"{stem}{f'-{number + 1}' if number else ''}.json"
    path.write_text(json.dumps({"date": date, **facts, "models": found}, indent=1) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    asked = sys.argv[1:]
    figures = main(asked)
    if not asked:
        write(figures)
