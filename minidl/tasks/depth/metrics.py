"""How good depths are: eight numbers, each of an image first, then averaged over images.

    p predicted, g given, over the pixels with low < g < high (and inside the crop)

    abs_rel     mean |g - p| / g              rmse        sqrt mean (g - p)^2
    sq_rel      mean (g - p)^2 / g            rmse_log    sqrt mean (ln g - ln p)^2
    log10       mean |log10 g - log10 p|      delta_k     share with max(g/p, p/g) < 1.25^k

p is brought into [low, high] first. KITTI's habits: 1 to 50 m (Garg), 0.001 to 80 m (Eigen), and
only the middle of the image, where the laser reaches.

Source: Eigen, Puhrsch & Fergus 2014, "Depth map prediction from a single image", section 4; the
crop and the cap as in the code of Godard, Mac Aodha & Brostow 2017 (monodepth).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minidl.errors import ArgumentError, DataError, ShapeError, message

GARG_CROP = (0.40810811, 0.99189189, 0.03594771, 0.96405229)
"""First and last row, first and last column of the crop, as shares of H and W."""
GARG_CAP = (1.0, 50.0)
"""Least and largest depth that count, in metres."""
MEASURES = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "delta_1", "delta_2", "delta_3")


def depth_metrics(
    predicted: np.ndarray,
    given: np.ndarray,
    cap: tuple[float, float] = GARG_CAP,
    crop: tuple[float, float, float, float] | None = None,
    valid: np.ndarray | None = None,
) -> dict[str, float]:
    """Measure how good the depths of one image are: (H, W), (H, W) -> eight numbers.

    Parameters
    ----------
    predicted, given : array, shape (H, W)
        In metres. Where nothing is known, ``given`` is 0, infinite or NaN.
    cap : (low, high)
    crop : (top, bottom, left, right), optional
        Shares of H and W, such as ``GARG_CROP``.
    valid : array of bool, shape (H, W), optional
        Which pixels count besides.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ArgumentError
        If the cap is empty.
    DataError
        If no pixel counts.

    Examples
    --------
    >>> found = depth_metrics(np.full((2, 2), 4.0), np.full((2, 2), 5.0))
    >>> round(found["abs_rel"], 3), found["rmse"], found["delta_1"], found["delta_2"]
    (0.2, 1.0, 0.0, 1.0)
    """
    p, g = np.asarray(predicted, np.float64), np.asarray(given, np.float64)
    if p.shape != g.shape or g.ndim != 2 or (valid is not None and valid.shape != g.shape):
        raise ShapeError(
            message(
                "depth_metrics: predicted, given and valid must be (H, W), of one size",
                f"received {p.shape}, {g.shape} and {None if valid is None else valid.shape}",
            )
        )
    low, high = cap
    if not 0 < low < high:
        raise ArgumentError(f"depth_metrics: cap is (low, high), 0 < low < high, received {cap}")
    counts = (g > low) & (g < high)
    if valid is not None:
        counts &= valid
    if crop is not None:
        counts &= crop_mask(g.shape, crop)
    if not counts.any():
        raise DataError("depth_metrics: no pixel has a depth that counts")
    p, g = np.clip(p[counts], low, high), g[counts]
    ratio = np.maximum(p / g, g / p)
    values = (
        (np.abs(g - p) / g).mean(),
        ((g - p) ** 2 / g).mean(),
        np.sqrt(((g - p) ** 2).mean()),
        np.sqrt((np.log(g / p) ** 2).mean()),
        np.abs(np.log10(g / p)).mean(),
        *((ratio < 1.25**k).mean() for k in (1, 2, 3)),
    )
    return dict(zip(MEASURES, map(float, values), strict=True))


def mean_metrics(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Average each measure over images, however many pixels they have.

    Raises
    ------
    ArgumentError
        If there are none.
    """
    if not found:
        raise ArgumentError("mean_metrics: there are no images")
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def crop_mask(
    size: tuple[int, ...], crop: tuple[float, float, float, float] = GARG_CROP
) -> np.ndarray:
    """A mask that is true inside the crop, (H, W); shares become whole rows and columns.

    >>> rows, columns = np.nonzero(crop_mask((375, 1242)))
    >>> [int(x) for x in (rows.min(), rows.max(), columns.min(), columns.max())]
    [153, 370, 44, 1196]
    """
    h, w = size
    top, bottom, left, right = (int(s * n) for s, n in zip(crop, (h, h, w, w), strict=True))
    inside = np.zeros((h, w), bool)
    inside[top:bottom, left:right] = True
    return inside
