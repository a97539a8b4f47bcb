"""Losses for networks that answer with pictures; for ``minidl.train.fit``."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import Tensor
from minidl.errors import ShapeError, message
from minidl.tasks.perceptual.features import Features
from minidl.tasks.perceptual.objective import Objective
from minidl.tasks.perceptual.recipes import Recipe
from minidl.tensor import as_tensor


class StyleTrainer:
    """The loss by which a network learns a style; for ``minidl.train.fit``.

        trainer = StyleTrainer(random_features("vgg16"), style, "random-fast")
        fit(net, loader, Adam(net.parameters(), lr=1e-3), trainer.loss, epochs=2, out="runs/style")

    Parameters
    ----------
    features : Features
        On the device of the network.
    style : array, shape (3, H, W)
        RGB from 0 to 1.
    recipe : str or Recipe
        "pytorch-examples" or "fast-neural-style" with trained weights, "random-fast" with random
        ones.
    """

    def __init__(
        self, features: Features, style: np.ndarray, recipe: str | Recipe = "pytorch-examples"
    ):
        self.objective = Objective(features, recipe, [style])

    def loss(self, model: Any, batch: Any) -> Tensor:
        """Compute the loss of a batch whose first part is pictures, (N, 3, H, W), RGB from 0 to 1.

        Their sides must be multiples of 4, so that what comes out can be compared with them.
        """
        pictures = as_tensor(batch[0])
        if any(side % 4 for side in pictures.shape[2:]):
            raise ShapeError(
                message(
                    "StyleTrainer: the sides of pictures to train on must be multiples of 4",
                    f"received shape {pictures.shape}",
                )
            )
        features = self.objective.features
        content = self.objective.content_of(features.prepare(pictures))
        return self.objective(features.prepare(model.stylise(pictures)), content).total


class SuperResolutionTrainer:
    """Johnson's loss of super-resolution: the features at one layer; for ``minidl.train.fit``.

    Parameters
    ----------
    features : Features
    layer : str
    """

    def __init__(self, features: Features, layer: str = "relu2_2"):
        self.objective = Objective(features, Recipe("johnson", {layer: 1.0}, network="vgg16"))

    def loss(self, model: Any, batch: Any) -> Tensor:
        """Compute the loss of a batch (small, large) of pictures, RGB from 0 to 1."""
        small, large = batch
        features = self.objective.features
        content = self.objective.content_of(features.prepare(large))
        return self.objective(features.prepare(model.enlarge(small)), content).total
