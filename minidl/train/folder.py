"""The folder of a run: its newest checkpoint, the summary beside it, its metrics, its lock."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minidl.errors import CheckpointError, message
from minidl.files.serialize import json_text, save_tree
from minidl.files.whole import Pathlike, remove_leftovers
from minidl.train.checkpoint import Checkpoint, read_checkpoint, restore, save_checkpoint
from minidl.train.lock import FolderLock
from minidl.train.log import JsonLines

EARLIER = {
    "last.safetensors": "previous.safetensors",
    "metrics.jsonl": "previous.jsonl",
    "last.json": "previous.json",
}
"""The files of an earlier run, and their names when a new one begins, in the order of renaming."""

PLACE = ("metrics_bytes", "steps_in_epoch", "loss_sum", "seconds")
"""The entries of a checkpoint's ``progress`` without which a run cannot go on."""


class RunFolder:
    """The folder of one run: ``last.safetensors``, ``last.json`` and ``metrics.jsonl``.

    Parameters
    ----------
    path : str or path
        The folder; it is made if it does not exist.
    config : mapping
        The settings to keep with the checkpoints.
    **parts
        The model, optimizer, loader and schedule whose states a checkpoint holds.

    Raises
    ------
    ArgumentError
        If another run is at work in it, or a file cannot hold the config or a state.
    """

    def __init__(self, path: Pathlike, config: Mapping[str, Any], **parts: Any):
        self.path, self.config, self.parts = Path(path), dict(config), parts
        self.checkpoint = self.path / "last.safetensors"
        self.metrics: JsonLines | None = None
        self.given = settings_of(parts.get("optimizer"))
        self._check_storable()
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(self.path)
        try:
            for file in (self.checkpoint, self.path / "last.json"):
                remove_leftovers(file)
        except BaseException:
            self._lock.release()
            raise

    def _check_storable(self) -> None:
        """Find what a file cannot hold before an epoch has gone by."""
        states = {name: part.state_dict() for name, part in self.parts.items()
                  if part is not None and name != "model"}
        with tempfile.TemporaryDirectory() as folder:
            save_tree(Path(folder, "first.safetensors"), {"config": self.config, "states": states})
        json_text(self.config)

    def start(self) -> None:
        """Begin a run; rename what an earlier one left to ``previous``.

        Were it left in place, resuming this run before its first checkpoint would go
        on from the other one's. A run without a checkpoint leaves nothing to keep, but a
        summary without one tells of a start that was killed between two renames.
        """
        if self.checkpoint.exists() or (self.path / "last.json").exists():
            for old, new in EARLIER.items():
                if (self.path / old).exists():
                    os.replace(self.path / old, self.path / new)
        self.metrics = JsonLines(self.path / "metrics.jsonl")

    def resume(self) -> Checkpoint:
        """Restore every part, and cut off the metrics that are newer than the checkpoint."""
        tree = read_checkpoint(self.checkpoint)
        progress = tree["progress"]
        if any(not isinstance(progress.get(name), int | float) for name in PLACE):
            raise CheckpointError(
                message(
                    f"'{self.checkpoint}' does not say where in its training it stands",
                    hint="fit resumes what fit has saved; load_checkpoint reads the others.",
                )
            )
        last = restore(self.checkpoint, tree, **self.parts)
        started = progress.get("given", self.given)
        facts = _changes(last.config, self.config, "config: {} is {} now, and was {}")
        if not self.config:
            facts = []
        for k, (was, now) in enumerate(zip(started, self.given, strict=False)):
            group = f" of group {k}" if len(started) > 1 else ""
            words = f"optimizer{group}: {{}} = {{}} was given, and {{}}, the checkpoint's, is used"
            facts += _changes(was, now, words)
        if facts:
            warnings.warn(
                message(
                    f"resuming {self.path} with another config than it was started with",
                    *facts,
                    hint="to train on with other settings, take the model alone by "
                    "load_checkpoint(path, model=model), and fit into another folder.",
                ),
                stacklevel=4,
            )
        self.given = started
        self.metrics = JsonLines(self.path / "metrics.jsonl", int(progress["metrics_bytes"]))
        return last

    def check(self) -> None:
        """Raise CheckpointError if the folder was deleted or moved while the run was at work."""
        if self.metrics is not None and not self.metrics.is_in_place():
            raise CheckpointError(
                message(
                    f"'{self.metrics.path}' was deleted, moved or replaced during the run",
                    "what the run measures would be lost, so it stops",
                    hint="put the folder back and resume, or begin anew.",
                )
            )

    def write(self, row: dict[str, Any]) -> None:
        """Add a row to the metrics."""
        assert self.metrics is not None
        self.check()
        self.metrics.write(row)

    def save(self, *, progress: Mapping[str, Any], **about: Any) -> None:
        """Replace the checkpoint by the present state."""
        assert self.metrics is not None
        self.check()
        # The metrics first, so that no checkpoint knows of rows that are not on the disk.
        known = {**progress, "metrics_bytes": self.metrics.sync(), "given": self.given}
        save_checkpoint(
            self.checkpoint, **self.parts, config=self.config, progress=known, **about
        )

    def close(self) -> None:
        """Close the metrics, and leave the folder to others."""
        if self.metrics is not None:
            self.metrics.close()
        self._lock.release()


def settings_of(optimizer: Any) -> list[dict[str, Any]]:
    """Copy the settings of an optimiser's groups, such as the learning rate, as a file has them."""
    return [
        {k: _as_filed(v) for k, v in group.items()
         if k != "params" and isinstance(v, bool | int | float | str | tuple | list | None)}
        for group in getattr(optimizer, "param_groups", ())
    ]


def _changes(was: Mapping[str, Any], now: Mapping[str, Any], words: str) -> list[str]:
    """Say which settings differ: ``words`` are filled with the name and both values."""
    return [
        words.format(key, repr(now.get(key)), repr(was.get(key)))
        for key in sorted({*was, *now})
        if _as_filed(was.get(key)) != _as_filed(now.get(key))
    ]


def _as_filed(value: Any) -> Any:
    """A value as a file gives it back, in what can be compared: tuples and arrays as lists."""
    if isinstance(value, list | tuple):
        return [_as_filed(v) for v in value]
    if isinstance(value, Mapping):
        return {key: _as_filed(v) for key, v in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value
