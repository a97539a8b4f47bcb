"""What is timed: whole training steps of networks from ``minidl.models``, and two other uses.

A step is zero_grad, loss, backward and a step of Adam, on one batch that stays
in memory. A loss is a line that both sides run: on PyTorch's side the names of
``F`` stand for PyTorch's functions (``twins.py``), and so does every name that
the network calls. Three networks have a rival that was written by hand
(``rival.py``), the small ones, where the calls of Python count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from cases import CONVOLUTIONS, Draw, Layer, normal

import minidl
import minidl.functional as F
from minidl import nn
from minidl.models.autoencoder import Autoencoder, conv_autoencoder, mlp_autoencoder
from minidl.models.johnson import TransformerNet
from minidl.models.resnet import resnet18
from minidl.models.segnet import SegNet
from minidl.models.unet import UNet
from minidl.models.vae import mlp_vae
from minidl.models.vdsr import VDSR
from minidl.models.vgg import vgg16

LEARNING_RATE = 1e-3

IMAGE_LAYOUTS = ("NCHW", "channels_last")
"""Layouts in memory that PyTorch may choose from."""


def own_loss(network: Any, x: Any) -> Any:
    """The loss that the network itself has."""
    return network.loss(x)


def cross_entropy(network: Any, x: Any, labels: Any) -> Any:
    """The loss of a classifier of images, or of pixels."""
    return F.cross_entropy(network(x), labels)


def squared_error(network: Any, x: Any, target: Any) -> Any:
    """The loss of whatever makes images of images."""
    return F.mse_loss(network(x), target)


@dataclass(frozen=True)
class Step:
    """One training step of one network, or another use of it.

    Attributes
    ----------
    name : str
        What ``--only`` takes, and the rival's name in ``rival.NETWORKS``.
    network : function
        Makes the network.
    batch : shape (N, C, H, W)
    predicted : float
        The expected ratio, written before measuring.
    loss : function of (network, x, *targets)
        Gives a number.
    targets : mapping of names to shapes
        What ``loss`` takes beside the batch.
    draw : mapping of names to functions
        How a target is drawn; default: ``normal``.
    learns : {"weights", "pixels", "nothing"}
        ``"weights"``: a training step. ``"pixels"``: the gradient of the loss by the batch, the
        weights being fixed. ``"nothing"``: the network's answer, without a gradient.
    layouts : tuple of str
        Those in which PyTorch is timed; its better one counts.
    """

    name: str
    network: Callable[[], nn.Module]
    batch: tuple[int, int, int, int]
    predicted: float
    loss: Callable[..., Any] = own_loss
    targets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    draw: Mapping[str, Draw] = field(default_factory=dict)
    learns: str = "weights"
    layouts: tuple[str, ...] = IMAGE_LAYOUTS

    layout = "NCHW"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The sizes that are reported."""
        return {"x": self.batch, **self.targets}

    def initialised(self, dtype: str) -> nn.Module:
        """The network with its first weights, float32 numbers: the same at every call."""
        minidl.manual_seed(0)
        network = self.network().to(dtype)
        return network if self.learns == "weights" else network.eval().requires_grad_(False)

    def arrays(self, dtype: str) -> list[np.ndarray]:
        """The batch, numbers between 0 and 1 as pixels are, and the targets: float32 numbers."""
        rng = np.random.default_rng(0)
        drawn = [rng.random(self.batch, np.float32)] + [
            self.draw.get(name, normal)(rng, shape) for name, shape in self.targets.items()
        ]
        return [array.astype(dtype) if array.dtype.kind == "f" else array for array in drawn]


class Running:
    """A step that is taken again and again: the lines that both libraries run.

    Parameters
    ----------
    case : Step
    network : Module of either library
    tensors : list
        The batch and the targets.
    adam, no_grad : callable
        The library's own.
    """

    def __init__(self, case: Step, network: Any, tensors: list[Any], adam: Any, no_grad: Any):
        self.case, self.network, self.no_grad = case, network, no_grad
        self.x, *self.targets = tensors
        self.changed: dict[str, Any] = {}
        if case.learns == "weights":
            self.changed = {f"parameter {i}": p for i, p in enumerate(network.parameters())}
            self.optimizer = adam([*self.changed.values()], lr=LEARNING_RATE)
        elif case.learns == "pixels":
            self.changed = {"the pixels": self.x.requires_grad_()}

    def run(self) -> Any:
        """Take one step; return the loss before it, or the answer if nothing is learned."""
        if self.case.learns == "nothing":
            with self.no_grad():
                return self.network(self.x)
        if self.case.learns == "pixels":
            self.x.grad = None
        else:
            self.optimizer.zero_grad()
        loss = self.case.loss(self.network, self.x, *self.targets)
        loss.backward()
        if self.case.learns == "weights":
            self.optimizer.step()
        return loss

    def results(self) -> dict[str, np.ndarray]:
        """Loss and gradients of a step, and the loss that the step led to."""
        minidl.manual_seed(1)
        found = {"answer" if self.case.learns == "nothing" else "loss": _copied(self.run())}
        for name, p in self.changed.items():
            found[f"gradient of {name}"] = _copied(p.grad)
        if self.case.learns == "weights":
            found["loss after a step"] = _copied(self.run())
        return found


def _copied(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy().copy()


def classes(count: int) -> Draw:
    """Draw labels of so many classes."""
    return lambda rng, shape: rng.integers(0, count, shape)


def tutorial_autoencoder() -> Autoencoder:
    """The autoencoder of many tutorials: its decoder starts by a 7x7 window from each 1x1 map."""
    return Autoencoder(
        nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(32, 64, 7),
        ),
        nn.Sequential(
            nn.ConvTranspose2d(64, 32, 7), nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 3, stride=2, padding=1, output_padding=1),
        ),
    )


STYLE = {"relu1_1": 64, "relu2_1": 128, "relu3_1": 256, "relu4_1": 512, "relu5_1": 512}
"""Layers whose Gram matrices Gatys et al. compare, and their channels."""
CONTENT = "relu4_2"


def _style_transfer(network: Any, x: Any, content: Any, *grams: Any) -> Any:
    taps = network.taps(x, [*STYLE, CONTENT])
    loss = F.mse_loss(taps[CONTENT], content)
    for name, target in zip(STYLE, grams, strict=True):
        y = taps[name]
        loss = loss + F.mse_loss(F.gram_matrix(y) * (1 / math.prod(y.shape[1:])), target)
    return loss


UNET = Step(
    "unet-step", lambda: UNet(1, 2, width=16, depth=3, padding="same"), (8, 1, 64, 64), 0.95,
    cross_entropy, {"labels": (8, 64, 64)}, {"labels": classes(2)},
)

STEPS = [
    Step("mlp-autoencoder-step", lambda: mlp_autoencoder((1, 28, 28)), (128, 1, 28, 28), 1.8,
         layouts=("NCHW",)),
    Step(
        "conv-autoencoder-step",
        lambda: conv_autoencoder((1, 28, 28), channels=(16, 32)),
        (128, 1, 28, 28),
        2.5,
    ),
    Step("mlp-vae-step", lambda: mlp_vae((1, 28, 28), latent=20), (100, 1, 28, 28),
         1.15,  # for native code; for NumPy alone it had been 1.6
         layouts=("NCHW",)),
    UNET,
    Step("resnet18-step", resnet18, (8, 3, 64, 64), 1.0,
         cross_entropy, {"labels": (8,)}, {"labels": classes(1000)}),
    Step("vdsr-step", VDSR, (16, 1, 41, 41), 0.7, squared_error, {"target": (16, 1, 41, 41)}),
    Step("transformer-net-step", TransformerNet, (2, 3, 128, 128), 0.75,
         squared_error, {"target": (2, 3, 128, 128)}),
    Step("segnet-step", lambda: SegNet(11, width=0.5, eps=1e-3), (2, 3, 90, 120), 0.85,
         cross_entropy, {"labels": (2, 90, 120)}, {"labels": classes(11)}),
    Step("tutorial-autoencoder-step", tutorial_autoencoder, (32, 1, 28, 28), 1.2),
    Step(
        "gatys-iteration", lambda: vgg16(num_classes=1, hidden=1, pooling="average"),
        (1, 3, 256, 256), 0.7, _style_transfer,
        {"content": (1, 512, 32, 32), **{f"gram {n}": (1, c, c) for n, c in STYLE.items()}},
        learns="pixels",
    ),
    Step("vdsr-forward", VDSR, (1, 1, 256, 256), 0.65, learns="nothing"),
]


# --- the same work, at other sizes: growth.py ---

PIXELS, BATCHES = (16, 32, 64, 128, 256), (1, 2, 4, 8, 16, 32, 64)
"""Rows and columns of images, and numbers of images."""


def grown(case: Layer | Step, batch: tuple[int, int]) -> Layer | Step:
    """The same work on N images of H by H pixels, ``batch`` = (N, H)."""
    n, h = batch
    name = f"{case.name} {n} x {h}"
    if isinstance(case, Step):
        return replace(case, name=name, batch=(n, case.batch[1], h, h),
                       targets={key: (n, h, h) for key in case.targets})
    return replace(case, name=name, shapes={**case.shapes, "x": (n, case.shapes["x"][1], h, h)})


CONVOLUTION = replace(
    next(case for case in CONVOLUTIONS if case.name == "conv2d-channels-last"),
    name="conv2d", predicted=0.8, layouts=IMAGE_LAYOUTS,
)

GROWTH: dict[str, list[Layer | Step]] = {
    f"{case.name}, {what}": [grown(case, batch) for batch in batches]
    for case in (CONVOLUTION, UNET)
    for what, batches in (
        ("8 images of H x H", [(8, h) for h in PIXELS]),
        ("N images of 32 x 32", [(n, 32) for n in BATCHES]),
    )
}
"""Series of sizes, by what grows."""
