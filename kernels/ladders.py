"""All ladders of minidl's kernels, by op, and a way to ask for a certain rung.

    with use_rung("conv2d_y", 2):
        y = F.conv2d(x, w)
"""

from __future__ import annotations

import difflib
from contextlib import AbstractContextManager

from minidl.cuda.ladder import Ladder
from minidl.errors import ArgumentError, message
from minidl.kernels.activation import RECTIFY, RECTIFY_ADJOINT
from minidl.kernels.bias import ADD_BIAS, CHANNEL_SUMS
from minidl.kernels.conv import CONV2D_W, CONV2D_X, CONV2D_Y
from minidl.kernels.gram import GRAM_A, GRAM_B, GRAM_Y
from minidl.kernels.grid_sample import GRID_SAMPLE_IMAGE, GRID_SAMPLE_WEIGHT, GRID_SAMPLE_Y
from minidl.kernels.matmul import MATMUL_W, MATMUL_X, MATMUL_Y
from minidl.kernels.norm import NORMALIZE, NORMALIZE_ADJOINT
from minidl.kernels.optimizer import ADAM, MOMENTUM
from minidl.kernels.pool import MAX_POOL2D, PICK_WINDOWS, PUT_WINDOWS
from minidl.kernels.resample import RESAMPLE
from minidl.kernels.softmax import SOFTMAX, SOFTMAX_ADJOINT

LADDERS: dict[str, Ladder] = {
    ladder.op: ladder for ladder in (
        MATMUL_Y, MATMUL_X, MATMUL_W, CONV2D_Y, CONV2D_X, CONV2D_W, GRAM_Y, GRAM_A, GRAM_B,
        GRID_SAMPLE_Y, GRID_SAMPLE_IMAGE, GRID_SAMPLE_WEIGHT, NORMALIZE, NORMALIZE_ADJOINT,
        MAX_POOL2D, PICK_WINDOWS, PUT_WINDOWS, RESAMPLE, RECTIFY, RECTIFY_ADJOINT, ADD_BIAS,
        CHANNEL_SUMS, ADAM, MOMENTUM, SOFTMAX, SOFTMAX_ADJOINT,
    )
}
"""The ladder of each op, by the op's name in ``minidl.compute.reference``."""


def use_rung(op: str, level: int) -> AbstractContextManager[None]:
    """Compute an op by one rung alone, for the length of a ``with`` block.

    The block asks only where kernels are in use: on CuPy arrays, or inside
    ``use_kernels("emulated")``.

    Raises
    ------
    ArgumentError
        If there is no such op or rung; inside the block, where it does not fit.
    """
    if op not in LADDERS:
        near = difflib.get_close_matches(op, LADDERS, 3) or sorted(LADDERS)
        raise ArgumentError(
            message(f"no op with kernels is called {op!r}", hint=f"there are {', '.join(near)}.")
        )
    return LADDERS[op].use_rung(level)
