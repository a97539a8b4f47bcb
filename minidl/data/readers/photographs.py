"""Photographs that need no download: those inside scikit-image's and scikit-learn's own packages.

    part        colour                                grey
    training    china, ihc, motorcycle, rocket        brick, coins, grass, gravel, moon
    held-out    astronaut, chelsea, coffee, flower    camera

Too few to compete with anybody, enough to see a network learn: about two million pixels to learn
from. No scene is in both parts. (scikit-image's largest photographs, the retina and the deep field,
are left out: blurred or full of noise, they would be most of the patches and teach the least.)

Source: their authors and licences stand in ``skimage/data/README.txt`` and
``sklearn/datasets/images/README.txt``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from minidl.data.images import read_image
from minidl.errors import ArgumentError, DataError, message

FOLDERS = {"skimage": Path("data"), "sklearn": Path("datasets") / "images"}
"""Folder of the photographs inside each package."""
FILES = {
    "training": {
        "brick": "skimage/brick.png",
        "china": "sklearn/china.jpg",
        "coins": "skimage/coins.png",
        "grass": "skimage/grass.png",
        "gravel": "skimage/gravel.png",
        "ihc": "skimage/ihc.png",
        "moon": "skimage/moon.png",
        "motorcycle": "skimage/motorcycle_left.png",
        "rocket": "skimage/rocket.jpg",
    },
    "held-out": {
        "astronaut": "skimage/astronaut.png",
        "camera": "skimage/camera.png",
        "chelsea": "skimage/chelsea.png",
        "coffee": "skimage/coffee.png",
        "flower": "sklearn/flower.jpg",
    },
}
"""Package and file of each photograph, by its part and name."""
GREY = frozenset({"brick", "camera", "coins", "grass", "gravel", "moon"})
"""Names of the grey photographs."""


def photographs(part: str) -> dict[str, np.ndarray]:
    """Read the photographs of a part, by name: uint8, (3, H, W), or (1, H, W) of a grey one.

    Parameters
    ----------
    part : {"training", "held-out"}

    Raises
    ------
    DataError
        If scikit-image or scikit-learn is not installed, or a file is not where it should be.

    >>> {name: image.shape for name, image in photographs("held-out").items()}["coffee"]
    (3, 400, 600)
    """
    if part not in FILES:
        raise ArgumentError(f"photographs: part is one of {list(FILES)}, received {part!r}")
    return {name: _read(name, *file.split("/")) for name, file in FILES[part].items()}


def _read(name: str, package: str, file: str) -> np.ndarray:
    # By the file, not by skimage.data, which copies it elsewhere, or asks the network for it.
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise DataError(
            message(
                f"photographs: '{name}' comes with {package}, which is not installed",
                hint="pip install 'minidl[data]'.",
            )
        )
    path = Path(spec.origin).parent / FOLDERS[package] / file
    return np.rint(255 * read_image(path, "L" if name in GREY else "RGB")).astype(np.uint8)
