"""Records of a run: lines of JSON, and TensorBoard. Either takes one row at a time."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from minidl.errors import CheckpointError, import_extra, message
from minidl.files.serialize import json_text


class JsonLines:
    """A file of rows, one a line, each handed to the system before ``write`` returns.

    Parameters
    ----------
    path : str or path
        The file; its folder is made if need be.
    keep : int
        Bytes of an existing file to keep; what follows them is cut off. Default: none.

    Raises
    ------
    CheckpointError
        If it is a link, whose target would be overwritten; or, later, if a row could not be
        written.
    """

    def __init__(self, path: str | os.PathLike[str], keep: int = 0):
        self.path = path = Path(path)
        if path.is_symlink():
            raise CheckpointError(
                message(f"'{path}' is a link, and its target would be overwritten",
                        hint="remove the link.")
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.stat().st_size if path.exists() else 0
        if there < keep:
            warnings.warn(
                f"{path} has lost {keep - there} of the {keep} bytes that were written to it; "
                "the rows in them are missing from now on",
                stacklevel=2,
            )
            # A row of which only the beginning is left would spoil the one that follows it.
            keep = path.read_bytes().rfind(b"\n") + 1 if there else 0
        self._file = open(path, "ab")  # noqa: SIM115  (open for as long as the run)
        self._file.truncate(keep)

    def write(self, row: dict[str, Any]) -> None:
        """Add a row. NaN and infinities become null, since JSON has no word for them."""
        line = json_text(row).encode() + b"\n"
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as cause:
            raise self._failure("a row could not be written", cause) from cause

    __call__ = write

    def _failure(self, what: str, cause: OSError) -> CheckpointError:
        return CheckpointError(
            message(
                f"'{self.path}': {what}",
                str(cause),
                hint="the checkpoint is whole: a run goes on from it with resume=True.",
            )
        )

    def sync(self) -> int:
        """Wait until every row is on the disk; return the length of the file in bytes."""
        try:
            os.fsync(self._file.fileno())
        except OSError as cause:
            raise self._failure("the rows are not safely on the disk", cause) from cause
        return os.fstat(self._file.fileno()).st_size

    def is_in_place(self) -> bool:
        """Whether the file is still the one of this name, neither deleted nor moved."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._file.fileno()))
        except OSError:
            return False

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with suppress(OSError):  # of a row that could not be written, as ``write`` has said
            self._file.close()


class TensorBoard:
    """A callback of ``fit`` that writes every number of a row as a TensorBoard scalar.

    Parameters
    ----------
    folder : str or path
        The folder in which TensorBoard will look.
    first_step : int, optional
        Hide what an earlier run wrote from this step on; for a resumed run.

    Raises
    ------
    MissingExtraError
        If tensorboardX is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str], first_step: int | None = None):
        module = import_extra("tensorboardX", "tensorboard", "TensorBoard")
        self._writer = module.SummaryWriter(os.fspath(folder), purge_step=first_step)

    def write(self, row: dict[str, Any]) -> None:
        """Add a row's numbers at its step, under ``step/`` or ``epoch/`` and their names."""
        for name, value in row.items():
            if name not in ("event", "epoch", "step"):
                self._writer.add_scalar(f"{row.get('event', 'epoch')}/{name}", value, row["step"])
        self._writer.flush()

    __call__ = write

    def close(self) -> None:
        """Close the files."""
        self._writer.close()
