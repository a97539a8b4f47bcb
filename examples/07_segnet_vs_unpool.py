"""SegNet's question: do max-pool indices, handed to the decoder, keep boundaries sharp?

A max-pool forgets where its maximum was; SegNet (Badrinarayanan, Kendall & Cipolla 2017) keeps that
one number and puts the value back there. Against it: "fixed" puts each value to the top left of its
2 x 2 pixels, "bilinear" interpolates. The same net, of SegNet's plan with four stages of one
convolution, learns three times from the same 300 generated streets of 64 x 96 pixels: the same
first weights, the same 600 batches of 4, rare classes weighted by median frequency. The baseline
knows a pixel's colour and height alone, with the same weights and without. What came out, on 50
held-out scenes, by seed 0 (all defaults, two and a half minutes of one core):

                    pixels  classes  mean IoU  boundary F1  at borders  inside  pieces
    colour, height   0.541    0.423     0.247        0.266       0.347   0.640     525
    ... unweighted   0.738    0.340     0.271        0.255       0.448   0.873     204
    indices          0.725    0.588     0.377        0.353       0.389   0.884     187
    fixed            0.681    0.511     0.326        0.239       0.347   0.850      81
    bilinear         0.657    0.552     0.332        0.212       0.327   0.838      22
    (the truth)                                                                     51

Boundary F1 allows one pixel. "At borders" is the accuracy of pixels that touch another class, every
fifth; "inside", of those three pixels or more from these; "pieces" are connected areas in a scene.

The claim holds: indices lead by 0.11 of boundary F1 over fixed unpooling and 0.14 over bilinear,
and by 0.05 of mean IoU. The lead is largest two to four pixels from a border, where 0.68 to 0.82
are right against 0.53 to 0.69 by bilinear; eight pixels away and farther bilinear is ahead, 0.953
to 0.943. Seed 1 agrees (boundary F1 0.330, 0.239 and 0.215; mean IoU 0.373, 0.339 and 0.342).
Fixed and bilinear share the second place: pixels and boundaries are fixed's, classes bilinear's.

Sharp is not clean: the answer by indices has more than three times as many pieces as the truth,
many of them specks, and bilinear's areas are smooth and too few. All three draw thin things fat,
as a rare class's weight tells them to: the IoU of poles is 0.09, 0.03 and 0.04, of signs 0.08, 0.04
and 0.05. So the unweighted baseline gets more pixels right than any net, near borders too.
``--unweighted`` nets leave it behind and keep the order of the three (pixels 0.853, 0.829 and
0.817; boundary F1 0.355, 0.256 and 0.229; 44, 13 and 8 pieces), but their IoU of poles, signs,
fences and bicyclists is 0.000.

The cost: a step takes as long by each of the three, 50 to 52 ms. Of one image, the decoder waits
for 356,352 bytes of indices, which this library keeps as int64; the maps that skips would need are
712,704, and two bits an index, which are enough, 11,136. Training keeps the maps in any case.

``--preset paper`` trains SegNet, or with ``--net basic`` the SegNet-Basic of the paper's own
comparison, by the release's settings (no result of ours). The paper reports 0.477 of mean IoU and
0.358 of boundary F1 on CamVid for SegNet-Basic, 0.433 and 0.208 for a smaller net with a bilinear
decoder. Without ``--vgg16``, SegNet starts from random weights, unlike the paper's.

Writes tables, metrics.json, streets.png and boundaries.png.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl.functional as F
from minidl import Tensor, no_grad, random
from minidl.data import CAMVID, DataLoader, Dataset, camvid, street_scenes, watched
from minidl.files.known_weights import verify
from minidl.files.serialize import load
from minidl.lecture.flags import (
    add_device_argument,
    add_preset_arguments,
    arguments,
    parse_with_preset,
)
from minidl.lecture.label_pictures import draw_labels, largest_piece, name_classes, outline
from minidl.lecture.pictures import show
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table
from minidl.models.segnet import (
    Mirror,
    SegNet,
    SegNetBasic,
    he_conv,
    parameter_groups,
    recompute_statistics,
    stage,
)
from minidl.nn.conversion import beside
from minidl.optim import SGD, Adam, CosineAnnealingLR
from minidl.tasks.segmentation import (
    BorderAccuracy,
    BoundaryF1,
    ConfusionMatrix,
    components,
    median_frequency_weights,
    pixel_cross_entropy,
)
from minidl.train import fit

CLASSES, IGNORED = len(CAMVID), CAMVID.ignore
CHANNELS = (16, 32, 64, 64)
"""Of the small net's stages; each has one convolution, so that two minutes are enough."""
DECODERS = ("indices", "fixed", "bilinear")
BASELINES = ("colour, height", "... unweighted")
FARTHEST = 8
"""Pixels from a border; all that is farther counts as this far."""
INSIDE = 3
"""Pixels from a border from where on a pixel counts as inside."""
SHADES, BANDS = 8, 16
"""Of each colour channel, and of the image's height, in the baseline."""
ZOOMED = ("Pole", "SignSymbol", "Pedestrian")


class Setting(NamedTuple):
    """What is trained on what, how long, and how it is scored."""

    build: Callable[[str], Mirror]
    optimiser: Callable[[Mirror, int], tuple[Any, Any]]
    """Of a net and a number of steps: the optimiser and its schedule, if it has one."""
    train: Dataset
    test: Dataset
    batch: int
    steps: int
    tolerance: float | None
    """Of boundary F1, in pixels; None is 0.75 % of the image's diagonal."""


# --- the two presets ---


def tiny(args: argparse.Namespace) -> Setting:
    """Generated streets; the two seeds of the sets are shared by no other run."""
    train, test, steps = (8, 3, 2) if args.dry_run else (300, 50, 600)
    print(f"Drawing {train + test} street scenes.")
    return Setting(
        small_net, adam, street_scenes(train, seed=2 * args.seed, progress=True),
        street_scenes(test, seed=2 * args.seed + 1, progress=True), 4, steps, tolerance=1.0,
    )


def small_net(upsampling: str) -> Mirror:
    """SegNet's plan with four stages of one convolution on either side.

    (N, 3, H, W) -> (N, classes, H, W)
    """
    ins = (3, *CHANNELS[:-1])
    # Batch norm's usual epsilon: the release's 1e-9 is for long trainings at small rates.
    encoder = [stage([("conv", he_conv(c, o, 3))], 1e-5)
               for c, o in zip(ins, CHANNELS, strict=True)]
    decoder = [stage([("conv", he_conv(o, c, 3))], 1e-5)
               for c, o in zip(ins[:0:-1], CHANNELS[:0:-1], strict=True)]
    return Mirror(encoder, [*decoder, he_conv(CHANNELS[0], CLASSES, 3)], upsampling=upsampling)


def adam(net: Mirror, steps: int) -> tuple[Any, Any]:
    """A rate that falls to nothing by the last step."""
    optimiser = Adam(net.parameters(), lr=1e-2)
    return optimiser, CosineAnnealingLR(optimiser, steps)


def paper(args: argparse.Namespace) -> Setting:
    """CamVid at 360 x 480, as the release trains: SegNet, or SegNet-Basic of the paper's study."""
    build, rate, steps = (
        (partial(vgg_start, args.vgg16), 1e-3, 40_000)
        if args.net == "segnet"
        else (lambda upsampling: SegNetBasic(CLASSES, upsampling=upsampling), 0.1, 10_000)
    )
    return Setting(
        build, partial(released_sgd, rate), camvid(args.data, "train", scaled),
        camvid(args.data, "test", scaled), 4, 2 if args.dry_run else steps, tolerance=None,
    )


def scaled(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The release's nets are given 0 to 255."""
    return image * np.float32(255)


def vgg_start(weights: Path | None, upsampling: str) -> SegNet:
    """SegNet; its encoder starts from VGG-16's weights, if there is a file of them."""
    net = SegNet(CLASSES, upsampling=upsampling)
    if weights is not None:
        verify(weights)
        net.copy_vgg16(load(weights))
    return net


def released_sgd(rate: float, net: Mirror, steps: int) -> tuple[Any, Any]:
    """The release's optimiser, at one rate."""
    groups = parameter_groups(net, rate)
    return SGD(groups, lr=rate, momentum=0.9, weight_decay=5e-4), None


# --- training and answers ---


def loss_of(net: Mirror, batch: tuple[Tensor, ...], weights: np.ndarray | None) -> Tensor:
    images, labels = batch
    return pixel_cross_entropy(net(images), labels, weights, ignore_index=IGNORED)


def trained(
    setting: Setting, upsampling: str, weights: np.ndarray | None, args: argparse.Namespace
) -> Mirror:
    """One of the three: the same first weights, the same batches in the same order."""
    random.manual_seed(args.seed)
    net = setting.build(upsampling).to(args.device)
    loader = DataLoader(setting.train, setting.batch, shuffle=True, seed=args.seed,
                        device=args.device)
    epochs = -(-setting.steps // len(loader))
    optimiser, schedule = setting.optimiser(net, epochs * len(loader))
    kept: dict[str, Any] = {}
    if args.preset == "paper":
        kept = {"out": args.out / upsampling, "resume": args.resume, "checkpoint_every": 1000}
    fit(net, loader, optimiser, partial(loss_of, weights=weights), epochs=epochs,
        schedule=schedule, **kept)
    recompute_statistics(net, (images for images, _ in loader))
    return net.eval()


def answered(net: Mirror, dataset: Dataset, device: str) -> list[np.ndarray]:
    """The likeliest class of each pixel, (H, W) of each image."""
    with no_grad():
        return [
            answer
            for images, _ in DataLoader(dataset, 5, device=device)
            for answer in net(images).numpy().argmax(1).astype(np.uint8)
        ]


def colour_and_height(image: np.ndarray) -> np.ndarray:
    """Which colour at which height a pixel is: (3, H, W) in [0, 1] -> (H, W), integers."""
    red, green, blue = (image * SHADES).astype(np.int64).clip(0, SHADES - 1)
    band = np.arange(image.shape[1])[:, None] * BANDS // image.shape[1]
    return ((red * SHADES + green) * SHADES + blue) * BANDS + band


def baselines(setting: Setting, weights: np.ndarray) -> dict[str, list[np.ndarray]]:
    """A pixel's likeliest class by its colour and height alone, with and without the weights."""
    cells = SHADES**3 * BANDS
    counts = np.zeros((cells, CLASSES + 1), np.int64)
    for image, labels in undone(setting.train):
        pairs = colour_and_height(image) * (CLASSES + 1) + labels
        counts += np.bincount(pairs.ravel(), minlength=counts.size).reshape(counts.shape)
    counts = counts[:, :CLASSES]  # without the ignored label, which is the last
    answers = [(counts * each).argmax(1).astype(np.uint8) for each in (weights, 1)]
    codes = [colour_and_height(image) for image, _ in undone(setting.test)]
    return {name: [a[code] for code in codes]
            for name, a in zip(BASELINES, answers, strict=True)}


def undone(dataset: Dataset) -> Any:
    """Images in [0, 1] and labels, one by one: as they are before a transform."""
    return map(dataset.example, range(len(dataset)))


# --- measures ---


def pieces(labels: np.ndarray) -> int:
    """Connected areas of one class: many, if an answer is full of specks."""
    return sum(int(components(labels == c).max()) for c in np.unique(labels))


def measured(
    answers: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    tolerance: float | None,
) -> dict[str, Any]:
    """All measures over the held-out images."""
    matrix = ConfusionMatrix(CLASSES, IGNORED)
    edges = BoundaryF1(CLASSES, IGNORED, tolerance)
    near = BorderAccuracy(FARTHEST, IGNORED)
    counts = []
    for answer, truth in watched([*zip(answers, truths, strict=True)], "scoring"):
        for measure in (matrix, edges, near):
            measure.add(answer, truth)
        counts.append(pieces(answer))
    return {
        "pixel_accuracy": matrix.pixel_accuracy,
        "class_accuracy": matrix.class_accuracy,
        "mean_iou": matrix.mean_iou,
        "boundary_f1": edges.value,
        "border_accuracy": near.between(0, 0),
        "inside_accuracy": near.between(INSIDE),
        "pieces": float(np.mean(counts)),
        "ious": dict(zip(CAMVID.names, matrix.ious.tolist(), strict=True)),
        "accuracy_by_distance": near.by_distance,
        "pixels_by_distance": near.pixels.tolist(),
    }


def kept_bytes(net: Mirror, image: np.ndarray) -> dict[str, int]:
    """What is kept of one image, (3, H, W), until the decoder needs it, by what it needs.

    "maps": what goes into the max-pools. "indices": the array that max_pool2d returns.
    "two bits": what an index of four places needs.
    """
    x = beside(net, image[None])
    sizes = {"maps": 0, "indices": 0, "two bits": 0}
    with no_grad():
        for layers in net.encoder:
            x = layers(x)
            sizes["maps"] += x.data.nbytes
            x, indices = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
            sizes["indices"] += indices.data.nbytes
            sizes["two bits"] += -(-indices.size * 2 // 8)
    return sizes


def step_seconds(
    nets: dict[str, Mirror], setting: Setting, weights: np.ndarray | None, args: argparse.Namespace
) -> dict[str, float]:
    """Seconds of a loss and its gradients, the fastest of nine, the nets by turns."""
    batch = next(iter(DataLoader(setting.train, setting.batch, device=args.device)))
    seconds: dict[str, list[float]] = {name: [] for name in nets}
    for _ in range(2 if args.dry_run else 9):
        for name, net in nets.items():
            start = time.perf_counter()
            loss_of(net, batch, weights).backward()
            gradient = next(net.parameters()).grad
            assert gradient is not None
            gradient.numpy()  # the last one to be computed: a GPU is waited for
            seconds[name].append(time.perf_counter() - start)
    return {name: min(each) for name, each in seconds.items()}


# --- pictures ---


def draw_streets(path: Path, dataset: Dataset, truths: Any, answers: dict[str, Any]) -> bool:
    """The first four held-out scenes: the image, the truth, and the three answers."""

    def title(name: str, row: int) -> str:
        if name not in answers:
            return name
        right = (answers[name][row] == truths[row])[truths[row] != IGNORED].mean()
        return f"{name}: {right:.0%} right"

    images = [image for (image, _), _ in zip(undone(dataset), range(4), strict=False)]
    maps = {"the truth": truths} | {name: answers[name] for name in DECODERS}
    return draw_labels(path, images, maps, CAMVID, title=title)


def draw_boundaries(
    path: Path, dataset: Dataset, truths: Any, answers: dict[str, Any], metrics: dict[str, Any]
) -> None:
    """Thin things from near, with the true outline; accuracy against distance from a border."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 8.7), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=(1.75, 1))
    left, right = parts
    grid = left.subplots(len(ZOOMED), 4)
    for row, name in zip(grid, ZOOMED, strict=True):
        label = CAMVID.names.index(name)
        window = largest_piece(truths, label)
        if window is None:  # in a dry run
            for axes in row:
                axes.set_axis_off()
            continue
        image, _ = dataset.example(window.scene)
        true = window.of(truths) == label
        pictures = {name: image[:, window.rows, window.columns]}
        for decoder in DECODERS:
            answer = window.of(answers[decoder])
            iou = (true & (answer == label)).sum() / (true | (answer == label)).sum()
            pictures[f"{decoder}: IoU {iou:.2f}"] = CAMVID.painted(answer)
        for axes, (title, picture) in zip(row, pictures.items(), strict=True):
            show(axes, picture, title)
            outline(axes, true)
    left.suptitle("Around the largest of each class in the held-out scenes, the truth outlined",
                  fontsize=12)
    name_classes(left, CAMVID, 6)
    draw_distances(right.subplots(), metrics)
    figure.savefig(path, dpi=100)


def draw_distances(axes: Any, metrics: dict[str, Any]) -> None:
    """Share of pixels right, by how far they are from the nearest true border."""
    styles = {"indices": "o-", "fixed": "s-", "bilinear": "^-", BASELINES[0]: "x--",
              BASELINES[1]: "+:"}
    for name, style in styles.items():
        colour = {} if name in DECODERS else {"color": "grey"}
        axes.plot(metrics[name]["accuracy_by_distance"], style, label=name, **colour)
    places = range(FARTHEST + 1)
    axes.set_xticks(places, ["0", *map(str, places[1:-1]), f"{FARTHEST}+"])
    axes.set(xlabel="pixels to the nearest pixel that touches another class", ylim=(0, 1),
             ylabel="share of pixels right")
    axes.set_title("Held-out pixels right, by distance from a border", fontsize=12)
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)


# --- what is printed ---


def print_tables(metrics: dict[str, Any]) -> None:
    head = ["", "pixels", "classes", "mean IoU", "boundary F1", "at borders", "inside", "pieces"]
    keys = ("pixel_accuracy", "class_accuracy", "mean_iou", "boundary_f1", "border_accuracy",
            "inside_accuracy")
    names = [*BASELINES, *DECODERS]
    rows = [[name, *(f"{metrics[name][key]:.3f}" for key in keys), f"{metrics[name]['pieces']:.0f}"]
            for name in names]
    print(table(head, rows))
    print(f"In truth a scene has {metrics['true_pieces']:.0f} pieces.")
    print("\nIoU of each class")
    print(table(["", *(name[:8] for name in CAMVID.names)],
                [[n, *(f"{v:.2f}" for v in metrics[n]["ious"].values())] for n in names]))
    print("\nCost: a loss and its gradients, and what one image leaves for the decoder")
    kept, seconds = metrics["kept_bytes"], metrics["step_seconds"]
    bytes_of = {"indices": kept["indices"], "fixed": 0, "bilinear": 0}
    print(table(["", "ms", "bytes"],
                [[n, f"{1000 * seconds[n]:.0f}", f"{bytes_of[n]:,}"] for n in DECODERS]))
    print(f"Indices of two bits would be {kept['two bits']:,} bytes; the encoder's maps, which\n"
          f"skips would keep, are {kept['maps']:,}.")


def parsed() -> argparse.Namespace:
    parser = arguments(__doc__, "07_segnet_vs_unpool")
    add_device_argument(parser)
    add_preset_arguments(parser, "CamVid: train/, trainannot/, test/, testannot/ and their lists")
    parser.add_argument("--unweighted", action="store_true", help="all classes weigh the same")
    parser.add_argument("--net", choices=("segnet", "basic"), default="segnet",
                        help="for --preset paper: SegNet, or SegNet-Basic (%(default)s)")
    parser.add_argument("--vgg16", type=Path, metavar="FILE",
                        help="for --preset paper: torchvision's weights, where SegNet starts")
    return parse_with_preset(parser)


def main() -> None:
    args = parsed()
    setting = paper(args) if args.preset == "paper" else tiny(args)
    truths = [labels for _, labels in undone(setting.test)]
    balanced = median_frequency_weights(
        (labels for _, labels in undone(setting.train)), CLASSES, IGNORED
    )
    weights = None if args.unweighted else balanced
    answers, nets = baselines(setting, balanced), {}
    for name in DECODERS:
        nets[name] = trained(setting, name, weights, args)
        answers[name] = answered(nets[name], setting.test, args.device)
    metrics: dict[str, Any] = {
        name: measured(each, truths, setting.tolerance) for name, each in answers.items()
    }
    metrics["true_pieces"] = float(np.mean([pieces(truth) for truth in truths]))
    metrics["kept_bytes"] = kept_bytes(nets["indices"], setting.test[0][0])
    metrics["step_seconds"] = step_seconds(nets, setting, weights, args)
    print(f"{len(setting.train)} training scenes, {setting.steps} steps of {setting.batch}, "
          f"{len(truths)} held-out scenes.\n")
    print_tables(metrics)
    if draw_streets(args.out / "streets.png", setting.test, truths, answers):
        draw_boundaries(args.out / "boundaries.png", setting.test, truths, answers, metrics)
        print(f"\nDrawn: {args.out / 'streets.png'}, {args.out / 'boundaries.png'}")
    print(f"Saved {write_metrics(args.out, metrics)}")


if __name__ == "__main__":
    main()
