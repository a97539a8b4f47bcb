"""Rows: what a step found out. Each is written down at once, so that a killed step leaves them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

AGAIN = 75
"""The exit status of a step whose GPU context is broken: to be started again, behind that row."""


@dataclass
class Rows:
    """The rows of one step, in a file of lines of JSON that all steps share.

    Attributes
    ----------
    path : Path
    step : str
    seconds : float
        How long the step may take. It looks at ``left()``, and says what it left out.
    """

    path: Path
    step: str
    seconds: float = math.inf
    start: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds until the step should be done."""
        return self.start + self.seconds - time.monotonic()

    def done(self) -> set[str]:
        """Names of the rows that are there already, from before a fresh start."""
        return {row["name"] for row in read(self.path) if row["step"] == self.step}

    def add(self, name: str, ok: bool | None, text: str, **numbers: Any) -> None:
        """Write a row, and print it.

        ``ok`` is None where nothing was judged; numbers that JSON cannot hold become null.
        """
        row = {"step": self.step, "name": name, "ok": ok, "text": text, **numbers}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_plain(row)) + "\n")
        mark = {True: "ok  ", False: "FAIL", None: "    "}[ok]
        print(f"{mark} {self.step}: {name}: {text}", flush=True)

    @contextmanager
    def judged(self, name: str) -> Iterator[None]:
        """Turn what is raised inside into a failed row; a broken GPU context ends the process."""
        try:
            yield
        except Exception as error:
            told = str(error).strip().splitlines() or [""]
            self.add(name, False, f"{type(error).__name__}: {told[0]}", details=told[1:12])
            if is_fatal(error):
                raise SystemExit(AGAIN) from error


def is_fatal(error: BaseException) -> bool:
    """Whether CUDA can do nothing more in this process."""
    words = "illegal", "misaligned", "launch failure", "ILLEGAL", "LAUNCH_FAILED", "device-side"
    return any(word in str(error) for word in words)


def read(path: Path) -> list[dict[str, Any]]:
    """All rows written so far; a line cut off by a kill is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def _plain(value: Any) -> Any:
    """Turn a value into what JSON knows: NaN and infinity are null, NumPy's numbers Python's."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
