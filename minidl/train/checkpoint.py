"""Checkpoints: all that a run needs in order to go on as if it had never stopped.

A checkpoint is one safetensors file, written in one atomic step: weights, the
optimiser's state, the place in the data, the random numbers' state and the history
are always of the same moment. Beside it lies a JSON file for people to read; nothing
reads it back.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from minidl import __version__, random
from minidl.errors import ArgumentError, CheckpointError, MinidlError, message
from minidl.files.serialize import load_tree, save_tree, write_json
from minidl.files.whole import Pathlike
from minidl.train.history import History

FORMAT = 1
"""The version of the files' layout; it grows when older programs could not read them."""


@dataclass
class Checkpoint:
    """A checkpoint's account of its run, apart from the states that it restored.

    Attributes
    ----------
    step, epoch : int
        Steps taken and epochs finished.
    config : dict
        The settings of the run, as they were given.
    history : History
    progress : dict
        The place within the epoch, and whatever else the loop adds.
    versions : dict of str to str
        The versions of minidl, NumPy and Python that saved it.
    """

    step: int
    epoch: int
    config: dict[str, Any]
    history: History
    progress: dict[str, Any]
    versions: dict[str, str]


def save_checkpoint(
    path: Pathlike,
    *,
    model: Any,
    optimizer: Any = None,
    loader: Any = None,
    schedule: Any = None,
    step: int = 0,
    epoch: int = 0,
    config: Mapping[str, Any] | None = None,
    history: Sequence[dict[str, Any]] = (),
    progress: Mapping[str, Any] | None = None,
) -> None:
    """Write the states of all these, and that of the random numbers, to one file.

    The file at ``path`` is replaced in one atomic step; a summary for people follows
    it, under the same name with the ending ``.json``.

    Parameters
    ----------
    path : str or path
        Ends in ``.safetensors``.
    model, optimizer, loader, schedule : objects with ``state_dict()``, or None
        Those that are None cannot be restored.
    step, epoch : int
        Steps taken and epochs finished.
    config : dict, optional
        The settings of the run: strings, numbers, lists and dicts.
    history : sequence of dict
    progress : dict, optional
        Whatever else the caller wants back.

    Raises
    ------
    ArgumentError
        If the name has another ending, or a state or the config holds what a file cannot.
    CheckpointError
        If the disk does not take it; what was there before is whole then.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ArgumentError(
            message(
                f"save_checkpoint: the name must end in .safetensors, received {str(path)!r}",
                hint=f"for example {path.stem + '.safetensors'!r}.",
            )
        )
    parts = {"model": model, "optimizer": optimizer, "loader": loader, "schedule": schedule}
    about: dict[str, Any] = {
        "format": FORMAT,
        "step": step,
        "epoch": epoch,
        "config": dict(config or {}),
        "versions": {
            "minidl": __version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    states = {name: part.state_dict() for name, part in parts.items() if part is not None}
    tree = {
        **about,
        "history": list(history),
        "progress": dict(progress or {}),
        "random": random.get_state(),
        "states": states,
    }
    metrics = history[-1] if history else None
    saved = datetime.now(UTC).isoformat(timespec="seconds")
    _write(path, save_tree, tree)
    _write(path.with_suffix(".json"), write_json, {**about, "metrics": metrics, "saved": saved})


def _write(path: Path, write: Callable[[Path, Any], None], tree: Any) -> None:
    there = path.exists()
    try:
        write(path, tree)
    except (OSError, SafetensorError) as cause:
        raise CheckpointError(
            message(
                f"'{path}' could not be written",
                str(cause),
                "the one before it is whole" if there else "there was none before it",
                hint="make room on the disk; a run goes on with resume=True.",
            )
        ) from cause


def load_checkpoint(
    path: Pathlike,
    *,
    model: Any = None,
    optimizer: Any = None,
    loader: Any = None,
    schedule: Any = None,
    restore_random: bool = True,
) -> Checkpoint:
    """Put the states from a checkpoint back into these objects; nothing in it is executed.

    Parameters
    ----------
    path : str or path
    model, optimizer, loader, schedule : objects with ``load_state_dict(state)``, or None
        Those that are None are left alone.
    restore_random : bool
        Whether ``minidl.random`` goes on from where it was; False to use a model only.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, not a checkpoint, from a newer minidl, without the
        state of something that was asked for, or with a state that does not fit; nothing is
        changed then.
    """
    return restore(
        path, read_checkpoint(path), restore_random=restore_random,
        model=model, optimizer=optimizer, loader=loader, schedule=schedule,
    )


def restore(
    path: Pathlike, tree: dict[str, Any], *, restore_random: bool = True, **parts: Any
) -> Checkpoint:
    """Put the states in a checkpoint's tree back into these parts: all of them, or none."""
    asked = {name: part for name, part in parts.items() if part is not None}
    missing = [name for name in asked if name not in tree["states"]]
    if missing:
        raise CheckpointError(
            message(
                f"the checkpoint {str(path)!r} has no state of: {', '.join(missing)}",
                f"it has those of: {', '.join(tree['states'])}",
                hint="leave it out here, or give it to save_checkpoint.",
            )
        )
    before: dict[str, Any] = {}
    name, drawn = "random numbers", random.get_state()
    try:
        if restore_random:
            random.set_state(tree["random"])
        # The weights last: the most to copy, and those of minidl's modules are all set or none.
        for name in sorted(asked, key=lambda name: name == "model"):
            before[name] = asked[name].state_dict()
            asked[name].load_state_dict(tree["states"][name])
    except Exception as cause:
        random.set_state(drawn)
        for done, state in before.items():
            with suppress(Exception):  # of the part that refused, which may refuse this, too
                asked[done].load_state_dict(state)
        raise CheckpointError(
            message(
                f"the checkpoint {str(path)!r} does not fit the {name}; nothing has been changed",
                *(str(cause) if isinstance(cause, MinidlError) else repr(cause)).splitlines(),
            )
        ) from cause
    return Checkpoint(
        step=tree["step"],
        epoch=tree["epoch"],
        config=tree["config"],
        history=History(tree["history"]),
        progress=tree["progress"],
        versions=tree["versions"],
    )


CONTENTS = {
    "step": int, "epoch": int, "config": dict, "versions": dict, "history": list,
    "progress": dict, "random": dict, "states": dict,
}
"""The type of each entry of a checkpoint."""


def read_checkpoint(path: Pathlike) -> dict[str, Any]:
    """Read a checkpoint's tree, of which all entries are there.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, not a checkpoint, or from a newer minidl.
    """
    tree = load_tree(path)
    form = tree.get("format") if isinstance(tree, dict) else None
    if not isinstance(form, int):
        raise CheckpointError(f"{str(path)!r} is not a checkpoint of a training run")
    if form > FORMAT:
        versions = tree.get("versions")
        newer = versions.get("minidl") if isinstance(versions, dict) else None
        raise CheckpointError(
            message(
                f"the checkpoint {str(path)!r} was made by a newer minidl",
                f"its format is {form}, this minidl {__version__} reads up to {FORMAT}",
                hint=f"install minidl {newer} or newer." if newer else "install a newer minidl.",
            )
        )
    wrong = [k for k, kind in CONTENTS.items() if not isinstance(tree.get(k), kind)]
    if wrong or not all(isinstance(row, dict) for row in tree["history"]):
        raise CheckpointError(
            message(
                f"{str(path)!r} is not a checkpoint of a training run",
                f"it has no usable {', '.join(wrong) or 'history'}",
                hint="take another copy of the file.",
            )
        )
    return tree
