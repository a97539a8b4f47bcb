"""Time the emulator: how long a laptop takes to play GPU.

    python benchmarks/emulator.py             writes benchmarks/results/emulator-<cpu>-<date>.json
    python benchmarks/emulator.py --quick     a look: nothing written

These are no times of kernels: a GPU's are elsewhere. They say whether the emulator is quick enough
to learn and to test with.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import machine
import numpy as np

import minidl
import minidl.functional as F
from minidl import nn, optim
from minidl.compute import threads
from minidl.cuda.launch import launch
from minidl.cuda.source import kernels_of

KERNELS = kernels_of(Path(__file__).with_name("kernels.cu"))
RNG = np.random.default_rng(0)


class TinyUNet(nn.Module):
    """Two levels down and up, a copy of each level handed across; batch norm, max-pooling."""

    def __init__(self, channels: int = 8):
        super().__init__()
        c = channels
        self.down = self._twice(1, c)
        self.bottom = self._twice(c, 2 * c)
        self.up = nn.ConvTranspose2d(2 * c, c, 2, stride=2)
        self.across = self._twice(2 * c, c)
        self.head = nn.Conv2d(c, 2, 1)

    @staticmethod
    def _twice(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(),
        )

    def forward(self, x: Any) -> Any:
        high = self.down(x)
        low = self.bottom(F.max_pool2d(high, 2))
        return self.head(self.across(F.cat([self.up(low), high], 1)))


def axpy() -> Callable[[], Any]:
    """65,536 threads that never wait."""
    x, y = RNG.random(65536, np.float32), np.zeros(65536, np.float32)
    return lambda: launch(KERNELS["axpy"], 256, 256, x=x, y=y, a=2.0, size=x.size)


def sgemm() -> Callable[[], Any]:
    """256 x 256 x 256 by tiles of 64 x 64 x 16: 4,096 threads, 32 barriers each."""
    a, b = (RNG.random((256, 256), np.float32) for _ in range(2))
    c = np.zeros((256, 256), np.float32)
    run = lambda: launch(KERNELS["sgemm"], (4, 4), 256, a=a, b=b, c=c, n=256)  # noqa: E731
    run()
    np.testing.assert_allclose(c, a @ b, rtol=1e-4)
    return run


def total() -> Callable[[], Any]:
    """A million elements added up by shuffles and atomics."""
    x, y = RNG.random(2**20, np.float32), np.zeros(1, np.float32)
    return lambda: launch(KERNELS["total"], 4096, 256, x=x, y=y, size=x.size)


def conv2d() -> Callable[[], Any]:
    """A forward convolution, 1 x 16 x 32 x 32 to 16 channels, 3 x 3."""
    x, w = RNG.random((1, 16, 32, 32), np.float32), RNG.random((16, 16, 3, 3), np.float32)

    def run() -> None:
        with minidl.use_kernels("emulated"):
            F.conv2d(x, w, padding=1)

    return run


def unet() -> Callable[[], Any]:
    """A training step of a U-Net-like model on one image of 32 x 32, every kernel emulated."""
    model = TinyUNet()
    optimizer = optim.Adam(model.parameters())
    x = minidl.tensor(RNG.random((1, 1, 32, 32), np.float32))
    labels = RNG.integers(0, 2, (1, 32, 32))

    def run() -> None:
        with minidl.use_kernels("emulated"):
            optimizer.zero_grad()
            F.cross_entropy(model(x), labels).backward()
            optimizer.step()

    return run


CASES = {
    "65,536 threads": (axpy, 20.0),
    "sgemm 256^3": (sgemm, 25.0),
    "sum of 1 M elements": (total, 60.0),
    "conv2d": (conv2d, 60.0),
    "U-Net training step": (unet, 1000.0),
}
"""What is timed, and the milliseconds that were predicted for two cores."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--quick", action="store_true", help="three repeats, nothing written")
    asked = parser.parse_args()
    repeats = 3 if asked.quick else asked.repeats
    entries = []
    print(f"{threads.count()} threads, medians of {repeats} calls, milliseconds\n")
    for name, (prepare, predicted) in CASES.items():
        run = prepare()
        run()  # builds, loads
        times = []
        for _ in range(repeats):
            start = perf_counter()
            run()
            times.append((perf_counter() - start) * 1e3)
        entries.append({"name": name, "what": prepare.__doc__, "ms": median(times),
                        "predicted_ms": predicted, "all_ms": times})
        print(f"{name:<24}{median(times):>10.2f}    predicted {predicted:.0f}", flush=True)
    if not asked.quick:
        date = datetime.now(UTC).isoformat(timespec="seconds")
        machine.write(machine.result_path("emulator-", date), {
            "date": date, **machine.facts(), "threads": threads.count(), "cases": entries,
        })


if __name__ == "__main__":
    main()
