"""Passes over memory: rectifiers, biases and steps of optimisers, by kernels and by NumPy."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import nn, optim
from minidl.check import double_gradcheck, gradcheck
from minidl.compute import buffers, passes, reference
from minidl.compute.dispatch import run, use_kernels
from minidl.compute.reference.optimizer import AdamRates, MomentumRates
from minidl.compute.windows import windows_over
from minidl.cuda import compiler, native
from minidl.cuda.native import building
from minidl.cuda.source import folder, kernels_of, source_of

needs_compiler = pytest.mark.skipif(bool(native.why_not()), reason=native.why_not() or "-")
CODES = ["numpy", "emulated", pytest.param("native", marks=needs_compiler)]

ADAM = AdamRates(0.1, 0.1, 0.9, 0.1, 1.0, 0.02, 1.5, 1e-8)
MOMENTUM = MomentumRates(0.1, 0.9, 1.0, 0.1, 1.0, 0.9)


@pytest.fixture
def large(monkeypatch):
    """Every array counts as a large one."""
    monkeypatch.setattr(passes, "LARGE", 1)


def drawn(*shape, dtype=np.float32, seed=0):
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return x.transpose(0, 3, 1, 2) if len(shape) == 4 else x


# --- rectifiers ---


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("slope", [0.0, 0.25, 1.0, 2.0, -0.5])
def test_rectifiers_keep_what_is_above_0_and_turn_the_rest(code, slope):
    x = np.array([-2, -0.5, 0, 0.5, 3, np.nan, np.inf], np.float32)
    grad = np.array([1, 2, 3, 4, 5, 6, 7], np.float32)
    with use_kernels(code):
        y = run(reference.rectify, x, slope=slope)
        back = run(reference.rectify_adjoint, grad, x, slope=slope)
    np.testing.assert_array_equal(y, [-2 * slope, -0.5 * slope, 0, 0.5, 3, np.nan, np.inf])
    below = [slope * g for g in (1, 2, 3)]
    np.testing.assert_array_equal(back, [*below, 4, 5, 6 * slope, 7])


@pytest.mark.parametrize("code", CODES)
def test_rectifiers_have_derivatives_of_the_second_order(code, large):
    x = drawn(2, 3, 2, 5, dtype=float)
    x[np.abs(x) < 0.1] = 0.5
    with use_kernels(code):
        for f in (F.relu, lambda x: F.leaky_relu(x, 0.2)):
            for check in (gradcheck, double_gradcheck):
                assert check(lambda x, f=f: f(x) * f(x) * x, [x])


def test_relu_of_integers_stays_one_of_integers(large):
    y = F.relu(minidl.tensor([-1, 2]))
    assert y.dtype == np.int64 and y.numpy().tolist() == [0, 2]


# --- biases ---


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("convolve", [F.conv2d, F.conv_transpose2d])
def test_a_bias_has_derivatives_of_the_second_order(code, convolve, large):
    arrays = drawn(2, 3, 4, 4, dtype=float), drawn(4, 3, 3, 4, dtype=float), drawn(4, dtype=float)
    with use_kernels(code):
        for check in (gradcheck, double_gradcheck):
            assert check(lambda x, w, b: convolve(x, w, b) ** 2, arrays)


@pytest.mark.parametrize("code", CODES)
def test_a_bias_is_added_in_place_and_changes_nothing_else(code, large):
    x, w, b = drawn(2, 5, 4, 16), drawn(16, 1, 1, 16), drawn(16)
    before = [array.copy() for array in (x, w, b)]
    with use_kernels(code):
        y = run(reference.conv2d_y, x, w, windows=windows_over("test", (5, 4), (1, 1)))
        wanted = y + b[:, None, None]
        assert run(reference.add_bias, y, b, in_place=True) is y
        np.testing.assert_array_equal(y, wanted)
        np.testing.assert_array_equal(F.conv2d(x, w, b).numpy(), wanted)
    for array, old in zip((x, w, b), before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_a_bias_of_a_wider_dtype_widens_the_result():
    y = F.conv2d(drawn(2, 5, 4, 3), drawn(6, 1, 1, 3), drawn(6, dtype=float))
    assert y.dtype == np.float64


@needs_compiler
@pytest.mark.parametrize("channels", [1, 3, 16, 37])
def test_sums_over_many_pixels_are_exact_to_the_last_digits(channels):
    y = drawn(8, 97, 101, channels) + 1
    with use_kernels("native"):
        sums = run(reference.channel_sums, y)
    np.testing.assert_allclose(sums, y.sum((0, 2, 3), dtype=float), rtol=5e-7)


# --- optimisers ---


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("name", ["adam", "momentum"])
def test_a_step_is_taken_in_place_where_asked_for(code, name):
    rates = ADAM if name == "adam" else MOMENTUM
    p, grad, *memory = (np.abs(drawn(7, 9, seed=i)) for i in range(4 if name == "adam" else 3))
    # The gradient lies otherwise: packs of it are not packs of p.
    for gradient in (grad, np.asfortranarray(grad)):
        function, arrays = getattr(reference, name), [p, gradient, *memory]
        wanted = function(*arrays, rates=rates)
        with use_kernels(code):
            for found, right in zip(run(function, *arrays, rates=rates), wanted, strict=True):
                np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-7)
            changed = [array.copy() for array in arrays]
            changed[1] = gradient
            found = run(function, *changed, rates=rates, in_place=True)
        assert all(a is b for a, b in zip(found, [changed[0], *changed[2:]], strict=True))
        for array, right in zip(found, wanted, strict=True):
            np.testing.assert_allclose(array, right, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("make", [
    lambda p: optim.Adam(p, 0.1, weight_decay=0.1), lambda p: optim.AdamW(p, 0.1),
    lambda p: optim.Adam(p, 0.1, amsgrad=True), lambda p: optim.SGD(p, 0.1, 0.9, nesterov=True),
    lambda p: optim.SGD(p, 0.1, 0.9, 0.5, weight_decay=0.1),
])
def test_optimisers_walk_the_same_way_by_any_code(code, make, large):
    def trained(code):
        p = nn.Parameter(drawn(5, 3, 2, 4))
        optimizer = make([p])
        for i in range(4):
            p.grad = minidl.Tensor(drawn(5, 3, 2, 4, seed=i + 1))
            with use_kernels(code):
                optimizer.step()
        return p.data

    np.testing.assert_allclose(trained(code), trained("reference"), rtol=2e-5, atol=1e-6)


# --- when kernels are called ---


def test_small_arrays_integers_and_halves_are_left_to_numpy(monkeypatch):
    ran = []
    monkeypatch.setattr(passes, "run", lambda function, *_, **__: ran.append(function))
    for x in (np.ones(passes.LARGE - 1), np.ones(passes.LARGE, int),
              np.ones(passes.LARGE, np.float16)):
        assert (passes.pass_over(reference.rectify, x, slope=0.0) == 1).all()
    assert ran == []
    passes.pass_over(reference.rectify, np.ones(passes.LARGE), slope=0.0)
    assert ran == [reference.rectify]


@needs_compiler
def test_bits_are_the_same_for_any_number_of_threads(monkeypatch):
    y, grad, b = drawn(4, 61, 67, 21), drawn(4, 61, 67, 21, seed=1), drawn(21)
    v = np.abs(grad)

    def all_of_them(threads):
        monkeypatch.setattr(native.threads, "count", lambda: threads)
        native.form_of.cache_clear()
        with use_kernels("native"):
            return [run(reference.rectify, y, slope=0.1), run(reference.add_bias, y, b),
                    run(reference.rectify_adjoint, grad, y, slope=0.1),
                    run(reference.channel_sums, y),
                    *run(reference.adam, y, grad, grad, v, rates=ADAM),
                    *run(reference.momentum, y, grad, v, rates=MOMENTUM)]

    alone = all_of_them(1)
    for threads in (2, 5):
        for one, other in zip(alone, all_of_them(threads), strict=True):
            assert one.tobytes() == other.tobytes()
    native.form_of.cache_clear()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 instructions")
@pytest.mark.skipif(not shutil.which("g++"), reason="reads what g++ writes")
def test_steps_are_computed_in_vectors_not_number_by_number(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "g++")
    compiler.compiler.cache_clear()
    command, source = compiler.compiler(), source_of(folder() / "optimizer.cu")
    compiler.compiler.cache_clear()
    text = building.cpp_text(building.whole_text(source, paths=True), kernels_of(source))
    (tmp_path / "kernel.cpp").write_text(f'#include "cuda.hpp"\n#define real float\n{text}')
    flags = [*building.FLAGS, *building._vector_flags(command), f"-I{folder() / 'native'}", "-S"]
    made = tmp_path / "kernel.s"
    subprocess.run([*command, *flags, str(tmp_path / "kernel.cpp"), "-o", str(made)], check=True)
    assembly = made.read_text()
    # Numbers that are left over are computed one by one, and so are those of the naive rung.
    assert len(re.findall(r"\sv?sqrtss\s", assembly)) < 4
    assert re.search(r"\sv?sqrtps\s", assembly)


# --- memory that is used again ---


def test_large_sums_lie_as_their_terms_and_go_into_memory_that_is_used_again(monkeypatch):
    monkeypatch.setattr(buffers, "_blocks", [])  # no memory of other tests is waiting
    x = minidl.tensor(drawn(4, 97, 89, 16))
    x.data = drawn(4, 97, 89, 16)  # channels last
    first = x + x
    where, strides = first.data.ctypes.data, first.data.strides
    np.testing.assert_array_equal(first.data, 2 * x.data)
    assert strides == x.data.strides
    second = x - x
    assert second.data.ctypes.data != where and not second.data.any()
    del first
    assert (x + x).data.ctypes.data == where


def test_sums_of_arrays_that_differ_are_numpys():
    x, y = drawn(2, 190, 191, 3), drawn(1, 190, 191, 1).astype(float)
    np.testing.assert_array_equal(minidl.tensor(x) + minidl.tensor(y), x + y)
