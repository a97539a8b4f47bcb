"""DeconvNet learns from objects, easy ones first; projections show what a VGG's units look at.

Noh, Hong & Han 2015 do not show DeconvNet whole images but boxes around objects, in two stages:
first the class of the object in the middle alone, then larger boxes and all classes. A scene is
answered by many boxes, and each pixel takes its largest score of each class. Here a DeconvNet of
an eighth of the channels learns from 990 trees, cars and people cut out of 200 generated streets,
32x32 pixels each. As in the paper its encoder starts from a VGG-16; no ImageNet is at hand, so
this one, an eighth as wide, too, learned to name such crops: 0.721 of the held-out ones are right,
and 0.353 are of the commonest class. The baselines are the class that is commonest at each place
("prior") and as many steps (450) of stage 2 alone. What came out, by seed 0 (all defaults, about
two minutes and a quarter on one core), of 114 held-out crops and 24 scenes:

                       crops             scenes, one pass     scenes, windows
                       pixels   IoU      pixels   IoU         pixels   IoU
    prior              0.625    0.198    0.802    0.201
    stage 1            0.591    0.237    0.677    0.213       0.799    0.231
    stages 1 and 2     0.685    0.322    0.794    0.290       0.834    0.312
    stage 2 alone      0.695    0.336    0.831    0.380       0.852    0.360

That easy examples first are better does *not* come out: seed 1 has it the other way about (IoU
of crops 0.330 with both stages, 0.319 with stage 2 alone). The nets are far from done: of crops,
both stages reach an IoU of 0.36 for trees, 0.24 for cars, and 0.01 for people. Windows get more
pixels right than one pass over the squeezed image, with every net and both seeds; their mean IoU
is higher with three of the six nets. They are a regular grid of three sizes, since Edge Boxes,
the paper's proposals, are not implemented: a quarter of them hold next to no object, and the net
has learned from no such crop.

Zeiler & Fergus's projections bring one activation of the VGG down to the pixels. If they show what
a unit looks at, painting over a tenth of the pixels that it can see, those pointed at most, must
lower the activation more than painting over others. By this share it fell, over six units of each
layer and their nine strongest images of objects:

                     relu1_2   relu2_2   relu3_3   relu4_3
    random pixels     0.08      0.12      0.15      0.20
    the middle        0.25      0.26      0.16     -0.03
    another unit's    0.19      0.28      0.24      0.13
    deconvnet         0.19      0.40      0.23      0.07
    gradient          0.17      0.34      0.21     -0.36
    guided            0.31      0.48      0.23     -0.39

In relu2_2 the projection does more than three times the harm of random pixels. But "another
unit's", the projection of the unit that is most active next to it at the same place, does as
much in relu1_2 and relu3_3: much of a projection is of the image and the switches, not of the
unit. In relu4_3, where a unit sees the whole crop, the test fails: dots of grey *excite* it. Seed 1
agrees (relu2_2: random 0.10, another unit's 0.40, deconvnet 0.43, guided 0.58), but for relu1_2
(another unit's 0.18, deconvnet 0.38). The picture is better than these numbers: a unit of relu2_2
that looks for red, one of relu3_3 for the backs of cars.

``--vgg FILE`` looks into torchvision's VGG-16 instead (minutes on a GPU, longer without one).
``--preset paper`` is DeconvNet at full size on VOC 2012: boxes of connected pieces of a class,
not of instances, and in stage 2 jittered ones in place of Edge Boxes'; there is no CRF.

Writes tables, metrics.json, deconvnet.png, projections.png and rules.png.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl.functional as F
from minidl import Tensor, no_grad, random
from minidl.data import (
    DataLoader,
    Dataset,
    Subset,
    photographs,
    read_image,
    street_scenes,
    voc2012,
    watched,
)
from minidl.data.images import ENDINGS
from minidl.data.readers.legend import CAMVID, VOC, Legend
from minidl.errors import DataError
from minidl.files.pretrained import load_weights
from minidl.files.serialize import load
from minidl.lecture.flags import (
    add_device_argument,
    add_preset_arguments,
    arguments,
    parse_with_preset,
)
from minidl.lecture.label_pictures import name_classes
from minidl.lecture.pictures import figure_of, show
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table
from minidl.lecture.unit_pictures import draw_projections, draw_rules
from minidl.models.deconvnet import DeconvNet
from minidl.models.segnet import recompute_statistics
from minidl.models.vgg import VGG, normalise, vgg16
from minidl.nn.conversion import beside
from minidl.optim import SGD, Adam, StepLR
from minidl.tasks.segmentation import (
    ConfusionMatrix,
    NamedCrops,
    ObjectBox,
    ObjectCrops,
    balanced,
    cut,
    empty_boxes,
    largest_scores,
    object_boxes,
    pixel_cross_entropy,
    square_windows,
)
from minidl.tasks.units.masking import activation_lost, selective_units
from minidl.train import fit

STREET = Legend(
    ("background", "tree", "car", "person"),
    ((25, 25, 30), (110, 160, 60), (205, 60, 60), (80, 140, 240)), 255, (160, 160, 160),
)
OBJECTS = {"Tree": 1, "Car": 2, "Pedestrian": 3, "Bicyclist": 3}
"""Which of CamVid's classes are objects, and which of STREET's they are."""
class Setting(NamedTuple):
    """How much of everything; scenes and crops in pixels."""

    train: int
    test: int
    scene: tuple[int, int]
    vgg_steps: int
    stage_steps: tuple[int, int]
    units: int


FULL = Setting(200, 24, (128, 192), 250, (150, 300), 6)
DRY = Setting(3, 1, (128, 192), 1, (1, 1), 2)
CROP, BATCH, WIDTH = 32, 16, 1 / 8
LEAST = 100
"""Pixels of an object; smaller ones are not cut out."""
LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
MASKED = 0.1
"""Share of the pixels in a unit's box that is painted over."""


# --- crops of objects ---


class Scenes(Dataset):
    """Street scenes whose labels are STREET's."""

    def __init__(self, count: int, size: tuple[int, int], seed: int):
        self.images, labels = street_scenes(count, size, seed, progress=True).arrays
        new = np.zeros(len(CAMVID), np.int64)
        new[[CAMVID.names.index(name) for name in OBJECTS]] = [*OBJECTS.values()]
        self.labels = new[labels]

    def __len__(self) -> int:
        return len(self.images)

    def example(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        return self.images[i], self.labels[i]


def taught(
    net: Any, crops: ObjectCrops, loss: Any, steps: int, batch: int, lr: float, args: Any
) -> Any:
    """Some steps on objects drawn at random; the last quarter is five times as slow."""
    order = np.random.default_rng([args.seed, crops.stage]).integers(len(crops), size=steps * batch)
    loader = DataLoader(Subset(crops, order), batch, seed=args.seed, device=args.device)
    optimizer = Adam(net.parameters(), lr=lr)
    later = StepLR(optimizer, max(1, steps * 3 // 4), 0.2)
    fit(net.train(), loader, optimizer, loss, epochs=1, schedule=later)
    return net.eval()


# --- the VGG that knows the objects ---


def small_vgg(crops: NamedCrops, steps: int, args: Any) -> VGG:
    """VGG-16 with batch norm and an eighth of the channels, trained to tell what is in a crop."""
    random.manual_seed(args.seed)
    vgg = vgg16(True, width=round(64 * WIDTH), hidden=64, num_classes=len(STREET), dropout=0.2)

    def loss(vgg: VGG, batch: tuple[Tensor, ...]) -> Tensor:
        return F.cross_entropy(vgg(normalise(batch[0])), batch[1])

    vgg.to(args.device)
    return taught(vgg, crops, loss, steps, 2 * BATCH, 2e-3, args)


def accuracies(vgg: VGG, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Of the network, and of the class that is commonest in these very crops."""
    with no_grad():
        answers = vgg(normalise(beside(vgg, images))).numpy().argmax(1)
    return {"accuracy": float((answers == labels).mean()),
            "majority": float(np.bincount(labels).max() / len(labels))}


# --- DeconvNet ---


def crop_loss(net: DeconvNet, batch: tuple[Tensor, ...]) -> Tensor:
    images, labels = batch
    return pixel_cross_entropy(net(normalise(images)), labels, ignore_index=VOC.ignore)


def deconvnets(scenes: Scenes, found: list[ObjectBox], vgg: VGG, steps: tuple[int, int], args: Any
               ) -> dict[str, DeconvNet]:
    """Trained in stage 1, in both stages, and in stage 2 alone for as many steps as both.

    For crops of 32x32 the fifth pool is 1x1, and so is fc6. All start from the same weights.
    """
    first, second = (ObjectCrops(scenes, balanced(found), stage, CROP) for stage in (1, 2))
    nets = {}
    for name in ("stage 1", "stages 1 and 2", "stage 2 alone"):
        random.manual_seed(args.seed)
        net = DeconvNet(len(STREET), width=WIDTH, window=1, eps=1e-5, std=0.08)
        net.copy_encoder(vgg)
        nets[name] = net.to(args.device)
    one, both, two = nets.values()
    taught(one, first, crop_loss, steps[0], BATCH, 4e-3, args)
    both.load_state_dict(one.state_dict())
    taught(both, second, crop_loss, steps[1], BATCH, 4e-3, args)
    taught(two, second, crop_loss, sum(steps), BATCH, 4e-3, args)
    return nets


def scores(net: DeconvNet, images: np.ndarray, batch: int = 32) -> np.ndarray:
    """(N, 3, S, S) -> (N, classes, S, S)"""
    with no_grad():
        parts = [net(normalise(beside(net, images[i : i + batch]))).numpy()
                 for i in range(0, len(images), batch)]
    return np.concatenate(parts)


def whole(net: DeconvNet, image: np.ndarray, size: int = CROP) -> np.ndarray:
    """The answer (H, W) of one pass over the whole image, squeezed into a square."""
    box = (0, 0, *image.shape[1:])
    return largest_scores(partial(scores, net), image, [box], size).argmax(0)


def by_windows(net: DeconvNet, image: np.ndarray, size: int = CROP, least: int = 0) -> np.ndarray:
    """The answer (H, W) by windows, aggregated as in the release."""
    boxes = square_windows(image.shape[1:], least=least)
    return largest_scores(partial(scores, net), image, boxes, size).argmax(0)


def measured(answers: Any, truths: Any, classes: int = len(STREET)) -> dict[str, float]:
    matrix = ConfusionMatrix(classes, VOC.ignore)
    for answer, truth in zip(answers, watched(truths, "scoring"), strict=True):
        matrix.add(answer, truth)
    return {"pixel_accuracy": matrix.pixel_accuracy, "mean_iou": matrix.mean_iou}


def of_prior(train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Of answering, at each place, the class that is commonest there in training."""
    prior = np.stack([(train == c).sum(0) for c in range(len(STREET))]).argmax(0)
    return measured([prior] * len(test), test)


def judged(nets: dict[str, DeconvNet], train: Scenes, test: Scenes, known: list[ObjectBox],
           found: list[ObjectBox]) -> dict[str, dict[str, dict[str, float]]]:
    """All nets and the prior, on crops of held-out objects and on whole scenes."""
    _, seen = ObjectCrops(train, known, 2, CROP).arrays()
    images, labels = ObjectCrops(test, found, 2, CROP).arrays()
    result = {"prior": {"crops": of_prior(seen, labels),
                        "one pass": of_prior(train.labels, test.labels)}}
    for name, net in nets.items():
        result[name] = {
            "crops": measured(scores(net, images).argmax(1), labels),
            "one pass": measured((whole(net, x) for x in test.images), test.labels),
            "windows": measured((by_windows(net, x) for x in test.images), test.labels),
        }
    return result


# --- pictures ---


def draw_deconvnet(path: Path, nets: dict[str, DeconvNet], test: Scenes, found: list[ObjectBox]
                   ) -> None:
    """Crops of the two largest objects of each class, and two whole scenes."""
    figure = figure_of(13, 13.2)
    above, below = figure.subfigures(2, 1, height_ratios=(1.9, 1))
    one, both = nets["stage 1"], nets["stages 1 and 2"]
    large = sorted(found, key=lambda one: -area(one.box))
    largest = [one for label in range(1, len(STREET))
               for one in [one for one in large if one.label == label][:2]]
    grid = above.subplots(4, len(largest), squeeze=False)
    images, labels = ObjectCrops(test, largest, 2, CROP).arrays()
    rows = (images, STREET.painted(labels), *(
        STREET.painted(scores(net, images).argmax(1)) for net in (one, both)))
    for axes, row, name in zip(grid, rows, (
            "the crop", "the truth", "after stage 1", "after both stages"), strict=True):
        for panel, picture in zip(axes, row, strict=False):
            show(panel, picture)
        axes[0].set_ylabel(name, fontsize=12)
    above.suptitle("Held-out crops of the largest objects: stage 1 is to tell the one in the "
                   "middle, stage 2 all that is there", fontsize=13)
    count = min(2, len(test))
    for i, axes in enumerate(below.subplots(count, 4, squeeze=False)):
        image, labels = test[i]
        for panel, picture, name in zip(axes, (
            image, *(STREET.painted(answer) for answer in (
                labels, whole(both, image), by_windows(both, image)))
        ), ("a scene", "the truth", "one pass, squeezed", "by windows"), strict=True):
            show(panel, picture, name if i == 0 else "")
    name_classes(figure, STREET)
    figure.savefig(path)


def area(box: Any) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


# --- what is run ---


def examine(vgg: VGG, images: np.ndarray, layers: tuple[str, ...], units: int, describe: Any,
            args: Any) -> dict[str, dict[str, float]]:
    """Choose units, draw their projections, and paint over what these point at."""
    inputs = normalise(Tensor(images)).numpy()
    found = [selective_units(vgg, inputs, layer, units) for layer in layers]
    draw_projections(args.out / "projections.png", vgg, inputs, images, found, describe)
    draw_rules(args.out / "rules.png", vgg, inputs, images, found[-2])
    lost = {f.layer: activation_lost(vgg, inputs, f, MASKED, args.seed) for f in found}
    print(f"\nShare of its activation that a unit loses when {MASKED:.0%} of the pixels it sees\n"
          f"are painted over, by what chooses them. {units} units a layer, 9 images each.")
    print(table(["", *layers], [[name, *(f"{lost[layer][name]:.2f}" for layer in layers)]
                                for name in lost[layers[0]]]))
    return lost


def tiny(args: Any) -> dict[str, Any]:
    """Everything on street scenes."""
    setting = DRY if args.dry_run else FULL
    print(f"Drawing {setting.train + setting.test} street scenes.")
    train = Scenes(setting.train, setting.scene, args.seed)
    test = Scenes(setting.test, setting.scene, args.seed + 1000)
    known, found = (object_boxes(scenes, len(STREET), LEAST) for scenes in (train, test))
    empty = [empty_boxes(s.labels, len(f) // 5, args.seed)
             for s, f in ((train, known), (test, found))]
    vgg = small_vgg(NamedCrops(train, balanced(known + empty[0]), 1, CROP), setting.vgg_steps, args)
    images, labels = NamedCrops(test, found + empty[1], 1, CROP).arrays()
    told = accuracies(vgg, images, labels)
    print(f"{len(known)} objects in {len(train)} scenes; held out: {len(found)} in {len(test)}.\n"
          f"The small VGG-16 names {told['accuracy']:.3f} of the {len(labels)} held-out crops; "
          f"the commonest class is {told['majority']:.3f}.")
    nets = deconvnets(train, known, vgg, setting.stage_steps, args)
    result = judged(nets, train, test, known, found)
    print("\nPixel accuracy and mean IoU, of held-out crops and whole scenes. Baseline: prior.")
    print(table(["", *(f"{where} {what}" for where in ("crops", "one pass", "windows")
                       for what in ("pixels", "IoU"))],
                [[name, *(f"{v:.3f}" for where in row.values() for v in where.values())]
                 + ["-"] * (2 if name == "prior" else 0) for name, row in result.items()]))
    args.out.mkdir(parents=True, exist_ok=True)
    draw_deconvnet(args.out / "deconvnet.png", nets, test, found)

    def describe(numbers: np.ndarray) -> str:
        counts = np.bincount(labels[numbers], minlength=len(STREET))
        return f"{counts.max()} of {len(numbers)}: {STREET.names[counts.argmax()]}"

    images, labels = images[labels > 0], labels[labels > 0]
    lost = examine(vgg, images, LAYERS, setting.units, describe, args)
    return {"vgg": told, "deconvnet": result, "activation lost": lost}


def views(folder: Path | None) -> np.ndarray:
    """Windows of photographs, (N, 3, 224, 224): the folder's, or scikit-image's own."""
    if folder is not None:
        pictures = [read_image(p) for p in sorted(folder.iterdir()) if p.suffix.lower() in ENDINGS]
    else:
        coloured = [p for p in photographs("held-out").values() if len(p) == 3]
        pictures = [(p / 255).astype(np.float32) for p in coloured]
    if not pictures:
        raise DataError(f"--images {folder}: there are no photographs")
    return np.stack([cut(p, box, 224) for p in pictures
                     for box in square_windows(p.shape[1:], (0.7, 0.45))])


def published(args: Any) -> dict[str, Any]:
    """A weight file of torchvision's VGG-16, looking at photographs."""
    vgg = vgg16("features.1.running_mean" in load(args.vgg))
    load_weights(vgg, args.vgg)
    args.out.mkdir(parents=True, exist_ok=True)
    layers = (*LAYERS, "relu5_3")
    lost = examine(vgg.eval().to(args.device), views(args.images), layers, DRY.units,
                   lambda numbers: "the pixels it can see", args)
    return {"activation lost": lost}


PARTS = 8
"""In which the paper's batch of 64 is computed: batch norm sees 8 images, as in the release."""


def in_parts(net: DeconvNet, batch: tuple[Tensor, ...]) -> Tensor:
    """The loss of a batch whose gradients are added up part by part, to save memory."""
    size, total = -(-len(batch[0]) // PARTS), 0.0
    starts = range(0, len(batch[0]), size)
    for start in starts:
        part = [x[start : start + size] for x in batch]
        loss = crop_loss(net, (part[0], part[1])) * (len(part[0]) / len(batch[0]))
        if start != starts[-1]:
            loss.backward()
            total += loss.item()
    return loss + total


def paper(args: Any) -> dict[str, Any]:
    """VOC 2012, 224x224, both stages, by the release's settings."""
    train, val = (voc2012(args.data, part) for part in ("train", "val"))
    random.manual_seed(args.seed)
    net = DeconvNet(len(VOC), width=1 / 16 if args.dry_run else 1.0)
    if args.vgg is not None:
        net.copy_vgg16(load(args.vgg))
    net.to(args.device)
    found = object_boxes(train, len(VOC), 400)
    for stage, (steps, drop) in enumerate(((20_000, 9_000), (40_000, 10_000)), 1):
        crops = ObjectCrops(train, found if stage == 1 else balanced(found), stage, 224, VOC.ignore)
        batch = min(16 if args.dry_run else 64, len(crops))
        loader = DataLoader(crops, batch, shuffle=True, drop_last=True, workers=4,
                            seed=args.seed, device=args.device)
        epochs = 1 if args.dry_run else math.ceil(steps / len(loader))
        optimizer = SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        fit(net, loader, optimizer, in_parts, epochs=epochs, out=args.out / f"stage{stage}",
            schedule=StepLR(optimizer, drop), resume=args.resume)
    settle(net, crops, 2 if args.dry_run else 500, args)
    net.eval()
    matrix = ConfusionMatrix(len(VOC), VOC.ignore)
    shown = range(min(len(val), 2) if args.dry_run else len(val))
    for image, labels in map(val.__getitem__, watched(shown, "scoring images")):
        matrix.add(by_windows(net, image, 224, least=112), labels)
    ious = {name: float(x) for name, x in zip(VOC.names, matrix.ious, strict=True)}
    print(table(["", "IoU"], [[name, value] for name, value in ious.items()]))
    return {"mean_iou": matrix.mean_iou, "pixel_accuracy": matrix.pixel_accuracy, "ious": ious}


def settle(net: DeconvNet, crops: ObjectCrops, batches: int, args: Any) -> None:
    """Batch norm's statistics, averaged over so many batches of eight."""
    loader = DataLoader(crops, PARTS, shuffle=True, seed=args.seed, device=args.device)
    recompute_statistics(net, (normalise(x) for x, _ in islice(cycle(loader), batches)))


def main() -> None:
    parser = arguments(__doc__, "10_deconvnet")
    add_device_argument(parser)
    add_preset_arguments(parser, "VOC 2012: JPEGImages, SegmentationClass, ImageSets")
    parser.add_argument("--vgg", type=Path, metavar="FILE", help="a weight file of torchvision's "
                        "vgg16: to be looked into; with --preset paper, to start from")
    parser.add_argument("--images", type=Path, metavar="DIR", help="photographs for --vgg "
                        "(without, scikit-image's)")
    args = parse_with_preset(parser)
    if args.preset == "paper":
        metrics = paper(args)
    else:
        metrics = tiny(args) if args.vgg is None else published(args)
    print(f"\nSaved {write_metrics(args.out, metrics)}.")


if __name__ == "__main__":
    main()
