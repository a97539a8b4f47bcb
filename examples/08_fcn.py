"""FCN: a classifier made convolutional answers any image at once; skips bring the detail back.

Long, Shelhamer & Darrell 2015 turn VGG-16's fully connected layers into convolutions. One pass
then gives a score every 32 pixels; the scores of pool4 and pool3, added while these are enlarged,
refine them to 16 and 8. In the paper, on PASCAL VOC 2011, the mean IoU goes from 59.4 to 62.4 and
to 62.7. Here nets of an eighth of VGG-16's width do it on generated street scenes of 128x192
pixels, where 32 are a quarter of the height. Seed 0, all defaults, three minutes on one core.

1. The classifier. No ImageNet is at hand, so a VGG-16 learns to name the middle pixel of crops of
   32x32: 0.50 right, where the most frequent class is 0.31. Without batch norm, and
   begun as VGG was, it gave two answers to everything after half a minute, and one after a whole
   minute of crops of 224; so it has batch norm, folded into its convolutions afterwards.

2. Made convolutional. On an image of 352x480 VGG's window of 224 has 45 places. One pass is 13
   times faster than 45, and its scores the same up to 2e-05, in a spread of 7. That is luck of
   this classifier: its fc6 has learned in the middle cell only, whose 212 pixels never reach the
   window's edge. Once FCN-32s has trained all 49 cells, fc6 to fc8 slid over pool5 still agree up
   to 6e-07, but VGG window by window is off by 2.3 and agrees on the class in 62 %: its
   convolutions see zeros beyond each window's edge, and the one pass sees the image.

3. The stages, 115 steps of two scenes each; 40 held-out scenes (boundaries: 10 of them):

                         pixel acc.  mean acc.  mean IoU  f.w. IoU  boundary F1
    place alone            0.671      0.265      0.193     0.496      0.071
    32s, untrained         0.354      0.153      0.071     0.209      0.009
    32s                    0.676      0.309      0.221     0.524      0.069
    16s                    0.749      0.363      0.281     0.609      0.102
    8s                     0.777      0.401      0.315     0.653      0.141
    32s, as long           0.743      0.360      0.276     0.600      0.094
    32s, from scratch      0.624      0.287      0.188     0.465      0.071
    truth by 32            0.817      0.445      0.382     0.686      0.119
    truth by 16            0.896      0.610      0.546     0.813      0.293
    truth by 8             0.936      0.732      0.671     0.882      0.548

"place alone" is the class that each pixel's place has most often in training: hard to beat in a
street. After one stage 32s has three points of IoU more, and no more pixels; from scratch, without
the classifier, it has less of both.

16s looks six points better than 32s, but 32s trained for all three stages ("as long"), half as many
steps again as 16s has had, comes within half a point of it: in this budget, most of what the stages
gain is more training. Against that fair control the skips of 8s bring 0.039 of mean IoU and 0.048
of boundary F1. Unlike in the paper, 8s still gains on 16s. The nets have seen 230 scenes and are
far from done: posts, signs, fences and people are hardly ever answered.

"truth by 32" is the truth averaged in cells of 32 pixels and enlarged bilinearly: a yardstick of
what the stride costs, not a limit, as a net may choose its scores more cleverly. It is 0.29 of IoU
below "truth by 8", and still above all of the nets, which have more to learn than detail; 8s passes
it in boundary F1.

Writes tables, metrics.json, fcn.png and heatmap.png.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl.functional as F
from minidl import Tensor, nn, no_grad, random
from minidl.compute.arrays import to_device
from minidl.data import CAMVID, VOC, ArrayDataset, DataLoader, street_scenes, voc2012, watched
from minidl.files.pretrained import load_weights
from minidl.lecture.flags import (
    add_device_argument,
    add_preset_arguments,
    arguments,
    parse_with_preset,
)
from minidl.lecture.label_pictures import draw_labels
from minidl.lecture.pictures import show
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table
from minidl.models.fcn import FCN, parameter_groups
from minidl.models.vgg import VGG, normalise
from minidl.optim import SGD, Adam, CosineAnnealingLR
from minidl.tasks.segmentation import BoundaryF1, ConfusionMatrix, pixel_cross_entropy
from minidl.train import fit

CLASSES = len(CAMVID)
WIDTH = 1 / 8
"""Of the channels of VGG-16: 8, 16, 32, 64 and 64, and 512 units in fc6 and fc7."""
HEIGHT, BREADTH = 128, 192
CROP, STEP, WINDOW = 32, 32, 224
"""Sides in pixels: of what the classifier learns from, between scores, and of VGG's own input."""
GRID = WINDOW // STEP
"""Cells of pool5 that fc6 looks at, along each side."""
STRIDES = (32, 16, 8)
RATES = (1e-3, 5e-4, 5e-4)
"""Adam's learning rate in each stage."""
BASELINE, LONGER, SCRATCH = "place alone", "32s, as long", "32s, from scratch"


class Size(NamedTuple):
    """How much of everything."""

    scenes: int
    crops: int
    epochs: int
    test: int
    edges: int
    """Held-out scenes whose boundaries are compared, which takes longer than to answer."""
    large: tuple[int, int]


FULL = Size(scenes=230, crops=46, epochs=1, test=40, edges=10, large=(352, 480))
DRY = Size(scenes=2, crops=4, epochs=1, test=2, edges=1, large=(224, 224))


# --- 1. a classifier ---


class Surrounded(nn.Module):
    """Zeros around a small map, so that it has the cells that fc6 expects.

    (N, C, H, W) -> (N, C, 7, 7), for odd H = W up to 7
    """

    def forward(self, x: Tensor) -> Tensor:
        """x in the middle."""
        around = (GRID - x.shape[2]) // 2
        return F.pad(x, (around,) * 4) if around else x


def small_vgg() -> VGG:
    """A narrow VGG-16 with batch norm, for crops of one cell of pool5: fc6 begins in its middle.

    N(0, 0.01), VGG's start, is for wide layers; here it would let the signal fade.
    """
    net = VGG(batch_norm=True, num_classes=CLASSES, width=round(64 * WIDTH),
              hidden=round(4096 * WIDTH))
    net.add_module("avgpool", Surrounded())
    fc6, fc7, fc8 = (net.classifier[i] for i in (0, 3, 6))
    middle = nn.Linear(fc6.weight.shape[1] // GRID**2, fc6.weight.shape[0])
    for layer in (middle, fc7, fc8):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    fc6.weight.data[...] = 0
    cells = fc6.weight.data.reshape(fc6.weight.shape[0], -1, GRID, GRID)
    cells[:, :, GRID // 2, GRID // 2] = middle.weight.data
    return net


def crops(scenes: ArrayDataset, each: int, seed: int) -> ArrayDataset:
    """Squares of CROP pixels from anywhere, and the class of the pixel in their middle."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    for image, classes in zip(*scenes.arrays, strict=True):
        for _ in range(each):
            top, left = (int(rng.integers(n - CROP + 1)) for n in classes.shape)
            images.append(image[:, top : top + CROP, left : left + CROP])
            labels.append(classes[top + CROP // 2, left + CROP // 2])
    return ArrayDataset(np.stack(images), np.stack(labels))


def classifier(scenes: ArrayDataset, size: Size, args: Any) -> VGG:
    """Trained to name the middle of crops, without seeing where they are from."""
    random.manual_seed(args.seed)
    net = small_vgg().to(args.device)
    loader = DataLoader(crops(scenes, size.crops, args.seed), 64, shuffle=True, seed=args.seed,
                        device=args.device)

    def loss(net: VGG, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(net(normalise(batch[0])), batch[1])

    optimizer = Adam(net.parameters(), lr=2e-3)
    fit(net, loader, optimizer, loss, epochs=1, schedule=CosineAnnealingLR(optimizer, len(loader)))
    return net.eval()


def crop_accuracy(net: VGG, scenes: ArrayDataset, device: str) -> dict[str, float]:
    """Of the classifier on held-out crops, and of calling all by the most frequent class."""
    images, labels = crops(scenes, 25, 0).arrays
    answers = [scores.argmax(1) for scores in in_batches(net, images, 50, device)]
    right = float((np.concatenate(answers) == labels).mean())
    return {"accuracy": right, "most frequent": float(np.bincount(labels).max() / len(labels))}


# --- 2. made convolutional ---


def without_norm(net: VGG) -> dict[str, Any]:
    """The weights of the plain VGG that equals ``net`` in evaluation.

    There, batch norm multiplies and adds constants, as the convolution before it can do itself.
    """
    state = {k: v for k, v in net.state_dict().items() if k.startswith("classifier")}
    layers = list(net.features)
    plain = [layer for layer in layers if not isinstance(layer, nn.BatchNorm2d)]
    for conv, norm in pairwise(layers):
        if isinstance(norm, nn.BatchNorm2d):
            before, after = conv.state_dict(), norm.state_dict()
            scale = after["weight"] / (after["running_var"] + norm.eps) ** 0.5
            name = f"features.{plain.index(conv)}"
            state[f"{name}.weight"] = before["weight"] * scale[:, None, None, None]
            shift = after["bias"] - after["running_mean"] * scale
            state[f"{name}.bias"] = before["bias"] * scale + shift
    return state


def plain_vgg(net: FCN, device: str) -> VGG:
    """The classifier that an FCN-32s is made of: the same weights, in the same order."""
    vgg = VGG(num_classes=CLASSES, width=round(64 * WIDTH), hidden=round(4096 * WIDTH)).to(device)
    for own, same in zip(vgg.parameters(), net.parameters(), strict=False):  # but for upscore
        own.data[...] = same.data.reshape(own.shape)
    return vgg.eval()


def fully_convolutional(state: dict[str, Any], device: str) -> FCN:
    """FCN-32s with a classifier's weights, those of the classes included: they are the same."""
    net = FCN(CLASSES, 32, padding="same", upsampling="paper", width=WIDTH)
    net.copy_vgg16(state)
    weight = state["classifier.6.weight"]
    fc8 = {"weight": weight.reshape(*weight.shape, 1, 1), "bias": state["classifier.6.bias"]}
    net.score_fr.load_state_dict(fc8)
    return net.to(device).eval()


def coarse(net: FCN, x: Tensor) -> Tensor:
    """Scores before they are enlarged, (N, 3, H, W) -> (N, classes, H / 32, W / 32)."""
    for stage in net.stages:
        x = stage(x)
    return net.score_fr(net.classifier(x))


def sliding(net: FCN, image: np.ndarray, device: str) -> dict[str, Any]:
    """Both ways to score every place where VGG's window of 224 pixels fits.

    "classifier": fc6 to fc8 alone, at each window of pool5. "window": all of VGG, at each window
    of the image, whose convolutions see zeros beyond its edges where the one pass sees the image.
    """
    vgg = plain_vgg(net, device)
    with no_grad():
        x = normalise(Tensor(to_device(image[None], device)))
        rows, columns = ((n - WINDOW) // STEP + 1 for n in image.shape[1:])
        places = [(i, j) for i in range(rows) for j in range(columns)]
        once, seconds = timed(lambda: coarse(net, x).numpy())
        inside = once[0, :, GRID // 2 :, GRID // 2 :][:, :rows, :columns].reshape(CLASSES, -1).T
        pool5 = vgg.features(x)
        heads = [vgg.classifier(F.flatten(pool5[:, :, i : i + GRID, j : j + GRID], 1)).numpy()[0]
                 for i, j in places]
        windows, slid = timed(lambda: np.stack([
            vgg(x[:, :, STEP * i : STEP * i + WINDOW, STEP * j : STEP * j + WINDOW]).numpy()[0]
            for i, j in places]))
    return {
        "windows": len(places),
        "spread": float(inside.std()),
        "classifier_difference": float(np.abs(np.stack(heads) - inside).max()),
        "window_difference": float(np.abs(windows - inside).max()),
        "window_same_class": float((windows.argmax(1) == inside.argmax(1)).mean()),
        "times_faster": slid / seconds,
    }


def timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """The result, and the least seconds of two."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return result, min(seconds)


# --- 3. pixels ---


def stage(net: FCN, scenes: ArrayDataset, number: int, size: Size, args: Any) -> FCN:
    """Train a net further, with the same batches as any other in the stage of this number."""
    seed = len(RATES) * args.seed + number
    random.manual_seed(seed)
    net = net.to(args.device)
    loader = DataLoader(scenes, 2, shuffle=True, seed=seed, device=args.device)
    optimizer = Adam(net.parameters(), lr=RATES[number])

    def loss(net: FCN, batch: tuple[Tensor, Tensor]) -> Tensor:
        return pixel_cross_entropy(net(normalise(batch[0])), batch[1])

    fit(net, loader, optimizer, loss, epochs=size.epochs)
    return net.eval()


def finer(net: FCN, stride: int) -> FCN:
    """A net of another stride with all the weights that both have; new score layers are 0."""
    new = FCN(CLASSES, stride, padding="same", upsampling="paper", width=WIDTH)
    new.load_state_dict(net.state_dict(), strict=False)
    return new


def in_batches(net: Any, images: np.ndarray, count: int, device: str, kind: str = "torchvision"
               ) -> list[np.ndarray]:
    """What a net puts out, batch by batch."""
    with no_grad():
        return [net(normalise(Tensor(to_device(images[i : i + count], device)), kind)).numpy()
                for i in range(0, len(images), count)]


def answered(net: FCN, images: np.ndarray, device: str, kind: str = "torchvision") -> np.ndarray:
    """The class of each pixel, (N, 3, H, W) -> (N, H, W)."""
    return np.concatenate([x.argmax(1) for x in in_batches(net, images, 4, device, kind)])


def most_frequent(labels: np.ndarray) -> np.ndarray:
    """The class that each place has most often, (N, H, W) -> (H, W)."""
    return np.stack([(labels == c).sum(0) for c in range(CLASSES)]).argmax(0)


def through(labels: np.ndarray, stride: int) -> np.ndarray:
    """What is left of the truth if it is known by the shares of classes in square cells.

    Enlarged as the nets enlarge their scores: what ``stride`` alone costs. (N, H, W) -> the same.
    """
    shares = F.avg_pool2d(Tensor(np.eye(CLASSES, dtype=np.float32)[labels].transpose(0, 3, 1, 2)),
                          stride)
    return F.interpolate(shares, scale_factor=stride, mode="bilinear").numpy().argmax(1)


def measured(answers: np.ndarray, labels: np.ndarray, edged: int) -> dict[str, float]:
    """The paper's four measures, and the boundary F1 of the first ``edged`` images."""
    matrix, edges = ConfusionMatrix(CLASSES), BoundaryF1(CLASSES)
    matrix.add(answers, labels)
    for answer, label in watched([*zip(answers[:edged], labels[:edged], strict=True)], "scoring"):
        edges.add(answer, label)
    return {**four(matrix), "boundary_f1": edges.value}


def four(matrix: ConfusionMatrix) -> dict[str, float]:
    """The paper's measures of a table of what was called what."""
    return {
        "pixel_accuracy": matrix.pixel_accuracy,
        "mean_accuracy": matrix.class_accuracy,
        "mean_iou": matrix.mean_iou,
        "frequency_weighted_iou": matrix.frequency_weighted_iou,
    }


def staged(state: dict[str, Any], scenes: ArrayDataset, size: Size, args: Any) -> dict[str, FCN]:
    """32s from the classifier, 16s from 32s, 8s from 16s; and what they are compared with."""
    nets = {"32s, untrained": fully_convolutional(state, args.device)}
    net = fully_convolutional(state, args.device)
    for number, stride in enumerate(STRIDES):
        net = stage(net if stride == 32 else finer(net, stride), scenes, number, size, args)
        nets[f"{stride}s"] = net
    longer = finer(nets["32s"], 32)
    for number in (1, 2):
        longer = stage(longer, scenes, number, size, args)
    nets[LONGER] = longer
    random.manual_seed(args.seed)
    new = FCN(CLASSES, 32, padding="same", upsampling="paper", width=WIDTH)
    nets[SCRATCH] = stage(new, scenes, 0, size, args)
    return nets


# --- pictures ---


def draw_heat(path: Path, net: FCN, image: np.ndarray, device: str) -> None:
    """The classifier's probabilities of some classes at every place of a large image."""
    from matplotlib.figure import Figure

    with no_grad():
        x = normalise(Tensor(to_device(image[None], device)))
        heat = F.softmax(coarse(net, x), 1).numpy()[0]
    height, width = image.shape[1:]
    figure = Figure(figsize=(15, 2.9), layout="constrained")
    panels = figure.subplots(1, 5)
    show(panels[0], image, f"image, {width} x {height} pixels")
    for panel, name in zip(panels[1:], ("Sky", "Building", "Road", "Car"), strict=True):
        shown = panel.imshow(heat[CAMVID.names.index(name)], cmap="magma", vmin=0, vmax=1,
                             extent=(0, width, height, 0), interpolation="nearest")
        panel.set_title(name)
        panel.set(xticks=[], yticks=[])
    rows, columns = heat.shape[1:]
    figure.colorbar(shown, ax=panels, shrink=0.75, pad=0.01, label="probability")
    figure.suptitle(f"The classifier in one pass: probabilities at {rows} x {columns} places")
    figure.savefig(path, dpi=100)


# --- the paper's setting ---

RELEASE_RATES = dict(zip(STRIDES, (1e-10, 1e-12, 1e-14), strict=True))
ITERATIONS = 100_000
CAFFES = "ilsvrc"
"""How Caffe's VGG-16, for which these rates are, wants images: BGR bytes minus means."""


def paper(args: Any) -> dict[str, Any]:
    """The authors' reference code ("heavy learning", not the article's batches of 20), on VOC 2012.

    One image a step at its own size, the loss summed over pixels, momentum 0.99, weight decay
    5e-4, biases at twice the rate and without decay, 100,000 steps a stage. The rates are for
    Caffe's VGG-16 and its inputs, BGR bytes minus means. Unlike theirs: VOC 2012's own lists,
    without SBD's further images.
    """
    width = 1 / 16 if args.dry_run else 1.0
    train, held_out = voc2012(args.data, "train"), voc2012(args.data, "val")
    net, metrics = None, {}
    for stride in STRIDES:
        random.manual_seed(args.seed)
        new = FCN(len(VOC), stride, width=width)
        if net is not None:
            new.load_state_dict(net.state_dict(), strict=False)
        elif args.vgg is not None:
            vgg = VGG(width=round(64 * width), hidden=round(4096 * width))
            load_weights(vgg, args.vgg)
            new.copy_vgg16(vgg.state_dict())
        net = new.to(args.device)
        loader = DataLoader(train, shuffle=True, seed=args.seed, workers=2, device=args.device)
        epochs = 1 if args.dry_run else -(-ITERATIONS // len(loader))
        rate = RELEASE_RATES[stride]
        heavy = SGD(parameter_groups(net, rate), rate, momentum=0.99, weight_decay=5e-4)
        fit(net, loader, heavy, summed, epochs=epochs, checkpoint_every=4000,
            out=args.out / f"fcn{stride}s", resume=args.resume)
        metrics[f"{stride}s"] = four(scored(net.eval(), held_out, args.device))
        print(f"{stride}s: {metrics[f'{stride}s']}", flush=True)
    return metrics


def summed(net: FCN, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The cross-entropy, added up over all pixels but VOC's void ones."""
    scores = net(normalise(batch[0], CAFFES))
    return pixel_cross_entropy(scores, batch[1], ignore_index=VOC.ignore, normalisation="sum")


def scored(net: FCN, dataset: Any, device: str) -> ConfusionMatrix:
    """What of a data set's pixels was called what, image by image at its own size."""
    matrix = ConfusionMatrix(len(VOC), VOC.ignore)
    for image, label in map(dataset.example, watched(range(len(dataset)), "scoring images")):
        matrix.add(answered(net, image[None], device, CAFFES)[0], label)
    return matrix


# --- all of it ---


def tiny(args: Any) -> dict[str, Any]:
    """Minutes on generated street scenes."""
    size = DRY if args.dry_run else FULL
    # Three seeds for three sets, none of them shared by another run's sets.
    print(f"Drawing {size.scenes + size.test} street scenes.")
    learnt = street_scenes(size.scenes, (HEIGHT, BREADTH), 3 * args.seed, progress=True)
    held_out = street_scenes(size.test, (HEIGHT, BREADTH), 3 * args.seed + 1, progress=True)
    images, labels = held_out.arrays
    large = street_scenes(1, size.large, 3 * args.seed + 2).arrays[0][0]

    vgg = classifier(learnt, size, args)
    metrics: dict[str, Any] = {"classifier": crop_accuracy(vgg, held_out, args.device)}
    print("1. A VGG-16 of an eighth of the width names the middle of crops of {0} x {0} pixels:\n"
          "{accuracy:.3f} right, {most frequent:.3f} by the most frequent class."
          .format(CROP, **metrics["classifier"]))
    state = without_norm(vgg)
    net = fully_convolutional(state, args.device)
    nets = staged(state, learnt, size, args)
    both = {"classifier": net, "32s": nets["32s"]}
    metrics["sliding"] = {name: sliding(n, large, args.device) for name, n in both.items()}
    print(report_sliding(metrics["sliding"]))
    place = np.broadcast_to(most_frequent(learnt.arrays[1]), labels.shape)
    answers = {BASELINE: place} | {k: answered(n, images, args.device) for k, n in nets.items()}
    answers |= {f"truth by {s}": through(labels, s) for s in STRIDES}
    metrics["pixels"] = {k: measured(each, labels, size.edges) for k, each in answers.items()}
    print(f"\n3. {size.scenes} scenes, {size.scenes // 2 * size.epochs} steps a stage; "
          f"{size.test} held-out scenes. Baseline: {BASELINE}.")
    head = ["", "pixel acc.", "mean acc.", "mean IoU", "f.w. IoU", "boundary F1"]
    print(table(head, [[k, *m.values()] for k, m in metrics["pixels"].items()]))
    shown = {f"FCN-{name}": answers[name] for name in ("32s", LONGER, "16s", "8s")}
    if draw_labels(args.out / "fcn.png", images, {"truth": labels} | shown, CAMVID, rows=5):
        draw_heat(args.out / "heatmap.png", net, large, args.device)
        print(f"\nDrawn: {args.out / 'fcn.png'}, {args.out / 'heatmap.png'}")
    return metrics


def report_sliding(found: dict[str, dict[str, Any]]) -> str:
    """Part 2 in a table."""
    head = ["scores of", "spread", "fc6-8 slid", "VGG slid", "same class", "times faster"]
    rows = [[name, f"{m['spread']:.2f}", f"{m['classifier_difference']:.1e}",
             f"{m['window_difference']:.1e}", f"{m['window_same_class']:.0%}",
             f"{m['times_faster']:.1f}"] for name, m in found.items()]
    return (
        f"\n2. {found['32s']['windows']} windows of a large image, slid and in one pass: largest "
        f"difference of scores, if\nonly fc6 to fc8 slide over pool5, and if all of VGG does.\n"
        + table(head, rows)
    )


def main() -> None:
    parser = arguments(__doc__, "08_fcn")
    add_device_argument(parser)
    add_preset_arguments(parser, "VOC 2012: JPEGImages/, SegmentationClass/, ImageSets/")
    parser.add_argument("--vgg", type=Path, metavar="FILE",
                        help="for --preset paper: Caffe's vgg16 to start from (vgg16-00b39a1b.pth)")
    args = parse_with_preset(parser)
    metrics = paper(args) if args.preset == "paper" else tiny(args)
    print(f"Saved {write_metrics(args.out, metrics)}")


if __name__ == "__main__":
    main()
