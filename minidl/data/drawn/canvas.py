"""A picture and its labels, painted together, the far things first.

Paint covers what lies behind it, in the picture and in the labels: so things hide
each other as they do before a camera. The camera looks along the street at height
`eye` above the ground, without tilt. What is X metres to the right of it, Y metres
above the ground and Z metres away appears at

    x = x0 + focal X / Z,    y = y0 - focal (Y - eye) / Z    (in pixels)

so the ground at infinity is the horizon, y = y0, and a metre at distance Z is
focal / Z pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minidl.compute.taps import bicubic

Colour = Sequence[float] | np.ndarray
Point = tuple[float, float]
Box = tuple[slice, slice]
"""Rows and columns of a rectangle of pixels."""


def smooth_noise(rng: np.random.Generator, height: int, width: int, blob: float) -> np.ndarray:
    """Random hills of about ``blob`` pixels, (height, width), float32, of variance near 1/2."""
    rows, columns = (max(round(size / blob), 1) + 1 for size in (height, width))
    coarse = rng.standard_normal((rows, columns), np.float32)
    # Gathered, not multiplied as matrices: small products wait for BLAS's threads.
    return _resized(_resized(coarse, height).T, width).T


def _resized(rows: np.ndarray, count: int) -> np.ndarray:
    taps = bicubic(len(rows), count)
    return np.einsum("itw,it->iw", rows[taps.index], taps.weight.astype(np.float32))


@dataclass(frozen=True)
class Camera:
    """A view: its centre (x0, y0) and focal length in pixels, its height above ground in metres."""

    x0: float
    y0: float
    focal: float
    eye: float

    def seen(self, x: float, y: float, z: float) -> Point:
        """The pixel (x, y) that shows a place in the street, given in metres."""
        return self.x0 + self.focal * x / z, self.y0 - self.focal * (y - self.eye) / z


class Canvas:
    """The picture (height, width, 3) and its labels (height, width).

    Parameters
    ----------
    height, width : int
    camera : Camera
    haze : colour
        Colour of the air, which far things fade into.
    sight : float
        Metres after which a thing has faded to 1 / e.
    rng : numpy.random.Generator
        Draws the textures.
    """

    def __init__(
        self,
        height: int,
        width: int,
        camera: Camera,
        haze: Colour,
        sight: float,
        rng: np.random.Generator,
    ):
        self.camera, self.haze, self.sight = camera, np.asarray(haze, np.float32), sight
        self.picture = np.zeros((height, width, 3), np.float32)
        self.labels = np.zeros((height, width), np.uint8)
        # Pixel centres, and textures that things take their piece of.
        self.x = np.arange(width, dtype=np.float32) + 0.5
        self.y = np.arange(height, dtype=np.float32) + 0.5
        self.fine = rng.standard_normal((height, width), np.float32)
        self.rough = smooth_noise(rng, height, width, 4)

    def faded(self, colour: Colour, z: float | np.ndarray) -> np.ndarray:
        """A colour, or a picture, as it looks through z metres of air."""
        clear = np.exp(-np.float32(z) / np.float32(self.sight))
        return np.asarray(colour, np.float32) * clear + self.haze * (1 - clear)

    def box(self, left: float, top: float, right: float, bottom: float) -> Box | None:
        """The pixels whose centres lie in a rectangle, if there are any."""
        height, width = self.labels.shape
        rows = slice(min(max(round(top), 0), height), min(max(round(bottom), 0), height))
        columns = slice(min(max(round(left), 0), width), min(max(round(right), 0), width))
        filled = rows.start < rows.stop and columns.start < columns.stop
        return (rows, columns) if filled else None

    def put(self, box: Box, mask: np.ndarray, colour: Colour, label: int) -> None:
        """Paint the pixels of a box where ``mask`` is true."""
        colours = np.asarray(colour, np.float32)
        np.copyto(self.picture[box], colours, where=mask[..., None])
        np.copyto(self.labels[box], np.uint8(label), where=mask)

    def rectangle(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        colour: Colour,
        label: int,
        grain: float = 0.0,
    ) -> None:
        """Paint a rectangle with upright sides, plain or, with ``grain``, of plaster."""
        box = self.box(left, top, right, bottom)
        if box is not None:
            self.picture[box] = colour
            self.labels[box] = label
            if grain:
                self.picture[box] *= (1 + grain * (self.fine[box] + self.rough[box]))[..., None]

    def polygon(self, corners: Sequence[Point], colour: Colour, label: int) -> None:
        """Paint a convex polygon; its corners run in either direction."""
        points = np.asarray(corners, np.float32)
        box = self.box(*points.min(0), *(points.max(0)))
        if box is None:
            return
        x, y = points.T[:, :, None]
        next_x, next_y = np.array([*corners[1:], corners[0]], np.float32).T[:, :, None]
        along_x, along_y = next_x - x, next_y - y
        # On which side of each edge: the cross product of the edge and the way there.
        below = (along_x * (self.y[box[0]] - y))[:, :, None]
        right = (along_y * (self.x[box[1]] - x))[:, None, :]
        turned = (next_y * x - next_x * y).sum() > 0
        sides = below >= right if turned else below <= right
        self.put(box, sides.all(0), colour, label)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, colour: Colour, label: int
    ) -> None:
        """Paint an ellipse with upright axes."""
        box = self.box(x - rx, y - ry, x + rx, y + ry)
        if box is not None:
            self.put(box, self.distance(box, x, y, rx, ry) <= 1, colour, label)

    def foliage(
        self, x: float, y: float, rx: float, ry: float, colour: Colour, label: int
    ) -> None:
        """Paint an ellipse with a ragged edge and leaves, lighter above."""
        box = self.box(x - 1.2 * rx, y - 1.2 * ry, x + 1.2 * rx, y + 1.2 * ry)
        if box is None:
            return
        ragged = self.distance(box, x, y, rx, ry) + 0.35 * self.rough[box]
        light = 1 - 0.3 * (self.y[box[0], None] - y) / ry + 0.22 * self.rough[box]
        light += 0.16 * self.fine[box]
        leaves = light[..., None] * np.asarray(colour, np.float32)
        self.put(box, ragged <= 1, leaves, label)

    def along(
        self, x: float, near: float, far: float, tall: float
    ) -> tuple[Box, np.ndarray, np.ndarray] | None:
        """Follow each pixel's ray to an upright wall along the street, x metres to the right.

        Returns a box of pixels that holds it, the wall's distance Z in each column, and
        the height at which each pixel meets it, which may be below 0 or above ``tall``.
        """
        camera = self.camera
        left, right = sorted(camera.seen(x, 0, z)[0] for z in (near, far))
        top = min(camera.seen(x, tall, z)[1] for z in (near, far))
        box = self.box(left, top, right, len(self.y))
        if box is None:
            return None
        z = np.clip(camera.focal * x / (self.x[None, box[1]] - camera.x0), near, far)
        return box, z, camera.eye - (self.y[box[0], None] - camera.y0) * z / camera.focal

    def shade(self, x: float, y: float, rx: float, ry: float, light: float) -> None:
        """Paint a soft-edged shadow: the picture darker, the labels as they were."""
        box = self.box(x - rx, y - ry, x + rx, y + ry)
        if box is not None:
            share = np.clip(2 - 2 * self.distance(box, x, y, rx, ry), 0, 1)
            self.picture[box] *= (1 - (1 - light) * share)[..., None]

    def distance(self, box: Box, x: float, y: float, rx: float, ry: float) -> np.ndarray:
        """Squared distance of each pixel of a box from (x, y), in units of the radii."""
        across = ((self.x[None, box[1]] - x) / rx) ** 2
        return across + ((self.y[box[0], None] - y) / ry) ** 2

    def stand(self, x: float, z: float, label: int, small: float = 0.0) -> Stand:
        """A place to put up a thing that faces the camera."""
        return Stand(self, x, z, label, small)


class Stand:
    """A brush that paints in metres, right and up, from where a thing stands on the ground.

    ``small`` is the least width in pixels: a lamp post far away is thinner than a
    pixel, and would be there and not there from one row to the next.
    """

    def __init__(self, canvas: Canvas, x: float, z: float, label: int, small: float):
        self.canvas, self.z, self.label, self.small = canvas, z, label, small
        self.left, self.foot = canvas.camera.seen(x, 0, z)
        self.metre = canvas.camera.focal / z
        self.clear = math.exp(-z / canvas.sight)
        self.air = canvas.haze * (1 - self.clear)

    def at(self, u: float, v: float) -> Point:
        """The pixel (x, y) that is u metres to the right and v metres up."""
        return self.left + u * self.metre, self.foot - v * self.metre

    def faded(self, colour: Colour) -> np.ndarray:
        """A colour as it looks from the camera."""
        return np.asarray(colour, np.float32) * self.clear + self.air

    def rectangle(
        self,
        u: float,
        v: float,
        u2: float,
        v2: float,
        colour: Colour,
        label: int | None = None,
        grain: float = 0.0,
    ) -> None:
        """Paint a rectangle from its lower left corner (u, v) to its upper right one (u2, v2)."""
        (left, bottom), (right, top) = self.at(u, v), self.at(u2, v2)
        wider = max(self.small - (right - left), 0) / 2
        self.canvas.rectangle(
            left - wider, top, right + wider, bottom, self.faded(colour),
            self.label if label is None else label, grain,
        )

    def polygon(
        self, corners: Sequence[Point], colour: Colour, label: int | None = None
    ) -> None:
        """Paint a convex polygon."""
        self.canvas.polygon(
            [self.at(u, v) for u, v in corners], self.faded(colour),
            self.label if label is None else label,
        )

    def ellipse(
        self, u: float, v: float, ru: float, rv: float, colour: Colour, label: int | None = None
    ) -> None:
        """Paint an ellipse around (u, v)."""
        rx, ry = (max(r * self.metre, self.small / 2) for r in (ru, rv))
        self.canvas.ellipse(
            *self.at(u, v), rx, ry, self.faded(colour), self.label if label is None else label
        )

    def foliage(self, u: float, v: float, ru: float, rv: float, colour: Colour) -> None:
        """Paint a bush around (u, v)."""
        self.canvas.foliage(
            *self.at(u, v), ru * self.metre, rv * self.metre,
            self.faded(colour), self.label,
        )

    def shadow(self, u: float, ru: float, rz: float, light: float = 0.5) -> None:
        """Paint a shadow on the ground, ru metres to each side and rz metres to the front."""
        flat = rz * self.metre * self.canvas.camera.eye / self.z
        self.canvas.shade(*self.at(u, 0), ru * self.metre, max(flat, 1.0), light)
