"""Where and with what a benchmark ran: figures without this mean nothing."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import minidl

ROOT = Path(__file__).resolve().parent.parent


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
