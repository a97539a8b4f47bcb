"""What a launch on CuPy arrays asks of CuPy: tried on a stand-in that notes what it is asked for.

What a GPU makes of it is in tests/laws/test_kernels.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minidl
from minidl import kernels
from minidl.compute import dispatch
from minidl.compute.windows import windows_over
from minidl.cuda import gpu, nvrtc
from minidl.cuda.launch import launch
from minidl.cuda.prepare import empty_nhwc
from minidl.cuda.source import kernels_of
from minidl.errors import ArgumentError, DeviceError

TEXT = """
#include "minidl.cuh"
struct Box { int low, high; };
extern "C" __global__ void f(NHWC const real* __restrict__ x, real* __restrict__ y, Box box, int N,
                             real by) {
    extern __shared__ real s[];
    y[0] = s[0] + x[N] * by + box.low;
}
"""


class FakeArray:
    """As much of a CuPy array as a launch looks at, around a NumPy array."""

    def __init__(self, array, device=0):
        self.array, self.device = array, device
        self.data = SimpleNamespace(ptr=array.ctypes.data, device_id=device)
        for name in ("dtype", "shape", "strides", "size", "nbytes", "ndim", "flags"):
            setattr(self, name, getattr(array, name))

    def transpose(self, *axes):
        return FakeArray(self.array.transpose(*axes), self.device)


class FakeKernel:
    """A CuPy RawKernel."""

    def __init__(self, name, calls):
        self.name, self.calls = name, calls
        self.settings = []

    def __setattr__(self, name, value):
        if name == "max_dynamic_shared_size_bytes":
            self.settings.append(value)
        super().__setattr__(name, value)

    def __call__(self, grid, block, args, shared_mem):
        self.calls.append((self, grid, block, args, shared_mem))


class FakeDevice:
    current = 0

    def __init__(self, number):
        self.number, self.compute_capability = number, ("90", "86")[number]

    def __enter__(self):
        self.before, FakeDevice.current = FakeDevice.current, self.number

    def __exit__(self, *_):
        FakeDevice.current = self.before


@pytest.fixture
def cupy(monkeypatch, tmp_path):
    """The stand-in; it notes the modules that it loads and the calls of their kernels."""
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path))
    fake = SimpleNamespace(ndarray=FakeArray, modules=[], calls=[], driver=13000)

    def load(**options):
        fake.modules.append(options)
        kernels = {}
        return SimpleNamespace(
            get_function=lambda name: kernels.setdefault(name, FakeKernel(name, fake.calls))
        )

    fake.RawModule = load
    fake.ascontiguousarray = lambda a: FakeArray(np.ascontiguousarray(a.array), a.device)
    fake.cuda = SimpleNamespace(
        Device=FakeDevice,
        is_available=lambda: True,
        runtime=SimpleNamespace(
            getDevice=lambda: FakeDevice.current, driverGetVersion=lambda: fake.driver
        ),
    )
    monkeypatch.setitem(sys.modules, "cupy", fake)
    yield fake
    gpu._loaded.cache_clear()
    gpu._module.cache_clear()


@pytest.fixture
def compiler(monkeypatch):
    """In place of NVRTC; the texts, architectures and options that it was given."""
    calls = []

    def compile(text, name, arch, options):
        calls.append((text, name, arch, tuple(options)))
        return nvrtc.Compiled(f"machine code {len(calls)}".encode(), "")

    monkeypatch.setattr(nvrtc, "compile", compile)
    monkeypatch.setattr(nvrtc, "available", lambda: "13.0")
    monkeypatch.setattr(nvrtc, "architectures", lambda: ("sm_80", "sm_90", "sm_100"))
    return calls


def call(dtype=np.float32, device=0, shared=0, **changed):
    kernel = kernels_of(TEXT)["f"]
    x = FakeArray(np.ones((2, 3, 4, 5), dtype), device)
    y = FakeArray(np.zeros(7, dtype), device)
    given = {"x": x, "y": y, "box": {"low": 3, "high": 5}, "N": 4, "by": 2.5}
    launch(kernel, (3, 2), 64, shared, **(given | changed))


def test_arguments_arrive_in_order_and_by_value(cupy, compiler):
    call()
    ((function, grid, block, args, shared),) = cupy.calls
    assert (function.name, grid, block, shared) == ("f", (3, 2, 1), (64, 1, 1), 0)
    x, y, box, n, by = args
    assert x.flags.c_contiguous and x.shape == (2, 4, 5, 3)
    assert y.shape == (7,)
    # CuPy passes an array of one element by value, whatever its type.
    assert (box.size, box.nbytes, box.tobytes()) == (1, 8, np.int32([3, 5]).tobytes())
    assert (type(n), type(by), n, by) == (np.int32, np.float32, 4, 2.5)


def test_a_source_is_compiled_once_for_each_type_and_loaded_from_a_file(cupy, compiler):
    for dtype in (np.float32, np.float64, np.float32):
        call(dtype)
    options = [(name, arch, options) for _, name, arch, options in compiler]
    assert options == [
        ("text.cu", "sm_90", ("-Dreal=float",)), ("text.cu", "sm_90", ("-Dreal=double",)),
    ]
    loaded = [Path(module["path"]).read_bytes() for module in cupy.modules]
    assert loaded == [b"machine code 1", b"machine code 2"]
    assert all(module["path"].endswith(".cubin") for module in cupy.modules)
    assert cupy.calls[0][0] is cupy.calls[2][0]


@pytest.mark.usefixtures("with_nvrtc")
def test_what_is_loaded_is_machine_code_that_holds_the_kernel(cupy):
    call()
    code = Path(cupy.modules[0]["path"]).read_bytes()
    assert code.startswith(b"\x7fELF") and b".text.f\0" in code


def test_arrays_on_another_gpu_are_computed_there_for_its_architecture(cupy, compiler):
    call(device=1)
    assert [arch for _, _, arch, _ in compiler] == ["sm_80"]
    assert FakeDevice.current == 0


def test_arrays_on_different_gpus_are_refused(cupy, compiler):
    with pytest.raises(DeviceError, match=r"x is on cuda:0\s+y is on cuda:1"):
        call(y=FakeArray(np.zeros(7, np.float32), 1))
    with pytest.raises(DeviceError, match=r"x is on cpu\s+y is on cuda:0"):
        call(x=np.ones((2, 3, 4, 5), np.float32))


def test_outputs_that_overlap_on_a_gpu_are_refused(cupy, compiler):
    memory = np.zeros(126, np.float32)
    x = FakeArray(memory[:120].reshape(2, 4, 5, 3).transpose(0, 3, 1, 2))
    with pytest.raises(ArgumentError, match="output y overlaps x"):
        call(x=x, y=FakeArray(memory[119:]))
    call(x=x, y=FakeArray(memory[120:]))
    assert len(cupy.calls) == 1


def test_more_shared_memory_is_asked_for_once(cupy, compiler):
    for shared in (48 * 1024, 100_000, 60_000, 100_000, 120_000):
        call(shared=shared)
    assert cupy.calls[0][0].settings == [100_000, 120_000]
    assert [shared for *_, shared in cupy.calls] == [49152, 100_000, 60_000, 100_000, 120_000]


@pytest.mark.parametrize("newest, driver", [("", 13000), ("13.5", 12080)])
def test_cupy_compiles_where_nvrtc_is_missing_or_newer_than_the_driver(
    newest, driver, cupy, compiler, monkeypatch
):
    monkeypatch.setattr(nvrtc, "available", lambda: newest)
    cupy.driver = driver
    call(np.float64)
    assert compiler == []
    (module,) = cupy.modules
    assert "-Dreal=double" in module["options"] and "void f(" in module["code"]


def test_machine_code_is_put_elsewhere_where_the_cache_cannot_be_written(
    cupy, compiler, monkeypatch, tmp_path
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "file" / "folder"))
    call()
    assert Path(cupy.modules[0]["path"]).read_bytes() == b"machine code 1"


def test_damaged_machine_code_is_written_again(cupy, compiler):
    call()
    path = Path(cupy.modules[0]["path"])
    path.write_bytes(b"half")
    assert gpu._on_disk(b"machine code 1") == path
    assert path.read_bytes() == b"machine code 1"


def test_gpus_without_a_known_architecture_are_named_as_they_are():
    assert gpu.architecture("75", ("sm_80", "sm_90")) == "sm_75"
    assert gpu.architecture("121", ("sm_100", "sm_120")) == "sm_120"
    assert gpu.architecture("90", ("sm_80", "sm_90")) == "sm_90"


@pytest.mark.parametrize(
    "code, kernel", [("default", True), ("emulated", True), ("reference", False)]
)
def test_gpu_arrays_are_filled_by_kernels_unless_the_reference_is_asked_for(
    code, kernel, cupy, compiler, monkeypatch
):
    cupy.empty = lambda shape, dtype: FakeArray(np.empty(shape, dtype))
    def readable(*arrays, **settings):
        return "the reference's"

    monkeypatch.setitem(dispatch.launchers(), readable, kernels.conv2d_y)
    x, w = (FakeArray(np.ones((1, 2, 2, 2), np.float32)) for _ in "xw")
    windows = windows_over("test", (2, 2), (2, 2))
    with minidl.use_kernels(code):
        y = dispatch.run(readable, x, w, windows=windows)
    assert [function.name for function, *_ in cupy.calls] == ["conv2d_y_v8_tf32x3"] * kernel
    assert isinstance(y, FakeArray) if kernel else y == "the reference's"


def test_channels_last_memory_is_made_by_the_arrays_own_module(cupy):
    cupy.empty = lambda shape, dtype: FakeArray(np.empty(shape, dtype))
    made = empty_nhwc(cupy, (2, 3, 4, 5), np.float32)
    assert isinstance(made, FakeArray) and made.shape == (2, 3, 4, 5)
    assert made.transpose(0, 2, 3, 1).flags.c_contiguous
