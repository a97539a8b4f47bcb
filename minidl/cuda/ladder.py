"""Ladders: the ways to compute an op, of which the highest one that fits is used.

A ladder is a table, one line a rung. Rung 1 is the formula, and each rung above changes one idea:

    SCALE = Ladder("scale", [
        Rung("naive", scale),
        Rung("four_each", scale, each=4, fits=fours),
    ])
    y = SCALE.climb(x, by=2.0)

``scale(kernel, x, by, each=1)`` launches the kernel of the name that it is given, here
``scale_v1_naive`` or ``scale_v2_four_each``; ``fours(x, by)`` tells why rung 2 cannot be used.
Nothing is registered: a ladder of your own kernels is made in your own file. Those of minidl are
in kernels/ladders.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from typing import Any

import numpy as np

from minidl.compute.arrays import Array
from minidl.errors import ArgumentError, message


class Rung:
    """One way to compute an op: a line of its ladder.

    Parameters
    ----------
    idea : str
        What it adds to the rung below, in a word or two: ``"shared_tile"``.
    launch : callable
        Launches its kernel. Takes the kernel's name, then what the op takes, then ``how``; returns
        what the op does.
    fits : callable or None
        Takes what the op takes; returns the reason why the rung cannot be used, or ``""``.
    optional : bool
        Whether it is used only when asked for, for instance as it rounds more than the others.
    slow_emulated : bool
        Whether the emulator uses it only when asked for: tensor cores are slow to imitate.
    native : bool
        Whether its threads never meet, so that it can run as the CPU's own code.
    **how
        What ``launch`` is told of this rung alone, such as ``tile=(128, 64)``.

    Attributes
    ----------
    op : str
        The op of its ladder.
    level : int
        Its place on the ladder, from 1.
    name : str
        The name of its kernel: ``"gram_y_v3_shared_tile"``.
    """

    op: str
    level: int
    name: str

    def __init__(
        self, idea: str, launch: Callable[..., Any], *, fits: Callable[..., str] | None = None,
        optional: bool = False, slow_emulated: bool = False, native: bool = False, **how: Any,
    ):
        self.idea, self.launch, self.fits, self.how = idea, launch, fits, how
        self.optional, self.slow_emulated, self.native = optional, slow_emulated, native

    def why_not(self, *arrays: Array, **settings: Any) -> str:
        """Tell why the rung does not fit these arguments; ``""`` if it does."""
        return self.fits(*arrays, **settings) if self.fits else ""

    def __call__(self, *arrays: Array, **settings: Any) -> Any:
        """Compute the op by this rung."""
        return self.launch(self.name, *arrays, **settings, **self.how)


class Ladder:
    """The rungs of an op, from the formula up.

    Parameters
    ----------
    op : str
        The op's name, with which those of its kernels start.
    rungs : iterable of Rung
        A rung's place among them is its level. The ladder keeps copies.
    """

    def __init__(self, op: str, rungs: Iterable[Rung]):
        self.op, self.rungs = op, tuple(map(copy, rungs))
        for level, rung in enumerate(self.rungs, 1):
            rung.op, rung.level = op, level
            rung.name = f"{op}_v{level}_{rung.idea}"
        self.native = tuple(rung for rung in reversed(self.rungs) if rung.native)

    def __iter__(self) -> Iterator[Rung]:
        return iter(self.rungs)

    def __len__(self) -> int:
        return len(self.rungs)

    def climb(self, *arrays: Array, **settings: Any) -> Any:
        """Compute the op by the highest rung that fits, or by the one that ``use_rung`` asks for.

        Raises
        ------
        ArgumentError
            If the rung that was asked for does not fit.
        """
        return self.rung_for(*arrays, **settings)(*arrays, **settings)

    def rung_for(self, *arrays: Array, **settings: Any) -> Rung:
        """Find the rung that ``climb`` would use."""
        rung = _forced.get().get(self)
        if rung is None:
            return self.highest(*arrays, emulated=isinstance(arrays[0], np.ndarray), **settings)
        reason = rung.why_not(*arrays, **settings)
        if reason:
            raise ArgumentError(
                message(
                    f"{self.op}: rung {rung.level}, {rung.name}, does not fit",
                    reason,
                    *(f"received an array of shape {a.shape}, {a.dtype}" for a in arrays),
                )
            )
        return rung

    def highest(self, *arrays: Array, emulated: bool, **settings: Any) -> Rung:
        """Find the highest rung that fits and need not be asked for, on a GPU or emulated."""
        for rung in reversed(self.rungs):
            skipped = rung.optional or (emulated and rung.slow_emulated)
            if not skipped and not rung.why_not(*arrays, **settings):
                return rung
        raise ArgumentError(
            message(f"{self.op}: no rung fits", hint="rung 1 should fit everything.")
        )

    def native_rung(self, *arrays: Array, **settings: Any) -> Rung | None:
        """Find the highest rung that fits and can run as the CPU's own code, if there is one."""
        forced = _forced.get().get(self)
        for rung in self.native if forced is None else (forced,):
            if rung.native and not (rung.fits and rung.fits(*arrays, **settings)):
                return rung
        return None

    @contextmanager
    def use_rung(self, level: int) -> Iterator[None]:
        """Compute the op by one rung alone, for the length of a ``with`` block.

        Raises
        ------
        ArgumentError
            If there is no such rung; inside the block, where it does not fit.
        """
        rungs = {rung.level: rung for rung in self.rungs}
        if level not in rungs:
            known = (f"{rung.level}: {rung.name}" for rung in self.rungs)
            raise ArgumentError(message(f"use_rung: {self.op} has no rung {level!r}", *known))
        token = _forced.set({**_forced.get(), self: rungs[level]})
        try:
            yield
        finally:
            _forced.reset(token)


_forced: ContextVar[Mapping[Ladder, Rung]] = ContextVar("forced_rungs", default={})  # noqa: B039
