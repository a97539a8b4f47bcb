"""The ladder of each op: which of its kernels runs.

A rung is a function that launches one kernel (or two that belong together) and takes and returns
what the op's reference does. Level 1 is the formula, and each level above changes one idea. The
highest rung that fits is used; ``use_rung`` asks for a certain one, to compare or to learn.

    with use_rung("conv2d_y", 2):
        y = F.conv2d(x, w)
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.compute.arrays import Array
from minidl.errors import ArgumentError, message


@dataclass(frozen=True)
class Rung:
    """One way to compute an op.

    Attributes
    ----------
    op : str
        The op, by its name in ``minidl.compute.reference``.
    level : int
        Its place on the ladder, from 1.
    name : str
        The function's name, which is the kernel's too, where there is one.
    function : callable
        Takes and returns what the op does.
    fits : callable or None
        Takes the same, and returns the reason why the rung cannot be used, or ``""``.
    optional : bool
        Used only when asked for, for instance as it rounds more than the others.
    slow_emulated : bool
        Not used on the emulator unless asked for: tensor cores are slow to imitate.
    """

    op: str
    level: int
    name: str
    function: Callable[..., Any]
    fits: Callable[..., str] | None = None
    optional: bool = False
    slow_emulated: bool = False

    def why_not(self, *arrays: Array, **settings: Any) -> str:
        """Why this rung does not fit these arguments; ``""`` if it does."""
        return self.fits(*arrays, **settings) if self.fits else ""


_ladders: dict[str, dict[int, Rung]] = {}
_forced: ContextVar[Mapping[str, int]] = ContextVar("forced_rungs", default={})  # noqa: B039


def rung(
    op: str,
    level: int,
    fits: Callable[..., str] | None = None,
    optional: bool = False,
    slow_emulated: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as a rung; see ``Rung``."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        made = Rung(op, level, function.__name__, function, fits, optional, slow_emulated)
        known = _ladders.setdefault(op, {}).get(level)
        if known and known.name != made.name:
            raise ArgumentError(
                message(f"rung: level {level} of {op} is taken", f"{known.name} and {made.name}")
            )
        _ladders[op][level] = made
        return function

    return register


def climb(op: str, *arrays: Array, **settings: Any) -> Any:
    """Compute an op by the highest rung that fits, or by the one that ``use_rung`` asks for.

    Raises
    ------
    ArgumentError
        If there is no such op, or the rung that was asked for does not fit.
    """
    return rung_for(op, *arrays, **settings).function(*arrays, **settings)


def rung_for(op: str, *arrays: Array, **settings: Any) -> Rung:
    """The rung that ``climb`` would use."""
    ladder, level = _ladder(op), _forced.get().get(op)
    if level is not None:
        reason = ladder[level].why_not(*arrays, **settings)
        if reason:
            raise ArgumentError(
                message(
                    f"{op}: rung {level}, {ladder[level].name}, does not fit",
                    reason,
                    *(f"received an array of shape {a.shape}, {a.dtype}" for a in arrays),
                )
            )
        return ladder[level]
    return highest(op, *arrays, emulated=isinstance(arrays[0], np.ndarray), **settings)


def highest(op: str, *arrays: Array, emulated: bool, **settings: Any) -> Rung:
    """The highest rung that fits and need not be asked for, on the emulator or on a GPU."""
    ladder = _ladder(op)
    for level in sorted(ladder, reverse=True):
        step = ladder[level]
        if step.optional or (emulated and step.slow_emulated):
            continue
        if not step.why_not(*arrays, **settings):
            return step
    raise ArgumentError(message(f"{op}: no rung fits", hint="rung 1 should fit everything."))


@contextmanager
def use_rung(op: str, level: int) -> Iterator[None]:
    """Compute an op by this rung alone, for the length of a ``with`` block.

    Only where kernels are in use: on CuPy arrays, or inside ``use_kernels("emulated")``.

    Raises
    ------
    ArgumentError
        If there is no such op or rung; inside the block, where it does not fit.
    """
    ladder = _ladder(op)
    if level not in ladder:
        rungs = [f"{number}: {ladder[number].name}" for number in sorted(ladder)]
        raise ArgumentError(message(f"use_rung: {op} has no rung {level!r}", *rungs))
    token = _forced.set({**_forced.get(), op: level})
    try:
        yield
    finally:
        _forced.reset(token)


def ladders() -> dict[str, list[Rung]]:
    """Every op's rungs, from the lowest to the highest."""
    _register()
    return {op: [steps[level] for level in sorted(steps)] for op, steps in _ladders.items()}


def _ladder(op: str) -> dict[int, Rung]:
    if op not in _ladders:
        _register()
    if op not in _ladders:
        near = difflib.get_close_matches(op, _ladders, 3) or sorted(_ladders)
        raise ArgumentError(
            message(f"no op with kernels is called {op!r}", hint=f"there are {', '.join(near)}.")
        )
    return _ladders[op]


def _register() -> None:
    """Import the launchers, which register their rungs."""
    importlib.import_module("minidl.kernels")
