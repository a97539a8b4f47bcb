"""U-Net on cells: what the skips do, what the border weights do, and tiles without seams.

Between two cells that touch there is one pixel of background. It is nothing to the pixel
accuracy, and all that keeps them two. Ronneberger, Fischer & Brox 2015 make such pixels
weigh about ten times as much, and hand fine detail past the bottom by skips. Four nets,
of width 12 and depth 3, with and without either, learn from 30 generated images, each bent
eight times; a threshold on the grey level is the baseline. What came out, of 1,726 cells in
20 held-out images, by seed 0 (all defaults, two minutes on two cores):

                     pixels   IoU of cells   boundary F1   Rand error   alone   merged   missed
    threshold         0.655      0.651          0.206        0.972         1     1716        9
    U-Net             0.801      0.708          0.787        0.333      1214      325      187
    no weight map     0.879      0.834          0.798        0.935        86     1605       35
    no skips          0.726      0.595          0.624        0.435      1216       78      432
    neither           0.841      0.791          0.706        0.960        60     1628       38

The threshold calls nearly all a cell: no grey level gets more pixels, since inside and outside
have the same greys. The weight map *costs* eight points of pixel accuracy, and pays with the
cells: 1,214 stand alone, where without it there are 86. It leaves gaps too wide, and the cells
too small. That is more than caution: the net without it, asked for more certainty as the
training images advise (the row "shifted"), has 621 alone at a Rand error of 0.57.

The skips draw the outlines: with the weight map, 0.16 more of boundary F1 and 0.11 of IoU.
In cells that stand alone they gain nothing here; without them cells shrink to blobs,
so that 432 lose over half of their pixels ("missed") and few touch. Seed 1 agrees in
what the weight map does (1,232 alone against 219) and less in the skips: 0.08 of boundary F1,
152 cells more alone, and "neither" did not get beyond calling everything a cell.
A BLAS that rounds otherwise (one thread, not two) is as good as another seed: 1,304 alone then, 71
without the weight map.

All nets are far from done: ``--epochs 4`` brings the U-Net to 0.874 of the pixels, a boundary
F1 of 0.902 and 1,505 cells alone (166 without the weight map, 1,526 without skips, whose
boundary F1 is 0.787). The shifted net without the map comes closer then: 1,280 alone, Rand
error 0.31 against 0.20.

Overlapping tiles answer as one pass over the large image does, up to 5e-06 and in every pixel;
tiles that see nothing beyond their own edges change 8,589 of 221,184 pixels, along the seams.

``--preset paper --data DIR`` trains the full network on the ISBI challenge's 30 sections, five
of them held back, in tiles of 572 pixels: work for a GPU. The paper gives no learning rate and no
number of steps; those are ours.

Writes tables, metrics.json, cells.png and tiles.png.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl import Tensor, random
from minidl.data import ArrayDataset, DataLoader, cell_images, isbi2012, watched
from minidl.lecture.flags import (
    add_device_argument,
    add_preset_arguments,
    arguments,
    parse_with_preset,
)
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table
from minidl.models.unet import UNet, border, input_size_for, output_size
from minidl.optim import SGD, Adam
from minidl.tasks.segmentation import (
    BoundaryF1,
    ConfusionMatrix,
    DeformedTiles,
    ElasticDeformation,
    border_weight_map,
    cell_fates,
    components,
    covering_pieces,
    mirrored_mean,
    overlap_tile,
    pixel_cross_entropy,
    rand_error,
    separate_touching,
    warping_error,
)
from minidl.train import fit

WIDTH, DEPTH = 12, 3
STRIDE, BORDER = 2**DEPTH, border(DEPTH)
TILE = 96
"""Pixels a side that one tile adds to the answer: a multiple of STRIDE, so tiles are exact."""
INPUT = input_size_for(TILE, DEPTH)
OUTPUT = output_size(INPUT, DEPTH)
CROWDING = 0.8
NETS = {
    "U-Net": (True, True),
    "no weight map": (True, False),
    "no skips": (False, True),
    "neither": (False, False),
}
"""Name: whether it has skips, whether it is trained with the weight map."""
BASELINE = "threshold"
SHIFTED = ("U-Net", "no weight map")
"""The nets that are also given the odds, best for training images, at which to say "cell"."""
SHIFTS = np.arange(-2, 8.25, 0.25)
"""Of a cell's logit over that of background: what may be asked for."""


class Cells(NamedTuple):
    """Images (N, 1, H, W) float32, and instances (N, H, W), 0 where there is no cell."""

    images: np.ndarray
    instances: np.ndarray


class Size(NamedTuple):
    """How much of everything."""

    annotated: int
    bends: int
    epochs: int
    test: int
    large: tuple[int, int]


FULL = Size(annotated=30, bends=8, epochs=2, test=20, large=(384, 576))
DRY = Size(annotated=2, bends=1, epochs=1, test=2, large=(104, 200))


def drawn(count: int, size: int | tuple[int, int], seed: int) -> Cells:
    """Crowded cells, from a seed."""
    print(f"Drawing {count} pictures of cells.")
    images, _, instances = cell_images(count, size, seed, crowding=CROWDING, progress=True).arrays
    return Cells(images, instances)


# --- training ---


def bent(cells: Cells, times: int, seed: int) -> ArrayDataset:
    """Each image and its instances bent several times: image, labels, border weights.

    Bending may close the gap of one pixel between two cells, so it is opened anew; the weights
    are those of the bent gaps. Labels and weights are of the middle that a valid network answers.
    """
    bend, rng = ElasticDeformation(sigma=6.0), np.random.default_rng(seed)
    middle = slice(BORDER, BORDER + OUTPUT)
    images, labels, weights = [], [], []
    for _ in range(times):
        for image, instances in zip(*cells, strict=True):
            new, moved = bend(image, instances, rng=rng)
            apart = separate_touching(moved)
            images.append(new)
            labels.append((apart > 0).astype(np.int64)[middle, middle])
            weights.append(border_weight_map(apart)[middle, middle])
    return ArrayDataset(np.stack(images), np.stack(labels), np.stack(weights))


def weighted_loss(net: UNet, batch: tuple[Tensor, ...]) -> Tensor:
    """Cross-entropy, each pixel by its weight; without weights in the batch, all alike."""
    images, labels, *weights = batch
    return pixel_cross_entropy(
        net(images), labels, pixel_weight=weights[0] if weights else None, normalisation="weights"
    )


def trained(dataset: ArrayDataset, skips: bool, weighted: bool, epochs: int, args: Any) -> UNet:
    """One of the four nets: the same first weights as far as they are shared, the same batches."""
    random.manual_seed(args.seed)
    net = UNet(width=WIDTH, depth=DEPTH, dropout=0.2, skips=skips).to(args.device)

    def loss(net: UNet, batch: tuple[Tensor, ...]) -> Tensor:
        return weighted_loss(net, batch if weighted else batch[:2])

    loader = DataLoader(dataset, 2, shuffle=True, seed=args.seed, device=args.device)
    fit(net, loader, Adam(net.parameters(), lr=1e-3), loss, epochs=epochs)
    return net.eval()


# --- answers: True where a cell is ---


def scores(net: UNet, image: np.ndarray, device: str, output: Any = OUTPUT) -> np.ndarray:
    """How much more a cell than background, (1, H, W) -> (H, W): the difference of the logits.

    By tiles that overlap: each sees BORDER pixels around its own.
    """
    background, cell = overlap_tile(net, image, output, BORDER, STRIDE, device=device)
    return cell - background


def best_shift(net: UNet, cells: Cells, device: str) -> float:
    """The score from which on to say "cell", for the smallest Rand error on training images.

    A net trained without border weights might know the gaps and only not dare to say so.
    """
    margins = [scores(net, image, device) for image in cells.images]
    truths = cells.instances > 0
    errors = [np.mean([rand_error(m > shift, t) for m, t in zip(margins, truths, strict=True)])
              for shift in SHIFTS]
    return float(SHIFTS[int(np.argmin(errors))])


def best_threshold(cells: Cells) -> tuple[float, bool]:
    """The grey level that tells most training pixels right, and whether cells are above it."""
    inside = cells.instances > 0
    grey = cells.images[:, 0]
    levels = np.linspace(0, 1, 101)
    right = np.array([((grey > level) == inside).mean() for level in levels])
    above = bool(right.max() >= 1 - right.min())
    return float(levels[right.argmax() if above else right.argmin()]), above


# --- measures ---


def measured(answers: list[np.ndarray], cells: Cells) -> dict[str, float]:
    """All measures over the held-out images."""
    matrix, edges = ConfusionMatrix(2), BoundaryF1(2)
    errors, counts = [], {"cells": 0, "alone": 0, "merged": 0, "missed": 0}
    for answer, instances in watched([*zip(answers, cells.instances, strict=True)], "scoring"):
        matrix.add(answer, instances > 0)
        edges.add(answer, instances > 0)
        errors.append(rand_error(answer, instances > 0))
        for fate, count in cell_fates(answer, instances).items():
            counts[fate] += count
    return {
        "pixel_accuracy": matrix.pixel_accuracy,
        "cell_iou": float(matrix.ious[1]),
        "boundary_f1": edges.value,
        "rand_error": float(np.mean(errors)),
        **counts,
    }


# --- tiles ---


def without_context(net: UNet, image: np.ndarray, device: str) -> np.ndarray:
    """The scores by tiles that do not overlap: each is mirrored at its own edges."""
    _, height, width = image.shape
    whole = np.empty((height, width), np.float32)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            rows, columns = slice(top, top + TILE), slice(left, left + TILE)
            whole[rows, columns] = scores(net, image[:, rows, columns], device)
    return whole


def tiled(net: UNet, image: np.ndarray, device: str) -> dict[str, np.ndarray]:
    """The scores of a large image, in one pass and by both kinds of tiles."""
    fits = tuple(
        output_size(input_size_for(side, DEPTH), DEPTH) for side in image.shape[-2:]
    )
    return {
        "one pass": scores(net, image, device, fits),
        "overlapping": scores(net, image, device),
        "apart": without_context(net, image, device),
    }


def seams(found: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """How far both kinds of tiles are from one pass."""
    whole = found["one pass"]
    return {
        name: {
            "largest_difference": float(np.abs(found[name] - whole).max()),
            "pixels_changed": int(((found[name] > 0) != (whole > 0)).sum()),
        }
        for name in ("overlapping", "apart")
    }


# --- the paper's setting ---

PAPER_INPUT, PAPER_OUTPUT, PAPER_BORDER = 572, 388, border(4)
HELD_BACK = 5
"""Sections: the labels of the challenge's own test set were never published."""


def paper(args: Any) -> None:
    """Train the published network on the ISBI challenge's sections, and measure it."""
    images, labels = isbi2012(args.data).arrays
    cells = Cells(images, np.stack([components(section > 0) for section in labels]))
    learnt, held_out = (Cells(*(a[part] for a in cells))
                        for part in (np.s_[:-HELD_BACK], np.s_[-HELD_BACK:]))
    random.manual_seed(args.seed)
    net = UNet().to(args.device)
    tiles = DeformedTiles(learnt.images, learnt.instances, PAPER_INPUT, PAPER_BORDER)
    loader = DataLoader(tiles, 1, shuffle=True, workers=2, seed=args.seed, device=args.device)
    fit(net, loader, SGD(net.parameters(), lr=1e-3, momentum=0.99), weighted_loss,
        epochs=args.epochs or 800, out=args.out / "unet", resume=args.resume)
    model = mirrored_mean(net.eval())
    level, above = best_threshold(learnt)
    answers = {
        BASELINE: [(x[0] > level) == above for x in held_out.images],
        "U-Net": [np.subtract(*overlap_tile(model, x, PAPER_OUTPUT, PAPER_BORDER, 16,
                                            device=args.device)[::-1]) > 0
                  for x in held_out.images],
    }
    metrics = {}
    for name, each in answers.items():
        warped = [warping_error(a, t > 0) for a, t in zip(each, held_out.instances, strict=True)]
        metrics[name] = measured(each, held_out) | {"warping_error": float(np.mean(warped))}
    keys = ("pixel_accuracy", "rand_error", "warping_error")
    print(table(["", *keys], [[name, *(m[k] for k in keys)] for name, m in metrics.items()]))
    print(f"Saved {write_metrics(args.out, metrics)}")


# --- pictures ---

LEGEND = ("Each piece in the colour of the cell that it holds at least half of. "
          "Red: of two cells or more, merged. Grey: of none.")
RED, GREY = (0.86, 0.08, 0.12), (0.62, 0.62, 0.62)


def coloured(answer: np.ndarray, instances: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The pieces of an answer, (H, W, 3): each in its cell's colour, red if it holds several.

    Grey pieces hold half of no cell; the background is white.
    """
    pieces = components(answer)
    home = covering_pieces(pieces, instances)
    paint = np.tile(np.array(GREY), (int(pieces.max()) + 1, 1))
    paint[0] = 1.0
    for piece in np.unique(home[home > 0]):
        inside = np.flatnonzero(home == piece)
        paint[piece] = palette[inside[0] % len(palette)] if inside.size == 1 else RED
    return paint[pieces]


def colours() -> np.ndarray:
    """Sixteen colours, none of them near red or grey, in an order that mixes them."""
    from matplotlib import colormaps

    ramp = colormaps["viridis"](np.linspace(0.05, 0.95, 16))[:, :3]
    return np.asarray(ramp[np.arange(16) * 7 % 16])


def draw_cells(path: Path, cells: Cells, answers: dict[str, list[np.ndarray]]) -> bool:
    """Two held-out images, two rows each: the image, the truth, and what everyone made of it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    order = [BASELINE, "no weight map, shifted", *NETS]
    palette = colours()
    figure = Figure(figsize=(14, 15.4), layout="constrained")
    grid = figure.subplots(4, 4).reshape(2, 8)
    for i, (image, *panels) in enumerate(grid):
        instances = cells.instances[i]
        show_grey(image, cells.images[i, 0])
        image.set_title("The image")
        pictures = {"The truth": instances > 0} | {name: answers[name][i] for name in order}
        for panel, (name, answer) in zip(panels, pictures.items(), strict=True):
            panel.imshow(coloured(answer, instances, palette), interpolation="nearest")
            fate = cell_fates(answer, instances)
            panel.set_title("{0}: {alone} alone, {merged} merged".format(name, **fate), fontsize=10)
        for panel in (image, *panels):
            panel.set(xticks=[], yticks=[])
    figure.suptitle(LEGEND)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    return True


def show_grey(axes: Any, image: np.ndarray) -> None:
    """With all of the contrast that it has."""
    dark, bright = np.percentile(image, (0.5, 99.5))
    axes.imshow(image, cmap="gray", vmin=dark, vmax=bright)


def draw_tiles(path: Path, cells: Cells, found: dict[str, np.ndarray]) -> None:
    """The large image, by both kinds of tiles; where one pass answers otherwise is magenta."""
    from matplotlib.figure import Figure

    image, instances, whole = cells.images[0, 0], cells.instances[0], found["one pass"]
    figure = Figure(figsize=(15, 10.2), layout="constrained")
    panels = figure.subplots(2, 2)
    show_grey(panels[0, 0], image)
    panels[0, 0].set_title("The image. Orange: one tile (solid), and what its network sees")
    for corner, size, style in ((TILE, TILE, "-"), (TILE - BORDER, INPUT, "--")):
        panels[0, 0].add_patch(_frame(corner, size, style))
    titles = {"overlapping": "Tiles that overlap", "apart": "Tiles mirrored at their own edges"}
    for panel, (name, title) in zip((panels[0, 1], panels[1, 0]), titles.items(), strict=True):
        picture = coloured(found[name] > 0, instances, colours())
        wrong = (found[name] > 0) != (whole > 0)
        picture[wrong] = (1.0, 0.0, 1.0)
        panel.imshow(picture, interpolation="nearest")
        panel.set_title(f"{title}: {wrong.sum():,} pixels unlike one pass (magenta)")
        for side, line in ((0, panel.axhline), (1, panel.axvline)):
            for place in range(TILE, image.shape[side], TILE):
                line(place - 0.5, color="black", linewidth=0.7, linestyle=":")
    off = panels[1, 1].imshow(np.abs(found["apart"] - whole), cmap="magma", vmin=0, vmax=4)
    panels[1, 1].set_title("... and how far their scores are off (nats)")
    figure.colorbar(off, ax=panels[1, 1], shrink=0.7, extend="max")
    for panel in panels.flat:
        panel.set(xticks=[], yticks=[])
    figure.suptitle(LEGEND)
    figure.savefig(path, dpi=100)


def _frame(corner: float, size: int, style: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((corner - 0.5, corner - 0.5), size, size, fill=False, edgecolor="orange",
                     linewidth=2, linestyle=style)


def main() -> None:
    parser = arguments(__doc__, "09_unet_cells")
    add_device_argument(parser)
    parser.add_argument("--epochs", type=int,
                        help="of each net (2, about half a minute; paper: 800)")
    add_preset_arguments(parser, "ISBI 2012: train-volume.tif, train-labels.tif")
    args = parse_with_preset(parser)
    if args.preset == "paper":
        return paper(args)
    size = DRY if args.dry_run else FULL
    epochs = args.epochs or size.epochs
    # Three seeds for three sets, none of them shared by another run's sets.
    learnt = drawn(size.annotated, INPUT, 3 * args.seed)
    held_out = drawn(size.test, 2 * TILE, 3 * args.seed + 1)
    large = drawn(1, size.large, 3 * args.seed + 2)

    level, above = best_threshold(learnt)
    answers = {BASELINE: [(x[0] > level) == above for x in held_out.images]}
    dataset = bent(learnt, size.bends, args.seed)
    nets, margins = {}, {}
    for name, (skips, weighted) in NETS.items():
        nets[name] = trained(dataset, skips, weighted, epochs, args)
        margins[name] = [scores(nets[name], x, args.device) for x in held_out.images]
        answers[name] = [m > 0 for m in margins[name]]
    shifts = {name: best_shift(nets[name], learnt, args.device) for name in SHIFTED}
    for name, shift in shifts.items():
        answers[f"{name}, shifted"] = [m > shift for m in margins[name]]
    metrics: dict[str, Any] = {name: measured(each, held_out) for name, each in answers.items()}
    metrics["shifts"] = shifts

    first = metrics[BASELINE]
    print(f"{size.annotated} annotated images, each bent {size.bends} times, {epochs} epochs. "
          f"{size.test} held-out images with {first['cells']} cells.\n")
    head = ["", "pixels", "IoU of cells", "boundary F1", "Rand error", "alone", "merged", "missed"]
    rows = [
        [name, *(v if isinstance(v, float) else str(v) for k, v in m.items() if k != "cells")]
        for name, m in metrics.items() if name in answers
    ]
    print(table(head, rows))
    asked = " and ".join(f"{shift:g} ({name})" for name, shift in shifts.items())
    print(f"Shifted: to a score of {asked}, in place of 0: best for the Rand error in training.")
    found = tiled(nets["U-Net"], large.images[0], args.device)
    metrics["tiles"] = seams(found)
    print(f"\nA large image, {size.large[0]} x {size.large[1]}, by tiles, against one pass over it")
    print(table(["tiles", "largest difference of scores", "pixels changed"],
                [[k, f"{v['largest_difference']:.2g}", str(v["pixels_changed"])]
                 for k, v in metrics["tiles"].items()]))
    if draw_cells(args.out / "cells.png", held_out, answers):
        draw_tiles(args.out / "tiles.png", large, found)
        print(f"\nDrawn: {args.out / 'cells.png'}, {args.out / 'tiles.png'}")
    print(f"Saved {write_metrics(args.out, metrics)}")


if __name__ == "__main__":
    main()
