"""Label maps as a person sees them: in a legend's colours, outlined, named, and from near."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl.data.readers.legend import Legend
from minidl.lecture.pictures import show
from minidl.tasks.segmentation.connected import components


def draw_labels(
    path: Path,
    images: np.ndarray | Sequence[np.ndarray],
    maps: Mapping[str, np.ndarray | Sequence[np.ndarray]],
    legend: Legend,
    rows: int = 4,
    title: Callable[[str, int], str] = lambda name, row: "" if row else name,
) -> bool:
    """Write a picture: a row for each image, which comes first, and a column for each kind of map.

    Parameters
    ----------
    path : Path
        The PNG file; its folder is made if needed.
    images : sequence of arrays, shape (3, H, W)
        Pixels in [0, 1].
    maps : mapping of name to a sequence of label arrays, shape (H, W)
        Each as long as ``images``, or longer.
    legend : Legend
    rows : int
        At most; the first images are shown.
    title : callable
        What stands above the map of that name in that row. Default: the name, above the first.

    Returns
    -------
    bool
        False if matplotlib is not installed, and nothing was drawn.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    rows = min(rows, len(images))
    _, height, width = images[0].shape
    columns = 1 + len(maps)
    figure = Figure(figsize=(15, 0.9 + rows * (0.2 + 15 / columns * height / width)),
                    layout="constrained")
    for row, axes in enumerate(figure.subplots(rows, columns, squeeze=False)):
        show(axes[0], images[row], title("image", row))
        for panel, (name, labels) in zip(axes[1:], maps.items(), strict=True):
            show(panel, legend.painted(labels[row]), title(name, row))
    name_classes(figure, legend)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    return True


def name_classes(figure: Any, legend: Legend, columns: int | None = None) -> None:
    """Write the classes' names and colours below a figure, in one row by default."""
    from matplotlib.patches import Patch

    colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in legend.palette]
    patches = [Patch(facecolor=colour, edgecolor="black", label=name)
               for name, colour in zip(legend.names, colours, strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=columns or len(legend),
                  fontsize=10)


def outline(axes: Any, mask: np.ndarray) -> None:
    """Draw the edges of a mask, (H, W) bool, around its pixels, in white on black."""
    from matplotlib.collections import LineCollection

    padded = np.pad(mask, 1)
    # (h, w) of the padded mask is (h - 1, w - 1) of the picture, whose pixels reach 0.5 around.
    lines = [((w - 1.5, h - 0.5), (w - 0.5, h - 0.5))
             for h, w in np.argwhere(padded[1:] != padded[:-1])]
    lines += [((w - 0.5, h - 1.5), (w - 0.5, h - 0.5))
              for h, w in np.argwhere(padded[:, 1:] != padded[:, :-1])]
    for colour, width in (("black", 3.0), ("white", 1.4)):
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=width))


class Window(NamedTuple):
    """A part of one scene among several."""

    scene: int
    rows: slice
    columns: slice

    def of(self, maps: Sequence[np.ndarray]) -> np.ndarray:
        """Cut this part out of the map (H, W) of its scene."""
        return maps[self.scene][self.rows, self.columns]


def largest_piece(truths: Sequence[np.ndarray], label: int) -> Window | None:
    """Find where to look closely: around the largest piece of a class in all scenes.

    Chosen by the truth alone, whatever any net made of it; None if no scene has the class.
    """
    best: tuple[int, int, np.ndarray] | None = None
    for i, truth in enumerate(truths):
        numbers = components(truth == label)
        sizes = np.bincount(numbers.ravel())[1:]
        if sizes.size and (best is None or sizes.max() > best[0]):
            best = int(sizes.max()), i, numbers == int(sizes.argmax()) + 1
    if best is None:
        return None
    _, scene, mask = best
    spans = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    side = min(max(24, *(np.ptp(s) + 9 for s in spans)), *mask.shape)
    starts = [int(np.clip((s[0] + s[-1] + 1 - side) // 2, 0, n - side))
              for s, n in zip(spans, mask.shape, strict=True)]
    return Window(scene, *(slice(start, start + side) for start in starts))
