"""Pre-training: what 4,000 slices without a diagnosis are worth to a few with one.

Step 1: an autoencoder learns to rebuild CT slices from a code of 128 numbers. Step 2: its decoder
is thrown away, a head is put on the encoder, and both learn from n labelled slices, the encoder
at a tenth of the head's rate ("tuned") or not at all ("frozen"). Asked is whether this beats the
same network from random weights: same head, same batches, same 200 steps. The slices are drawn by
``ct_slices``: healthy, or a nodule, an effusion or a collapsed lung. Five seeds draw the labelled
slices and all first weights, one autoencoder for each. Each method takes the best of four learning
rates (a logistic regression, of three penalties) on 500 validation slices, once for 50 and 100
labels and once for 300 and 1,000, with labels of a sixth draw; no test slice takes part. Accuracy
on 1,000 test slices, mean ± deviation of the five, by seed 0 (chance is 0.25; all defaults, three
minutes on one core):

    labels                           50             100             300            1000
    from scratch          0.538 ± 0.049   0.519 ± 0.158   0.685 ± 0.012   0.713 ± 0.022
    random, frozen        0.362 ± 0.058   0.449 ± 0.091   0.554 ± 0.110   0.637 ± 0.101
    pre-trained, frozen   0.448 ± 0.039   0.568 ± 0.030   0.691 ± 0.012   0.732 ± 0.014
    pre-trained, tuned    0.479 ± 0.035   0.597 ± 0.017   0.712 ± 0.014   0.752 ± 0.012
    logistic, pixels      0.366 ± 0.034   0.440 ± 0.031   0.523 ± 0.020   0.571 ± 0.005
    logistic, PCA         0.346 ± 0.028   0.421 ± 0.036   0.516 ± 0.023   0.559 ± 0.012
    tuned - scratch      -0.059 ± 0.044  +0.079 ± 0.205  +0.028 ± 0.012  +0.039 ± 0.026

The last row is the gain by seed with its 95 % interval. So the encoder has learnt something: its
frozen codes beat those of a random encoder by 0.09 to 0.14, and beat both linear baselines by 0.08
to 0.17. But the lecture's promise, the larger gain the fewer the labels, does **not** come out.
What holds is a small gain with *many* labels. With fifty, six points are lost here, and by seed 1,
which draws other slices, four are won, within the error (by 50, 100, 300, 1,000 labels: +0.044 ±
0.069, +0.002 ± 0.053, +0.014 ± 0.030, +0.026 ± 0.025).

With few labels all hangs on the baseline's learning rate. From scratch at 50 labels, 0.01 gives
0.362, 0.03 gives 0.466, and 0.1, which validation chose at the edge of what it was offered, 0.538.
Whoever gives both the rate of 0.01, the best for the pre-trained one, finds the gain that was
promised, twelve points. The price of 0.1 is seen at 100 labels, where one run of five falls to
chance (0.03 gives 0.613 ± 0.024 there).

Why not more? The autoencoder is paid for grey levels. It draws the outlines of the lungs and
leaves out the nodules, which are few pixels (slices.png). With 1,000 labels the tuned network
tells 0.49 of the nodules (from scratch 0.42), and 0.88 of the effusions and 0.96 of the collapses,
as the other does.

Also tried, by seed 0. ``--no-code``, an autoencoder of maps alone (1,152 numbers): it rebuilds
better, and its gain is -0.088, -0.073, -0.020 and +0.024; nothing forces the maps to say what
belongs together. ``--noise 0.7``, a denoising one: frozen codes gain 0.03 with 50 and with 100
labels (0.479, 0.595), tuned ones nothing (0.469, 0.605, 0.697, 0.727). ``--steps 600``, lest 200
be too few from scratch: -0.022, +0.074, +0.019 and, the only one beyond its interval,
+0.031 ± 0.016.

``--preset paper`` is the setting of Masci et al. 2011 on MNIST: layers pre-trained one by one,
max-pooling, tied filters. They report a gain of 0.4 points of error with 1,000 labels.

Writes tables, metrics.json, slices.png and labels.png.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl.functional as F
from minidl import Tensor, nn, no_grad, random
from minidl.compute.arrays import to_device
from minidl.data import ArrayDataset, DataLoader, ct_slices
from minidl.data.drawn.slices import DIAGNOSES
from minidl.lecture.digits import load_digits
from minidl.lecture.flags import (
    add_device_argument,
    add_preset_arguments,
    arguments,
    parse_with_preset,
)
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table
from minidl.models.autoencoder import Autoencoder, conv_autoencoder
from minidl.models.masci import StackedConvAutoencoder
from minidl.nn.conversion import beside
from minidl.optim import Adam, PolynomialLR
from minidl.train import fit

IMAGE, CODE, WIDTHS, BATCH = (1, 48, 48), 128, (8, 16, 32), 32
SCRATCH, UNTRAINED, FROZEN, TUNED = (
    "from scratch", "random, frozen", "pre-trained, frozen", "pre-trained, tuned"
)
ENCODER_SHARE = {SCRATCH: 1.0, UNTRAINED: 0.0, FROZEN: 0.0, TUNED: 0.1}
"""The encoder's learning rate in units of the head's."""
RATES = (3e-3, 1e-2, 3e-2, 1e-1)
"""Of the head: what the validation slices choose from, for each of the four."""
PIXELS, COMPONENTS = "logistic, pixels", "logistic, PCA"
STRENGTHS = {PIXELS: (0.001, 0.01, 0.1), COMPONENTS: (0.1, 1.0, 10.0)}
"""Inverse strength of the logistic regressions' penalties: three to choose from."""
T95 = {2: 12.706, 5: 2.776}
"""Student's t for a 95 % interval of the mean of so many."""


class Slices(NamedTuple):
    """Images (N, 1, H, W) of mean 0 and variance 1 over the unlabelled, and labels (N,)."""

    images: np.ndarray
    labels: np.ndarray

    def first(self, rows: np.ndarray) -> Slices:
        """Some of them."""
        return Slices(self.images[rows], self.labels[rows])


class Size(NamedTuple):
    """How much of everything."""

    unlabelled: int
    validation: int
    test: int
    counts: tuple[int, ...]
    chosen_at: tuple[int, ...]
    """Numbers of labels at which rates are chosen; a count uses those of the nearest."""
    seeds: int
    autoencoder_steps: int
    steps: int


FULL = Size(4000, 500, 1000, (50, 100, 300, 1000), (50, 300), 5, 600, 200)
DRY = Size(32, 16, 16, (8, 16), (8,), 2, 2, 2)


class Batches:
    """A fixed number of random batches, whatever there is to draw from: one epoch for ``fit``."""

    def __init__(self, arrays: tuple[np.ndarray, ...], steps: int, seed: int, device: str):
        self.arrays, self.steps, self.seed, self.device = arrays, steps, seed, device

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        rng = np.random.default_rng(self.seed)
        for _ in range(self.steps):
            rows = rng.integers(0, len(self.arrays[0]), BATCH)
            yield tuple(Tensor(to_device(a[rows], self.device)) for a in self.arrays)


# --- the two steps ---


def autoencoder(args: Any) -> Autoencoder:
    """Convolutions, a code of CODE numbers, and back; or no code, the last maps instead."""
    whole = conv_autoencoder(IMAGE, CODE, WIDTHS)
    if not args.no_code:
        return whole
    return Autoencoder(nn.Sequential(*[*whole.encoder][:-1]),
                       nn.Sequential(*[*whole.decoder][2:]))


def pretrained(images: np.ndarray, seed: int, steps: int, args: Any) -> Autoencoder:
    """Step 1: reconstruct unlabelled slices (with ``--noise``, from noisier ones)."""
    random.manual_seed(seed)
    model = autoencoder(args).to(args.device)

    def loss(model: Autoencoder, batch: tuple[Tensor, ...]) -> Tensor:
        (x,) = batch
        seen = x + args.noise * random.normal(x.shape, device=x.device) if args.noise else x
        return F.mse_loss(model.decoder(model.encoder(seen)), x)

    optimizer = Adam(model.parameters(), lr=3e-3)
    fit(model, Batches((images,), steps, seed, args.device), optimizer, loss, epochs=1,
        schedule=PolynomialLR(optimizer, steps))
    return model.eval()


def codes(encoder: Any, images: np.ndarray) -> np.ndarray:
    """What the encoder makes of all images, (N, C, H, W) -> (N, Z)."""
    with no_grad():
        parts = [encoder(beside(encoder, images[i : i + 250])) for i in range(0, len(images), 250)]
        return np.concatenate([F.flatten(p, 1).numpy() for p in parts])


def classifier(args: Any, start: dict[str, Any] | None, seed: int) -> nn.Sequential:
    """An encoder, its weights random or given, and a random head: the decoder is thrown away."""
    random.manual_seed(seed)
    encoder = autoencoder(args).encoder
    numbers = CODE if not args.no_code else WIDTHS[-1] * (IMAGE[1] >> len(WIDTHS)) ** 2
    # The batch norm gives codes of any scale the same start.
    head = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(numbers), nn.Linear(numbers, 64), nn.ReLU(),
                         nn.Linear(64, len(DIAGNOSES)))
    if start is not None:
        encoder.load_state_dict(start)
    return nn.Sequential(encoder, head).to(args.device)


def entropy(model: Any, batch: tuple[Tensor, ...]) -> Tensor:
    """Cross-entropy of the diagnoses."""
    x, labels = batch
    return F.cross_entropy(model(x), labels)


def recalls(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The share of each diagnosis that is told, (4,); their mean is the accuracy."""
    return np.array([(answers[labels == k] == k).mean() for k in range(len(DIAGNOSES))])


def classified(
    start: dict[str, Any] | None, rates: tuple[float, float], learnt: Slices, asked: Slices,
    seed: int, steps: int, args: Any,
) -> np.ndarray:
    """Step 2: learn from labelled slices; the recalls (4,) when asked about others.

    An encoder of rate 0 is frozen: its codes are computed once.
    """
    net = classifier(args, start, seed)
    encoder, head = net
    head_rate, encoder_rate = rates
    groups = [{"params": [*head.parameters()], "lr": head_rate}]
    given, trained = learnt.images, net
    if encoder_rate:
        groups.append({"params": [*encoder.parameters()], "lr": encoder_rate})
    else:
        given, trained = codes(encoder, learnt.images), head
    optimizer = Adam(groups)
    batches = Batches((given, learnt.labels), steps, seed, args.device)
    fit(trained, batches, optimizer, entropy, epochs=1,
        schedule=PolynomialLR(optimizer, steps), progress=False)
    net.eval()
    return recalls(codes(net, asked.images).argmax(1), asked.labels)


# --- the study ---


def baselines(pool: Slices) -> dict[str, Callable[..., np.ndarray]]:
    """Logistic regression on pixels and on 50 principal components; none without scikit-learn.

    Each is called as a network is: (setting, learnt, asked, seed).
    """
    try:
        from sklearn.decomposition import PCA
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        print("scikit-learn is not installed: no logistic regressions.")
        return {}

    def flat(s: Slices) -> np.ndarray:
        return s.images.reshape(len(s.images), -1)

    plane = PCA(min(50, len(pool.images)), random_state=0).fit(flat(pool))
    spread = plane.transform(flat(pool)).std()

    def components(s: Slices) -> np.ndarray:
        return plane.transform(flat(s)) / spread

    def on(features: Callable[[Slices], np.ndarray]) -> Callable[..., np.ndarray]:
        def call(strength: float, learnt: Slices, asked: Slices, _: int) -> np.ndarray:
            model = LogisticRegression(C=strength, max_iter=1000)
            model.fit(features(learnt), learnt.labels)
            return recalls(model.predict(features(asked)), asked.labels)

        return call

    return {PIXELS: on(flat), COMPONENTS: on(components)}


def study(pool: Slices, validation: Slices, test: Slices, size: Size, args: Any
          ) -> tuple[dict[str, Any], Autoencoder]:
    """Accuracy on the test slices, {method: {count: [one for each seed]}}, and an autoencoder.

    Also the mean recall of each diagnosis, the settings that were chosen, and the gain.
    """
    steps = args.steps or size.steps
    models = [pretrained(pool.images, args.seed + k, size.autoencoder_steps, args)
              for k in range(size.seeds)]
    starts = [model.encoder.state_dict() for model in models]

    def net(name: str) -> Callable[..., np.ndarray]:
        def call(rate: float, learnt: Slices, asked: Slices, k: int) -> np.ndarray:
            start = starts[k % len(starts)] if name in (FROZEN, TUNED) else None
            rates = rate, rate * ENCODER_SHARE[name]
            return classified(start, rates, learnt, asked, args.seed + k, steps, args)

        return call

    methods = {name: net(name) for name in ENCODER_SHARE} | baselines(pool)
    settings = dict.fromkeys(ENCODER_SHARE, RATES) | STRENGTHS

    def labelled(k: int, count: int) -> Slices:
        order = np.random.default_rng([args.seed, k]).permutation(len(pool.images))
        return pool.first(order[:count])

    found: dict[str, Any] = {"accuracy": {}, "recalls": {}, "chosen": {}}
    for name, method in methods.items():
        # A draw of labels of its own, the one after the last, and no test slice.
        chosen = {}
        for n in size.chosen_at:
            given = labelled(size.seeds, n)
            chosen[n] = max(settings[name],
                            key=lambda s: method(s, given, validation, size.seeds).mean())
            print(f"{name}, {n} labels: chose {chosen[n]:g}")
        found["chosen"][name] = {str(n): s for n, s in chosen.items()}
        found["accuracy"][name], found["recalls"][name] = {}, {}
        for count in size.counts:
            nearest = min(chosen, key=lambda n: abs(np.log(n / count)))
            told = np.array([method(chosen[nearest], labelled(k, count), test, k)
                             for k in range(size.seeds)])
            found["accuracy"][name][str(count)] = told.mean(1).tolist()
            found["recalls"][name][str(count)] = told.mean(0).tolist()
            print(f"{name}, {count} labels: accuracy {100 * told.mean():.1f} %")
    found["gain"] = gains(found["accuracy"])
    return found, models[0]


def gains(accuracies: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Tuned less from scratch, by seed (same labels, same head): the mean, its 95 % interval."""
    found = {}
    for count, scratch in accuracies[SCRATCH].items():
        gain = np.subtract(accuracies[TUNED][count], scratch)
        half = T95[len(gain)] * gain.std(ddof=1) / np.sqrt(len(gain))
        found[count] = {"mean": float(gain.mean()), "half_width": float(half)}
    return found


def cleaning(noisy: np.ndarray, rebuilt: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    """Root mean squared differences, in greys."""
    def rms(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(((a - b) ** 2).mean()))

    return {"scan and patient": rms(noisy, clean), "code and scan": rms(rebuilt, noisy),
            "code and patient": rms(rebuilt, clean)}


# --- pictures ---


def draw_slices(path: Path, rows: dict[str, np.ndarray], labels: np.ndarray) -> bool:
    """Two slices of each diagnosis: scanned, rebuilt, and without noise."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    order = np.concatenate([np.flatnonzero(labels == k)[:2] for k in range(len(DIAGNOSES))])
    figure = Figure(figsize=(14, 5.9), layout="constrained")
    grid = figure.subplots(len(rows), len(order))
    for line, (name, images) in zip(grid, rows.items(), strict=True):
        line[0].set_ylabel(name, fontsize=12)
        for axes, i in zip(line, order, strict=True):
            axes.imshow(images[i, 0], cmap="gray", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
    for axes, i in zip(grid[0], order, strict=True):
        axes.set_title(DIAGNOSES[labels[i]], fontsize=13)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    return True


def draw_labels(path: Path, found: dict[str, Any]) -> None:
    """Accuracy against the number of labels: means of the seeds, bars of one deviation."""
    from matplotlib.figure import Figure

    looks = {SCRATCH: ("black", "o-"), TUNED: ("C3", "o-"), FROZEN: ("C1", "s-"),
             UNTRAINED: ("0.55", "s:"), COMPONENTS: ("C0", "^--"), PIXELS: ("C9", "v--")}
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    names = [name for name in looks if name in found["accuracy"]]
    for i, name in enumerate(names):
        each = found["accuracy"][name]
        # Side by side, so that bars do not hide each other.
        x = np.array([int(n) for n in each]) * 1.025 ** (i - len(names) / 2)
        colour, style = looks[name]
        axes.errorbar(x, [np.mean(v) for v in each.values()], [np.std(v, ddof=1) for v in
                      each.values()], fmt=style, color=colour, capsize=3, label=name)
    axes.axhline(1 / len(DIAGNOSES), color="0.7", linewidth=1)
    counts = [int(n) for n in found["accuracy"][SCRATCH]]
    axes.text(counts[0], 1 / len(DIAGNOSES) + 0.005, "chance", color="0.5")
    axes.set(xscale="log", xlabel="labelled slices", ylabel="accuracy on test slices")
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=110)


# --- the paper's setting ---


def masci(args: Any) -> dict[str, Any]:
    """Stack autoencoders on MNIST, then learn from 1k, 10k and all labels, from both starts."""
    digits = load_digits("mnist", args.data, args.seed)
    epochs = 1 if args.dry_run else 20
    keep = 200 if args.dry_run else len(digits.train_images)
    images, labels = digits.train_images[:keep], digits.train_labels[:keep]

    def loader(*arrays: np.ndarray) -> DataLoader:
        return DataLoader(ArrayDataset(*arrays), 100, shuffle=True, seed=args.seed,
                          device=args.device)

    random.manual_seed(args.seed)
    stack = StackedConvAutoencoder().to(args.device)
    blank = stack.state_dict()
    for depth, layer in enumerate(stack.layers):
        def loss(layer: Any, batch: Any, depth: int = depth) -> Tensor:
            with no_grad():
                x = stack.below(batch[0], depth)
            return layer.loss(x)

        fit(layer, loader(images), Adam(layer.parameters()), loss, epochs=epochs,
            out=args.out / f"layer{depth + 1}", resume=args.resume)
    errors: dict[str, Any] = {}
    for count in sorted({min(n, keep) for n in (1000, 10_000, keep)}):
        for name, start in (("CAE", stack.state_dict()), ("random", blank)):
            net = StackedConvAutoencoder().to(args.device)
            net.load_state_dict(start)
            # As many steps for any number of labels.
            fit(net, loader(images[:count], labels[:count]), Adam(net.parameters()), entropy,
                epochs=epochs * keep // count, out=args.out / f"{name}_{count}",
                resume=args.resume)
            right = codes(net.eval(), digits.test_images).argmax(1) == digits.test_labels
            errors.setdefault(str(count), {})[name] = float(100 * (1 - right.mean()))
    print(table(["labels", "CAE, error %", "random, error %"],
                [[n, e["CAE"], e["random"]] for n, e in errors.items()]))
    print("Masci et al.: 7.23 and 7.63 (1k), 1.88 and 2.21 (10k), 0.71 and 0.79 (50k).")
    return {"test_error_percent": errors}


def tiny(args: Any) -> dict[str, Any]:
    """The study on generated slices, its tables and pictures."""
    size = DRY if args.dry_run else FULL
    counts = (size.unlabelled, size.validation, size.test)
    print(f"Drawing {sum(counts)} slices.")
    drawn = [ct_slices(n, IMAGE[1], seed, progress=True).arrays
             for seed, n in enumerate(counts, 3 * args.seed)]
    middle, spread = drawn[0][0].mean(), drawn[0][0].std()
    pool, validation, test = (Slices((x - middle) / spread, y) for x, y in drawn)
    found, model = study(pool, validation, test, size, args)
    rows = [[name, *(f"{np.mean(v):.3f} ± {np.std(v, ddof=1):.3f}" for v in each.values())]
            for name, each in found["accuracy"].items()]
    rows.append(["tuned - scratch", *(f"{g['mean']:+.3f} ± {g['half_width']:.3f}"
                                      for g in found["gain"].values())])
    print(f"Accuracy on {size.test} slices, mean and deviation of {size.seeds} seeds; last row: "
          "mean and 95 % interval.")
    print(table(["labels", *map(str, size.counts)], rows))
    for count in (size.counts[0], size.counts[-1]):
        print(f"\nOf each diagnosis, told by {count} labels")
        print(table(["", *DIAGNOSES],
                    [[n, *found["recalls"][n][str(count)]] for n in (SCRATCH, TUNED)]))
    shown = min(32, size.test)
    noisy = test.images[:shown] * spread + middle
    clean = ct_slices(shown, IMAGE[1], 3 * args.seed + 2, photons=float("inf")).arrays[0]
    with no_grad():
        code = model.encoder(beside(model, test.images[:shown]))
        rebuilt = model.decoder(code).numpy() * spread + middle
    found["differences"] = cleaning(noisy, rebuilt, clean)
    print("\nRoot mean squared difference of " + ", ".join(
        f"{pair}: {value:.3f}" for pair, value in found["differences"].items()))
    shown_as = {"as scanned": noisy, "from its code": rebuilt, "without noise": clean}
    if draw_slices(args.out / "slices.png", shown_as, test.labels[:shown]):
        draw_labels(args.out / "labels.png", found)
    return found


def main() -> None:
    parser = arguments(__doc__, "11_pretraining")
    add_device_argument(parser)
    add_preset_arguments(parser, "MNIST's IDX files")
    parser.add_argument("--steps", type=int, help="of each classifier (200)")
    parser.add_argument("--noise", type=float, default=0.0,
                        help="deviation of what the autoencoder is to remove (%(default)s)")
    parser.add_argument("--no-code", action="store_true",
                        help="an autoencoder of maps alone, 1,152 numbers, not 128")
    args = parse_with_preset(parser)
    metrics = masci(args) if args.preset == "paper" else tiny(args)
    print(f"Saved {write_metrics(args.out, metrics)}")


if __name__ == "__main__":
    main()
