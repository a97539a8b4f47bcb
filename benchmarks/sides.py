"""The two sides of a case, in this process or each in one of its own.

In one process both meet the same machine at the same moment. But they also
share a heap: memory that one side holds keeps the other's from being handed
back to the system. ``Apart`` shows what a program sees that uses one of the two.
"""

from __future__ import annotations

import multiprocessing
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
from cases import LAYERS, Layer
from side_by_side import Pace, calls_for, time_leg
from steps import STEPS, Step
from threadpoolctl import threadpool_limits

from minidl.compute import threads

CASES: list[Layer | Step] = [*LAYERS, *STEPS]

WHO = ("minidl", "torch")


def torch_is_installed() -> bool:
    """Tell whether there is a rival."""
    return find_spec("torch") is not None


class Side(Protocol):
    """minidl or PyTorch, with one case prepared."""

    def results(self) -> dict[str, np.ndarray]: ...

    def calls(self, pace: Pace) -> int: ...

    def leg(self, calls: int, pace: Pace) -> float: ...

    def close(self) -> None: ...


class Here:
    """A side in this process."""

    def __init__(self, who: str, case: Layer | Step):
        threadpool_limits(threads.count(), user_api="blas")
        if who == "minidl":
            import ours

            self._side: Any = ours.side_of(case)
        else:
            import rival  # PyTorch is imported here, and only if it is asked for

            rival.use_threads(threads.count())
            self._side = rival.side_of(case)

    def results(self) -> dict[str, np.ndarray]:
        """The arrays that both sides must agree on."""
        return self._side.results()

    def calls(self, pace: Pace) -> int:
        """Count the calls that fill a leg."""
        return calls_for(self._side.run, pace)

    def leg(self, calls: int, pace: Pace) -> float:
        """Time a leg, in milliseconds per call."""
        return time_leg(self._side.run, calls, pace)

    def close(self) -> None:
        """Do nothing: there is no process to end."""


class Apart:
    """A side in a process of its own, which waits while the other one's leg runs."""

    def __init__(self, who: str, case: Layer | Step):
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, who, case.name), daemon=True)
        self._process.start()
        theirs.close()

    def _ask(self, method: str, *arguments: Any) -> Any:
        self._line.send((method, arguments))
        return self._line.recv()

    def results(self) -> dict[str, np.ndarray]:
        """The arrays that both sides must agree on."""
        return self._ask("results")

    def calls(self, pace: Pace) -> int:
        """Count the calls that fill a leg."""
        return self._ask("calls", pace)

    def leg(self, calls: int, pace: Pace) -> float:
        """Time a leg, in milliseconds per call."""
        return self._ask("leg", calls, pace)

    def close(self) -> None:
        """End the process."""
        self._line.close()
        self._process.join()


def _serve(line: Connection, who: str, name: str) -> None:
    side = Here(who, next(case for case in CASES if case.name == name))
    while True:
        try:
            method, arguments = line.recv()
        except EOFError:
            return
        line.send(getattr(side, method)(*arguments))
