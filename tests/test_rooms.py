"""Arrows between the rooms point one way, and modules import each other in no circle."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {"minidl": "minidl", "models": "minidl.models", "kernels": "minidl.kernels"}

FLOORS = (
    ("minidl.__main__",),
    ("minidl.commands",),
    ("minidl.lecture",),
    ("minidl.tasks",),
    ("minidl.models",),
    ("minidl.files.known_weights", "minidl.files.pretrained", "minidl.train", "minidl.optim"),
    ("minidl.nn", "minidl.data"),
    ("minidl",),  # the face: what a user reaches by ``import minidl``
    ("minidl.check", "minidl.creation", "minidl.derivatives", "minidl.in_place",
     "minidl.methods", "minidl.numpys", "minidl.samples"),
    ("minidl.functional", "minidl.naming", "minidl.random"),
    ("minidl.kinds",),
    ("minidl.autograd",),
    ("minidl.matching",),
    ("minidl.tensor",),
    ("minidl.compute",),  # the wall: nothing below knows Tensors
    ("minidl.kernels",),
    ("minidl.cuda",),
    # What every room speaks: arrays, windows, taps, files that are whole or absent.
    ("minidl.compute.reference",),
    ("minidl.compute.arrays", "minidl.compute.buffers", "minidl.compute.layout",
     "minidl.compute.taps", "minidl.compute.threads", "minidl.compute.windows", "minidl.files"),
    ("minidl.errors",),
)
"""From the top of the house to its ground. A module imports from its own floor and from those
below; the longest prefix of its name says on which it lies."""

AROUND_TENSOR = {("minidl.tensor", "minidl.autograd"), ("minidl.tensor", "minidl.functional")}
"""The two imports at the end of tensor.py, the only ones that point up: a Tensor's methods call
functions, which make Tensors."""


def name_of(path: Path) -> str:
    top, *rest = path.relative_to(ROOT).with_suffix("").parts
    parts = [FOLDERS[top], *rest]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}


@cache
def imports_of(name: str) -> set[str]:
    """The modules of this house that a module imports, in functions and for types, too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: imports are written whole"
            # ``from a import b`` imports the module a.b, where there is one, and a otherwise.
            whole = (f"{node.module}.{alias.name}" for alias in node.names)
            found.update(w if w in MODULES else str(node.module) for w in whole)
    return {other for other in found if other in MODULES} - {name}


def floor_of(name: str) -> int:
    def longest(prefixes: tuple[str, ...]) -> int:
        fits = (p for p in prefixes if name == p or name.startswith(f"{p}."))
        return max(map(len, fits), default=0)

    return max(range(len(FLOORS)), key=lambda floor: longest(FLOORS[floor]))


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_from_its_own_floor_and_from_those_below(name):
    up = {other for other in imports_of(name)
          if floor_of(other) < floor_of(name) and (name, other) not in AROUND_TENSOR}
    assert not up, f"{name} imports from above: {sorted(up)}"


def test_the_face_is_a_floor_of_its_own():
    assert floor_of("minidl") < floor_of("minidl.functional.conv") < floor_of("minidl.errors")
    assert floor_of("minidl.compute.fast.conv") == floor_of("minidl.compute.dispatch")
    assert floor_of("minidl.compute.windows") > floor_of("minidl.cuda.launch")


def test_modules_import_each_other_in_no_circle():
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name):], name])
        if name not in done:
            for other in sorted(imports_of(name)):
                if (name, other) not in AROUND_TENSOR:
                    visit(other, (*path, name))
            done.add(name)

    for name in sorted(MODULES):
        visit(name, ())


def test_the_two_imports_around_tensor_are_there():
    assert {("minidl.tensor", other) for other in imports_of("minidl.tensor")} >= AROUND_TENSOR
