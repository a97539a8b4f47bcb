"""Whole training steps of the autoencoders and VAEs, against the same networks in torch.nn.

PyTorch runs them as one writes them (eager) and, where that works, as one CUDA graph. minidl's step
cannot be captured yet: it draws random numbers on the CPU and calls cuBLAS through CuPy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gpu.convolutions import free
from benchmarks.gpu.report import Rows
from benchmarks.gpu.timing import Pace, Race, Side, burst, turns

STEPS = 30
"""Training steps of a leg."""


def networks() -> dict[str, tuple[Callable[[], Any], tuple[int, ...], float]]:
    """The networks: how each is built, its batch, and the predicted ratio to PyTorch's eager mode.

    The steps are short: what counts is how long Python takes to launch, 10 to 20 us for each of
    CuPy's kernels and more for one of ours, against 4 to 8 us of PyTorch's.
    """
    from minidl.models.autoencoder import conv_autoencoder, mlp_autoencoder
    from minidl.models.vae import conv_vae, mlp_vae

    small, colour = (1, 28, 28), (3, 64, 64)
    return {
        "VAE, fully connected, 100x1x28x28": (lambda: mlp_vae(small), (100, *small), 3.0),
        "autoencoder, 128x1x28x28": (lambda: mlp_autoencoder(small), (128, *small), 3.0),
        "autoencoder, convolutional, 128x1x28x28": (
            lambda: conv_autoencoder(small), (128, *small), 4.0),
        "VAE, convolutional, 128x3x64x64": (
            lambda: conv_vae(colour, channels=(32, 64, 128, 256)), (128, *colour), 3.0),
        "VAE, convolutional, 1024x3x64x64": (
            lambda: conv_vae(colour, channels=(32, 64, 128, 256)), (1024, *colour), 1.5),
    }


def training(rows: Rows, pace: Pace = Pace(rounds=5)) -> None:  # noqa: B008
    """Time the steps of all networks, while there is time."""
    for name, (build, shape, predicted) in networks().items():
        if rows.left() < 4:
            rows.add(name, None, "left out: no time")
        elif name not in rows.done():
            with rows.judged(name):
                _network(rows, name, build, shape, predicted, pace)
            free()


def _network(rows: Rows, name: str, build: Any, shape: Any, predicted: float, pace: Pace) -> None:
    import minidl
    from benchmarks.gpu import rival

    rival.use_mode("strict")
    minidl.manual_seed(0)
    model = build()
    pixels = np.random.default_rng(0).random(shape, np.float32)
    theirs = eager(rival.Network(model), pixels)
    mine = ours(model.to("cuda"), pixels)
    legs = {"minidl": _leg(mine), "PyTorch": _leg(theirs)}
    note = ""
    try:
        legs["PyTorch, graph"] = graphed(rival.Network(model.to("cpu")), pixels)
    except Exception as error:
        note = f"no graph: {type(error).__name__}: {str(error).splitlines()[0]}"
    model.to("cuda")
    for leg in legs.values():
        leg()
    start = time.perf_counter()
    for _ in range(STEPS):
        mine(0)
    queued = (time.perf_counter() - start) / STEPS * 1e3
    times = turns(legs, pace)
    found = Race(times)
    rows.add(
        name, None,
        f"{found.ms('minidl'):.3f} ms a step (Python alone {queued:.3f}); "
        + ", ".join(f"{who} {found.ms(who):.3f}" for who in legs if who != "minidl"),
        predicted=predicted, **found.ratio("minidl", "PyTorch"), batch=shape, note=note,
        ms={who: found.ms(who) for who in legs}, queued_ms=queued,
    )


def _leg(step: Callable[[int], Any]) -> Callable[[], float]:
    return lambda: burst(Side("", step), STEPS)


def ours(model: Any, pixels: np.ndarray) -> Callable[[int], Any]:
    """A step of minidl."""
    import minidl
    from minidl import optim

    optimizer, x = optim.Adam(model.parameters()), minidl.tensor(pixels, device="cuda")

    def step(_: int) -> None:
        optimizer.zero_grad()
        model.loss(x).backward()
        optimizer.step()

    return step


def eager(network: Any, pixels: np.ndarray) -> Callable[[int], Any]:
    """A step of PyTorch."""
    import torch

    from benchmarks.gpu import rival

    network.to(rival.DEVICE)
    x = torch.from_numpy(pixels).to(rival.DEVICE)
    graph = rival.DEVICE == "cuda"
    optimizer = torch.optim.Adam(network.parameters(), fused=True, capturable=graph)

    def step(_: int) -> None:
        optimizer.zero_grad()
        network.loss(x).backward()
        optimizer.step()

    return step


def graphed(network: Any, pixels: np.ndarray) -> Callable[[], float]:
    """A leg of PyTorch's steps, each one CUDA graph: milliseconds per step."""
    import torch

    step = eager(network, pixels)
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for i in range(3):
            step(i)
    torch.cuda.current_stream().wait_stream(beside)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        step(0)
    return _leg(lambda _: captured.replay())
