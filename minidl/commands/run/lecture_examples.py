"""The examples of the lecture, found and run where they lie."""

from __future__ import annotations

import ast
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from minidl.files.top_folders import top_folder


def paths() -> list[Path]:
    """Find the examples, in the lecture's order."""
    return sorted(top_folder("examples").glob("[0-9][0-9]_*.py"))


def find(name: str) -> Path | None:
    """Find an example by its number or name: "12", "12_superres" or "12_superres.py"."""
    wanted = name.removesuffix(".py")
    return next((p for p in paths() if wanted in (p.stem, p.stem[:2])), None)


def summary(path: Path) -> str:
    """Read the first line of an example's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return text.partition("\n")[0]


def run(path: Path, arguments: Sequence[str]) -> None:
    """Run an example as ``python path arguments`` would, in this process."""
    before = sys.argv
    sys.argv = [str(path), *arguments]
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv = before
