"""Transforms of a chair's picture: what is done to it, and the vector t that tells the network.

t has 28 entries. The transforms' ranges and places in t are those of the release of Dosovitskiy,
Springenberg & Brox 2015, "Learning to generate chairs with convolutional neural networks". What t
holds in the other places we do not know, and leave 0; in which order a transform's parts follow
each other, their signs, and the colours' axes (there learned from colours, here fixed) are our
choice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl.data.dataset import ArrayDataset, Dataset, Example
from minidl.errors import ArgumentError, message

TRANSFORM_ENTRIES = 28
"""Number of entries of t. Counted from 1, used are 2, 3 (shifts), 4 (angle), 5, 6 (log zooms),
23, 24 (both: log saturation), 27 (log lightness) and 28 (angle of colours)."""

GREY_AND_HUES = np.array([(1, 1, 1), (1, -1, 0), (1, 1, -2)]) / np.sqrt([[3], [2], [6]])
"""An axis for lightness and two for colour; its rows are orthonormal."""


class ChairTransform(NamedTuple):
    """A change of a picture: zoomed, then turned, then shifted; and its colours changed."""

    dx: float = 0.0
    """Shift to the right, in sides of the image."""
    dy: float = 0.0
    """Shift downwards, in sides of the image."""
    angle: float = 0.0
    """Angle of turning clockwise, in radians."""
    zoom_x: float = 1.0
    """Factor of the width."""
    zoom_y: float = 1.0
    """Factor of the height."""
    saturation: float = 1.0
    """Factor of the two colour axes."""
    lightness: float = 1.0
    """Factor of the grey axis."""
    colour_angle: float = 0.0
    """Angle by which colours turn around the grey axis, in radians."""

    def vector(self) -> np.ndarray:
        """The vector t, (28,) float32; all zeros if nothing is changed.

        Examples
        --------
        >>> from minidl.data.drawn.chair_transforms import ChairTransform
        >>> ChairTransform().vector().any()
        np.False_
        """
        t = np.zeros(TRANSFORM_ENTRIES, np.float32)
        t[1:4] = self.dx, self.dy, self.angle
        t[4:6] = np.log([self.zoom_x, self.zoom_y])
        t[22:24] = np.log(self.saturation)
        t[26:28] = np.log(self.lightness), self.colour_angle
        return t


def draw_transform(rng: np.random.Generator, strength: float = 1.0) -> ChairTransform:
    """Draw a transform as in training; ``strength`` multiplies all ranges, see ``curriculum``."""

    def within(spread: float) -> float:
        return strength * rng.uniform(-spread, spread)

    zoom, squeeze = within(0.3), within(0.1)
    return ChairTransform(
        within(0.1), within(0.1), within(0.2), np.exp(zoom + squeeze), np.exp(zoom - squeeze),
        np.exp(within(0.7)), np.exp(within(0.7)), within(1.5),
    )


def curriculum(step: int, start: float = 0.0, end: float = 1.0) -> float:
    """The release's strength of transforms after ``step`` steps, from ``start`` towards ``end``.

    start + (end - start) (2 / (1 + exp(-1e-5 step)) - 1)
    """
    return start + (end - start) * float(np.tanh(step * 1e-5 / 2))


def apply_transform(
    image: np.ndarray, mask: np.ndarray, transform: ChairTransform
) -> tuple[np.ndarray, np.ndarray]:
    """Transform a picture on white and its mask; colours change in the picture alone.

    (3, S, S) and (1, S, S) -> the same

    Parameters
    ----------
    image : array
        The picture on white, in [0, 1].
    mask : array
        The share of each pixel that is covered.
    transform : ChairTransform

    Raises
    ------
    ArgumentError
        If the shapes are others, or a zoom is not above 0.
    """
    size = image.shape[-1]
    if image.shape != (3, size, size) or mask.shape != (1, size, size):
        raise ArgumentError(
            message(
                "apply_transform: image and mask must be (3, S, S) and (1, S, S)",
                f"received {image.shape} and {mask.shape}",
            )
        )
    if min(transform.zoom_x, transform.zoom_y) <= 0:
        raise ArgumentError(f"apply_transform: zooms must be above 0, received {transform}")
    # The chair alone, on black: what is sampled there and put on white again has no seam.
    chair_alone = np.concatenate([image - (1 - mask), mask]).astype(np.float32)
    rows, columns = _sources(size, transform)
    moved = _sampled(chair_alone, rows, columns)
    colours, covered = moved[:3], np.clip(moved[3:], 0, 1)
    colours = np.einsum("ij,jhw->ihw", _colour_matrix(transform), colours)
    return np.clip(colours, 0, covered) + (1 - covered), covered


def _sources(size: int, t: ChairTransform) -> tuple[np.ndarray, np.ndarray]:
    """Row and column that each pixel comes from, (S, S) each; pixels' centres are whole numbers."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    x, y = line[None, :] - t.dx, line[:, None] - t.dy
    cos, sin = np.cos(t.angle), np.sin(t.angle)
    across, down = (cos * x + sin * y) / t.zoom_x, (cos * y - sin * x) / t.zoom_y
    return (down + 0.5) * size - 0.5, (across + 0.5) * size - 0.5


def _sampled(planes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Sample planes (C, S, S) bilinearly, 0 outside: (C, S, S)."""
    channels, size, _ = planes.shape
    padded = np.zeros((channels, size + 2, size + 2), np.float32)
    padded[:, 1:-1, 1:-1] = planes
    flat = padded.reshape(channels, -1)
    places = []
    for at in (rows, columns):
        inside = np.clip(at + 1, 0, size + 1)
        first = np.minimum(inside.astype(np.intp), size)
        places.append((first, (inside - first).astype(np.float32)))
    (row, down), (column, across) = places
    corner = row * (size + 2) + column
    upper = flat[:, corner] * (1 - across) + flat[:, corner + 1] * across
    corner += size + 2
    lower = flat[:, corner] * (1 - across) + flat[:, corner + 1] * across
    return upper * (1 - down) + lower * down


def _colour_matrix(t: ChairTransform) -> np.ndarray:
    """The matrix that multiplies (R, G, B), (3, 3)."""
    cos, sin = np.cos(t.colour_angle), np.sin(t.colour_angle)
    s = t.saturation
    within = np.array([(t.lightness, 0, 0), (0, s * cos, -s * sin), (0, s * sin, s * cos)])
    return (GREY_AND_HUES.T @ within @ GREY_AND_HUES).astype(np.float32)


class TransformedChairs(Dataset):
    """Rows of ``chair_images``, each time transformed anew.

    Example i is (image, mask, class, view, t): t (28,) tells what was done.

    Parameters
    ----------
    chairs : ArrayDataset
        As ``chair_images`` returns them.
    strength : float
        Strength of the transforms; may be set anew while training, see ``curriculum``.
    """

    def __init__(self, chairs: ArrayDataset, strength: float = 1.0):
        self.chairs, self.strength = chairs, strength

    def __len__(self) -> int:
        return len(self.chairs)

    def example(self, i: int) -> Example:
        """Example i untransformed, with t = 0."""
        return (*self.chairs.example(i), ChairTransform().vector())

    def draw(self, i: int, rng: np.random.Generator) -> Example:
        """Example i, transformed by what ``rng`` draws."""
        image, mask, *rest = self.chairs.example(i)
        transform = draw_transform(rng, self.strength)
        return (*apply_transform(image, mask, transform), *rest, transform.vector())
