"""History: what a run measured, one row an epoch."""

from __future__ import annotations

import json
import os
from typing import Any

from minidl.errors import ArgumentError, DataError, message

TIME_COLUMN = "seconds"
"""The column of wall-clock times, the only one that differs between equal runs."""


class History(list[dict[str, Any]]):
    """A list of rows; a row is a dict with ``epoch``, ``step``, ``loss`` and whatever else.

    Examples
    --------
    >>> history = History([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
    >>> history.column("loss")
    [0.5, 0.25]
    """

    def column(self, name: str) -> list[Any]:
        """Return the values of one column, row by row; None where a row has none.

        Raises
        ------
        ArgumentError
            If no row has such a column.
        """
        if not any(name in row for row in self):
            known = sorted({key for row in self for key in row})
            raise ArgumentError(
                message(f"History.column: there is no column {name!r}", f"there are {known}")
            )
        return [row.get(name) for row in self]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> History:
        """Read the rows of a ``metrics.jsonl``, of steps and of epochs, in order.

        Raises
        ------
        DataError
            If the file is missing, or a line of it is not a JSON object.
        """
        name = repr(os.fspath(path))
        try:
            with open(path, "rb") as file:
                return cls(_row(line, f"line {i} of {name}") for i, line in enumerate(file, 1))
        except OSError as cause:
            raise DataError(f"History.read: cannot read {name}: {cause}") from None


def _row(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as cause:  # of another encoding, too
        raise DataError(f"History.read: {place} is not JSON: {cause}") from None
    if not isinstance(row, dict):
        raise DataError(f"History.read: {place} is not a row: {line.decode()[:80].strip()}")
    return row
