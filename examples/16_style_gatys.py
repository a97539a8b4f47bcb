"""Gatys et al.: a pagoda in the style of a dahlia, and all that has to be chosen for it.

A picture z is optimised until its features are the content's and its Gram matrices the style's.
No trained VGG is at hand: the weights are RANDOM, so what is transferred are colours and strokes
between small patterns; what a pagoda or a petal is, nobody knows. Content is kept by relu2_2, for
deeper random layers lose it, style by relu1_1 to relu4_1. What came out, 128 pixels, 80 iterations
of L-BFGS, by seed 0 (relative losses, averaged over layers; "other": by a random network that was
not optimised for):

                              content    style     content, other   style, other
    the content                0.000     3.583         0.000            2.799
    the style                  0.528     0.000         0.515            0.000
    colour transfer alone      0.483     0.020         0.410            0.019
    average pooling            0.373     0.028         0.400            0.032
    max pooling                0.424     0.021         0.452            0.024
    from the content           0.368     0.028         0.394            0.028

The style loss of the photograph falls to a 129th, and by the other network to an 88th: it is no
trick played on one set of weights. But *colour transfer alone*, the histogram of each channel
matched and no network asked, has less style loss still (0.020 against 0.028), and a sharp
pagoda. The transfer wins in content (0.37 against 0.48) and in the weighted sum of both (84
against 93), and does what no recolouring does: it paints patches of dark green and red, of a
petal's size, into an empty sky. Random filters' Gram matrices are mostly colour; what a trained
network adds cannot be measured here.

With max pooling (the same weights, the same steps) the pagoda is a silhouette, the rest grain. It
is judged by the network with average pooling, and still has less style loss: the number does not
tell what an eye would. From the content picture the pagoda is clearer, and the sky has stripes
where it was smooth.

The sheet, twelve pairs of weights: only their ratio and the smoothness count, so its diagonals look
alike (content and style both x 1 leave 0.304 and 0.068, both x 5 leave 0.302 and 0.075), with more
grain below, where the fixed weight of variation matters less. At the lower left is the photograph,
at the upper right the dahlia's colours without a pagoda. The large pictures are x 1, x 1.

L-BFGS against Adam, 96 pixels, width 32, 120 steps from the same noise:

                  evaluations   loss at the end   within 10 % of the best after
    L-BFGS            162            70.5            42 evaluations
    Adam, 2           120           111.5             -
    Adam, 10          120            73.8           100
    Adam, 30          120            68.9            64

L-BFGS is there first and needs no rate; a good rate makes Adam the winner in the end, and
neural-style's default (10 grey levels a step) is not the best of three here. The line search costs
a third more evaluations than there are steps.

``--preset paper --data DIR --weights FILE`` takes content.jpg and style.jpg of a folder: 512
pixels, VGG-19 trained, average pooling, conv4_2 and conv1_1 to conv5_1, 500 iterations of L-BFGS,
with a saved state to resume from. ``--weights`` alone tries a trained network on the photographs
above, by the recipe "relative"; vgg16 and vgg19 name files that ``minidl weights`` has fetched.

Writes tables, metrics.json, style.png, sweep.png and curves.png.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl import Tensor, no_grad
from minidl.data import photographs
from minidl.data.readers.photographs import FILES
from minidl.lecture.flags import (
    add_device_argument,
    add_preset_arguments,
    arguments,
    parse_with_preset,
)
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table
from minidl.nn.conversion import beside
from minidl.tasks.perceptual import (
    RECIPES,
    Features,
    Objective,
    Recipe,
    load_features,
    middle_square,
    normalise_activations,
    random_features,
    recoloured,
    resized,
    rgb,
)
from minidl.tasks.perceptual.stylise import stylise
from minidl.tasks.restoration import read_folder

CONTENT, STYLE, CROP = "china", "flower", 0.75
"""Photographs, and how much of the style's width is shown: less of it gives larger strokes."""
KNOWN = [name for part in FILES.values() for name in part]
BASELINE, RESULT = "colour transfer alone", "average pooling"
SHEET = {"content": (0.2, 1.0, 5.0), "style": (0.04, 0.2, 1.0, 5.0)}
"""Times the weights of the large result: the rows and the columns of the sheet."""
RATES = (2.0, 10.0, 30.0)
"""Of Adam, in grey levels a step; neural-style's default is 10."""

NEAR = 1.1
"""Times the smallest loss that any of them reaches: near enough to count as there."""


class Size(NamedTuple):
    """How much of everything."""

    side: int
    """Pixels of the result."""
    width: int
    """Channels of the first layer of random weights."""
    steps: int
    small: int
    """Pixels of the sheet's pictures, and of the race of optimisers."""
    narrow: int
    sheet: int
    """Steps of each picture of the sheet."""
    race: int
    """Steps of each optimiser."""


FULL = Size(side=128, width=64, steps=80, small=96, narrow=32, sheet=50, race=120)
DRY = Size(side=32, width=4, steps=2, small=32, narrow=4, sheet=2, race=4)


class Counted(Features):
    """A network that counts how often it is evaluated."""

    calls = 0

    def __call__(self, z: Tensor, names: Any) -> dict[str, Tensor]:
        self.calls += 1
        return super().__call__(z, names)


# --- pictures to begin with ---


def square(image: np.ndarray, side: int, crop: float = 1.0) -> np.ndarray:
    """The middle of bytes (1 or 3, H, W) as RGB from 0 to 1, so large."""
    return sized(middle_square(image, crop), side)


def sized(image: np.ndarray, shorter: int) -> np.ndarray:
    """Bytes (1 or 3, H, W) as RGB from 0 to 1, the shorter side so long."""
    h, w = image.shape[1:]
    size = (round(h * shorter / min(h, w)), round(w * shorter / min(h, w)))
    return resized(rgb(image), size)


def pair(args: Any, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The content and the style that the flags name."""
    known = {**photographs("training"), **photographs("held-out")}
    return square(known[args.content], side), square(known[args.style], side, CROP)


# --- networks and recipes ---


def network(args: Any, pooling: str, width: int, seed: int) -> Features:
    """VGG-19 of random weights, or those of a file."""
    if args.weights is not None:
        return load_features(args.weights, pooling).to(args.device)
    return random_features("vgg19", pooling, seed, width).to(args.device)


def recipe_for(args: Any) -> Recipe:
    """That for random weights; a trained network has its own."""
    if args.weights is not None:
        return replace(RECIPES["relative"], start="noise")
    return RECIPES["random"].scaled(content=3, variation=15)


class Judge:
    """Content and style losses of finished pictures: both 0 is best, nobody has it."""

    def __init__(self, features: Features, recipe: Recipe, content: np.ndarray, style: np.ndarray):
        self.objective = Objective(features, recipe, [style])
        self.target = self.objective.content_of(self._prepared(content))
        self.shares = [sum(weights.values()) for weights in (recipe.content, recipe.style)]

    def _prepared(self, picture: np.ndarray) -> Tensor:
        features = self.objective.features
        return features.prepare(beside(features.vgg, picture[None]))

    def __call__(self, picture: np.ndarray) -> tuple[float, float]:
        """Means over the layers, without the recipe's weights."""
        with no_grad():
            losses = self.objective(self._prepared(picture), self.target)
        return losses.content.item() / self.shares[0], losses.style.item() / self.shares[1]


# --- what is made ---


def results(args: Any, size: Size, content: np.ndarray, style: np.ndarray) -> dict[str, Any]:
    """The transfer, and what changes it: the pooling, where it starts."""
    recipe, made = recipe_for(args), {}
    for name, pooling, start in (
        (RESULT, "average", "noise"),
        ("max pooling", "max", "noise"),
        ("from the content", "average", "content"),
    ):
        features = network(args, pooling, size.width, args.seed)
        made[name] = stylise(content, style, features, recipe, start=start, steps=size.steps,
                             every=size.steps, seed=args.seed).picture
    return made


def sheet(args: Any, size: Size, content: np.ndarray, style: np.ndarray) -> list[dict[str, Any]]:
    """All pairs of weights, as in the lecture; smoothness keeps its own."""
    features = network(args, "average", size.narrow, args.seed)
    judge = Judge(features, recipe_for(args), content, style)
    found = []
    for kept in SHEET["content"]:
        for styled in SHEET["style"]:
            recipe = recipe_for(args).scaled(kept, styled)
            made = stylise(content, style, features, recipe, steps=size.sheet, every=size.sheet,
                           seed=args.seed).picture
            losses = dict(zip(("content_loss", "style_loss"), judge(made), strict=True))
            found.append({"content": kept, "style": styled, "picture": made, **losses})
    return found


def race(args: Any, size: Size, content: np.ndarray, style: np.ndarray) -> dict[str, Any]:
    """L-BFGS and Adam from the same noise: loss by evaluations and by seconds."""
    plain = network(args, "average", size.narrow, args.seed)
    found = {}
    runs = {"L-BFGS": ("lbfgs", None)} | {f"Adam, {r:g}": ("adam", r) for r in RATES}
    for name, (optimizer, rate) in runs.items():
        features = Counted(plain.vgg, plain.normalisation)
        curve: list[tuple[int, float, float]] = []
        begin = time.perf_counter()

        def watch(step: int, picture: np.ndarray, losses: dict[str, float]) -> None:
            # Each report, and the targets before the first step, are evaluations that no
            # optimiser asked for.
            asked = features.calls - 2 - len(curve) - 1  # noqa: B023
            curve.append((asked, time.perf_counter() - begin, losses["total"]))  # noqa: B023

        stylise(content, style, features, recipe_for(args), optimizer=optimizer, lr=rate,
                steps=size.race, every=max(size.race // 30, 1), seed=args.seed, watcher=watch)
        found[name] = {"evaluations": [c[0] for c in curve], "seconds": [c[1] for c in curve],
                       "loss": [c[2] for c in curve]}
    return found


# --- the paper's setting ---


def paper(args: Any) -> None:
    """512 pixels, the paper's layers and weights. Its activations are scaled over ImageNet's
    validation set, ours over the two pictures."""
    pictures = read_folder(args.data)
    content, style = (sized(pictures[name], 32 if args.dry_run else 512)
                      for name in ("content", "style"))
    recipe = RECIPES["gatys"]
    features = network(args, recipe.pooling, 64, args.seed)
    normalise_activations(features, [content, style])
    steps = 4 if args.dry_run else args.steps or 500
    args.out.mkdir(parents=True, exist_ok=True)
    made = stylise(content, style, features, recipe, steps=steps, every=min(10, steps),
                   seed=args.seed, checkpoint=args.out / "style.safetensors",
                   resume=args.resume)
    draw_style(args.out / "style.png", content, style, {RESULT: made.picture})
    judge = Judge(features, recipe, content, style)
    judged = {"the content": content, BASELINE: recoloured(content, style), RESULT: made.picture}
    found = {name: judge(picture) for name, picture in judged.items()}
    print(table(["", "content loss", "style loss"],
                [[name, *(f"{v:.4g}" for v in row)] for name, row in found.items()]))
    print(f"Saved {write_metrics(args.out, {'judged': found, 'losses': made.losses})}")


# --- drawing ---


def new_figure(width: float, height: float) -> Any:
    """None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    return Figure(figsize=(width, height), layout="constrained")


def show(axes: Any, picture: np.ndarray, title: str = "") -> None:
    axes.imshow(picture.transpose(1, 2, 0))
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=11)


def draw_style(path: Path, content: np.ndarray, style: np.ndarray,
               made: dict[str, np.ndarray]) -> bool:
    """The two pictures, and everything made of them."""
    pictures = {"the content": content, "the style": style, **made}
    columns = 3
    rows = -(-len(pictures) // columns)
    figure = new_figure(4.4 * columns, 4.6 * rows)
    if figure is None:
        return False
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (name, picture) in zip(grid.flat, pictures.items(), strict=False):
        show(axes, picture, name)
    figure.savefig(path, dpi=100)
    return True


def draw_sheet(path: Path, found: list[dict[str, Any]]) -> None:
    """Rows: more content. Columns: more style."""
    rows, columns = len(SHEET["content"]), len(SHEET["style"])
    figure = new_figure(3 * columns, 3.2 * rows)
    grid = figure.subplots(rows, columns)
    for axes, each in zip(grid.flat, found, strict=True):
        show(axes, each["picture"],
             f"content {each['content_loss']:.2f}, style {each['style_loss']:.3f}")
    for axes, kept in zip(grid[:, 0], SHEET["content"], strict=True):
        axes.set_ylabel(f"weight of content x {kept:g}", fontsize=11)
    for axes, styled in zip(grid[-1], SHEET["style"], strict=True):
        axes.set_xlabel(f"weight of style x {styled:g}", fontsize=11)
    figure.suptitle("Above each picture: what is left of both losses")
    figure.savefig(path, dpi=100)


def draw_race(path: Path, found: dict[str, Any]) -> None:
    """The loss by evaluations, and by seconds."""
    figure = new_figure(13, 5)
    both = figure.subplots(1, 2, sharey=True)
    for axes, by in zip(both, ("evaluations", "seconds"), strict=True):
        for name, each in found.items():
            axes.plot(each[by], each["loss"], label=name, linewidth=2.4 if "L" in name else 1.4)
        axes.set(yscale="log", xlabel=by)
    both[0].set(ylabel="content + style + variation, weighted")
    both[0].legend(title="optimiser, grey levels a step")
    figure.savefig(path, dpi=100)


# --- all of it ---


def judged_all(args: Any, size: Size, pictures: dict[str, np.ndarray], content: np.ndarray,
               style: np.ndarray) -> dict[str, list[float]]:
    """Name: both losses by the network that was optimised for, and by one that was not."""
    other = random_features("vgg19", "average", args.seed + 1, size.width).to(args.device)
    judges = [Judge(network(args, "average", size.width, args.seed), recipe_for(args), content,
                    style), Judge(other, RECIPES["random"], content, style)]
    return {name: [v for judge in judges for v in judge(p)] for name, p in pictures.items()}


def print_sheet(found: list[dict[str, Any]]) -> None:
    columns = len(SHEET["style"])
    rows = [found[k : k + columns] for k in range(0, len(found), columns)]
    print("\nThe sheet: content loss, style loss")
    print(table(["content x", *(f"style x {s:g}" for s in SHEET["style"])],
                [[f"{row[0]['content']:g}", *(f"{e['content_loss']:.3f} {e['style_loss']:.4f}"
                  for e in row)] for row in rows]))


def print_race(found: dict[str, Any]) -> None:
    near = NEAR * min(each["loss"][-1] for each in found.values())
    print("\nThe race, from the same noise, in the same number of steps")
    print(table(["", "evaluations", "seconds", "loss", "evaluations to within 10 %"],
                [[name, str(e["evaluations"][-1]), f"{e['seconds'][-1]:.1f}",
                  f"{e['loss'][-1]:.2f}", reached(e, near)] for name, e in found.items()]
                ))


def reached(curve: dict[str, Any], loss: float) -> str:
    """Evaluations until the loss was first as small as this."""
    pairs = zip(curve["evaluations"], curve["loss"], strict=True)
    return str(next((n for n, value in pairs if value <= loss), "-"))


def tiny(args: Any) -> None:
    """Minutes."""
    size = DRY if args.dry_run else FULL
    size = size._replace(steps=args.steps or size.steps)
    content, style = pair(args, size.side)
    print("Network: VGG-19 with " + ("RANDOM weights; for a trained one pass --weights FILE."
          if args.weights is None else f"weights from {args.weights}."))
    made = {BASELINE: recoloured(content, style), **results(args, size, content, style)}
    judged = judged_all(args, size, {"the content": content, "the style": style, **made},
                        content, style)
    print(f"{args.content} in the style of {args.style}, {size.side} pixels, "
          f"{size.steps} steps of L-BFGS\n")
    print(table(["", "content loss", "style loss", "content, another net", "style, another net"],
                [[name, *row] for name, row in judged.items()]))
    small = pair(args, size.small)
    weighed = sheet(args, size, *small)
    print_sheet(weighed)
    raced = race(args, size, *small)
    print_race(raced)
    args.out.mkdir(parents=True, exist_ok=True)
    if draw_style(args.out / "style.png", content, style, made):
        draw_sheet(args.out / "sweep.png", weighed)
        draw_race(args.out / "curves.png", raced)
        print(f"\nDrawn: style.png, sweep.png, curves.png in {args.out}")
    plain = [{k: v for k, v in each.items() if k != "picture"} for each in weighed]
    print(f"Saved {write_metrics(args.out, {'judged': judged, 'sheet': plain, 'race': raced})}")


def main() -> None:
    parser = arguments(__doc__, "16_style_gatys")
    add_device_argument(parser)
    parser.add_argument("--weights", type=Path, metavar="FILE",
                        help="of VGG-19, such as torchvision's vgg19-dcbb9e9d.pth (random)")
    parser.add_argument("--steps", type=int, help="of the large pictures (80; paper: 500)")
    for flag, name in (("content", CONTENT), ("style", STYLE)):
        parser.add_argument(f"--{flag}", choices=KNOWN, default=name, metavar="NAME",
                            help="a photograph of scikit-image or scikit-learn (%(default)s)")
    add_preset_arguments(parser, "content.jpg and style.jpg, or .png; with --weights")
    args = parse_with_preset(parser)
    if args.preset == "paper":
        if args.weights is None:
            parser.error("--preset paper needs --weights FILE")
        return paper(args)
    return tiny(args)


if __name__ == "__main__":
    main()
