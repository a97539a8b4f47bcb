"""Pooling, resampling, norms, sampling, Gram: forward and backward, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.cases import Layer
from benchmarks.gpu.cases import LAYERS
from benchmarks.gpu.convolutions import free
from benchmarks.gpu.report import Rows
from benchmarks.gpu.timing import Pace, Side, race

TOLERANCE = 1e-3
"""The largest norm of the difference, relative, of the two sides' outputs and gradients."""


def layers(rows: Rows, pace: Pace = Pace(rounds=6)) -> None:  # noqa: B008
    """Compare and time all layers, while there is time."""
    done, left_out = rows.done(), []
    for case in LAYERS:
        if rows.left() < 3:
            left_out.append(case.name)
        elif case.name not in done:
            with rows.judged(case.name):
                _layer(rows, case, pace)
            free()
    if left_out:
        rows.add("left out", None, f"no time for {', '.join(left_out)}")


def _layer(rows: Rows, case: Layer, pace: Pace) -> None:
    from benchmarks.gpu import rival

    rival.use_mode("strict")
    arrays = case.arrays()
    pictures = any(a.ndim == 4 and a.dtype.kind == "f" for a in arrays.values())
    sides, results = [], {}
    for layout in ("NCHW", "channels last") if pictures else ("NCHW",):
        theirs = Theirs(case, arrays, layout)
        ours = Ours(case, theirs)
        sides.append(Side(f"minidl, {layout}", ours.run))
        sides.append(Side(f"torch, {layout}", theirs.run, "torch"))
        results |= {layout: worst(ours.results(), theirs.results())}
    off = max(results.values())
    if not off <= TOLERANCE:
        rows.add(case.name, False, f"not the same, not timed: off by {off:.1e}", errors=results)
        return
    found = race(sides, pace)
    mine, best = (found.fastest([s.name for s in sides if s.name.startswith(who)])
                  for who in ("minidl", "torch"))
    ratio = found.ratio(mine, best)
    rows.add(
        case.name, True,
        f"{found.ms(mine):.3f} ms ({mine}); {found.ms(best):.3f} ms ({best}); off by {off:.0e}"
        + ("" if ratio["sound"] else "; varies"),
        predicted=case.predicted, **ratio, ms={name: found.ms(name) for name in found.times},
        errors=results, shapes=dict(case.shapes), in_graph=found.in_graph, note=found.note,
        best=best,
    )


class Theirs:
    """PyTorch's side: its tensors, in a layout, and its call."""

    def __init__(self, case: Layer, arrays: dict[str, np.ndarray], layout: str):
        import torch
        import torch.nn.functional as F

        from benchmarks.gpu import rival

        self.case, self.F, self.torch = case, F, torch
        self.tensors = {}
        for name, array in arrays.items():
            moved = torch.from_numpy(array).to(rival.DEVICE)
            # Not what merely has four axes, as a grid does: images and what belongs to them.
            is_image = array.ndim == 4 and array.shape[1] > 1 and name != "grid"
            self.tensors[name] = (
                moved.to(memory_format=rival.LAYOUTS[layout]) if is_image else moved.contiguous()
            )
        self.wanted = [
            self.tensors[name].requires_grad_()
            for name, array in arrays.items()
            if case.wants_grad(name, array)
        ]
        self.upstream = torch.randn_like(self.forward())

    def forward(self) -> Any:
        y = self.case.call(self.F, *self.tensors.values())
        return y[0] if isinstance(y, tuple) else y

    def run(self, _: int) -> Any:
        """The output and the gradients."""
        y = self.forward()
        return y, *self.torch.autograd.grad(y, self.wanted, self.upstream)

    def results(self) -> list[Any]:
        return [t.detach() for t in self.run(0)]


class Ours:
    """minidl's side: Tensors of the same numbers, and its call."""

    def __init__(self, case: Layer, theirs: Theirs):
        import cupy

        import minidl
        import minidl.functional as F

        self.case, self.F, self.minidl = case, F, minidl
        self.tensors = {
            name: minidl.Tensor(cupy.from_dlpack(t.detach().clone()))
            for name, t in theirs.tensors.items()
        }
        self.wanted = [
            t.requires_grad_() for name, t in self.tensors.items()
            if theirs.tensors[name].requires_grad
        ]
        self.upstream = minidl.Tensor(cupy.from_dlpack(theirs.upstream))

    def run(self, _: int) -> Any:
        """The output and the gradients."""
        y = self.case.call(self.F, *self.tensors.values())
        y = y[0] if isinstance(y, tuple) else y
        return y, *self.minidl.grad(y, self.wanted, self.upstream)

    def results(self) -> list[Any]:
        import torch

        return [torch.from_dlpack(t.data) for t in self.run(0)]


def worst(ours: list[Any], theirs: list[Any]) -> float:
    """The largest relative difference of an output or a gradient."""
    if [tuple(a.shape) for a in ours] != [tuple(b.shape) for b in theirs]:
        return float("inf")
    return max(float((a - b).norm() / b.norm()) for a, b in zip(ours, theirs, strict=True))
