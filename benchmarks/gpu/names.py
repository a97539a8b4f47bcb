"""Which kernels cuDNN picked for the convolutions, by PyTorch's profiler."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.cases import CONVOLUTIONS
from benchmarks.gpu.convolutions import free
from benchmarks.gpu.report import Rows


def names(rows: Rows) -> None:
    """Find out what cuDNN picks, strict first: nobody has published that for Hopper."""
    from benchmarks.gpu import rival

    order = [(mode, case) for mode in ("strict", "tf32") for case in CONVOLUTIONS[:6]]
    for mode, case in order:
        if rows.left() < 2:
            rows.add(f"{case.name}, {mode}", None, "left out: no time")
            continue
        rival.use_mode(mode)
        with rows.judged(f"{case.name}, {mode}"):
            found = {}
            for layout in ("NCHW", "channels last"):
                arrays = {key: rival.drawn(shape, layout) for key, shape in case.shapes.items()}
                for letter in "yxw":
                    found[f"{letter}, {layout}"] = profiled(letter, case, arrays)
            first = found["y, channels last"]
            rows.add(f"{case.name}, {mode}", None, f"y, channels last: {[*first]}", kernels=found)
        free()


def profiled(letter: str, case: Any, arrays: Any) -> dict[str, float]:
    """The kernels of one call and their microseconds, longest first."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from benchmarks.gpu import rival

    for _ in range(2):  # the first call tries the algorithms out
        rival.corner(letter, case, **arrays)
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        rival.corner(letter, case, **arrays)
        torch.cuda.synchronize()
    times: dict[str, float] = {}
    for event in profiler.events():
        if "CUDA" in str(event.device_type):
            passed = getattr(event, "device_time", None) or getattr(event, "cuda_time", 0.0)
            times[event.name] = times.get(event.name, 0.0) + float(passed)
    return dict(sorted(times.items(), key=lambda pair: -pair[1]))
