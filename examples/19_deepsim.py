"""DeePSiM: a loss that sharpens what squared pixels blur, and what it costs.

Where a code leaves two answers open, the one with the least squared error is their mean, which is
blurred. Dosovitskiy & Brox 2016 add two networks: a comparator, in whose features the answer is to
be near, and a discriminator, which is to be fooled. An autoencoder (128 numbers for 32x32 pixels)
and a VAE (16 numbers) learn 2,048 views of 64 generated chairs by pixels, 1,024 steps. From there
each goes on for 256 steps, same batches, by pixels or by the new loss, the published weights
restated for means. What came out on 512 views of 16 other chairs, by seed 0 (all defaults, three
minutes on one core):

                         PSNR, dB   sharpness   feature distance   style told
    AE, pixels             18.88      0.733          0.835            0.576
    AE, DeePSiM            17.65      0.963          0.699            0.658
    without adversary      17.72      0.939          0.702            0.631
    VAE, pixels            18.47      0.696          0.848            0.566
    VAE, DeePSiM           17.59      0.952          0.635            0.719

    drawn from the prior               sharpness    Frechet
    VAE, pixels                          0.759       0.598
    VAE, DeePSiM                         1.056       0.375

Sharpness is the mean slope of grey levels over that of the originals: 1 is as steep as the truth.
The judge of the last two columns is a network of its own: other first weights, and taught the
eight styles, where the comparator was taught which of the 64 chairs it sees. The distance is of
squares, 1 for its mean features; it tells the style of 0.936 of the originals. "Frechet" is the
distance of independent Gaussians in its features, over their variance.

So the claim comes out, for the price it names: a decibel of PSNR, and in exchange edges as steep
as the truth's, reconstructions that are nearer to the chair in a network that had no part in it,
and chairs from the prior that are nearer to real ones. Seed 1 (other chairs, another judge) agrees:
sharpness rises from 0.774 to 1.017 (VAE: 0.647 to 0.919), the distance falls from 0.573 to 0.458
(0.745 to 0.588) and Frechet's from 0.672 to 0.430, for 1.0 and 0.8 dB. The style told rises less,
from 0.561 to 0.619 (0.520 to 0.543).

Less comes out than the paper shows. What the adversary adds to the features is little by seed 0
(sharpness 0.963, without it 0.939), and more by seed 1 (1.017, 0.875; distance 0.458, 0.507). Some
of the steepness is no edge at all but a fine grid, plain in reconstructions.png wherever features
count; the comparator pools, and may hardly see it. (One with average pooling sees it less: in a
trial pictures ended in noise, 15.3 dB.) Thin legs that pixels lost do not come back, and colours
get worse. The pausing rule never had to act: both networks took all of the 256 steps.

Samples from the prior are chairs only since the codes are as wide as the prior. By usual first
weights they begin far narrower, and are hardly wider after 1,000 steps (variances of 0.06 to 0.26):
the KL pushes each layer by itself, and the cheap way out, wider codes and a less sensitive
generator, is a step of two at once. So codes begin ten times as wide here, and the KL weighs as if
pixels had a Gaussian deviation of 99 grey levels, three times what they have: a beta of ten. With
usual weights and a deviation of 22, samples were black blots.

Ours: the small networks, the common start (from random weights, 128 steps of the loss ended in
noise in a trial), learning rates, the weight of the KL, whose published one we did not find; and
the scale of the comparator's features, set so that they weigh what pixels do.

``--preset paper --data DIR --weights FILE`` learns to invert CaffeNet's fc6 at 227 pixels, with the
published networks, weights, rates and order of steps. FILE holds CaffeNet's weights under Caffe's
names (conv1.weight, ..., fc8.bias). It has been run for three steps on two photographs only.

Writes tables, metrics.json, reconstructions.png and samples.png.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

import minidl.functional as F
from minidl import Tensor, nn, no_grad, random
from minidl.data import ArrayDataset, DataLoader, chair_images
from minidl.data.transforms import RandomCrop
from minidl.files.serialize import load
from minidl.lecture.flags import (
    add_device_argument,
    add_preset_arguments,
    arguments,
    parse_with_preset,
)
from minidl.lecture.pictures import image_grid, save_png, show
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table
from minidl.models import deepsim
from minidl.models.deepsim import to_bytes, to_rgb
from minidl.models.vgg import VGG
from minidl.nn.conversion import beside
from minidl.optim import Adam, CosineAnnealingLR, MultiStepLR
from minidl.tasks.perceptual import Photographs, adversarial_loss, deepsim_loss, restated
from minidl.tasks.perceptual.deepsim import GENERATED, PUBLISHED, REAL, Weights
from minidl.train import fit

BATCH, FIRST_RATE, RATE, CRITIC_RATE = 16, 3e-3, 1e-3, 1e-3
WIDTH, CRITIC_WIDTH = 1 / 8, 1 / 8
CODE, LATENT, KL = 8, 16, 1.0
"""Channels of the autoencoder's 4x4 code; numbers of the VAE's, and the weight of its KL."""
SPREAD = 10.0
"""How much wider than usual the VAE's codes are at first, and its generator less sensitive."""
LAYER = "pool3"
"""Of the comparator and of the judge."""
UNIT = 64.0
"""The small networks are given, and put out, bytes minus means in units of so many."""
WEIGHTS = restated()
"""Of means of squares, per pixel and per feature as published."""
PIXELS = Weights(feature=0, adversarial=0, image=WEIGHTS.image)
NETS = {
    "AE, pixels": ("AE", PIXELS),
    "AE, DeePSiM": ("AE", WEIGHTS),
    "without adversary": ("AE", WEIGHTS._replace(adversarial=0)),
    "VAE, pixels": ("VAE", PIXELS),
    "VAE, DeePSiM": ("VAE", WEIGHTS),
}
"""Name: what it is, and what each of the three losses counts."""


class Size(NamedTuple):
    """How much of everything."""

    chairs: int
    held_out: int
    first: int
    """Epochs on pixels, from which all networks of a kind start."""
    epochs: int
    """Of each network then."""
    judge_epochs: int


FULL = Size(chairs=64, held_out=16, first=8, epochs=2, judge_epochs=5)
DRY = Size(chairs=4, held_out=4, first=1, epochs=1, judge_epochs=1)
AZIMUTHS, STYLES = 16, 8


class Chairs(NamedTuple):
    """Images (N, 3, 32, 32) in [0, 1], which chair, and which of the eight styles it is."""

    images: np.ndarray
    chair: np.ndarray
    style: np.ndarray


def drawn(first: int, count: int, seed: int) -> Chairs:
    """Chairs ``first`` to ``first + count``, each from 32 sides."""
    print(f"Drawing {32 * (first + count)} pictures of chairs.")
    images, _, chair, _ = chair_images(first + count, 32, seed, AZIMUTHS, progress=True).arrays
    rows = chair >= first
    return Chairs(images[rows], chair[rows], chair[rows] % STYLES)


# --- the networks that judge ---


def classifier(images: np.ndarray, labels: np.ndarray, seed: int, epochs: int, device: str) -> VGG:
    """A small VGG that has learned these labels."""
    random.manual_seed(seed)
    net = VGG((1, 1, 1), True, int(labels.max()) + 1, width=8, hidden=64, dropout=0.0).to(device)
    loader = DataLoader(ArrayDataset(images, labels), 32, True, True, seed=seed, device=device)
    fit(net, loader, Adam(net.parameters(), lr=2e-3),
        lambda net, batch: F.cross_entropy(net(seen(batch[0])), batch[1]),
        epochs=epochs)
    return net.eval()


def seen(x: Any) -> Tensor:
    """RGB in [0, 1] as the small networks want it."""
    return to_bytes(x) / UNIT


class Scaled:
    """A comparator whose features are scaled to weigh as much as pixels do.

    An answer that is the mean image, and one whose features are the mean features, then cost the
    same under WEIGHTS. It replaces the unknown scale of CaffeNet's features.
    """

    def __init__(self, comparator: deepsim.Comparator, images: np.ndarray):
        self.comparator, self.factor = comparator, 1.0
        with no_grad():
            x = to_bytes(beside(comparator.network, images))
            spread = [float(((y - y.mean(0)) ** 2).mean().item()) for y in (x, self(x))]
        self.factor = float(np.sqrt(WEIGHTS.image * spread[0] / (WEIGHTS.feature * spread[1])))

    def __call__(self, y: Tensor) -> Tensor:
        return self.comparator(y / UNIT) * self.factor


# --- training: two networks, two optimisers ---


class Opponents(nn.Module):
    """What draws, and what is to tell drawings from images."""

    def __init__(self, net: nn.Module, critic: nn.Module):
        super().__init__()
        self.net, self.critic = net, critic


class Turns:
    """Adam for either network, and the rule that says whose turn it is: an optimiser for ``fit``.

    Parameters
    ----------
    opponents : Opponents
    rate, critic_rate : float
        Learning rates.
    """

    def __init__(self, opponents: Opponents, rate: float, critic_rate: float):
        self.rule, self.errors = deepsim.PauseRule(), (1.0, 1.0, 1.0)
        self.taken = {"net": 0, "critic": 0}
        self.optimizers = {
            "net": Adam(opponents.net.parameters(), lr=rate),
            "critic": Adam(opponents.critic.parameters(), lr=critic_rate, weight_decay=4e-4),
        }

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of both, for a schedule."""
        return [group for o in self.optimizers.values() for group in o.param_groups]

    def zero_grad(self) -> None:
        """Forget the gradients of both."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    def take(self, who: str) -> None:
        """The step of one."""
        self.optimizers[who].step()
        self.taken[who] += 1

    def step(self) -> None:
        """The drawing network's step, unless it pauses; then the rule says who is next."""
        if self.rule.generator:
            self.take("net")
        self.rule.update(*self.errors)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return {"rule": [self.rule.discriminator, self.rule.generator],
                "taken": dict(self.taken),
                **{k: o.state_dict() for k, o in self.optimizers.items()}}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from there."""
        self.rule.discriminator, self.rule.generator = saved["rule"]
        self.taken = dict(saved["taken"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(saved[name])


class Trainer(NamedTuple):
    """The loss of a step; the critic takes its own within it, first, as in the release."""

    draw: Callable[[Any, Tensor], tuple[Tensor, Any]]
    """(network, images) -> what it makes of them, and a KL in nats, or 0."""
    compare: Callable[[Tensor], Tensor]
    turns: Turns
    weights: Weights
    """A network whose weight is 0 is not asked, and a critic not trained."""
    reduction: str = "mean"

    def loss(self, opponents: Opponents, batch: tuple[Tensor, ...]) -> Tensor:
        """Of RGB in [0, 1]; for ``fit``."""
        x = to_bytes(batch[0])
        y, kl = self.draw(opponents.net, x)
        of_x = of_y = x
        logits = beside(opponents, np.zeros((len(x), 2), np.float32))
        if self.weights.feature:
            with no_grad():
                of_x = self.compare(x)
            of_y = self.compare(y)
        if self.weights.adversarial:
            errors = self.taught(opponents.critic, x, y.detach())
            # Gradients pass through the critic to the drawing, and leave its weights alone.
            opponents.critic.requires_grad_(False)
            logits = opponents.critic(y)
            opponents.critic.requires_grad_(True)
            self.turns.errors = (*errors, adversarial_loss(logits.detach(), REAL).item())
        found = deepsim_loss(y, x, of_y, of_x, logits, self.weights, self.reduction)
        return found.total + KL * kl

    def taught(self, critic: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
        """The critic's errors on images and on drawings, from which it learns unless it pauses."""
        real = adversarial_loss(critic(x), REAL)
        generated = adversarial_loss(critic(y), GENERATED)
        if self.turns.rule.discriminator:
            (real + generated).backward()
            self.turns.take("critic")
        return real.item(), generated.item()


def draw(net: Any, x: Tensor) -> tuple[Tensor, Any]:
    """An autoencoder's answer; or a VAE's, from a code drawn for each image, and the mean KL."""
    answer = net(x / UNIT)
    y, kl = (answer[0], answer[1].mean()) if isinstance(answer, tuple) else (answer, 0.0)
    return y * UNIT, kl


def trained(kind: str, weights: Weights, images: np.ndarray, compare: Any, epochs: int, args: Any,
            start: Any = None) -> tuple[Any, Turns]:
    """An autoencoder or a VAE, from random weights or a start's; all see the same batches."""
    random.manual_seed(args.seed)
    if kind == "AE":
        net: nn.Module = deepsim.DeepsimAutoencoder(32, CODE, WIDTH)
    else:
        net = deepsim.small_vae(LATENT, 32, WIDTH)
        # Codes begin far narrower than the prior, and the gradient of the KL, which sees one layer
        # at a time, widens them slowly: samples from the prior would be far from all codes.
        weights_of = dict(net.named_parameters())
        weights_of["encoder.7.weight"].data[:LATENT] *= SPREAD
        weights_of["generator.head.0.weight"].data /= SPREAD
    critic = deepsim.Discriminator(image=32, width=CRITIC_WIDTH, stride=1)
    if start is not None:
        net.load_state_dict(start)
    opponents = Opponents(net, critic).to(args.device)
    turns = Turns(opponents, FIRST_RATE if start is None else RATE, CRITIC_RATE)
    trainer = Trainer(draw, compare, turns, weights)
    loader = DataLoader(ArrayDataset(images), BATCH, True, True, seed=args.seed, device=args.device)
    fit(opponents, loader, turns, trainer.loss, epochs=epochs,
        schedule=CosineAnnealingLR(cast(Any, turns), epochs * len(loader)))
    return net.eval(), turns


# --- measures ---


def reconstructed(net: Any, images: np.ndarray) -> np.ndarray:
    """What a network makes of images, RGB in [0, 1]."""
    with no_grad():
        parts = [draw(net, to_bytes(beside(net, images[i : i + 128])))[0]
                 for i in range(0, len(images), 128)]
        return np.concatenate([to_rgb(y).numpy() for y in parts])


def answers(judge: VGG, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The judge's features (N, F), and the style that it names (N,)."""
    with no_grad():
        x = seen(beside(judge, images))
        return F.flatten(judge.taps(x, [LAYER])[LAYER], 1).numpy(), judge(x).numpy().argmax(1)


def steepness(images: np.ndarray) -> float:
    """The mean gradient of grey levels, from pixel to pixel."""
    grey = images.mean(1)
    down, across = np.diff(grey, axis=1)[:, :, :-1], np.diff(grey, axis=2)[:, :-1]
    return float(np.hypot(down, across).mean())


def measured(judge: VGG, drawings: np.ndarray, chairs: Chairs) -> dict[str, float]:
    """How good reconstructions are, in pixels and otherwise."""
    truth, _ = answers(judge, chairs.images)
    features, named = answers(judge, drawings)
    spread = ((truth - truth.mean(0)) ** 2).sum()
    return {
        "psnr": float(-10 * np.log10(((drawings - chairs.images) ** 2).mean())),
        "sharpness": steepness(drawings) / steepness(chairs.images),
        "feature_distance": float(((features - truth) ** 2).sum() / spread),
        "style_told": float((named == chairs.style).mean()),
    }


def sampled(judge: VGG, net: deepsim.DeepsimVAE, chairs: Chairs, seed: int
            ) -> tuple[np.ndarray, dict[str, float]]:
    """As many images from the prior as there are held-out ones, and how far off they are.

    In the judge's features: the Frechet distance of two Gaussians of independent features, in
    units of the spread of the held-out images.
    """
    random.manual_seed(seed + 2)
    with no_grad():
        drawings = to_rgb(net.sample(len(chairs.images)) * UNIT).numpy()
    (truth, _), (features, _) = answers(judge, chairs.images), answers(judge, drawings)
    gaps = [((of(features, 0) - of(truth, 0)) ** 2).sum() for of in (np.mean, np.std)]
    return drawings, {
        "sharpness": steepness(drawings) / steepness(chairs.images),
        "frechet": float(sum(gaps) / truth.var(0).sum()),
    }


# --- the paper's setting ---


class Crops(Photographs):
    """227 pixels a side, of 256."""

    def draw(self, i: int, rng: np.random.Generator) -> tuple[np.ndarray]:
        return (RandomCrop(227)(super().draw(i, rng)[0], rng),)


def paper(args: Any) -> None:
    """The inversion of CaffeNet's fc6: a million steps of batches of 64."""
    random.manual_seed(args.seed)
    encoder = deepsim.CaffeNet().to(args.device)
    encoder.layers.load_state_dict(load(args.weights))
    compare, code = deepsim.Comparator(encoder, "pool5"), deepsim.Comparator(encoder, "relu6")

    def inverted(net: nn.Module, x: Tensor) -> tuple[Tensor, Any]:
        with no_grad():
            f = code(x)
        return net(f), 0.0

    opponents = Opponents(deepsim.Generator(), deepsim.Discriminator()).to(args.device)
    turns: Any = Turns(opponents, 2e-4, 2e-4)
    halved = MultiStepLR(turns, (300_000, 500_000, 700_000, 900_000, 1_100_000), 0.5)
    trainer = Trainer(inverted, compare, turns, PUBLISHED, "sum")
    photos = Crops(args.data)
    loader = DataLoader(photos, args.batch_size, True, workers=8, seed=args.seed,
                        device=args.device)
    fit(opponents, loader, turns, trainer.loss, epochs=-(-args.steps // len(loader)),
        schedule=halved, out=args.out / "fc6", checkpoint_every=5000, every=100,
        resume=args.resume)
    images = np.stack([photos[i][0] for i in range(min(8, len(photos)))])
    with no_grad():
        y = to_rgb(inverted(opponents.eval().net, to_bytes(beside(opponents, images)))[0]).numpy()
    grid = image_grid(np.concatenate([images, y]), len(y))
    print(f"Steps: {turns.taken}. Drawn: {save_png(args.out / 'inversions.png', grid)}")


# --- pictures ---


def draw_rows(path: Path, rows: Mapping[str, np.ndarray], title: str) -> bool:
    """A row of twelve images for each name."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(15, 0.6 + 1.12 * len(rows)), layout="constrained")
    for axes, (name, images) in zip(figure.subplots(len(rows), 12), rows.items(), strict=True):
        for panel, image in zip(axes, images, strict=False):
            show(panel, image)
        axes[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=12)
    figure.suptitle(title, fontsize=12)
    figure.savefig(path, dpi=100)
    return True


def main() -> None:
    parser = arguments(__doc__, "19_deepsim")
    add_device_argument(parser)
    parser.add_argument("--epochs", type=int, help="of each network in the table")
    parser.add_argument("--weights", type=Path, help="for --preset paper: CaffeNet's")
    parser.add_argument("--steps", type=int, default=1_000_000, help="the paper's")
    parser.add_argument("--batch-size", type=int, default=64, help="the paper's")
    add_preset_arguments(parser, "photographs, such as ImageNet's")
    args = parse_with_preset(parser)
    if args.preset == "paper":
        if args.weights is None:
            parser.error("--preset paper needs --weights FILE: none come with minidl")
        return paper(args)
    size = DRY if args.dry_run else FULL
    learnt = drawn(0, size.chairs, args.seed)
    held_out = drawn(size.chairs, size.held_out, args.seed)

    comparator = classifier(learnt.images, learnt.chair, args.seed, size.judge_epochs, args.device)
    judge = classifier(learnt.images, learnt.style, args.seed + 1, size.judge_epochs, args.device)
    compare = Scaled(deepsim.Comparator(comparator, LAYER), learnt.images[::8])
    _, named = answers(judge, held_out.images)
    metrics: dict[str, Any] = {"originals": {"style_told": float((named == held_out.style).mean())}}
    shown = slice(AZIMUTHS // 4, None, len(held_out.images) // 12 + 1)
    rows, samples = {"originals": held_out.images[shown]}, {"originals": held_out.images[shown]}
    starts = {kind: trained(kind, PIXELS, learnt.images, compare, size.first, args)[0].state_dict()
              for kind in ("AE", "VAE")}
    epochs = args.epochs or size.epochs
    for name, (kind, weights) in NETS.items():
        net, turns = trained(kind, weights, learnt.images, compare, epochs, args, starts[kind])
        drawings = reconstructed(net, held_out.images)
        rows[name] = drawings[shown]
        metrics[name] = measured(judge, drawings, held_out) | turns.taken
        if kind == "VAE":
            drawings, found = sampled(judge, net, held_out, args.seed)
            samples[name] = drawings[:12]
            metrics[name]["samples"] = found
    print(f"{len(learnt.images):,} images to learn from, {len(held_out.images)} held-out ones.")
    report(metrics)
    print(f"Saved {write_metrics(args.out, metrics)}")
    if draw_rows(args.out / "reconstructions.png", rows, "Chairs that no network has seen"):
        draw_rows(args.out / "samples.png", samples, "Drawn from codes of the prior")
        print(f"Drawn: {args.out / 'reconstructions.png'}, {args.out / 'samples.png'}")


def report(metrics: Mapping[str, Any]) -> None:
    """Both tables."""
    told = metrics["originals"]["style_told"]
    print(f"The judge tells the style of {told:.3f} of the originals.\n")
    head = ["", "PSNR, dB", "sharpness", "feature distance", "style told", "steps: net", "critic"]
    print(table(head, [[name, *(v if isinstance(v, float) else str(v)
                                for k, v in metrics[name].items() if k != "samples")]
                       for name in NETS]))
    print("\nImages from the prior")
    rows = [[name, *m["samples"].values()] for name, m in metrics.items() if "samples" in m]
    print(table(["", "sharpness", "Frechet"], rows))


if __name__ == "__main__":
    main()
