"""A picture of a run: its numbers over its steps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from minidl.errors import ArgumentError, import_extra
from minidl.files.whole import replacing
from minidl.train.history import TIME_COLUMN, History

_NOT_DRAWN = ("event", "epoch", "step", TIME_COLUMN)
"""The columns that are no measurements."""


def plot_history(
    history: Sequence[dict[str, Any]] | str | os.PathLike[str], path: str | os.PathLike[str]
) -> None:
    """Draw the columns of a History over the steps, as a PNG file.

    Losses share the first panel (with the loss of single steps, where they were
    written, as a thin line behind); every other column has a panel of its own.

    Parameters
    ----------
    history : History, or path of a metrics.jsonl
    path : str or path
        The PNG file to write.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    ArgumentError
        If there is nothing to draw.
    """
    figures = import_extra("matplotlib.figure", "plots", "plot_history")
    rows = History.read(history) if isinstance(history, str | os.PathLike) else History(history)
    steps = [row for row in rows if row.get("event") == "step"]
    epochs = [row for row in rows if row.get("event") != "step"]
    panels = _panels(epochs, steps)
    # A Figure of its own, not pyplot's: no window, no state that other code could see.
    figure = figures.Figure(figsize=(7, 2.8 * len(panels)), layout="constrained")
    for axes, (title, names) in zip(
        figure.subplots(len(panels), squeeze=False)[:, 0], panels.items(), strict=True
    ):
        for name in names:
            _draw(axes, steps, name, color="0.75", linewidth=0.8, label=f"{name}, single steps")
            _draw(axes, epochs, name, marker="o", markersize=3, label=name)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if axes.lines:  # a column may hold nothing but None
            axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _panels(epochs: list[dict[str, Any]], steps: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The columns to draw, by the title of their panel."""
    names = list(dict.fromkeys(name for row in [*epochs, *steps] for name in row))
    panels: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: "loss" not in name):
        if name not in _NOT_DRAWN:
            panels.setdefault("loss" if "loss" in name else name, []).append(name)
    if not panels:
        raise ArgumentError("plot_history: the history has no columns to draw")
    return panels


def _draw(axes: Any, rows: list[dict[str, Any]], name: str, **style: Any) -> None:
    points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), **style)
