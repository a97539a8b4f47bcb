"""`minidl run`: a trained network on a file of yours, one topic for each thing it can do."""

from __future__ import annotations

import argparse
from importlib import import_module

from minidl.lecture import table

TOPICS = {
    "superres": ("minidl.run_command.superres", "enlarge a picture by a super-resolution network"),
    "style": ("minidl.run_command.style", "give a picture the style of others (Gatys et al.)"),
    "fast-style": ("minidl.run_command.fast_style", "train a network for one style, or apply one"),
}
"""Each topic's module, imported only when it is called, and what it does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The topic, and everything behind it, which the topic itself reads."""
    parser.add_argument(
        "topic", nargs="?", choices=TOPICS, metavar="TOPIC", help=f"one of {', '.join(TOPICS)}"
    )
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="...",
        help="the topic's own; `minidl run TOPIC --help` lists them",
    )  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Run a topic, or without one list them."""
    if args.topic is None:
        print(table(["topic", "what it does"], [[n, text] for n, (_, text) in TOPICS.items()]))
        print("\n`minidl run TOPIC --help` says what a topic needs.")
        return 0
    name, summary = TOPICS[args.topic]
    module = import_module(name)
    parser = argparse.ArgumentParser(
        f"minidl run {args.topic}", description=summary, epilog=getattr(module, "EPILOG", None),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    module.add_arguments(parser)
    return module.main(parser.parse_args(args.arguments))
