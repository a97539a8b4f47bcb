"""What stands in a street: each thing painted in metres, from where it stands.

Classes are CamVid's. Colours are drawn so that classes share them: grey cars on
grey roads, green cars beside trees, dark coats before dark windows.
"""

from __future__ import annotations

import numpy as np

from minidl.data.drawn.canvas import Canvas, Stand

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
"""CamVid's classes by number."""

Rng = np.random.Generator

PAINTS = np.array([
    (0.42, 0.43, 0.45), (0.62, 0.63, 0.65), (0.12, 0.12, 0.14), (0.85, 0.85, 0.84),
    (0.55, 0.10, 0.10), (0.15, 0.25, 0.50), (0.20, 0.36, 0.16), (0.50, 0.42, 0.32),
    (0.35, 0.36, 0.38), (0.30, 0.42, 0.52),
])
"""Colours of cars, RGB in [0, 1], as all colours below."""
CLOTHES = np.array([
    (0.12, 0.12, 0.16), (0.25, 0.27, 0.32), (0.55, 0.15, 0.15), (0.20, 0.30, 0.50),
    (0.75, 0.72, 0.66), (0.35, 0.30, 0.22), (0.25, 0.38, 0.22), (0.60, 0.52, 0.20),
])
SKINS = np.array([(0.80, 0.62, 0.50), (0.60, 0.43, 0.32), (0.36, 0.25, 0.19)])
GREENS = np.array([
    (0.20, 0.33, 0.13), (0.27, 0.38, 0.15), (0.36, 0.40, 0.18), (0.14, 0.24, 0.13),
    (0.48, 0.36, 0.16), (0.30, 0.30, 0.22),
])
METALS = np.array([
    (0.45, 0.46, 0.47), (0.16, 0.17, 0.17), (0.62, 0.62, 0.60), (0.20, 0.28, 0.20),
    (0.42, 0.33, 0.24),
])
TYRE = np.array((0.07, 0.07, 0.08))
GLASS = np.array((0.13, 0.16, 0.19))


def one_of(rng: Rng, colours: np.ndarray, spread: float = 0.12) -> np.ndarray:
    """One of the colours, a little lighter or darker, with a cast of its own."""
    light = 1 + spread * rng.standard_normal()
    cast = 1 + 0.3 * spread * rng.standard_normal(3)
    return np.clip(colours[rng.integers(len(colours))] * light * cast, 0.03, 1)


def tree(stand: Stand, rng: Rng) -> None:
    """Paint a tree: a trunk, which may be as thin as a post, under a crown of several bushes."""
    tall = rng.uniform(4.5, 9)
    broad = tall * rng.uniform(0.22, 0.36)
    thick = rng.uniform(0.1, 0.22)
    bark = np.array((0.26, 0.21, 0.16)) * rng.uniform(0.6, 1.5)
    green = one_of(rng, GREENS)
    stand.shadow(rng.uniform(-1, 1), broad * 1.3, broad * 1.3, 0.65)
    stand.rectangle(-thick, 0, thick, tall * 0.6, bark)
    for _ in range(5):
        u, v = broad * rng.uniform(-0.55, 0.55), tall * rng.uniform(0.5, 0.82)
        size = broad * rng.uniform(0.5, 0.85)
        stand.foliage(u, v, size, size * 0.85, green * rng.uniform(0.8, 1.15))


def bush(stand: Stand, rng: Rng) -> None:
    """Paint a low bush, down to the ground."""
    size = rng.uniform(0.5, 1.1)
    stand.foliage(0, size * 0.7, size * 1.2, size, one_of(rng, GREENS))


def lamp(stand: Stand, rng: Rng) -> None:
    """Paint a lamp post, its arm over the road."""
    tall, metal = rng.uniform(5, 8.5), one_of(rng, METALS)
    reach = rng.uniform(0.6, 1.6) * (1 if stand.left < stand.canvas.camera.x0 else -1)
    stand.rectangle(-0.09, 0, 0.09, tall, metal)
    stand.rectangle(min(0, reach), tall, max(0, reach), tall + 0.12, metal)


def bollard(stand: Stand, rng: Rng) -> None:
    """Paint a short post."""
    stand.rectangle(-0.07, 0, 0.07, rng.uniform(0.9, 1.2), one_of(rng, METALS))


def traffic_light(stand: Stand, rng: Rng) -> None:
    """Paint a post with three lamps, one of which is lit."""
    high, lit = rng.uniform(2.4, 3.2), int(rng.integers(3))
    stand.rectangle(-0.07, 0, 0.07, high, one_of(rng, METALS), POLE)
    stand.rectangle(-0.2, high, 0.2, high + 1.05, (0.07, 0.08, 0.08))
    for i, glow in enumerate([(0.2, 0.8, 0.4), (0.95, 0.65, 0.1), (0.9, 0.12, 0.1)]):
        colour = np.array(glow) * (1.0 if i == lit else 0.25)
        stand.ellipse(0, high + 0.2 + 0.33 * i, 0.12, 0.12, colour)


def sign(stand: Stand, rng: Rng) -> None:
    """Paint a plate on a post: round, three-cornered or square."""
    high, size = rng.uniform(2.0, 2.7), rng.uniform(0.32, 0.5)
    rim, face = [
        ((0.75, 0.10, 0.12), (0.90, 0.90, 0.88)), ((0.12, 0.25, 0.60), (0.16, 0.32, 0.68)),
        ((0.85, 0.85, 0.85), (0.75, 0.62, 0.15)), ((0.10, 0.35, 0.20), (0.14, 0.42, 0.26)),
        ((0.35, 0.36, 0.37), (0.52, 0.53, 0.54)),
    ][rng.integers(5)]
    stand.rectangle(-0.05, 0, 0.05, high, one_of(rng, METALS), POLE)
    shape = rng.integers(3)
    for colour, s in ((rim, size), (face, 0.68 * size)):
        if shape == 0:
            stand.ellipse(0, high, s, s, colour)
        elif shape == 1:
            stand.polygon([(-s, high - 0.6 * s), (s, high - 0.6 * s), (0, high + 1.1 * s)], colour)
        else:
            stand.rectangle(-s, high - 0.8 * s, s, high + 0.8 * s, colour)


def pedestrian(stand: Stand, rng: Rng) -> None:
    """Paint a pedestrian: legs, coat, arms and head, mid-step."""
    tall = rng.uniform(1.2, 1.9) / 1.75
    coat, legs, skin = one_of(rng, CLOTHES), one_of(rng, CLOTHES), one_of(rng, SKINS)
    step, broad = rng.uniform(0.02, 0.22), rng.uniform(0.18, 0.26)
    stand.shadow(0.15, 0.45, 0.5)
    for side in (-1, 1):
        foot, hip = side * step, side * 0.08
        stand.polygon([(foot - 0.07, 0), (foot + 0.07, 0), (hip + 0.1, 0.85 * tall),
                       (hip - 0.1, 0.85 * tall)], legs)
        stand.rectangle(side * (broad + 0.03) - 0.06, 0.8 * tall, side * (broad + 0.03) + 0.06,
                        1.4 * tall, coat * 0.8)
    stand.rectangle(-broad, 0.75 * tall, broad, 1.47 * tall, coat)
    stand.ellipse(0, 1.6 * tall, 0.13, 0.16, skin)
    stand.ellipse(0, 1.68 * tall, 0.13, 0.1, one_of(rng, CLOTHES) * 0.5)


def bicyclist(stand: Stand, rng: Rng) -> None:
    """Paint a bicyclist from the side or from behind; wheels are filled, as people label them."""
    coat, skin, metal = one_of(rng, CLOTHES), one_of(rng, SKINS), one_of(rng, PAINTS)
    stand.shadow(0, 0.9, 0.5)
    if rng.random() < 0.6:
        d = rng.choice([-1, 1])
        for hub in (-0.52, 0.52):
            stand.ellipse(hub, 0.34, 0.34, 0.34, TYRE)
            stand.ellipse(hub, 0.34, 0.26, 0.26, np.array((0.4, 0.4, 0.42)))
        stand.polygon([(-0.5 * d, 0.3), (0, 0.28), (0.4 * d, 0.85), (-0.15 * d, 0.85)], metal)
        stand.polygon([(0, 0.3), (0.15 * d, 0.3), (0, 0.95), (-0.25 * d, 0.95)], coat * 0.5)
        stand.polygon([(-0.3 * d, 0.9), (-0.02 * d, 0.85), (0.32 * d, 1.4), (0.02 * d, 1.5)], coat)
        stand.polygon([(0.2 * d, 1.3), (0.3 * d, 1.35), (0.5 * d, 1.0), (0.42 * d, 0.95)], coat)
        stand.ellipse(0.28 * d, 1.58, 0.13, 0.15, skin)
    else:
        stand.rectangle(-0.05, 0, 0.05, 0.7, TYRE)
        stand.rectangle(-0.16, 0.35, 0.16, 0.95, coat * 0.5)
        stand.rectangle(-0.25, 0.85, 0.25, 1.45, coat)
        stand.rectangle(-0.3, 0.98, 0.3, 1.05, metal)
        stand.ellipse(0, 1.6, 0.13, 0.16, skin)


def car(canvas: Canvas, x: float, z: float, rng: Rng, front: bool = False) -> None:
    """Paint a car along the street: the end that faces the camera, one side, the roof."""
    paint = one_of(rng, PAINTS)
    van = rng.random() < 0.25
    wide, long, tall, waist = (0.95, 5.0, 2.1, 1.15) if van else (0.87, 4.3, 1.45, 0.9)
    # Where the window rises behind the end, and where it meets the roof.
    sill = 0.1 if van else 1.0 if front or rng.random() < 0.4 else 0.1
    roof, narrow, tail = sill + (0.15 if van else 0.5), 0.82 * wide, 0.1 if van else 0.9
    seen = -1 if x > 0 else 1
    stand = canvas.stand(x, z, CAR)
    stand.shadow(0, 1.35, 1.2, 0.35)

    def panel(corners: list[tuple[float, float, float]], colour: np.ndarray) -> None:
        """Paint a polygon with corners u metres across, v up, w along from the end's middle."""
        canvas.polygon(
            [canvas.camera.seen(x + u, v, z + w) for u, v, w in corners], stand.faded(colour), CAR
        )

    u, top = seen * wide, seen * narrow
    panel([(u, 0.3, 0), (u, 0.3, long), (u, waist, long), (u, waist, 0)], paint * 0.75)
    panel([(u, waist, sill), (u, waist, long - tail), (top, tall, long - 2 * tail),
           (top, tall, roof)], paint * 0.7 if van else GLASS)
    for axle in (0.8, long - 0.8):
        panel([(u, 0.33 + 0.33 * np.sin(t), axle + 0.33 * np.cos(t))
               for t in np.linspace(0, 2 * np.pi, 6, endpoint=False)], TYRE)
    for tyre in (-wide + 0.12, wide - 0.12):
        stand.rectangle(tyre - 0.12, 0, tyre + 0.12, 0.4, TYRE)
    panel([(-narrow, tall, roof), (narrow, tall, roof), (narrow, tall, long - 2 * tail),
           (-narrow, tall, long - 2 * tail)], paint * 1.1)
    panel([(-wide, waist, sill), (wide, waist, sill), (narrow, tall, roof),
           (-narrow, tall, roof)], paint * 0.9)
    panel([(-0.88 * wide, waist, sill), (0.88 * wide, waist, sill),
           (0.88 * narrow, tall - 0.1, roof), (-0.88 * narrow, tall - 0.1, roof)],
          GLASS * rng.uniform(0.7, 2.5))
    panel([(-wide, waist, 0), (wide, waist, 0), (wide, waist, sill), (-wide, waist, sill)],
          paint * 1.1)
    stand.rectangle(-wide, 0.28, wide, waist, paint)
    lights = np.array((0.9, 0.9, 0.8) if front else (0.6, 0.06, 0.05))
    for u in (-wide, wide - 0.22):
        stand.rectangle(u, waist - 0.3, u + 0.22, waist - 0.08, lights)
    stand.rectangle(-wide, 0.28, wide, 0.42, paint * 0.45)
    stand.rectangle(-0.26, 0.45, 0.26, 0.57, (0.85, 0.8, 0.55))


def car_across(stand: Stand, rng: Rng) -> None:
    """Paint a car that crosses the street, from the side."""
    paint, d = one_of(rng, PAINTS), rng.choice([-1, 1])
    stand.shadow(0, 2.3, 1.0, 0.4)
    stand.polygon([(-2.1 * d, 0.3), (2.1 * d, 0.3), (2.15 * d, 0.75), (-2.1 * d, 0.92)], paint)
    stand.polygon([(-1.7 * d, 0.88), (1.3 * d, 0.8), (0.5 * d, 1.42), (-1.2 * d, 1.42)], paint)
    stand.polygon([(-1.5 * d, 0.9), (1.05 * d, 0.87), (0.42 * d, 1.33), (-1.1 * d, 1.33)], GLASS)
    stand.rectangle(-0.35, 0.85, -0.25, 1.4, paint)
    for hub in (-1.3, 1.3):
        stand.ellipse(hub, 0.32, 0.33, 0.33, TYRE)
        stand.ellipse(hub, 0.32, 0.17, 0.17, (0.5, 0.5, 0.52))
