"""`minidl run`: a network on a file of yours, or an example of the lecture."""

from __future__ import annotations

import argparse
from importlib import import_module

from minidl.commands.run import lecture_examples
from minidl.errors import ArgumentError, message

TOPICS = {
    "superres": "enlarge a picture by a super-resolution network",
    "style": "give a picture the style of others (Gatys et al.)",
    "fast-style": "train a network for one style, or apply one",
}
"""The effect of each topic; its module is imported when it is called."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the topic, and the arguments behind it, which the topic itself reads."""
    parser.add_argument(
        "topic", nargs="?", metavar="TOPIC",
        help=f"{', '.join(TOPICS)}, or an example's number or name",
    )
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="...",
        help="the topic's own; `minidl run TOPIC --help` lists them",
    )


def main(args: argparse.Namespace) -> int:
    """Run a topic or an example, or list them if none is named."""
    if args.topic is None:
        print(listing())
        return 0
    if args.topic not in TOPICS:
        path = lecture_examples.find(args.topic)
        if path is None:
            raise ArgumentError(
                message(f"there is no {args.topic!r} to run", hint="`minidl run` lists all.")
            )
        lecture_examples.run(path, args.arguments)
        return 0
    module = import_module(f"{__name__}.{args.topic.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        f"minidl run {args.topic}", description=TOPICS[args.topic], epilog=module.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return module.main(parser.parse_args(args.arguments))


def listing() -> str:
    """List all that can be run, a line each."""
    examples = {path.stem: lecture_examples.summary(path) for path in lecture_examples.paths()}
    width = max(map(len, (*TOPICS, *examples)))
    parts = [("With pictures of yours:", TOPICS), ("Examples of the lecture:", examples)]
    blocks = ["\n".join([head, *(f"  {name:{width}}  {text}" for name, text in each.items())])
              for head, each in parts if each]
    return "\n\n".join([*blocks, "`minidl run TOPIC --help` says what a topic needs; an example "
                        "needs nothing, and its number will do."])
