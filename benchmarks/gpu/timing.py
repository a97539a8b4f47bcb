"""Taking turns on a GPU: bursts of calls between two CUDA events, A B B A, ratios within a round.

The GPU's clock drifts by more than one wants to see, so the sides take turns and what counts is the
ratio within a round. Both sides compute on the default stream. Each call takes the next set of
buffers, which together are larger than the cache several times over.

A burst includes what Python does between two kernels, where that takes longer than they do. So
short calls are timed again within a CUDA graph, that is without the CPU; each row says so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

CACHE = 3 * 60e6
"""The fewest bytes of all sets of buffers together: three times the cache of an H200."""

SHORT = 0.3
"""Milliseconds of a call, below which it is timed within a graph too."""


@dataclass(frozen=True)
class Pace:
    """The length of a race: rounds of turns, milliseconds of a burst, seconds of warm-up."""

    rounds: int = 8
    burst: float = 20.0
    warm: float = 0.2


@dataclass(frozen=True)
class Side:
    """Something to time: ``run(i)`` makes the i-th call; ``maker`` captures it in a graph."""

    name: str
    run: Callable[[int], Any]
    maker: str = "cupy"


@dataclass
class Race:
    """Milliseconds per call of each side, one number a round."""

    times: dict[str, list[float]] = field(default_factory=dict)
    in_graph: bool = False
    note: str = ""

    def ms(self, name: str) -> float:
        """The median of a side's milliseconds."""
        return median(self.times[name])

    def fastest(self, names: list[str]) -> str:
        """The side, of these, that has the smallest median."""
        return min(names, key=self.ms)

    def ratio(self, ours: str, rival: str) -> dict[str, Any]:
        """Median and quartiles of the rounds' ratios; whether they vary little enough to quote."""
        ratios = [a / b for a, b in zip(self.times[ours], self.times[rival], strict=True)]
        if len(ratios) < 2:
            return {"ratio": ratios[0], "quartiles": [ratios[0]] * 2, "sound": False}
        lower, middle, upper = quantiles(ratios, n=4, method="inclusive")
        sound = (upper - lower) / middle / math.sqrt(len(ratios)) <= 0.015
        return {"ratio": middle, "quartiles": [lower, upper], "sound": sound}


def sets_for(bytes_: float) -> int:
    """The number of sets of buffers that exceed the cache together; at least two."""
    return max(2, min(64, math.ceil(CACHE / max(bytes_, 1))))


def burst(side: Side, calls: int, first: int = 0) -> float:
    """Milliseconds per call of some calls in a row, by the GPU's clock."""
    import cupy

    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    for i in range(first, first + calls):
        side.run(i)
    end.record()
    end.synchronize()
    return float(cupy.cuda.get_elapsed_time(start, end)) / calls


def race(sides: list[Side], pace: Pace = Pace()) -> Race:
    """Time the sides in turns; again within CUDA graphs, if their calls are short."""
    counts = {side.name: _calls(side, pace) for side in sides}
    found = Race(turns({side.name: _leg(side, counts[side.name]) for side in sides}, pace))
    if min(map(found.ms, found.times)) >= SHORT:
        return found
    try:
        replays = {side.name: graph(side, min(counts[side.name], 200)) for side in sides}
        return Race(turns(replays, pace), in_graph=True,
                    note=", ".join(f"{name} {found.ms(name):.3f} ms outside of a graph"
                                   for name in found.times))
    except Exception as error:  # what cannot be captured is timed with the CPU in between
        found.note = f"not in a graph: {type(error).__name__}: {str(error).splitlines()[0]}"
        return found


def turns(legs: dict[str, Callable[[], float]], pace: Pace) -> dict[str, list[float]]:
    """Take turns in rounds of A B B A; return each leg's means of its two turns."""
    times: dict[str, list[float]] = {name: [] for name in legs}
    for _ in range(pace.rounds):
        forth = {name: leg() for name, leg in legs.items()}
        back = {name: legs[name]() for name in reversed(legs)}
        for name in legs:
            times[name].append((forth[name] + back[name]) / 2)
    return times


def _leg(side: Side, calls: int) -> Callable[[], float]:
    return lambda: burst(side, calls)


def _calls(side: Side, pace: Pace) -> int:
    """How many calls fill a burst; the calls made to find out are the warm-up."""
    burst(side, 2)
    start, each = time.perf_counter(), burst(side, 3)
    while time.perf_counter() - start < pace.warm:
        each = burst(side, max(1, min(50, int(5 / max(each, 1e-3)))))
    return max(2, min(2000, math.ceil(pace.burst / max(each, 1e-3))))


def graph(side: Side, calls: int) -> Callable[[], float]:
    """A leg that replays a CUDA graph of so many calls: milliseconds per call."""
    return (_torch_graph if side.maker == "torch" else _cupy_graph)(side, calls)


def _cupy_graph(side: Side, calls: int) -> Callable[[], float]:
    import cupy

    # A pool of its own: what is freed while capturing must not be handed to anyone else.
    stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
    cupy.cuda.runtime.deviceSynchronize()
    with cupy.cuda.using_allocator(pool.malloc), stream:
        for i in range(2):
            side.run(i)
        stream.synchronize()
        stream.begin_capture()
        try:
            for i in range(calls):
                side.run(i)
        finally:
            captured = stream.end_capture()

    def replay(kept: Any = pool) -> float:
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        with stream:
            start.record()
            captured.launch(stream)
            end.record()
        end.synchronize()
        return float(cupy.cuda.get_elapsed_time(start, end)) / calls

    replay()
    return replay


def _torch_graph(side: Side, calls: int) -> Callable[[], float]:
    import torch

    captured = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(captured):
        for i in range(calls):
            side.run(i)

    def replay() -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        captured.replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / calls

    replay()
    return replay
