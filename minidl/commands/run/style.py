"""`minidl run style`: a picture in the style of others, after Gatys et al.

The result is written every few steps, so that it can be watched; beside it, until the end, lies
the state from which `--resume` goes on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from minidl.commands.run.flag_values import non_negative, positive_int
from minidl.commands.run.pictures import Picture, check_target, read_picture, write_picture
from minidl.data.images import read_image
from minidl.errors import ArgumentError, message
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
)
from minidl.tasks.perceptual.stylise import OPTIMISERS, STARTS, stylise
from minidl.tasks.restoration import imresize

EPILOG = """\
FILE of weights: VGG-16 or VGG-19, from torchvision (vgg19-dcbb9e9d.pth) or converted from Caffe
(vgg_conv.pth). Without one, the network has random weights: colours and strokes are transferred,
but it knows nothing of what is to be seen. Recipes' weights are those of their sources; the right
ones depend on the weight file: change --style-weight by factors of ten if the result is the
content (more) or the style (less) alone."""


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
        "--from", dest="start", choices=STARTS, default="noise", help="begin with (%(default)s)"
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
        "--weights", type=Path, metavar="FILE", help="of VGG (none: random weights)"
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
    recipe_name = args.recipe or ("gatys-pytorch" if args.weights else "random")
    features, recipe = load_network(args, recipe_name)
    if recipe.normalised:
        normalise_activations(features, [content, *styles])
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


def load_network(args: argparse.Namespace, recipe_name: str) -> tuple[Features, Recipe]:
    """Load the network and the recipe that are asked for, and say which they are."""
    recipe = find_recipe(recipe_name).scaled(args.content_weight, args.style_weight, args.tv)
    if args.weights is None:
        if args.normalisation is not None:
            raise ArgumentError("--normalisation is for --weights: random ones want no other")
        features = random_features(recipe.network, recipe.pooling, args.seed, args.width)
        kind = recipe.network.replace("vgg", "VGG-")
        print(f"Network: {kind} with random weights, {recipe.pooling} pooling; recipe "
              f"{recipe_name!r}. For what a trained network sees, pass --weights.")
    else:
        features = load_features(args.weights, recipe.pooling, args.normalisation)
        print(f"Network: weights from {args.weights}, pictures normalised for "
              f"{features.normalisation!r}, {recipe.pooling} pooling; recipe {recipe_name!r}.")
    return features.to(args.device), recipe


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
