"""One run at a time in a folder."""

from __future__ import annotations

import importlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from minidl.errors import ArgumentError, message


def _module(name: str) -> Any:
    """The module of this name, or None on a system that has none."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


fcntl, msvcrt = _module("fcntl"), _module("msvcrt")
"""The locks of POSIX, and those of Windows."""

FAR = 2**30
"""The byte that is locked on Windows, where nobody can read a locked one: behind all that is."""


class FolderLock:
    """A file ``.lock`` that names the process at work in a folder, held until ``release``.

    The system lets go of it when the process ends, however it ends: a file that a killed run
    left behind keeps nobody out.

    Raises
    ------
    ArgumentError
        If another run has it, naming its process.
    """

    def __init__(self, folder: Path):
        self.path = folder / ".lock"
        self._descriptor = -1
        while self._descriptor < 0:
            self._descriptor = self._taken()

    def _taken(self) -> int:
        """Lock the file; -1 if somebody removed it in this moment."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(descriptor)
        except (BlockingIOError, PermissionError):
            os.lseek(descriptor, 0, os.SEEK_SET)
            owner = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise ArgumentError(
                message(
                    f"another run is at work in '{self.path.parent}'",
                    f"its process is {owner}, this one {os.getpid()}",
                    hint="give this run another folder, or wait until that one has ended.",
                )
            ) from None
        except OSError:  # a file system without locks
            return descriptor
        with suppress(FileNotFoundError):
            if os.path.samestat(os.stat(self.path), os.fstat(descriptor)):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()}\n".encode())
                return descriptor
        os.close(descriptor)
        return -1

    def release(self) -> None:
        """Let go of the folder; a second call does nothing."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        if fcntl is not None:  # while the file is still locked, so that it is nobody else's
            self.path.unlink(missing_ok=True)
            os.close(descriptor)
            return
        _unlock(descriptor)
        os.close(descriptor)
        with suppress(PermissionError):  # Windows removes no file that somebody has open
            self.path.unlink(missing_ok=True)


def _lock(descriptor: int) -> None:
    """Lock an open file, whose place is its beginning afterwards.

    Raises
    ------
    BlockingIOError, PermissionError
        If another has locked it, on POSIX and on Windows.
    """
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif msvcrt is not None:
        os.lseek(descriptor, FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)


def _unlock(descriptor: int) -> None:
    """Undo ``_lock`` on Windows, which does so for a closed file, but not at once."""
    if msvcrt is not None:
        os.lseek(descriptor, FAR, os.SEEK_SET)
        with suppress(OSError):  # where the file system has no locks, it was not locked
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
