"""Fast style transfer: a network learns one style, and paints any photograph in one pass.

Gatys et al. optimise each picture for hundreds of iterations. Johnson, Alahi & Fei-Fei 2016 train
a network by the same loss, once for a style; they claim that one pass then reaches the loss of 50
to 100 iterations, and is three orders of magnitude faster than 500. Asked of networks 8 wide (32
in the paper), which learn 400 patches of 64 pixels in 650 steps. No trained VGG is at hand, so
the loss is a random one's: it knows colours and small strokes, and nothing of what is to be seen.
What came out on four held-out photographs of 96x96 pixels, by seed 0 (all defaults, three minutes
and a half on one core; Gatys from noise):

                                  total   content    style   checkerboard, dB
    the content itself           212.43      0.00   212.13       -2.3
    recoloured                    39.46     23.06    15.95       -0.9
    one pass: nearest             27.43     23.97     3.40       -2.4
    one pass: transposed          27.36     24.21     2.99       14.5
    Gatys, 10 iterations          29.30     17.42     9.80       -0.7
    Gatys, 25 iterations          20.28     13.21     5.80       -0.7
    Gatys, 100 iterations         17.24     11.45     4.86       -0.2

One pass is as good as some 13 iterations, not 50: its style is better than Gatys's after 100, its
content worse, as bad as that of a photograph that was only recoloured (each channel given the
style's histogram). So small a network blurs; in large photographs, where a pixel means less, that
hardly shows. Nor does a lower loss mean a nicer picture: Gatys's are sharp, and full of a grain
that random filters do not mind.

And the time of Gatys's iterations over that of one pass, on one core:

                                   100       300       500     the paper's, on a Titan X
    these networks, 256 pixels     268x      803x     1338x    212x, 636x, 1060x
    these networks, 512 pixels     178x      535x      891x    205x, 615x, 1026x
    full width, 256 pixels         408x     1225x     2041x

That claim comes out. (The two cores had other work, too; an earlier run had 191x, 166x and 380x.)

The checkerboard measures how far periods of 2 and 4 pixels stand out of the spectrum. The paper's
network enlarges by transposed convolutions of 3x3 and stride 2, and shows it plainly; with pixels
repeated, then convolved, it is gone, at the same loss. (Both have instance norm here. With the
paper's batch norm, in a trial, batches of 2 left running statistics that do not fit: a loss of 27
while training, of 46 when used.)

Ours: the first 200 steps, by pixels, towards recoloured photographs. Asked for content and style
at once, from random weights and at five times the rate, the network ends at a flat picture of the
style's mean colour (a total of 74).

``--weights FILE`` takes torchvision's VGG-16 and the published recipes, ``--style PICTURE``
another style. ``--preset paper --data DIR`` trains the paper's network on a folder of
photographs, 256 pixels, 40,000 steps of 4, and measures its speed; it was tried in a few steps
only.

Writes tables, metrics.json, fast_style.png, speed.png and style.safetensors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl.functional as F
from minidl import Tensor, no_grad, random
from minidl.compute.arrays import to_device
from minidl.data import (
    ArrayDataset,
    DataLoader,
    photographs,
    read_image,
    shuffled_rounds,
    whirls,
)
from minidl.lecture.flags import (
    add_device_argument,
    add_preset_arguments,
    arguments,
    parse_with_preset,
)
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table
from minidl.models.johnson import Transformer as Net
from minidl.models.johnson import TransformerNet, TransformNet
from minidl.optim import Adam, CosineAnnealingLR
from minidl.tasks import perceptual
from minidl.tasks.perceptual import stylise as gatys
from minidl.tasks.perceptual.fast_style import fast_style, save_transformer
from minidl.train import fit

Pictures = Sequence[np.ndarray]
"""Each (3, H, W), RGB from 0 to 1."""

WIDTH, FEATURES = 8, 16
"""Channels of the first layer: of the networks that learn, and of the one that judges."""
PATCH, BATCH = 64, 2
FIRST_RATE, RATE = 5e-3, 1e-3
"""While it learns colours by pixels, and then by the perceptual loss."""
CONTRAST = 0.15
"""Standard deviation that a patch must have: content is compared relative to what there is."""
STYLE_WEIGHT, VARIATION = 3.0, 2.0
"""The first times that of "random-fast", the second in its place."""
MAIN = "enlarged by nearest"
NETS: dict[str, Callable[[], Net]] = {
    MAIN: lambda: TransformerNet(WIDTH),
    "transposed": lambda: TransformNet("instance", WIDTH),
}
"""How they enlarge: pytorch/examples' network, and the paper's, both with instance norm."""
SHOWN = ("astronaut", "coffee")
"""Photographs that are shown whole."""
REPORTED = (10, 25, 50, 100)
TIMES = (100, 300, 500)
"""Iterations of Gatys in the paper's table."""
PAPER = {256: "212/636/1060", 512: "205/615/1026"}
"""How many times as long as one pass they took there, on a Titan X."""


class Size(NamedTuple):
    """How much of everything."""

    patches: int
    first: int
    """Steps by pixels."""
    steps: int
    crop: int
    crops: int
    iterations: int
    every: int
    sides: dict[int, int]
    """Pixels: how often they are timed."""


FULL = Size(400, 200, 450, crop=96, crops=4, iterations=100, every=5, sides={256: 3, 512: 2})
DRY = Size(8, 2, 2, crop=64, crops=1, iterations=2, every=1, sides={64: 1})


class Judge(NamedTuple):
    """What says how good a picture is: to the networks, to Gatys and to us, the same."""

    features: perceptual.Features
    recipe: perceptual.Recipe
    style: np.ndarray

    def loss(self) -> Callable[[Any, Any], Tensor]:
        """What a network learns by."""
        return perceptual.StyleTrainer(self.features, self.style, self.recipe).loss

    def gatys(self, content: np.ndarray, steps: int, every: int, watch: Any = None) -> None:
        """Optimise one picture, from noise, under the eyes of ``watch``."""
        gatys.stylise(content, self.style, self.features, self.recipe, steps=steps, every=every,
                      watcher=watch, progress=watch is not None)

    def losses(self, pictures: Pictures, contents: Pictures) -> list[dict[str, float]]:
        """Of finished pictures, clipped to what can be shown."""
        objective = perceptual.Objective(self.features, self.recipe, [self.style])
        found, device = [], self.features.device
        with no_grad():
            for pair in zip(pictures, contents, strict=True):
                x, y = (self.features.prepare(to_device(a[None], device)) for a in pair)
                found.append(objective(x, objective.content_of(y)).numbers())
        return found


# --- pictures to learn from, and to measure on ---


def coloured(part: str) -> dict[str, np.ndarray]:
    """The photographs of a part, (3, H, W) float32 from 0 to 1; grey ones three times."""
    return {name: perceptual.rgb(x) for name, x in photographs(part).items()}


def square(x: np.ndarray, side: int) -> np.ndarray:
    """The middle square of a picture, made side pixels wide."""
    return perceptual.resized(perceptual.middle_square(x), (side, side))


def patches(count: int, seed: int) -> ArrayDataset:
    """Squares of the training photographs, from PATCH pixels to the whole, all made PATCH wide."""
    rng = np.random.default_rng(seed)
    photos = list(coloured("training").values())
    found: list[np.ndarray] = []
    while len(found) < count:
        x = photos[rng.integers(len(photos))]
        side = int(rng.integers(PATCH, min(x.shape[1:]) + 1))
        top, left = (int(rng.integers(n - side + 1)) for n in x.shape[1:])
        patch = square(x[:, top : top + side, left : left + side], PATCH)
        if patch.std() > CONTRAST:
            found.append(patch)
    return ArrayDataset(np.stack(found))


# --- training ---


def in_range(net: Net, style: np.ndarray) -> list[dict[str, Any]]:
    """Begin pytorch/examples' network with the style's colours, not black; what Adam is to train.

    Nothing keeps its answers among bytes, and at first they are about 0. The last layer's bias
    becomes the mean colour, and its weights larger until answers vary as bytes do: fresh weights
    have the variance 1 / (3 fan-in), ReLUs behind a norm the mean square 1/2. Their rate is a
    fifth as much larger. This is ours; the paper's network has a tanh for it.
    """
    if not isinstance(net, TransformerNet):
        return [{"params": list(net.parameters()), "factor": 1.0}]
    last, scale = net.deconv3.conv2d, 255 * float(style.std()) * 6**0.5
    assert last.bias is not None
    last.bias.data[...] = to_device(255 * style.mean((1, 2)), last.bias.device)
    last.weight.data *= scale
    others = [p for name, p in net.named_parameters() if not name.startswith("deconv3")]
    return [{"params": others, "factor": 1.0},
            {"params": list(last.parameters()), "factor": scale / 5}]


def trained(build: Callable[[], Net], dataset: ArrayDataset, judge: Judge, size: Size,
            args: Any) -> Net:
    """A network that learned the style; each kind is given the same batches.

    First it learns, by pixels, to recolour: a network that is asked for content and style at once
    finds the style's colours and never the content.
    """
    random.manual_seed(args.seed)
    net = build().to(args.device)
    groups = in_range(net, judge.style)

    def recolouring(net: Any, batch: tuple[Tensor, ...]) -> Tensor:
        target = [perceptual.recoloured(x, judge.style) for x in batch[0].numpy()]
        wanted = to_device(np.stack(target), judge.features.device)
        return F.mean((net.stylise(batch[0]) - wanted) ** 2)

    stages = ((recolouring, size.first, FIRST_RATE), (judge.loss(), size.steps, RATE))
    for loss, steps, rate in stages:
        rounds = shuffled_rounds(dataset, steps * BATCH, args.seed)
        loader = DataLoader(rounds, BATCH, seed=args.seed, device=args.device)
        optimizer = Adam([{"params": g["params"], "lr": g["factor"] * rate} for g in groups])
        fit(net, loader, optimizer, loss, epochs=1,
            schedule=CosineAnnealingLR(optimizer, steps))
    return net.eval()


# --- measures ---


def seconds(action: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def speed(net: Net, judge: Judge, photo: np.ndarray, side: int, repeats: int) -> dict[str, float]:
    """Of one pass and of one iteration of Gatys, on one picture, in turn: the least of the repeats.

    An iteration is a third of what a run of four takes longer than a run of one, which begins
    alike: so the style's Gram matrices and the first, longer search of L-BFGS do not count.
    """
    picture = square(photo, side)
    passes, ones, fours = [], [], []
    fast_style(net, picture)
    for _ in range(repeats):
        passes += [seconds(lambda: fast_style(net, picture)) for _ in range(5)]
        ones.append(seconds(lambda: judge.gatys(picture, 1, 1)))
        fours.append(seconds(lambda: judge.gatys(picture, 4, 4)))
    return {"side": side, "pass": min(passes), "iteration": (min(fours) - min(ones)) / 3}


def checkerboard(picture: np.ndarray) -> float:
    """How far periods of 2 and 4 pixels stand out of the spectrum, in dB.

    The power where both frequencies are 1/4 or 1/2, against the median of a ring around it, three
    steps away; the mean over those places and three colours. Enlarging twice by 2 has these.
    """
    _, h, w = picture.shape
    window = np.hanning(h)[:, None] * np.hanning(w)
    power = np.abs(np.fft.fft2((picture - picture.mean((1, 2), keepdims=True)) * window)) ** 2
    steps, peaks = range(-3, 4), []
    ring = [(i, j) for i in steps for j in steps if max(abs(i), abs(j)) == 3]
    for y in (h // 4, h // 2, 3 * h // 4):
        for x in (w // 4, w // 2, 3 * w // 4):
            around = np.median([power[:, (y + i) % h, (x + j) % w] for i, j in ring], axis=0)
            peaks.append(10 * np.log10((power[:, y, x] + 1e-9) / (around + 1e-9)))
    return float(np.mean(peaks))


def measured(pictures: Pictures, contents: Pictures, judge: Judge) -> dict[str, float]:
    """The mean losses of finished pictures, and their checkerboards."""
    losses = judge.losses(pictures, contents)
    means = {name: float(np.mean([each[name] for each in losses])) for name in losses[0]}
    return means | {"checkerboard": float(np.mean([checkerboard(x) for x in pictures]))}


def compared(answers: Mapping[str, Pictures], optimised: Mapping[int, Pictures],
             contents: Pictures, judge: Judge) -> dict[str, Any]:
    """Networks, Gatys, and the content itself, by the same losses; from when on Gatys is better."""
    nets = {name: measured(each, contents, judge) for name, each in answers.items()}
    curve = {k: measured(each, contents, judge) for k, each in optimised.items()}
    equal = {name: next((k for k, each in curve.items() if each["total"] <= m["total"]), None)
             for name, m in nets.items()}
    plain = [perceptual.recoloured(x, judge.style) for x in contents]
    return {"content": measured(contents, contents, judge),
            "recoloured": measured(plain, contents, judge),
            "nets": nets, "gatys": curve, "equal": equal}


# --- tables and pictures ---


def print_losses(found: Mapping[str, Any]) -> None:
    """A row for each way to make a picture."""
    head, curve = ["total", "content", "style", "variation", "checkerboard"], found["gatys"]
    rows = {"the content itself": found["content"], "recoloured": found["recoloured"]}
    rows |= {f"one pass: {name}": each for name, each in found["nets"].items()}
    rows |= {f"Gatys, {k} iterations": curve[k] for k in REPORTED if k in curve}
    print(table(["mean loss", *head], [[name, *(f"{m[k]:.2f}" for k in head)]
                                       for name, m in rows.items()]))
    for name, k in found["equal"].items():
        print(f"{name}: Gatys is as good after " + (f"{k} iterations, or a few less" if k
              else f"more than {max(curve)} iterations"))


def print_speed(speeds: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Beside the paper's."""
    rows = [[f"{name}, {m['side']}", f"{m['pass']:.4f}", f"{m['iteration']:.3f}",
             *(f"{k * m['iteration'] / m['pass']:.0f}x" for k in TIMES),
             PAPER.get(int(m["side"]), "-")]
            for name, measures in speeds.items() for m in measures]
    print(table(["\nseconds", "one pass", "an iteration", *map(str, TIMES), "the paper"], rows))


def show(panel: Any, picture: np.ndarray, title: str) -> None:
    panel.imshow(picture.transpose(1, 2, 0), interpolation="nearest")
    panel.set_title(title, fontsize=10)


def draw_pictures(path: Path, net: Net, style: np.ndarray, photos: Mapping[str, np.ndarray],
                  columns: Mapping[str, Pictures]) -> bool:
    """The style; whole photographs in one pass; crops, in columns, beside Gatys."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    count = len(next(iter(columns.values())))
    figure = Figure(figsize=(14, 7.4 + 2.5 * count), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(7.4, 2.5 * count))
    wide = [photos[name] for name in SHOWN]
    grid = parts[0].subplots(2, 3, width_ratios=[1, *(x.shape[2] / x.shape[1] for x in wide)])
    show(grid[0, 0], style, "The style")
    for (above, below), name, photo in zip(grid.T[1:], SHOWN, wide, strict=True):
        show(above, photo, f"{name}, {photo.shape[2]} x {photo.shape[1]}, never seen in training")
        show(below, fast_style(net, photo), "in one pass")
    panels = parts[1].subplots(count, len(columns), squeeze=False)
    for k, line in enumerate(panels):
        for panel, (title, pictures) in zip(line, columns.items(), strict=True):
            show(panel, pictures[k], title if k == 0 else "")
    for panel in (*grid.flat, *panels.flat):
        panel.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    return True


def draw_speed(path: Path, found: Mapping[str, Any]) -> None:
    """The loss that Gatys has after so many seconds, and the one point of the network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    timed, crop = found["crop speed"], found["crop speed"]["side"]
    points = {k: (k * timed["iteration"], m["total"]) for k, m in found["gatys"].items()}
    axes.plot(*zip(*points.values(), strict=True), "o-", color="#c2452d", markersize=4,
              label="Gatys, from noise, after so many iterations")
    for k in (k for k in REPORTED if k in points):
        axes.annotate(f"{k}", points[k], (0, 9), textcoords="offset points", ha="center")
    loss, content = found["nets"][MAIN]["total"], found["content"]["total"]
    axes.plot(timed["pass"], loss, "*", color="#1b6ca8", markersize=18, label="one pass")
    axes.axhline(loss, color="#1b6ca8", linewidth=1, linestyle=":")
    axes.axhline(content, color="black", linewidth=1, linestyle="--", label="the content itself")
    axes.set(xscale="log", yscale="log", xlabel="seconds on this machine", ylabel="total loss",
             title=f"Held-out pictures of {crop} x {crop} pixels: loss against time")
    axes.legend()
    figure.savefig(path, dpi=100)


# --- the paper's setting, and minutes ---


def paper(judge: Judge, args: Any) -> None:
    """The paper's network, on a folder of photographs such as COCO's; then its speed."""
    loader = DataLoader(perceptual.Photographs(args.data, 256), 4, shuffle=True, drop_last=True,
                        seed=args.seed, workers=1, device=args.device)
    random.manual_seed(args.seed)
    net = TransformNet().to(args.device)
    fit(net, loader, Adam(net.parameters(), lr=1e-3), judge.loss(),
        epochs=args.epochs or max(1, round(40_000 / len(loader))), out=args.out,
        resume=args.resume, checkpoint_every=500)
    save_transformer(args.out / "style.safetensors", net)
    photos = coloured("held-out")
    columns = {"content": [square(x, 256) for x in photos.values()]}
    columns["one pass"] = [fast_style(net, x) for x in columns["content"]]
    draw_pictures(args.out / "fast_style.png", net, judge.style, photos, columns)
    speeds = {"full width": [speed(net, judge, photos[SHOWN[0]], side, 3) for side in PAPER]}
    print_speed(speeds)
    print(f"Saved {write_metrics(args.out, {'speed': speeds})}")


def tiny(judge: Judge, args: Any) -> None:
    """Minutes."""
    size = DRY if args.dry_run else FULL
    photos = coloured("held-out")
    contents = [square(x, size.crop) for x in photos.values()][: size.crops]
    dataset = patches(size.patches, args.seed)
    nets = {name: trained(build, dataset, judge, size, args) for name, build in NETS.items()}
    answers = {k: [fast_style(net, x) for x in contents] for k, net in nets.items()}
    optimised: dict[int, list[np.ndarray]] = {}
    for content in contents:
        judge.gatys(content, size.iterations, size.every,
                    lambda k, x, _: optimised.setdefault(k, []).append(x))
    found = compared(answers, optimised, contents, judge)
    print_losses(found)
    net, photo = nets[MAIN], photos[SHOWN[0]]
    found["crop speed"] = speed(net, judge, photo, size.crop, 3)
    found["speed"] = {"as trained": [speed(net, judge, photo, *s) for s in size.sides.items()]}
    if not (judge.features.pretrained or args.dry_run):  # weights do not matter for the time
        full = judge._replace(features=perceptual.random_features("vgg16").to(args.device))
        large = TransformNet().to(args.device)
        found["speed"]["full width"] = [speed(large, full, photo, 256, 2)]
    print_speed(found["speed"])
    equal = found["equal"][MAIN] or size.iterations
    columns = {"content": contents} | answers
    for k in (min(optimised, key=lambda k: abs(k - equal)), size.iterations):
        columns[f"Gatys, {k} iterations"] = optimised[k]
    if draw_pictures(args.out / "fast_style.png", net, judge.style, photos, columns):
        draw_speed(args.out / "speed.png", found)
        print(f"\nDrawn: {args.out / 'fast_style.png'}, {args.out / 'speed.png'}")
    print(f"Saved {write_metrics(args.out, found)}")
    save_transformer(args.out / "style.safetensors", net)


def judged_by(args: Any) -> Judge:
    """With trained weights by their recipe; else by random ones, and the program says so."""
    style = whirls() if args.style is None else read_image(args.style)
    if args.weights is None:
        print("No --weights: the loss is that of a VGG-16 with random weights. It knows colours\n"
              "and small strokes, and nothing of what is to be seen.\n")
        recipe = perceptual.find_recipe("random-fast").scaled(1.0, STYLE_WEIGHT, VARIATION)
        width = 64 if args.preset == "paper" else FEATURES
        features = perceptual.random_features("vgg16", width=width)
    else:
        features = perceptual.load_features(args.weights)
        caffe = features.normalisation == "caffe"
        recipe = perceptual.find_recipe("fast-neural-style" if caffe else "pytorch-examples")
    return Judge(features.to(args.device), recipe, style)


def main() -> None:
    parser = arguments(__doc__, "17_fast_style")
    add_device_argument(parser)
    parser.add_argument("--weights", type=Path, metavar="FILE",
                        help="of VGG-16, such as torchvision's vgg16-397923af.pth (random ones)")
    parser.add_argument("--style", type=Path, metavar="PICTURE", help="of the style (whirls)")
    parser.add_argument("--epochs", type=int, help="of --preset paper (40,000 steps)")
    add_preset_arguments(parser, "photographs to learn from, such as COCO's")
    args = parse_with_preset(parser)
    (paper if args.preset == "paper" else tiny)(judged_by(args), args)


if __name__ == "__main__":
    main()
