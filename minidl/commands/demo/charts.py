"""Charts of training and of codes, drawn with matplotlib as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minidl.commands.demo.report import COLOURS
from minidl.errors import MinidlError


def embeddings(planes: Mapping[str, np.ndarray], labels: np.ndarray) -> bytes:
    """Draw scatter plots side by side, one dot per image, coloured by its digit.

    ``planes`` maps a title to codes of shape (N, 2).
    """
    figure, axes = _figure(1, len(planes), (4.2 * len(planes), 4.3))
    for axis, (title, codes) in zip(axes.flat, planes.items(), strict=True):
        for digit, colour in enumerate(COLOURS):
            here = labels == digit
            axis.scatter(codes[here, 0], codes[here, 1], s=7, color=colour, linewidths=0)
            if here.any():
                middle = np.median(codes[here], axis=0)
                axis.text(*middle, str(digit), fontsize=13, weight="bold",
                          ha="center", va="center",
                          bbox={"boxstyle": "circle,pad=.15", "fc": "white", "ec": colour})
        axis.set_title(title)
        axis.set_xticks([])
        axis.set_yticks([])
    return _png(figure)


def curves(panels: Mapping[str, Mapping[str, Sequence[float]]], ylabel: str) -> bytes:
    """Draw one panel per title, one line per name, against epochs."""
    figure, axes = _figure(1, len(panels), (4.6 * len(panels), 3.4))
    for axis, (title, lines) in zip(axes.flat, panels.items(), strict=True):
        for name, values in lines.items():
            axis.plot(range(1, len(values) + 1), values, label=name)
        every = np.concatenate([np.asarray(v)[len(v) // 20 :] for v in lines.values()])
        margin = 0.05 * (every.max() - every.min()) + 1e-9
        axis.set_ylim(every.min() - margin, every.max() + margin)
        axis.set_title(title)
        axis.set_xlabel("epoch")
        axis.set_ylabel(ylabel)
        axis.legend(frameon=False)
    return _png(figure)


def lines(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    x: Sequence[float],
    xlabel: str,
    ylabel: str,
    scales: tuple[str, str] = ("linear", "linear"),
) -> bytes:
    """Draw one panel per title, one line per name, against x; ``scales`` are matplotlib's."""
    figure, axes = _figure(1, len(panels), (5.2 * len(panels), 3.8))
    for axis, (title, named) in zip(axes.flat, panels.items(), strict=True):
        for name, values in named.items():
            axis.plot(x, values, marker="o", label=name)
        axis.set_xscale(scales[0])
        axis.set_yscale(scales[1])
        axis.set_title(title)
        axis.set_xlabel(xlabel)
        axis.set_ylabel(ylabel)
        axis.legend(frameon=False)
    return _png(figure)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as cause:
        raise MinidlError(
            "the demo's charts need matplotlib\n    Hint: pip install 'minidl[demo]'."
        ) from cause
    # A Figure of its own, not pyplot: no global state and no window system.
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
