"""Street scenes, drawn from a seed, with the class of every pixel.

A camera in one lane looks along a straight street. Ground, sky and house fronts
are found by following each pixel's ray; what stands in the street is painted over
them, the far things first. The classes are CamVid's eleven, as unequal as in
CamVid: a third of the pixels is road, one in two hundred a sign.

No class has a colour of its own. Roads, pavements, houses, cars and an overcast
sky are grey; light, haze and shadows differ from scene to scene. What tells a car
from the road is its outline, what tells a post from a trunk is the crown above.

What is left out: hills, bends, crossings seen at an angle, night, and the ignored
label, which real annotations leave along the borders.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from minidl.compute.windows import pair
from minidl.data.dataset import ArrayDataset
from minidl.data.drawn.canvas import Camera, Canvas, Stand, smooth_noise
from minidl.data.drawn.street_things import (
    BICYCLIST,
    BUILDING,
    CAR,
    FENCE,
    PAVEMENT,
    PEDESTRIAN,
    POLE,
    ROAD,
    SIGN,
    SKY,
    TREE,
    Rng,
    bicyclist,
    bollard,
    bush,
    car,
    car_across,
    lamp,
    one_of,
    pedestrian,
    sign,
    traffic_light,
    tree,
)
from minidl.data.watching import watched
from minidl.errors import ArgumentError

Thing = tuple[float, Callable[[], None]]
"""The distance of a thing in metres, and the function that paints it."""

SUPERSAMPLING = 2
"""Painted pixels per pixel along each axis: their mean is the picture."""

WALLS = np.array([
    (0.55, 0.34, 0.26), (0.66, 0.60, 0.50), (0.50, 0.50, 0.50), (0.74, 0.73, 0.70),
    (0.40, 0.30, 0.25), (0.58, 0.52, 0.40), (0.36, 0.38, 0.42), (0.45, 0.52, 0.56),
])
"""Colours of house fronts, RGB in [0, 1]."""
SKIES = np.array([(0.45, 0.62, 0.85), (0.70, 0.72, 0.75), (0.58, 0.68, 0.80), (0.80, 0.80, 0.80)])
"""Colours of the sky, RGB in [0, 1]."""


def street_scenes(
    count: int, size: int | tuple[int, int] = (64, 96), seed: int = 0, *, progress: bool = False
) -> ArrayDataset:
    """Draw images (N, 3, H, W), float32 in [0, 1], and labels (N, H, W), int64, as in CAMVID.

    Parameters
    ----------
    count : int
        N.
    size : int or (H, W)
    seed : int
        Scene i depends on the seed and on i, not on how many are drawn.
    progress : bool
        Whether to say on standard error how many are drawn, if it takes long.
    """
    height, width = pair("street_scenes: size", size, 1)
    if count < 1 or seed < 0:
        raise ArgumentError(
            f"street_scenes: count is at least 1 and seed at least 0, received {count} and {seed}"
        )
    numbers = watched(range(count), "drawing street scenes", progress)
    scenes = [scene(height, width, np.random.default_rng([seed, i])) for i in numbers]
    images, labels = zip(*scenes, strict=True)
    return ArrayDataset(np.stack(images), np.stack(labels))


def scene(height: int, width: int, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Draw one picture (3, height, width) and its labels (height, width)."""
    k = SUPERSAMPLING
    street = Street(k * height, k * width, rng)
    street.paint_sky()
    street.paint_ground()
    street.paint_things()
    painted = street.canvas.picture.reshape(height, k, width, k, 3).mean((1, 3))
    # One painted pixel decides: what is two of them wide is never missed.
    labels = street.canvas.labels[k - 1 :: k, k - 1 :: k]
    return photographed(painted, rng), labels.astype(np.int64)


def photographed(picture: np.ndarray, rng: Rng) -> np.ndarray:
    """Add exposure, colour cast, uneven light and noise: (H, W, 3) -> (3, H, W)."""
    height, width, _ = picture.shape
    light = np.float32(rng.uniform(0.7, 1.2)) * (1 + 0.1 * smooth_noise(rng, height, width, 32))
    cast = rng.normal(1, 0.05, 3).astype(np.float32)
    noise = rng.uniform(0.01, 0.035) * rng.standard_normal(picture.shape, np.float32)
    exposed = np.maximum(picture * (light[..., None] * cast), 0) ** rng.uniform(0.85, 1.15)
    return np.ascontiguousarray(np.clip(exposed + noise, 0, 1).transpose(2, 0, 1), np.float32)


class Street:
    """The parts of one scene, in metres: X from the middle of the road, Z from the camera."""

    def __init__(self, height: int, width: int, rng: Rng):
        self.rng = rng
        self.road = rng.uniform(3.2, 5.5)
        self.walls = self.road + rng.uniform(2.2, 5.0)
        self.end = rng.uniform(45, 120)
        self.crossing = rng.uniform(10, 40) if rng.random() < 0.4 else np.inf
        # -1: the sun stands behind the houses on the left; 0: behind clouds.
        self.sun = int(rng.integers(-1, 2))
        self.sky = one_of(rng, SKIES, 0.08)
        self.stands_at = rng.uniform(-0.2, 0.6) * self.road
        focal = rng.uniform(0.75, 1.0) * width
        middle = width * rng.uniform(0.35, 0.65) - focal * self.stands_at / self.end
        camera = Camera(middle, height * rng.uniform(0.4, 0.54), focal, rng.uniform(1.4, 2.1))
        haze = 0.6 * self.sky + 0.3
        self.canvas = Canvas(height, width, camera, haze, rng.uniform(60, 400), rng)
        self.houses = [self._row(side) for side in (-1, 1)]

    def _row(self, side: int) -> list[tuple[float, float, float]]:
        """Houses of one side as (nearest Z, farthest Z, height), with gaps."""
        rng, row = self.rng, []
        z, usual = -rng.uniform(0, 8), rng.uniform(5, 14)
        while z < self.end:
            far = z + rng.uniform(6, 18)
            if rng.random() < 0.15:
                z = far
            if not (far > self.crossing - 1 and z < self.crossing + 8):
                row.append((max(z, 1.0), far, usual * rng.uniform(0.7, 1.5)))
            z = far
        return [house for house in row if house[1] > 1.5]

    def paint_sky(self) -> None:
        """Paint the sky, paler towards the horizon, with clouds."""
        canvas, (height, width) = self.canvas, self.canvas.labels.shape
        clouds = smooth_noise(self.rng, height, width, height / 5)
        cover = np.clip(self.rng.uniform(-0.5, 1) + clouds, 0, 1)[..., None] * 0.6
        down = np.clip(canvas.y / canvas.camera.y0, 0, 1)[:, None, None]
        clear = self.sky * (1 - 0.5 * down) + canvas.haze * 0.5 * down
        canvas.picture[:] = clear * (1 - cover) + cover * (0.85 + 0.05 * clouds[..., None])
        canvas.labels[:] = SKY

    def paint_ground(self) -> None:
        """Paint road, kerb and pavement; lines, slabs and the shadows of the houses."""
        canvas, camera, rng = self.canvas, self.canvas.camera, self.rng
        first = int(np.searchsorted(canvas.y, camera.y0 + 0.5))
        if first >= len(canvas.y):
            return
        z = camera.focal * camera.eye / (canvas.y[first:, None] - camera.y0)
        x = (canvas.x - camera.x0) * z / camera.focal + self.stands_at
        is_road = (np.abs(x) < self.road) | ((z > self.crossing) & (z < self.crossing + 7))
        grey = rng.uniform(0.25, 0.45)
        asphalt = grey * rng.normal(1, 0.04, 3)
        slabs = grey * rng.uniform(0.9, 1.6) * rng.normal(1, 0.05, 3)
        kerb = ~is_road & (np.abs(x) < self.road + 0.25)
        joints = ~is_road & ((z % 1.2 < 0.08) | (x % 0.8 < 0.05)) & (z < 12)
        light = 1 + 0.07 * canvas.rough[first:] + 0.05 * canvas.fine[first:]
        light = light * np.where(kerb, 1.2, np.where(joints, 0.8, 1.0))
        ground = np.where(is_road[..., None], asphalt, slabs)
        lines = self._lines(x, z) & is_road
        ground = np.where(lines[..., None], rng.choice([0.75, 0.62]), ground)
        light = light * np.where(self._shadowed(x, z), 0.55, 1.0)
        ground = ground * light[..., None]
        canvas.picture[first:] = canvas.faded(ground, z[..., None])
        canvas.labels[first:] = np.where(is_road, ROAD, PAVEMENT)

    def _lines(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """The paint on the ground, true or false: a broken line, edges, a zebra crossing."""
        rng = self.rng
        broken = (np.abs(x) < 0.09) & ((z + rng.uniform(0, 6)) % 6 < 3)
        edges = np.abs(np.abs(x) - self.road + 0.35) < 0.07
        lines = broken | edges if rng.random() < 0.6 else broken
        if rng.random() < 0.35:
            near = rng.uniform(5, 20)
            lines = lines | ((z > near) & (z < near + 3) & (x % 1.1 < 0.55))
        return lines & ~((z > self.crossing) & (z < self.crossing + 7))

    def _shadowed(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """The ground that houses on the sun's side keep dark, true or false."""
        if not self.sun:
            return np.zeros(x.shape, bool)
        long = self.rng.uniform(0.3, 0.9)
        shadow = np.zeros(z.shape, np.float32)
        for near, far, tall in self.houses[(self.sun + 1) // 2]:
            shadow[(z >= near) & (z < far)] = tall * long
        return x * self.sun > self.walls - shadow

    def paint_things(self) -> None:
        """Paint everything that stands up, from the far end to the near one."""
        things: list[Thing] = [
            (house[1], partial(self.paint_house, side, *house))
            for side, row in zip((-1, 1), self.houses, strict=True) for house in row
        ]
        things += self._planted() + self._parked() + self._moving()
        self.paint_end()
        for _, paint in sorted(things, key=lambda thing: -thing[0]):
            paint()

    def paint_end(self) -> None:
        """Paint what closes the street: houses across it, trees between them."""
        rng, x = self.rng, -70.0
        while x < 70:
            wide = rng.uniform(6, 20)
            if rng.random() < 0.7:
                stand = self.stand(x, self.end, BUILDING)
                stand.rectangle(0, 0, wide, rng.uniform(5, 22), one_of(rng, WALLS), grain=0.06)
            else:
                tree(self.stand(x + wide / 2, self.end, TREE), rng)
            x += wide

    def paint_house(self, side: int, near: float, far: float, tall: float) -> None:
        """Paint a house: the front along the street, and the wall that looks at the camera."""
        canvas, wall = self.canvas, one_of(self.rng, WALLS)
        end = self.stand(side * self.walls, near, BUILDING)
        end.rectangle(min(0, side * 25), 0, max(0, side * 25), tall,
                      wall * (0.75 if self.sun else 0.9), grain=0.06)
        seen = canvas.along(side * self.walls - self.stands_at, near, far, tall)
        if seen is None:
            return
        box, z, up = seen
        colour = self._front(z - near, up, tall, wall)
        # The sun shines on the fronts across the street.
        colour *= {0: 0.85, side: 0.6}.get(self.sun, 1.05)
        colour *= (1 + 0.06 * canvas.rough[box] + 0.05 * canvas.fine[box])[..., None]
        canvas.put(box, (up >= 0) & (up <= tall), canvas.faded(colour, z[..., None]), BUILDING)

    def _front(self, along: np.ndarray, up: np.ndarray, tall: float, wall: np.ndarray
               ) -> np.ndarray:
        """The colours of a front: windows in storeys, a shop or a door below, a roof above."""
        rng = self.rng
        bay, storey, base = rng.uniform(1.8, 4), rng.uniform(2.6, 3.4), rng.uniform(2.6, 3.6)
        broad, high = rng.uniform(0.2, 0.38), rng.uniform(0.22, 0.36)
        column = np.abs(along / bay % 1 - 0.5) < broad
        row = np.abs((up - base) / storey % 1 - 0.5) < high
        window = column & row & (up > base) & (up < tall - 0.8)
        if rng.random() < 0.5:
            window |= (np.abs(along / (1.5 * bay) % 1 - 0.5) < 0.4) & (up > 0.5) & (up < base - 0.5)
        pane = self.sky * rng.uniform(0.15, 0.8) * np.array((0.9, 0.95, 1.0))
        colour = np.where(window[..., None], pane, wall)
        if rng.random() < 0.6:
            roof = np.array((0.3, 0.27, 0.26)) * rng.uniform(0.6, 1.6)
            colour = np.where((up > tall - rng.uniform(0.4, 2.2))[..., None], roof, colour)
        return colour.astype(np.float32)

    def stand(self, x: float, z: float, label: int) -> Stand:
        """A place in the street; what is thin stays one pixel wide."""
        return self.canvas.stand(x - self.stands_at, z, label, SUPERSAMPLING)

    def _clear(self, z: float, margin: float = 0.5) -> bool:
        return not self.crossing - margin < z < self.crossing + 7 + margin

    def _planted(self) -> list[Thing]:
        """Trees, posts, signs, fences along the kerb; bushes before the houses."""
        rng, things = self.rng, list[Thing]()
        for side in (-1, 1):
            for thing, label, chance in (
                (tree, TREE, rng.choice([0.0, 0.25, 0.7])), (bush, TREE, 0.15),
                (lamp, POLE, 0.3), (bollard, POLE, rng.choice([0.0, 0.4])),
                (sign, SIGN, 0.3), (traffic_light, SIGN, 0.12),
            ):
                for z in np.arange(4 + rng.uniform(0, 6), min(self.end, 60), 7):
                    x = side * (self.walls - 0.4 if thing is bush else self.road + 0.6)
                    if rng.random() < chance and self._clear(z):
                        stand = self.stand(x, z + rng.uniform(0, 3), label)
                        things.append((stand.z, partial(thing, stand, rng)))
            if rng.random() < 0.4:
                near = rng.uniform(2, 15)
                far = near + rng.uniform(4, 12)
                things.append((far - 0.1, partial(self.paint_fence, side, near, far)))
        return things

    def paint_fence(self, side: int, near: float, far: float) -> None:
        """Paint boards or rails along the kerb; what shows through is labelled as fence."""
        canvas, rng, tall = self.canvas, self.rng, self.rng.uniform(0.9, 1.3)
        seen = canvas.along(side * (self.road + 0.3) - self.stands_at, near, far, tall)
        if seen is None:
            return
        box, z, up = seen
        whole = (up >= 0) & (up <= tall)
        bars = (z % 0.4 < 0.12) | (np.abs(up - 0.9 * tall) < 0.06) | (np.abs(up - 0.15) < 0.05)
        boards = np.where(z % 0.5 < 0.08, 0.6, 1.0)[..., None]
        solid = rng.random() < 0.5
        colour = one_of(rng, WALLS) * rng.uniform(0.4, 1.0) * (boards if solid else 1.0)
        canvas.put(box, whole if solid else whole & bars, canvas.faded(colour, z[..., None]), FENCE)
        np.copyto(canvas.labels[box], np.uint8(FENCE), where=whole)

    def _car(self, x: float, z: float, side: int) -> Thing:
        """A car in traffic that keeps right: on the left, it comes towards the camera."""
        return z, partial(car, self.canvas, x - self.stands_at, z, self.rng, side < 0)

    def _parked(self) -> list[Thing]:
        """Cars along both kerbs."""
        rng, things = self.rng, list[Thing]()
        for side in (-1, 1):
            chance = rng.choice([0, 0.3, 0.8])
            for z in np.arange(5 + rng.uniform(0, 6), min(self.end, 60), 6):
                if rng.random() < chance and self._clear(z, 5):
                    things.append(self._car(side * (self.road - 1.1), z, side))
        return things

    def _moving(self) -> list[Thing]:
        """Cars in the lanes and across, people on foot and on bicycles."""
        rng, things = self.rng, list[Thing]()
        for side in (-1, 1):
            if rng.random() < 0.6:
                things.append(self._car(side * 0.3 * self.road, rng.uniform(6, 40), side))
        if self.crossing < self.end and rng.random() < 0.6:
            stand = self.stand(rng.uniform(-8, 8), self.crossing + rng.uniform(1.5, 5.5), CAR)
            things.append((stand.z, partial(car_across, stand, rng)))
        for thing, label, most, inner, outer in (
            (pedestrian, PEDESTRIAN, 7, self.road + 0.4, self.walls - 0.4),
            (pedestrian, PEDESTRIAN, 2, 0, self.road),
            (bicyclist, BICYCLIST, 3, 0.3 * self.road, self.road - 0.5),
        ):
            for _ in range(rng.integers(most + 1)):
                x = rng.choice([-1, 1]) * rng.uniform(inner, outer)
                stand = self.stand(x, rng.uniform(4, 25), label)
                things.append((stand.z, partial(thing, stand, rng)))
        return things
