"""DeePSiM's three losses: the same features, the same pixels, and a discriminator that is fooled.

    L = feature / (2 B) sum |C(G) - C(x)|^2  +  adversarial CE  +  image / (2 B) sum |G - x|^2

    weights                  feature   adversarial   image     of
    PUBLISHED                0.01      100           2e-6      sums / (2 B), as above
    restated(PUBLISHED)      46        100           0.155     means of squares

B pictures G(f) generated from the features f of pictures x, BGR bytes minus means, 3 x 227 x 227;
C the comparator's pool5, 9,216 numbers. CE is the mean over the batch of the softmax cross-entropy
of two logits, label 0 for real and 1 for generated; the generator is trained to be called real.
The published weights look tiny because the sums are large: half the numbers of a picture,
227^2 3 / 2 = 77,294, times 2e-6 is 0.155.

Source: Dosovitskiy & Brox 2016, "Generating images with perceptual similarity metrics based on deep
networks", section 3; weights, labels and units as in the authors' Caffe prototxts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import minidl.functional as F
from minidl import Tensor
from minidl.compute.arrays import to_device
from minidl.errors import ArgumentError, ShapeError, message
from minidl.tasks.restoration.losses import euclidean_loss
from minidl.tensor import as_tensor

REAL, GENERATED = 0, 1
"""The discriminator's labels."""


class Weights(NamedTuple):
    """The factors of the three losses."""

    feature: float
    adversarial: float
    image: float


PUBLISHED = Weights(feature=0.01, adversarial=100, image=2e-6)
"""The paper's weights, of sums / (2 B)."""


class DeepsimLosses(NamedTuple):
    """The three losses, each already weighted, and their sum ``total``."""

    total: Tensor
    feature: Tensor
    adversarial: Tensor
    image: Tensor


def restated(
    weights: Weights = PUBLISHED, pixels: int = 3 * 227 * 227, features: int = 9216
) -> Weights:
    """Turn weights of sums / (2 B) into equivalent weights of means of squares.

    Parameters
    ----------
    pixels, features : int
        Numbers in one picture, and in its features.

    Examples
    --------
    >>> [round(w, 3) for w in restated()]
    [46.08, 100, 0.155]
    """
    return Weights(weights.feature * features / 2, weights.adversarial, weights.image * pixels / 2)


def adversarial_loss(logits: Any, label: int) -> Tensor:
    """Softmax cross-entropy of logits (B, 2) when all pictures have one label, REAL or GENERATED.

    The discriminator learns from the sum of it over real and over generated pictures.

    Raises
    ------
    ArgumentError
        If the label is neither.
    ShapeError
        If there are not two logits for each picture.
    """
    logits = as_tensor(logits)
    if label not in (REAL, GENERATED):
        raise ArgumentError(f"adversarial_loss: the label is REAL or GENERATED, received {label!r}")
    if logits.ndim != 2 or logits.shape[1] != 2:
        raise ShapeError(f"adversarial_loss: logits must be (B, 2), received shape {logits.shape}")
    labels = to_device(np.full(len(logits), label, np.int64), logits.device)
    return F.cross_entropy(logits, Tensor(labels))


def deepsim_loss(
    generated: Any,
    image: Any,
    generated_features: Any,
    image_features: Any,
    logits: Any,
    weights: Weights = PUBLISHED,
    reduction: str = "sum",
) -> DeepsimLosses:
    """The generator's loss, and its three parts.

    Parameters
    ----------
    generated, image : Tensor, shape (B, 3, H, W)
        BGR bytes minus means, for the published weights.
    generated_features, image_features : Tensor, shape (B, ...)
        What the comparator makes of them.
    logits : Tensor, shape (B, 2)
        The discriminator's answer to the generated pictures.
    weights : Weights
    reduction : {"sum", "mean"}
        Sums / (2 B), or means of squares, for which ``restated`` gives the weights.

    Raises
    ------
    ArgumentError
        If the reduction is neither.
    ShapeError
        If shapes differ.
    """
    if reduction not in ("sum", "mean"):
        raise ArgumentError(
            message(
                f"deepsim_loss: unknown reduction {reduction!r}", hint='choose "sum" or "mean".'
            )
        )
    distance = euclidean_loss if reduction == "sum" else F.mse_loss
    feature = weights.feature * distance(generated_features, image_features)
    adversarial = weights.adversarial * adversarial_loss(logits, REAL)
    pixel = weights.image * distance(generated, image)
    return DeepsimLosses(feature + adversarial + pixel, feature, adversarial, pixel)
