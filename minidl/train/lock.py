"""One run at a time in a folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from minidl.errors import ArgumentError, message

try:
    import fcntl
except ImportError:  # Windows, where a folder is not locked
    fcntl = None  # type: ignore[assignment]


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
        while fcntl is not None and self._descriptor < 0:
            self._descriptor = self._taken()

    def _taken(self) -> int:
        """Lock the file; -1 if somebody removed it in this moment."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
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
        if self._descriptor >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1
