"""scikit-learn's digits: 1,797 handwritten digits of 8x8 pixels, which need no download.

Source: Alpaydin & Kaynak 1998, "Optical recognition of handwritten digits", UCI.
"""

from __future__ import annotations

import numpy as np

from minidl.data.dataset import ArrayDataset
from minidl.errors import MinidlError, message


def digits() -> ArrayDataset:
    """Read the digits: images (1797, 1, 8, 8), float32 in [0, 1], and labels (1797,), int64.

    Raises
    ------
    MinidlError
        If scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as cause:
        raise MinidlError(
            message("digits: the images come with scikit-learn", hint="pip install 'minidl[data]'.")
        ) from cause
    bunch = load_digits()
    images = bunch.images.astype(np.float32)[:, None] / 16
    return ArrayDataset(images, bunch.target.astype(np.int64))
