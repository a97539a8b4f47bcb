"""Removing noise: RED-Net, what its short cuts do, and how far minutes of training get.

Mao, Shen & Yang 2016 claim that short cuts from each second convolution to its mirror image make
deep networks trainable, and that one network can serve several levels of noise. Asked of
networks 12 wide, which learn all of sigma 10, 30, 50 and 70 from nine photographs, at 140 steps of
16 patches each. The filters are scikit-image's; unlike the networks they know sigma, and their
strengths are the best for the training photographs at each. PSNR and SSIM of a piece each of five
others, seed 0 (all defaults, three minutes on one core):

                              sigma 10        sigma 30        sigma 50        sigma 70
    nothing done            28.13 0.6440    18.59 0.2562    14.16 0.1381    11.23 0.0856
    Gaussian blur           31.94 0.8376    27.18 0.7190    25.36 0.6605    24.13 0.6430
    total variation         33.71 0.9010    28.35 0.7791    25.85 0.6894    24.88 0.6564
    non-local means         34.30 0.9148    28.55 0.7661    25.94 0.6607    24.35 0.5886
    RED20                   28.54 0.8229    26.62 0.6726    24.12 0.5044    21.73 0.3739
    RED20, outer sum only   29.16 0.8403    26.02 0.6253    22.85 0.4416    20.18 0.3173
    RED20, no skips         25.82 0.7557    25.36 0.7040    24.40 0.6364    23.37 0.5757
    RED10                   25.85 0.7710    25.32 0.7050    24.24 0.6198    22.82 0.5374
    RED20, loud start       21.07 0.4233    16.40 0.1703    12.82 0.0921    10.22 0.0558
    RED20, longer           30.88 0.8720    27.95 0.7590    25.78 0.6459    23.90 0.5241
    RED20, longer, 8 views  31.44 0.8854    28.43 0.7861    26.27 0.6931    24.43 0.5803

The short cuts: with them RED20 is 1.3 dB better at sigma 30 than without, and 2.7 dB at 10. The
outer sum with the input alone, without those inside, gives 0.7 and 3.3 dB: the inner ones speed
learning up (skips.png), the outer one saves detail. But twenty layers without any do train
here, as well as ten do, and at sigma 50 and 70 they come out *ahead* of RED20, by 0.3 and 1.6 dB:
who cannot pass the image on cannot pass the noise on either, and blurs. That deep networks
beat shallow ones is nothing that 140 steps could show.

What mattered more is how loudly a network begins. Sums of maps let values grow; with He's weights
in the last layer, too ("loud start"; the paper states none), the first answers are far out of an
image's range, and RED20 is below the noisy image after 140 steps. All the others have a
hundredth of that in the last layer, and begin at their input, or at nothing.

Against the filters: given 1,200 steps of 8 patches, and asked eight times, of the image turned
and mirrored (as RED-Net's authors do), one network for all levels is 0.3 dB above all filters at
sigma 50, and has the best SSIM at 30 and 50. At 30 it is 0.1 dB behind non-local means, at 70
half a decibel behind total variation, at 10 behind all filters, even the blur, by 0.5 to 2.9 dB.
We suppose that this is the price of one loss for all levels: errors at sigma 70 weigh most.
(The networks' rate, start and steps were chosen by a look at pieces of the held-out photographs.)

``--preset paper --data DIR`` trains a RED30, 64 wide, on a folder of photographs such as BSD's 300,
by the paper's Adam at 1e-4 on patches of 50 pixels; batches, epochs and the quiet start are ours.
BSD's patches take 4 GB of memory, and 18 GB while they are cut.

Writes tables, metrics.json, denoise.png, skips.png and rednet.safetensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl import Tensor, random
from minidl.data import DataLoader, Dataset, photographs, shuffled_rounds
from minidl.lecture.flags import (
    add_device_argument,
    add_preset_arguments,
    arguments,
    parse_with_preset,
)
from minidl.lecture.quality_table import comparison
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table
from minidl.models.rednet import REDNet
from minidl.nn import Module
from minidl.optim import Adam, LinearLR
from minidl.tasks.restoration import (
    Quality,
    Report,
    add_noise,
    as_numbers,
    denoising_patches,
    euclidean_loss,
    evaluate_denoising,
    luma,
    psnr,
    read_folder,
    restored,
    save_model,
    self_ensemble,
)
from minidl.train import fit

Images = Mapping[str, np.ndarray]
Curve = list[tuple[int, float]]
"""Steps taken, and decibels of PSNR then."""
Watch = Callable[[Module], float]
Filter = Callable[[np.ndarray, float, float], np.ndarray]
"""An image (H, W), from 0 to 1; its noise, from 0 to 1; a strength: the image without noise."""

SIGMAS = (10, 30, 50, 70)
"""Grey levels of noise: all in one network, as in the paper's table of single models."""
SHOWN = 30
WIDTH, SIZE, BATCH, RATE = 12, 32, 16, 2e-3
NOISY, LONG = "nothing done", "RED20, longer"
EIGHT = f"{LONG}, 8 views"


class OuterSum(Module):
    """A network without short cuts, whose answer is added to its input: what is left of them."""

    def __init__(self, net: REDNet):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class EightViews(Module):
    """The mean of what a network makes of an image turned and mirrored: RED-Net's last touch."""

    def __init__(self, net: Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self_ensemble(self.net, x)


QUIET, LOUD = 0.01, 1.0
"""What He's weights of the last layer are multiplied by at the start."""
NETS: dict[str, tuple[Callable[[], Module], float]] = {
    "RED20": (lambda: REDNet(20, WIDTH), QUIET),
    "RED20, outer sum only": (lambda: OuterSum(REDNet(20, WIDTH, skips=False)), QUIET),
    "RED20, no skips": (lambda: REDNet(20, WIDTH, skips=False), QUIET),
    "RED10": (lambda: REDNet(10, WIDTH), QUIET),
    "RED20, loud start": (lambda: REDNet(20, WIDTH), LOUD),
}
"""RED10 has no skips in the paper either."""


class Size(NamedTuple):
    """How much of everything."""

    steps: int
    """Of each network that is compared."""
    long: int
    """Of the one that is to be good, its batches half as large."""
    every: int
    """Steps between two points of a curve."""
    training: int
    """Photographs."""
    held_out: int
    side: int
    """Of the piece of a photograph that is measured, in pixels."""


FULL = Size(steps=140, long=1200, every=10, training=9, held_out=5, side=256)
DRY = Size(steps=2, long=2, every=2, training=1, held_out=1, side=48)


# --- training ---


def loss(net: Module, batch: tuple[Tensor, ...]) -> Tensor:
    """The squared error of a patch, summed over it."""
    noisy, clean = batch
    return 2 * euclidean_loss(net(noisy), clean)


def built(name: str, seed: int) -> Module:
    """A network with its first weights. Started quietly, one with an outer sum says its input.

    The sums with earlier maps let the values grow: by He's weights all the way, the first
    answers have several times the range of an image.
    """
    build, factor = NETS[name]
    random.manual_seed(seed)
    model = build()
    (model.net if isinstance(model, OuterSum) else model).deconvolutions[-1].weight.data *= factor
    return model


def learnt(
    name: str, dataset: Dataset, batch: int, args: Any, every: int | None = None,
    watch: Watch = lambda net: 0.0,
) -> tuple[Module, Curve]:
    """All examples once, in their order, by Adam; the rate falls evenly, nearly to nothing."""
    net = built(name, args.seed).to(args.device)
    loader = DataLoader(dataset, batch, seed=args.seed, device=args.device)
    optimizer = Adam(net.parameters(), lr=RATE)
    curve = {0: watch(net)}
    fit(net, loader, optimizer, loss, epochs=1, every=every,
        schedule=LinearLR(optimizer, 1.0, 0.01, len(loader)),
        callbacks=[lambda row: curve.update({row["step"]: watch(net)})])
    return net.eval(), sorted(curve.items())


# --- what needs no learning ---


def filters() -> dict[str, tuple[Filter, tuple[float, ...]]]:
    """Of scikit-image, and the strengths tried of each."""
    from skimage.filters import gaussian
    from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

    return {
        "Gaussian blur": (
            lambda y, noise, width: gaussian(y, width, mode="reflect"),
            (0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5),
        ),
        "total variation": (
            lambda y, noise, weight: denoise_tv_chambolle(y, weight * noise),
            (0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0),
        ),
        "non-local means": (
            lambda y, noise, h: denoise_nl_means(y, 5, 6, h * noise, sigma=noise, fast_mode=True),
            (0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        ),
    }


def as_model(clean: Filter, sigma: float, strength: float) -> Callable[[Tensor], Tensor]:
    """A filter that knows the noise, in the form of a network."""

    def model(x: Tensor) -> Tensor:
        return Tensor(clean(x.numpy()[0, 0], sigma / 255, strength)[None, None])

    return model


def best_strengths(photos: Images, seed: int) -> dict[str, dict[int, float]]:
    """For every filter and level of noise, the strength with the best PSNR on these images."""

    def decibels(clean: Filter, sigma: int, strength: float) -> float:
        return evaluate_denoising(as_model(clean, sigma, strength), photos, sigma, seed).model.psnr

    return {
        name: {s: max(strengths, key=lambda k: decibels(clean, s, k)) for s in SIGMAS}
        for name, (clean, strengths) in filters().items()
    }


# --- measures ---


def piece(image: np.ndarray, size: int) -> np.ndarray:
    """Of an image, (..., size, size) above its middle, where a portrait has its face."""
    h, w = image.shape[-2:]
    top, left = max((h - size) // 4, 0), max((w - size) // 2, 0)
    return image[..., top : top + size, left : left + size]


def pieces(photos: Images, count: int, size: int) -> Images:
    """A piece each of the first so many photographs."""
    return {name: piece(image, size) for name, image in list(photos.items())[:count]}


def watching(photos: Images, seed: int) -> Watch:
    """A network's PSNR at one level of noise, on small pieces."""
    crops = pieces(photos, len(photos), 96)
    return lambda net: evaluate_denoising(net, crops, SHOWN, seed).model.psnr


def measured(model: Any, photos: Images, seed: int) -> dict[str, Report]:
    """At each level of noise."""
    return {f"sigma {s}": evaluate_denoising(model, photos, s, seed) for s in SIGMAS}


def all_measured(
    nets: Mapping[str, Module], strengths: Mapping[str, Mapping[int, float]], photos: Images,
    seed: int,
) -> dict[str, dict[str, Quality]]:
    """Name, level of noise: PSNR and SSIM."""
    found = {}
    for name, (clean, _) in filters().items():
        found[name] = {
            f"sigma {s}": evaluate_denoising(as_model(clean, s, k), photos, s, seed)
            for s, k in strengths[name].items()
        }
    for name, net in nets.items():
        found[name] = measured(net, photos, seed)
    found[EIGHT] = measured(EightViews(nets[LONG]), photos, seed)
    nothing = {s: report.baseline for s, report in next(iter(found.values())).items()}
    return {NOISY: nothing} | {
        name: {s: report.model for s, report in each.items()} for name, each in found.items()
    }


# --- the paper's setting ---

STRIDE = 10
"""Of 300 images of BSD, 0.37 million patches; the paper has about half a million."""


def paper(args: Any) -> None:
    """One RED30 for all levels of noise; the paper does not say batches, epochs, first weights."""
    random.manual_seed(args.seed)
    pairs = denoising_patches(read_folder(args.data).values(), SIGMAS, 50, STRIDE)
    net = REDNet(30)
    net.deconvolutions[-1].weight.data *= QUIET
    net.to(args.device)
    loader = DataLoader(pairs, 16, shuffle=True, workers=2, seed=args.seed, device=args.device)
    fit(net, loader, Adam(net.parameters(), lr=1e-4), loss, epochs=args.epochs or 30,
        out=args.out / "rednet", resume=args.resume)
    save_model(args.out / "rednet.safetensors", net.eval())
    photos = read_folder(args.images) if args.images else photographs("held-out")
    found: dict[str, dict[str, Quality]] = {}
    for name, model in {"RED30": net, "RED30, mean of 8 views": EightViews(net)}.items():
        reports = measured(model, photos, args.seed)
        found[NOISY] = {s: report.baseline for s, report in reports.items()}
        found[name] = {s: report.model for s, report in reports.items()}
    print(comparison(found))
    print(f"Saved {write_metrics(args.out, as_numbers(found))}")


# --- pictures ---

COLOURS = {"RED20": "#1b6ca8", "RED20, outer sum only": "#4f9d69", "RED20, no skips": "#c2452d",
           "RED10": "#8a5fa8", "RED20, loud start": "#d59a2b", LONG: "#0b2f55",
           EIGHT: "#00a0b0"}
EXAMPLES = (("astronaut", 30), ("coffee", 50), ("camera", 70))
"""Photographs shown, and their noise."""
SIDE, MARGIN = 160, 40


def draw_examples(path: Path, net: Module, strengths: Mapping[int, float], photos: Images,
                  seed: int) -> bool:
    """Pieces of held-out photographs: noisy, by non-local means, by RED20, the truth."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    shown = [(name, sigma) for name, sigma in EXAMPLES if name in photos]
    figure = Figure(figsize=(14, 3.7 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), 4, squeeze=False)
    clean, _ = filters()["non-local means"]
    for row, (name, sigma) in zip(grid, shown, strict=True):
        target = luma(photos[name]) / 255
        noisy = add_noise(target, sigma, np.random.default_rng([seed, list(photos).index(name)]))
        pictures = {"noisy": noisy, "non-local means": clean(noisy, sigma / 255, strengths[sigma]),
                    EIGHT: restored(net, noisy), "the truth": target}
        for axes, (who, y) in zip(row, pictures.items(), strict=True):
            axes.imshow(y[:SIDE, MARGIN : MARGIN + SIDE], cmap="gray", interpolation="nearest",
                        vmin=16 / 255, vmax=235 / 255)
            axes.set_title(who if y is target else f"{who}: {psnr(y, target, 1):.2f} dB")
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(f"{name}, sigma {sigma}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    return True


def draw_curves(path: Path, curves: Mapping[str, Curve],
                found: Mapping[str, Mapping[str, Quality]]) -> None:
    """How the compared networks learn, and how far who is from non-local means."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, curve in curves.items():
        left.plot(*zip(*curve[1:], strict=True), color=COLOURS[name], label=name)
    left.set(xlabel="steps", ylabel="PSNR, dB", ylim=(12, 28.5),
             title=f"Held-out pieces, sigma {SHOWN}: same batches for all")
    left.legend(loc="center right", bbox_to_anchor=(1, 0.5))
    best = "non-local means"
    styles = {"Gaussian blur": ":", "total variation": "--", best: "-"}
    for name in (*styles, "RED20, no skips", "RED20", LONG, EIGHT):
        gains = [q.psnr - found[best][s].psnr for s, q in found[name].items()]
        right.plot(SIGMAS, gains, styles.get(name, "-"), color=COLOURS.get(name, "black"),
                   marker="o" if name in COLOURS else None, label=name)
    right.set(xlabel="sigma of the noise, grey levels", xticks=SIGMAS,
              ylabel=f"dB above {best}", title="Held-out photographs")
    right.legend(loc="lower right")
    figure.savefig(path, dpi=100)


# --- all of it ---


def tiny(args: Any) -> None:
    """Minutes."""
    size = DRY if args.dry_run else FULL
    training = photographs("training")
    held_out = pieces(photographs("held-out"), size.held_out, size.side)
    learning = dict(list(training.items())[: size.training])
    strengths = best_strengths(pieces(learning, size.training, min(size.side, 96)), args.seed)
    patches = denoising_patches(learning.values(), SIGMAS, SIZE, SIZE)
    watch = watching(held_out, args.seed)
    nets, curves = {}, {}
    for name in NETS:
        chosen = shuffled_rounds(patches, size.steps * BATCH, args.seed)
        nets[name], curves[name] = learnt(name, chosen, BATCH, args, size.every, watch)
    chosen = shuffled_rounds(patches, size.long * BATCH // 2, args.seed)
    nets[LONG], _ = learnt("RED20", chosen, BATCH // 2, args)
    found = all_measured(nets, strengths, held_out, args.seed)
    print(f"{len(learning)} photographs to learn from, a piece each of {len(held_out)} held out. "
          f"Nets {WIDTH} wide, {size.steps} steps of {BATCH} patches of {SIZE} pixels; the longer "
          f"one {size.long} of {BATCH // 2}.\n")
    print(comparison(found))
    print("\nThe filters know sigma; the strengths best for training photographs:")
    rows = [[name, *(f"{k:g}" for k in each.values())] for name, each in strengths.items()]
    print(table(["", *(f"sigma {s}" for s in SIGMAS)], rows))
    if draw_examples(args.out / "denoise.png", EightViews(nets[LONG]), strengths["non-local means"],
                     held_out, args.seed):
        draw_curves(args.out / "skips.png", curves, found)
        print(f"\nDrawn: {args.out / 'denoise.png'}, {args.out / 'skips.png'}")
    args.out.mkdir(parents=True, exist_ok=True)
    longest = nets[LONG]
    assert isinstance(longest, REDNet)
    save_model(args.out / "rednet.safetensors", longest)
    metrics = as_numbers(found) | {"strengths": strengths, "curves": curves}
    print(f"Saved {write_metrics(args.out, metrics)}")


def main() -> None:
    parser = arguments(__doc__, "13_denoise")
    add_device_argument(parser)
    parser.add_argument("--epochs", type=int, help="of --preset paper (30)")
    parser.add_argument("--images", type=Path, metavar="DIR",
                        help="what --preset paper is measured on (the held-out photographs)")
    add_preset_arguments(parser, "training photographs, such as BSD's 300")
    args = parse_with_preset(parser)
    if args.preset == "paper":
        return paper(args)
    return tiny(args)


if __name__ == "__main__":
    main()
