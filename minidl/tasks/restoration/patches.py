"""Patches to train on, cut from photographs: enlarged and sharp, or clean to be made noisy.

    SRCNN     super_resolution_patches(images, scales=(3,), size=33, stride=14, label=21)
    VDSR      super_resolution_patches(images, scales=(2, 3, 4), size=41, stride=41, symmetries=8)
    RED-Net   denoising_patches(images, sigmas=(10, 30, 50, 70), size=50, stride=50)

A label that is smaller than its patch is the middle of it, for networks of valid convolutions
(33 - 12 = 21 of SRCNN 9-1-5, 17 of 9-5-5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from minidl.data.dataset import ArrayDataset
from minidl.errors import ArgumentError, DataError, message
from minidl.tasks.restoration.imresize import imresize
from minidl.tasks.restoration.luma import luma
from minidl.tasks.restoration.noise import NoiseOfLevels
from minidl.tasks.restoration.protocol import pair_of


def super_resolution_patches(
    images: Iterable[np.ndarray],
    scales: Sequence[int] = (3,),
    size: int = 33,
    stride: int = 14,
    label: int | None = None,
    sizes: Sequence[float] = (1.0,),
    symmetries: int = 1,
) -> ArrayDataset:
    """Pairs (enlarged, sharp) of luma from 0 to 1: (N, 1, size, size), (N, 1, label, label).

    Parameters
    ----------
    images : photographs of uint8, (3, H, W) or (H, W)
    scales : sequence of int
        Each photograph is shrunk and enlarged by each.
    size, stride : int
        Side of a patch, and step from one to the next, in pixels.
    label : int, optional
        Size of the sharp patch, the middle of ``size``. Default: all of it.
    sizes : sequence of float
        Each photograph is also taken at these shares of its size.
    symmetries : {1, 2, 4, 8}
        1: as it is; 2: mirrored, too; 4: turned by quarters; 8: both.

    Raises
    ------
    ArgumentError
        If a number makes no sense.
    DataError
        If no photograph is as large as a patch.
    """
    label = size if label is None else label
    if not 0 < label <= size or (size - label) % 2:
        raise ArgumentError(
            message(
                "super_resolution_patches: the label must be the middle of the patch",
                f"received size = {size}, label = {label}",
            )
        )
    margin = (size - label) // 2
    inputs, labels = [], []
    for image in _variants(images, sizes, symmetries):
        for scale in scales:
            enlarged, sharp = pair_of(image, scale)
            inputs.append(windows(enlarged, size, stride))
            middle = windows(sharp, size, stride)
            labels.append(middle[:, margin : size - margin, margin : size - margin])
    return ArrayDataset(_joined(inputs, size), _joined(labels, size))


def denoising_patches(
    images: Iterable[np.ndarray],
    sigmas: Sequence[float],
    size: int = 50,
    stride: int = 50,
    sizes: Sequence[float] = (1.0,),
    symmetries: int = 1,
) -> ArrayDataset:
    """Pairs (noisy, clean) of luma from 0 to 1, (N, 1, size, size); new noise in every epoch.

    The level of each is drawn from ``sigmas``, in grey levels of 0 to 255; other
    parameters are those of ``super_resolution_patches``.
    """
    cut = [
        windows(luma(image) / 255, size, stride) for image in _variants(images, sizes, symmetries)
    ]
    clean = _joined(cut, size)
    return ArrayDataset(clean, clean, transform=NoiseOfLevels(sigmas))


def windows(image: np.ndarray, size: int, stride: int) -> np.ndarray:
    """All windows that lie within an image, row by row: (H, W) -> (N, size, size)."""
    if size < 1 or stride < 1:
        raise ArgumentError(f"windows: received size = {size}, stride = {stride}")
    if min(image.shape) < size:
        return np.empty((0, size, size), image.dtype)
    found = sliding_window_view(image, (size, size))[::stride, ::stride]
    return found.reshape(-1, size, size)


def _variants(
    images: Iterable[np.ndarray], sizes: Sequence[float], symmetries: int
) -> Iterator[np.ndarray]:
    """Give each photograph at each size, turned and mirrored."""
    if symmetries not in (1, 2, 4, 8):
        raise ArgumentError(f"patches: symmetries is 1, 2, 4 or 8, received {symmetries}")
    quarters = range(4) if symmetries >= 4 else (0,)
    mirrors = (False, True) if symmetries in (2, 8) else (False,)
    for image in images:
        for share in sizes:
            small = image if share == 1 else imresize(image, share)
            for k in quarters:
                for mirrored in mirrors:
                    turned = np.rot90(small, k, (-2, -1))
                    yield turned[..., ::-1] if mirrored else turned


def _joined(parts: list[np.ndarray], size: int) -> np.ndarray:
    """Join patches into one batch of float32, (N, 1, H, W)."""
    if not sum(map(len, parts)):
        raise DataError(f"patches: no photograph has {size} x {size} pixels")
    return np.concatenate(parts)[:, None].astype(np.float32)
