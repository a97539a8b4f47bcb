"""What an evaluation finds: a row for each image, and the means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.tasks.restoration.quality import Quality


class Row(NamedTuple):
    """The qualities of one image."""

    name: str
    baseline: Quality
    """Quality of what the model was given."""
    model: Quality
    """Quality of what the model answered."""


class Report:
    """Rows, and the mean of each column: decibels are averaged, not errors.

    Attributes
    ----------
    title : str
        What the baseline is: "bicubic".
    rows : list of Row
    baseline, model : Quality
        The means.
    """

    def __init__(self, title: str, rows: Sequence[Row]):
        self.title, self.rows = title, list(rows)
        self.baseline = _mean([row.baseline for row in self.rows])
        self.model = _mean([row.model for row in self.rows])

    def __str__(self) -> str:
        lines = [*self.rows, Row("mean", self.baseline, self.model)]
        width = max(len(row.name) for row in lines)
        head = f"{'':{width}}  {self.title:>14}  {'model':>14}"
        return "\n".join(
            [head, *(f"{r.name:{width}}  {_cell(r.baseline)}  {_cell(r.model)}" for r in lines)]
        )


def as_numbers(found: Mapping[str, Mapping[str, Quality]]) -> dict[str, Any]:
    """Turn qualities into numbers for JSON: method, condition, "psnr" or "ssim"."""
    return {name: {c: q._asdict() for c, q in each.items()} for name, each in found.items()}


def _mean(column: Sequence[Quality]) -> Quality:
    psnr, ssim = np.mean(np.array(column).reshape(-1, 2), axis=0) if column else (np.nan, np.nan)
    return Quality(float(psnr), float(ssim))


def _cell(quality: Quality) -> str:
    return f"{quality.psnr:7.2f} {quality.ssim:6.4f}"
