"""The command line: `minidl demo`, `check`, `run`, `weights`, `kernels` and `doctor`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from minidl import __version__
from minidl.errors import MinidlError

COMMANDS = {
    "demo": "train autoencoders and VAEs on digits, write a page",
    "check": "check every op's derivatives against finite differences",
    "run": "use a network on pictures of yours, or run an example",
    "weights": "list, fetch and verify files of trained weights",
    "kernels": "list, check, explain and time the CUDA kernels",
    "doctor": "say what this machine has, and what is missing",
}
"""The effect of each command; its module in ``minidl.commands`` is imported when it is called."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status: 0, 1 (it failed) or 2 (it was asked wrongly)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser("minidl", description="A deep-learning engine to read.")
    parser.add_argument("--version", action="version", version=f"minidl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    chosen = None
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name in given[:1]:
            chosen = import_module(f"minidl.commands.{name}")
            chosen.add_arguments(command)
    try:
        args = parser.parse_args(given)
        if chosen is None:
            parser.print_help()
            return 0
        return chosen.main(args)
    except MinidlError as error:
        lines = [f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())]
        print("\n    ".join(lines), file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
