"""Restoring an image eight times, turned and mirrored, and taking the mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minidl.functional as F
from minidl.tensor import Tensor, as_tensor

Model = Callable[[Tensor], Tensor]
"""A function of images, (N, C, H, W) -> (N, O, H, W)."""


def turned(x: Any, k: int, mirrored: bool = False) -> Tensor:
    """Turn by k quarters to the left, after exchanging left and right if ``mirrored``.

    (..., H, W) -> (..., H, W) or (..., W, H)
    """
    x = as_tensor(x)
    if mirrored:
        x = x[..., ::-1]
    if k % 4 == 1:
        return F.transpose(x, -2, -1)[..., ::-1, :]
    if k % 4 == 2:
        return x[..., ::-1, ::-1]
    if k % 4 == 3:
        return F.transpose(x[..., ::-1, :], -2, -1)
    return x


def self_ensemble(model: Model, x: Any) -> Tensor:
    """The mean of the model's answers to the eight turns and mirrorings of x, turned back.

    (N, C, H, W) -> (N, O, H, W)

    Eight times the work. RED-Net's published figures are measured so; there, what is averaged is
    the answer without the sum with x, which comes to the same.

    Source: Mao, Shen & Yang 2016, section 4, and the released program.
    """
    answers = []
    for mirrored in (False, True):
        for k in range(4):
            answer = turned(model(turned(x, k, mirrored)), -k)
            answers.append(answer[..., ::-1] if mirrored else answer)
    return F.stack(answers).mean(0)
