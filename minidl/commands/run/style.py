"""`minidl run style`: a picture in the style of others, after Gatys et al.

The result is written every few steps, so that it can be watched; beside it, until the end, lies
the state from which `--resume` goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minidl.commands.run.flag_values import non_negative, positive_int
from minidl.commands.run.pictures import Picture, check_target, read_picture, write_picture
from minidl.data import photographs
from minidl.data.images import read_image
from minidl.data.readers.photographs import FILES
from minidl.errors import ArgumentError, DataError, message
from minidl.files.known_weights import find
from minidl.lecture.flags import usable_device
from minidl.models.vgg import NORMALISATIONS
from minidl.tasks.perceptual import (
    RECIPES,
    Features,
    Recipe,
    find_recipe,
    load_features,
    normalise_activations,
    random_features,
    resized,
    rgb,
    usual_recipe,
)
from minidl.tasks.perceptual.stylise import OPTIMISERS, STARTS, stylise
from minidl.tasks.restoration import imresize

EPILOG = """\
FILE of weights: VGG-16 or VGG-19, from torchvision or converted from Caffe, or a name that
`minidl weights list` knows, such as vgg16. Without one, the network has random weights: colours and
strokes are transferred, but it knows nothing of what is to be seen. The recipe for trained weights,
"relative", suits any; the others' weights are those of their sources, and the right ones depend on
the weight file: change --style-weight by factors of ten if the result is the content (more) or the
style (less) alone."""


SHOWN = 160
"""Pixels of the longer side of the photographs that activations are scaled over."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the topic."""
    parser.add_argument("content", type=Path, metavar="CONTENT", help="the picture to restyle")
    parser.add_argument(
        "styles", type=Path, nargs="+", metavar="STYLE", help="one or more pictures of the style"
    )
    add_network_arguments(parser)
    parser.add_argument(
        "--size", type=positive_int, default=512, help="pixels of the longer side (%(default)s)"
    )
    parser.add_argument(
        "--style-scale", type=non_negative, default=1.0, metavar="X",
        help="size of the style pictures beside that: strokes grow with it (%(default)s)",
    )
    parser.add_argument(
        "--from", dest="start", choices=STARTS, help="what to begin with (the recipe's)"
    )
    parser.add_argument("--steps", type=positive_int, default=300, help="iterations (%(default)s)")
    parser.add_argument(
        "--optimizer", choices=OPTIMISERS, default="lbfgs", help="(%(default)s)"
    )
    parser.add_argument(
        "--blend", type=non_negative, nargs="+", metavar="X", help="weight of each style (equal)"
    )
    parser.add_argument(
        "--masks", type=Path, nargs="+", metavar="FILE",
        help="for each style a picture that is white where it belongs",
    )
    parser.add_argument(
        "--preserve-colour", action="store_true", help="keep the content's own colours"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise and of random weights")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="what to write (CONTENT_styled.png, beside it)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    parser.add_argument(
        "--every", type=positive_int, default=10, metavar="N",
        help="steps from one writing of the result and the state to the next (%(default)s)",
    )


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose the network that judges pictures, and where it computes."""
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="of VGG, or vgg16, vgg19 (none: random)"
    )
    parser.add_argument(
        "--normalisation", choices=tuple(NORMALISATIONS),
        help="how the weights want pictures (told by the file)",
    )
    parser.add_argument(
        "--recipe", choices=tuple(RECIPES), help="layers and weights (by the weights)"
    )
    for name in ("content", "style"):
        parser.add_argument(
            f"--{name}-weight", type=non_negative, default=1.0, metavar="X",
            help=f"times what the recipe gives {name} (%(default)s)",
        )
    parser.add_argument(
        "--tv", type=non_negative, metavar="X", help="weight of smoothness (the recipe's)"
    )
    parser.add_argument(
        "--width", type=positive_int, default=64,
        help="channels of the first layer of random weights: fewer are faster (%(default)s)",
    )
    parser.add_argument(
        "--device", type=usable_device, default="cpu", metavar="{cpu,cuda}",
        help="where to compute (%(default)s)",
    )


def main(args: argparse.Namespace) -> int:
    """Stylise, write the picture, say what was done."""
    begin = time.perf_counter()
    picture = read_coloured(args.content)
    out = args.out or args.content.with_name(f"{args.content.stem}_styled.png")
    for source in (args.content, *args.styles):
        check_target(out, picture, source)
    state = out.with_name(f"{out.stem}.state.safetensors")
    check_state(state, args.resume)
    content = with_longer_side(picture.colours, args.size)
    longer = args.size * args.style_scale
    styles = [with_longer_side(read_coloured(p).colours, longer) for p in args.styles]
    masks = None if args.masks is None else [read_mask(p, content) for p in args.masks]
    features, recipe = load_network(args, lambda kind: usual_recipe(kind != "random"))
    if recipe.normalised:
        normalise_activations(features, [content, *styles, *shipped_photographs()])
    alpha = None if picture.alpha is None else imresize(picture.alpha, size=content.shape[1:])

    def write(step: int, result: np.ndarray, losses: dict[str, float]) -> None:
        write_picture(out, Picture(result, alpha, picture.profile))

    made = stylise(
        content, styles, features, recipe, style_weights=args.blend, masks=masks,
        start=args.start, optimizer=args.optimizer, steps=args.steps, every=args.every,
        preserve_colour=args.preserve_colour, seed=args.seed, watcher=write, checkpoint=state,
        resume=args.resume,
    )
    write(args.steps, made.picture, {})
    for path in (state, state.with_suffix(".json")):
        path.unlink(missing_ok=True)
    h, w = made.picture.shape[1:]
    last = made.losses[-1]
    print(f"{w} x {h} pixels, {last['step']:.0f} steps, loss {made.losses[0]['total']:.4g} after "
          f"the first {made.losses[0]['step']:.0f}, {last['total']:.4g} in the end, "
          f"{time.perf_counter() - begin:.1f} s. Wrote {out}")
    return 0


def load_network(
    args: argparse.Namespace, usual: Callable[[str], str]
) -> tuple[Features, Recipe]:
    """Load the network and the recipe that are asked for, and say which they are.

    ``usual`` names the recipe if none is asked for: of "random" weights, or of a normalisation.
    """
    if args.weights is None:
        if args.normalisation is not None:
            raise ArgumentError("--normalisation is for --weights: random ones want no other")
        name = args.recipe or usual("random")
        recipe = find_recipe(name)
        features = random_features(recipe.network, recipe.pooling, args.seed, args.width)
        kind = recipe.network.replace("vgg", "VGG-")
        print(f"Network: {kind} with random weights, {recipe.pooling} pooling; recipe {name!r}. "
              "For what a trained network sees, pass --weights.")
    else:
        pooling = find_recipe(args.recipe).pooling if args.recipe else "max"
        features = load_features(args.weights, pooling, args.normalisation)
        name = args.recipe or usual(features.normalisation)
        recipe = find_recipe(name)
        print(f"Network: weights from {find(args.weights)}, pictures normalised for "
              f"{features.normalisation!r}, {pooling} pooling; recipe {name!r}.")
    recipe = recipe.scaled(args.content_weight, args.style_weight, args.tv)
    return features.to(args.device), recipe


def shipped_photographs() -> list[np.ndarray]:
    """The photographs of minidl[data], small; none where it is not installed.

    The mean activation of a filter that two pictures hardly show is no measure of it: divided by
    that, it would count more than all others.
    """
    try:
        shown = [image for part in FILES for image in photographs(part).values()]
    except DataError:
        print("Activations are scaled over these pictures alone; more come with "
              "`pip install 'minidl[data]'`.", file=sys.stderr)
        return []
    return [with_longer_side(rgb(image), SHOWN) for image in shown]


def check_state(state: Path, resume: bool) -> None:
    """Refuse to write over the state of a run that could go on."""
    if state.exists() and not resume:
        raise ArgumentError(
            message(
                f"there is the state of a run that was stopped, '{state}'",
                hint="pass --resume to go on with it, or delete it to begin anew.",
            )
        )
    if resume and not state.exists():
        raise ArgumentError(
            message(f"--resume: there is no state '{state}'", hint="begin without --resume.")
        )


def read_coloured(path: Path) -> Picture:
    """Read a picture as RGB; a grey one loses its profile, which does not fit three colours."""
    picture = read_picture(path)
    if len(picture.colours) == 3:
        return picture
    return Picture(np.repeat(picture.colours, 3, 0), picture.alpha, None)


def with_longer_side(colours: np.ndarray, longer: float) -> np.ndarray:
    """Resize a picture so that its longer side has so many pixels."""
    h, w = colours.shape[1:]
    size = (max(round(h * longer / max(h, w)), 1), max(round(w * longer / max(h, w)), 1))
    return resized(colours, size)


def read_mask(path: Path, content: np.ndarray) -> np.ndarray:
    """Read a grey picture, and stretch it over the content."""
    grey = read_image(path, "L")[0]
    return np.clip(imresize(grey, size=content.shape[1:]), 0, 1).astype(np.float32)
