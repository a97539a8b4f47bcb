"""U-Net's weights of pixels: where two cells nearly touch, the gap between them counts most.

    w(p) = w_c(p) + w_0 exp(-(d_1(p) + d_2(p))^2 / (2 sigma^2))

d_1 and d_2 are the distances to the nearest cell and to the second nearest, so their sum is about
the width of the gap; w_c balances the classes.

Source: Ronneberger, Fischer & Brox 2015, "U-Net", section 3, equation 2, with w_0 = 10 and
sigma = 5 pixels. That the border term is for background pixels alone, and that distances are
measured to the nearest pixel of a cell, are common conventions, from memory; the paper says
neither. It inserts the gaps between touching cells "by morphological operations", without saying
by which: ``separate_touching`` is ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.errors import ArgumentError, ShapeError, message
from minidl.tasks.segmentation.distance import two_nearest
from minidl.tasks.segmentation.labels import label_array

REACH = 15.0
"""Sigmas from which on the border term is nothing: exp(-15^2 / 2) is 0 in float32."""


def separate_touching(instances: Any) -> np.ndarray:
    """Part cells that touch, at a side or at a corner, by a line of background.

    (H, W) integers -> (H, W) int64

    Of each pair of neighbouring pixels of two cells, the one above (or, in one row, to the left)
    becomes background, so that the line is one pixel wide.
    """
    labels = label_array("separate_touching", instances)
    if labels.ndim != 2:
        raise ShapeError(f"separate_touching: must be (H, W), received shape {labels.shape}")
    apart = labels.copy()
    rows, columns = labels.shape
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, rows - down), slice(max(-across, 0), columns - max(across, 0)))
        there = (slice(down, rows), slice(max(across, 0), columns - max(-across, 0)))
        a, b = labels[here], labels[there]
        # Where a is background, 0 changes nothing.
        apart[here] = np.where((b != 0) & (a != b), 0, apart[here])
    return apart


def border_weight_map(
    instances: Any,
    class_weight: Any = None,
    w0: float = 10.0,
    sigma: float = 5.0,
    background_only: bool = True,
) -> np.ndarray:
    """Compute the weight w of each pixel: (H, W) integers -> (H, W) float32.

    Parameters
    ----------
    instances : array of integers, shape (H, W)
        0 is background, every other number is one cell.
    class_weight : pair of floats, optional
        w_c of background and of cells, for example of ``median_frequency_weights`` on the
        training set. Default: 1 and 1.
    w0 : float
        The weight that is added where two cells are 0 pixels apart.
    sigma : float
        Decay of the border term, in pixels.
    background_only : bool
        Whether cells' own pixels go without the border term.

    Raises
    ------
    ArgumentError
        If sigma is not positive, or class_weight is not a pair.
    """
    labels = label_array("border_weight_map", instances)
    of_class = np.ones(2) if class_weight is None else np.asarray(class_weight, np.float64)
    if sigma <= 0 or of_class.shape != (2,):
        raise ArgumentError(
            message(
                "border_weight_map: sigma must be positive, class_weight (background, cells)",
                f"received sigma = {sigma}, class_weight of shape {of_class.shape}",
            )
        )
    cells = labels != 0
    nearest, second = two_nearest(labels, limit=REACH * sigma)
    border = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    if background_only:
        border = np.where(cells, 0.0, border)
    return (of_class[cells.astype(np.int64)] + border).astype(np.float32)
