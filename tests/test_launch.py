"""Launching by name: what is read from a .cu file, and what becomes of the arguments."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from minidl.compute.windows import windows_over
from minidl.cuda.launch import executing, launch, launch_each
from minidl.cuda.prepare import empty_nhwc
from minidl.cuda.source import (
    Parameter,
    Source,
    constants,
    folder,
    kernels_of,
    shipped,
    source_of,
    struct_of,
    whole_text,
    without_comments,
)
from minidl.errors import ArgumentError, DtypeError, KernelError

TEXT = """
#include "mine.cuh"
// extern "C" __global__ void commented_out(int N) {}
struct Box { int low, high; real by; };
extern "C" __global__ void __launch_bounds__(128) scale(
    NHWC const real* __restrict__ x,  // read, (N, C, H, W)
    NHWC real* __restrict__ y, /* written,
    as x */ real by, const int N) {}
extern "C" __global__ void f(unsigned int* a, const long long *b, float c, int64 d, unsigned e) {}
extern "C" __global__ void boxed(Box box, int* out) {}
extern "C" __global__ void nothing() {}
"""

KERNELS = kernels_of(TEXT)


@pytest.fixture
def launches():
    """The launches that a test makes, which run nothing."""
    made = []
    with executing(made.append):
        yield made


def call(**changed):
    """A right launch of `scale`, but for what is changed."""
    x = np.ones((2, 3, 4, 5), np.float32)
    given = {"grid": 1, "block": 32, "x": x, "y": empty_nhwc(np, x.shape, x.dtype), "by": 2, "N": 7}
    launch(KERNELS["scale"], **(given | changed))


# --- declarations ---


def test_declarations_are_read_with_comments_and_bounds():
    scale = KERNELS["scale"]
    assert list(KERNELS) == ["scale", "f", "boxed", "nothing"]
    assert (scale.name, scale.line, scale.threads) == ("scale", 5, 128)
    assert scale.parameters == (
        Parameter("x", "real", pointer=True, const=True, layout="NHWC", restrict=True),
        Parameter("y", "real", pointer=True, layout="NHWC", restrict=True),
        Parameter("by", "real"),
        Parameter("N", "int", const=True),
    )
    kinds = [(p.type, p.pointer, p.const) for p in KERNELS["f"].parameters]
    assert kinds == [("unsigned", True, False), ("int64", True, True), ("float", False, False),
                     ("int64", False, False), ("unsigned", False, False)]
    assert KERNELS["nothing"].parameters == ()


def test_bounds_are_read_on_either_side_of_void():
    for words in ("void __launch_bounds__(64)", "__launch_bounds__(64, 2) void"):
        assert kernels_of(f'extern "C" __global__ {words} f(int N) {{}}')["f"].threads == 64


def test_lines_are_those_of_the_file():
    for kernel in shipped().values():
        line = kernel.source.text.splitlines()[kernel.line - 1]
        assert kernel.name in line and "__global__" in line


def test_comments_become_blanks_and_strings_stay():
    text = 'a = "// no"; // yes\nb /* c\n d */ e'
    blank = without_comments(text)
    assert blank == 'a = "// no";       \nb     \n      e'
    assert len(blank) == len(text)


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("__global__ void f(int N) {}", 'extern "C"'),
        ("template <int K> __global__ void f(int N) {}", 'extern "C"'),
        ("void f(int N) {}", "no kernel"),
        ('extern "C" __global__ void f(float** x) {}', r"float \* \* x|float\*\* x"),
        ('extern "C" __global__ void f(float x[]) {}', r"float x\[\]"),
        ('extern "C" __global__ void f(float& x) {}', "float& x"),
        ('extern "C" __global__ void f(Tile<3> x) {}', "Tile<3> x"),
        ('extern "C" __global__ void f(float) {}', "'float'"),
    ],
)
def test_what_cannot_be_read_is_refused(text, complaint):
    with pytest.raises(KernelError, match=complaint):
        kernels_of(text)


def test_kernels_are_read_from_a_path(tmp_path):
    path = tmp_path / "mine.cu"
    path.write_text('extern "C" __global__ void first(int N) {}')
    assert list(kernels_of(path)) == list(kernels_of(str(path))) == ["first"]
    path.write_text('extern "C" __global__ void second(int N) {}')
    assert list(kernels_of(path)) == ["second"]
    with pytest.raises(ArgumentError, match=re.escape("gone.cu")):
        kernels_of(tmp_path / "gone.cu")


# --- included files and structs ---


def test_included_files_are_put_in_place_once_with_true_lines(tmp_path):
    (tmp_path / "a.cuh").write_text('#pragma once\n#include "b.cuh"\nint a;\n')
    (tmp_path / "b.cuh").write_text("#pragma once\nint b;\n")
    text = '#include "a.cuh"\n#include "b.cuh"\n#include <math.h>\n#include "far.h"\nint c;\n'
    whole = whole_text(Source(tmp_path / "c.cu", text))
    places, file, number = {}, "", 0
    for line in whole.splitlines():
        directive = re.match(r'#line (\d+) "(.*)"', line)
        if directive:
            file, number = directive[2], int(directive[1]) - 1
        elif line:
            places[line] = (file, number)
        number += 1
    expected = {"int a;": ("a.cuh", 3), "int b;": ("b.cuh", 2), "int c;": ("c.cu", 5),
                "#include <math.h>": ("c.cu", 3), '#include "far.h"': ("c.cu", 4)}
    assert {line: places[line] for line in expected} == expected
    assert [line for line in whole.splitlines() if line.startswith("int")] == [
        "int b;", "int a;", "int c;",
    ]
    assert "pragma once" not in whole


@pytest.mark.parametrize("path", sorted(folder().glob("*.cu")), ids=lambda path: path.name)
def test_whole_texts_of_the_kernels_include_nothing_more(path):
    assert "#include" not in whole_text(Source(path, path.read_text()))


def test_structs_are_laid_out_as_c_does():
    source = Source(Path("x.cu"), "struct S { int a; double b; bool c, d; real e; };")
    assert struct_of(source, "S", "float").fields.keys() == {"a", "b", "c", "d", "e"}
    assert struct_of(source, "S", "float").itemsize == 24
    assert struct_of(source, "S", "double").itemsize == 32
    fields = struct_of(source, "S", "float").fields
    assert [fields[name][1] for name in "abcde"] == [0, 8, 16, 17, 20]


@pytest.mark.parametrize("text", ["", "struct S { int* a; };", "struct S { Other a; };"])
def test_structs_that_cannot_be_read_are_refused(text):
    with pytest.raises(KernelError, match="S"):
        struct_of(Source(Path("x.cu"), text), "S", "float")


# --- constants ---


def test_constants_are_read_and_computed_where_they_are_numbers(tmp_path):
    (tmp_path / "shared.cuh").write_text("constexpr int CHUNK = 128;\n")
    path = tmp_path / "mine.cu"
    path.write_text("""
        #include "shared.cuh"
        constexpr int SIDE = 16, EACH = 4;  // constexpr int COMMENT = 1;
        constexpr int THREADS = SIDE * SIDE, HALF = -(THREADS - 2) / 2;
        constexpr int FAR = 1 << 20, PACK = 16 / sizeof(real);
        template <int N> struct Tile { static constexpr int SIZE = N, LINE = N + 1; };
        template <int N> __device__ void f() { constexpr int DEPENDS = N * SIDE, AGAIN = DEPENDS; }
        __device__ void g() { constexpr int WIDE = EACH > 2 ? SIDE : EACH; }
        constexpr unsigned MASK = 3;
        #if WHICH
        constexpr int EITHER = 1;
        #else
        constexpr int EITHER = 2;
        #endif
    """)
    assert constants(source_of(path)) == {
        "CHUNK": 128, "SIDE": 16, "EACH": 4, "THREADS": 256, "HALF": -127, "FAR": 2**20, "PACK": 4,
    }
    assert constants(source_of(path), np.float64)["PACK"] == 2


def test_blocks_are_bounded_by_the_number_of_threads_that_their_file_names():
    """Launchers take it from either place; where no number is named it is 256."""
    for path in folder().glob("*.cu"):
        bounds = {kernel.threads for kernel in kernels_of(path).values()}
        assert bounds == {constants(source_of(path)).get("THREADS", 256)}


# --- numbers ---


def test_numbers_become_as_wide_as_they_are_declared(launches):
    a, b = np.zeros(3, np.uint32), np.zeros(3, np.int64)
    launch(KERNELS["f"], grid=1, block=1, a=a, b=b, c=1, d=np.int32(-5), e=2**32 - 1)
    values = launches[0].values[2:]
    assert [type(v) for v in values] == [np.float32, np.int64, np.uint32]
    assert values == (1.0, -5, 2**32 - 1)


def test_real_numbers_become_the_type_of_the_arrays(launches):
    x = np.ones((2, 3, 4, 5))
    call(x=x, y=empty_nhwc(np, x.shape, x.dtype), by=0.1)
    call(by=0.1)
    assert [(made.real, type(made.values[2])) for made in launches] == [
        ("double", np.float64), ("float", np.float32),
    ]


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 10**30])
def test_integers_beyond_the_declared_width_are_refused(value, launches):
    with pytest.raises(ArgumentError, match=rf"scale: N is {value}"):
        call(N=value)
    assert launches == []


@pytest.mark.parametrize("value", [7.0, np.float32(7), True, "7", None, np.ones(1)])
def test_what_is_no_integer_is_refused(value, launches):
    with pytest.raises(DtypeError, match="N must be an integer"):
        call(N=value)


def test_numbers_too_large_for_float_are_refused_but_infinity_is_not(launches):
    with pytest.raises(ArgumentError, match=r"by is 1e\+300"):
        call(by=1e300)
    with pytest.raises(DtypeError, match="by must be a number"):
        call(by="2")
    call(by=float("inf"))
    call(by=float("nan"))
    assert np.isinf(launches[0].values[2]) and np.isnan(launches[1].values[2])


# --- structs ---


def test_windows_are_packed_in_the_order_of_the_struct(launches):
    windows = windows_over("test", (9, 8), (3, 2), (2, 3), (1, 0), (1, 2))
    x, y = np.ones((1, 1, 9, 8)), np.ones((1, 1, *windows.output))
    arrays = {"x": x, "w": np.ones((1, 1, 3, 2)), "y": y}
    launch("conv2d_y_v1_naive", 1, 256, windows=windows, N=1, C=1, O=1, groups=1, **arrays)
    packed = launches[0].values[3]
    # H W, K L, I J, stride, padding, dilation: as in windows.cuh
    assert list(np.frombuffer(packed, np.int32)) == [9, 8, 3, 2, 5, 2, 2, 3, 1, 0, 1, 2]


def test_structs_of_ones_own_are_given_as_mappings(launches):
    out = np.zeros(1, np.int32)
    launch(KERNELS["boxed"], grid=1, block=1, box={"low": -1, "by": 0.5, "high": 9}, out=out)
    packed = launches[0].values[0]
    assert packed == np.int32([-1, 9]).tobytes() + np.float32(0.5).tobytes()


@pytest.mark.parametrize(
    "box, complaint",
    [
        ({"low": 1}, "it has low, high, by"),
        ({"low": 2**31, "high": 1, "by": 1}, r"box\.low is 2147"),
        (7, "a Windows or a mapping"),
        (windows_over("test", (4, 4), (2, 2)), "it has low"),
    ],
)
def test_structs_that_do_not_fit_are_refused(box, complaint, launches):
    with pytest.raises((ArgumentError, DtypeError), match=complaint):
        launch(KERNELS["boxed"], grid=1, block=1, box=box, out=np.zeros(1, np.int32))


# --- arrays ---


def test_inputs_are_copied_into_the_declared_layout_only_where_they_must_be(launches):
    x = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    call(x=x)
    call(x=last)
    copied, kept = (made.values[0] for made in launches)
    for value in (copied, kept):
        assert value.flags.c_contiguous
        np.testing.assert_array_equal(value, x.transpose(0, 2, 3, 1))
    assert not np.shares_memory(copied, x)
    assert kept.ctypes.data == last.ctypes.data


def test_inputs_that_start_between_packs_are_copied(launches):
    """A view may start anywhere. Kernels read 16 bytes at once, which a GPU refuses elsewhere."""
    buffer = np.zeros(600, np.float32)
    starts = [buffer[skip : skip + 480].reshape(2, 8, 5, 6) for skip in range(8)]
    views = [start.transpose(0, 3, 1, 2) for start in starts]
    for view in views:
        call(x=view)
    for view, made in zip(views, launches, strict=True):
        value = made.values[0]
        assert value.ctypes.data % 16 == 0
        assert np.shares_memory(value, view) == (view.ctypes.data % 16 == 0)
    assert sum(np.shares_memory(made.values[0], buffer) for made in launches) == 2


def test_outputs_are_written_where_they_are(launches):
    y = empty_nhwc(np, (2, 3, 4, 5), np.float32)
    call(y=y)
    value = launches[0].named_arrays()["y"]
    assert (value.shape, value.ctypes.data) == ((2, 4, 5, 3), y.ctypes.data)
    assert list(launches[0].named_arrays()) == ["x", "y"]


def test_arrays_of_other_than_four_axes_are_passed_as_they_lie(launches):
    a, b = np.zeros((3, 4), np.uint32), np.zeros((4, 3), np.int64).T
    launch(KERNELS["f"], grid=1, block=1, a=a, b=b, c=1, d=1, e=1)
    assert launches[0].values[0] is a
    assert launches[0].values[1].flags.c_contiguous


@pytest.mark.parametrize("kind", ["laid out otherwise", "a part of one", "read-only"])
def test_outputs_that_cannot_be_written_in_place_are_refused(kind, launches):
    y = empty_nhwc(np, (2, 3, 4, 5), np.float32)
    if kind == "laid out otherwise":
        y = np.ascontiguousarray(y)
    elif kind == "a part of one":
        y = empty_nhwc(np, (2, 3, 8, 5), np.float32)[:, :, ::2]
    else:
        y.flags.writeable = False
    with pytest.raises(ArgumentError, match="y cannot be written in place"):
        call(y=y)
    assert launches == []


def test_arrays_of_other_types_are_refused(launches):
    with pytest.raises(DtypeError, match=r"x has dtype float16, shape \(2, 3, 4, 5\)"):
        call(x=np.ones((2, 3, 4, 5), np.float16))
    with pytest.raises(DtypeError, match=r"y has dtype float64[\s\S]*all float32 or all float64"):
        call(y=empty_nhwc(np, (2, 3, 4, 5), np.float64))
    with pytest.raises(DtypeError, match="y has dtype >f4"):
        call(y=empty_nhwc(np, (2, 3, 4, 5), ">f4"))
    with pytest.raises(DtypeError, match=r"must be an array\s+received list\s+declared real\* x"):
        call(x=[1.0, 2.0])
    b = np.zeros(3, np.int64)
    with pytest.raises(DtypeError, match=r"a has dtype int32[\s\S]*uint32"):
        launch(KERNELS["f"], grid=1, block=1, a=np.zeros(3, np.int32), b=b, c=1, d=1, e=1)


def test_arrays_of_structs_are_refused(launches):
    text = 'struct S { int a; }; extern "C" __global__ void f(S* x) {}'
    with pytest.raises(DtypeError, match="arrays of structs"):
        launch(kernels_of(text)["f"], grid=1, block=1, x=np.zeros(3, np.int32))


def test_arrays_that_int_cannot_index_are_refused(launches):
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (2**16, 2**15), (0, 0))
    with pytest.raises(ArgumentError, match="x has 2147483648 elements"):
        call(x=huge)


def test_outputs_that_overlap_other_arrays_are_refused(launches):
    memory = np.zeros(120 + 119, np.float32)
    x, y = memory[:120].reshape(2, 4, 5, 3), memory[119:].reshape(2, 4, 5, 3)
    with pytest.raises(ArgumentError, match="output y overlaps x"):
        call(x=x.transpose(0, 3, 1, 2), y=y.transpose(0, 3, 1, 2))
    assert launches == []


def test_arrays_without_restrict_may_overlap(launches):
    kernel = kernels_of('extern "C" __global__ void f(const float* x, float* y) {}')["f"]
    x = np.zeros(5, np.float32)
    launch(kernel, grid=1, block=1, x=x, y=x)
    assert launches[0].values[0] is launches[0].values[1]


def test_inputs_may_be_one_array(launches):
    read = "const float* __restrict__"
    text = f'extern "C" __global__ void f({read} x, {read} y) {{}}'
    x = np.zeros(5, np.float32)
    launch(kernels_of(text)["f"], grid=1, block=1, x=x, y=x)
    assert len(launches) == 1


# --- names ---


def test_missing_and_unexpected_arguments_are_named(launches):
    y, x = empty_nhwc(np, (2, 3, 4, 5), np.float32), np.ones((2, 3, 4, 5), np.float32)
    with pytest.raises(ArgumentError) as error:
        launch(KERNELS["scale"], grid=1, block=1, x=x, y=y, bye=2, M=3)
    text = str(error.value)
    assert "missing: by, N" in text and "unexpected: bye, M" in text
    assert "did you mean by by bye?" in text and "it takes x, y, by, N." in text


def test_unknown_kernels_are_refused_with_those_of_a_similar_name():
    with pytest.raises(ArgumentError, match=r"naiv'\s+Hint: did you mean conv2d_y_v1_naive"):
        launch("conv2d_y_v1_naiv", grid=1, block=1)
    with pytest.raises(ArgumentError, match="kernels_of"):
        launch("zzz", grid=1, block=1)
    with pytest.raises(ArgumentError, match="kernels_of"):
        launch_each("zzz", 5)


# --- grid, block, shared memory ---


def test_grids_and_blocks_are_filled_up_with_ones(launches):
    call(grid=(3,), block=np.int64(32))
    call(grid=[2, 3], block=(4, 2, 2), shared=64)
    assert [(made.grid, made.block, made.shared) for made in launches] == [
        ((3, 1, 1), (32, 1, 1), 0), ((2, 3, 1), (4, 2, 2), 64),
    ]
    assert all(type(size) is int for made in launches for size in (*made.grid, *made.block))


@pytest.mark.parametrize(
    "changed, complaint",
    [
        ({"grid": 0}, "grid is 0"),
        ({"grid": (1, -1)}, "grid is"),
        ({"grid": 2.0}, "grid is 2.0"),
        ({"grid": ()}, "grid is"),
        ({"grid": (1, 1, 1, 1)}, "grid is"),
        ({"grid": 2**31}, "grid is 2147483648"),
        ({"grid": (1, 65536)}, "grid is"),
        ({"block": (1, 1, 65)}, "block is"),
        ({"block": "32"}, "block is '32'"),
        ({"block": 129}, r"129 threads[\s\S]*at most 128, by its __launch_bounds__"),
        ({"shared": -1}, "shared is -1"),
        ({"shared": 0.5}, "shared is 0.5"),
        ({"shared": 227 * 1024 + 1}, "shared is 232449"),
    ],
)
def test_launches_that_cuda_does_not_allow_are_refused(changed, complaint, launches):
    with pytest.raises(ArgumentError, match=complaint):
        call(**changed)
    assert launches == []


def test_blocks_are_as_large_as_allowed_unless_said_otherwise(launches):
    launch(KERNELS["scale"], 3, x=np.ones((1, 1, 1, 1)), y=np.ones((1, 1, 1, 1)), by=1, N=1)
    launch(KERNELS["nothing"], (1, 2))
    launch_each(KERNELS["nothing"], 1025)
    assert [(made.grid[0], made.block[0]) for made in launches] == [(3, 128), (1, 1024), (2, 1024)]


def test_blocks_without_bounds_have_at_most_1024_threads(launches):
    launch(KERNELS["nothing"], grid=1, block=1024)
    with pytest.raises(ArgumentError, match="1056 threads"):
        launch(KERNELS["nothing"], grid=1, block=(32, 33))


# --- who runs it ---


def test_launches_on_numpy_arrays_run_on_the_emulator():
    body = "{ if (threadIdx.x < N) x[threadIdx.x] *= 2; }"
    text = f'extern "C" __global__ void twice(float* x, int N) {body}'
    x = np.arange(5, dtype=np.float32)
    launch(kernels_of(text)["twice"], grid=1, block=32, x=x, N=4)
    assert x.tolist() == [0, 2, 4, 6, 4]


def test_executors_are_nested_and_end_with_their_block(launches):
    inner = []
    with executing(inner.append):
        call()
    call()
    assert (len(inner), len(launches)) == (1, 1)
