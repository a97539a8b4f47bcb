"""Faults planted in kernels are found, by line and name, and Python outlives them all."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from minidl.compute import threads
from minidl.cuda import nvrtc
from minidl.cuda.emulator import guard
from minidl.cuda.emulator.guard import time_limit
from minidl.cuda.emulator.text import cpp_text, device_variables
from minidl.cuda.emulator.trace import tracing
from minidl.cuda.launch import launch
from minidl.cuda.source import kernels_of, real_option, source_of
from minidl.errors import ArgumentError, KernelError

pytest.importorskip("elftools")
pytestmark = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler"
)

PLANTED = Path(__file__).parent / "broken_kernels" / "planted.cu"
asked = pytest.mark.usefixtures("with_nvrtc")
guarded = pytest.mark.skipif(sys.platform != "linux", reason="faults are caught on Linux")


def line_of(marker):
    lines = PLANTED.read_text().splitlines()
    (found,) = [i for i, line in enumerate(lines, 1) if line.endswith(f"// {marker}")]
    return f"planted.cu:{found}"


def run(name, grid=1, block=32, shared=0, text=PLANTED, **arguments):
    launch(kernels_of(text)[name], grid, block, shared, **arguments)


def traced(name, grid=1, block=32, unwritten=False, text=PLANTED, **arguments):
    with tracing(unwritten=unwritten) as trace:
        run(name, grid, block, text=text, **arguments)
    return trace


def floats(n=32):
    return {"x": np.arange(1, n + 1, dtype=np.float32), "y": np.zeros(n, np.float32)}


# --- shared memory ---


@pytest.mark.parametrize(
    ("name", "marker", "words"),
    [
        ("reads_beyond_shared", "reads beyond", "reads 4 bytes at left[32]"),
        ("writes_beyond_shared", "writes beyond", "writes 4 bytes at tile[32]"),
    ],
)
def test_one_element_beyond_a_shared_array_is_an_overrun_by_name(name, marker, words):
    assert traced(name, **floats(), broken=0).findings == []
    (found,) = traced(name, **floats(), broken=1).findings
    assert (found.kind, found.place) == ("overrun", line_of(marker))
    assert words in found.text and "which has 32 elements: 4 bytes beyond its end" in found.text


def test_a_write_beyond_a_shared_array_is_told_without_tracing():
    given = floats()
    run("writes_beyond_shared", **given, broken=0)
    assert (given["y"] == given["x"]).all()
    with pytest.raises(KernelError, match=r"writes beyond the end of the __shared__ array tile"):
        run("writes_beyond_shared", **given, broken=1)
    run("writes_beyond_shared", **given, broken=0)


def test_shared_memory_of_a_header_is_shared_memory():
    given = floats()
    assert traced("from_header", **given).findings == []
    assert (given["y"] == given["x"][::-1]).all()


SHARED = """
extern __shared__ float room[];
__shared__ int of_file[32];
namespace inner { __device__ int turn(int i) { return 31 - i; } }

extern "C" __global__ void file_scope(const float* x, float* y) {
    room[threadIdx.x] = x[threadIdx.x], of_file[threadIdx.x] = threadIdx.x;
    __syncthreads();
    const int other = inner::turn(threadIdx.x);
    y[threadIdx.x] = room[other] + of_file[other] + ((int*)room)[0] * 0;
}

// Declarations as they are found: several at once, attributes, unions, what a lambda captures.
template <int N> struct Size { enum { VALUE = N }; };
extern "C" __global__ void many_forms(const float* x, float* y) {
    __shared__ float rows[4][Size<8>::VALUE], sum;
    __shared__ __align__(16) float4 packs[8];
    volatile __shared__ float moving[32];
    __shared__ union { float f[32]; int i[32]; } both;  // __shared__ in a comment; and "in; quotes"
    const int t = threadIdx.x;
    auto put = [=](float v) { rows[t / 8][t % 8] = v; };
    put(x[t]);
    ((float*)packs)[t] = x[t], moving[t] = x[t], both.f[t] = x[t];
    __syncthreads();
    if (t == 0) {
        sum = 0;
        for (int i = 0; i < 32; i++) sum += rows[i / 8][i % 8];
    }
    __syncthreads();
    const float sizes = sizeof rows + sizeof(both);
    y[t] = sum + ((float*)packs)[31 - t] + moving[31 - t] + both.f[31 - t] + sizes;
}
"""


@pytest.mark.parametrize("how", [run, traced])
def test_shared_memory_may_be_declared_outside_of_functions(how):
    given = floats()
    found = how("file_scope", text=SHARED, shared=128, **given)
    assert (given["y"] == given["x"][::-1] + np.arange(32)[::-1]).all()
    assert found is None or found.findings == []


@pytest.mark.parametrize("how", [run, traced])
def test_shared_memory_may_be_declared_in_many_forms(how):
    given = floats()
    found = how("many_forms", text=SHARED, shared=128, **given)
    assert (given["y"] == given["x"].sum() + 3 * given["x"][::-1] + 256).all()
    assert found is None or found.findings == []


def test_declarations_over_several_lines_keep_the_numbers_of_lines():
    text = 'extern "C" __global__ void f() {\n    __shared__ int a[2],\n        b;\n    x[0]\n}'
    assert [line.strip() for line in cpp_text(text, ["f"]).split("\n")[3:5]] == ["x[0]", "}"]


STATIC = """
extern "C" __global__ void much(float* y) {
    __shared__ float a[SIZE];
    a[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = a[31 - threadIdx.x];
}
"""


def test_more_than_48_kb_of_static_shared_memory_are_refused(monkeypatch):
    monkeypatch.setattr(nvrtc, "available", str)  # by the emulator itself, too
    y = np.zeros(32, np.float32)
    run("much", text=STATIC.replace("SIZE", "12288"), y=y)
    with pytest.raises(KernelError, match="61440 bytes of static __shared__ memory by a"):
        run("much", text=STATIC.replace("SIZE", "15360"), y=y)


# --- packs ---


@pytest.mark.parametrize(("name", "size", "lanes"), [("pairs", 8, 32), ("fours", 16, 32)])
def test_a_pack_read_through_a_cast_pointer_is_one_request(name, size, lanes):
    given = floats(size // 4 * lanes)
    trace = traced(name, **given, broken=0)
    assert trace.findings == []
    (row,) = [t for t in trace.traffic[name] if t.access == "load"]
    assert (row.size, row.requests, row.moved, row.ideal) == (size, 1, size, size)


@pytest.mark.parametrize(("name", "size"), [("pairs", 8), ("fours", 16)])
def test_a_misaligned_pack_is_seen(name, size):
    given = floats(size // 4 * 32)
    given["x"] = np.ones(given["x"].size + 4, np.float32)
    found = traced(name, **given, broken=1).findings[0]
    assert (found.kind, found.place) == ("misaligned", line_of(name))
    assert f"no multiple of {size}" in found.text


# --- __device__ variables ---


def test_device_variables_are_found_in_text():
    text = PLANTED.read_text()
    assert device_variables(text) == ["counted", "ticket", "parts"]
    functions = "__device__ float f(float x = 3); template <class T> __device__ T* g(T a, T b) {}"
    assert device_variables(functions) == []


def test_atomics_on_a_device_variable_count_all_blocks(monkeypatch):
    monkeypatch.setattr(threads, "count", lambda: 2)
    y = np.zeros(1, np.int32)
    run("read_counted", block=1, y=y)
    before = int(y[0])
    run("counts", 256, 64, y=y)
    run("read_counted", block=1, y=y)
    assert y[0] - before == 256 * 64


def test_the_last_block_finds_what_all_have_left(monkeypatch):
    monkeypatch.setattr(threads, "count", lambda: 2)
    x, y = np.arange(1024, dtype=np.float32), np.zeros(1, np.float32)
    for _ in range(2):
        y[:] = 0
        run("last_block", 64, 64, x=x, y=y)
        assert y[0] == x.sum()


def test_a_race_on_a_device_variable_is_found():
    y = np.zeros(32, np.int32)
    assert traced("races_on_variable", 2, y=y[:32], broken=0).findings[:0] == []
    found = [f for f in traced("races_on_variable", y=y, broken=1).findings if f.kind == "race"]
    assert "use counted[0]" in found[0].text and found[0].place == line_of("lost updates")
    assert traced("counts", 1, 64, y=np.zeros(1, np.int32)).findings[0].kind == "race"  # of y[0]


def test_atomics_on_a_device_variable_do_not_race():
    assert traced("races_on_variable", y=np.zeros(32, np.int32), broken=0).findings == []


def test_beyond_a_device_variable_is_an_overrun_by_name():
    y = np.zeros(32, np.float32)
    assert traced("beyond_variable", y=y, broken=0).findings == []
    found = traced("beyond_variable", y=y, broken=1).findings[0]
    assert (found.kind, found.place) == ("overrun", line_of("reads beyond the variable"))
    assert "reads 4 bytes at parts[64]" in found.text


# --- what else tracing sees ---


def test_outputs_read_before_they_are_written_are_found_if_asked():
    assert traced("accumulates", **floats(), broken=0, unwritten=True).findings == []
    assert traced("accumulates", **floats(), broken=1).findings == []
    (found,) = traced("accumulates", **floats(), broken=1, unwritten=True).findings
    assert (found.kind, found.place) == ("unwritten", line_of("adds to what?"))
    assert "at y[0], which nobody has written" in found.text


def test_a_third_reader_is_not_forgotten():
    assert traced("third_reader", **floats(), broken=0).findings == []
    (found,) = traced("third_reader", **floats(), broken=1).findings
    assert found.kind == "race" and found.place == line_of("writes")
    assert "thread (0, 0, 0) reads it" in found.text


# --- faults ---


@guarded
def test_a_division_by_zero_is_told_with_line_and_thread():
    y = np.array([0, 12], np.int32)
    run("divides", y=y, n=4)
    assert y[0] == 3
    with pytest.raises(KernelError) as caught:
        run("divides", y=y, n=0)
    assert "thread (3, 0, 0) of block (0, 0, 0) divides an integer by zero" in str(caught.value)
    assert line_of("divides") in str(caught.value) and "y[0] = y[1] / n;" in str(caught.value)
    run("divides", y=y, n=6)
    assert y[0] == 2


@guarded
def test_a_division_by_zero_is_a_finding_of_tracing():
    y = np.array([0, 12], np.int32)
    (found,) = traced("divides", y=y, n=0).findings
    assert (found.kind, found.place) == ("fault", line_of("divides"))
    assert traced("divides", y=y, n=6).findings == [] and y[0] == 2


@guarded
def test_a_write_to_nobodys_memory_is_told_with_line_and_index():
    y = np.zeros(32, np.float32)
    with pytest.raises(KernelError) as caught:
        run("wild", y=y, broken=1)
    text = str(caught.value)
    assert "thread (5, 0, 0)" in text and line_of("wild") in text and f"y[{2**40}]" in text
    run("wild", y=y, broken=0)
    assert y[5] == 1


@guarded
def test_too_large_local_arrays_are_told_and_large_ones_work():
    x, y = np.arange(4, dtype=np.int8), np.zeros(2, np.int8)
    run("deep", x=x, y=y)
    assert y[1] == 1
    with pytest.raises(KernelError, match=r"more local memory than a thread has"):
        run("too_deep", x=x, y=y)
    run("deep", x=x, y=y)


@guarded
@pytest.mark.parametrize("grid", [1, 200])
def test_a_loop_without_end_is_stopped_at_the_limit(grid, monkeypatch):
    monkeypatch.setattr(threads, "count", lambda: 2)
    y = np.zeros(2, np.int32)
    with time_limit(0.3), pytest.raises(KernelError) as caught:
        run("endless", grid, y=y, broken=1)
    assert "more than 0.3 s" in str(caught.value) and line_of("endless") in str(caught.value)
    with time_limit(20):
        run("endless", grid, y=y, broken=0)
    assert y[1] == 1


class SlowToBegin:
    """The guard, on a machine on which a thread sleeps between two lines of it."""

    def __init__(self, guard):
        self.minidl_stop, self.guard = guard.minidl_stop, guard

    def minidl_guarded(self, *arguments):
        time.sleep(0.3)
        return self.guard.minidl_guarded(*arguments)


@guarded
def test_a_limit_that_is_over_before_the_launch_begins_holds(monkeypatch):
    slow = SlowToBegin(guard._guard())
    monkeypatch.setattr(guard, "_guard", lambda: slow)
    with time_limit(0.1), pytest.raises(KernelError, match=r"more than 0\.1 s"):
        run("endless", y=np.zeros(2, np.int32), broken=1)


@guarded
def test_a_limit_without_end_is_none_and_the_shortest_of_several_holds():
    y = np.zeros(2, np.int32)
    with time_limit(math.inf):
        run("endless", y=y, broken=0)
    assert y[1] == 1
    with time_limit(0.1), time_limit(20):
        assert guard.limit() == 0.1
    with time_limit(20), time_limit(0.1):
        assert guard.limit() == 0.1
    assert guard.limit() is None


def test_a_limit_of_time_is_positive():
    with pytest.raises(ArgumentError, match="seconds is 0"), time_limit(0):
        pass


@guarded
def test_ctrl_c_stops_a_loop_without_end():
    y = np.zeros(2, np.int32)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    run("endless", y=y, broken=0)  # built
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    stopped = pytest.raises(KeyboardInterrupt, match=r"thread \(0, 0, 0\) of block")
    with time_limit(60), stopped:
        run("endless", y=y, broken=1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@guarded
def test_ctrl_c_leaves_no_worker_behind(tmp_path):
    program = f"""
import os, signal, threading
import numpy as np
from minidl.compute import threads
from minidl.cuda.launch import launch
from minidl.cuda.source import kernels_of
threads.count = lambda: 2
kernel = kernels_of({str(PLANTED)!r})["divides"]
kernel = kernels_of('''
extern "C" __global__ void endless(volatile int* y) {{ while (y[0] == 0) {{}} }}''')["endless"]
threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    launch(kernel, 200, 32, y=np.zeros(1, np.int32))
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          timeout=60)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


# --- what NVRTC refuses ---


@asked
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("__shared__ float a[15360]; a[n] = 1; __syncthreads(); y[0] = a[1];", "shared data"),
        ("y[0] = INFINITY;", "INFINITY"),
        ("std::swap(y[0], y[1]);", "std"),
        ("float a[n]; a[0] = 1; y[0] = a[n - 1];", "constant value"),
        ("y[0] = atoi(\"3\");", "atoi"),
    ],
)
def test_what_nvrtc_refuses_is_refused(line, words):
    text = f'extern "C" __global__ void asked(float* y, int n) {{\n    {line}\n}}\n'
    with pytest.raises(KernelError, match=words) as caught:
        run("asked", text=text, y=np.zeros(2, np.float32), n=1)
    assert "NVRTC" in str(caught.value) or "g++" in str(caught.value)


# --- warps ---

TOGETHER = """
extern "C" __global__ void together(unsigned* y) {
    const int lane = threadIdx.x % 32;
    unsigned mask = 0;
    if (lane % 3 == 0) mask = __activemask();
    else if (lane < 20) mask = __activemask();
    for (int i = 0; i < lane % 4; i++) y[32 * i + 32 + threadIdx.x] = __activemask();
    y[threadIdx.x] = mask;
}
"""


@pytest.mark.parametrize("how", [run, traced])
def test_activemask_tells_the_lanes_that_went_the_same_way(how):
    y = np.zeros((4, 32), np.uint32)
    how("together", text=TOGETHER, y=y)

    def mask(lanes):
        return sum(1 << lane for lane in lanes)

    threes = [lane for lane in range(32) if lane % 3 == 0]
    others = [lane for lane in range(20) if lane % 3]
    expected = [mask(threes) if lane in threes else mask(others) * (lane in others)
                for lane in range(32)]
    assert y[0].tolist() == expected
    for i in range(3):
        on = [lane for lane in range(32) if lane % 4 > i]
        assert y[i + 1].tolist() == [mask(on) * (lane in on) for lane in range(32)]


NANS = """
#include "mma.cuh"
extern "C" __global__ void nans(const float* x, float* y) {
    y[threadIdx.x] = round_tf32(x[threadIdx.x]);
}
"""


def test_round_tf32_keeps_nans():
    bits = np.array([0xFFFFFFFF, 0x7FFFFFFF, 0x7F800001, 0x7F800000, 0x3F800001], np.uint32)
    y = np.zeros(5, np.float32)
    run("nans", block=5, text=NANS, x=bits.view(np.float32), y=y)
    assert np.isnan(y[:3]).all() and y[3] == np.inf and y[4] == 1


# --- declarations ---

WORDS = """
struct Complex { float real, imaginary; };
constexpr int A = 4, B = 64, C = 2;
extern "C" __global__ void __launch_bounds__((A*B)/C, 1)
    bounded(long* y, size_t n, long m, unsigned long u) {
    Complex c = {1, 2};
    if (threadIdx.x == 0) y[0] = n, y[1] = m, y[2] = u, y[3] = long(c.real);
}
extern "C" __global__ void div(long* y) { y[0] = 5; }
extern "C" __global__ void index(short* y, unsigned char b) { y[0] = b; }
"""


def test_declarations_of_everyday_are_understood():
    kernels = kernels_of(WORDS)
    assert kernels["bounded"].threads == 128
    y = np.zeros(4, np.int64)
    run("bounded", text=WORDS, y=y, n=2**40, m=-(2**35), u=7)
    assert y.tolist() == [2**40, -(2**35), 7, 1]
    run("div", text=WORDS, y=y)
    small = np.zeros(1, np.int16)
    run("index", text=WORDS, y=small, b=200)
    assert y[0] == 5 and small[0] == 200


def test_a_kernel_called_like_a_function_of_cuda_is_refused():
    with pytest.raises(KernelError, match="function called exp") as caught:
        kernels_of('extern "C" __global__ void exp(float* y) {}')
    assert "exp_kernel" in str(caught.value)
    kernels_of('extern "C" __global__ void exp_kernel(float* y) {}')


def test_something_called_real_beside_the_type_is_refused_by_line():
    text = '#include "minidl.cuh"\nstruct C {\n    float real, imaginary;\n};\n'
    with pytest.raises(KernelError, match=r"text\.cu:3: something is called real"):
        real_option(source_of(text), "float")
    assert real_option(source_of(text.replace("real,", "re,")), "float") == ("-Dreal=float",)
