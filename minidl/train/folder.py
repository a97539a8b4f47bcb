"""The folder of a run: its newest checkpoint, the summary beside it, its metrics."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minidl.files.whole import Pathlike, remove_leftovers
from minidl.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from minidl.train.log import JsonLines


class RunFolder:
    """The folder of one run: ``last.safetensors``, ``last.json`` and ``metrics.jsonl``.

    Parameters
    ----------
    path : str or path
        The folder; it is made if it does not exist.
    **parts
        The model, optimizer, loader and schedule whose states a checkpoint holds.
    """

    def __init__(self, path: Pathlike, **parts: Any):
        self.path = Path(path)
        self.parts = parts
        self.checkpoint = self.path / "last.safetensors"
        self.metrics: JsonLines | None = None
        self.path.mkdir(parents=True, exist_ok=True)
        for file in (self.checkpoint, self.path / "last.json"):
            remove_leftovers(file)

    def start(self) -> None:
        """Begin a run; rename what an earlier one left to ``previous``.

        Were it left in place, resuming this run before its first checkpoint would go
        on from the other one's. A run without a checkpoint leaves nothing to keep.
        """
        if self.checkpoint.exists():
            for old, new in (
                ("last.safetensors", "previous.safetensors"),
                ("last.json", "previous.json"),
                ("metrics.jsonl", "previous.jsonl"),
            ):
                if (self.path / old).exists():
                    os.replace(self.path / old, self.path / new)
        self.metrics = JsonLines(self.path / "metrics.jsonl")

    def resume(self, config: Mapping[str, Any]) -> Checkpoint:
        """Restore every part, and cut off the metrics that are newer than the checkpoint."""
        last = load_checkpoint(self.checkpoint, **self.parts)
        # A file turns tuples into lists.
        given = {key: list(v) if isinstance(v, tuple) else v for key, v in config.items()}
        changed = sorted(
            key
            for key in last.config.keys() | given.keys()
            if last.config.get(key) != given.get(key)
        )
        if config and changed:
            warnings.warn(
                f"resuming {self.path} with another config than it was started with: "
                f"{', '.join(changed)}; the optimiser's and schedule's settings come from "
                "the checkpoint",
                stacklevel=3,
            )
        self.metrics = JsonLines(self.path / "metrics.jsonl", last.progress["metrics_bytes"])
        return last

    def write(self, row: dict[str, Any]) -> None:
        """Add a row to the metrics."""
        assert self.metrics is not None
        self.metrics.write(row)

    def save(self, *, progress: Mapping[str, Any], **about: Any) -> None:
        """Replace the checkpoint by the present state."""
        assert self.metrics is not None
        # The metrics first, so that no checkpoint knows of rows that are not on the disk.
        known = {**progress, "metrics_bytes": self.metrics.sync()}
        save_checkpoint(self.checkpoint, **self.parts, progress=known, **about)

    def close(self) -> None:
        """Close the metrics."""
        if self.metrics is not None:
            self.metrics.close()
