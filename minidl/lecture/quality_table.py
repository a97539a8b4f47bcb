"""A table of PSNR and SSIM: methods down, conditions across."""

from __future__ import annotations

from collections.abc import Mapping

from minidl.lecture.text_table import table
from minidl.tasks.restoration.quality import Quality


def comparison(found: Mapping[str, Mapping[str, Quality]]) -> str:
    """Write a table of several methods: a row each, and a column for each condition.

    A method that was not measured under one ("x3", "sigma 30") has a dash there.
    """
    conditions = list(dict.fromkeys(c for each in found.values() for c in each))
    rows = [[name, *(f"{q[c].psnr:.2f} {q[c].ssim:.4f}" if c in q else "-" for c in conditions)]
            for name, q in found.items()]
    return table(["PSNR, SSIM", *conditions], rows)
