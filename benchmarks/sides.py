"""The two sides of a case, in this process, or each in one of its own, or in several.

In one process both meet the same machine at the same moment. But they also
share a heap: memory that one side holds keeps the other's from being handed
back to the system. ``Apart`` shows what a program sees that uses one of the two,
and ``Crowd`` what it sees if it is started several times.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any, Protocol

import machine
import numpy as np
from cases import LAYERS, Layer
from side_by_side import Pace, calls_for, time_leg
from steps import GROWTH, STEPS, Step
from threadpoolctl import threadpool_limits

import minidl
from minidl.compute import threads
from minidl.cuda import native

CASES: list[Layer | Step] = [*LAYERS, *STEPS]

CODES = ("default", "native", "numpy")
"""What may fill minidl's arrays."""


def code_in_use(code: str) -> str:
    """The code that is meant: ``"default"`` depends on whether there is a compiler."""
    return ("numpy" if native.why_not() else "native") if code == "default" else code


def torch_is_installed() -> bool:
    """Tell whether there is a rival."""
    return find_spec("torch") is not None


@dataclass(frozen=True)
class Who:
    """Whose side it is.

    Attributes
    ----------
    library : {"minidl", "torch"}
    code : str
        What fills minidl's arrays.
    layout : str
        How PyTorch's images lie in memory.
    """

    library: str
    code: str = "default"
    layout: str = "NCHW"


def parties(case: Layer | Step, code: str) -> list[Who]:
    """Everyone who computes a case: minidl, and PyTorch in each layout that it may choose."""
    rivals = [Who("torch", layout=layout) for layout in case.layouts]
    return [Who("minidl", code=code), *(rivals if torch_is_installed() else [])]


class Side(Protocol):
    """minidl or PyTorch, with one case prepared."""

    def results(self) -> dict[str, np.ndarray]: ...

    def exact(self) -> dict[str, np.ndarray]: ...

    def filled_by(self) -> dict[str, list[str]]: ...

    def calls(self, pace: Pace) -> int: ...

    def leg(self, calls: int, pace: Pace) -> float: ...

    def close(self) -> None: ...


class Here:
    """A side in this process."""

    def __init__(self, who: Who, case: Layer | Step):
        threadpool_limits(threads.count(), user_api="blas")
        self._at_work: Any
        self._checking: Any
        if who.library == "minidl":
            import ours

            self._at_work = self._checking = partial(minidl.use_kernels, who.code)
            self._exact: Any = partial(ours.exact, case, who.code)
            with self._at_work():
                self._side: Any = ours.side_of(case)
        else:
            import rival  # PyTorch is imported here, and only if it is asked for

            rival.use_threads(threads.count())
            self._at_work = partial(rival.at_work, case)
            self._checking = partial(rival.at_work, case, same_numbers=True)
            self._side = rival.side_of(case, who.layout)
            self._exact = partial(rival.exact, case)

    def results(self) -> dict[str, np.ndarray]:
        """The arrays that both sides must agree on."""
        with self._checking():
            return self._side.results()

    def exact(self) -> dict[str, np.ndarray]:
        """The same arrays of a step in float64."""
        return self._exact()

    def filled_by(self) -> dict[str, list[str]]:
        """The functions that minidl's codes computed in a call, by code."""
        import ours

        with self._at_work():
            return ours.filled_by(self._side.run)

    def calls(self, pace: Pace) -> int:
        """Count the calls that fill a leg."""
        with self._at_work():
            return calls_for(self._side.run, pace)

    def leg(self, calls: int, pace: Pace) -> float:
        """Time a leg, in milliseconds per call."""
        with self._at_work():  # entered outside of what is timed
            return time_leg(self._side.run, calls, pace)

    def memory(self, calls: int) -> tuple[float, float]:
        """MiB that this process has held at most: so far, and after so many calls."""
        before = machine.peak_memory()
        with self._at_work():
            for _ in range(calls):
                self._side.run()
        return before, machine.peak_memory()

    def close(self) -> None:
        """Do nothing: there is no process to end."""


class Apart:
    """A side in a process of its own, which waits while the other one's leg runs."""

    def __init__(self, who: Who, case: Layer | Step):
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, who, case.name), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, method: str, *arguments: Any) -> None:
        """Let the other process begin."""
        self._line.send((method, arguments))

    def answer(self) -> Any:
        """Wait for what was asked for."""
        return self._line.recv()

    def _asked(self, method: str, *arguments: Any) -> Any:
        self.ask(method, *arguments)
        return self.answer()

    def results(self) -> dict[str, np.ndarray]:
        """The arrays that both sides must agree on."""
        return self._asked("results")

    def exact(self) -> dict[str, np.ndarray]:
        """The same arrays of a step in float64."""
        return self._asked("exact")

    def filled_by(self) -> dict[str, list[str]]:
        """The functions that minidl's codes computed in a call, by code."""
        return self._asked("filled_by")

    def calls(self, pace: Pace) -> int:
        """Count the calls that fill a leg."""
        return self._asked("calls", pace)

    def leg(self, calls: int, pace: Pace) -> float:
        """Time a leg, in milliseconds per call."""
        return self._asked("leg", calls, pace)

    def memory(self, calls: int) -> tuple[float, float]:
        """MiB that the process has held at most: so far, and after so many calls."""
        return self._asked("memory", calls)

    def close(self) -> None:
        """End the process."""
        self._line.close()
        self._process.join()


class Crowd:
    """Copies of a side that run at once, each in a process of its own."""

    def __init__(self, who: Who, case: Layer | Step, copies: int):
        self.copies = [Apart(who, case) for _ in range(copies)]

    def _all(self, method: str, *arguments: Any) -> list[Any]:
        for copy in self.copies:
            copy.ask(method, *arguments)
        return [copy.answer() for copy in self.copies]

    def results(self) -> dict[str, np.ndarray]:
        """The arrays that both sides must agree on."""
        return self._all("results")[0]

    def exact(self) -> dict[str, np.ndarray]:
        """The same arrays of a step in float64."""
        return self.copies[0].exact()

    def filled_by(self) -> dict[str, list[str]]:
        """The functions that minidl's codes computed in a call, by code."""
        return self.copies[0].filled_by()

    def calls(self, pace: Pace) -> int:
        """Count the calls that fill a leg."""
        return max(self._all("calls", pace))

    def leg(self, calls: int, pace: Pace) -> float:
        """Time a leg of all copies at once, in milliseconds per call of one of them."""
        return float(np.mean(self._all("leg", calls, pace)))

    def close(self) -> None:
        """End the processes."""
        for copy in self.copies:
            copy.close()


def _serve(line: Connection, who: Who, name: str) -> None:
    grown = (case for series in GROWTH.values() for case in series)
    side = Here(who, next(case for case in (*CASES, *grown) if case.name == name))
    while True:
        try:
            method, arguments = line.recv()
        except EOFError:
            return
        line.send(getattr(side, method)(*arguments))
