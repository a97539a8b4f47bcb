"""What is compiled, kept on disk: in folders that nobody else can write, each file with a digest.

A file that is kept may be cut short by a full disk, or be changed; it is then as if it were not
there, and made anew. What others could have put there is not read: machine code that is loaded
from a folder runs with all rights of the user.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import time
import warnings
from functools import cache
from pathlib import Path

from minidl.errors import message
from minidl.files.whole import replacing

_DIGEST = hashlib.sha256().digest_size
_LEFT = 3600.0  # seconds after which nobody is still working in a folder for a build


def cache_folder() -> Path:
    """The folder of all that is compiled: $MINIDL_CACHE, or .cache/minidl in one's home."""
    return Path(os.environ.get("MINIDL_CACHE") or Path.home() / ".cache" / "minidl")


def private(name: str, needed: bool = True) -> Path:
    """The folder ``name`` of the cache, made if need be; where that is not safe, a passing one.

    A warning says once why the cache is not used; where it merely cannot be written, and is not
    ``needed`` since compiling takes a moment only, there is none.
    """
    root = cache_folder()
    try:
        for folder in (root, root / name):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            reason = _shared(folder)
            if reason:
                return passing(reason, f"remove it, or set MINIDL_CACHE: {folder} is made anew.")
        with tempfile.TemporaryFile(dir=root / name):
            return root / name
    except OSError as cause:
        reason = f"cannot write into {root / name}: {cause.strerror or cause}"
        if not needed:
            return Path(_passing().name)
        return passing(reason, "set MINIDL_CACHE to a folder that can be written.")


def passing(reason: str, hint: str) -> Path:
    """A folder of this process alone, in the place of the cache; warns, once for each reason."""
    _warn(reason, hint)
    return Path(_passing().name)


def recall(path: Path) -> bytes | None:
    """The bytes that were kept in a file; None where there are none, or they are damaged."""
    try:
        with path.open("rb") as file:
            if _of_others(os.fstat(file.fileno())):
                return None
            data = file.read()
    except OSError:
        return None
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    return body if hashlib.sha256(body).digest() == digest else None


def keep(path: Path, body: bytes, program: bool = False) -> None:
    """Keep bytes in a file, whole or not at all, with their digest behind them.

    Libraries and programs may have more behind them than they need, so that one loads the file
    as it is.

    Raises
    ------
    OSError
        If they cannot be written.
    """
    _remove_leftovers(path.parent)
    with replacing(path, 0o700 if program else None) as temporary:
        temporary.write_bytes(body + hashlib.sha256(body).digest())


def _remove_leftovers(folder: Path) -> None:
    """Remove what builds that were killed have left in a folder; others may be at work there."""
    for left in (*folder.glob("building-*"), *folder.glob(".*.tmp")):
        try:
            if time.time() - left.stat().st_mtime > _LEFT:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        except OSError:
            continue


# --- whose a folder is ---


def _shared(folder: Path) -> str:
    """Why others may have put files into a folder; "" if only its owner can, who is the user."""
    status = folder.stat()
    if _of_others(status):
        return f"the cache folder {folder} belongs to another user (number {status.st_uid})"
    if os.name == "posix" and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode)
        return f"others can write into the cache folder {folder} (its mode is {mode:o})"
    return ""


def _of_others(status: os.stat_result) -> bool:
    """Whether a file belongs to neither the user nor the system."""
    return hasattr(os, "getuid") and status.st_uid not in (os.getuid(), 0)


@cache
def _passing() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="minidl-cache-")


@cache
def _warn(reason: str, hint: str) -> None:
    warnings.warn(
        message(f"compiled kernels are not kept: {reason}", hint=hint), RuntimeWarning, stacklevel=4
    )
