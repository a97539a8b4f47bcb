"""The flags that the lecture's examples share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from minidl.compute.arrays import to_device
from minidl.errors import DeviceError


def arguments(description: str | None, name: str) -> argparse.ArgumentParser:
    """Make a parser with the flags that every example has.

    What it prints comes line by line, also into a file or a pipe: else all comes at the end.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_run_arguments(parser, name)
    return parser


def add_run_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the flags of anything that runs and leaves results."""
    parser.add_argument(
        "--out", type=Path, default=Path("runs") / name, help="folder of results (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--dry-run", action="store_true", help="a few steps only, in seconds")


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose the digits, and where to train on them."""
    parser.add_argument(
        "--data",
        choices=("digits", "mnist"),
        default="digits",
        help="scikit-learn's 8x8 digits, or MNIST (%(default)s)",
    )
    parser.add_argument("--root", type=Path, help="folder of MNIST's IDX files")
    add_device_argument(parser)


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says where to train."""
    parser.add_argument(
        "--device", type=usable_device, default="cpu", metavar="{cpu,cuda}",
        help="where to train (%(default)s)",
    )


def add_preset_arguments(parser: argparse.ArgumentParser, folder: str) -> None:
    """Add the flags that choose between minutes on generated data and the paper's own setting.

    Parameters
    ----------
    folder : str
        What ``--data`` holds, such as "CamVid: train/, trainannot/, ...".
    """
    parser.add_argument(
        "--preset", choices=("tiny", "paper"), default="tiny",
        help="two minutes on two cores, or the paper's setting on its data (%(default)s)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help=f"for --preset paper: the folder of {folder}"
    )
    parser.add_argument(
        "--resume", action="store_true", help="for --preset paper: go on where a run stopped"
    )


def parse_with_preset(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the flags; end the program if the paper's setting is asked for without its data."""
    args = parser.parse_args()
    if args.preset == "paper" and args.data is None:
        parser.error("--preset paper needs --data DIR")
    if args.data is not None and not args.data.is_dir():
        parser.error(f"--data {args.data}: there is no such folder")
    return args


def usable_device(name: str) -> str:
    """Check the name of a device, before anything is computed, and hand it back."""
    try:
        to_device(np.zeros(1), name)
    except DeviceError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name
