"""`minidl doctor`: what this machine has, what each missing piece would give, and how to get it."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from threadpoolctl import threadpool_info

from minidl import __version__
from minidl.compute import threads
from minidl.compute.arrays import to_device
from minidl.cuda import native, nvrtc
from minidl.cuda.compiler import compiler
from minidl.errors import DeviceError


@dataclass(frozen=True)
class Finding:
    """One thing a machine has or lacks.

    Attributes
    ----------
    name : str
        The thing.
    found : str
        Its version or place; "" if it is missing.
    gives, get : str
        The use that it would be of, and the way to get it.
    """

    name: str
    found: str
    gives: str = ""
    get: str = ""


OPTIONAL_PACKAGES = [
    ("scikit-learn", "the digits and the demo's clustering", "pip install 'minidl[data]'"),
    ("matplotlib", "charts", "pip install 'minidl[plots]'"),
    ("pooch", "downloads of data sets and weights", "pip install 'minidl[data]'"),
    ("tensorboardX", "TensorBoard logs", "pip install 'minidl[tensorboard]'"),
    ("torch", "a second oracle for the tests, a rival for the benchmarks", "pip install torch"),
]
"""The name of each package, what it would give, and how to get it."""


def machine() -> list[Finding]:
    """Look at the processor, Python and NumPy's linear algebra."""
    cores = threads.count()
    blas = [
        f"{library['internal_api']} {library['version']}, {library['num_threads']} threads"
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]
    return [
        Finding("minidl", __version__),
        Finding("Python", f"{platform.python_version()} on {platform.platform()}"),
        Finding("processor", _processor()),
        Finding("threads", f"{cores} of {os.cpu_count()} cores (MINIDL_THREADS changes it)"),
        Finding("memory", _memory()),
        Finding("NumPy", np.__version__),
        Finding(
            "BLAS", "; ".join(blas), "fast matrix products", "pip install --force-reinstall numpy"
        ),
    ]


def packages() -> list[Finding]:
    """Look for the optional packages."""
    return [Finding(name, _installed(name), gives, get) for name, gives, get in OPTIONAL_PACKAGES]


def accelerator() -> list[Finding]:
    """Look for the driver and CuPy, and try them."""
    driver = _driver()
    cupy = next((f"{n} {_installed(n)}" for n in ("cupy-cuda13x", "cupy-cuda12x", "cupy")
                 if _installed(n)), "")
    usable, why = "", ""
    if cupy:
        try:
            to_device(np.ones(1), "cuda")
            usable = "usable"
        except DeviceError as error:
            why = str(error).splitlines()[0]
    extra = "cuda13" if driver >= 13000 else "cuda12"
    return [
        Finding("NVIDIA driver", f"CUDA {driver // 1000}.{driver % 1000 // 10}" if driver else "",
                "computing on a GPU", "an NVIDIA GPU with its driver; everything runs without"),
        Finding("CuPy", cupy, "arrays on a GPU", f"pip install 'minidl[{extra}]'"),
        Finding("GPU", usable, "training on it with .to('cuda')", why or "the two lines above"),
    ]


def kernels() -> list[Finding]:
    """Look for what runs, compiles and reads CUDA kernels without a GPU."""
    try:
        found = " ".join(compiler())
    except DeviceError:
        found = ""
    return [
        Finding("C++ compiler", found, "runs the CUDA kernels on this CPU",
                "your system's g++ or clang++, or pip install 'minidl[compiler]'"),
        Finding("native code", "" if native.why_not() else "in use",
                "the kernels as this CPU's own code", native.why_not()),
        Finding("NVRTC", nvrtc.available(), "compiles the kernels for GPUs, here or elsewhere",
                "pip install 'minidl[kernels]'"),
        Finding("pyelftools", _installed("pyelftools"), "tracing, and what a compiled kernel uses",
                "pip install 'minidl[kernels]'"),
    ]


def tools() -> list[Finding]:
    """Look for the programs that tests use."""
    chromium = next((p for p in map(shutil.which, ("chromium", "google-chrome")) if p), "")
    return [
        Finding("Chromium", chromium, "the test of the demo's live page",
                "Debian: apt install chromium chromium-driver"),
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the doctor."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def main(args: argparse.Namespace) -> int:
    """Print the findings."""
    groups = {
        "This machine": machine(),
        "Optional packages": packages(),
        "GPU": accelerator(),
        "Kernels": kernels(),
        "Tools": tools(),
    }
    if args.json:
        print(json.dumps({title: [asdict(f) for f in found] for title, found in groups.items()},
                         indent=2))
        return 0
    for title, found in groups.items():
        print(f"{title}")
        for finding in found:
            print(f"  {finding.name:14} {finding.found or 'missing'}")
            if not finding.found:
                print(f"  {'':14}   would give: {finding.gives}")
                print(f"  {'':14}   to get it:  {finding.get}")
    return 0


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return "unknown"
    return f"{total / 2**30:.1f} GiB"


def _driver() -> int:
    """The driver's version of CUDA, as 1000 * major + 10 * minor; 0 without a driver."""
    name = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
    try:
        library = ctypes.CDLL(name)
    except OSError:
        return 0
    number = ctypes.c_int()
    return number.value if library.cuDriverGetVersion(ctypes.byref(number)) == 0 else 0
