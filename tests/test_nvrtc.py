"""CUDA text compiles for real architectures, without a GPU, and no kernel of ours spills."""

from __future__ import annotations

import re
from itertools import pairwise, product
from pathlib import Path

import pytest

from minidl.cuda import nvrtc
from minidl.cuda.cubin import Resources, resources
from minidl.cuda.source import Source, kernels_of, whole_text
from minidl.errors import ArgumentError, DeviceError, KernelError

pytestmark = pytest.mark.usefixtures("with_nvrtc")

KERNELS = Path(__file__).parents[1] / "kernels"
ARCHITECTURES = ("sm_80", "sm_90", "sm_100", "sm_120")

# Each thread takes its right neighbour's element.
SHIFT = """
extern "C" __global__ void shift(float* x) {
    __shared__ float s[33];
    s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = s[threadIdx.x + 1];
}
"""

# 64 numbers that are all wanted in every turn of a loop: too many for 16 registers. They
# differ from thread to thread, or else the compiler would keep them once for a whole warp.
CROWD = """
extern "C" __global__ void crowd(float* x, int n) {
    float a[64];
    x += threadIdx.x;
#pragma unroll
    for (int i = 0; i < 64; i++) a[i] = x[i * n];
#pragma unroll 1
    for (int k = 0; k < n; k++)
#pragma unroll
        for (int i = 0; i < 64; i++) a[i] = a[i] * a[(i + 7) % 64] + x[k];
#pragma unroll
    for (int i = 0; i < 64; i++) x[i] = a[i];
}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder of the test's own."""
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cubins"


@pytest.fixture
def compilations(monkeypatch):
    """A list that grows by one at each true compilation."""
    calls, compile_it = [], nvrtc._compile

    def counting(*arguments):
        calls.append(arguments)
        return compile_it(*arguments)

    monkeypatch.setattr(nvrtc, "_compile", counting)
    return calls


# --- the compiler ---


def test_version_and_architectures():
    assert re.fullmatch(r"\d+\.\d+", nvrtc.available())
    assert set(ARCHITECTURES) <= set(nvrtc.architectures())


@pytest.mark.parametrize("arch", [*ARCHITECTURES, "sm_90a"])
def test_a_kernel_compiles_for(arch):
    compiled = nvrtc.compile(SHIFT, "shift.cu", arch)
    assert compiled.cubin.startswith(b"\x7fELF")
    assert f"'shift' for '{arch}'" in compiled.log
    (used,) = resources(compiled).values()
    assert (used.spill_stores, used.spill_loads, used.shared, used.local) == (0, 0, 33 * 4, 0)
    assert 4 <= used.registers <= 32
    assert used.constant % 4 == 0 and used.constant > 8  # behind the driver's block, a pointer


def test_an_architecture_of_no_gpu_is_refused():
    with pytest.raises(ArgumentError, match=r"no code for 'sm_1'\n.*one of .*sm_90"):
        nvrtc.compile(SHIFT, "shift.cu", "sm_1")
    with pytest.raises(ArgumentError, match="compute_90"):  # PTX, not machine code
        nvrtc.compile(SHIFT, "shift.cu", "compute_90")


def test_an_option_that_is_none_is_refused():
    with pytest.raises(KernelError, match="unrecognized option --no-such-option"):
        nvrtc.compile(SHIFT, "shift.cu", options=["--no-such-option"])


def test_options_reach_the_compiler():
    text = 'extern "C" __global__ void f(real* x) { static_assert(sizeof(real) == 8); *x = 1; }'
    nvrtc.compile(text, "f.cu", options=["-Dreal=double"])
    with pytest.raises(KernelError, match=r"f\.cu\(1\): error: static assertion failed"):
        nvrtc.compile(text, "f.cu", options=["-Dreal=float"])


def test_without_the_wheel_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(nvrtc, "_PLACE", "nowhere/*")
    nvrtc._library.cache_clear()
    try:
        assert nvrtc.available() == ""
        with pytest.raises(DeviceError, match=r"pip install 'minidl\[kernels\]'"):
            nvrtc.compile(SHIFT, "shift.cu")
    finally:
        nvrtc._library.cache_clear()


def test_the_newest_library_of_both_layouts_comes_first(tmp_path):
    paths = [
        tmp_path / "cu13" / "lib" / "libnvrtc.so.13",
        tmp_path / "cuda_nvrtc" / "lib" / "libnvrtc.so.12",
        tmp_path / "cuda_nvrtc" / "lib" / "libnvrtc.alt.so.12",
        tmp_path / "cu9" / "lib" / "libnvrtc.so.9",
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert nvrtc._candidates([str(tmp_path)]) == [paths[0], paths[1], paths[3]]


def test_a_broken_library_is_passed_over_and_named(tmp_path, monkeypatch):
    broken = tmp_path / "libnvrtc.so.99"
    broken.write_text("not a library")
    whole = nvrtc._candidates
    nvrtc._library.cache_clear()
    try:
        monkeypatch.setattr(nvrtc, "_candidates", lambda folders: [broken, *whole(folders)])
        assert nvrtc.available()
        monkeypatch.setattr(nvrtc, "_candidates", lambda folders: [broken])
        nvrtc._library.cache_clear()
        with pytest.raises(DeviceError, match=r"libnvrtc\.so\.99"):
            nvrtc.architectures()
    finally:
        nvrtc._library.cache_clear()


# --- messages ---

# What a reader would open as three files, one of them nameless.
FAULTY = """\
int everywhere = nowhere;
#line 10 "include/twice.cuh"
template <typename T> __device__ T twice(T x) {
    return x.doubled;
}
#line 41 "kernels/sum.cu"
extern "C" __global__ void sum(float* x) {
    *x = undefined_total;
    *x = twice(*x);
}
"""
EXPECTED = [
    ("faulty.cu(1): error: ", "int everywhere = nowhere;"),
    ("include/twice.cuh(11): error: ", "return x.doubled;"),
    ("kernels/sum.cu(42): error: ", "*x = undefined_total;"),
    (" at line 43 of kernels/sum.cu", "*x = twice(*x);"),
]


@pytest.mark.parametrize("options", [(), ("--brief-diagnostics=true",)])
def test_each_message_is_followed_by_the_line_that_it_names(options):
    with pytest.raises(KernelError) as caught:
        nvrtc.compile(FAULTY, "faulty.cu", options=options)
    rows = [row.strip() for row in str(caught.value).splitlines()]
    for place, line in EXPECTED:
        after = [below for row, below in pairwise(rows) if place in row]
        assert after
        assert set(after) == {line}
        assert rows.count(line) == len(after)  # not quoted twice


def test_a_line_number_alone_stays_in_the_file_of_the_message_before():
    source = '#line 5 "a.cu"\nfive\n#line 9\nnine\n'
    log = "a.cu(5): error: what\n  detected during something at line 9\n\nb.cu(1): error: elsewhere"
    assert nvrtc.quoted(log, source, "text").splitlines() == [
        "a.cu(5): error: what",
        "  five",
        "  detected during something at line 9",
        "  nine",
        "",
        "b.cu(1): error: elsewhere",
    ]


def test_an_error_of_the_assembler_is_shown():
    text = 'extern "C" __global__ void f(float* x) { asm volatile("nonsense;"); }'
    with pytest.raises(KernelError, match="Not a name of any known instruction: 'nonsense'"):
        nvrtc.compile(text, "f.cu")


# --- results kept on disk ---


def test_the_second_call_reads_the_first_ones_result(cache, compilations):
    first = nvrtc.compile(SHIFT, "shift.cu")
    assert nvrtc.compile(SHIFT, "shift.cu") == first
    assert len(compilations) == 1
    assert len(list(cache.iterdir())) == 1  # and no temporary file


def test_whatever_changes_the_result_changes_the_key(monkeypatch, compilations):
    nvrtc.compile(SHIFT, "shift.cu")
    nvrtc.compile(SHIFT + " ", "shift.cu")
    nvrtc.compile(SHIFT, "other.cu")
    nvrtc.compile(SHIFT, "shift.cu", "sm_80")
    nvrtc.compile(SHIFT, "shift.cu", options=["-DN=1"])
    monkeypatch.setattr(nvrtc, "_version", lambda library: "99.0")
    nvrtc.compile(SHIFT, "shift.cu")
    assert len(compilations) == 6


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    ],
    ids=["empty", "cut short", "too long", "a bit flipped"],
)
def test_a_damaged_result_is_compiled_again(damage, cache, compilations):
    first = nvrtc.compile(SHIFT, "shift.cu")
    (path,) = cache.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    again = nvrtc.compile(SHIFT, "shift.cu")
    assert again.cubin == first.cubin  # the log holds times, which differ
    assert len(compilations) == 2
    assert nvrtc.compile(SHIFT, "shift.cu") == again  # mended
    assert len(compilations) == 2


def test_a_cache_that_cannot_be_written_is_no_error(cache, compilations):
    cache.parent.write_text("a file where the folder should be")
    results = [nvrtc.compile(SHIFT, "shift.cu").cubin for _ in range(2)]
    assert results[0] == results[1]
    assert len(compilations) == 1  # kept as long as the process runs


def test_with_a_folder_of_headers_nothing_is_kept(tmp_path):
    header = tmp_path / "number.cuh"
    text = '#include "number.cuh"\nextern "C" __global__ void f(float* x) { *x = NUMBER; }'
    results = []
    for number in "12":
        header.write_text(f"#define NUMBER {number}")
        results.append(nvrtc.compile(text, "f.cu", options=[f"-I{tmp_path}"]).cubin)
    assert results[0] != results[1]


# --- resources ---


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_spills_are_found(arch):
    roomy = resources(nvrtc.compile(CROWD, "crowd.cu", arch))["crowd"]
    tight = resources(nvrtc.compile(CROWD, "crowd.cu", arch, ["--maxrregcount=16"]))["crowd"]
    assert roomy.spill_stores == roomy.spill_loads == roomy.local == 0
    assert roomy.registers > 64
    # 24 is the least that ptxas allows itself.
    assert tight.registers <= 24
    # At least the accumulators that do not fit, once.
    assert min(tight.spill_stores, tight.spill_loads, tight.local) > 4 * (64 - 24)


def test_spills_of_a_function_count_for_the_kernels_that_call_it():
    body = CROWD.replace('extern "C" __global__', "__device__ __noinline__")
    text = body + 'extern "C" __global__ void caller(float* x, int n) { crowd(x, n); }\n' + SHIFT
    used = resources(nvrtc.compile(text, "text.cu", options=["--maxrregcount=24"]))
    assert sorted(used) == ["caller", "shift"]
    assert used["caller"].spill_stores > 0
    assert used["shift"].spill_stores == 0


def test_the_stack_is_counted():
    text = """
extern "C" __global__ void look_up(float* x, int n) {
    float table[100];
    for (int i = 0; i < 100; i++) table[i] = x[i];
    x[0] = table[n];
}"""
    used = resources(nvrtc.compile(text, "text.cu"))["look_up"]
    assert used.local == 400
    assert used.spill_stores == used.spill_loads == 0


def test_constant_memory_grows_with_the_parameters():
    text = 'struct Many { int v[SIZE]; }; extern "C" __global__ void f(Many m, int* x) { *x = 1; }'
    few, many = (
        resources(nvrtc.compile(text, "text.cu", options=[f"-DSIZE={size}"]))["f"].constant
        for size in (2, 102)
    )
    assert many - few == 400


def test_each_launcher_of_a_template_is_its_own_kernel():
    text = """
template <int n> __global__ void set(float* x) { x[n] = n; }
template __global__ void set<1>(float*);
template __global__ void set<2>(float*);
"""
    used = resources(nvrtc.compile(text, "text.cu"))
    assert len(used) == 2
    assert all(isinstance(kernel, Resources) for kernel in used.values())


def test_what_is_no_cubin_is_refused():
    compiled = nvrtc.compile(SHIFT, "shift.cu")
    for cubin in (b"", b"text", compiled.cubin[:100], compiled.cubin[:2000]):
        with pytest.raises(KernelError, match=r"cubin\.resources"):
            resources(nvrtc.Compiled(cubin, compiled.log))
    with pytest.raises(KernelError, match="the log says nothing about shift"):
        resources(nvrtc.Compiled(compiled.cubin, ""))


# --- our kernels ---


BETWEEN = ("sm_100",)
"""What is only compiled for by `make test-all`: its neighbours say as much."""

EVERY = [
    pytest.param(path, real, arch, id=f"{path.stem}-{real}-{arch}",
                 marks=[pytest.mark.slow] if arch in BETWEEN else [])
    for path, real, arch in product(
        sorted(KERNELS.glob("*.cu")), ("float", "double"), ARCHITECTURES
    )
]


@pytest.mark.parametrize("path", sorted(KERNELS.glob("*.cu")), ids=lambda path: path.stem)
def test_every_file_compiles_for_gpus_without_tf32(path):
    source = Source(path, path.read_text())
    used = resources(nvrtc.compile(whole_text(source), path.name, "sm_75"))
    assert set(used) == set(kernels_of(source))


@pytest.mark.parametrize(("path", "real", "arch"), EVERY)
def test_every_kernel_compiles_and_none_spills(path, real, arch):
    source = Source(path, path.read_text())
    compiled = nvrtc.compile(whole_text(source), path.name, arch, [f"-Dreal={real}"])
    used = resources(compiled)
    assert set(used) == set(kernels_of(source))
    spilling = {name: it for name, it in used.items() if it.spill_stores or it.spill_loads}
    assert not spilling
    assert all(it.shared <= 48 * 1024 for it in used.values())
