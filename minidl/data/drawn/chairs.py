"""Chairs seen from all around, rendered from a seed, with the share of each pixel they cover.

A class is one chair: its style and what it looks like depend on the seed and on the class.
A view is an azimuth (0: from the front) and an elevation above the horizon. What the paper
feeds its network for a view is (sin e, cos e, sin a, cos a).

How a picture is made. Chairs are put together from convex solids. A camera at p sees along
the ray p + d Z, Z the depth, and meets a face's plane n x = c where

    1 / Z  =  n d / (c - n p)

Across the picture d changes linearly, so 1/Z of a plane does, and nothing has to be divided
per pixel: over a solid the *smallest* 1/Z of the faces turned to the camera is where a ray
enters, the *largest* of those turned away is where it leaves, and it hits if it enters
first. Of several solids the one of the largest 1/Z hides the others. Colours are Lambert's,
with one lamp that moves with the camera, and light from all sides, more of it from above.

Source of the data's form: Dosovitskiy, Springenberg & Brox 2015, "Learning to generate chairs
with convolutional neural networks": 62 views of each chair; that these are 31 azimuths at the
elevations 20 and 30 degrees, on white, is from memory. The chairs are ours. The transforms'
ranges and places in the vector t are those of the authors' release. What t holds in the other
places we do not know, and leave 0; in which order a transform's parts follow each other, their
signs, and the colours' axes (there learned from colours, here fixed) are our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.data.dataset import ArrayDataset, Dataset, Example
from minidl.data.drawn.chair_shapes import STYLES
from minidl.errors import ArgumentError, message

FINER = 3
"""Rays per pixel along each axis."""
DISTANCE = 4.0
"""Of the camera, in radii of the sphere around a chair."""
FILLED = 0.92
"""How much of the picture's side that sphere's picture takes."""
EDGE_ON = 1e-6
"""For a face that the camera sees from its edge: a little turned away."""
AMBIENT, LAMP = 0.65, 0.6
LIGHT = np.array((-0.45, 0.62, 0.64))
"""Where the lamp is from the chair: to the left, above, and towards the camera."""


class Chair(NamedTuple):
    """All solids of one chair, in a sphere of radius 1 around the origin."""

    style: str
    corners: np.ndarray
    """(V, 3)"""
    first_corner: np.ndarray
    """(B,), the first corner of each solid."""
    normals: np.ndarray
    """(F, 3)"""
    offsets: np.ndarray
    """(F,)"""
    first_face: np.ndarray
    """(B + 1,), the first face of each solid, and behind the last."""
    colours: np.ndarray
    """(F, 3)"""


def chair(index: int, seed: int = 0) -> Chair:
    """The chair of class ``index``; the styles take turns.

    Examples
    --------
    >>> from minidl.data.drawn.chairs import chair
    >>> [chair(i).style for i in range(4)]
    ['dining', 'armchair', 'stool', 'swivel']
    """
    if index < 0 or seed < 0:
        raise ArgumentError(f"chair: index and seed are at least 0, received {index} and {seed}")
    style = list(STYLES)[index % len(STYLES)]
    solids = STYLES[style](np.random.default_rng([seed, index]))
    corners = np.concatenate([solid.corners for solid in solids])
    middle = (corners.min(0) + corners.max(0)) / 2
    radius = np.linalg.norm(corners - middle, axis=1).max()
    normals = np.concatenate([solid.normals for solid in solids])
    offsets = np.concatenate([solid.offsets for solid in solids])
    faces = [len(solid.offsets) for solid in solids]
    return Chair(
        style,
        (corners - middle) / radius,
        np.cumsum([0, *(len(solid.corners) for solid in solids[:-1])]),
        normals,
        (offsets - normals @ middle) / radius,
        np.cumsum([0, *faces]),
        np.repeat([solid.colour for solid in solids], faces, axis=0),
    )


def render(
    thing: Chair, azimuth: float, elevation: float, size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """A picture on white (3, size, size) and its mask (1, size, size), float32 in [0, 1].

    Parameters
    ----------
    thing : Chair
    azimuth, elevation : float
        Of the camera, in degrees.
    size : int
        Pixels a side.
    """
    if size < 1:
        raise ArgumentError(f"render: size is at least 1, received {size}")
    camera = _axes(azimuth, elevation)
    place = -DISTANCE * camera[2]
    scale = FILLED * np.sqrt(DISTANCE**2 - 1)  # the sphere's picture reaches +-FILLED
    gap = thing.offsets - thing.normals @ place
    gap[gap == 0] = EDGE_ON
    slope = thing.normals @ camera.T / gap[:, None] / (scale, scale, 1)
    boxes = _boxes(thing, (thing.corners - place) @ camera.T, scale, FINER * size)
    owner = _nearest_faces(thing, slope.astype(np.float32), gap < 0, boxes, FINER * size)
    colours = np.concatenate([np.ones((1, 3)), _lit(thing, camera)]).astype(np.float32)
    covered = (owner > 0).astype(np.float32)
    picture = _mean(colours[owner]).transpose(2, 0, 1)
    return np.ascontiguousarray(picture), _mean(covered[..., None]).transpose(2, 0, 1)


def _boxes(thing: Chair, seen: np.ndarray, scale: float, fine: int) -> np.ndarray:
    """The pixels that hold each solid: left, top, right, bottom, (B, 4) of ``fine`` a side."""
    # The picture reaches from -1 to 1, its rows downwards.
    pixel = scale * seen[:, :2] / seen[:, 2:] * (1, -1)
    low = np.minimum.reduceat(pixel, thing.first_corner, axis=0)
    high = np.maximum.reduceat(pixel, thing.first_corner, axis=0)
    wider = np.array((-0.5, -0.5, 0.5, 0.5))
    ends = (np.concatenate([low, high], 1) + 1) / 2 * fine + wider
    return np.clip(ends.round().astype(int), 0, fine)


def _nearest_faces(
    thing: Chair, slope: np.ndarray, front: np.ndarray, boxes: np.ndarray, fine: int
) -> np.ndarray:
    """The number of the face that each ray meets first, counted from 1; 0 for none.

    ``slope`` (F, 3): 1 / Z of each face's plane is slope @ (x, y, 1) at (x, y) of the
    picture, y upwards. ``front`` (F,): whether the face is turned to the camera.
    """
    centres = ((2 * np.arange(fine) + 1) / fine - 1).astype(np.float32)
    nearest = np.zeros((fine, fine), np.float32)
    owner = np.zeros((fine, fine), np.intp)
    for b, (left, top, right, bottom) in enumerate(boxes):
        faces = slice(thing.first_face[b], thing.first_face[b + 1])
        across = slope[faces, :1] * centres[left:right]
        down = slope[faces, 2:] - slope[faces, 1:2] * centres[top:bottom]
        inverse = down[:, :, None] + across[:, None, :]
        towards = front[faces]
        entering = inverse[towards]
        enters, leaves = entering.min(0), inverse[~towards].max(0)
        area = slice(top, bottom), slice(left, right)
        hit = enters > np.maximum(leaves, nearest[area])
        numbers = np.flatnonzero(towards) + faces.start + 1
        np.copyto(nearest[area], enters, where=hit)
        np.copyto(owner[area], numbers[entering.argmin(0)], where=hit)
    return owner


def views(azimuths: int = 31, elevations: Sequence[float] = (20.0, 30.0)) -> np.ndarray:
    """Azimuth and elevation of each view in degrees, (V, 2); all of the first elevation first."""
    if azimuths < 1 or not elevations:
        raise ArgumentError(
            f"views: at least one azimuth and elevation, received {azimuths} and {elevations}"
        )
    around = 360 * np.arange(azimuths) / azimuths
    return np.array([(a, e) for e in elevations for a in around])


def view_vector(azimuth: Any, elevation: Any) -> np.ndarray:
    """(sin e, cos e, sin a, cos a) of degrees: (...) and (...) -> (..., 4), float32.

    Examples
    --------
    >>> from minidl.data.drawn.chairs import view_vector
    >>> view_vector(90.0, 0.0).round(2).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    parts = np.broadcast_arrays(np.sin(e), np.cos(e), np.sin(a), np.cos(a))
    return np.stack(parts, -1).astype(np.float32)


def chair_images(
    classes: int,
    size: int = 64,
    seed: int = 0,
    azimuths: int = 31,
    elevations: Sequence[float] = (20.0, 30.0),
) -> ArrayDataset:
    """Images (N, 3, S, S), masks (N, 1, S, S), classes (N,) int64, views (N, 4).

    Image i is of class i // V from view i % V, of the V = azimuths len(elevations)
    ``views``. Images lie on white. Floats are float32, pixels in [0, 1].

    Parameters
    ----------
    classes : int
    size : int
        S. At 64, an image takes about 3 ms.
    seed : int
        Class k depends on the seed and on k, not on how many are drawn.
    azimuths : int
        Evenly around.
    elevations : sequence of float
        In degrees.
    """
    if classes < 1:
        raise ArgumentError(f"chair_images: classes is at least 1, received {classes}")
    around = views(azimuths, elevations)
    drawn = []
    for k in range(classes):
        thing = chair(k, seed)
        drawn += [render(thing, a, e, size) for a, e in around]
    images, masks = (np.stack(part) for part in zip(*drawn, strict=True))
    vectors = view_vector(around[:, 0], around[:, 1])
    numbers = np.repeat(np.arange(classes, dtype=np.int64), len(around))
    return ArrayDataset(images, masks, numbers, np.tile(vectors, (classes, 1)))


def _axes(azimuth: float, elevation: float) -> np.ndarray:
    """The camera's right, up and forward, (3, 3), one a row."""
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    right = np.array((-np.cos(a), np.sin(a), 0))
    forward = -np.array((np.cos(e) * np.sin(a), np.cos(e) * np.cos(a), np.sin(e)))
    return np.stack([right, np.cross(right, forward), forward])


def _lit(thing: Chair, camera: np.ndarray) -> np.ndarray:
    """What each face looks like under the lamp, (F, 3)."""
    towards = camera.T @ (LIGHT * (1, 1, -1))
    lamp = np.maximum(thing.normals @ towards / np.linalg.norm(towards), 0)
    around = 0.78 + 0.22 * thing.normals[:, 2]
    return np.clip(thing.colours * (AMBIENT * around + LAMP * lamp)[:, None], 0, 0.95)


def _mean(fine: np.ndarray) -> np.ndarray:
    """Means over FINER x FINER rays, (size FINER, size FINER, C) -> (size, size, C)."""
    size, channels = len(fine) // FINER, fine.shape[-1]
    rows = fine.reshape(size, FINER, size * FINER, channels)
    # Added up by hand: means over short axes are slow.
    summed = sum((rows[:, k] for k in range(1, FINER)), rows[:, 0])
    columns = summed.reshape(size, size, FINER, channels)
    return sum((columns[:, :, k] for k in range(1, FINER)), columns[:, :, 0]) / FINER**2


# --- transforms: of a picture, and as the vector t that the network is told ---

TRANSFORMS = 28
"""Entries of t. Counted from 1, used are 2, 3 (shifts), 4 (angle), 5, 6 (log zooms), 23, 24
(both: log saturation), 27 (log lightness) and 28 (angle of colours)."""

GREY_AND_HUES = np.array([(1, 1, 1), (1, -1, 0), (1, 1, -2)]) / np.sqrt([[3], [2], [6]])
"""An axis for lightness and two for colour; its rows are orthonormal."""


class ChairTransform(NamedTuple):
    """What is done to a picture: zoomed, then turned, then shifted; and its colours."""

    dx: float = 0.0
    """To the right, in sides of the image; so too ``dy``, down."""
    dy: float = 0.0
    angle: float = 0.0
    """Clockwise, in radians."""
    zoom_x: float = 1.0
    zoom_y: float = 1.0
    saturation: float = 1.0
    """Factor of the two colour axes."""
    lightness: float = 1.0
    """Factor of the grey axis."""
    colour_angle: float = 0.0
    """By which colours turn around the grey axis, in radians."""

    def vector(self) -> np.ndarray:
        """t, (28,) float32; all zeros if nothing is changed.

        Examples
        --------
        >>> from minidl.data.drawn.chairs import ChairTransform
        >>> ChairTransform().vector().any()
        np.False_
        """
        t = np.zeros(TRANSFORMS, np.float32)
        t[1:4] = self.dx, self.dy, self.angle
        t[4:6] = np.log([self.zoom_x, self.zoom_y])
        t[22:24] = np.log(self.saturation)
        t[26:28] = np.log(self.lightness), self.colour_angle
        return t


def draw_transform(rng: np.random.Generator, strength: float = 1.0) -> ChairTransform:
    """One drawn as in training; ``strength`` multiplies all ranges, see ``curriculum``."""

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
    """The transformed picture, again on white, and mask, which keeps clear of the colours.

    (3, S, S) and (1, S, S) -> the same

    Parameters
    ----------
    image : array
        On white, in [0, 1].
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
    """Row and column that each pixel comes from, (S, S) each; centres have whole numbers."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    x, y = line[None, :] - t.dx, line[:, None] - t.dy
    cos, sin = np.cos(t.angle), np.sin(t.angle)
    across, down = (cos * x + sin * y) / t.zoom_x, (cos * y - sin * x) / t.zoom_y
    return (down + 0.5) * size - 0.5, (across + 0.5) * size - 0.5


def _sampled(planes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Bilinear samples of (C, S, S), 0 outside: (C, S, S)."""
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
    """What multiplies (R, G, B), (3, 3)."""
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
        Of the transforms; may be set anew while training, see ``curriculum``.
    """

    def __init__(self, chairs: ArrayDataset, strength: float = 1.0):
        self.chairs, self.strength = chairs, strength

    def __len__(self) -> int:
        return len(self.chairs)

    def example(self, i: int) -> Example:
        """Untransformed, with t = 0."""
        return (*self.chairs.example(i), ChairTransform().vector())

    def draw(self, i: int, rng: np.random.Generator) -> Example:
        """Transformed by what ``rng`` draws."""
        image, mask, *rest = self.chairs.example(i)
        transform = draw_transform(rng, self.strength)
        return (*apply_transform(image, mask, transform), *rest, transform.vector())
