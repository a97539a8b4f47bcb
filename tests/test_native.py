"""Kernels as the CPU's own code: what is refused, when it is used, that its bits never change."""

from __future__ import annotations

import multiprocessing
import os
import platform
import re
import shutil
import subprocess
import threading
import warnings

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl.check import gradcheck
from minidl.compute import reference
from minidl.compute.dispatch import run, use_kernels
from minidl.compute.windows import windows_over
from minidl.cuda import compiler, native
from minidl.cuda.launch import executing, launch
from minidl.cuda.native import building
from minidl.cuda.source import folder, kernels_of, source_of
from minidl.errors import DeviceError, DtypeError, KernelError
from minidl.kernels.agreement import difference, in_double, tolerance
from minidl.kernels.cases import cases_of
from minidl.kernels.ladders import LADDERS, use_rung

if native.why_not():
    pytest.skip(native.why_not(), allow_module_level=True)

SCALE = """
struct Two { int a; double b; };
extern "C" __global__ void scale(const float* x, float* y, float by, Two two, bool less, int N) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x + blockIdx.y * gridDim.x * blockDim.x;
    if (i < N) y[i] = x[i] * by + two.a + float(two.b) - less;
}
"""


@pytest.fixture
def anew(monkeypatch):
    """Nothing is remembered of what was found out about this machine, before and after."""

    def forget():
        native._given_up.clear()
        for function in (native._missing, compiler.compiler):
            function.cache_clear()

    forget()
    yield monkeypatch
    monkeypatch.undo()
    forget()


def conv(n=2, c=16, o=32, size=9, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, size, size, c)).astype(dtype).transpose(0, 3, 1, 2)
    w = rng.standard_normal((3, 3, c, o)).astype(dtype).transpose(3, 2, 0, 1)
    return x, w, windows_over("test", (size, size), (3, 3), padding=1)


# --- running ---


def test_a_kernel_of_ones_own_runs_over_a_grid_with_numbers_and_structs():
    x, y = np.arange(50, dtype=np.float32), np.full(50, -1, np.float32)
    with executing(native.run):
        launch(kernels_of(SCALE)["scale"], (2, 4), 8, x=x, y=y, by=2.0, two={"a": 3, "b": 0.5},
               less=True, N=47)
    assert np.array_equal(y[:47], 2 * x[:47] + 2.5) and (y[47:] == -1).all()


def test_numbers_of_every_width_arrive():
    text = """
        extern "C" __global__ void gather(
            double* y, long long a, size_t b, short c, unsigned char d, bool e, signed char f,
            double g, unsigned h) {
            const double all[] = {double(a), double(b), double(c), double(d), double(e), double(f),
                                  g, double(h)};
            y[threadIdx.x] = all[threadIdx.x];
        }
    """
    given = {"a": -(2**40), "b": 2**41, "c": -300, "d": 200, "e": True, "f": -7, "g": 0.1,
             "h": 2**31}
    y = np.zeros(8)
    with executing(native.run):
        launch(kernels_of(text)["gather"], 1, 8, y=y, **given)
    assert y.tolist() == [float(value) for value in given.values()]


@pytest.mark.parametrize(("word", "line"), [
    ("__syncthreads", "__syncthreads();"),
    ("__shared__", "__shared__ int s[4];"),
    ("__shfl_xor_sync", "x[0] = __shfl_xor_sync(0xffffffffu, x[0], 1);"),
    ("atomicAdd", "atomicAdd(x, 1);"),
])
def test_a_kernel_whose_threads_meet_is_refused_by_the_word(word, line):
    text = f'extern "C" __global__ void meets(int* x) {{ {line} }}\n'
    with executing(native.run), pytest.raises(KernelError, match=f"threads meet, by {word}"):
        launch(kernels_of(text)["meets"], 1, 4, x=np.zeros(4, np.int32))


def test_kernels_whose_threads_meet_do_not_hinder_the_others_of_their_file():
    text = """
        extern "C" __global__ void meets(int* x) { if (x[0]) { __syncthreads(); } }
        extern "C" __global__ void alone(int* x) { x[threadIdx.x] = 7; }  // no __syncthreads
    """
    x = np.zeros(4, np.int32)
    with executing(native.run):
        launch(kernels_of(text)["alone"], 1, 4, x=x)
        with pytest.raises(KernelError, match="meets cannot run natively"):
            launch(kernels_of(text)["meets"], 1, 4, x=x)
    assert x.tolist() == [7] * 4


def test_a_function_in_which_threads_meet_is_refused_with_its_file():
    text = ("__device__ void wait() { __syncthreads(); }\n"
            'extern "C" __global__ void waits(int* x) { wait(); x[threadIdx.x] = 1; }\n')
    with executing(native.run), pytest.raises(KernelError, match="threads meet, by __syncthreads"):
        launch(kernels_of(text)["waits"], 1, 4, x=np.zeros(4, np.int32))


def test_a_barrier_hidden_in_a_word_does_not_compile():
    text = ("#define WAIT __sync ## threads()\n"
            'extern "C" __global__ void hides(int* x) { WAIT; x[threadIdx.x] = 1; }\n')
    with executing(native.run), pytest.raises(KernelError, match="does not compile for this CPU"):
        launch(kernels_of(text)["hides"], 1, 4, x=np.zeros(4, np.int32))


def test_what_kernels_declare_is_asked_for_natively_too():
    with executing(native.run), pytest.raises(DtypeError, match="float64"):
        launch(kernels_of(SCALE)["scale"], 1, 8, x=np.zeros(8), y=np.zeros(8, np.float32), by=1.0,
               two={"a": 0, "b": 0.0}, less=False, N=8)


# --- the same bits ---


@pytest.mark.parametrize("op", ["conv2d_y", "conv2d_x", "conv2d_w"])
@pytest.mark.parametrize("level", [2, 3])
def test_the_bits_are_the_same_for_any_number_of_threads(op, level, monkeypatch):
    x, w, windows = conv(n=5, size=17)
    y = np.ascontiguousarray(run(reference.conv2d_y, x, w, windows=windows))
    arrays = {"conv2d_y": (x, w), "conv2d_x": (w, y), "conv2d_w": (x, y)}[op]
    found = []
    for threads in (1, 2, 3, 8):
        monkeypatch.setattr(native.threads, "count", lambda threads=threads: threads)
        native.form_of.cache_clear()
        with use_kernels("native"), use_rung(op, level):
            found += [run(getattr(reference, op), *arrays, windows=windows) for _ in range(3)]
    native.form_of.cache_clear()
    assert all(np.array_equal(found[0], other) for other in found)


@pytest.mark.parametrize(("c", "o", "size"), [(16, 32, 9), (32, 16, 4), (3, 48, 8), (32, 3, 8)])
def test_an_image_has_the_same_bits_in_any_batch(c, o, size):
    x, w, windows = conv(5, c, o, size)
    with use_kernels("native"):
        y = run(reference.conv2d_y, x, w, windows=windows)
        back = run(reference.conv2d_x, w, y, windows=windows)
        for i in range(5):
            alone = run(reference.conv2d_y, x[i : i + 1], w, windows=windows)
            assert np.array_equal(alone[0], y[i])
            alone = run(reference.conv2d_x, w, y[i : i + 1], windows=windows)
            assert np.array_equal(alone[0], back[i])


def test_long_sums_are_as_exact_as_promised():
    x, w, windows = conv(2, 512, 64, 8)
    exact = reference.conv2d_y(x.astype(float), w.astype(float), windows)
    with use_kernels("native"):
        for level, limit in ((2, 5e-7), (3, 2e-6)):
            with use_rung("conv2d_y", level):
                y = run(reference.conv2d_y, x, w, windows=windows)
            error = np.sqrt(((y - exact) ** 2).mean() / (exact**2).mean())
            assert error < limit


# --- threads and processes ---


def test_several_threads_of_python_may_compute_at_once():
    x, w, windows = conv(8, 32, 32, 33)
    with use_kernels("native"):
        wanted = run(reference.conv2d_y, x, w, windows=windows)
    found = []

    def work():
        with use_kernels("native"):
            found.extend(run(reference.conv2d_y, x, w, windows=windows) for _ in range(10))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 40 and all(np.array_equal(wanted, y) for y in found)


def _in_child(queue):
    x, w, windows = conv(8, 32, 32, 33)
    with use_kernels("native"):
        queue.put(run(reference.conv2d_y, x, w, windows=windows).sum(dtype=float))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_child_computes_with_threads_of_its_own():
    x, w, windows = conv(8, 32, 32, 33)
    with use_kernels("native"):
        wanted = run(reference.conv2d_y, x, w, windows=windows).sum(dtype=float)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads: the point
        child = context.Process(target=_in_child, args=(queue,))
        child.start()
    assert queue.get(timeout=60) == wanted
    child.join(60)
    assert child.exitcode == 0


# --- when it is used ---


def test_without_a_compiler_numpy_computes_and_nothing_is_said(anew):
    x, w, windows = conv()
    anew.setenv("CXX", "no-such-compiler")
    anew.setattr(compiler.importlib.util, "find_spec", lambda name: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = run(reference.conv2d_y, x, w, windows=windows)
    with use_kernels("numpy"):
        assert np.array_equal(y, run(reference.conv2d_y, x, w, windows=windows))
    with pytest.raises(DeviceError, match="cannot run natively"), use_kernels("native"):
        pass


def test_minidl_native_0_leaves_it_alone(anew):
    anew.setenv("MINIDL_NATIVE", "0")
    assert native.why_not() == "MINIDL_NATIVE is 0"
    x, w, windows = conv()
    y = run(reference.conv2d_y, x, w, windows=windows)
    with use_kernels("numpy"):
        assert np.array_equal(y, run(reference.conv2d_y, x, w, windows=windows))


def test_a_compiler_that_fails_is_told_of_once_and_numpy_computes(anew, tmp_path):
    broken = tmp_path / "c++"
    answers = "*--version*) echo c++ 1;; *-E*) ;; *) exit 3;;"
    broken.write_text(f'#!/bin/sh\ncase "$*" in {answers} esac\n')
    broken.chmod(0o755)
    anew.setenv("CXX", str(broken))
    anew.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    for function in (native.vector, native.form_of, native._library, native._share):
        function.cache_clear()
    anew.setattr("minidl.cuda.launch._numbers", anew_numbers())
    x, w, windows = conv()
    try:
        with pytest.warns(RuntimeWarning, match="not built for this CPU") as told:
            found = [run(reference.conv2d_y, x, w, windows=windows) for _ in range(2)]
    finally:
        for function in (native.vector, native.form_of, native._library, native._share):
            function.cache_clear()
    assert len(told) == 1
    with use_kernels("numpy"):
        wanted = run(reference.conv2d_y, x, w, windows=windows)
    assert all(np.array_equal(y, wanted) for y in found)


def anew_numbers():
    """The function of constants, with nothing remembered."""
    from minidl.cuda import launch as module

    return module._numbers.__wrapped__


def test_what_kernels_do_not_cover_is_left_to_numpy():
    x, w = np.ones((1, 4, 5, 5), np.float32), np.ones((4, 2, 3, 3), np.float32)
    windows = windows_over("test", (5, 5), (3, 3))
    assert LADDERS["conv2d_y"].native_rung(x, w, windows=windows, groups=2) is None
    with use_kernels("native"):
        y = run(reference.conv2d_y, x, w, windows=windows, groups=2)
    assert np.array_equal(y, reference.conv2d_y(x, w, windows, groups=2))


def test_derivatives_run_natively_too():
    x, w, _ = conv(1, 16, 16, 8, np.float64)
    x, w = minidl.tensor(x, requires_grad=True), minidl.tensor(w, requires_grad=True)
    assert gradcheck(lambda x, w: F.conv2d(x, w, padding=1), (x, w))


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names CPUs of x86")
@pytest.mark.parametrize(("march", "vector"), [("x86-64", 16), ("x86-64-v3", 32)])
def test_older_cpus_compute_the_same(march, vector, anew, tmp_path):
    anew.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    anew.setattr(building, "FLAGS", [f.replace("native", march) for f in building.FLAGS])
    anew.setattr(building, "_cpu", lambda command: march)
    anew.setattr("minidl.cuda.launch._numbers", anew_numbers())
    known = (native.vector, native.form_of, native._library, building._vector_flags)
    for function in known:
        function.cache_clear()
    try:
        for name in ("conv_packs.cu", "winograd.cu"):
            assert native.vector(source_of(folder() / name), "float") == vector
        for op in ("conv2d_y", "conv2d_x", "conv2d_w"):
            for rung in LADDERS[op].native:
                for case in cases_of(op):
                    arrays, settings = case.call(np.float32)
                    with executing(native.run):
                        if rung.why_not(*arrays, **settings):
                            continue
                        found = rung(*arrays, **settings)
                    wanted = in_double(op, arrays, settings)[0]
                    assert difference(found, wanted) < tolerance(rung, np.float32)
    finally:
        for function in known:
            function.cache_clear()


# --- what is kept ---


def test_what_is_built_is_kept_for_its_user_and_this_cpu_alone(anew, tmp_path):
    anew.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    source = source_of(SCALE)
    path = building.build(source, "float")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert building.build(source, "float") == path
    anew.setattr(building, "_cpu", lambda command: "another CPU")
    assert building.build(source, "float") != path


# --- what the compiler makes of it ---


def _inner_loops(assembly):
    """The blocks of instructions that end in a jump to their own beginning."""
    for found in re.finditer(r"^(\.L\w+):\n((?:(?!^\.L\w+:)[^\n]*\n)*)", assembly, re.MULTILINE):
        label, body = found.groups()
        lines = body.splitlines()
        back = re.compile(rf"\sj\w+\s+{re.escape(label)}$")
        jump = next((i for i, line in enumerate(lines) if back.search(line)), None)
        if jump is not None:
            yield lines[:jump]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 instructions")
@pytest.mark.skipif(not shutil.which("g++"), reason="reads what g++ writes")
@pytest.mark.parametrize("name", ["conv_packs.cu", "winograd.cu"])
def test_sums_stay_in_registers(name, tmp_path, anew):
    anew.setenv("CXX", "g++")
    command, where = compiler.compiler(), folder() / "native"
    source = source_of(folder() / name)
    text = building.cpp_text(building.whole_text(source, paths=True), kernels_of(source))
    (tmp_path / "kernel.cpp").write_text(text)
    (tmp_path / "kernel.hpp").write_text('#include "cuda.hpp"\n#define real float\n')
    flags = [*building.FLAGS, *building._vector_flags(command), f"-I{where}", "-S", "-include",
             str(tmp_path / "kernel.hpp")]
    subprocess.run(
        [*command, *flags, str(tmp_path / "kernel.cpp"), "-o", str(tmp_path / "kernel.s")],
        check=True, env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    loops = [body for body in _inner_loops((tmp_path / "kernel.s").read_text())
             if sum("fmadd" in line or "mulps" in line for line in body) >= 12]
    assert len(loops) >= 3
    for body in loops:
        stored = re.compile(r"mov[au]p[sd]\s+%[xyz]mm\d+,.*\(%r[sb]p")
        assert not [line for line in body if stored.search(line)]
