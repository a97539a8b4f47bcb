"""Where and with what a benchmark ran: figures without this mean nothing."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import minidl
from minidl.compute import threads

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"


def cpu_model() -> str:
    """The processor's name, as its maker wrote it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def slug(text: str) -> str:
    """The text as a part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def peak_memory() -> float:
    """MiB of memory that this process has held at most.

    The kernel's own count for the process, where there is one: ``getrusage`` starts with what the
    process held from which this one was forked.
    """
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        import resource  # systems of the POSIX kind only

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def use_threads(count: int) -> None:
    """Let minidl, and processes that are started from here, compute on so many threads.

    It must be called before anything is computed.
    """
    os.environ["MINIDL_THREADS"] = str(count)
    threads.count.cache_clear()


def result_path(kind: str, date: str) -> Path:
    """A file name in results/ of its own for this run: earlier results stay."""
    stem = f"{kind}{slug(cpu_model())}-{date[:10]}"
    path, number = RESULTS / f"{stem}.json", 2
    while path.exists():
        path, number = RESULTS / f"{stem}-{number}.json", number + 1
    return path


def write(path: Path, report: dict[str, Any]) -> None:
    """Keep what was measured in a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nwritten to {path}")


def keep_memory() -> bool:
    """Ask malloc not to hand freed memory back to the system; return whether it listened.

    By default glibc returns large blocks, or keeps them, depending on what else
    lies on the heap. What was returned is fetched again page by page, zeroed,
    which can triple the time of a call on either side, by luck.
    """
    trim_threshold, mmap_max = -1, -4  # the names' numbers in glibc's malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    return bool(mallopt(trim_threshold, 2**31 - 1) and mallopt(mmap_max, 0))


def busy_seconds() -> tuple[float, float]:
    """CPU time since the start: of the whole machine, and of this program.

    (0, 0) where the system does not say.
    """
    try:
        first = Path("/proc/stat").read_text().splitlines()[0].split()
    except OSError:
        return 0.0, 0.0
    user, nice, system, _idle, _wait, *others = (int(field) for field in first[1:9])
    ticks = user + nice + system + sum(others)
    return ticks / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])


def facts() -> dict[str, Any]:
    """Machine, versions and the state of the repository."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain")
    return {
        "machine": {
            "cpu": cpu_model(),
            "cores": usable_cores(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": _installed("torch"),
            "minidl": minidl.__version__,
        },
        "blas": [
            {key: library.get(key) for key in ("internal_api", "version", "architecture")}
            for library in threadpool_info()
            if library["user_api"] == "blas"
        ],
        "git": {"commit": commit, "dirty": None if changes is None else bool(changes)},
    }


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """What git says, or None where there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
