"""`minidl run fast-style`: train a network for one style, or put pictures through one.

    minidl run fast-style train PHOTOGRAPHS STYLE --out runs/style
    minidl run fast-style apply runs/style/style.safetensors PICTURE
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from minidl import manual_seed
from minidl.commands.run.flag_values import positive_int
from minidl.commands.run.pictures import Picture, check_target, write_picture
from minidl.commands.run.style import (
    add_network_arguments,
    load_network,
    read_coloured,
    with_longer_side,
)
from minidl.data import DataLoader
from minidl.errors import ArgumentError, message
from minidl.lecture.flags import usable_device
from minidl.models.johnson import TransformerNet, TransformNet
from minidl.optim import Adam
from minidl.tasks.perceptual import Photographs, StyleTrainer
from minidl.tasks.perceptual.fast_style import fast_style, load_transformer, save_transformer
from minidl.train import fit

EPILOG = """\
`train` needs a folder of photographs (the paper has 80,000, of COCO) and one picture of a style; it
can be stopped, and goes on with --resume. pytorch/examples' network begins black, and takes
hundreds of steps to leave that; the paper's is quicker. `apply` takes what it wrote, or
pytorch/examples' .pth files, and pictures of any size."""

NETS = ("examples", "paper")
"""The values of ``--net``: the networks of pytorch/examples and of the paper."""

RECIPES = {"random": "random-fast", "torchvision": "pytorch-examples"}
"""The recipe for each kind of weights; Caffe's, whose features are larger, have Johnson's."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two actions, each with its flags."""
    actions = parser.add_subparsers(dest="action", metavar="{train,apply}", required=True)
    train = actions.add_parser("train", help="learn a style", epilog=EPILOG)
    train.add_argument("folder", type=Path, metavar="PHOTOGRAPHS", help="a folder of pictures")
    train.add_argument("style", type=Path, metavar="STYLE", help="a picture of the style")
    add_network_arguments(train)
    train.add_argument(
        "--out", type=Path, default=Path("runs/fast_style"), metavar="DIR",
        help="folder of checkpoints and of style.safetensors (%(default)s)",
    )
    train.add_argument(
        "--net", choices=NETS, default="examples",
        help="pytorch/examples' network or the paper's (%(default)s)",
    )
    train.add_argument(
        "--channels", type=positive_int, default=32, help="of its first layer (%(default)s)"
    )
    train.add_argument(
        "--size", type=positive_int, default=256,
        help="pixels of the squares to train on (%(default)s)",
    )
    train.add_argument(
        "--style-size", type=positive_int, metavar="N", help="longer side of the style (as it is)"
    )
    train.add_argument(
        "--batch", type=positive_int, default=4, help="pictures a step (%(default)s)"
    )
    train.add_argument("--epochs", type=positive_int, default=2, help="(%(default)s)")
    train.add_argument("--lr", type=float, default=1e-3, help="rate of Adam (%(default)s)")
    train.add_argument("--seed", type=int, default=0, help="of everything random")
    train.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    train.add_argument(
        "--save-every", type=positive_int, default=100, metavar="N",
        help="steps between checkpoints (%(default)s)",
    )
    apply = actions.add_parser("apply", help="put a picture through a network")
    apply.add_argument("model", type=Path, metavar="MODEL", help=".safetensors or .pth")
    apply.add_argument("picture", type=Path, metavar="PICTURE", help="of any size")
    apply.add_argument(
        "--out", type=Path, metavar="FILE", help="what to write (PICTURE_MODEL.png, beside it)"
    )
    apply.add_argument(
        "--device", type=usable_device, default="cpu", metavar="{cpu,cuda}",
        help="where to compute (%(default)s)",
    )


def main(args: argparse.Namespace) -> int:
    """Train a network, or apply one."""
    return train(args) if args.action == "train" else apply(args)


def train(args: argparse.Namespace) -> int:
    """Train a network on photographs, and write it."""
    begin = time.perf_counter()
    check_folder(args.out, args.resume)
    photographs = Photographs(args.folder, args.size)
    if len(photographs) < args.batch:
        raise ArgumentError(
            f"a batch has {args.batch} pictures, '{args.folder}' has {len(photographs)}"
        )
    style = read_coloured(args.style).colours
    style = with_longer_side(style, args.style_size or max(style.shape[1:]))
    features, recipe = load_network(args, lambda kind: RECIPES.get(kind, "fast-neural-style"))
    features.check(recipe.layers, (1, 3, args.size, args.size))
    manual_seed(args.seed)
    build = TransformerNet if args.net == "examples" else TransformNet
    net = build(width=args.channels)
    if args.size < net.smallest:
        raise ArgumentError(f"--size must be at least {net.smallest} for this network")
    net.to(args.device)
    trainer = StyleTrainer(features, style, recipe)
    loader = DataLoader(
        photographs, args.batch, shuffle=True, drop_last=True, seed=args.seed, workers=1,
        device=args.device,
    )
    config = {"net": args.net, "channels": args.channels, "recipe": repr(recipe),
              "size": args.size, "batch": args.batch, "style": str(args.style),
              "weights": str(args.weights)}
    history = fit(
        net, loader, Adam(net.parameters(), lr=args.lr), trainer.loss, epochs=args.epochs,
        out=args.out, resume=args.resume, checkpoint_every=args.save_every, config=config,
    )
    target = args.out / "style.safetensors"
    save_transformer(target, net)
    print(f"{len(history)} epochs of {len(loader)} steps, loss {history[0]['loss']:.4g} in the "
          f"first, {history[-1]['loss']:.4g} in the last, {time.perf_counter() - begin:.1f} s. "
          f"Wrote {target}")
    return 0


def check_folder(out: Path, resume: bool) -> None:
    """Refuse a folder that cannot be written to, or a run that is not there."""
    if out.exists() and not out.is_dir():
        raise ArgumentError(message(f"'{out}' is a file", hint="--out names a folder."))
    if resume and not (out / "last.safetensors").exists():
        raise ArgumentError(
            message(f"--resume: '{out}' has no checkpoint", hint="begin without --resume.")
        )


def apply(args: argparse.Namespace) -> int:
    """Put a picture through a network, and write the result."""
    begin = time.perf_counter()
    picture = read_coloured(args.picture)
    out = args.out or args.picture.with_name(f"{args.picture.stem}_{args.model.stem}.png")
    check_target(out, picture, args.picture)
    model, notes = load_transformer(args.model)
    for note in notes:
        print(f"Note: {note}.")
    model.to(args.device)
    result = fast_style(model, picture.colours)
    write_picture(out, Picture(result, picture.alpha, picture.profile))
    h, w = result.shape[1:]
    print(f"{w} x {h} pixels through {type(model).__name__}, "
          f"{time.perf_counter() - begin:.1f} s. Wrote {out}")
    return 0
