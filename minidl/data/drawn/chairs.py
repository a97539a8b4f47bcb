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
elevations 20 and 30 degrees, on white, is from memory. The chairs are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minidl.data.dataset import ArrayDataset
from minidl.data.drawn.chair_styles import STYLES
from minidl.data.watching import watched
from minidl.errors import ArgumentError

SUPERSAMPLING = 3
"""Rays per pixel along each axis."""
CAMERA_DISTANCE = 4.0
"""Distance of the camera from a chair's middle, in radii of the sphere around the chair."""
SPHERE_SHARE = 0.92
"""Share of the picture's side that the picture of that sphere takes."""
MIN_GAP = 1e-6
"""Signed distance to the plane of a face seen edge-on, in place of 0: a little turned away."""
AMBIENT, DIFFUSE = 0.65, 0.6
"""Strengths of the light from all sides and of the lamp's."""
LAMP = np.array((-0.45, 0.62, 0.64))
"""Direction from the chair to the lamp: to the left, above, and towards the camera."""


class Chair(NamedTuple):
    """All solids of one chair, in a sphere of radius 1 around the origin."""

    style: str
    corners: np.ndarray
    """Corners of all solids, (V, 3)."""
    first_corner: np.ndarray
    """Number of each solid's first corner, (B,)."""
    normals: np.ndarray
    """Normals of all faces, (F, 3)."""
    offsets: np.ndarray
    """Distances of the faces' planes from the origin, (F,), along their normals."""
    first_face: np.ndarray
    """Number of each solid's first face, and behind the last one's, (B + 1,)."""
    colours: np.ndarray
    """Colours of all faces, (F, 3), RGB in [0, 1]."""


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
    """Render a picture on white (3, size, size) and its mask (1, size, size), float32 in [0, 1].

    Parameters
    ----------
    thing : Chair
    azimuth, elevation : float
        Direction of the camera, in degrees.
    size : int
        Pixels a side.
    """
    if size < 1:
        raise ArgumentError(f"render: size is at least 1, received {size}")
    camera = _axes(azimuth, elevation)
    place = -CAMERA_DISTANCE * camera[2]
    scale = SPHERE_SHARE * np.sqrt(CAMERA_DISTANCE**2 - 1)  # the sphere reaches +-SPHERE_SHARE
    gap = thing.offsets - thing.normals @ place
    gap[gap == 0] = MIN_GAP
    slope = thing.normals @ camera.T / gap[:, None] / (scale, scale, 1)
    fine = SUPERSAMPLING * size
    boxes = _boxes(thing, (thing.corners - place) @ camera.T, scale, fine)
    owner = _nearest_faces(thing, slope.astype(np.float32), gap < 0, boxes, fine)
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
    """Azimuth and elevation of each view in degrees, (V, 2); the first elevation comes first."""
    if azimuths < 1 or not elevations:
        raise ArgumentError(
            f"views: at least one azimuth and elevation, received {azimuths} and {elevations}"
        )
    around = 360 * np.arange(azimuths) / azimuths
    return np.array([(a, e) for e in elevations for a in around])


def view_vector(azimuth: ArrayLike, elevation: ArrayLike) -> np.ndarray:
    """The vector (sin e, cos e, sin a, cos a) of degrees: (...), (...) -> (..., 4), float32.

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
    *,
    progress: bool = False,
) -> ArrayDataset:
    """Draw images (N, 3, S, S), masks (N, 1, S, S), classes (N,) int64, views (N, 4).

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
        Their number; they go evenly around.
    elevations : sequence of float
        Elevations above the horizon, in degrees.
    progress : bool
        Whether to say on standard error how many are drawn, if it takes long.
    """
    if classes < 1:
        raise ArgumentError(f"chair_images: classes is at least 1, received {classes}")
    around = views(azimuths, elevations)
    drawn = []
    for k in watched(range(classes), "drawing chairs", progress):
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
    """The colour of each face under the lamp, (F, 3)."""
    towards = camera.T @ (LAMP * (1, 1, -1))
    lamp = np.maximum(thing.normals @ towards / np.linalg.norm(towards), 0)
    around = 0.78 + 0.22 * thing.normals[:, 2]
    return np.clip(thing.colours * (AMBIENT * around + DIFFUSE * lamp)[:, None], 0, 0.95)


def _mean(fine: np.ndarray) -> np.ndarray:
    """Means over the n x n rays of each pixel, (size n, size n, C) -> (size, size, C)."""
    n = SUPERSAMPLING
    size, channels = len(fine) // n, fine.shape[-1]
    rows = fine.reshape(size, n, size * n, channels)
    # Added up by hand: means over short axes are slow.
    summed = sum((rows[:, k] for k in range(1, n)), rows[:, 0])
    columns = summed.reshape(size, size, n, channels)
    return sum((columns[:, :, k] for k in range(1, n)), columns[:, :, 0]) / n**2
