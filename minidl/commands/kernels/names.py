"""What a user may call a kernel: an op, a rung, the file of a family, or ``all``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from minidl.commands.kernels.header import path_of
from minidl.cuda.ladder import Rung
from minidl.errors import ArgumentError, message
from minidl.kernels.ladders import LADDERS


def families() -> dict[str, list[str]]:
    """The ops of each family, by the name of its .cu file without the ending."""
    found: dict[str, list[str]] = {}
    for op, ladder in LADDERS.items():
        for stem in dict.fromkeys(path_of(rung).stem for rung in ladder):
            found.setdefault(stem, []).append(op)
    return found


def chosen(names: Iterable[str]) -> list[Rung]:
    """The rungs that names stand for, each once, in the order of the ladders.

    Raises
    ------
    ArgumentError
        If there is nothing of one of the names, naming near ones.
    """
    wanted = {rung.name for name in names for rung in _named(name)}
    return [rung for ladder in LADDERS.values() for rung in ladder if rung.name in wanted]


def one(name: str) -> tuple[str, Rung | None]:
    """An op, and the rung where the name is that of a rung.

    Raises
    ------
    ArgumentError
        If the name is neither.
    """
    rungs = _named(name)
    if name in LADDERS:
        return name, None
    if len(rungs) > 1:
        ops = dict.fromkeys(rung.op for rung in rungs)
        raise ArgumentError(
            message(f"{name} is more than one op", hint=f"choose one of {', '.join(ops)}.")
        )
    return rungs[0].op, rungs[0]


def _named(name: str) -> list[Rung]:
    every = [rung for ladder in LADDERS.values() for rung in ladder]
    if name == "all":
        return every
    # A family's name may be that of an op of it, too: softmax.
    found = [r for r in every if name in (r.op, r.name, path_of(r).stem, path_of(r).name)]
    if not found:
        known = [*LADDERS, *families(), *(rung.name for rung in every)]
        near = difflib.get_close_matches(name, known, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`minidl kernels list` names all."
        raise ArgumentError(message(f"kernels: nothing is called {name!r}", hint=hint))
    return found
