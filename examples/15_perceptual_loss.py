"""Losses on features: what they forgive and what they punish, and what a picture's features hold.

By pixels, a photograph moved by one pixel is as bad as one that is blurred so that all see it.
Perceptual losses compare what a VGG makes of both pictures instead: its features (content), or
their Gram matrices (style), which know nothing of places. No trained VGG is at hand, so the
default's weights are RANDOM, and all that follows is of random filters (three networks of
width 32, average pooling). How far a trained one differs cannot be measured without its file;
``--weights FILE`` takes torchvision's vgg19 and measures the same.

Five versions of a photograph get one and the same squared error of pixels: their strengths are
chosen for it. In per cent of the distance to another photograph, over five scenes:

                          pixels   relu1_2   relu2_2   relu3_2   relu4_2    Gram
    1 pixel aside          3.84      4.32      2.14      0.98      0.42     0.0014
    blurred                3.84      4.70      3.48      2.60      2.14     0.70
    noisy                  3.84      4.31      1.40      0.66      0.39     0.09
    brighter               3.84      5.49      5.91      6.34      7.23     3.26
    less contrast          3.84      5.31      5.35      6.28      8.12     4.60
    4 pixels aside         18.2      17.9      13.3      8.98      4.23     0.02
    blocks shuffled        91.9      67.9      56.7      50.7      44.6     0.47

Expected: deep layers forgive a shift and punish blur and noise. The shift they do forgive, the
deeper the more, and a blur costs five times as much as it at relu4_2. Noise they forgive
as well, and worst of all they find what a person hardly minds, a little more light or less
contrast: pooling averages noise away, and random filters hand the mean of a picture on. At
relu1_2 the loss differs little from that of pixels. The Gram loss hardly sees a shift, and finds
the shuffled picture closer than the blurred one. Of three textures, another place of the same is
as far as another texture by pixels (101), and 3.66 by Gram matrices, where a blur costs 45.

Then back from features to a picture, by 120 iterations of L-BFGS from noise (one network). A
layer's relative loss, and how far the picture is from the photograph in dB; for comparison the
photograph shrunk to that layer's grid and enlarged again:

                            relu1_2    relu2_2    relu3_2    relu4_2
    numbers per value        10.67       5.33       2.67       1.33
    relative loss           4.6e-14     3.9e-03    2.6e-03    8.9e-04
    PSNR                     140.6      21.78      16.00      14.16
    shrunk to the grid          -       30.24      25.15      22.11

relu1_2 holds the picture to the last digit. Of deeper layers the features are met within some
per cent, by a picture full of noise: just what the table above says they forgive. Shrinking to the
layer's grid keeps more, by 8 to 9 dB, though the features are more numbers than the pixels.
Total variation does not mend it (14.5 dB with a little, 14.9 with a lot, in a trial of 80
iterations).

Gravel from Gram matrices alone: with relu1_1 to relu4_1 all four are met to 2e-04 or better, ten
times and more closer than by shuffled blocks of real gravel (2e-03 to 3e-03); at relu5_1, which
nobody matched, both are about as far (3e-03, 4e-03). It looks like rough plaster with hollows,
where the blocks look like stones: random filters' Gram matrices hold grain and contrast, and not
what an eye counts as gravel. Layers after the first change the numbers more than the look.

``--preset paper --data DIR --weights FILE`` is the same with 224 pixels, 500 iterations and the
folder's photographs as scenes; the sizes are ours.

Writes tables, metrics.json, distances.png and inversions.png.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl import no_grad
from minidl.data import photographs
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
    Features,
    Objective,
    Recipe,
    content_loss,
    gram,
    load_features,
    middle_square,
    random_features,
    resized,
    rgb,
    style_loss,
)
from minidl.tasks.perceptual.stylise import stylise
from minidl.tasks.restoration import imresize, psnr, read_folder

Images = Mapping[str, np.ndarray]
Found = dict[str, dict[str, float]]

LAYERS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2")
STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
MATCHED = 4
"""Layers of STYLE that the Gram distance, and the largest synthesis, have; relu5_1 only judges."""
GROUPS = {
    "scenes": ("china", "astronaut", "chelsea", "coffee", "flower"),
    "textures": ("brick", "grass", "gravel"),
}
UNIT = "another photograph"
SAME_ERROR = ("1 pixel aside", "blurred", "noisy", "brighter", "less contrast")
"""The versions whose strength is chosen so that all have the pixel error of the first."""
MARGIN, BLOCK = 16, 16
"""Pixels around a photograph that a shift or a blur may bring in; the side of a shuffled block."""


class Size(NamedTuple):
    """How much of everything."""

    side: int
    """Pixels of the photographs whose distance is measured."""
    small: int
    """Pixels of those that are reconstructed."""
    steps: int
    width: int
    """Channels of the first layer of random weights."""
    nets: int
    """Networks of random weights over which distances are averaged."""


FULL = Size(side=128, small=96, steps=120, width=32, nets=3)
DRY = Size(side=32, small=32, steps=2, width=4, nets=1)
PAPER = Size(side=224, small=224, steps=500, width=64, nets=1)


# --- photographs ---


def middle(picture: np.ndarray, side: int, right: int = 0) -> np.ndarray:
    """The middle of a picture, or a square so many pixels beside it."""
    top, left = ((n - side) // 2 for n in picture.shape[1:])
    return picture[:, top : top + side, left + right : left + right + side]


def scene(image: np.ndarray, side: int) -> np.ndarray:
    """All of the middle of a photograph, shrunk to so many pixels."""
    return resized(middle_square(rgb(image)), (side, side))


# --- versions of a photograph ---


def of_error(change: Callable[[float], np.ndarray], target: np.ndarray, error: float) -> np.ndarray:
    """The version by the strength, 0 to 16, that has this mean squared error, by bisection."""
    low, high = 0.0, 16.0
    for _ in range(24):
        strength = (low + high) / 2
        if ((change(strength) - target) ** 2).mean() < error:
            low = strength
        else:
            high = strength
    return change(low)


def versions(large: np.ndarray, other: np.ndarray, place: np.ndarray | None,
             rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What may happen to the middle of a picture (3, H, W), by name; the first is the picture."""
    from skimage.filters import gaussian

    side = large.shape[1] - 2 * MARGIN
    here = middle(large, side)
    aside = {n: middle(large, side, right=n) for n in (1, 4)}
    noise = rng.standard_normal(here.shape[1:]).astype(np.float32)
    changes: dict[str, Callable[[float], np.ndarray]] = {
        "blurred": lambda k: middle(gaussian(large, k, mode="reflect", channel_axis=0), side),
        "noisy": lambda k: np.clip(here + k * noise, 0, 1),
        "brighter": lambda k: np.clip(here + np.float32(k), 0, 1),
        "less contrast": lambda k: here.mean() + (here - here.mean()) / np.float32(1 + k),
    }
    error = float(((aside[1] - here) ** 2).mean())
    found = {"itself": here, SAME_ERROR[0]: aside[1]}
    found |= {name: of_error(change, here, error) for name, change in changes.items()}
    found |= {"4 pixels aside": aside[4], "blocks shuffled": shuffled(here, rng)}
    if place is not None:
        found["another place"] = place
    return found | {UNIT: other}


def shuffled(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The blocks of a picture in random order."""
    count = picture.shape[1] // BLOCK
    blocks = picture.reshape(3, count, BLOCK, count, BLOCK).transpose(1, 3, 0, 2, 4)
    mixed = blocks.reshape(-1, 3, BLOCK, BLOCK)[rng.permutation(count * count)]
    return mixed.reshape(blocks.shape).transpose(2, 0, 3, 1, 4).reshape(picture.shape)


def all_versions(photos: Images, textures: bool, side: int, seed: int) -> dict[str, Images]:
    """Photograph, version: the picture. Scenes are shrunk; of textures two corners are taken."""
    outer = side + 2 * MARGIN
    places = {name: rgb(p)[:, -side:, -side:] for name, p in photos.items() if textures}
    pieces = {
        name: rgb(p)[:, :outer, :outer] if textures else scene(p, outer)
        for name, p in photos.items()
    }
    names, rng = list(photos), np.random.default_rng(seed)
    return {
        name: versions(pieces[name], middle(pieces[names[i - 1]], side), places.get(name), rng)
        for i, name in enumerate(names)
    }


# --- distances ---


def distances(nets: list[Features], pictures: Images) -> Found:
    """Measure, version: how far from the first, by "relative" losses, averaged over networks."""
    others = list(pictures)[1:]
    batch = np.stack([np.asarray(p, np.float32) for p in pictures.values()])
    found: Found = {"pixels": {}}
    for k, name in enumerate(others, 1):
        found["pixels"][name] = float(((batch[k] - batch[0]) ** 2).mean())
    for features in nets:
        with no_grad():
            z = features.prepare(beside(features.vgg, batch))
            taps = features(z, (*LAYERS, *STYLE))
            grams = {layer: gram(taps[layer], "relative") for layer in STYLE[:MATCHED]}
        for k, name in enumerate(others, 1):
            for layer in LAYERS:
                far = content_loss(taps[layer][k : k + 1], taps[layer][:1], "relative").item()
                _add(found, layer, name, far / len(nets))
            for g in grams.values():
                far = style_loss(g[k : k + 1], g[:1], "relative").item()
                _add(found, "Gram", name, far / MATCHED / len(nets))
    return found


def _add(found: Found, measure: str, name: str, value: float) -> None:
    row = found.setdefault(measure, {})
    row[name] = row.get(name, 0.0) + value


def in_units(each: list[Found]) -> Found:
    """Means over photographs, as parts of the mean distance to another photograph."""
    means = {m: {v: float(np.mean([f[m][v] for f in each])) for v in each[0][m]} for m in each[0]}
    return {m: {v: d / row[UNIT] for v, d in row.items()} for m, row in means.items()}


# --- back from features to a picture ---


def reconstructed(features: Features, recipe: Recipe, picture: np.ndarray, name: str,
                  size: Size, args: Any) -> tuple[np.ndarray, float]:
    """A picture from noise that has these features or Gram matrices, and its loss, relative."""
    long = args.preset == "paper"
    made = stylise(
        picture, [picture] if recipe.style else [], features, recipe, steps=size.steps, every=10,
        noise=0.2 if recipe.style else 0.02, seed=args.seed,
        checkpoint=args.out / f"{name}.safetensors" if long else None,
        resume=args.resume,
    )
    return made.picture, made.losses[-1]["total"] / 100


def inverted(features: Features, picture: np.ndarray, size: Size, args: Any) -> dict[str, Any]:
    """The picture from each layer's features alone; and shrunk to that layer's grid."""
    found = {}
    for layer in LAYERS:
        made, loss = reconstructed(features, Recipe("relative", {layer: 100}), picture, layer,
                                   size, args)
        z = features.prepare(beside(features.vgg, picture[None]))
        shape = features(z, [layer])[layer].shape
        small = imresize(picture, size=(shape[2], shape[3]))
        grid = np.clip(imresize(small, size=(size.small, size.small)), 0, 1)
        found[layer] = {
            "picture": made, "loss": loss, "psnr": decibels(made, picture),
            "grid": grid, "shrunk": decibels(grid, picture),
            "times": float(np.prod(shape)) / picture.size,
        }
    return found


def decibels(answer: np.ndarray, target: np.ndarray) -> float:
    """PSNR over all three colours."""
    width = target.shape[-1]
    return psnr(answer.reshape(-1, width), np.asarray(target, answer.dtype).reshape(-1, width), 1)


def synthesised(features: Features, texture: np.ndarray, size: Size, args: Any) -> dict[str, Any]:
    """Textures from the Gram matrices of more and more layers; each judged at all of them."""
    judge = Objective(features, Recipe("relative", {}, dict.fromkeys(STYLE, 1.0)), [texture])
    rng = np.random.default_rng(args.seed)
    order = rng.permutation(texture[0].size)
    made = {"pixels shuffled": texture.reshape(3, -1)[:, order].reshape(texture.shape)}
    for count in range(1, MATCHED + 1):
        recipe = Recipe("relative", {}, dict.fromkeys(STYLE[:count], 100 / count))
        name = STYLE[0] if count == 1 else f"to {STYLE[count - 1]}"
        made[name], _ = reconstructed(features, recipe, texture, f"gram{count}", size, args)
    made["blocks shuffled"] = shuffled(texture, rng)
    return {name: {"picture": p, "losses": judged(judge, p)} for name, p in made.items()}


def judged(judge: Objective, picture: np.ndarray) -> dict[str, float]:
    """The relative Gram loss at each layer."""
    features, target = judge.features, judge.targets[0]
    with no_grad():
        taps = features(features.prepare(beside(features.vgg, picture[None])), STYLE)
    return {s: style_loss(gram(taps[s], "relative"), target[s], "relative").item() for s in STYLE}


# --- pictures ---

COLOURS = ("#222222", "#9ecae1", "#4292c6", "#2171b5", "#08306b", "#d95f0e")
"""Of the measures: pixels, the layers from light to dark, Gram."""


def new_figure(width: float, height: float) -> Any:
    """None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    return Figure(figsize=(width, height), layout="constrained")


def show(axes: Any, picture: np.ndarray | None, title: str = "") -> None:
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=10)
    if picture is None:
        axes.set_axis_off()
    else:
        axes.imshow(np.clip(picture, 0, 1).transpose(1, 2, 0), interpolation="nearest")


def draw_distances(path: Path, shown: dict[str, Images], units: dict[str, Found]) -> bool:
    """The versions of one photograph of each group, and all distances as bars."""
    figure = new_figure(15, 12.5)
    if figure is None:
        return False
    upper, lower = figure.subfigures(2, 1, height_ratios=(1, 2.2))
    count = max(len(each) for each in shown.values())
    for row, each in zip(upper.subplots(2, count), shown.values(), strict=True):
        for axes, (name, picture) in zip(row, _padded(each, count), strict=True):
            show(axes, picture, name)
    for axes, (group, found) in zip(lower.subplots(2, 1), units.items(), strict=True):
        names = [v for v in found["pixels"] if v != UNIT]
        for k, (colour, (measure, row)) in enumerate(zip(COLOURS, found.items(), strict=True)):
            axes.bar(np.arange(len(names)) + 0.14 * (k - 2.5), [100 * row[v] for v in names],
                     0.13, color=colour, label=measure)
        axes.set_xticks(range(len(names)), names)
        axes.axhline(100, color="grey", linewidth=0.8, linestyle=":")
        axes.set(yscale="log", ylim=(5e-4, 1000), ylabel=f"% of the distance to\n{UNIT}",
                 title=f"{group}: the first five have the same pixel error")
        axes.legend(ncols=6, fontsize=9, loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    return True


def _padded(each: Images, count: int) -> list[tuple[str, np.ndarray | None]]:
    return [*each.items(), *[("", None)] * (count - len(each))]


def draw_inversions(path: Path, photo: np.ndarray, texture: np.ndarray, back: dict[str, Any],
                    made: dict[str, Any]) -> None:
    """A photograph from features, a texture from Gram matrices."""
    figure = new_figure(15, 5.6)
    rows = figure.subplots(2, 7)
    show(rows[0, 0], photo, "the photograph")
    for axes, (layer, each) in zip(rows[0, 1:5], back.items(), strict=True):
        show(axes, each["picture"], f"from {layer}\n{each['psnr']:.1f} dB")
    for axes, layer in zip(rows[0, 5:], LAYERS[2:], strict=True):
        each = back[layer]
        show(axes, each["grid"], f"shrunk to {layer}'s grid\n{each['shrunk']:.1f} dB")
    show(rows[1, 0], texture, "the texture")
    for axes, (name, each) in zip(rows[1, 1:], made.items(), strict=True):
        title = name if "shuffled" in name else f"Gram matrices,\n{name}"
        show(axes, each["picture"], title)
    figure.savefig(path, dpi=100)


# --- all of it ---


def print_units(group: str, found: Found) -> None:
    names = list(found["pixels"])
    print(f"\n{group}: per cent of the distance to another photograph")
    print(table(["", *found], [[v, *(f"{100 * row[v]:.3g}" for row in found.values())]
                               for v in names]))


def networks(args: Any, size: Size) -> list[Features]:
    """The trained one, or some of random weights; says which."""
    if args.weights is not None:
        print(f"Network: weights from {args.weights}, average pooling.")
        return [load_features(args.weights, "average").to(args.device)]
    print(f"Network: VGG-19 with RANDOM weights, {size.width} channels wide at first, average "
          "pooling.\nWhat a trained one sees may differ; pass --weights FILE.")
    return [random_features("vgg19", "average", args.seed + k, size.width).to(args.device)
            for k in range(size.nets)]


def main() -> None:
    parser = arguments(__doc__, "15_perceptual_loss")
    add_device_argument(parser)
    parser.add_argument("--weights", type=Path, metavar="FILE",
                        help="of VGG-19, such as torchvision's vgg19-dcbb9e9d.pth (random)")
    add_preset_arguments(parser, "photographs of 224 pixels and more; with --weights")
    args = parse_with_preset(parser)
    if args.preset == "paper" and args.weights is None:
        parser.error("--preset paper needs --weights FILE")
    size = DRY if args.dry_run else PAPER if args.preset == "paper" else FULL
    known = {**photographs("training"), **photographs("held-out")}
    groups: dict[str, Images] = {g: {n: known[n] for n in names} for g, names in GROUPS.items()}
    if args.preset == "paper":
        groups["scenes"] = read_folder(args.data)
    nets = networks(args, size)
    args.out.mkdir(parents=True, exist_ok=True)
    pictures = {g: all_versions(each, g == "textures", size.side, args.seed)
                for g, each in groups.items()}
    units = {g: in_units([distances(nets, v) for v in each.values()])
             for g, each in pictures.items()}
    for group, found in units.items():
        print_units(group, found)

    name = "chelsea" if "chelsea" in groups["scenes"] else next(iter(groups["scenes"]))
    photo = scene(groups["scenes"][name], size.small)
    texture = middle(rgb(known["gravel"]), size.small)
    back = inverted(nets[0], photo, size, args)
    made = synthesised(nets[0], texture, size, args)
    print(f"\n{name} from the features of one layer")
    print(table(["", "numbers per pixel value", "relative loss", "PSNR", "shrunk to its grid"],
                [[layer, f"{b['times']:.2f}", f"{b['loss']:.2g}", f"{b['psnr']:.2f}",
                  f"{b['shrunk']:.2f}"] for layer, b in back.items()]))
    print("\ngravel from Gram matrices: relative loss at each layer")
    print(table(["matched", *STYLE], [[name, *(f"{v:.2g}" for v in m["losses"].values())]
                                      for name, m in made.items()]))
    shown = {"scenes": pictures["scenes"][name], "textures": pictures["textures"]["gravel"]}
    if draw_distances(args.out / "distances.png", shown, units):
        draw_inversions(args.out / "inversions.png", photo, texture, back, made)
        print(f"\nDrawn: {args.out / 'distances.png'}, {args.out / 'inversions.png'}")
    metrics = {"distances": units, "inversions": _numbers(back), "textures": _numbers(made)}
    print(f"Saved {write_metrics(args.out, metrics)}")


def _numbers(found: dict[str, Any]) -> dict[str, Any]:
    left_out = ("picture", "grid")
    return {
        name: {k: v for k, v in each.items() if k not in left_out} for name, each in found.items()
    }


if __name__ == "__main__":
    main()
