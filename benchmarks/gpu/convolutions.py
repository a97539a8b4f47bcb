"""The three corners of convolutions against cuDNN: first checked against float64, then timed."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from benchmarks.gpu.cases import CONVOLUTIONS, TF32, Conv
from benchmarks.gpu.report import Rows
from benchmarks.gpu.timing import Pace, Side, race, sets_for

GATE = {"strict": 2.0, "tf32": 1.2}
"""The multiple of PyTorch's error that is allowed in each mode."""

WRONG = 1e-2
"""The relative error beyond which it is no rounding: such a corner is not timed."""

TF32_LEVEL = 5
"""The rung of each corner that rounds to TF32, as cuDNN does in that mode."""


def convolutions(rows: Rows, pace: Pace = Pace()) -> None:  # noqa: B008
    """Check and time all cases strict, then the first ones in TF32, while there is time."""
    order = [("strict", case) for case in CONVOLUTIONS]
    order += [("tf32", case) for case in CONVOLUTIONS[:TF32]]
    done, left_out = rows.done(), []
    for mode, case in order:
        names = {letter: f"{case.name}, {letter}, {mode}" for letter in "yxw"}
        if rows.left() < 4:
            left_out.append(f"{case.name} {mode}")
        elif names.keys() and not done >= {*names.values()}:
            _case(rows, mode, case, names, pace)
    if left_out:
        rows.add("left out", None, f"no time for {', '.join(left_out)}")


def _case(rows: Rows, mode: str, case: Conv, names: dict[str, str], pace: Pace) -> None:
    from benchmarks.gpu import rival

    rival.use_mode(mode)
    with rows.judged(f"{case.name}, arrays"):
        buffers = Buffers(case)
        for letter, name in names.items():
            with rows.judged(name):
                _corner(rows, mode, case, letter, name, buffers, pace)
    free()


class Buffers:
    """Several sets of x, w and y: channels last, shared by both libraries, and NCHW for PyTorch."""

    def __init__(self, case: Conv):
        import cupy

        from benchmarks.gpu import rival

        self.case = case
        self.count = sets_for(case.bytes)
        self.last = [
            {name: rival.drawn(shape) for name, shape in case.shapes.items()}
            for _ in range(self.count)
        ]
        self.first = [
            {name: array.contiguous() for name, array in arrays.items()} for arrays in self.last
        ]
        self.ours = [
            {name: cupy.from_dlpack(array) for name, array in arrays.items()}
            for arrays in self.last
        ]

    def sides(self, letter: str, mode: str) -> list[Side]:
        """The sides of the race: minidl, and PyTorch in both layouts."""
        from benchmarks.gpu import rival
        from minidl.compute.windows import windows_over
        from minidl.kernels import conv
        from minidl.kernels.ladders import use_rung

        case, op, sets = self.case, f"conv2d_{letter}", self.count
        steps = {"stride": case.stride, "padding": case.padding}
        windows = windows_over("benchmark", (case.h, case.h), (case.k, case.k), **steps)
        given, function = {"y": "xw", "x": "wy", "w": "xy"}[letter], getattr(conv, op)

        def ours(i: int) -> Any:
            arrays = [self.ours[i % sets][name] for name in given]
            with nullcontext() if mode == "strict" else use_rung(op, TF32_LEVEL):
                return function(*arrays, windows=windows)

        return [
            Side("minidl", ours),
            Side("NCHW", lambda i: rival.corner(letter, case, **self.first[i % sets]), "torch"),
            Side("channels last", lambda i: rival.corner(letter, case, **self.last[i % sets]),
                 "torch"),
        ]

    def rung(self, letter: str) -> str:
        """The rung that minidl uses in strict mode."""
        from minidl.compute.windows import windows_over
        from minidl.kernels.ladders import LADDERS

        case = self.case
        steps = {"stride": case.stride, "padding": case.padding}
        windows = windows_over("benchmark", (case.h, case.h), (case.k, case.k), **steps)
        given = {"y": "xw", "x": "wy", "w": "xy"}[letter]
        arrays = [self.ours[0][name] for name in given]
        return LADDERS[f"conv2d_{letter}"].rung_for(*arrays, windows=windows).name


def _corner(
    rows: Rows, mode: str, case: Conv, letter: str, name: str, buffers: Buffers, pace: Pace
) -> None:
    import torch

    from benchmarks.gpu import rival

    sides = buffers.sides(letter, mode)
    poison(int(4 * max(1, torch.tensor(case.shapes[letter]).prod().item())))
    expected = rival.in_double(letter, case, **buffers.last[0])
    errors = {side.name: rival.error(torch.from_dlpack(side.run(0)), expected) for side in sides}
    del expected
    if not errors["minidl"] < WRONG:
        rows.add(name, False, f"wrong, not timed: off by {errors['minidl']:.1e}", errors=errors)
        return
    found = race(sides, pace)
    best = found.fastest(["NCHW", "channels last"])
    ratio = found.ratio("minidl", best)
    rate = {side: case.flops / found.ms(side) / 1e9 for side in found.times}
    near = errors["minidl"] <= GATE[mode] * errors[best]
    rung = buffers.rung(letter) if mode == "strict" else f"level {TF32_LEVEL}"
    rows.add(
        name, near,
        f"{found.ms('minidl'):.3f} ms, {rate['minidl']:.0f} TFLOP/s, error {errors['minidl']:.0e}; "
        f"cuDNN {found.ms(best):.3f} ms, {rate[best]:.0f}, {errors[best]:.0e}, {best}"
        + ("" if ratio["sound"] else "; varies"),
        predicted=case.predicted(mode, letter), **ratio, errors=errors, tflops=rate, rung=rung,
        ms={side: found.ms(side) for side in found.times}, in_graph=found.in_graph, note=found.note,
        sets=buffers.count, shapes=case.shapes, best=best,
    )


def poison(bytes_: int) -> None:
    """Leave NaNs in the memory that CuPy's pool hands out next."""
    import cupy

    cupy.full(-(-bytes_ // 4), cupy.nan, cupy.float32)


def free() -> None:
    """Give all memory back, of both libraries."""
    import gc

    import cupy
    import torch

    gc.collect()
    torch.cuda.empty_cache()
    cupy.get_default_memory_pool().free_all_blocks()
