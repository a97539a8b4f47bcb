"""`minidl weights`: the files of trained weights that are known: listed, fetched, looked at.

Nothing is fetched unless `minidl weights fetch` is called.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from minidl.errors import CheckpointError
from minidl.files.known_weights import (
    KNOWN,
    SOURCE,
    TERMS,
    digest,
    download,
    find,
    folders,
    here,
    promised,
    weights_folder,
)
from minidl.models.vgg import NORMALISATIONS
from minidl.tasks.weight_files import NETWORKS, Held, misfits, recognise

COMMANDS = {
    "list": "the files that are known, whose they are, and which of them are here",
    "fetch": "fetch a file, once, and verify it",
    "verify": "say which network a file holds, how it wants pictures, and whether it is sound",
}
"""The effect of each subcommand."""

EXAMPLES = {
    "list": """examples:
  minidl weights list               names, sizes, terms, and the folders that are looked through
  minidl weights list --json        the same for a program
""",
    "fetch": """examples:
  minidl weights fetch vgg16        into the cache; then --weights vgg16 finds it
  minidl weights fetch vgg16 --to DIR

Needs `pip install 'minidl[data]'`. MINIDL_CACHE moves the cache.
""",
    "verify": """examples:
  minidl weights verify vgg16                      a known file, by name
  minidl weights verify vgg_conv.pth               any other

The exit status is 0 if all is well, 1 if something in it is wrong, and 2 if it cannot be told.
""",
}

MOST = 8
"""Lines about arrays that are wrong."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands, each with flags of its own and examples."""
    commands = parser.add_subparsers(dest="weights_command", metavar="COMMAND", required=True)
    made = {
        name: commands.add_parser(
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=EXAMPLES[name], formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for name, summary in COMMANDS.items()
    }
    made["list"].add_argument("--json", action="store_true", help="as JSON")
    made["fetch"].add_argument("name", metavar="NAME", help="one that `minidl weights list` has")
    made["fetch"].add_argument(
        "--to", type=Path, metavar="DIR", help="folder to keep it in (the cache's, as list says)"
    )
    made["verify"].add_argument("file", metavar="FILE", help=".pth, .safetensors, or a known name")


def main(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": list_known, "fetch": fetch, "verify": look_at,
    }
    return actions[args.weights_command](args)


def list_known(args: argparse.Namespace) -> int:
    """Print the known files, and where they are looked for."""
    places = {name: here(name) for name in KNOWN}
    if args.json:
        print(json.dumps({
            "files": [{"name": name, **known._asdict(), "terms": TERMS[known.terms],
                       "source": SOURCE + known.file, "here": str(places[name] or "")}
                      for name, known in KNOWN.items()],
            "folders": [str(folder) for folder in folders()],
        }, indent=2))
        return 0
    wide = max(len(known.file) for known in KNOWN.values())
    for name, known in KNOWN.items():
        print(f"{name:12} {known.file:{wide}} {known.size:6.1f} MiB  {known.holds}")
        print(f"{'':12} {places[name] or 'not here'}")
    print(f"\nAll were learned from ImageNet, and come from {SOURCE}. Terms:")
    for key, terms in TERMS.items():
        names = [name for name, known in KNOWN.items() if known.terms == key]
        print(f"  {', '.join(names)}:\n    {terms}")
    print("\nLooked for in (`minidl weights fetch NAME` writes into the first):")
    print("\n".join(f"  {folder}" for folder in folders()))
    return 0


def fetch(args: argparse.Namespace) -> int:
    """Fetch a file, unless it is here, and say what may be done with it."""
    known = KNOWN.get(args.name)
    if known is not None:
        folder = args.to or weights_folder()
        if not (folder / known.file).exists():
            print(f"Fetching {SOURCE}{known.file}, {known.size:.0f} MiB, into {folder}")
    path = download(args.name, args.to, progress=sys.stderr.isatty())
    assert known is not None  # download has refused any other
    print(f"{path}: its SHA-256 begins with {promised(path.name)}, as its name says.")
    print(f"Terms: {TERMS[known.terms]}.")
    return 0


def look_at(args: argparse.Namespace) -> int:
    """Say what a file holds, and whether it is sound."""
    path = find(args.file)
    print(f"{path}: {size_of(path) / 2**20:.1f} MiB")
    found = digest(path)
    print(f"  SHA-256   {found}")
    held = recognise(path)  # refuses a file that is not what its name says
    prefix = promised(path.name)
    print(f"  digest    {f'begins with {prefix}, as its name says' if prefix else UNNAMED}")
    for title, text in described(held):
        print(f"  {title:9} {text}")
    wrong = misfits(held)
    for line in wrong[:MOST]:
        print(f"  wrong     {line}")
    if len(wrong) > MOST:
        print(f"  wrong     and {len(wrong) - MOST} arrays more")
    print(f"{len(wrong)} arrays are wrong" if wrong else "ok")
    return 1 if wrong else 0


UNNAMED = "its name carries none, so there is nothing to compare this with"


def size_of(path: Path) -> int:
    """The size of a file in bytes.

    Raises
    ------
    CheckpointError
        If it cannot be looked at.
    """
    try:
        return path.stat().st_size
    except OSError as cause:
        raise CheckpointError(f"cannot load '{path}': {cause.strerror}") from None


def described(held: Held) -> list[tuple[str, str]]:
    """What a file holds, in lines: a title and a text."""
    title, _ = NETWORKS[held.network]
    part = title if held.whole else f"{title}'s convolutions, without its classifier"
    if held.normalisation:
        how = NORMALISATIONS[held.normalisation]
        order = "RGB" if held.turned or how.order == (0, 1, 2) else "BGR"
        pictures = (f"{held.normalisation!r}: {order}, from 0 to {how.scale:g}, minus {how.mean}, "
                    f"divided by {how.std}; told by {held.evidence}")
        if held.turned:
            pictures += "; load_features turns its filters to BGR"
    else:
        pictures = "not told: neither by the file's name nor by the first numbers in it"
    lines = [("network", f"{part}, {len(held.arrays)} arrays"), ("pictures", pictures)]
    if held.left_out:
        shown = ", ".join(held.left_out[:4]) + (", ..." if len(held.left_out) > 4 else "")
        lines.append(("left out", shown))
    return lines
