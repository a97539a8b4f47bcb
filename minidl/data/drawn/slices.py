"""Axial slices of the chest as a CT scanner would show them, drawn from a seed, with a diagnosis.

A phantom of ellipses in the manner of Shepp & Logan 1974, but never twice the same: body,
lungs, heart, aorta, spine, ribs and vessels change in place, size, tilt and density, and the
outlines wobble. It is then scanned. A ray that crosses the body along t under angle theta adds
up the attenuation on its way, of I0 photons

    counts ~ Poisson(I0 exp(-p[theta, t])),    p = sum of mu along the ray

arrive, and the slice is the filtered back-projection of -log(counts / I0) (Kak & Slaney 1988,
chapter 3). So the noise has the streaks and the correlations of CT's, and is strongest behind
bones and in the middle of large bodies.

The diagnosis needs shapes. How much air there is does not tell it: where a lung collapses the
other one grows, and lungs with fluid in them are larger, so that the area of air is that of
healthy lungs on average. A small vessel is no nodule, and either side may be the ill one.

It is a cartoon of an anatomy, not a data set to learn medicine from: one kind of lesion a
slice, a flat level of fluid where a real effusion climbs up the chest wall, no bronchi.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from minidl.data.dataset import ArrayDataset
from minidl.data.drawn.canvas import smooth_noise
from minidl.data.watching import watched
from minidl.errors import ArgumentError

Rng = np.random.Generator

DIAGNOSES = ("healthy", "nodule", "effusion", "collapse")
"""Meanings of labels 0, 1, 2, 3: the last three in one of the two lungs."""
HEALTHY, NODULE, EFFUSION, COLLAPSE = range(4)
BLACK, WHITE = -1000.0, 400.0
"""Hounsfield units of grey 0, which is air, and of grey 1; water has 0."""
WATER_ATTENUATION = 8.0
"""Attenuation p of a ray through as much water as the picture is wide: 40 cm at 0.2 per cm."""
CHUNK = 32
"""Number of slices scanned at once. A product of matrices rounds by its size, which must not
depend on how many slices are drawn."""


def ct_slices(
    count: int, size: int = 48, seed: int = 0, photons: float = 3e3, *, progress: bool = False
) -> ArrayDataset:
    """Draw images (N, 1, H, W), float32 in [0, 1], and labels (N,), int64, as in DIAGNOSES.

    Every four slices in a row hold each diagnosis once, in random order.

    Parameters
    ----------
    count : int
        N.
    size : int
        H and W, in pixels.
    seed : int
        Slice i depends on the seed and on i, not on how many are drawn.
    photons : float
        I0, sent along each ray, times a factor from 1/2 to 2 drawn for each slice. The fewer, the
        noisier; ``float("inf")`` for none of the noise.
    progress : bool
        Whether to say on standard error how many are drawn, if it takes long.

    Notes
    -----
    About 3 ms a slice of 48 pixels. A scanner for size S is a matrix of about 4/3 S^4 float32 (28
    MB for 48, 88 MB for 64), which is kept for the next call.

    >>> images, labels = ct_slices(8, size=32, seed=1).arrays
    >>> images.shape, sorted(labels.tolist())
    ((8, 1, 32, 32), [0, 0, 1, 1, 2, 2, 3, 3])
    """
    if count < 1 or seed < 0 or size < 16:
        raise ArgumentError(
            "ct_slices: count is at least 1, seed at least 0 and size at least 16, "
            f"received {count}, {seed} and {size}"
        )
    if not photons >= 1:
        raise ArgumentError(f"ct_slices: photons must be at least 1, received {photons}")
    images = np.empty((count, 1, size, size), np.float32)
    labels = np.array([diagnosis(seed, i) for i in range(count)])
    for first in watched(range(0, count, CHUNK), f"drawing slices, {CHUNK} at a time", progress):
        rngs = [np.random.default_rng([seed, i]) for i in range(first, min(first + CHUNK, count))]
        phantoms = np.zeros((CHUNK, size, size), np.float32)
        for j, rng in enumerate(rngs):
            phantoms[j] = phantom(int(labels[first + j]), size, rng)
        images[first : first + len(rngs), 0] = scanned(phantoms, rngs, photons)[: len(rngs)]
    return ArrayDataset(images, labels)


def diagnosis(seed: int, i: int) -> int:
    """The label of slice i."""
    order = np.random.default_rng([seed, i // 4, len(DIAGNOSES)]).permutation(4)
    return int(order[i % 4])


# --- the patient ---


class Ellipse(NamedTuple):
    """An ellipse in half widths of the picture: x to the right, y down from the body's middle."""

    x: float
    y: float
    rx: float
    ry: float
    tilt: float = 0.0
    """Angle from the x axis towards the y axis, in radians."""


class Body:
    """A slice of a body: the attenuation painted into it, (size, size); air has 0, water has 1.

    The body lies turned and off the middle of the scanner.
    """

    def __init__(self, size: int, rng: Rng):
        self.size = size
        self.mu = np.zeros((size, size), np.float32)
        middle = ((np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1)
        self.down = np.broadcast_to(middle[:, None], (size, size))
        turn, (x0, y0) = rng.normal(0, 0.14), rng.normal(0, 0.05, 2)
        across, along = middle[None] - np.float32(x0), middle[:, None] - np.float32(y0)
        c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        self.x, self.y = c * across + s * along, c * along - s * across
        self.wobble = smooth_noise(rng, size, size, size / 6)

    def level(self, e: Ellipse, wobble: float = 0.0) -> np.ndarray:
        """The level of each pixel, below 1 inside the ellipse; ``wobble`` bends the outline."""
        c, s = np.float32(np.cos(e.tilt)), np.float32(np.sin(e.tilt))
        x, y = self.x - np.float32(e.x), self.y - np.float32(e.y)
        level = np.hypot((c * x + s * y) / np.float32(e.rx), (c * y - s * x) / np.float32(e.ry))
        return level + np.float32(wobble) * self.wobble if wobble else level

    def share(self, e: Ellipse, wobble: float = 0.0) -> np.ndarray:
        """The share of each pixel that the ellipse covers, 0 to 1, (size, size)."""
        pixels = min(e.rx, e.ry) * self.size / 2
        # Something thinner than a pixel covers none wholly.
        return np.clip((1 - self.level(e, wobble)) * np.float32(pixels) + np.float32(0.5),
                       0, min(1.0, 2 * pixels))

    def paint(self, share: np.ndarray, hounsfield: float | np.ndarray) -> None:
        """Put a tissue where ``share`` is 1, mixed with what was there where it is less."""
        self.mu += share * (np.float32(1) + np.float32(1e-3) * hounsfield - self.mu)


def phantom(label: int, size: int, rng: Rng) -> np.ndarray:
    """Draw a patient's attenuation, (size, size) float32, in units of that of water."""
    body = Body(size, rng)
    a = rng.uniform(0.68, 0.90)
    b = a * rng.uniform(0.70, 0.84)
    fat = rng.uniform(0.03, 0.11)
    grains = smooth_noise(rng, size, size, 2.5)
    body.paint(body.share(Ellipse(0, 0, a, b)), -100 + 15 * grains)
    a, b = a - fat, b - fat
    body.paint(body.share(Ellipse(0, 0, a, b)), rng.uniform(30, 60) + 20 * grains)

    ill = int(rng.integers(2))
    lungs, heart = organs(label, ill, a, b, rng)
    core = Ellipse(heart.x / 2, 0.05 * b, rng.uniform(0.10, 0.16) * a, 0.68 * b)
    density = rng.uniform(-880, -720)
    for number, lung in enumerate(lungs):
        inside = body.share(lung, 0.07)
        depth = 60 * (body.y - lung.y) / np.float32(lung.ry)
        body.paint(inside, density + depth + 25 * grains)
        vessels(body, lung, inside, rng)
        if number == ill and label == EFFUSION:
            flood(body, inside, rng)
        if number == ill and label == NODULE:
            radius = rng.uniform(0.07, 0.11)
            spot = free_place(lung, [heart, core], radius, rng)
            body.paint(body.share(Ellipse(*spot, radius, radius * rng.uniform(0.8, 1.1)), 0.1),
                       rng.uniform(0, 60))
    soft = rng.uniform(35, 60)
    body.paint(body.share(heart, 0.06), soft + 15 * grains)
    body.paint(body.share(core, 0.04), soft - 15 + 15 * grains)
    bones(body, a, b, rng)
    return body.mu


def organs(label: int, ill: int, a: float, b: float, rng: Rng) -> tuple[list[Ellipse], Ellipse]:
    """The lungs, left in the picture first, and the heart, in a chest of radii a and b."""
    scale = rng.uniform(0.74, 1.0) * rng.normal(1, 0.04, 2)
    shift = rng.normal(0, 0.03)
    side = -1 if ill == 0 else 1
    if label == COLLAPSE:
        # What one lung loses in area, the other gains.
        small = rng.uniform(0.60, 0.78)
        scale[ill] *= small
        scale[1 - ill] *= min(np.sqrt(2 - small**2), 1.2)
        shift += 0.10 * side
    if label == EFFUSION:
        scale *= 1.09
    lungs = []
    for sign, size in zip((-1, 1), scale, strict=True):
        rx, ry = 0.36 * size, 0.70 * size
        # Held by its root, near the middle, when it is small.
        x = sign * (0.12 + rx) + shift
        lungs.append(Ellipse(x * a, rng.normal(0, 0.03) * b, rx * a, ry * b,
                             sign * rng.normal(-0.08, 0.06)))
    heart = Ellipse((0.10 + shift + rng.normal(0, 0.02)) * a, rng.uniform(-0.38, -0.22) * b,
                    rng.uniform(0.24, 0.32) * a, rng.uniform(0.32, 0.42) * b, rng.uniform(0, 0.5))
    return lungs, heart


def vessels(body: Body, lung: Ellipse, inside: np.ndarray, rng: Rng) -> None:
    """Paint vessels, thin or cut along, which are not to be mistaken for a nodule."""
    for _ in range(rng.integers(3, 8)):
        angle, far = rng.uniform(0, 2 * np.pi), 0.8 * np.sqrt(rng.random())
        thin = rng.uniform(0.018, 0.036)
        vessel = Ellipse(lung.x + far * lung.rx * np.cos(angle), lung.y + far * lung.ry
                         * np.sin(angle), thin * rng.uniform(1, 3.5), thin, rng.uniform(0, np.pi))
        body.paint(inside * body.share(vessel), rng.uniform(-300, 30))


def flood(body: Body, inside: np.ndarray, rng: Rng) -> None:
    """Paint fluid into the lower part of a lung, below a level that gravity makes flat."""
    share = rng.uniform(0.20, 0.42)
    surface = np.quantile(body.down[inside > 0.5], 1 - share) if (inside > 0.5).any() else 0.0
    below = np.clip((body.down - np.float32(surface)) * np.float32(body.size / 2) + 0.5, 0, 1)
    body.paint(inside * below, rng.uniform(0, 40))


def free_place(
    lung: Ellipse, others: list[Ellipse], radius: float, rng: Rng
) -> tuple[float, float]:
    """A place in a lung where a thing of that radius stands clear of the others."""
    found = lung.x, lung.y
    for _ in range(50):
        angle, far = rng.uniform(0, 2 * np.pi), 0.72 * np.sqrt(rng.random())
        x, y = lung.x + far * lung.rx * np.cos(angle), lung.y + far * lung.ry * np.sin(angle)
        found = float(x), float(y)
        if all(np.hypot((x - e.x) / (e.rx + radius), (y - e.y) / (e.ry + radius)) > 1.05
               for e in others):
            break
    return found


def bones(body: Body, a: float, b: float, rng: Rng) -> None:
    """Paint spine, sternum, ribs, and the aorta before the spine."""
    hard = rng.uniform(280, 450)
    r = rng.uniform(0.13, 0.17) * a
    body.paint(body.share(Ellipse(0.14 * a, 0.42 * b, 0.09 * a, 0.09 * a)), rng.uniform(40, 90))
    body.paint(body.share(Ellipse(0, 0.66 * b, r, 0.85 * r)), hard)
    body.paint(body.share(Ellipse(0, 0.93 * b, 0.4 * r, 0.8 * r)), hard)
    body.paint(body.share(Ellipse(0, 0.66 * b + 1.1 * r, 0.45 * r, 0.4 * r)), 30.0)
    body.paint(body.share(Ellipse(0, -0.88 * b, 0.14 * a, 0.05 * a)), hard)
    start = rng.uniform(0, 0.3)
    for angle in (*np.linspace(-1.1, 1.1, 5) + start, *np.linspace(-1.1, 1.1, 5) + np.pi - start):
        angle += rng.normal(0, 0.05)
        x, y = 0.93 * a * np.cos(angle), 0.93 * b * np.sin(angle)
        tangent = np.arctan2(b * np.cos(angle), -a * np.sin(angle))
        rib = Ellipse(x, y, rng.uniform(0.07, 0.15), rng.uniform(0.022, 0.035), tangent)
        body.paint(body.share(rib), hard)


# --- the scanner ---


def scanned(phantoms: np.ndarray, rngs: list[Rng], photons: float) -> np.ndarray:
    """Scan phantoms into grey slices, (N, size, size) -> (N, size, size), float32 in [0, 1]."""
    n, size, _ = phantoms.shape
    rays = scanner(size)
    views = len(rays) // detectors(size)
    unit = WATER_ATTENUATION / size
    p = unit * (phantoms.reshape(n, -1) @ rays.T)
    for row, rng in zip(p, rngs, strict=False):
        sent = photons * 2 ** rng.uniform(-1, 1)
        if np.isfinite(sent):
            # A ray of which nothing arrives counts as half a photon.
            arrived = np.maximum(rng.poisson(sent * np.exp(-row.astype(float))), 0.5)
            row[:] = np.log(sent / arrived)
    sharp = ramp_filtered(p.reshape(n, views, -1)).reshape(n, -1)
    mu = (np.pi / (views * unit)) * (sharp @ rays)
    hounsfield = 1000 * (mu.reshape(phantoms.shape) - 1)
    grey = np.clip((hounsfield - BLACK) / (WHITE - BLACK), 0, 1)
    return (grey * field_of_view(size)).astype(np.float32)


def detectors(size: int) -> int:
    """The number of rays of a view, a pixel apart: what the circle in the picture is wide."""
    return size + 3


def field_of_view(size: int) -> np.ndarray:
    """The pixels that every view sees: the circle in the picture, (size, size) bool."""
    middle = np.arange(size) - (size - 1) / 2
    return np.hypot(middle[:, None], middle) <= size / 2


@lru_cache(maxsize=2)
def scanner(size: int) -> np.ndarray:
    """The matrix that adds up a picture along every ray, (views * detectors, size * size).

    A pixel is shared by the two rays that pass its middle on either side. Its transpose smears
    the rays back over the picture.
    """
    views, rays = round(4 * size / 3), detectors(size)
    middle = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(middle, middle, indexing="ij")
    seen = np.flatnonzero(field_of_view(size))
    matrix = np.zeros((views, rays, size * size), np.float32)
    for view, theta in enumerate(np.arange(views) * (np.pi / views)):
        t = ((x * np.cos(theta) + y * np.sin(theta)).ravel() + (rays - 1) / 2)[seen]
        ray = t.astype(np.int64)
        matrix[view, ray, seen] = 1 - (t - ray)
        matrix[view, ray + 1, seen] = t - ray
    return matrix.reshape(views * rays, -1)


def ramp_filtered(p: np.ndarray) -> np.ndarray:
    """Convolve views (N, views, detectors) with Shepp & Logan's version of the ramp."""
    rays = p.shape[-1]
    length = 1 << (2 * rays - 1).bit_length()
    n = np.fft.fftfreq(length, 1 / length)
    spectrum = np.fft.rfft(2 / (np.pi**2 * (1 - 4 * n**2))).real
    return np.fft.irfft(np.fft.rfft(p, length) * spectrum, length)[..., :rays].astype(np.float32)
