"""Puts the examples' pictures into docs/pictures, small enough to be kept with the text.

    make gallery        every example with its defaults, then this, which looks into runs/

runs/06_upsampling/times_ten.png becomes docs/pictures/06_times_ten.webp; docs/gallery.md shows it.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent
WIDEST = 1200
"""Width of a page, in pixels."""


def shown() -> list[str]:
    """The pictures that the gallery shows, such as "06_times_ten.webp"."""
    return re.findall(r"\]\(pictures/(\d\d_\w+\.webp)\)", (DOCS / "gallery.md").read_text("utf-8"))


def shrink(source: Path, target: Path) -> None:
    """Copy a picture, no wider than the page, in a compact format."""
    with Image.open(source) as image:
        picture = image.convert("RGB")
    if picture.width > WIDEST:
        height = round(picture.height * WIDEST / picture.width)
        picture = picture.resize((WIDEST, height), Image.Resampling.LANCZOS)
    picture.save(target, quality=85, method=6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="?", default=Path("runs"))
    args = parser.parse_args()
    for name in shown():
        number, picture = name.removesuffix(".webp").split("_", 1)
        found = list(args.runs.glob(f"{number}_*/{picture}.png"))
        if not found:
            print(f"left as it is: {name}; {args.runs}/{number}_*/{picture}.png is not there")
            continue
        target = DOCS / "pictures" / name
        shrink(found[0], target)
        print(f"{target.stat().st_size / 1024:6.0f} KiB  {name}")


if __name__ == "__main__":
    main()
