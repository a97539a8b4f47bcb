"""Runs kernels on a GPU: what ``minidl.cuda.launch`` hands over when the arrays are CuPy's.

A .cu file is compiled once per type and architecture, by ``minidl.cuda.nvrtc``, and kept on disk;
CuPy loads the machine code and launches it. Where NVRTC's wheel is not installed, or is too new for
the driver, CuPy compiles with the CUDA that it found.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minidl.cuda import nvrtc
from minidl.cuda.cache import passing, private
from minidl.cuda.prepare import Launch
from minidl.cuda.source import Kernel, Source, real_option, whole_text
from minidl.files.whole import replacing

FREE_SHARED = 48 * 1024
"""Bytes of dynamic shared memory that a block gets without asking for more."""


@dataclass
class Loaded:
    """A kernel on a GPU, and the dynamic shared memory that its blocks may have."""

    function: Any
    shared: int = FREE_SHARED

    def allow(self, shared: int) -> None:
        if shared > self.shared:
            self.function.max_dynamic_shared_size_bytes = self.shared = shared


def run(launch: Launch) -> None:
    """Start a launch on the current stream; as all of CUDA, it is not waited for.

    Raises
    ------
    KernelError
        If the kernel does not compile.
    DeviceError
        If CuPy or the GPU cannot be used.
    """
    import cupy  # never before there is an array of its own

    device = next(iter(launch.named_arrays().values())).data.device_id
    if device != cupy.cuda.runtime.getDevice():
        with cupy.cuda.Device(device):
            return run(launch)
    loaded = _loaded(launch.kernel, launch.real, device)
    loaded.allow(launch.shared)
    # CuPy passes a NumPy array of one element by value, whatever the element is: so a struct.
    arguments = tuple(
        np.frombuffer(value, f"V{len(value)}") if isinstance(value, bytes) else value
        for value in launch.values
    )
    loaded.function(launch.grid, launch.block, arguments, shared_mem=launch.shared)


def capability(array: Any) -> int:
    """The compute capability of the GPU that an array lies on: 90 for sm_90."""
    return _capability(array.data.device_id)


@cache
def _capability(device: int) -> int:
    import cupy

    return int(cupy.cuda.Device(device).compute_capability)


@cache
def _loaded(kernel: Kernel, real: str, device: int) -> Loaded:
    """A kernel on the GPU of this number, which is the current one."""
    import cupy

    module = _module(kernel.source, real, cupy.cuda.Device(device).compute_capability)
    return Loaded(module.get_function(kernel.name))


@cache
def _module(source: Source, real: str, capability: str) -> Any:
    import cupy

    text, options = whole_text(source), real_option(source, real)
    newest, driver = nvrtc.available(), cupy.cuda.runtime.driverGetVersion()
    # A driver loads no code of a later CUDA than its own; CuPy's compiler suits CuPy's driver.
    if not newest or 1000 * int(newest.split(".")[0]) > driver:
        return cupy.RawModule(code=text, options=("--std=c++17", *options))
    arch = architecture(capability, nvrtc.architectures())
    compiled = nvrtc.compile(text, source.name, arch, options)
    return cupy.RawModule(path=str(_on_disk(compiled.cubin)))


def architecture(capability: str, known: tuple[str, ...]) -> str:
    """The architecture to compile for: the newest one whose code a GPU runs.

    Machine code runs on its own architecture and on later ones of the same major number. A GPU
    for which NVRTC knows none is named as it is, for NVRTC to refuse.

    Examples
    --------
    >>> architecture("90", ("sm_80", "sm_90", "sm_100"))
    'sm_90'
    >>> architecture("89", ("sm_80", "sm_90"))
    'sm_80'
    """
    numbers = [int(re.sub(r"\D", "", name)) for name in known]
    number = int(capability)
    fitting = [n for n in numbers if n // 10 == number // 10 and n <= number]
    return f"sm_{max(fitting, default=number)}"


def _on_disk(cubin: bytes) -> Path:
    """A file with the machine code, for CUDA to load: in the cache, or where one may write."""
    name = f"{hashlib.sha256(cubin).hexdigest()}.cubin"
    path = private("cubins", needed=False) / name
    try:
        if not path.is_file() or path.read_bytes() != cubin:
            with replacing(path) as temporary:
                temporary.write_bytes(cubin)
    except OSError as cause:
        path = passing(f"cannot write {path}: {cause.strerror}", "make room on its disk.") / name
        path.write_bytes(cubin)
    return path
