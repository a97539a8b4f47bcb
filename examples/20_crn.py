"""From a layout to a street without an adversary: what a perceptual loss adds, and k guesses.

A cascaded refinement network (Chen & Koltun 2017) starts from the layout at 4x6 pixels and doubles
until 32x48; every module sees the layout again at its own size. Trained to be near the real image
in each pixel, it should paint each class's mean colour; trained to be near it in the features of
a VGG-19, it should paint texture. With k pictures of which, for each class, the best counts most,
it should guess several. All nets take the same 1,200 steps, on the same 300 generated streets.
What came out, of 40 held-out layouts, by seed 0 (all defaults, about three and a half minutes on
one core):

                       pixel error   texture   far (random)   far (trained)   obeyed
    real images           0.00        1.000       0.000          0.000        0.801
    mean colours         25.40        0.000       1.049          1.039        0.796
    pixel loss           24.19        0.258       0.945          0.905        0.804
    random features      24.73        0.280       0.909          1.043        0.810
    trained features     25.37        0.293       0.914          0.885        0.811
    best of 6, first     27.48        0.243       0.992          1.080        0.731

    several                apart   pixel error   the best's   far (trained)   the best's
    colours of 6 scenes    18.49      29.19        24.26         1.037          0.885
    trained features, 1     0.00      25.37        25.37         0.885          0.885
    best of 6              17.77      27.86        24.57         0.977          0.803

That a perceptual loss paints what a pixel loss averages hardly comes out at this size. With
trained features there is an eighth more texture, still under a third of the real images', and both
judges find the pictures nearer by two or three per cent; but windows and leaves are not
there, and cars turn teal, perhaps since of six terms of equal weight the pixels are but one.
Random features help before a random judge alone. The paper has features of ImageNet, 85 times the
pixels and 500 times the steps.

Guessing does come out. The best of six pictures is nearer to the real image (0.803) than one
picture (0.885), and than the best of six sets of colours borrowed from training images, which
nobody trained (0.885). The six differ in light and tint, not in what they show. With the
paper's thousandth for the mean of all, two of six never became pictures: what is best for no class
hardly learns. Here it is a tenth, which is ours.

"Obeyed" tells little here: the network that labels is right in as many pixels of the mean colours
as of real images, and so goes by place and colour. One seed; differences of 1 or 2 % may be its.

Scenes are drawn four times as large and shrunk, and their exposure and cast evened out, since
no layout tells them. There are no trained weights of VGG-19 at hand, so there are two of 12 to 96
filters: one of random weights, and one that has learned to label the 300 real images. As in the
paper the terms of the loss first stay as they are, when the pixels, in bytes, outweigh all
features, and are divided by their means half-way. The paper's tenfold weight of relu5_2 is left to
``--boost 10``, not measured.

The measures: the mean error of a pixel, in bytes; texture, the mean difference of neighbouring
pixels within a class as a share of that of real images; "far", how far the features of two
VGG-16 are that no loss has seen (random, and trained to label), 1 being about as far as mean
colours; and "obeyed", the share of pixels in which the trained one finds the layout's class. The
baselines: the mean colour of each class, and, for k pictures, those of k single training images.

``--preset paper --data DIR --weights FILE`` trains the published network of 256x512 and nine
pictures as published, on CamVid (the middle of its images, enlarged) in place of Cityscapes.

Writes tables, metrics.json, crn.png (held-out layouts) and diversity.png (one layout, k pictures).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl.functional as F
from minidl import Tensor, nn, no_grad, random
from minidl.compute.arrays import to_device
from minidl.data import (
    CAMVID,
    ArrayDataset,
    DataLoader,
    camvid,
    street_scenes,
    watched,
)
from minidl.lecture.flags import (
    add_device_argument,
    add_preset_arguments,
    arguments,
    parse_with_preset,
)
from minidl.lecture.label_pictures import name_classes
from minidl.lecture.pictures import show
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table
from minidl.models.crn import CRN, layout, split_pictures
from minidl.optim import Adam, CosineAnnealingLR
from minidl.tasks.perceptual.crn import LAYERS, CRNLoss, diversity_loss
from minidl.tasks.perceptual.features import Features, load_features, random_features
from minidl.tasks.segmentation import ConfusionMatrix, pixel_cross_entropy
from minidl.train import fit

CLASSES = len(CAMVID)
HEIGHT, WIDTH, SHRINK = 32, 48, 4
CHANNELS = (64, 64, 48, 32)
"""Of the modules at 4x6, 8x12, 16x24 and 32x48 pixels."""
FILTERS = 12
"""Channels of the first stage of every VGG here; the paper's has 64."""
K, SHARED = 6, 0.1
"""Pictures of one layout, and how much the mean of all counts; a thousandth in the paper."""
GREY = 0.42
RATE = 2e-3

MEANS, REAL, MANY = "mean colours", "real images", f"best of {K}"
BORROWED = f"colours of {K} scenes"
CHOSEN = "trained features"
"""What the network of several pictures learns by."""

Loss = Callable[[Any, tuple[Tensor, ...]], Tensor]


class Streets(NamedTuple):
    """Images (N, 3, H, W) float32 in [0, 1], and labels (N, H, W) int64."""

    images: np.ndarray
    labels: np.ndarray


class Size(NamedTuple):
    """How much of everything."""

    train: int
    test: int
    epochs: int


FULL = Size(train=300, test=40, epochs=4)
DRY = Size(train=4, test=2, epochs=2)


def drawn(count: int, seed: int) -> Streets:
    """Street scenes, from a seed, their exposure and colour cast evened out.

    They are drawn SHRINK times as large and shrunk, which leaves little of the camera's noise. No
    layout tells how bright the day was; each image's mean colour becomes GREY.
    """
    print(f"Drawing {count} street scenes.")
    size = SHRINK * HEIGHT, SHRINK * WIDTH
    large, fine = street_scenes(count, size, seed, progress=True).arrays
    images = large.reshape(count, 3, HEIGHT, SHRINK, WIDTH, SHRINK).mean((3, 5))
    labels = np.ascontiguousarray(fine[:, SHRINK // 2 :: SHRINK, SHRINK // 2 :: SHRINK])
    grey = GREY / images.mean((2, 3), keepdims=True)
    return Streets(np.clip(images * grey, 0, 1).astype(np.float32), labels)


# --- the baseline ---


def mean_colours(streets: Streets) -> np.ndarray:
    """The mean colour of each class's pixels: (classes, 3)."""
    pixels, labels = np.moveaxis(streets.images, 1, -1).reshape(-1, 3), streets.labels.ravel()
    counts = np.bincount(labels, minlength=CLASSES).clip(min=1)
    sums = [np.bincount(labels, pixels[:, c], CLASSES) for c in range(3)]
    return (np.stack(sums, 1) / counts[:, None]).astype(np.float32)


def painted(labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """A layout in its classes' colours: (N, H, W) -> (N, 3, H, W)."""
    return np.ascontiguousarray(np.moveaxis(colours[labels], -1, -3))


# --- networks that look ---


class Labeller(nn.Module):
    """A narrow VGG whose every stage has a say in the class of each pixel.

    (N, 3, H, W) -> (N, classes, H, W)
    """

    layers = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")

    def __init__(self, features: Features):
        super().__init__()
        self.vgg = features.vgg  # a Module, and so trained, moved and saved with this one
        self.features = features
        widths = [FILTERS * min(2**i, 8) for i in range(5)]
        self.heads = nn.ModuleList([nn.Conv2d(c, CLASSES, 1) for c in widths])

    def forward(self, x: Any) -> Tensor:
        """Scores, of RGB pictures from 0 to 1."""
        taps = self.features(self.features.prepare(x), self.layers)
        scores = [F.interpolate(head(taps[name]), (HEIGHT, WIDTH), mode="bilinear")
                  for head, name in zip(self.heads, self.layers, strict=True)]
        return sum(scores[1:], start=scores[0])


def labeller(streets: Streets, network: str, seed: int, size: Size, args: Any) -> Labeller:
    """Learns the classes of real images' pixels."""
    random.manual_seed(seed)
    net = Labeller(random_features(network, seed=seed, width=FILTERS)).to(args.device)
    net.vgg.features.requires_grad_(True)

    def loss(net: Labeller, batch: tuple[Tensor, ...]) -> Tensor:
        images, labels = batch
        return pixel_cross_entropy(net(images), labels)

    learn(net, streets, loss, size.epochs, 4, args)
    net.requires_grad_(False)
    return net.eval()


def learn(net: nn.Module, streets: Streets, loss: Loss, epochs: int, batch: int, args: Any,
          **more: Any) -> None:
    """Adam, the rate falling to nothing; all networks see the same batches."""
    loader = DataLoader(ArrayDataset(*streets), batch, shuffle=True, drop_last=True,
                        seed=args.seed, device=args.device)
    optimizer = Adam([p for p in net.parameters() if p.requires_grad], RATE)
    fit(net, loader, optimizer, loss, epochs=epochs,
        schedule=CosineAnnealingLR(optimizer, epochs * len(loader)), **more)
    net.eval()


# --- losses ---


def pixel_loss(net: CRN, batch: tuple[Tensor, ...]) -> Tensor:
    """The mean absolute difference of pixels, in bytes."""
    images, labels = batch
    return F.mean(F.abs(net(layout(labels, CLASSES)) - images * 255))


def perceptual_loss(net: CRN, batch: tuple[Tensor, ...], shared: float = 0.001) -> Tensor:
    """The weighted differences of features; of several pictures, the best for each class.

    ``shared`` is what the mean of all counts; the best count the rest.
    """
    images, labels = batch
    masks = layout(labels, CLASSES)
    pictures = split_pictures(net(masks), net.k) / 255
    if net.k == 1:
        return net.loss(pictures[:, 0], images)
    return diversity_loss(net.loss, pictures, images, masks, 1 - shared, shared)


def judging(features: Features, streets: Streets, colours: np.ndarray, args: Any) -> CRNLoss:
    """A distance whose every layer counts 1 for the mean colours, on average."""
    layers = LAYERS[1:]
    judge = CRNLoss(features.to(args.device), "measured", layers).to(args.device).train()
    with no_grad():
        for image, labels in zip(streets.images[:30], streets.labels[:30], strict=True):
            pair = (painted(labels, colours)[None], image[None])
            judge(*(Tensor(to_device(x, args.device)) for x in pair))
    judge.rescale()
    return judge.eval()


# --- measures ---


def answers(net: CRN, labels: np.ndarray, device: str) -> np.ndarray:
    """Pictures of layouts, one at a time: (N, H, W) -> (N, k, 3, H, W)."""
    with no_grad():
        return np.concatenate([
            net.pictures(layout(Tensor(to_device(each[None], device)), CLASSES)).numpy()
            for each in watched(labels, "drawing held-out layouts")])


def texture(pictures: np.ndarray, labels: np.ndarray) -> float:
    """The mean difference of neighbouring pixels of one class: edges between classes are given."""
    sums = counts = 0.0
    for axis in (1, 2):
        same = np.diff(labels, axis=axis) == 0
        steps = np.abs(np.diff(pictures, axis=axis + 1)).mean(1)
        sums, counts = sums + steps[same].sum(), counts + same.sum()
    return float(sums / counts)


def distances(judge: CRNLoss, pictures: np.ndarray, images: np.ndarray) -> np.ndarray:
    """How far each picture is from its image as a network sees it: 1 is as far as mean colours."""
    with no_grad():
        pairs = ([Tensor(to_device(x[None], judge.divisors.device)) for x in pair]
                 for pair in zip(pictures, images, strict=True))
        return np.array([judge(*pair).item() for pair in pairs]) / len(judge.layers)


def obeyed(scorer: Labeller, pictures: np.ndarray, labels: np.ndarray, device: str) -> float:
    """The share of pixels in which a network that knows real images finds the layout's class."""
    matrix = ConfusionMatrix(CLASSES)
    with no_grad():
        for picture, truth in zip(pictures, labels, strict=True):
            scores = scorer(Tensor(to_device(picture[None], device)))
            matrix.add(scores.numpy().argmax(1)[0], truth)
    return matrix.pixel_accuracy


class Judges(NamedTuple):
    """Networks that no loss has seen."""

    random: CRNLoss
    trained: CRNLoss
    scorer: Labeller


def measured(pictures: np.ndarray, test: Streets, judges: Judges, device: str) -> dict[str, float]:
    """All measures of one picture for each layout."""
    return {
        "pixel_error": float(255 * np.abs(pictures - test.images).mean()),
        "texture": texture(pictures, test.labels) / texture(test.images, test.labels),
        "random_distance": float(distances(judges.random, pictures, test.images).mean()),
        "trained_distance": float(distances(judges.trained, pictures, test.images).mean()),
        "obeyed": obeyed(judges.scorer, pictures, test.labels, device),
    }


def several(pictures: np.ndarray, test: Streets, judge: CRNLoss) -> dict[str, float]:
    """Of k pictures for each layout, (N, k, 3, H, W): how far apart, a usual one, the best."""
    k = pictures.shape[1]
    pixels = 255 * np.abs(pictures - test.images[:, None]).mean((2, 3, 4))
    seen = np.stack([distances(judge, pictures[:, u], test.images) for u in range(k)], 1)
    pairs = [np.abs(pictures[:, u] - pictures[:, v]).mean() for u in range(k) for v in range(u)]
    return {
        "apart": float(255 * np.mean(pairs)) if pairs else 0.0,
        "pixel_error": float(pixels.mean()),
        "best_pixel_error": float(pixels.min(1).mean()),
        "distance": float(seen.mean()),
        "best_distance": float(seen.min(1).mean()),
    }


def borrowed(streets: Streets, colours: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """The baseline of several: the colours that k training images give to their classes."""
    found = []
    for image, truth in zip(streets.images[:k], streets.labels[:k], strict=True):
        own = mean_colours(Streets(image[None], truth[None]))
        present = np.bincount(truth.ravel(), minlength=CLASSES) > 0
        found.append(painted(labels, np.where(present[:, None], own, colours)))
    return np.stack(found, 1)


# --- the paper's setting ---


def reshaped(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Any:
    """The middle of an image, twice as wide as high, at 256x512; labels by the nearest."""
    height, width = labels.shape
    top = max(height - width // 2, 0) // 2
    rows = slice(top, top + width // 2)
    picture = F.interpolate(image[None, :, rows], (256, 512), mode="bilinear", antialias=True)
    nearest = F.interpolate(labels[None, None, rows].astype(np.float64), (256, 512))
    return picture.numpy()[0], nearest.numpy()[0, 0].astype(np.int64)


def paper(args: Any) -> None:
    """The network at 256x512, nine pictures, VGG-19: Adam, 200 epochs, rescaled after 100."""
    random.manual_seed(args.seed)
    net = CRN(256, CLASSES + 1, 9, args.width).to(args.device)
    features = load_features(args.weights, "average").to(args.device)
    net.loss = CRNLoss(features, "measured").to(args.device)
    loader = DataLoader(camvid(args.data, joint=reshaped), 1, shuffle=True, workers=2,
                        seed=args.seed, device=args.device)
    fit(net, loader, Adam(net.parameters(), 1e-4), perceptual_loss, epochs=args.epochs,
        out=args.out / "crn", callbacks=[net.loss.at_epoch(max(args.epochs // 2, 1))],
        resume=args.resume)
    held_out = camvid(args.data, "test", joint=reshaped)
    examples = [held_out[i] for i in range(len(held_out))]
    test = Streets(*(np.stack(part) for part in zip(*examples, strict=True)))
    pictures = answers(net, test.labels, args.device)
    errors = {"nine pictures": several(pictures, test, net.loss.eval())}
    show_table("held-out layouts", errors)
    print(f"Saved {write_metrics(args.out, errors)}")
    with suppress(ImportError):
        draw_several(args.out / "diversity.png", test, pictures, "nine pictures")


# --- pictures ---


def draw_nets(path: Path, test: Streets, columns: Mapping[str, np.ndarray]) -> bool:
    """A row for each held-out layout: the layout, the real image, what everyone made of it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    shown = {"layout": CAMVID.painted(test.labels), "real image": test.images, **columns}
    rows = min(5, len(test.labels))
    figure = Figure(figsize=(15, 0.9 + rows * 15 / len(shown) * 0.72), layout="constrained")
    for row, axes in enumerate(figure.subplots(rows, len(shown), squeeze=False)):
        for panel, (name, pictures) in zip(axes, shown.items(), strict=True):
            show(panel, pictures[row], "" if row else name)
    name_classes(figure, CAMVID)
    figure.savefig(path, dpi=100)
    return True


def draw_several(path: Path, test: Streets, pictures: np.ndarray, name: str) -> None:
    """One layout, and the k pictures that a network has for it."""
    from matplotlib.figure import Figure

    apart = np.abs(pictures - pictures.mean(1, keepdims=True)).mean((1, 2, 3, 4))
    i = int(np.argsort(apart)[len(apart) // 2])  # neither the best nor the worst of its kind
    errors = 255 * np.abs(pictures[i] - test.images[i]).mean((1, 2, 3))
    panels = {"layout": CAMVID.painted(test.labels)[i], "real image": test.images[i]}
    panels |= {f"picture {u + 1}: error {e:.1f}": pictures[i, u] for u, e in enumerate(errors)}
    columns = -(-len(panels) // 2)
    figure = Figure(figsize=(15, 0.9 + 2 * 15 / columns * 0.74), layout="constrained")
    grid = figure.subplots(2, columns).ravel()
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for axes, (title, picture) in zip(grid, panels.items(), strict=False):
        show(axes, picture, title)
    figure.suptitle(f"{name}: one layout, {pictures.shape[1]} answers; errors in bytes")
    figure.savefig(path, dpi=100)


# --- all of it ---


def trained(features: Features | None, k: int, streets: Streets, size: Size, args: Any) -> CRN:
    """One network: the same batches, and the same first weights but for those of k's head.

    Without features, by the pixel loss; with, the terms are rescaled half-way, as in the paper.
    """
    random.manual_seed(args.seed)
    net = CRN(HEIGHT, CLASSES + 1, k, channels=CHANNELS).to(args.device)
    if features is None:
        learn(net, streets, pixel_loss, size.epochs, 1, args)
        return net
    boosts = (1.0,) * (len(LAYERS) - 1) + (args.boost,)
    net.loss = CRNLoss(features.to(args.device), "measured", boosts=boosts).to(args.device)
    learn(net, streets, partial(perceptual_loss, shared=SHARED), size.epochs, 1, args,
          callbacks=[net.loss.at_epoch(size.epochs // 2)])
    return net


def show_table(title: str, found: Mapping[str, Mapping[str, float]]) -> None:
    keys = list(next(iter(found.values())))
    print(table([title, *(key.replace("_", " ") for key in keys)],
                [[name, *m.values()] for name, m in found.items()]))


def tiny(args: Any) -> None:
    """Minutes."""
    size = DRY if args.dry_run else FULL
    streets, test = drawn(size.train, args.seed), drawn(size.test, args.seed + 10**6)
    colours = mean_colours(streets)
    looking = {
        "random features": random_features("vgg19", seed=args.seed, width=FILTERS),
        "trained features": labeller(streets, "vgg19", args.seed, size, args).features,
    }
    scorer = labeller(streets, "vgg16", args.seed + 1, size, args)
    strange = random_features("vgg16", seed=args.seed + 1, width=16)
    judges = Judges(judging(strange, streets, colours, args),
                    judging(scorer.features, streets, colours, args), scorer)
    nets = {"pixel loss": trained(None, 1, streets, size, args)}
    nets |= {name: trained(f, 1, streets, size, args) for name, f in looking.items()}
    nets[MANY] = trained(looking[CHOSEN], K, streets, size, args)
    pictures = {name: answers(net, test.labels, args.device) for name, net in nets.items()}
    pictures = {MEANS: painted(test.labels, colours)[:, None]} | pictures
    report(streets, test, colours, pictures, judges, args)


def report(streets: Streets, test: Streets, colours: np.ndarray,
           pictures: Mapping[str, np.ndarray], judges: Judges, args: Any) -> None:
    """Measure, print, draw."""
    firsts = {name: each[:, 0] for name, each in pictures.items()}
    told = "scoring networks"
    found = {name: measured(each, test, judges, args.device)
             for name, each in watched([(REAL, test.images), *firsts.items()], told)}
    many = {BORROWED: borrowed(streets, colours, test.labels, K), **pictures}
    spread = {name: several(each, test, judges.trained)
              for name, each in watched([*many.items()], told)}
    show_table("held-out layouts", found)
    print()
    show_table("several for one layout", spread)
    print(f"Saved {write_metrics(args.out, {'nets': found, 'several': spread})}")
    firsts.pop(MANY)
    if draw_nets(args.out / "crn.png", test, firsts):
        draw_several(args.out / "diversity.png", test, pictures[MANY], MANY)
        print(f"Saved {args.out / 'crn.png'} and diversity.png")


def main() -> None:
    parser = arguments(__doc__, "20_crn")
    add_device_argument(parser)
    add_preset_arguments(parser, "CamVid: train/, trainannot/, test/, testannot/")
    parser.add_argument("--weights", type=Path, metavar="FILE",
                        help="for --preset paper: VGG-19, such as vgg19-dcbb9e9d.pth")
    parser.add_argument("--epochs", type=int, default=200, help="of --preset paper (%(default)s)")
    parser.add_argument("--width", type=float, default=1.0,
                        help="of --preset paper: scales all channels (%(default)s)")
    parser.add_argument("--boost", type=float, default=1.0,
                        help="factor of relu5_2 after rescaling; the paper's is 10 (%(default)s)")
    args = parse_with_preset(parser)
    if args.preset == "tiny":
        return tiny(args)
    if args.weights is None:
        parser.error("--preset paper needs --weights FILE, VGG-19's")
    paper(args)


if __name__ == "__main__":
    main()
