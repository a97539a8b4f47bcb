"""The cascaded refinement network's losses: a picture as VGG-19 sees it, or the best of several.

    L = sum over layers l of  lambda_l mean |Phi_l(I) - Phi_l(g)|

over the input's pixels (RGB bytes minus means) and relu1_2 ... relu5_2 of VGG-19 with average
pooling. The mean is the paper's "inverse of the number of elements". lambda_l makes the terms
comparable: 1 / (what the term was, on average, after half of the training), ten times that at
relu5_2. The published divisors:

    data                input   1_2   2_2   3_2   4_2   5_2 (/ 10)
    cityscapes256       1       1.6   2.3   1.8   2.8   0.8
    cityscapes512       1       2.6   4.8   3.7   5.6   1.5        also at 1024
    gta256              1       1.4   1.8   1.3   2.2   0.62

Their input term is not rescaled, and the features are those of MatConvNet's weights: with others,
measure. The diversity loss, of k pictures g_u for one layout with the masks L_p of its classes p:

    e_up = sum_l lambda_l mean_hw( L_p mean_c |Phi_l(I) - Phi_l(g_u)| )
    L    = 0.999 sum_p min_u e_up + 0.001 sum_p mean_u e_up

Each class takes the picture that does it best; the small mean keeps the others alive (it is in
the code, not in the paper).

Source: Chen & Koltun 2017, "Photographic image synthesis with cascaded refinement networks",
equations 2 to 4, and the authors' code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import minidl.functional as F
from minidl import Tensor, nn
from minidl.compute.arrays import to_device
from minidl.errors import ArgumentError, DataError, ShapeError, message
from minidl.tasks.perceptual.features import Features
from minidl.tensor import as_tensor

LAYERS = ("input", "relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")
BOOSTS = (1.0, 1.0, 1.0, 1.0, 1.0, 10.0)
"""Factor of each layer once its term is rescaled."""

DIVISORS = {
    "cityscapes256": (1, 1.6, 2.3, 1.8, 2.8, 0.8),
    "cityscapes512": (1, 2.6, 4.8, 3.7, 5.6, 1.5),
    "gta256": (1, 1.4, 1.8, 1.3, 2.2, 0.62),
}
"""Published divisors of the layers, by data set."""

BYTE_MEANS = (123.68, 116.779, 103.939)
"""Means of R, G and B, which the layer "input" subtracts from bytes; differences lack them."""


class CRNLoss(nn.Module):
    """The loss of one picture, (x, target) -> (), and running sums of its terms for rescaling.

    Its buffers (divisors, running sums) are saved with the model that it is assigned to
    (``model.loss = CRNLoss(features)``), so that a resumed training has them. It has no parameters.

    Parameters
    ----------
    features : Features
        VGG-19 with average pooling, in the paper.
    divisors : str or sequence of float
        One of ``DIVISORS``, or "measured": 1 for all, until ``rescale`` is called.
    layers : sequence of str
        "input" is the picture itself.
    boosts : sequence of float, optional
        Factors beside 1 / divisor; default: the paper's, if the layers are. While "measured" waits
        for ``rescale`` they do not apply: the paper starts with plain means.

    Attributes
    ----------
    divisors, totals : buffer, shape (layers,)
        What each term is divided by; sums of the terms since the last ``rescale``.
    count : buffer
        Batches in the sums.

    Raises
    ------
    ArgumentError
        If the numbers of layers, divisors and boosts differ, or one is not positive.
    """

    divisors: Tensor
    totals: Tensor
    count: Tensor
    boosted: Tensor

    def __init__(
        self,
        features: Features,
        divisors: Any = "cityscapes256",
        layers: tuple[str, ...] = LAYERS,
        boosts: tuple[float, ...] | None = None,
    ):
        super().__init__()
        self.features, self.layers = features, tuple(layers)
        paper = BOOSTS if self.layers == LAYERS else (1.0,) * len(self.layers)
        self.boosts = tuple(paper if boosts is None else boosts)
        measured = isinstance(divisors, str) and divisors == "measured"
        if isinstance(divisors, str) and not measured:
            if divisors not in DIVISORS:
                raise ArgumentError(
                    message(
                        f"CRNLoss: unknown divisors {divisors!r}",
                        hint=f'choose one of {tuple(DIVISORS)}, "measured", or give numbers.',
                    )
                )
            divisors = DIVISORS[divisors]
        given = (1.0,) * len(self.layers) if measured else tuple(divisors)
        sizes = {len(given), len(self.boosts), len(self.layers)}
        if len(sizes) > 1 or min((*given, *self.boosts), default=0) <= 0:
            raise ArgumentError(
                message(
                    "CRNLoss: one positive divisor and one boost for each layer",
                    f"received layers {self.layers}, divisors {given}, boosts {self.boosts}",
                )
            )
        features.check([n for n in self.layers if n != "input"], (1, 3, 512, 512))
        self.register_buffer("divisors", np.array(given, np.float64))
        self.register_buffer("totals", np.zeros(len(given)))
        self.register_buffer("count", np.array(0, np.int64))
        self.register_buffer("boosted", np.array(not measured))

    def taps(self, x: Any) -> dict[str, Tensor]:
        """Compute the layers of RGB pictures from 0 to 1, by name."""
        x = as_tensor(x)
        found = self.features(
            self.features.prepare(x), [n for n in self.layers if n != "input"]
        )
        means = np.array(BYTE_MEANS, x.dtype).reshape(3, 1, 1)
        found["input"] = x * 255 - Tensor(to_device(means, x.device))
        return {name: found[name] for name in self.layers}

    def terms(self, x: Any, target: Any) -> dict[str, Tensor]:
        """The mean absolute difference at each layer, unweighted.

        Parameters
        ----------
        x, target : Tensor, shape (N, 3, H, W)
            RGB from 0 to 1.
        """
        x, target = as_tensor(x), as_tensor(target)
        if x.shape != target.shape:
            raise ShapeError(
                message(
                    "CRNLoss: the pictures differ in shape",
                    f"received {x.shape} and {target.shape}",
                )
            )
        mine, wanted = self.taps(x), self.taps(target)
        return {name: F.mean(F.abs(mine[name] - wanted[name])) for name in self.layers}

    def forward(self, x: Any, target: Any) -> Tensor:
        """Compare pictures with targets; in training mode the terms join the running sums."""
        terms = self.terms(x, target)
        if self.training:
            self.measure(terms)
        total, *rest = (w * t for w, t in zip(self.weights(), terms.values(), strict=True))
        return sum(rest, start=total)

    def weights(self) -> list[float]:
        """The weight lambda of each layer."""
        factors = self.boosts if bool(self.boosted.numpy()) else (1.0,) * len(self.layers)
        return [b / d for b, d in zip(factors, self.divisors.numpy().tolist(), strict=True)]

    def measure(self, terms: Mapping[str, Tensor]) -> None:
        """Add the terms of a batch to the running sums."""
        self.totals.data += to_device(
            np.array([terms[name].item() for name in self.layers]), self.totals.device
        )
        self.count.data += 1

    def rescale(self) -> None:
        """Divide each term from now on by its mean since the last call, and apply the boosts.

        Raises
        ------
        DataError
            If no batch was measured, or a term was 0 in all.
        """
        count = int(self.count.item())
        totals = self.totals.numpy()
        if not count or not (totals > 0).all():
            raise DataError(
                message(
                    "CRNLoss: there is nothing to rescale by",
                    f"{count} batches were measured, with sums {totals.tolist()}",
                    hint="call the loss in training mode first.",
                )
            )
        self.divisors.data[...] = self.totals.data / count
        self.boosted.data[...] = True
        self.totals.data[...] = 0
        self.count.data[...] = 0

    def at_epoch(self, epoch: int) -> Callable[[Mapping[str, Any]], None]:
        """A callback for ``minidl.train.fit`` that rescales after this epoch, once.

        The paper's is half of all epochs, by the means of the last of these alone: the sums are
        emptied after each epoch before.
        """

        def callback(row: Mapping[str, Any]) -> None:
            if row["event"] != "epoch":
                return
            if row["epoch"] == epoch:
                self.rescale()
            elif row["epoch"] < epoch:
                self.totals.data[...] = 0
                self.count.data[...] = 0

        return callback


def diversity_loss(
    loss: CRNLoss, pictures: Any, target: Any, masks: Any, best: float = 0.999, mean: float = 0.001
) -> Tensor:
    """The loss of several answers for one layout; its scales are those of a CRNLoss.

    Parameters
    ----------
    loss : CRNLoss
        In training mode its running sums get the terms of all pictures, averaged.
    pictures : Tensor, shape (N, k, 3, H, W)
        RGB from 0 to 1; ``split_pictures`` makes them.
    target : Tensor, shape (N, 3, H, W)
    masks : Tensor, shape (N, P, H, W)
        1 where a class is, 0 elsewhere; resized to each layer by area.
    best, mean : float
        Weights of the best picture of each class and of the mean of all.

    Raises
    ------
    ShapeError
        If the shapes do not fit together.
    """
    pictures, target, masks = as_tensor(pictures), as_tensor(target), as_tensor(masks)
    n, k = pictures.shape[:2] if pictures.ndim == 5 else (-1, 0)
    fit = target.ndim == masks.ndim == 4 and pictures.shape[2:] == target.shape[1:]
    if k < 1 or not fit or len(masks) != n or masks.shape[2:] != target.shape[2:]:
        raise ShapeError(
            message(
                "diversity_loss: pictures (N, k, 3, H, W), target (N, 3, H, W), masks (N, P, H, W)",
                f"received {pictures.shape}, {target.shape}, {masks.shape}",
            )
        )
    mine = loss.taps(F.reshape(pictures, (n * k, *target.shape[1:])))
    wanted = loss.taps(target)
    errors: Tensor | None = None
    terms = {}
    for name, weight in zip(loss.layers, loss.weights(), strict=True):
        c, h, w = wanted[name].shape[1:]
        apart = F.abs(F.reshape(mine[name], (n, k, c, h, w)) - F.unsqueeze(wanted[name], 1))
        terms[name] = F.mean(apart)
        resized = F.unsqueeze(F.interpolate(masks, size=(h, w), mode="area"), 1)
        error = weight * F.mean(F.mean(apart, 2, keepdims=True) * resized, (3, 4))
        errors = error if errors is None else errors + error  # (N, k, P)
    assert errors is not None
    if loss.training:
        loss.measure(terms)
    return F.mean(best * F.sum(F.min(errors, axis=1), 1) + mean * F.sum(F.mean(errors, 1), 1))
