"""What a picture is judged by: its content, its style, its smoothness, all at once.

    objective = Objective(features, "random", [style])
    losses = objective(z, objective.content_of(z_content))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import minidl.functional as F
from minidl import Tensor, no_grad
from minidl.compute.arrays import to_device
from minidl.errors import ArgumentError, ShapeError, message
from minidl.tasks.perceptual.conventions import find_convention
from minidl.tasks.perceptual.features import Features
from minidl.tasks.perceptual.losses import content_loss, gram, style_loss, variation_loss
from minidl.tasks.perceptual.preparing import as_batch
from minidl.tasks.perceptual.recipes import Recipe, find_recipe


class Losses(NamedTuple):
    """The terms of an objective, each already weighted, and their sum ``total``."""

    total: Tensor
    content: Tensor
    style: Tensor
    variation: Tensor

    def numbers(self) -> dict[str, float]:
        """The losses as floats, by name."""
        return {name: float(value.item()) for name, value in self._asdict().items()}


class Objective:
    """The weighted sum of a recipe's terms.

    Parameters
    ----------
    features : Features
    recipe : str or Recipe
    styles : sequence of arrays, (3, H, W)
        RGB from 0 to 1, of any sizes.
    style_weights : sequence of float, optional
        How much each style counts; they are made to add up to 1. Default: equally.
    masks : sequence of arrays, (H, W), optional
        Where on the canvas each style belongs, from 0 to 1, of any one size: they are resized to
        each layer by area. Without masks the styles' Gram matrices are blended; with them,
        each style is compared with its own region.

    Raises
    ------
    ArgumentError
        If the weights or the number of masks make no sense, or a layer does not exist.
    ShapeError
        If a picture is none, or too small.
    """

    def __init__(
        self,
        features: Features,
        recipe: str | Recipe,
        styles: Sequence[Any] = (),
        style_weights: Sequence[float] | None = None,
        masks: Sequence[Any] | None = None,
    ):
        self.features, self.recipe = features, find_recipe(recipe)
        self.shares = _shares(styles, style_weights)
        if bool(self.recipe.style) != bool(styles):
            raise ArgumentError(
                message(
                    "Objective: style pictures are for recipes with layers of style",
                    f"received {len(styles)} pictures and {len(self.recipe.style)} layers",
                )
            )
        if masks is not None and len(masks) != len(styles):
            raise ArgumentError(
                f"Objective: one mask for each style, received {len(masks)} for {len(styles)}"
            )
        self.masks = None if masks is None else [self._mask(mask) for mask in masks]
        self._resized: dict[tuple[int, ...], list[Tensor]] = {}
        targets = [self._grams(k, style) for k, style in enumerate(styles)]
        self.targets = targets if masks is not None else self._blended(targets)

    def content_of(self, z: Tensor) -> dict[str, Tensor]:
        """The features of prepared content pictures that are to be kept."""
        with no_grad():
            return self.features(z, self.recipe.content) if self.recipe.content else {}

    def __call__(self, z: Tensor, content: Mapping[str, Tensor]) -> Losses:
        """Judge prepared pictures, (N, 3, H, W).

        Parameters
        ----------
        content : dict of Tensors
            What ``content_of`` gave.
        """
        recipe, how = self.recipe, self.recipe.convention
        taps = self.features(z, recipe.layers)
        zero = Tensor(to_device(np.zeros((), z.dtype), z.device))
        kept, styled, rough = zero, zero, zero
        for name, weight in recipe.content.items():
            if weight:
                kept = kept + weight * content_loss(taps[name], content[name], how)
        for name, weight in recipe.style.items():
            if weight:
                styled = styled + weight * self._style(name, taps[name])
        if recipe.variation:
            unit = self.features.deviation if find_convention(how).variation == "mean" else 1
            rough = recipe.variation / unit**2 * variation_loss(z, how)
        return Losses(kept + styled + rough, kept, styled, rough)

    def _style(self, name: str, x: Tensor) -> Tensor:
        how = self.recipe.convention
        if self.masks is None:
            return style_loss(gram(x, how), self.targets[0][name], how)
        regions = zip(self.shares, self._masks_for(x.shape[2:]), self.targets, strict=True)
        return sum(
            (share * style_loss(gram(x, how, mask), target[name], how)
             for share, mask, target in regions),
            start=Tensor(to_device(np.zeros((), x.dtype), x.device)),
        )

    def _grams(self, k: int, style: Any) -> dict[str, Tensor]:
        z = self.features.prepare(as_batch(f"style {k + 1}", style, self.features.device))
        with no_grad():
            taps = self.features(z, self.recipe.style)
            return {name: gram(x, self.recipe.convention) for name, x in taps.items()}

    def _blended(self, targets: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        return [
            {name: Tensor(sum(s * t[name].data for s, t in zip(self.shares, targets, strict=True)))
             for name in self.recipe.style}
        ]

    def _mask(self, mask: Any) -> np.ndarray:
        array = np.asarray(mask, np.float32)
        if array.ndim != 2 or not (array >= 0).all() or not (array <= 1).all() or not array.any():
            raise ShapeError(
                message(
                    "Objective: a mask must be (H, W), from 0 to 1, and not all 0",
                    f"received shape {array.shape}",
                )
            )
        return array

    def _masks_for(self, size: tuple[int, ...]) -> list[Tensor]:
        """Resize the masks to a layer's size (H, W), once."""
        if size not in self._resized:
            assert self.masks is not None
            device = self.features.device
            self._resized[size] = [
                F.interpolate(Tensor(to_device(m[None, None], device)), size=(size[0], size[1]),
                              mode="area")[0, 0]
                for m in self.masks
            ]
        return self._resized[size]


def _shares(styles: Sequence[Any], weights: Sequence[float] | None) -> list[float]:
    given = [1.0] * len(styles) if weights is None else [float(w) for w in weights]
    if len(given) != len(styles) or any(not 0 <= w < float("inf") for w in given):
        raise ArgumentError(
            f"Objective: one weight, 0 or more, for each of {len(styles)} styles, received {given}"
        )
    if styles and not sum(given) > 0:
        raise ArgumentError("Objective: the styles' weights are all 0")
    return [w / sum(given) for w in given]
