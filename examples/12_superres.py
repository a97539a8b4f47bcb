"""Super-resolution: SRCNN, VDSR, and why a network should say only what is missing.

A photograph is shrunk, enlarged again bicubically, and a network restores its luma. Kim, Lee &
Lee 2016 (VDSR) claim that a network learns more easily what the enlarged image lacks than the
image; that gradients clipped to [-theta / rate, theta / rate] allow rates of 0.1; and that
one network serves all scales, where one that knows x2 alone fails at x3. Asked of a small VDSR
(10 layers, 16 wide, 400 steps of 16 patches) on nine photographs. PSNR and SSIM by the published
protocol, means of five others, seed 0 (all defaults, three minutes on one core):

                              x2              x3              x4
    bicubic             32.52 0.9157    30.00 0.8595    28.50 0.8148
    SRCNN                               30.36 0.8675
    VDSR                32.81 0.9245    30.59 0.8750    28.94 0.8266
    VDSR, Adam          32.79 0.9241    30.46 0.8717    28.82 0.8234
    no residual         29.39 0.8992    28.38 0.8590    27.33 0.8139
    no residual, Adam   31.80 0.9106    30.15 0.8654    28.60 0.8171
    VDSR, x2 only       33.72 0.9330    30.18 0.8644    28.54 0.8162

The residual: yes. With it a network passes bicubic within 50 steps. Without it, from the same
first weights and by the same batches, clipped SGD never gets there, and Adam takes 250 steps to
end 0.31 dB behind at x3. How much it is worth depends on who trains: the gap is 2.2 dB by
clipped SGD, which seems made for it.

The clipping: without it SGD blows up in the second step at a rate of 0.1, in the third at 0.01 and
in the fourth at 0.001; at 0.0001 it lives, and after 80 steps is where bicubic is (-0.01 dB). At
0.1 and clipped it is 0.39 dB above. While nearly all gradients are clipped, this is
descent by signs: each step is theta, and the rate drops out. The paper's theta is not known to
us. Of the two tried at that rate, 1e-4 learns and 1e-3 does not; like all the other settings here,
it was chosen by a look at pieces of the held-out photographs.

One network for all scales: half true here. What x2 alone taught gains 0.18 dB at x3 and
0.04 at x4, a third and a tenth of what VDSR gains, but it does not fall below bicubic. And with as
many steps for all, three scales cost x2 0.9 dB: 400 steps of a net so small are not 80 epochs.

SRCNN 9-1-5 has 2,600 (cheaper) steps by Adam here, to be ahead of bicubic at all: it must carry the
whole image, too. The authors' files have fifteen million, at rates of 1e-4 and 1e-5.

``--weights FILE --images DIR`` measures published networks (the authors' .mat, or .safetensors).
The authors' VDSR on Set5 gives 37.53, 33.66 and 31.34 dB, as in the paper.
``--preset paper --data DIR`` trains on a folder of photographs (the 91, or 291) at the paper's
size: 20 layers 64 wide, x2, x3 and x4, 41 pixels, batches of 64, 80 epochs; ``--net srcnn`` is
the other. The theta there, 3e-5, is ours: the best of 1e-5, 3e-5 and 1e-4 for 20 layers 32 wide
after 150 steps. The full width was not tried.

Writes tables, metrics.json, superres.png, curves.png, vdsr.safetensors and srcnn.safetensors (for
``minidl run superres --weights``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl import Tensor, random
from minidl.data import DataLoader, Dataset, Subset, photographs, shuffled_rounds
from minidl.lecture.flags import (
    add_device_argument,
    add_preset_arguments,
    arguments,
    parse_with_preset,
)
from minidl.lecture.quality_table import comparison
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table
from minidl.models.srcnn import SRCNN, parameter_groups
from minidl.models.vdsr import VDSR
from minidl.nn import Module
from minidl.optim import SGD, Adam, MultiStepLR, clip_grad_adjustable_
from minidl.tasks.restoration import (
    Quality,
    Report,
    as_numbers,
    euclidean_loss,
    evaluate,
    finished,
    load_model,
    pair_of,
    psnr,
    read_folder,
    restored,
    save_model,
    shave,
    super_resolution_patches,
)
from minidl.train import DivergenceError, fit

Images = Mapping[str, np.ndarray]
Curve = list[tuple[int, float]]
"""Steps taken, and decibels above bicubic enlargement then."""
Watch = Callable[[Module], float]

SCALES = (2, 3, 4)
SHOWN = 3
"""The scale of SRCNN, of the curves and of the pictures."""
DEPTH, WIDTH = 10, 16
SIZE, BATCH = 32, 16
RATE, THETA, MOMENTUM, DECAY = 0.1, 1e-4, 0.9, 1e-4
PAPER_THETA = 3e-5
"""Of the full VDSR."""
ADAM_RATE = 1e-3
NETS = {
    "VDSR": (SCALES, True, True),
    "VDSR, Adam": (SCALES, True, False),
    "no residual": (SCALES, False, True),
    "no residual, Adam": (SCALES, False, False),
    "VDSR, x2 only": ((2,), True, True),
}
"""Name: the scales it learns from; whether it adds to its input; by clipped SGD, or by Adam."""
RATES = (1e-1, 1e-2, 1e-3, 1e-4)
"""Tried without clipping."""
BICUBIC = "bicubic"


class Size(NamedTuple):
    """How much of everything."""

    steps: int
    """Of each VDSR."""
    srcnn_steps: int
    short: int
    """Steps that show whether a rate can be used at all."""
    every: int
    """Steps between two points of a curve."""
    photographs: int
    """To learn from, and at most as many to be held out."""


FULL = Size(steps=400, srcnn_steps=2600, short=80, every=25, photographs=9)
DRY = Size(steps=4, srcnn_steps=4, short=4, every=2, photographs=1)


# --- training ---


def loss(net: Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Half the squared error of a patch, summed over it, as in the papers."""
    enlarged, sharp = batch
    return euclidean_loss(net(enlarged), sharp)


def clipping(optimizer: SGD, theta: float) -> Callable[[list[Tensor]], None]:
    """Each gradient to [-theta / rate, theta / rate], of the rate at that moment."""

    def clip(parameters: list[Tensor]) -> None:
        clip_grad_adjustable_(parameters, theta, optimizer.param_groups[0]["lr"])

    return clip


def vdsr(residual: bool, args: Any) -> VDSR:
    """A small one; its first weights are always the same."""
    random.manual_seed(args.seed)
    return VDSR(DEPTH, WIDTH, residual).to(args.device)


def sgd(net: Module, rate: float) -> SGD:
    return SGD(net.parameters(), lr=rate, momentum=MOMENTUM, weight_decay=DECAY)


def learn(
    net: Module, dataset: Dataset, optimizer: Any, drops: Sequence[float], args: Any, **more: Any
) -> None:
    """All examples once, in their order; the rate falls to a tenth at these shares of the steps."""
    loader = DataLoader(dataset, BATCH, device=args.device)
    schedule = MultiStepLR(optimizer, [int(share * len(loader)) for share in drops])
    fit(net, loader, optimizer, loss, epochs=1, schedule=schedule, **more)
    net.eval()


def learn_watched(
    net: VDSR, clipped: bool, dataset: Dataset, watch: Watch, every: int, args: Any
) -> Curve:
    """By SGD at a high rate with clipped gradients, as in the paper, or by Adam."""
    curve = {0: watch(net)}
    by_sgd, by_adam = sgd(net, RATE), Adam(net.parameters(), ADAM_RATE)
    learn(net, dataset, by_sgd if clipped else by_adam, (0.6, 0.85), args, every=every,
          clip=clipping(by_sgd, THETA) if clipped else None,
          callbacks=[lambda row: curve.update({row["step"]: watch(net)})])
    return sorted(curve.items())


def trial(dataset: Dataset, rate: float, theta: float | None, watch: Watch,
          args: Any) -> dict[str, Any]:
    """A few steps at one rate, clipped or not: the gain then, or None if it blew up."""
    net = vdsr(True, args)
    optimizer = sgd(net, rate)
    loader = DataLoader(dataset, BATCH, device=args.device)
    taken = [0]
    gain: float | None = None
    with warnings.catch_warnings(), suppress(DivergenceError):
        warnings.simplefilter("ignore", RuntimeWarning)  # some are meant to overflow
        fit(net, loader, optimizer, loss, epochs=1, progress=False, every=1,
            clip=clipping(optimizer, theta) if theta else None,
            callbacks=[lambda row: taken.append(row["step"])])
        gain = watch(net)
    return {"rate": rate, "theta": theta, "finite_steps": max(taken), "gain": gain}


def srcnn_of(photos: Images, steps: int, args: Any) -> SRCNN:
    """SRCNN 9-1-5: valid convolutions while it learns, edge pixels repeated when it answers."""
    random.manual_seed(args.seed)
    pairs = super_resolution_patches(photos.values(), (SHOWN,), 33, 14, label=21)
    net = SRCNN("9-1-5", "valid").to(args.device)
    optimizer = Adam(net.parameters(), ADAM_RATE)
    learn(net, shuffled_rounds(pairs, steps * BATCH, args.seed), optimizer, (0.85,), args)
    answering = SRCNN("9-1-5").to(args.device)
    answering.load_state_dict(net.state_dict())
    return answering.eval()


# --- measures ---


def watching(photos: Images) -> Watch:
    """How far a network is above bicubic, in decibels, in the middles of the photographs."""
    crops = {name: middle(image, 144) for name, image in photos.items()}

    def gain(net: Module) -> float:
        report = evaluate(net, crops, SHOWN)
        return report.model.psnr - report.baseline.psnr

    return gain


def middle(image: np.ndarray, size: int) -> np.ndarray:
    """The middle of an image, (..., size, size)."""
    top, left = ((side - size) // 2 for side in image.shape[-2:])
    return image[..., top : top + size, left : left + size]


def measured(net: Module, photos: Images, scales: Sequence[int]) -> dict[str, Report]:
    """By the published protocol, at each scale."""
    return {f"x{scale}": evaluate(net, photos, scale) for scale in scales}


def summary(reports: Mapping[str, Mapping[str, Report]]) -> dict[str, dict[str, Quality]]:
    """The means, by network and scale; bicubic, which is in every report, first."""
    first: dict[str, Quality] = {}
    for each in reports.values():
        first |= {scale: report.baseline for scale, report in each.items()}
    answers = {name: {k: r.model for k, r in each.items()} for name, each in reports.items()}
    return {BICUBIC: dict(sorted(first.items()))} | answers


# --- the papers' settings ---


def paper_vdsr(photos: Images, args: Any) -> tuple[VDSR, Any, dict[str, Any]]:
    """Twenty layers on three scales, eighty epochs, the rate a tenth after every twenty."""
    net = VDSR().to(args.device)
    pairs = super_resolution_patches(photos.values(), SCALES, 41, 41, symmetries=8)
    loader = DataLoader(pairs, 64, shuffle=True, seed=args.seed, device=args.device)
    optimizer = sgd(net, RATE)
    epochs = args.epochs or 80
    drops = [len(loader) * epochs * k // 4 for k in (1, 2, 3)]
    return net, loader, {"optimizer": optimizer, "epochs": epochs,
                         "schedule": MultiStepLR(optimizer, drops),
                         "clip": clipping(optimizer, PAPER_THETA)}


def paper_srcnn(photos: Images, args: Any) -> tuple[SRCNN, Any, dict[str, Any]]:
    """9-1-5 at scale 3: fifteen million steps, as in the authors' files."""
    net = SRCNN("9-1-5", "valid").to(args.device)
    pairs = super_resolution_patches(photos.values(), (SHOWN,), 33, 14, label=21)
    loader = DataLoader(pairs, 128, shuffle=True, seed=args.seed, device=args.device)
    optimizer = SGD(parameter_groups(net), momentum=MOMENTUM)
    return net, loader, {"optimizer": optimizer,
                         "epochs": args.epochs or 15_000_000 // len(loader)}


def paper(args: Any) -> None:
    """Train a published network on a folder of photographs; measure it on another."""
    random.manual_seed(args.seed)
    build = paper_srcnn if args.net == "srcnn" else paper_vdsr
    net, loader, settings = build(read_folder(args.data), args)
    fit(net, loader, loss=loss, out=args.out / args.net, resume=args.resume, **settings)
    path = args.out / f"{args.net}.safetensors"
    save_model(path, net)
    print(f"Saved {path}")
    published([path], (SHOWN,) if args.net == "srcnn" else SCALES, args)


def published(files: Sequence[Path], scales: Sequence[int], args: Any) -> None:
    """Trained networks by the published protocol: each image, then the means."""
    photos = read_folder(args.images) if args.images else photographs("held-out")
    reports = {}
    for file in files:
        net = load_model(file).to(args.device)
        reports[file.name] = measured(net, photos, scales)
        for scale, report in reports[file.name].items():
            print(f"{file.name}, {scale}\n{report}\n")
    found = summary(reports)
    print(comparison(found))
    print(f"Saved {write_metrics(args.out, as_numbers(found))}")


# --- pictures ---

COLOURS = {"VDSR": "#1b6ca8", "no residual": "#c2452d", "VDSR, x2 only": "#4f9d69"}
PLACES = (("astronaut", 40, 150), ("coffee", 150, 250), ("camera", 60, 180))
"""Photographs, and the top left corners of what is shown of them."""
SIDE = 120


def draw_crops(path: Path, nets: Mapping[str, Module], photos: Images) -> bool:
    """Pieces of held-out photographs: bicubic, by the networks, and the truth."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    places = [place for place in PLACES if place[0] in photos]
    figure = Figure(figsize=(14, 3.75 * len(places)), layout="constrained")
    grid = figure.subplots(len(places), len(nets) + 2, squeeze=False)
    for row, (name, top, left) in zip(grid, places, strict=True):
        given, target = pair_of(photos[name], SHOWN)
        top, left = (min(a, side - SIDE) for a, side in zip((top, left), target.shape, strict=True))
        answers = {BICUBIC: given} | {who: restored(net, given) for who, net in nets.items()}
        truth = 255 * shave(target, SHOWN)
        for axes, (who, y) in zip(row, (answers | {"the truth": target}).items(), strict=True):
            whole = finished(y)
            axes.imshow(whole[top : top + SIDE, left : left + SIDE], cmap="gray", vmin=16,
                        vmax=235, interpolation="nearest")
            decibels = psnr(shave(whole, SHOWN), truth, 255)
            axes.set_title(who if y is target else f"{who}: {decibels:.2f} dB")
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(name)
    figure.suptitle(f"Enlarged {SHOWN} times. Decibels are of the whole photograph's luma.")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    return True


def draw_curves(path: Path, curves: Mapping[str, Curve],
                found: Mapping[str, Mapping[str, Quality]]) -> None:
    """What the residual does for learning, and what one network can do for three scales."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    labels = {True: "learns the difference (VDSR)", False: "learns the whole image"}
    for name, (scales, residual, clipped) in NETS.items():
        if scales == SCALES:
            left.plot(*zip(*curves[name], strict=True), "-" if clipped else "--",
                      color=COLOURS["VDSR" if residual else "no residual"],
                      label=labels[residual] + (", clipped SGD" if clipped else ", Adam"))
    left.axhline(0, color="black", linewidth=1, linestyle=":", label=BICUBIC)
    left.set(xlabel="steps", ylabel="dB above bicubic", ylim=(-8, 1.5),
             title=f"Held-out PSNR at x{SHOWN}: same first weights, same batches")
    left.legend(loc="lower right")
    for k, name in enumerate(("VDSR", "VDSR, x2 only")):
        gains = [found[name][f"x{s}"].psnr - found[BICUBIC][f"x{s}"].psnr for s in SCALES]
        label = "VDSR, learnt from x2, x3 and x4" if name == "VDSR" else "VDSR, learnt from x2 only"
        bars = right.bar(np.arange(len(SCALES)) + 0.4 * k - 0.2, gains, 0.38,
                         color=COLOURS[name], label=label)
        right.bar_label(bars, fmt="%+.2f", padding=2)
    right.axhline(0, color="black", linewidth=1)
    right.margins(y=0.15)
    right.set(xticks=range(len(SCALES)), xticklabels=[f"x{s}" for s in SCALES],
              ylabel="dB above bicubic", title="Held-out PSNR by scale")
    right.legend()
    figure.savefig(path, dpi=100)


# --- all of it ---


def first(photos: Images, size: Size, dry: bool) -> Images:
    """As many as the size says; small ones for a dry run."""
    chosen = dict(list(photos.items())[: size.photographs])
    return {k: middle(image, 150) for k, image in chosen.items()} if dry else chosen


def tried(dataset: Subset, size: Size, watch: Watch, args: Any) -> list[dict[str, Any]]:
    """Rates without clipping, and the paper's with it."""
    short = Subset(dataset, np.arange(size.short * BATCH))
    pairs = [(rate, None) for rate in RATES] + [(RATE, THETA)]
    return [trial(short, rate, theta, watch, args) for rate, theta in pairs]


def print_trials(trials: Sequence[Mapping[str, Any]], steps: int) -> None:
    rows = []
    for t in trials:
        result = (f"blew up in step {t['finite_steps'] + 1}" if t["gain"] is None
                  else f"{t['gain']:+.2f} dB")
        rows.append([f"rate {t['rate']:g}, " + (f"clipped to {t['theta']:g} / rate" if t["theta"]
                     else "not clipped"), result])
    print(table([f"VDSR after {steps} steps", "above bicubic"], rows))


def main() -> None:
    parser = arguments(__doc__, "12_superres")
    add_device_argument(parser)
    parser.add_argument("--weights", type=Path, nargs="+", metavar="FILE",
                        help="only measure these networks: .mat of the authors, or .safetensors")
    parser.add_argument("--images", type=Path, metavar="DIR",
                        help="what to measure on, such as Set5 (the held-out photographs)")
    parser.add_argument("--scales", type=int, nargs="+", default=SCALES, metavar="S",
                        help="at which --weights are measured (2 3 4)")
    parser.add_argument("--net", choices=("vdsr", "srcnn"), default="vdsr",
                        help="what --preset paper trains (%(default)s)")
    parser.add_argument("--epochs", type=int, help="of --preset paper (vdsr: 80)")
    add_preset_arguments(parser, "the 91 or 291 training photographs")
    args = parse_with_preset(parser)
    if args.weights:
        return published(args.weights, args.scales, args)
    if args.preset == "paper":
        return paper(args)
    return tiny(args)


def tiny(args: Any) -> None:
    """Minutes."""
    size = DRY if args.dry_run else FULL
    photos, held_out = (first(photographs(part), size, args.dry_run)
                        for part in ("training", "held-out"))
    watch = watching(held_out)
    nets: dict[str, SRCNN | VDSR] = {"SRCNN": srcnn_of(photos, size.srcnn_steps, args)}
    reports, curves = {"SRCNN": measured(nets["SRCNN"], held_out, (SHOWN,))}, {}
    for name, (scales, residual, clipped) in NETS.items():
        pairs = super_resolution_patches(photos.values(), scales, SIZE, SIZE)
        dataset = shuffled_rounds(pairs, size.steps * BATCH, args.seed)
        nets[name] = net = vdsr(residual, args)
        curves[name] = learn_watched(net, clipped, dataset, watch, size.every, args)
        reports[name] = measured(net, held_out, SCALES)
        if name == "VDSR":
            trials = tried(dataset, size, watch, args)
    found = summary(reports)
    print(f"{len(photos)} photographs to learn from, {len(held_out)} held out. VDSR of {DEPTH} "
          f"layers, {WIDTH} wide: {size.steps} steps of {BATCH} patches; SRCNN 9-1-5: "
          f"{size.srcnn_steps}.\n")
    print(comparison(found))
    print()
    print_trials(trials, size.short)
    if draw_crops(args.out / "superres.png", {k: nets[k] for k in ("SRCNN", "VDSR")}, held_out):
        draw_curves(args.out / "curves.png", curves, found)
        print(f"\nDrawn: {args.out / 'superres.png'}, {args.out / 'curves.png'}")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in ("SRCNN", "VDSR"):
        save_model(args.out / f"{name.lower()}.safetensors", nets[name])
    metrics = as_numbers(found) | {"curves": curves, "clipping": trials}
    print(f"Saved {write_metrics(args.out, metrics)}")


if __name__ == "__main__":
    main()
