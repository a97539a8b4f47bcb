"""How many Python functions a call runs through: counted, not timed, so the same on every machine.

    python benchmarks/frames.py

A frame costs about 0.05 microseconds, and it is a line that a reader with a debugger steps
through. ``hops`` are the frames that lie in another file than the one before: how often that
reader turns the page. tests/test_frames.py holds every case to its limit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

import minidl
import minidl.functional as F
from minidl import nn, optim


@dataclass(frozen=True)
class Case:
    """A call whose frames are counted.

    Attributes
    ----------
    make : callable
        Prepares arrays and networks, and returns the call.
    most : int
        Frames that it may take.
    """

    make: Callable[[], Callable[[], Any]]
    most: int


def _image() -> minidl.Tensor:
    return minidl.randn(2, 3, 8, 8)


def conv2d() -> Callable[[], Any]:
    """A convolution with bias, forward."""
    x = _image()
    w, b = (minidl.randn(*shape, requires_grad=True) for shape in ((4, 3, 3, 3), (4,)))
    return lambda: F.conv2d(x, w, b, padding=1)


def relu() -> Callable[[], Any]:
    """A ReLU of 16 numbers, forward and backward."""
    x, ones = minidl.randn(16, requires_grad=True), minidl.ones(16)

    def both_ways() -> None:
        x.grad = None
        F.relu(x).backward(ones)

    return both_ways


def step() -> Callable[[], Any]:
    """A training step of convolution, ReLU and linear layer: cross entropy and Adam."""
    x, target = _image(), np.array([1, 2])
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    optimizer = optim.Adam(net.parameters(), lr=1e-3)

    def train() -> None:
        optimizer.zero_grad()
        F.cross_entropy(net(x), target).backward()
        optimizer.step()

    return train


CASES = {"conv2d": Case(conv2d, 80), "relu": Case(relu, 45), "step": Case(step, 700)}
"""The cases, by name."""


def frames_of(call: Callable[[], Any]) -> tuple[int, int]:
    """The frames of a call and its hops between files, once everything it caches is there."""
    files: list[str] = []

    def look(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            files.append(frame.f_code.co_filename)

    call()
    call()
    before = sys.getprofile()
    sys.setprofile(look)
    try:
        call()
    finally:
        sys.setprofile(before)
    own = files[1:]  # without the call itself
    return len(own), sum(a != b for a, b in zip(files, own, strict=False))


def main() -> int:
    """Print every case."""
    print(f"{'':8}  frames    hops  at most")
    for name, case in CASES.items():
        frames, hops = frames_of(case.make())
        print(f"{name:8}  {frames:6}  {hops:6}  {case.most:7}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
