"""What is timed on a GPU, the most important first, with predictions written before measuring.

A prediction is the ratio minidl / PyTorch (its faster layout) on an H100 or H200. The reasoning:
cuDNN's float32 kernels live under 67 TFLOP/s and reach 42 to 48, and more with Winograd; three
TF32 products by mma.sync reach 45 to 60 in a first version. In TF32, cuDNN uses Hopper's wgmma and
reaches 200 to 300, where mma.sync of this kind has been seen 3 to 6 times slower than that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cases import Layer, indices, places, positive


@dataclass(frozen=True)
class Conv:
    """A convolution: its three corners are timed.

    Attributes
    ----------
    name : str
    n, c, o, h, k, stride, padding : int
        Images of h by h pixels, windows of k by k.
    strict, tf32 : (y, x, w)
        The predicted ratio of each corner: full float32 on both sides, and TF32.
    """

    name: str
    n: int
    c: int
    o: int
    h: int
    k: int
    stride: int
    padding: int
    strict: tuple[float, float, float]
    tf32: tuple[float, float, float]

    @property
    def i(self) -> int:
        """Rows, and columns, of the output."""
        return (self.h + 2 * self.padding - self.k) // self.stride + 1

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            "x": (self.n, self.c, self.h, self.h),
            "w": (self.o, self.c, self.k, self.k),
            "y": (self.n, self.o, self.i, self.i),
        }

    @property
    def flops(self) -> float:
        """Operations of each corner, as the formula counts them."""
        return 2.0 * self.n * self.o * self.i**2 * self.c * self.k**2

    @property
    def bytes(self) -> int:
        """Bytes of the three arrays together."""
        return 4 * sum(int(np.prod(shape)) for shape in self.shapes.values())

    def predicted(self, mode: str, corner: str) -> float:
        return getattr(self, mode)["yxw".index(corner)]


#    name, n, c, o, h, k, stride, padding, strict (y, x, w), tf32 (y, x, w)
CONVOLUTIONS = [
    Conv("U-Net, level 1", 16,  64,  64, 256, 3, 1, 1, (0.9, 0.9, 1.1), (3.0, 3.0, 3.0)),
    Conv("U-Net, level 3", 16, 256, 256,  64, 3, 1, 1, (0.9, 0.9, 1.0), (4.0, 4.0, 3.5)),
    Conv("VDSR, between", 64,  64,  64,  41, 3, 1, 1, (1.0, 1.0, 1.2), (3.0, 3.0, 3.0)),
    Conv("VAE, 4x4, step 2", 128,  32,  64,  32, 4, 2, 1, (0.8, 0.8, 1.2), (2.0, 2.0, 2.5)),
    Conv("VGG, 128 channels", 1, 128, 128, 256, 3, 1, 1, (1.0, 1.0, 1.1), (3.5, 3.5, 3.0)),
    Conv("VGG, 512 channels", 1, 512, 512,  64, 3, 1, 1, (1.3, 1.3, 1.2), (4.0, 4.0, 4.0)),
    Conv("U-Net, 2x2, step 2", 16, 256, 512, 128, 2, 2, 0, (0.8, 0.8, 1.0), (3.0, 3.0, 3.0)),
    Conv("first layer", 16,   3,  64, 256, 3, 1, 1, (1.5, 2.0, 1.5), (1.5, 2.0, 1.5)),
    Conv("last layer of VDSR", 64,  64,   1,  41, 3, 1, 1, (1.0, 1.0, 1.5), (1.0, 1.0, 1.5)),
    Conv("1x1", 16, 256,  64,  64, 1, 1, 0, (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)),
    Conv("SegNet, level 1", 8,  64,  64, 360, 3, 1, 1, (0.9, 0.9, 1.1), (3.0, 3.0, 3.0)),
]
"""The convolutions that are timed in strict float32, the most important first."""

TF32 = 4
"""The number of convolutions, the first ones, that are timed in TF32 after that."""

MAP = (16, 64, 256, 256)
"""The shape of 67 million numbers, 268 MB: far beyond the cache."""
SMALL = (16, 64, 128, 128)


def gram(F: Any, x: Any) -> Any:
    """Multiply x x^T over the pixels, by either library's own way."""
    own = getattr(F, "gram_matrix", None) or getattr(F, "gram", None)
    flat = x.flatten(2)
    return own(x) if own else flat @ flat.transpose(1, 2)


LAYERS = [
    Layer("max-pool2d", lambda F, x: F.max_pool2d(x, 2, return_indices=True), {"x": MAP}, 1.0),
    Layer("max-unpool2d", lambda F, x, indices: F.max_unpool2d(x, indices, 2),
          {"x": SMALL, "indices": SMALL}, 1.0, draw={"indices": indices}),
    Layer("batch-norm", lambda F, x, mean, var, weight, bias: F.batch_norm(
              x, mean, var, weight, bias, training=True),
          {"x": MAP, "running_mean": (64,), "running_var": (64,), "weight": (64,), "bias": (64,)},
          1.6, draw={"running_var": positive}, fixed=("running_mean", "running_var")),
    Layer("bilinear-x2", lambda F, x: F.interpolate(
              x, scale_factor=2, mode="bilinear", align_corners=False), {"x": SMALL}, 0.9),
    Layer("bicubic-x2", lambda F, x: F.interpolate(
              x, scale_factor=2, mode="bicubic", align_corners=False), {"x": SMALL}, 0.6),
    Layer("nearest-x2", lambda F, x: F.interpolate(x, scale_factor=2, mode="nearest"),
          {"x": SMALL}, 1.0),
    Layer("grid-sample", lambda F, x, grid: F.grid_sample(
              x, grid, mode="bilinear", align_corners=False),
          {"x": (16, 64, 64, 64), "grid": (16, 64, 64, 2)}, 6.0, draw={"grid": places}),
    Layer("avg-pool2d", lambda F, x: F.avg_pool2d(x, 2), {"x": MAP}, 1.2),
    Layer("group-norm", lambda F, x, weight, bias: F.group_norm(x, 8, weight, bias),
          {"x": MAP, "weight": (64,), "bias": (64,)}, 1.6),
    Layer("layer-norm", lambda F, x, weight, bias: F.layer_norm(x, (1024,), weight, bias),
          {"x": (65536, 1024), "weight": (1024,), "bias": (1024,)}, 1.6),
    Layer("gram, 128 channels", gram, {"x": (4, 128, 256, 256)}, 1.3),
    Layer("relu", lambda F, x: F.relu(x), {"x": MAP}, 1.3),
]
"""The layers that are timed forward and backward, each a line that both libraries run."""


@dataclass(frozen=True)
class Trial:
    """A model that takes a few steps on the CPU and on the GPU.

    Attributes
    ----------
    build : callable
    image : (C, H, W)
    classes : int
        Of random labels, one for each output; 0 where there is another loss.
    tolerance : float
        Of the losses, relative. Where a maximum is nearly a tie, rounding may move it.
    loss : callable, optional
        ``loss(model, images)``. Default: the labels' cross-entropy, or the model's own ``loss``.
    """

    build: Callable[[], Any]
    image: tuple[int, int, int] = (1, 28, 28)
    classes: int = 0
    tolerance: float = 1e-5
    loss: Callable[[Any, Any], Any] | None = None


def models() -> dict[str, Trial]:
    """Every model of ``minidl.models``, narrow where it may be."""
    from minidl.models.autoencoder import conv_autoencoder, mlp_autoencoder
    from minidl.models.chairs import TwoStreams
    from minidl.models.crn import CRN
    from minidl.models.deconvnet import DeconvNet
    from minidl.models.deepsim import DeepsimAutoencoder
    from minidl.models.fcn import fcn8s
    from minidl.models.garg import Garg
    from minidl.models.garg_resnet import GargResNet
    from minidl.models.johnson import TransformerNet, TransformNet
    from minidl.models.masci import StackedConvAutoencoder
    from minidl.models.rednet import REDNet
    from minidl.models.resnet import resnet18
    from minidl.models.segnet import SegNet, SegNetBasic
    from minidl.models.srcnn import SRCNN
    from minidl.models.unet import UNet
    from minidl.models.vae import conv_vae, mlp_vae
    from minidl.models.vdsr import VDSR
    from minidl.models.vgg import vgg16

    image = (1, 28, 28)
    classifiers = {
        "VGG-16": (lambda: vgg16(width=8, hidden=32, num_classes=5), (3, 64, 64)),
        "ResNet-18": (lambda: resnet18(width=8, num_classes=5), (3, 64, 64)),
        "FCN-8s": (lambda: fcn8s(5, width=1 / 16, padding="same"), (3, 64, 64)),
        "SegNet": (lambda: SegNet(5, width=1 / 8, eps=1e-3), (3, 90, 120)),
        "SegNet-Basic": (lambda: SegNetBasic(5, width=1 / 8), (3, 45, 60)),
        "DeconvNet": (lambda: DeconvNet(5, width=1 / 16, std=0.2), (3, 224, 224)),
        "U-Net": (lambda: UNet(1, 5, width=8), (1, 188, 188)),
    }
    painters = {  # ..., and what an answer counts
        "SRCNN": (lambda: SRCNN("9-1-5"), (1, 24, 24), 1.0),
        "VDSR": (lambda: VDSR(depth=5, width=8), (1, 24, 24), 1.0),
        "RED-Net": (lambda: REDNet(20, width=8), (1, 24, 24), 1.0),
        "Garg": (lambda: Garg(widths=(8, 8, 16, 16, 8), hidden=16, padding="same"),
                 (3, 32, 64), 1.0),
        "Garg's release": (lambda: GargResNet(width=8, blocks=(1, 1, 1, 1)), (3, 64, 64), 0.01),
        "Johnson": (lambda: TransformNet("instance", width=4), (3, 64, 64), 1 / 255),
        "pytorch/examples' transformer": (lambda: TransformerNet(width=4), (3, 32, 32), 1.0),
        "CRN": (lambda: CRN(16, classes=3, width=1 / 64), (3, 16, 32), 1 / 255),
        "DeePSiM's autoencoder": (lambda: DeepsimAutoencoder(32, width=1 / 8), (3, 32, 32), 1.0),
    }
    return {
        "autoencoder, fully connected": Trial(lambda: mlp_autoencoder(image)),
        "autoencoder, convolutional": Trial(lambda: conv_autoencoder(image)),
        "VAE, fully connected": Trial(lambda: mlp_vae(image)),
        "VAE, Gaussian decoder": Trial(lambda: mlp_vae(image, likelihood="gaussian")),
        "VAE, convolutional": Trial(lambda: conv_vae(image)),
        **{
            name: Trial(build, shape, classes=5, tolerance=1e-3)
            for name, (build, shape) in classifiers.items()
        },
        "Masci's, fine-tuned": Trial(
            lambda: StackedConvAutoencoder(image, ((8, 5, True), (16, 5, True)), 32, 5),
            image, classes=5, tolerance=1e-3,
        ),
        **{
            name: Trial(build, shape, tolerance=1e-3, loss=partial(away_from_grey, scale=scale))
            for name, (build, shape, scale) in painters.items()
        },
        "chairs": Trial(lambda: TwoStreams(4, size=32, width=1 / 16), (3, 32, 32),
                        tolerance=1e-3, loss=drawn_chairs),
    }


def away_from_grey(model: Any, images: Any, scale: float) -> Any:
    """A loss for whatever makes images of images: the mean square of their distance to 0.5."""
    answer = model(images)
    answer = answer[0] if isinstance(answer, tuple) else answer
    return ((answer * scale - 0.5) ** 2).mean()


def drawn_chairs(model: Any, images: Any) -> Any:
    """The loss of drawing chairs: images stand for them, first pixels for class and view."""
    classes, views = images[:, 0, 0, :4], images[:, 1, 0, :4]
    return model.loss(model(classes, views), images, images[:, :1], reduction="mean")


def answers() -> dict[str, Callable[[str], Any]]:
    """Computations that use models and train none: each takes a device, and gives an array."""
    from minidl import manual_seed
    from minidl.models.vgg import VGG
    from minidl.tasks.perceptual import random_features
    from minidl.tasks.perceptual.stylise import stylise
    from minidl.tasks.units.projection import project

    pictures = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)

    def styled(device: str) -> Any:
        features = random_features(width=4).to(device)
        return stylise(*pictures, features, steps=3, every=3, progress=False).picture

    def projected(device: str) -> Any:
        manual_seed(0)
        vgg = VGG((1, 2, 1), width=4, hidden=8, num_classes=5).to(device)
        return project(vgg, pictures, "conv3_1", 2).pixels.numpy()

    return {"Gatys's style transfer": styled, "Zeiler & Fergus's projection": projected}
