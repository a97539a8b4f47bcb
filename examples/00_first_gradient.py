"""The first gradient: by hand, by finite differences, by autograd.

One neuron looks at an input x, and its answer is compared with a target t:

    s    = sigmoid(w . x + b)
    loss = (s - t)^2

Three ways to ask how the loss changes with each weight. The calculus book gives
a formula; a finite difference nudges one number and looks; autograd walks back
through the computation. They must agree, and this script fails if they do not.
"""

from __future__ import annotations

import numpy as np

import minidl
import minidl.functional as F
from minidl.lecture.flags import add_device_argument, arguments
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table

X = np.array([0.5, -1.0, 2.0])
TARGET = 1.0


def loss_of(w: minidl.Tensor, b: minidl.Tensor) -> minidl.Tensor:
    """The neuron's loss, for Tensors."""
    s = F.sigmoid((w * minidl.tensor(X, device=w.device)).sum() + b)
    return (s - TARGET) ** 2


def loss_of_numbers(w: np.ndarray, b: float) -> float:
    """The neuron's loss in plain NumPy: the check of an engine should not trust the engine."""
    s = 1 / (1 + np.exp(-(w @ X + b)))
    return float((s - TARGET) ** 2)


def by_hand(w: np.ndarray, b: float) -> np.ndarray:
    """The chain rule on paper: 2 (s - t) * s (1 - s) * x, and 1 in place of x for b."""
    s = 1 / (1 + np.exp(-(w @ X + b)))
    return 2 * (s - TARGET) * s * (1 - s) * np.append(X, 1.0)


def by_differences(w: np.ndarray, b: float, step: float = 1e-5) -> np.ndarray:
    """Nudge each number up and down: (f(p + h) - f(p - h)) / 2h."""
    p = np.append(w, b)
    slopes = []
    for i in range(len(p)):
        h = step * np.eye(len(p))[i]
        up, down = p + h, p - h
        difference = loss_of_numbers(up[:-1], up[-1]) - loss_of_numbers(down[:-1], down[-1])
        slopes.append(difference / (2 * step))
    return np.array(slopes)


def by_autograd(w: np.ndarray, b: float, device: str) -> np.ndarray:
    """One walk back through the graph."""
    weights = minidl.tensor(w, device=device, requires_grad=True)
    bias = minidl.tensor(np.array(b), device=device, requires_grad=True)
    loss_of(weights, bias).backward()
    assert weights.grad is not None and bias.grad is not None
    return np.append(weights.grad.numpy(), bias.grad.numpy())


def curvature(w: np.ndarray, b: float, device: str) -> tuple[float, float]:
    """d^2 loss / db^2: the gradient's own gradient, and a difference of gradients by hand."""
    bias = minidl.tensor(np.array(b), device=device, requires_grad=True)
    weights = minidl.tensor(w, device=device)
    (slope,) = minidl.grad(loss_of(weights, bias), bias, create_graph=True)
    assert slope is not None
    (bend,) = minidl.grad(slope, bias)
    assert bend is not None
    step = 1e-5
    return bend.item(), (by_hand(w, b + step)[-1] - by_hand(w, b - step)[-1]) / (2 * step)


def main() -> None:
    parser = arguments(__doc__, "00_first_gradient")
    add_device_argument(parser)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    w, b = rng.standard_normal(3), float(rng.standard_normal())

    columns = by_hand(w, b), by_differences(w, b), by_autograd(w, b, args.device)
    names = ["d loss / d w0", "d loss / d w1", "d loss / d w2", "d loss / d b"]
    rows = [
        [name, *(f"{c[i]:+.12f}" for c in columns)] for i, name in enumerate(names)
    ]
    bend, difference = curvature(w, b, args.device)
    rows.append(["d2 loss / d b2", "", f"{difference:+.12f}", f"{bend:+.12f}"])
    print(table(["", "by hand", "finite differences", "autograd"], rows))

    hand, differences, autograd = columns
    np.testing.assert_allclose(autograd, hand, rtol=1e-12)
    np.testing.assert_allclose(differences, hand, rtol=1e-6)
    np.testing.assert_allclose(bend, difference, rtol=1e-6)
    errors = {
        "autograd": float(np.abs(autograd - hand).max()),
        "finite_differences": float(np.abs(differences - hand).max()),
    }
    print(f"\nLargest distance from the hand-made gradient: autograd {errors['autograd']:.1e}, "
          f"finite differences {errors['finite_differences']:.1e}.")
    print(f"Saved {write_metrics(args.out, {'largest_error': errors, 'second_derivative': bend})}")


if __name__ == "__main__":
    main()
