"""`minidl kernels`: the ladders of CUDA kernels, listed, checked, explained and timed.

None of it needs a GPU: kernels run on the emulator, and NVRTC compiles them anywhere.
"""

from __future__ import annotations

import argparse
from importlib import import_module

COMMANDS = {
    "list": ("list", "the ladder of each op, and which rung is used where"),
    "check": ("check", "equal to NumPy, no races, no overruns: on the emulator"),
    "explain": ("explain", "formula, launch, registers, and the traffic of every line"),
    "bench": ("bench", "the time of each rung, on the emulator or on a GPU"),
}
"""Each subcommand's module, and what it does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands, each with flags of its own and examples."""
    commands = parser.add_subparsers(dest="kernels_command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        part = import_module(f"{__name__}.{module}")
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=part.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        part.add_arguments(command)


def main(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    module, _ = COMMANDS[args.kernels_command]
    return import_module(f"{__name__}.{module}").main(args)
