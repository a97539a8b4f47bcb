"""Law: every rung of every ladder computes what the reference does, and the same bits each time.

On the emulator everywhere, and natively those whose threads never meet; the same tests run on CuPy
arrays where there is a GPU.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minidl
import minidl.functional as F
from minidl.compute import reference
from minidl.compute.arrays import to_device
from minidl.compute.dispatch import run
from minidl.compute.windows import windows_over
from minidl.cuda import emulator, native
from minidl.cuda.launch import executing
from minidl.cuda.source import shipped
from minidl.errors import DtypeError, ShapeError
from minidl.kernels.agreement import as_tuple, in_double, tolerance
from minidl.kernels.cases import CASES, cases_of, channels_last, example, moved
from minidl.kernels.ladders import LADDERS
from minidl.samples import all_samples

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
DTYPES = [np.float32, np.float64]
RUNGS = [rung for ladder in LADDERS.values() for rung in ladder]


@cache
def made(case, dtype):
    return case.call(dtype)


def fitting(dtypes=DTYPES):
    """Every rung with every case that it fits."""
    for rung in RUNGS:
        for dtype in dtypes:
            for case in cases_of(rung.op):
                arrays, settings = made(case, dtype)
                if not rung.why_not(*arrays, **settings):
                    yield rung, dtype, case


def identity(rung, dtype, case):
    return f"{rung.name}-{np.dtype(dtype).name}-{case.setting.replace(' ', '_')}"


TRIED = list(fitting())


def results(function, arrays, settings, device="cpu"):
    """What a function gives, on a device, as a tuple of NumPy arrays."""
    there, known = moved((arrays, settings), device)
    result = function(*there, **known)
    return tuple(to_device(r, "cpu") for r in as_tuple(result))


def assert_close(found, expected, relative):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        largest = np.abs(b[np.isfinite(b)]).max(initial=0)
        np.testing.assert_allclose(a, b, rtol=0, atol=relative * float(largest))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rung, dtype, case", TRIED, ids=[identity(*t) for t in TRIED])
def test_rung_equals_the_reference(rung, dtype, case, device):
    arrays, settings = made(case, dtype)
    before = [array.tobytes() for array in arrays]
    found = results(rung, arrays, settings, device)
    assert [array.tobytes() for array in arrays] == before
    expected = in_double(rung.op, arrays, settings)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == (dtype if b.dtype == np.float64 else b.dtype)
    assert_close(found, expected, tolerance(rung, dtype))


NATIVE = [(rung, dtype, case) for rung in RUNGS if rung.native for dtype in DTYPES
          for case in cases_of(rung.op)]


@pytest.mark.parametrize("rung, dtype, case", NATIVE, ids=[identity(*t) for t in NATIVE])
def test_rung_equals_the_reference_natively(rung, dtype, case):
    if native.why_not():
        pytest.skip(native.why_not())
    arrays, settings = made(case, dtype)
    before = [array.tobytes() for array in arrays]
    with executing(native.run):
        if rung.why_not(*arrays, **settings):
            return  # NumPy computes it
        found = results(rung, arrays, settings)
        again = results(rung, arrays, settings)
    assert [array.tobytes() for array in arrays] == before
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(found, again, strict=True))
    expected = in_double(rung.op, arrays, settings)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == (dtype if b.dtype == np.float64 else b.dtype)
    assert_close(found, expected, tolerance(rung, dtype))


@pytest.mark.parametrize("rung", RUNGS, ids=[rung.name for rung in RUNGS])
def test_rung_is_tried_on_several_cases_with_numbers_in_them(rung):
    cases = {case.setting for r, dtype, case in TRIED if r is rung and made(case, dtype)[0][0].size}
    assert len(cases) >= 2


@pytest.mark.parametrize("op", LADDERS)
def test_lowest_rung_fits_everything(op):
    lowest = LADDERS[op].rungs[0]
    assert lowest.level == 1
    for case in (*cases_of(op), example(op)):
        arrays, settings = made(case, np.float32)
        assert not lowest.why_not(*arrays, **settings)


def test_cases_and_ladders_are_of_the_same_ops():
    assert {case.op for case in CASES} == set(LADDERS)
    assert {example(op).op for op in LADDERS} == set(LADDERS)


def test_names_of_cases_are_distinct():
    names = [case.name for case in CASES]
    assert sorted(names) == sorted(set(names))


def test_every_kernel_is_launched_by_some_rung():
    launched = set()

    def noted(launch):
        launched.add(launch.kernel.name)
        emulator.run(launch)

    with executing(noted):
        for rung, dtype, case in fitting([np.float32]):
            arrays, settings = made(case, dtype)
            rung(*arrays, **settings)
    assert launched == set(shipped())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rung", RUNGS, ids=[rung.name for rung in RUNGS])
def test_results_are_the_same_bit_for_bit(rung, device):
    """On the case with the most numbers, whose blocks are spread over cores."""
    cases = [case for r, dtype, case in TRIED if r is rung and dtype == np.float32]
    largest = max(cases, key=lambda case: sum(a.size for a in made(case, np.float32)[0]))
    first, second = (results(rung, *made(largest, np.float32), device) for _ in "ab")
    assert [a.tobytes() for a in first] == [b.tobytes() for b in second]


# --- drawn settings ---


@st.composite
def convolutions(draw):
    """A geometry in which a window fits, and channels: few, in packs, in groups."""
    sizes = [draw(st.integers(1, 11)) for _ in range(2)]
    kernel = [draw(st.integers(1, 4)) for _ in range(2)]
    stride, dilation = ([draw(st.integers(1, 4)) for _ in range(2)] for _ in range(2))
    padding = [draw(st.integers(0, 4)) for _ in range(2)]
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    c, o = (groups * draw(st.sampled_from([1, 2, 4, 5, 8, 17])) for _ in range(2))
    try:
        steps = tuple(stride), tuple(padding), tuple(dilation)
        windows = windows_over("test", sizes, kernel, *steps)
    except ShapeError:
        assume(False)
        raise
    return draw(st.integers(1, 3)), c, o, groups, windows, draw(st.booleans())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("corner", "yxw")
@given(convolutions())
def test_convolutions_equal_the_reference(corner, device, drawn):
    n, c, o, groups, windows, last = drawn
    rng = np.random.default_rng(0)
    shapes = {
        "x": (n, c, *windows.image),
        "w": (o, c // groups, *windows.kernel),
        "y": (n, o, *windows.output),
    }
    arrays = [rng.standard_normal(shapes[letter]) for letter in "xwy" if letter != corner]
    arrays = [channels_last(array) for array in arrays] if last else arrays
    settings = {"windows": windows, "groups": groups}
    expected = in_double(f"conv2d_{corner}", arrays, settings)
    for rung in LADDERS[f"conv2d_{corner}"]:
        if not rung.why_not(*arrays, **settings):
            assert_close(results(rung, arrays, settings, device), expected, 1e-12)


# --- whole ops ---

SAMPLES = [
    sample for sample in all_samples()
    if any(word in sample.name for word in ("conv", "pool", "interpol", "sample", "norm", "gram"))
]


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
def test_ops_and_their_derivatives_are_the_same_in_kernels(sample):
    def run():
        inputs = [minidl.tensor(array, requires_grad=True) for array in sample.inputs()]
        value = sample.call(F, *inputs)
        weights = np.random.default_rng(0).standard_normal(value.shape)
        found = minidl.grad(value, inputs, weights, allow_unused=True)
        return [value.data, *(g.data for g in found if g is not None)]

    with minidl.use_kernels("emulated"):
        kernels = run()
    with minidl.use_kernels("reference"):
        plain = run()
    for a, b in zip(kernels, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("int64", "int64")])
def test_types_without_kernels_are_refused_and_not_left_to_another_code(dtypes):
    x, w = (np.ones((2, 2, 4, 4), dtype) for dtype in dtypes)
    windows = windows_over("test", (4, 4), (4, 4), padding=1)
    with minidl.use_kernels("emulated"), pytest.raises(DtypeError, match="one of them at a time"):
        run(reference.conv2d_y, x, w, windows=windows)


def test_float16_is_computed_by_the_kernels_of_float32():
    x, w = (np.ones((2, 2, 4, 4), np.float16) for _ in "xw")
    windows = windows_over("test", (4, 4), (4, 4), padding=1)
    launches = []

    def noted(launch):
        launches.append(launch.real)
        emulator.run(launch)

    with minidl.use_kernels("emulated"), executing(noted):
        y = run(reference.conv2d_y, x, w, windows=windows)
    assert (y.dtype, launches) == (np.float16, ["float"])
