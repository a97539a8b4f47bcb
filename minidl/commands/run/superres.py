"""`minidl run superres`: a picture enlarged by SRCNN, VDSR or RED-Net.

Luma is enlarged bicubically and goes through the network, piece by piece; the colours beside it,
and transparency, are enlarged bicubically alone. A grey picture is all luma.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minidl.commands.run.flag_values import enlargement, positive_int
from minidl.commands.run.pictures import Picture, check_target, read_picture, write_picture
from minidl.errors import ArgumentError, DataError, message
from minidl.lecture.flags import usable_device
from minidl.models.srcnn import SRCNN
from minidl.models.vdsr import VDSR
from minidl.tasks.restoration import (
    imresize,
    load_model,
    restored_in_pieces,
    rgb_to_ycbcr,
    ycbcr_to_rgb,
)
from minidl.tasks.restoration.weights import Restorer
from minidl.tasks.restoration.whole import count_pieces

EPILOG = """\
FILE is the authors' .mat file of SRCNN or VDSR (needs `pip install 'minidl[data]'`), or a
.safetensors file that minidl.tasks.restoration.save_model wrote. An SRCNN is trained for one scale,
which the file's name tells (x3.mat); VDSR for 2, 3 and 4 together. Transparency is kept; a
picture that is not upright is turned."""

MAX_PIXELS = 2**28
"""Most pixels of the enlarged picture."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the topic."""
    parser.add_argument("image", type=Path, metavar="IMAGE", help="a picture of any size")
    parser.add_argument(
        "--weights", type=Path, required=True, metavar="FILE", help=".mat, .safetensors, .pth"
    )
    parser.add_argument(
        "--scale", type=enlargement, default=3,
        help="how many times as large, 1 to 16 (%(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="what to write (IMAGE_xSCALE.png, beside IMAGE)"
    )
    parser.add_argument(
        "--tile", type=positive_int, default=256, metavar="N",
        help="pixels a side of what is computed at once: less needs less memory (%(default)s)",
    )
    parser.add_argument(
        "--device", type=usable_device, default="cpu", metavar="{cpu,cuda}",
        help="where to compute (%(default)s)",
    )


def main(args: argparse.Namespace) -> int:
    """Enlarge the picture, write it, say what was done."""
    start = time.perf_counter()
    picture = read_picture(args.image)
    out = args.out or args.image.with_name(f"{args.image.stem}_x{args.scale:g}.png")
    check_target(out, picture, args.image)
    h, w = picture.colours.shape[-2:]
    check_size(h, w, args.scale)
    model = load_model(args.weights)
    check_model(model, args.weights)
    check_scale(model, args.weights, args.scale)
    model.to(args.device)
    enlarged = enlarged_picture(model, picture, args.scale, args.tile)
    write_picture(out, enlarged)
    i, j = enlarged.colours.shape[-2:]
    print(f"{args.image}: {w} x {h} pixels to {j} x {i} by {described(model)}, "
          f"{time.perf_counter() - start:.1f} s. Wrote {out}")
    return 0


def enlarged_picture(model: Restorer, picture: Picture, scale: float, tile: int) -> Picture:
    """Enlarge a picture to sides ``scale`` times as long, each rounded up."""
    colours = picture.colours
    ycbcr = rgb_to_ycbcr(colours) if len(colours) == 3 else colours
    large = imresize(ycbcr, scale)
    with tqdm(
        total=count_pieces(large.shape[-2:], tile), desc="pieces", disable=None, leave=False
    ) as bar:
        large[0] = restored_in_pieces(model, large[0], tile, model.radius, bar.update)
    alpha = None if picture.alpha is None else imresize(picture.alpha, scale)
    sharp = ycbcr_to_rgb(large) if len(large) == 3 else large
    return Picture(np.clip(sharp, 0, 1), alpha, picture.profile)


def described(model: Restorer) -> str:
    """The name of a network, and what kind or depth it has."""
    name = type(model).__name__
    kind = getattr(model, "kind", None)
    return f"{name} {kind}" if kind else f"{name} of {model.radius} layers"


def check_size(h: int, w: int, scale: float) -> None:
    """Refuse a picture that would fill the memory."""
    i, j = math.ceil(scale * h), math.ceil(scale * w)
    if i * j > MAX_PIXELS:
        raise ArgumentError(
            message(
                "the enlarged picture would be too large",
                f"{w} x {h} pixels become {j} x {i}, and at most {MAX_PIXELS:,} are computed",
                hint="take a smaller --scale, or a part of the picture.",
            )
        )


def check_scale(model: Restorer, path: Path, scale: float) -> None:
    """Refuse an SRCNN whose file is named for another scale; say a word where nothing is known."""
    if isinstance(model, SRCNN):
        told = re.search(r"(?<![a-z0-9])x(\d+)(?!\d)", path.stem.lower())
        if told is None:
            print(f"An SRCNN is trained for one scale; the name of '{path}' does not tell which.",
                  file=sys.stderr)
        elif int(told[1]) != scale:
            raise ArgumentError(
                message(
                    f"'{path}' is an SRCNN for x{told[1]}, by its name",
                    f"the picture is to be enlarged x{scale:g}",
                    hint=f"pass --scale {told[1]}, or the file for x{scale:g}.",
                )
            )
    elif isinstance(model, VDSR) and not 2 <= scale <= 4:
        print(f"VDSR is trained for x2, x3 and x4; x{scale:g} is beyond what it knows.",
              file=sys.stderr)


def check_model(model: Restorer, path: Path) -> None:
    """Refuse a network that does not see luma alone."""
    first = next(iter(model.parameters()))
    if first.shape[1] != 1:
        raise DataError(
            message(
                f"'{path}' is a network for images of {first.shape[1]} channels",
                hint="super-resolution here works on luma, one channel.",
            )
        )
