"""Halls seen by two cameras, drawn from a seed, with the disparity of every pixel.

A hall has a floor, a ceiling, two side walls, an end wall, and boxes on the floor. Both views
are ray-cast from the same scene: the left camera stands at X = 0, the right one at X = B, both
look along Z from 1.5 metres above the floor (Y points down). A pixel (x, y) of the left view
sees the place

    (X, Y, Z) = Z ((x - x0) / f, (y - y0) / f, 1)

and the right camera sees that place D = f B / Z pixels further left: x_R = x_L - D. What a box
hides from one camera only is hidden as it would be.

Every surface is a sum of waves in space, in metres: tiles of a metre, planks, bricks. So one view
alone tells distance as real ones do: by how fine a texture looks, by where a box meets the
floor, by how tall it is, by lines that run together. Waves that a pixel cannot show are damped
by what the pixel covers of them; so the two views agree to a fraction of a pixel.

What is left out: curved and shiny things, lights, fog, and walls that are not at right angles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minidl.compute.windows import pair
from minidl.data.watching import watched
from minidl.errors import ArgumentError

CAMERA_HEIGHT = 1.5
"""Height of the cameras above the floor, in metres."""
FOCAL_PER_WIDTH = 0.6
"""Focal length in widths of the image, about KITTI's (721.5 / 1242)."""
BASELINE = 0.54
"""Distance between the cameras, in metres, as KITTI's."""
SUPERSAMPLING = 2
"""Rays per pixel along each axis: their mean smooths the edges of things."""
BLUR = 0.5
"""Standard deviation of the Gaussian over which a pixel averages waves, in pixels."""
SHADE = np.array([0.72, 1.0, 0.88])
"""Light on faces whose normals are along X, Y and Z."""

Rng = np.random.Generator


class StereoScenes(NamedTuple):
    """Rectified pairs and their truth, from the left view."""

    left: np.ndarray
    """Left views, (N, 3, H, W), float32 in [0, 1]."""
    right: np.ndarray
    """Right views, (N, 3, H, W), float32 in [0, 1]."""
    disparity: np.ndarray
    """D in pixels, (N, 1, H, W), float32: x_R = x_L - D."""
    visible: np.ndarray
    """Whether the right camera sees the place, too, (N, 1, H, W), bool."""
    focal: float
    """Focal length, in pixels."""
    baseline: float
    """Distance between the cameras, in metres."""


def stereo_scenes(
    count: int, size: int | tuple[int, int] = (48, 96), seed: int = 0, noise: float = 0.01,
    *, progress: bool = False,
) -> StereoScenes:
    """Draw pairs of views of halls with boxes.

    Parameters
    ----------
    count : int
        N.
    size : int or (H, W)
    seed : int
        Scene i depends on the seed and on i, not on how many are drawn.
    noise : float
        Standard deviation of what each camera adds to each value by itself.
    progress : bool
        Whether to say on standard error how many are drawn, if it takes long.

    Raises
    ------
    ArgumentError
        If a number makes no sense.
    """
    height, width = pair("stereo_scenes: size", size, 1)
    if count < 1 or seed < 0 or noise < 0:
        raise ArgumentError(
            "stereo_scenes: count is at least 1, seed and noise at least 0, "
            f"received {count}, {seed} and {noise}"
        )
    numbers = watched(range(count), "drawing stereo scenes", progress)
    scenes = [_pair(height, width, np.random.default_rng([seed, i]), noise) for i in numbers]
    left, right, disparity, visible = (np.stack(each) for each in zip(*scenes, strict=True))
    return StereoScenes(left, right, disparity, visible, FOCAL_PER_WIDTH * width, BASELINE)


def _pair(height: int, width: int, rng: Rng, noise: float) -> tuple[np.ndarray, ...]:
    hall, k = Hall(rng), SUPERSAMPLING
    gain = rng.uniform(0.8, 1.15)
    views = []
    for x in (0.0, BASELINE):
        colours = hall.seen(Rays.of_pixels(height, width, x, k))
        picture = gain * colours.reshape(height, k, width, k, 3).mean((1, 3))
        picture += noise * rng.standard_normal(picture.shape)
        views.append(np.clip(picture, 0, 1).transpose(2, 0, 1).astype(np.float32))
    rays = Rays.of_pixels(height, width, 0.0, 1)
    depth = hall.hit(rays).depth
    disparity = (FOCAL_PER_WIDTH * width * BASELINE / depth).astype(np.float32)
    visible = hall.reached(rays, depth, BASELINE)
    columns = np.arange(width) - disparity.reshape(height, width)
    visible = visible.reshape(height, width) & (columns >= 0)
    return (*views, disparity.reshape(1, height, width), visible[None])


class Rays(NamedTuple):
    """Straight lines origin + t direction; directions have Z = 1, so that t is the depth."""

    origin: float
    """X of the camera, in metres."""
    direction: np.ndarray
    """Directions, (P, 3)."""
    pixel: float
    """Width of a pixel at depth 1, in metres: 1 / focal."""

    @classmethod
    def of_pixels(cls, height: int, width: int, origin: float, per_pixel: int) -> Rays:
        """The rays through all pixels, ``per_pixel`` of them along each axis of a pixel."""
        focal = FOCAL_PER_WIDTH * width
        x = ((np.arange(per_pixel * width) + 0.5) / per_pixel - width / 2) / focal
        y = ((np.arange(per_pixel * height) + 0.5) / per_pixel - height / 2) / focal
        direction = np.ones((len(y), len(x), 3))
        direction[..., 0], direction[..., 1] = x, y[:, None]
        return cls(origin, direction.reshape(-1, 3), 1 / focal)


class Hit(NamedTuple):
    """The ends of rays, (P,) each: depth, number of the surface, axis of its normal."""

    depth: np.ndarray
    surface: np.ndarray
    axis: np.ndarray


@dataclass(frozen=True)
class Material:
    """A colour times 1 + the sum of waves ``height cos(2 pi wave . place + phase)``."""

    colour: np.ndarray
    wave: np.ndarray
    """Waves per metre along X, Y, Z, (K, 3)."""
    height: np.ndarray
    phase: np.ndarray

    def seen(self, place: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
        """The colours (P, 3) at places (P, 3); ``across`` and ``down`` are a pixel's steps."""
        k = np.float32(2 * np.pi) * self.wave.T
        spread = (across @ k) ** 2 + (down @ k) ** 2
        waves = np.cos(place @ k + self.phase) * np.exp(np.float32(-(BLUR**2) / 2) * spread)
        return (1 + waves @ self.height)[:, None] * self.colour


class Hall:
    """One scene: six sides of a hall, some boxes, and their materials."""

    def __init__(self, rng: Rng):
        left, right = rng.uniform(2.0, 6.0, 2)
        self.end = rng.uniform(10, 30)
        self.low = np.array([-left, CAMERA_HEIGHT - rng.uniform(2.8, 6.0), -1.0])
        self.high = np.array([right, CAMERA_HEIGHT, self.end])
        floor, side, roof = tiled(rng), bricked(rng), planked(rng)
        self.sides = [side, floor, bricked(rng)]
        self.roof = roof
        self.boxes: list[tuple[np.ndarray, np.ndarray, Material]] = []
        for _ in range(rng.integers(2, 6)):
            self._stand(rng)

    def _stand(self, rng: Rng) -> None:
        """Put a crate, a cupboard or a container somewhere on the floor."""
        kind = int(rng.integers(3))
        x, y, z = ((1.2, 1.2, 1.2), (1.0, 2.1, 0.6), (2.0, 1.6, 4.0))[kind]
        near = 1 / rng.uniform(1 / (0.8 * self.end), 1 / 3.6)
        middle = rng.uniform(max(self.low[0] + x / 2, -0.75 * near),
                             min(self.high[0] - x / 2, 0.75 * near))
        low = np.array([middle - x / 2, CAMERA_HEIGHT - y, near])
        high = np.array([middle + x / 2, CAMERA_HEIGHT, min(near + z, self.end)])
        self.boxes.append((low, high, painted(rng, kind)))

    def hit(self, rays: Rays) -> Hit:
        """What each ray meets first."""
        # One axis after the other, (3, P): NumPy reduces a short first axis much faster.
        slope = 1 / np.where(rays.direction == 0, 1e-12, rays.direction).T.copy()
        origin = np.array([[rays.origin], [0.0], [0.0]])
        low, high = self.low[:, None] - origin, self.high[:, None] - origin
        ahead = np.where(slope > 0, high, low) * slope  # the walls, from inside the hall
        depth, axis = ahead.min(0), ahead.argmin(0)
        surface = np.zeros(len(depth), np.int64)
        for number, (near, far, _) in enumerate(self.boxes, 1):
            first, second = (near[:, None] - origin) * slope, (far[:, None] - origin) * slope
            enters = np.minimum(first, second)
            entry, leaves = enters.max(0), np.maximum(first, second).min(0)
            met = (entry < leaves) & (entry > 0) & (entry < depth)
            depth = np.where(met, entry, depth)
            surface = np.where(met, number, surface)
            axis = np.where(met, enters.argmax(0), axis)
        return Hit(depth, surface, axis)

    def reached(self, rays: Rays, depth: np.ndarray, x: float) -> np.ndarray:
        """Whether a camera at ``x`` sees what these rays meet at these depths."""
        direction = rays.direction.copy()
        direction[:, 0] += (rays.origin - x) / depth
        return self.hit(Rays(x, direction, rays.pixel)).depth > depth * (1 - 1e-6)

    def seen(self, rays: Rays) -> np.ndarray:
        """The colour that each ray brings, (P, 3)."""
        hit = self.hit(rays)
        d, t = rays.direction, hit.depth[:, None]
        place = t * d
        place[:, 0] += rays.origin
        # A pixel's step, in the plane of the surface: what leaves the plane goes along the ray.
        across, down = np.zeros_like(place), np.zeros_like(place)
        across[:, 0], down[:, 1] = rays.pixel * hit.depth, rays.pixel * hit.depth
        for step, along in ((across, 0), (down, 1)):
            leaves = np.flatnonzero(hit.axis == along)
            share = step[leaves, along] / d[leaves, along]
            step[leaves] -= share[:, None] * d[leaves]
        colours = np.empty_like(place)
        for which, material in self._materials(hit, d):
            steps = (each[which].astype(np.float32) for each in (place, across, down))
            colours[which] = material.seen(*steps)
        return colours * SHADE[hit.axis][:, None]

    def _materials(self, hit: Hit, d: np.ndarray) -> list[tuple[np.ndarray, Material]]:
        hall = hit.surface == 0
        above = hall & (hit.axis == 1) & (d[:, 1] < 0)
        found = [(hall & (hit.axis == axis) & ~above, m) for axis, m in enumerate(self.sides)]
        found.append((above, self.roof))
        found += [(hit.surface == i, box[2]) for i, box in enumerate(self.boxes, 1)]
        return [(np.flatnonzero(mask), material) for mask, material in found]


# --- what things are made of; their waves have the same lengths in every scene ---


def material(rng: Rng, colour: np.ndarray, regular: Sequence[tuple[float, ...]]) -> Material:
    """A material of regular waves (along X, Y, Z per metre, and height) among irregular ones."""
    count = 10
    direction = rng.standard_normal((count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = np.exp(rng.uniform(np.log(0.3), np.log(4.0), (count, 1)))
    waves = np.array(regular)
    parts = (
        np.clip(colour * rng.normal(1, 0.1, 3), 0.05, 1),
        np.concatenate([direction / length, waves[:, :3]]),
        np.concatenate([rng.uniform(0.04, 0.12, count), waves[:, 3]]),
        rng.uniform(0, 2 * np.pi, count + len(waves)),
    )
    return Material(*(part.astype(np.float32) for part in parts))  # a cosine of float32 is cheap


def tiled(rng: Rng) -> Material:
    """A floor of grey tiles of one metre."""
    return material(rng, rng.uniform(0.35, 0.6) * np.ones(3),
                    [(0.5, 0, 0.5, 0.2), (0.5, 0, -0.5, 0.2), (1.5, 0, 0.5, 0.06)])


def bricked(rng: Rng) -> Material:
    """A wall of big bricks in rows, reddish or pale."""
    colour = np.array([(0.6, 0.42, 0.34), (0.62, 0.58, 0.48)][rng.integers(2)])
    return material(rng, colour, [(0, 1.6, 0, 0.15), (0.8, 0.8, 0.8, 0.1), (0.8, -0.8, 0.8, 0.1)])


def planked(rng: Rng) -> Material:
    """A ceiling with beams across the hall, one each two metres."""
    return material(rng, np.array([0.42, 0.45, 0.52]), [(0, 0, 0.5, 0.25), (1.0, 0, 0, 0.1)])


def painted(rng: Rng, kind: int) -> Material:
    """The material of a box of one of three kinds: each has its own pattern, and any colour."""
    colour = rng.uniform(0.25, 0.8, 3)
    patterns = (
        [(1.67, 1.67, 0, 0.2), (1.67, -1.67, 0, 0.2), (0, 1.67, 1.67, 0.1)],
        [(2.0, 0, 2.0, 0.25), (0, 0.95, 0, 0.2)],
        [(0, 2.5, 0, 0.15), (1.0, 0, 1.0, 0.25)],
    )
    return material(rng, colour, patterns[kind])
