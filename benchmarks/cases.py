"""What is timed: single functions, each one line written against ``F``.

``F`` is minidl.functional on one side and torch.nn.functional on the other, so
both run the very same line on the same numbers. All arrays are float32.

``predicted`` is the ratio minidl / PyTorch that was expected before anything was
measured. It stays as it was: a wrong guess teaches where the time really goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Draw = Callable[[np.random.Generator, Shape], np.ndarray]


def normal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Standard normal numbers; never zeros, which some machines multiply faster."""
    return rng.standard_normal(shape, np.float32)


def positive(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Numbers between 0.5 and 1.5."""
    return 0.5 + rng.random(shape, np.float32)


def places(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Coordinates to sample at, between -1 and 1, so every point is inside the image."""
    return 2 * rng.random(shape, np.float32) - 1


def indices(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """One place h W + w in each 2x2 window, as 2x2 max-pooling gives them."""
    i, j = shape[2:]
    rows = 2 * np.arange(i)[:, None] + rng.integers(0, 2, shape)
    return rows * (2 * j) + 2 * np.arange(j) + rng.integers(0, 2, shape)


@dataclass(frozen=True)
class Layer:
    """One function, forward and (unless said otherwise) backward.

    Attributes
    ----------
    name : str
        What ``--only`` takes.
    call : function of (F, *tensors)
        The line; it may return a tuple, of which the first is differentiated.
    shapes : mapping of names to shapes
        The tensors, in the order ``call`` takes them.
    predicted : float
        The expected ratio, written before measuring.
    layout : {"NCHW", "channels_last"}
        How arrays with four axes lie in memory, on both sides.
    layouts : tuple of str
        Those in which PyTorch is timed; its better one counts. Default: ``layout`` alone.
    draw : mapping of names to functions
        How a tensor is drawn; default: ``normal``.
    fixed : tuple of str
        Tensors that want no gradient. Integers never do.
    backward : bool
        Whether the gradients of all other tensors are computed and timed too.
    """

    name: str
    call: Callable[..., Any]
    shapes: Mapping[str, Shape]
    predicted: float
    layout: str = "NCHW"
    layouts: tuple[str, ...] = ()
    draw: Mapping[str, Draw] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()
    backward: bool = True

    def __post_init__(self) -> None:
        if not self.layouts:
            object.__setattr__(self, "layouts", (self.layout,))

    def arrays(self) -> dict[str, np.ndarray]:
        """The tensors' values: the same at every call, in fresh memory."""
        rng = np.random.default_rng([*self.name.encode()])
        return {
            name: self.laid_out(self.draw.get(name, normal)(rng, shape))
            for name, shape in self.shapes.items()
        }

    def upstream(self, shape: Shape) -> np.ndarray:
        """The gradient of the output, where the backward pass starts."""
        return self.laid_out(normal(np.random.default_rng(0), shape))

    def laid_out(self, array: np.ndarray) -> np.ndarray:
        """The array in this case's memory layout; its axes stay (N, C, H, W)."""
        if self.layout == "channels_last" and array.ndim == 4:
            last = np.ascontiguousarray(array.transpose(0, 2, 3, 1))
            return last.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(array)

    def wants_grad(self, name: str, array: np.ndarray) -> bool:
        """Whether this tensor's gradient is computed."""
        return self.backward and array.dtype.kind == "f" and name not in self.fixed


BIG = {"x": (32, 64, 64, 64), "weight": (64, 64, 3, 3)}
MAP = (8, 64, 64, 64)
"""A feature map of 8.4 MB."""


def _conv3x3(F: Any, x: Any, weight: Any) -> Any:
    return F.conv2d(x, weight, padding=1)


CONVOLUTIONS = [
    Layer("conv2d", _conv3x3, BIG, 0.85),
    Layer("conv2d-channels-last", _conv3x3, BIG, 1.2, layout="channels_last"),
    Layer("conv2d-forward", _conv3x3, BIG, 0.8, backward=False),
    Layer("conv2d-small", _conv3x3, {"x": (8, 16, 8, 8), "weight": (16, 16, 3, 3)}, 3.0),
    Layer(
        "conv2d-1x1",
        lambda F, x, weight: F.conv2d(x, weight),
        {"x": MAP, "weight": (64, 64, 1, 1)},
        1.5,
    ),
    Layer(
        "conv2d-stride-2",
        lambda F, x, weight: F.conv2d(x, weight, stride=2, padding=1),
        {"x": MAP, "weight": (64, 64, 3, 3)},
        1.6,
    ),
    Layer(
        "conv-transpose2d",
        lambda F, x, weight: F.conv_transpose2d(x, weight, stride=2, padding=1),
        {"x": (8, 64, 32, 32), "weight": (64, 64, 4, 4)},
        1.3,
    ),
]

POOLING = [
    Layer(
        "max-pool2d",
        lambda F, x: F.max_pool2d(x, 2, return_indices=True),
        {"x": MAP},
        6.0,
    ),
    Layer(
        "max-unpool2d",
        lambda F, x, indices: F.max_unpool2d(x, indices, 2),
        {"x": (8, 64, 32, 32), "indices": (8, 64, 32, 32)},
        6.0,
        draw={"indices": indices},
    ),
    Layer("avg-pool2d", lambda F, x: F.avg_pool2d(x, 2), {"x": MAP}, 8.0),
]

RESAMPLING = [
    Layer(
        "nearest-x2",
        lambda F, x: F.interpolate(x, scale_factor=2, mode="nearest"),
        {"x": (8, 64, 32, 32)},
        6.0,
    ),
    Layer(
        "bilinear-x2",
        lambda F, x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
        {"x": (8, 64, 32, 32)},
        8.0,
    ),
    Layer(
        "bicubic-x2",
        lambda F, x: F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False),
        {"x": (8, 64, 32, 32)},
        3.0,
    ),
    Layer(
        "grid-sample",
        lambda F, x, grid: F.grid_sample(x, grid, mode="bilinear", align_corners=False),
        {"x": (8, 16, 64, 64), "grid": (8, 64, 64, 2)},
        10.0,
        draw={"grid": places},
    ),
]

NORMS = [
    Layer(
        "batch-norm",
        lambda F, x, mean, var, weight, bias: F.batch_norm(
            x, mean, var, weight, bias, training=True
        ),
        {"x": MAP, "running_mean": (64,), "running_var": (64,), "weight": (64,), "bias": (64,)},
        8.0,
        draw={"running_var": positive},
        fixed=("running_mean", "running_var"),
    ),
    Layer(
        "layer-norm",
        lambda F, x, weight, bias: F.layer_norm(x, (256,), weight, bias),
        {"x": (8192, 256), "weight": (256,), "bias": (256,)},
        8.0,
    ),
    Layer(
        "group-norm",
        lambda F, x, weight, bias: F.group_norm(x, 8, weight, bias),
        {"x": MAP, "weight": (64,), "bias": (64,)},
        8.0,
    ),
    Layer("relu", lambda F, x: F.relu(x), {"x": MAP}, 3.0),
    Layer("relu-small", lambda F, x: F.relu(x), {"x": (16,)}, 1.5),
]

LAYERS = [*CONVOLUTIONS, *POOLING, *RESAMPLING, *NORMS]
