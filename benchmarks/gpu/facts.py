"""The machine: what it is, what is installed, its ceilings; and every kernel compiled for it."""

from __future__ import annotations

import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

from benchmarks.gpu.report import Rows

ASKED = "name,driver_version,clocks.sm,clocks.max.sm,power.draw,power.limit,temperature.gpu"


def machine(rows: Rows) -> None:
    """Find out versions, clocks, compilation, copy bandwidth, matrix rates; clocks again."""
    with rows.judged("GPU"):
        _gpu(rows)
    with rows.judged("versions"):
        _versions(rows)
    with rows.judged("clocks at the start"):
        rows.add("clocks at the start", None, smi(ASKED))
    with rows.judged("compiled"):
        _compiled(rows)
    with rows.judged("copy bandwidth"):
        _bandwidth(rows)
    with rows.judged("matrix products"):
        _products(rows)
    with rows.judged("clocks at the end"):
        rows.add("clocks at the end", None, smi(ASKED))


def smi(fields: str) -> str:
    """Ask nvidia-smi about the GPU."""
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvidia-smi does not say: {error}"
    return ran.stdout.strip()


def _gpu(rows: Rows) -> None:
    import cupy

    about = cupy.cuda.runtime.getDeviceProperties(0)
    name = about["name"].decode()
    numbers = {
        "multiprocessors": about["multiProcessorCount"], "l2_bytes": about["l2CacheSize"],
        "memory_bytes": about["totalGlobalMem"],
        "capability": cupy.cuda.Device(0).compute_capability,
    }
    told = ", ".join(f"{key} {value}" for key, value in numbers.items())
    rows.add("GPU", None, f"{name}, {told}", gpu=name, **numbers)


def _versions(rows: Rows) -> None:
    import cupy
    import torch

    from minidl.cuda import nvrtc

    numbers = {
        "cupy": cupy.__version__, "torch": torch.__version__, "cuda_of_torch": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(), "nvrtc": nvrtc.available(),
        "driver_speaks": cupy.cuda.runtime.driverGetVersion(), "numpy": _installed("numpy"),
    }
    rows.add("versions", None, ", ".join(f"{k} {v}" for k, v in numbers.items()), **numbers)


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _compiled(rows: Rows) -> None:
    """Compile every file for this GPU and both types, side by side, for all later steps."""
    import cupy

    from minidl.cuda import nvrtc
    from minidl.cuda.gpu import architecture
    from minidl.cuda.source import shipped, whole_text

    if not nvrtc.available():
        rows.add("compiled", None, "NVRTC is not installed as a wheel: CuPy will compile")
        return
    arch = architecture(cupy.cuda.Device(0).compute_capability, nvrtc.architectures())
    sources = {kernel.source.name: kernel.source for kernel in shipped().values()}
    tasks = [(source, real) for source in sources.values() for real in ("float", "double")]

    def one(task: Any) -> tuple[str, float, int]:
        source, real = task
        start = time.perf_counter()
        made = nvrtc.compile(whole_text(source), source.name, arch, (f"-Dreal={real}",))
        spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill stores", made.log))
        return f"{source.name} {real}", time.perf_counter() - start, spilled

    start = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, tasks))
    seconds, spilled = time.perf_counter() - start, {name: n for name, _, n in found if n}
    rows.add(
        "compiled", not spilled,
        f"{len(found)} files for {arch} in {seconds:.1f} s, bytes spilled: {spilled or 'none'}",
        seconds=seconds, each={name: s for name, s, _ in found}, spilled=spilled,
    )


def _bandwidth(rows: Rows) -> None:
    """Time a copy of 1 GiB within the GPU; count bytes read and written."""
    import cupy

    a = cupy.random.standard_normal(2**28, dtype=cupy.float32)
    b = cupy.empty_like(a)
    times = []
    for _ in range(24):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        b[...] = a
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, end))
    rate = 2 * a.nbytes / median(times[4:]) / 1e6
    rows.add("copy bandwidth", None, f"{rate:.0f} GB/s", gigabytes_per_second=rate)


def _products(rows: Rows) -> None:
    """Time PyTorch's matrix products: the ceilings for convolutions."""
    import torch

    from benchmarks.gpu import rival

    size, rates = 8192, {}
    types = {"strict": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
    for mode, dtype in types.items():
        rival.use_mode("tf32" if mode == "bf16" else mode)
        a, b = (torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2))
        for _ in range(3):
            a @ b
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(10):
            a @ b
        end.record()
        end.synchronize()
        rates[mode] = 10 * 2 * size**3 / start.elapsed_time(end) / 1e9
    told = ", ".join(f"{mode} {rate:.0f}" for mode, rate in rates.items())
    rows.add("matrix products", None, f"TFLOP/s of 8192^3: {told}", **rates)
